"""The Spark session: Sedona, UTC, Arrow limits, this Python on every worker, one thread a core, GDAL's options."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
from pyspark import SparkConf, SparkContext
from pyspark.find_spark_home import _find_spark_home
from pyspark.sql import SparkSession
from sedona.spark import SedonaContext

from lulc.config import SessionConf
from lulc.errors import SetupError
from lulc.spark import java

# Sedona's wheel is only its Python half. The two JARs belong together: with another geotools-wrapper beside
# this one on the classpath, methods are missing.
JARS = (
    "org.apache.sedona:sedona-spark-shaded-4.0_2.13:1.8.0",
    "org.datasyslab:geotools-wrapper:1.8.1-33.1",
)

ICEBERG = ("org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:1.10.1",)
"""What a session needs besides, to publish tables."""

WORKER_ENVIRONMENT = {
    # A JP2 cut short reads as success when several threads decode it.
    "GDAL_NUM_THREADS": "1",
    "GDAL_CACHEMAX": "256",
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}


# What spark-submit works out for itself, and must not be told.
_SUBMITS_OWN = ("spark.app.submitTime", "spark.submit.pyFiles", "spark.repl.local.jars")
_AGAIN = "LULC_SUBMITTED_AGAIN"


def submitted() -> bool:
    """Whether spark-submit started this process, so that it has already chosen master and memory."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def start_session(
    spark: SessionConf, debug: bool = False, more: tuple[str, ...] = ()
) -> SparkSession:
    """The session, with Sedona's functions and `more` JARs (group:name:release); SetupError when Java or a JAR cannot be had."""
    conf = SparkConf()
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    settings = {
        "spark.app.name": "lulc",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
        "spark.sql.execution.arrow.maxBytesPerBatch": str(64 << 20),
        "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
        **{f"spark.executorEnv.{name}": value for name, value in WORKER_ENVIRONMENT.items()},
    }
    if not submitted():
        os.environ["JAVA_HOME"] = str(java.find_home())
        # Retries: local[N] has none; a worker that is killed must not end the job.
        master = spark.master or f"local[{cores},4]"
        settings |= {
            "spark.master": master,
            "spark.driver.memory": spark.memory,
            "spark.executor.memory": spark.memory,
            "spark.ui.enabled": "false",
        }
        settings |= _jar_settings(more)
        if master.startswith("local"):
            settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
            settings["spark.sql.shuffle.partitions"] = str(2 * cores)
            # A computer that slept for two minutes would be taken for one that is lost, and the session would end.
            settings["spark.storage.blockManagerHeartbeatTimeoutMs"] = str(30 * 86_400_000)
        if not debug:
            log = Path(__file__).with_name("log4j2.properties")
            settings["spark.driver.extraJavaOptions"] = f"-Dlog4j2.configurationFile=file:{log}"
    for name, value in (settings | spark.conf).items():
        conf.set(name, value) if name in spark.conf else conf.setIfMissing(name, value)
    if submitted() and not _on_classpath():
        _submit_again(conf, more)
    try:
        with _environment():
            session = SparkSession.builder.config(conf=conf).getOrCreate()
        session.sparkContext.setLogLevel("WARN" if debug else "ERROR")
        made: SparkSession = SedonaContext.create(session)
    except Exception as error:
        cause = str(error).splitlines()[0][:300]
        raise SetupError(
            f"Spark did not start ({cause}): `lulc doctor` says what is missing, --debug shows its log"
        ) from error
    return made


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    # Local workers inherit the environment that the JVM starts with; the driver itself keeps all its threads.
    python = {
        "PYSPARK_PYTHON": os.environ.get("PYSPARK_PYTHON", sys.executable),
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    before = dict(os.environ)
    os.environ.update(WORKER_ENVIRONMENT | python)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before | python)


def _jar_settings(more: tuple[str, ...]) -> dict[str, str]:
    # Once Ivy has fetched them, the files themselves are given: seconds faster, and not a word on the terminal.
    folder = Path.home() / ".ivy2.5.2" / "jars"
    files = [
        folder / f"{group}_{name}-{release}.jar"
        for group, name, release in (jar.split(":") for jar in JARS + more)
    ]
    if all(file.exists() for file in files):
        return {"spark.jars": ",".join(map(str, files))}
    return {"spark.jars.packages": ",".join(JARS + more)}


def _submit_again(conf: SparkConf, more: tuple[str, ...]) -> None:
    # Sedona's classes must be there when the JVM starts; added later, two loaders load them twice. So a bare
    # `spark-submit jobs/tile.py` is replaced by itself with the JARs given; the outer one waits for it.
    given = dict(conf.getAll())
    if given.get("spark.submit.deployMode", "client") != "client" or _AGAIN in os.environ:
        remedy = f"give spark-submit --packages {','.join(JARS)}, or --properties-file conf/spark.properties"
        raise SetupError(f"Sedona's JARs are not on the classpath: {remedy}")
    for name in ("PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET"):
        os.environ.pop(name, None)
    os.environ[_AGAIN] = "1"
    python = {"spark.pyspark.python": sys.executable, "spark.pyspark.driver.python": sys.executable}
    settings = [
        f"--conf={name}={value}"
        for name, value in ({**python, **given} | _jar_settings(more)).items()
        if name not in _SUBMITS_OWN
    ]
    home = _find_spark_home()  # type: ignore[no-untyped-call]
    os.execv(f"{home}/bin/spark-submit", ["spark-submit", *settings, *sys.argv])


def _on_classpath() -> bool:
    SparkContext._ensure_initialized()
    jvm = SparkContext._jvm
    assert jvm is not None
    return type(jvm.org.apache.sedona.spark.SedonaContext).__name__ == "JavaClass"
