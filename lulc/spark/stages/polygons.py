"""The polygons stage: the classes of a run's maps as polygons."""

from __future__ import annotations

from dataclasses import replace

from lulc.config import MapFiles
from lulc.errors import InputError, UsageError
from lulc.location import parse_location, relative_name
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import run_whole
from lulc.spark.polygons import write_polygons
from lulc.spark.stages.rasters import own_maps
from lulc.stages import OUTPUT_VERSIONS
from lulc.stats.class_rasters import ClassMaps, scan_rasters
from lulc.stats.polygon_files import write_geopackage
from lulc.stats.polygons import make_lattices
from lulc.tables import layout
from lulc.tables.files import file_identity, fingerprint_of
from lulc.tables.ledger import LedgerRow, read_seal


def polygons(context: StageContext) -> StageResult:
    """Make polygons of the run's class rasters, or of maps made elsewhere.

    Raises:
        UsageError: the run file does not ask for them.
        InputError: there are no class rasters of the present predictions, or they are not on the
            pixels of one grid.
    """
    config, out = context.config, context.out
    if not config.rasters.polygons:
        raise UsageError(
            "the run file does not ask for polygons: give it `rasters: {polygons: true}`"
        )
    as_given = config.maps_as_given
    map_files = list(config.maps) if as_given else _map_files(context)
    names = {class_id: c.name for class_id, c in config.legend.items()}
    maps = scan_rasters(map_files, config.stats.overlap, names)
    confidence = None if as_given else _find_confidence(context, maps)
    lattices = make_lattices(maps, confidence)
    seal = None if as_given else read_seal(out, "rasters")
    fingerprint = fingerprint_of(
        OUTPUT_VERSIONS["polygons"],
        seal.fingerprint if seal else [file_identity(raster.path) for raster in maps.rasters],
        maps.periods,
        maps.names,
        config.stats.overlap,
    )
    notes = []

    def write(_: dict[str, LedgerRow]) -> None:
        count = write_polygons(context, lattices, dict(maps.names), fingerprint)
        write_geopackage(out, maps.periods, lattices[0].grid.crs)
        notes.append(f"{count:,} polygons")

    result = run_whole(context, "polygons", fingerprint, layout.POLYGONS, write)
    return replace(result, note="; ".join([*notes, *filter(None, [result.note])]))


def _map_files(context: StageContext) -> list[MapFiles]:
    maps = own_maps(context, 1)
    if not maps:
        raise InputError(
            f"{context.out} holds no class rasters of its present predictions: run `lulc rasters` "
            "first"
        )
    return maps


def _find_confidence(context: StageContext, maps: ClassMaps) -> dict[str, str]:
    # Path of each class raster → path of its raster of confidence.
    return {
        raster.path: str(
            context.out
            / layout.confidence_raster(relative_name(parse_location(raster.path), context.out))
        )
        for raster in maps.rasters
    }
