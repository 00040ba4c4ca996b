"""Options of JVMs that live for a minute: ready sooner, and leaving the cores free."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from lulc.errors import SetupError
from lulc.spark import java
from tests.helpers.cache import CACHE

LIGHT = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Compile lightly and collect simply."""


def options() -> str:
    """Return the options: light, and Spark's classes come from an archive once there is one."""
    archive = _archive()
    return f"{LIGHT} -XX:SharedArchiveFile={archive} -Xlog:disable" if archive else LIGHT


def of_this_process() -> str:
    """Return the options that the tests' own sessions have, for JVMs that Spark itself starts."""
    return os.environ.get("SPARK_SUBMIT_OPTS", LIGHT)


def archiving() -> dict[str, str]:
    """Return the environment of a command whose JVM writes the archive as it ends, if none is."""
    archive = _archive()
    if archive is None or java.is_complete(archive):
        return {}
    archive.parent.mkdir(parents=True, exist_ok=True)
    return {"SPARK_SUBMIT_OPTS": f"{LIGHT} -XX:ArchiveClassesAtExit={archive} -Xlog:disable"}


def _archive() -> Path | None:
    with suppress(ImportError, SetupError):  # tests that need neither Spark nor Java go on
        users = java.class_archive(java.find_home())
        return users and CACHE / users.name
    return None
