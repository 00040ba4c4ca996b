"""Whether this machine can run the project: each part looked at for real, with the line that mends it."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lulc.errors import SetupError
from lulc.spark import java


@dataclass(frozen=True)
class Check:
    """One part of the machine: `fails` stops every run, `lacks` stops only what needs the part."""

    part: str
    state: Literal["works", "lacks", "fails"]
    found: str
    remedy: str = ""


def examine() -> list[Check]:
    """The checks, in the order a run needs the parts."""
    looks: list[Callable[[], Check]] = [
        _python,
        _java,
        _spark,
        _petastorm,
        _memory,
        _gpu,
        _hdf4,
        _credentials,
    ]
    checks = []
    for look in looks:
        try:
            checks.append(look())
        except Exception as error:  # a broken part must be a line of the list, whatever it raises
            checks.append(
                Check(
                    look.__name__.strip("_"), "fails", str(error).splitlines()[0][:300], _REINSTALL
                )
            )
    return checks


def format_checks(checks: list[Check]) -> str:
    """The checks as lines of text."""
    lines = [
        f"{c.state:<6} {c.part:<12} {c.found}" + (f"\n{'':<20}→ {c.remedy}" if c.remedy else "")
        for c in checks
    ]
    failed = sum(c.state == "fails" for c in checks)
    return "\n".join(
        [*lines, f"{failed} of {len(checks)} parts fail" if failed else "this machine can run lulc"]
    )


_REINSTALL = "uv pip install --require-hashes --no-deps -r requirements.txt"


def _python() -> Check:
    release = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] != (3, 12):
        return Check("python", "fails", release, "use Python 3.12: python3.12 -m venv .venv")
    worker = os.environ.get("PYSPARK_PYTHON", sys.executable)
    return Check("python", "works", f"{release}, workers start {worker}")


def _java() -> Check:
    try:
        home = java.find_home()
    except SetupError as error:
        return Check("java", "fails", str(error), java.REMEDY)
    found = java.version(home / "bin" / "java")
    if found not in java.ACCEPTED:
        return Check("java", "fails", f"{home} does not run", java.REMEDY)
    return Check("java", "works", f"{found} in {home}")


def _spark() -> Check:
    from lulc.config import SessionConf
    from lulc.spark import session

    started = session.start_session(SessionConf(master="local[1]", memory="1g"))
    try:
        area = (
            started.sql("SELECT ST_Area(ST_GeomFromWKT('POLYGON((0 0,2 0,2 2,0 2,0 0))')) AS a")
            .toArrow()["a"][0]
            .as_py()
        )
        if area != 4.0:
            return Check(
                "spark",
                "fails",
                f"Sedona gave {area} for an area of 4",
                f"one version of each of {', '.join(session.JARS)}",
            )
        return Check(
            "spark",
            "works",
            f"{started.version} with Sedona ({session.JARS[0].rpartition(':')[2]})",
        )
    finally:
        started.stop()


def _petastorm() -> Check:
    import lulc.training._petastorm
    import lulc.training.loader  # noqa: F401 - the import is the check

    return Check("petastorm", "works", "reads with this pyarrow")


def _memory() -> Check:
    import psutil

    free, cores = psutil.virtual_memory().available / 2**30, os.cpu_count() or 1
    if free < 3:
        return Check(
            "memory", "fails", f"{free:.1f} GiB free", "free 3 GiB, or set spark.memory lower"
        )
    return Check(
        "memory", "works", f"{free:.1f} GiB free for {cores} cores (a core takes up to 1.5 GiB)"
    )


def _gpu() -> Check:
    from lulc.models.device import choose_device

    if choose_device().type != "cpu":
        return Check("gpu", "works", "training and prediction use it")
    return Check("gpu", "lacks", "none: training and prediction use the processor")


def _hdf4() -> Check:
    if importlib.util.find_spec("pyhdf"):
        return Check("hdf4", "works", "MODIS HDF4 files can be read")
    return Check("hdf4", "lacks", "MODIS HDF4 files cannot be read", "pip install 'lulc[hdf4]'")


def _credentials() -> Check:
    named = [
        n
        for n in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE")
        if os.environ.get(n)
    ]
    if named:
        return Check("object store", "works", f"credentials by {', '.join(named)}")
    return Check(
        "object store",
        "lacks",
        "no credentials: only local and public archives",
        "export AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
    )
