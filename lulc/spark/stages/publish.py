"""The publish stage: tables as Iceberg tables, whose past stays readable, and maps as tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from pyspark.sql import SparkSession

from lulc.config import PublishConf
from lulc.errors import InputError, SetupError, UsageError
from lulc.explorer.export import write_archive
from lulc.explorer.tiles import TileLayer, find_layers
from lulc.location import Location, parse_location
from lulc.maps.of_run import legend_of_run, rasters_of_run
from lulc.spark import session
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import StageWork, Unit, run_incremental
from lulc.spark.queries import sql
from lulc.stages import OUTPUT_VERSIONS
from lulc.stats.polygon_files import write_vector_tiles
from lulc.tables.files import file_identity, fingerprint_of, list_tables
from lulc.tables.ledger import LedgerRow
from lulc.tables.store import read_table, table_folder

CATALOG = "lulc"
"""The catalogue's name in Spark."""
# Those that lulc alone reads.
_PIXEL_TABLES = ("chips", "samples", "predictions", "refined", "intersections")
_CATALOG_CLASS = "org.apache.iceberg.spark.SparkCatalog"


def publish(context: StageContext) -> StageResult:
    """Publish what changed: tables as new snapshots of `lulc.<namespace>.<table>`, maps as tiles.

    Geometries of tables are WKB. Tiles are a PMTiles archive a map, `classes-<period>.pmtiles`, and
    one of its polygons where the run makes them.

    Raises:
        UsageError: the run file does not say where to publish.
        InputError: there is no table, or no map.
        SetupError: Iceberg's JAR is missing.
    """
    target = context.config.publish
    if target is None:
        raise UsageError(
            "the run file does not say where to publish: give it `publish: {warehouse: FOLDER}`, "
            "`publish: {tiles: FOLDER}`, or both"
        )
    tables = _table_units(context, target) if target.warehouse else []
    archives = _archive_units(context, target) if target.tiles else []
    units = [*tables, *archives]

    def write_units(todo: Sequence[Unit]) -> list[list[LedgerRow]]:
        if any(unit in tables for unit in todo):
            _open_catalog(context.spark(), target)
        for unit in todo:
            if unit in tables:
                _write(context, unit.key, target.namespace)
            else:
                unit.task(parse_location(target.tiles or "") / unit.key)
        return [[LedgerRow("publish", unit.key, unit.fingerprint) for unit in todo]]

    def write_ledger(rows: Sequence[LedgerRow]) -> str:
        if not (rows and tables):
            return f"maps in {target.tiles}" if rows else ""
        _open_catalog(context.spark(), target)
        _write(context, "ledger", target.namespace)
        return f"{CATALOG}.{target.namespace} in {target.warehouse}"

    work = StageWork(
        "publish",
        fingerprint_of(OUTPUT_VERSIONS["publish"], [unit.fingerprint for unit in units]),
        lambda bad: units,  # noqa: ARG005
        write_units,
        write_ledger,
    )
    result = run_incremental(context, work)
    if not tables:
        return result
    if result.done:
        return replace(result, done=result.done + 1)
    return replace(result, skipped=result.skipped + 1)


def _table_units(context: StageContext, target: PublishConf) -> list[Unit]:
    names = [name for name in sql.filled_tables(context.out) if name not in _PIXEL_TABLES]
    if set(names) <= {"ledger"}:
        raise InputError(f"{context.out} holds no tables to publish: make them with `lulc run`")
    # The ledger grows by this very stage: it follows the others.
    return [_unit(context, target, name) for name in names if name != "ledger"]


def _archive_units(context: StageContext, target: PublishConf) -> list[Unit]:
    config, out = context.config, context.out
    areas = read_table(out, "class_areas", ["class_id", "class_name"])
    rasters = rasters_of_run(config, out)
    legend = legend_of_run(config, areas, [path for paths in rasters.values() for path in paths])
    units = []
    for layer in find_layers(config, out, rasters, legend):
        identities = [file_identity(part.path) for part in layer.parts]
        settings = (OUTPUT_VERSIONS["publish"], target.tiles, sorted(layer.palette.items()))
        fingerprint = fingerprint_of(*settings, identities)
        units.append(Unit(f"{layer.name}.pmtiles", fingerprint, task=partial(write_archive, layer)))
        if layer.kind == "classes" and config.rasters.polygons:
            units.append(_polygons_unit(out, layer, target))
    return units


def _polygons_unit(out: Location, layer: TileLayer, target: PublishConf) -> Unit:
    identities = [file_identity(file) for file in list_tables(table_folder(out, "polygons"))]
    if not identities:
        raise InputError(f"{out} holds no polygons to publish: run `lulc polygons` first")
    write = partial(write_vector_tiles, out, layer.period, layer.parts[0].grid.crs, layer.max_zoom)
    fingerprint = fingerprint_of(OUTPUT_VERSIONS["publish"], target.tiles, identities)
    return Unit(f"polygons-{layer.period}.pmtiles", fingerprint, task=write)


def _unit(context: StageContext, target: PublishConf, name: str) -> Unit:
    identities = [file_identity(file) for file in list_tables(table_folder(context.out, name))]
    catalog = replace(target, tiles=None)
    return Unit(name, fingerprint_of(OUTPUT_VERSIONS["publish"], catalog, identities))


def _open_catalog(spark: SparkSession, target: PublishConf) -> None:
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    catalog_class = getattr(jvm.org.apache.iceberg.spark, "SparkCatalog")  # noqa: B009 - Java's
    if type(catalog_class).__name__ != "JavaClass":
        packages = ",".join(session.JARS + session.ICEBERG)
        raise SetupError(
            f"Iceberg is not on the classpath: give spark-submit --packages {packages}"
        )
    settings = {"": _CATALOG_CLASS, ".type": "hadoop", ".warehouse": str(target.warehouse)}
    settings |= {f".{key}": value for key, value in target.catalog.items()}
    for key, value in settings.items():
        spark.conf.set(f"spark.sql.catalog.{CATALOG}{key}", value)
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {CATALOG}.`{target.namespace}`")


def _write(context: StageContext, name: str, namespace: str) -> None:
    # Replaced, not dropped: readers see the old rows or the new, and its history is kept.
    frame = sql.read_view(context.spark(), context.out, name)
    frame.writeTo(f"{CATALOG}.`{namespace}`.{name}").using("iceberg").createOrReplace()
