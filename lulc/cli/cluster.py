"""Kinds of clusters: properties files of spark-submit, in `conf/` or an operator's own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import lulc
from lulc.errors import UsageError

EXECUTOR_GPUS = "spark.executor.resource.gpu.amount"
"""Setting of a properties file: GPUs of an executor."""

_JOBS = "spark.lulc.jobs"
"""Setting of a properties file: folder of the jobs where this checkout is not seen by the driver,
such as local:///opt/lulc/jobs in an image."""

ADDRESSES = {"standalone": "spark://HOST:7077", "kubernetes": "k8s://https://HOST:6443"}
"""Kind of cluster → form of its master's address; YARN's is in HADOOP_CONF_DIR."""

_KIND_OF_SCHEME = {"spark": "standalone", "k8s": "kubernetes"}
_SEPARATOR = re.compile(r"\s*[=:]\s*|\s+")


@dataclass(frozen=True)
class Cluster:
    """A properties file, and what decides how a stage is submitted."""

    file: Path
    settings: Mapping[str, str]
    """Name → value of the file, and the master if an address was given."""
    jobs: str
    """Folder of the jobs."""

    @property
    def cores(self) -> int:
        """Cores of an executor."""
        return self._count("spark.executor.cores", "1")

    @property
    def gpus(self) -> int:
        """GPUs of an executor."""
        return self._count(EXECUTOR_GPUS, "0")

    @property
    def has_image(self) -> bool:
        """Whether jobs, Python and JARs are those of an image."""
        return _JOBS in self.settings

    @property
    def is_driver_elsewhere(self) -> bool:
        """Whether the cluster starts the driver, which then sees no file of this machine."""
        return self.settings.get("spark.submit.deployMode", "client") == "cluster"

    @property
    def takes_files(self) -> bool:
        """Whether files of this machine are sent along to a driver elsewhere."""
        return self.is_driver_elsewhere and self.settings.get("spark.master") == "yarn"

    def _count(self, name: str, default: str) -> int:
        text = self.settings.get(name, default)
        if not text.isdecimal():
            raise UsageError(f"{self.file}: {name} is {text!r}: give a whole number")
        return int(text)


def open_cluster(text: str) -> Cluster:
    """Return the cluster that a command line names.

    `conf/` and `jobs/` are those of the checkout that is worked in, else of the one that lulc is
    installed from. They are not in the wheel: operators edit them, and an upgrade must not replace
    what they wrote.

    Args:
        text: a kind (`yarn`), the path of a properties file, or the address of a master
            (`spark://HOST:7077`, `k8s://https://HOST:6443`), whose kind is that of its scheme.

    Raises:
        UsageError: there is no such kind or file, it cannot be read, or it has no jobs.
    """
    scheme, is_address, _ = text.partition("://")
    kind = _KIND_OF_SCHEME.get(scheme, text) if is_address else text
    roots = [Path.cwd(), Path(lulc.__file__).resolve().parents[1]]
    root = next((root for root in roots if (root / "jobs" / "tile.py").is_file()), None)
    folders = [root / "conf"] if root else []
    candidates = [Path(kind), *(folder / f"{kind}.properties" for folder in folders)]
    file = next((path for path in candidates if path.is_file()), None)
    if file is None:
        files = (path for folder in folders for path in folder.glob("*.properties"))
        kinds = sorted({path.stem for path in files} - {"thrift"})  # that one serves SQL
        kind_names = ", ".join(kinds) or "a kind"
        if not is_address and (os.sep in text or text.endswith(".properties")):
            raise UsageError(
                f"properties file {text} is not there: correct its name, copy one of conf/ to it "
                f"and edit the copy, or name a kind instead ({kind_names})"
            )
        raise UsageError(
            f"{text} is no cluster: give {kind_names}, {', '.join(ADDRESSES.values())} "
            "or a properties file. Kinds are those of conf/ in a checkout "
            "of lulc. Databricks takes jobs by its own API: conf/databricks.json"
        )
    settings = read_properties(file) | ({"spark.master": text} if is_address else {})
    if _JOBS not in settings and root is None:
        raise UsageError(
            f"{file} names no {_JOBS}, and there is no jobs/ here: work in a checkout of lulc"
        )
    return Cluster(file.resolve(), settings, settings.get(_JOBS, f"{root}/jobs"))


def read_properties(file: Path) -> dict[str, str]:
    """Return the settings of a properties file of spark-submit.

    Raises:
        UsageError: it cannot be read as text.
    """
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"properties file {file} cannot be read ({error}): it is a text in UTF-8, "
            "a name and a value a line"
        ) from error
    lines = (line.strip() for line in text.splitlines())
    pairs = (_SEPARATOR.split(line, maxsplit=1) for line in lines if line and line[0] not in "#!")
    return {name: "".join(value) for name, *value in pairs}
