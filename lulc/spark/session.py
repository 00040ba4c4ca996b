"""The Spark session: Sedona, UTC, Arrow limits, this Python and one thread on every worker."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import psutil
from pyspark import SparkConf, SparkContext
from pyspark.find_spark_home import _find_spark_home
from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession

from lulc.config import SessionConf
from lulc.errors import SetupError
from lulc.spark import java

# Sedona's wheel is only its Python half. The two JARs belong together: with another
# geotools-wrapper beside this one on the classpath, methods are missing.
JARS = (
    "org.apache.sedona:sedona-spark-shaded-4.0_2.13:1.8.0",
    "org.datasyslab:geotools-wrapper:1.8.1-33.1",
)

ICEBERG = ("org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:1.10.1",)
"""What a session needs in addition to publish tables."""

WORKER_ENVIRONMENT = {
    # A JP2 cut short reads as success when several threads decode it.
    "GDAL_NUM_THREADS": "1",
    # Spark's addresses are nvidia-smi's numbers, which go by the bus.
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "GDAL_CACHEMAX": "256",
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "OMP_NUM_THREADS": "1",
    # Threads of a training that wait for each other by spinning take the cores from what runs
    # beside them, and from each other: a step took four times as long on a busy machine.
    "OMP_WAIT_POLICY": "passive",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}

# A wrong query is told in one message, not again as a record of JSON by PySpark.
_LOGGERS_OF_QUERIES = ("SQLQueryContextLogger", "DataFrameQueryContextLogger")
_LOG_SETTINGS = Path(__file__).with_name("log4j2.properties")
_QUIET = f"-Dlog4j2.configurationFile={_LOG_SETTINGS.as_uri()}"
_JAVA_VARIABLES = ("SPARK_SUBMIT_OPTS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS")
# What spark-submit sets itself and must not be given.
_SET_BY_SUBMIT = ("spark.app.submitTime", "spark.submit.pyFiles", "spark.repl.local.jars")
_AGAIN = "LULC_SUBMITTED_AGAIN"


def submitted() -> bool:
    """Return whether spark-submit started this process, and so chose master and memory."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def start_session(
    settings: SessionConf,
    debug: bool = False,
    extra_jars: tuple[str, ...] = (),
    quick: bool = False,
    with_sedona: bool = True,
) -> SparkSession:
    """Start the session, with Sedona's functions.

    Args:
        settings: master, memory, and any other Spark settings.
        debug: let Spark log.
        extra_jars: JARs (group:name:release) besides Sedona's.
        quick: the session is to answer soon, and lives for some queries.
        with_sedona: register Sedona's functions, which takes a second.

    Raises:
        SetupError: Java or a JAR cannot be had, or Spark does not start.
    """
    restart_with_jars(settings, extra_jars)
    if settings.master and not submitted():
        _check_master(settings.master)
    conf = _make_conf(settings, debug, extra_jars, quick)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _worker_environment(conf.get("spark.pyspark.python")):
            session = SparkSession.builder.config(conf=conf).getOrCreate()
        session.sparkContext.setLogLevel("WARN" if debug else "ERROR")
        for name in _LOGGERS_OF_QUERIES:
            PySparkLogger.getLogger(name).disabled = not debug
        if with_sedona:
            _register_sedona(session)
    except Exception as error:
        cause = str(error).splitlines()[0][:300]
        raise SetupError(
            f"Spark did not start ({cause}): "
            "`lulc doctor` says what is missing, --debug shows its log"
        ) from error
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, partial(_cancel_first, session.sparkContext, handler))
    return session


def restart_with_jars(settings: SessionConf, extra_jars: tuple[str, ...] = ()) -> None:
    """Put itself in place of a bare spark-submit, with Sedona's JARs given; else return.

    What the process holds is not given back: call it before.

    Raises:
        SetupError: the cluster started the driver, and so must have been given the JARs.
    """
    if submitted() and not _on_classpath():
        _submit_again(_make_conf(settings, False, extra_jars), extra_jars)


def _check_master(master: str) -> None:
    # Spark asks a standalone master that is not there for a minute, and does not say which it was.
    scheme, _, hosts = master.partition("://")
    if scheme != "spark":
        return
    faults = []
    for host in hosts.split(","):
        try:
            address = urlsplit(f"//{host}")
            socket.create_connection((address.hostname or "", address.port or 7077), 10).close()
            return
        except (OSError, ValueError) as error:
            faults.append(str(error))
    raise SetupError(
        f"no Spark master answers at {master} ({'; '.join(faults)}): start it, "
        "or correct the address"
    )


def _register_sedona(session: SparkSession) -> None:
    # What `SedonaContext.create` does, without the job that it runs first, and without its Python
    # half, which loads pandas, rasterio and boto3.
    jvm = session.sparkContext._jvm
    assert jvm is not None
    jvm.org.apache.sedona.spark.SedonaContext.create(session._jsparkSession, "python")


def _make_conf(
    settings: SessionConf,
    debug: bool,
    extra_jars: tuple[str, ...],
    quick: bool = False,
) -> SparkConf:
    conf = SparkConf()
    defaults = _defaults()
    if not submitted():
        java_home = java.find_home()
        os.environ["JAVA_HOME"] = str(java.without_warning(java_home))
        # A script's last line may wait for the JVM to end; a person's does not. And a JVM that is
        # given an archive of its user's writes none: it would not start.
        given = " ".join(os.environ.get(name, "") for name in _JAVA_VARIABLES)
        writes = sys.stdout.isatty() and "SharedArchiveFile" not in given
        java_options = java.quick_options(java_home, writes) if quick else ()
        defaults |= _unsubmitted_defaults(settings) | jar_settings(extra_jars)
        defaults |= _java_settings(java_options if debug else (_QUIET, *java_options))
    for name, value in (defaults | settings.conf).items():
        conf.set(name, value) if name in settings.conf else conf.setIfMissing(name, value)
    return conf


def _cancel_first(
    context: SparkContext,
    handler: Callable[[int, FrameType | None], object],
    number: int,
    frame: FrameType | None,
) -> None:
    # Whoever waits for a job's rows waits until it ends. PySpark's own handler, in whose place
    # this is, heeds Ctrl-C alone, and fails once the session is stopped.
    with contextlib.suppress(Exception):
        # Its thread prints a trace where the JVM, which may have got the signal too, ends first.
        vars(context._accumulatorServer)["handle_error"] = _say_nothing
        context.setLogLevel("OFF")  # tasks that are cancelled log traces as they end
        context.cancelAllJobs()
    handler(number, frame)


def _say_nothing(*_: object) -> None:
    pass


def _defaults() -> dict[str, str]:
    worker_settings = {f"spark.executorEnv.{k}": v for k, v in WORKER_ENVIRONMENT.items()}
    return {
        "spark.app.name": "lulc",
        "spark.sql.session.timeZone": "UTC",
        # A folder that is there already: Spark makes this one at the first query.
        "spark.sql.warehouse.dir": Path(tempfile.gettempdir()).as_uri(),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
        "spark.sql.execution.arrow.maxBytesPerBatch": str(64 << 20),
        "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
        **worker_settings,
    }


def _unsubmitted_defaults(settings: SessionConf) -> dict[str, str]:
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    # Retries: local[N] has none; a worker that is killed must not end the job.
    master = settings.master or f"local[{cores},4]"
    defaults = {
        "spark.master": master,
        "spark.driver.memory": settings.memory,
        "spark.executor.memory": settings.memory,
        "spark.ui.enabled": "false",
    }
    if master.startswith("local"):
        defaults |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
        defaults["spark.sql.shuffle.partitions"] = str(2 * cores)
        # A computer that slept for two minutes would be taken for one that is lost, and the
        # session would end.
        defaults["spark.storage.blockManagerHeartbeatTimeoutMs"] = str(30 * 86_400_000)
        # A task that asks for more memory than there is fails alone, and ends no executor: that is
        # the process which all share.
        defaults["spark.executor.killOnFatalError.depth"] = "0"
    return defaults


@contextlib.contextmanager
def _worker_environment(python_of_workers: str | None) -> Iterator[None]:
    # Local workers inherit the environment that the JVM starts with; the driver itself keeps all
    # its threads. Without spark-submit, PySpark takes the workers' Python from there alone.
    python = {
        "PYSPARK_PYTHON": python_of_workers or os.environ.get("PYSPARK_PYTHON", sys.executable),
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    before = dict(os.environ)
    os.environ.update(WORKER_ENVIRONMENT | java.PRIVATE | python)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before | python)


def quiet_settings() -> dict[str, str]:
    """Return the settings that keep Spark's log to errors, for a driver of this machine."""
    return _java_settings((_QUIET,))


def _java_settings(options: Sequence[str]) -> dict[str, str]:
    return {"spark.driver.extraJavaOptions": " ".join(options)} if options else {}


def jar_settings(extra_jars: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the settings that bring Sedona's JARs; none where they lie among Spark's own.

    Args:
        extra_jars: JARs (group:name:release) besides Sedona's.
    """
    coordinates = JARS + extra_jars
    coordinate_parts = [jar.split(":") for jar in coordinates]
    names = [f"{group}_{name}-{release}.jar" for group, name, release in coordinate_parts]
    spark_home = Path(_find_spark_home())  # type: ignore[no-untyped-call]
    if all((spark_home / "jars" / name).exists() for name in names):
        return {}
    # Once Ivy has fetched them, the files themselves are given: seconds faster, and silent.
    files = [Path.home() / ".ivy2.5.2" / "jars" / name for name in names]
    if all(file.exists() for file in files):
        return {"spark.jars": ",".join(map(str, files))}
    return {"spark.jars.packages": ",".join(coordinates)}


def _submit_again(conf: SparkConf, extra_jars: tuple[str, ...]) -> None:
    # Sedona's classes must be there when the JVM starts; added later, two loaders load them twice.
    # So a bare `spark-submit jobs/tile.py` is replaced by itself with the JARs given; the outer one
    # waits for it.
    submitted_settings = dict(conf.getAll())
    deploy_mode = submitted_settings.get("spark.submit.deployMode", "client")
    if deploy_mode != "client" or _AGAIN in os.environ:
        packages = f"--packages {','.join(JARS)}"
        raise SetupError(
            "Sedona's JARs are not on the classpath: "
            f"give spark-submit {packages}, or submit by `lulc submit`"
        )
    for name in ("PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET"):
        os.environ.pop(name, None)
    os.environ[_AGAIN] = "1"
    # Workers start the Python that was asked for, such as one of an archive that is shipped.
    python = {
        "spark.pyspark.python": os.environ.get("PYSPARK_PYTHON", sys.executable),
        "spark.pyspark.driver.python": sys.executable,
    }
    settings = {**python, **submitted_settings, **jar_settings(extra_jars)}
    options = [f"--conf={k}={v}" for k, v in settings.items() if k not in _SET_BY_SUBMIT]
    spark_home = _find_spark_home()  # type: ignore[no-untyped-call]
    os.execv(f"{spark_home}/bin/spark-submit", ["spark-submit", *options, *sys.argv])


def _on_classpath() -> bool:
    SparkContext._ensure_initialized()
    jvm = SparkContext._jvm
    assert jvm is not None
    return type(jvm.org.apache.sedona.spark.SedonaContext).__name__ == "JavaClass"
