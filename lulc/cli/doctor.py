"""Checks of the machine: each component is tried for real, and a failure comes with its remedy."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lulc.errors import SetupError, missing_extra
from lulc.redact import first_line
from lulc.spark import java
from lulc.store_access import CREDENTIALS

_REINSTALL = "uv pip install --require-hashes --no-deps -r requirements.txt"
_MIN_FREE_GIB = 3
_CREDENTIAL_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE_STORAGE_ACCOUNT_NAME",
)


@dataclass(frozen=True)
class Check:
    """The state of one component of the machine."""

    component: str
    """Name of the component."""
    state: Literal["works", "lacks", "fails"]
    """`fails` stops every run, `lacks` stops only what needs the component."""
    detail: str
    """What was found."""
    remedy: str = ""
    """What to do about it."""

    def to_row(self) -> dict[str, str]:
        """Return the check as a row of the JSON output."""
        return {
            "part": self.component,
            "state": self.state,
            "found": self.detail,
            "remedy": self.remedy,
        }


def run_checks() -> list[Check]:
    """Check all components, in the order in which a run needs them."""
    components: dict[str, Callable[[], Check]] = {
        "python": _check_python,
        "java": _check_java,
        "spark": _check_spark,
        "petastorm": _check_petastorm,
        "memory": _check_memory,
        "gpu": _check_gpu,
        "hdf4": _check_hdf4,
        "credentials": _check_credentials,
    }
    checks = []
    for name, check in components.items():
        try:
            checks.append(check())
        except ModuleNotFoundError as error:
            remedy = missing_extra(error) or _REINSTALL
            checks.append(Check(name, "lacks", "not installed", remedy))
        except Exception as error:  # a broken component is a line of the list, whatever it raises
            checks.append(Check(name, "fails", first_line(error), _REINSTALL))
    return checks


def format_checks(checks: list[Check]) -> str:
    """Return the checks as lines of text, with a summary as the last."""
    lines = []
    for check in checks:
        lines.append(f"{check.state:<6} {check.component:<12} {check.detail}")
        if check.remedy:
            lines.append(f"{'':<20}→ {check.remedy}")
    failures = sum(check.state == "fails" for check in checks)
    summary = f"{failures} of {len(checks)} parts fail" if failures else "this machine can run lulc"
    return "\n".join([*lines, summary])


def _check_python() -> Check:
    release = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] != (3, 12):
        return Check("python", "fails", release, "use Python 3.12: python3.12 -m venv .venv")
    worker = os.environ.get("PYSPARK_PYTHON", sys.executable)
    return Check("python", "works", f"{release}, workers start {worker}")


def _check_java() -> Check:
    try:
        folder = java.find_home()
    except SetupError as error:
        return Check("java", "fails", str(error), java.REMEDY)
    version = java.version(folder / "bin" / "java")
    if version not in java.ACCEPTED:
        return Check("java", "fails", f"{folder} does not run", java.REMEDY)
    return Check("java", "works", f"{version} in {folder}")


def _check_spark() -> Check:
    from lulc.config import SessionConf
    from lulc.spark import session

    spark = session.start_session(SessionConf(master="local[1]", memory="1g"))
    square = "ST_GeomFromWKT('POLYGON((0 0,2 0,2 2,0 2,0 0))')"
    try:
        area = spark.sql(f"SELECT ST_Area({square}) AS a").toArrow()["a"][0].as_py()
        if area != 4.0:
            remedy = f"one version of each of {', '.join(session.JARS)}"
            return Check("spark", "fails", f"Sedona gave {area} for an area of 4", remedy)
        sedona_version = session.JARS[0].rpartition(":")[2]
        return Check("spark", "works", f"{spark.version} with Sedona ({sedona_version})")
    finally:
        spark.stop()


def _check_petastorm() -> Check:
    import lulc.training._petastorm
    import lulc.training.loader  # noqa: F401 - the import is the check

    return Check("petastorm", "works", "reads with this pyarrow")


def _check_memory() -> Check:
    import psutil

    free, cores = psutil.virtual_memory().available / 2**30, os.cpu_count() or 1
    if free < _MIN_FREE_GIB:
        remedy = f"free {_MIN_FREE_GIB} GiB, or set spark.memory lower"
        return Check("memory", "fails", f"{free:.1f} GiB free", remedy)
    detail = f"{free:.1f} GiB free for {cores} cores (a core takes up to 1.5 GiB)"
    return Check("memory", "works", detail)


def _check_gpu() -> Check:
    from lulc.models.device import gpus_in_view

    gpus = gpus_in_view()
    if gpus:
        names = ", ".join(f"{number}: {name}" for number, (name, _) in enumerate(gpus))
        return Check("gpu", "works", f"{names}; training and prediction use them")
    return Check("gpu", "lacks", "none: training and prediction use the processor")


def _check_hdf4() -> Check:
    if importlib.util.find_spec("pyhdf"):
        return Check("hdf4", "works", "MODIS HDF4 files can be read")
    return Check("hdf4", "lacks", "MODIS HDF4 files cannot be read", "pip install 'lulc[hdf4]'")


def _check_credentials() -> Check:
    variables = [name for name in _CREDENTIAL_VARIABLES if os.environ.get(name)]
    if variables:
        finding = f"credentials by {', '.join(variables)}; Spark reads there without a connector"
        lacks_boto3 = importlib.util.find_spec("boto3") is None
        remedy = (
            "pip install boto3, if MLflow is to keep its artifacts on s3" if lacks_boto3 else ""
        )
        return Check("object store", "works", finding, remedy)
    return Check(
        "object store",
        "lacks",
        "no credentials: only local and public archives",
        f"set {CREDENTIALS['s3']}; {CREDENTIALS['gs']}; or {CREDENTIALS['abfs']}",
    )
