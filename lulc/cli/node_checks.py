"""Checks of a cluster: what each executor has and lacks, as a table, with the remedy."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lulc.cli.cluster import open_cluster
from lulc.config import SessionConf
from lulc.location import Location, check_location
from lulc.tables import files

if TYPE_CHECKING:
    from lulc.spark.nodes import Node

_LEAST_DISK = 2 * 2**30
_NOT_OF_SESSION = ("spark.submit.deployMode", "spark.lulc.jobs")
_REMEDY = {
    "task": "start its worker where Python 3.12 is at the path that spark.pyspark.python names, "
    "or ship an environment (conf/pack.sh)",
    "versions": "install the driver's versions there (conf/image/install.sh), or ship its "
    "environment (conf/pack.sh)",
    "disk": "free space, or set spark.local.dir to a larger disk",
    "location": "mount it there at the same path, or give a store's address and its credentials",
}


@dataclass(frozen=True)
class NodeCheck:
    """An executor with what is wrong with it."""

    node: Node
    failures: dict[str, str]
    """What fails (task, versions, disk, location) → how."""

    def to_row(self) -> dict[str, str]:
        """Return the check as a row of the table."""
        node = self.node
        has_answered = not node.error
        row = {"host": node.host, "executor": node.executor, "python": node.python or "–"}
        row["versions"] = (
            "as here" if has_answered and "versions" not in self.failures else "differ"
        )
        row["GDAL"] = node.gdal or "–"
        row["free disk"] = f"{node.free_disk / 2**30:.1f} GiB" if has_answered else "–"
        row["free memory"] = f"{node.free_memory / 2**30:.1f} GiB" if has_answered else "–"
        row["GPUs"] = str(node.gpus) if has_answered else "–"
        written = "written" if node.written and has_answered else "–"
        row["location"] = "fails" if "location" in self.failures else written
        row["state"] = "fails" if self.failures else "works"
        return row if has_answered else {**row, "versions": "–"}


def check_nodes(cluster: str, out: Location | None) -> list[NodeCheck]:
    """Look at every executor of a cluster.

    Args:
        cluster: as `lulc submit --on` takes it; "" for that of spark-submit, or this machine.
        out: a location that executors are to read and write, which is made.

    Raises:
        UsageError: there is no such cluster.
        SetupError: the location's store cannot be reached, the session does not start, or no
            executor comes.
    """
    from lulc.spark import nodes, session

    if out is not None:
        check_location(out)
    settings: dict[str, str] = {}
    if cluster:
        opened = open_cluster(cluster)
        cores = str(opened.cores)
        settings = {**opened.settings, "spark.executor.cores": cores, "spark.task.cpus": cores}
    for name in _NOT_OF_SESSION:
        settings.pop(name, None)
    master = settings.pop("spark.master", None)
    spark = session.start_session(SessionConf(master, "1g", {**settings, **nodes.SETTINGS}))
    try:
        with _marked(out) as token:
            nodes_seen = nodes.look(spark.sparkContext, str(out.resolve()) if out else "", token)
            driver_versions = nodes.describe_driver()["versions"]
            return [
                NodeCheck(node, _find_failures(node, driver_versions, out)) for node in nodes_seen
            ]
    finally:
        spark.stop()


def format_node_checks(checks: list[NodeCheck]) -> str:
    """Return the checks as a table, then what fails and how to mend it."""
    rows = [check.to_row() for check in checks]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    lines = ["  ".join(name.ljust(width) for name, width in widths.items())]
    lines += ["  ".join(row[name].ljust(width) for name, width in widths.items()) for row in rows]
    for check in checks:
        for kind, failure in check.failures.items():
            lines += [f"{check.node.host}, executor {check.node.executor}: {failure}"]
            lines += [f"  → {_REMEDY[kind]}"]
    failed = sum(bool(check.failures) for check in checks)
    count = len(checks)
    executors = "1 executor" if count == 1 else f"{count} executors"
    summary = f"{failed} of {executors} fail" if failed else f"{executors} can run lulc"
    return "\n".join([*(line.rstrip() for line in lines), summary])


def _find_failures(
    node: Node, driver_versions: dict[str, str], out: Location | None
) -> dict[str, str]:
    if node.error:
        return {"task": f"its task failed ({node.error})"}
    failures = {}
    differing = [
        f"{name} {node.versions.get(name, 'missing')}, here {version}"
        for name, version in driver_versions.items()
        if _release(node.versions.get(name)) != _release(version)
    ]
    if differing:
        failures["versions"] = "; ".join(differing)
    if node.free_disk < _LEAST_DISK:
        failures["disk"] = f"{node.free_disk / 2**30:.1f} GiB free where it works"
    if node.location:
        failures["location"] = f"{out}: {node.location}"
    elif out is not None and not _is_back(out / node.written):
        failures["location"] = f"{out}: what it wrote is not seen by the driver"
    return failures


def _release(version: str | None) -> str | None:
    # Builds of one release, as `2.10.0+cpu`, are the same code.
    return version and re.sub(r"\+.*", "", version)


def _is_back(file: Location) -> bool:
    return file.exists() and file.read_bytes().decode() == file.name


@contextlib.contextmanager
def _marked(out: Location | None) -> Iterator[str]:
    # The name of a file that the driver writes in the location; all that executors add to it is
    # removed in the end.
    token = f".lulc-doctor-{uuid.uuid4().hex}"
    if out is None:
        yield token
        return
    files.make_folder(out)
    files.create_exclusive(out / token, token.encode())
    try:
        yield token
    finally:
        for file in out.glob(f"{token}*"):
            files.remove(file)
