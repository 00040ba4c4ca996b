"""publish: the run's tables as Iceberg tables, which other engines read, and whose earlier states stay readable."""

from __future__ import annotations

from lulc.errors import InputError, SetupError, UsageError
from lulc.spark import session, sql
from lulc.spark.incremental import StageContext, StageResult
from lulc.tables import ledger, store
from lulc.tables.files import file_identity, fingerprint_of

CATALOG = "lulc"
"""The catalogue's name in Spark."""
_OWN = ("chips", "samples", "predictions", "intersections")  # pixels, read by lulc alone
_CLASS = "org.apache.iceberg.spark.SparkCatalog"


def publish(context: StageContext) -> StageResult:
    """What the stage did: every table that changed is a new snapshot of `lulc.<namespace>.<table>`; geometries are WKB.

    UsageError where the run file does not say where to, InputError where there is no table, SetupError without Iceberg's JAR.
    """
    conf, out = context.config.publish, context.out
    if conf is None:
        raise UsageError(
            "the run file does not say where to publish: give it `publish: {warehouse: FOLDER}`"
        )
    names = [name for name in sql.filled_tables(out) if name not in _OWN]
    if set(names) <= {"ledger"}:
        raise InputError(f"{out} holds no tables to publish: make them with `lulc run`")
    held = ledger.latest(out, "publish")
    files = {name: sorted(store.table_folder(out, name).rglob("[!.]*.parquet")) for name in names}
    prints = {
        name: fingerprint_of(conf, [file_identity(path) for path in files[name]]) for name in names
    }
    # The ledger grows by this very stage: it follows the others.
    changed = [
        n for n in names if n != "ledger" and held.get(n, {}).get("fingerprint") != prints[n]
    ]
    if not changed:
        return StageResult("publish", stood=len(names))
    spark = context.spark()
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    if type(getattr(jvm.org.apache.iceberg.spark, "SparkCatalog")).__name__ != "JavaClass":  # noqa: B009 - a Java package
        raise SetupError(
            f"Iceberg is not on the classpath: give spark-submit --packages {','.join(session.JARS + session.ICEBERG)}"
        )
    settings = {"": _CLASS, ".type": "hadoop", ".warehouse": conf.warehouse} | {
        f".{k}": v for k, v in conf.catalog.items()
    }
    for key, value in settings.items():
        spark.conf.set(f"spark.sql.catalog.{CATALOG}{key}", value)
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {CATALOG}.`{conf.namespace}`")
    for name in changed:
        _write(context, name, conf.namespace)
    ledger.append_ledger(
        out, [ledger.ledger_row("publish", name, prints[name]) for name in changed]
    )
    _write(context, "ledger", conf.namespace)
    return StageResult(
        "publish",
        len(names) - len(changed) - 1,
        len(changed) + 1,
        note=f"{CATALOG}.{conf.namespace} in {conf.warehouse}",
    )


def _write(context: StageContext, name: str, namespace: str) -> None:
    # Replaced, not dropped: readers see the old rows or the new, and its history is kept.
    frame = sql.read_view(context.spark(), context.out, name)
    frame.writeTo(f"{CATALOG}.`{namespace}`.{name}").using("iceberg").createOrReplace()
