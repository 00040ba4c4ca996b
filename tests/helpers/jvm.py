"""Java programs that tests start: their JARs, fetched by Spark's own Ivy, and their JVM."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import psutil
import pyspark
from py4j.java_gateway import JavaGateway

from lulc.spark import java
from tests.helpers import short_jvms
from tests.helpers.cache import CACHE

SPARK_JARS = Path(pyspark.__file__).parent / "jars"


def fetch_jars(coordinates: Sequence[str]) -> list[Path]:
    """Return files of JARs, without what these depend on; fetched once for all tests of a user.

    Args:
        coordinates: `group:name:release` of each.
    """
    folder = CACHE / "jars"
    parts = [jar.split(":") for jar in coordinates]
    files = [folder / f"{name}-{release}.jar" for _, name, release in parts]
    missing = [part for part, file in zip(parts, files, strict=True) if not file.exists()]
    if missing:
        _retrieve(missing, folder)
    return files


@contextmanager
def started(classpath: Sequence[Path], folder: Path, *options: str) -> Iterator[Any]:
    """Run a JVM with these JARs and Spark's, and kill it and what it started when the block ends.

    Args:
        classpath: JARs that come before Spark's.
        folder: its working folder; its output goes to `jvm.log` there.
        options: options of java.

    Yields:
        Its py4j view.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "jvm.log").open("w") as log:
        gateway = JavaGateway.launch_gateway(
            classpath=":".join([*map(str, classpath), f"{SPARK_JARS}/*"]),
            javaopts=[*short_jvms.LIGHT.split(), *options],
            java_path=str(java.find_home() / "bin" / "java"),
            die_on_exit=True,
            redirect_stdout=log,
            redirect_stderr=log,
            cwd=str(folder),
        )
        try:
            yield gateway.jvm
        finally:
            children = psutil.Process(gateway.java_process.pid).children(recursive=True)
            gateway.java_process.kill()
            gateway.java_process.wait()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            gateway.shutdown()


def _retrieve(parts: Sequence[Sequence[str]], folder: Path) -> None:
    dependencies = "".join(
        f"<dependency org={quoteattr(group)} name={quoteattr(name)} rev={quoteattr(release)} "
        'transitive="false" conf="default->master"/>'
        for group, name, release in parts
    )
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder / f"{'-'.join(name for _, name, _ in parts)[:80]}.xml"
    wanted.write_text(
        '<ivy-module version="2.0"><info organisation="lulc" module="tests"/>'
        '<configurations><conf name="default"/></configurations>'
        f"<dependencies>{dependencies}</dependencies></ivy-module>"
    )
    command = [
        *(str(java.find_home() / "bin" / "java"), "-cp", f"{SPARK_JARS}/*"),
        *("org.apache.ivy.Main", "-warn", "-ivy", str(wanted)),
        *("-retrieve", f"{folder}/[artifact]-[revision].[ext]"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
