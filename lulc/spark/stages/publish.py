"""The publish stage: the run's tables as Iceberg tables, whose earlier states stay readable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyspark.sql import SparkSession

from lulc.config import PublishConf
from lulc.errors import InputError, SetupError, UsageError
from lulc.spark import session
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import StageWork, Unit, run_incremental
from lulc.spark.queries import sql
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables.files import file_identity, fingerprint_of, list_tables
from lulc.tables.ledger import LedgerRow
from lulc.tables.store import table_folder

CATALOG = "lulc"
"""The catalogue's name in Spark."""
# Those that lulc alone reads.
_PIXEL_TABLES = ("chips", "samples", "predictions", "refined", "intersections")
_CATALOG_CLASS = "org.apache.iceberg.spark.SparkCatalog"


def publish(context: StageContext) -> StageResult:
    """Publish every table that changed as a new snapshot of `lulc.<namespace>.<table>`.

    Geometries are WKB.

    Raises:
        UsageError: the run file does not say where to publish.
        InputError: there is no table.
        SetupError: Iceberg's JAR is missing.
    """
    target = context.config.publish
    if target is None:
        raise UsageError(
            "the run file does not say where to publish: give it `publish: {warehouse: FOLDER}`"
        )
    names = [name for name in sql.filled_tables(context.out) if name not in _PIXEL_TABLES]
    if set(names) <= {"ledger"}:
        raise InputError(f"{context.out} holds no tables to publish: make them with `lulc run`")
    # The ledger grows by this very stage: it follows the others.
    units = [_unit(context, target, name) for name in names if name != "ledger"]

    def write_tables(todo: Sequence[Unit]) -> list[list[LedgerRow]]:
        _open_catalog(context.spark(), target)
        for unit in todo:
            _write(context, unit.key, target.namespace)
        return [[LedgerRow("publish", unit.key, unit.fingerprint) for unit in todo]]

    def write_ledger(rows: Sequence[LedgerRow]) -> str:
        if rows:
            _write(context, "ledger", target.namespace)
        return f"{CATALOG}.{target.namespace} in {target.warehouse}" if rows else ""

    work = StageWork(
        "publish",
        fingerprint_of(OUTPUT_VERSIONS["publish"], [unit.fingerprint for unit in units]),
        lambda bad: units,  # noqa: ARG005
        write_tables,
        write_ledger,
    )
    result = run_incremental(context, work)
    if result.done:
        return replace(result, done=result.done + 1)
    return replace(result, skipped=result.skipped + 1)


def _unit(context: StageContext, target: PublishConf, name: str) -> Unit:
    identities = [file_identity(file) for file in list_tables(table_folder(context.out, name))]
    return Unit(name, fingerprint_of(OUTPUT_VERSIONS["publish"], target, identities))


def _open_catalog(spark: SparkSession, target: PublishConf) -> None:
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    catalog_class = getattr(jvm.org.apache.iceberg.spark, "SparkCatalog")  # noqa: B009 - Java's
    if type(catalog_class).__name__ != "JavaClass":
        packages = ",".join(session.JARS + session.ICEBERG)
        raise SetupError(
            f"Iceberg is not on the classpath: give spark-submit --packages {packages}"
        )
    settings = {"": _CATALOG_CLASS, ".type": "hadoop", ".warehouse": target.warehouse}
    settings |= {f".{key}": value for key, value in target.catalog.items()}
    for key, value in settings.items():
        spark.conf.set(f"spark.sql.catalog.{CATALOG}{key}", value)
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {CATALOG}.`{target.namespace}`")


def _write(context: StageContext, name: str, namespace: str) -> None:
    # Replaced, not dropped: readers see the old rows or the new, and its history is kept.
    frame = sql.read_view(context.spark(), context.out, name)
    frame.writeTo(f"{CATALOG}.`{namespace}`.{name}").using("iceberg").createOrReplace()
