"""The rasters stage: one task a group of tiles, then the collection and each period's index."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import pyarrow.compute as pc

from lulc.chips.tiling import make_tiling
from lulc.config import MapFiles
from lulc.errors import InputError
from lulc.location import Location
from lulc.maps import stac
from lulc.maps.class_map import RasterSpec
from lulc.maps.mosaic_index import write_mosaic
from lulc.maps.rasters import files_of_raster, group_key, raster_path, write_group
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import StageWork, Unit, run_incremental
from lulc.spark.merged_boxes import detections
from lulc.spark.workers import map_units
from lulc.stages import OUTPUT_VERSIONS, mapping_stage
from lulc.tables import files, layout
from lulc.tables.files import fingerprint_of, plain_inputs
from lulc.tables.ledger import LedgerRow, read_done, read_latest, read_ledger, read_seal
from lulc.tables.ledger_files import which_exist


def rasters(context: StageContext) -> StageResult:
    """Write a COG, its confidence and its STAC item for every group of tiles that is mapped.

    Task detect gets its boxes merged across tiles instead. The whole map is written, whatever
    part of the run is selected.

    Raises:
        InputError: there are no predictions.
    """
    config, out = context.config, context.out
    if config.task == "detect":
        return detections(context)
    spec = _make_spec(context)
    groups = _groups(context, spec)
    if not groups:
        raise InputError(
            f"{out} holds no predictions of tiling {spec.tiling.name!r}: run "
            f"`lulc {mapping_stage(config)}` first"
        )
    periods = sorted({group["key"].partition("/")[0] for group in groups})
    mosaics = [file for period in periods for file in layout.mosaic_files(period)]

    @cache
    def units() -> list[Unit]:
        flat = _flat_periods(out, periods)
        return [_unit(group, spec, flat) for group in groups]

    def write_indexes(_: Sequence[LedgerRow]) -> str:
        paths = [unit.path for unit in units() if unit.path]
        map_parts = stac.write_collection(out, spec.name, paths)
        for period in periods:
            of_period = [p for p in map_parts if layout.raster_period(p.place) == period]
            write_mosaic(out, period, of_period, spec.legend)
        _remove_mosaics_of_other_periods(context, periods)
        return ""

    write = partial(write_group, spec=spec)
    work = StageWork(
        "rasters",
        _fingerprint(groups, spec),
        lambda bad: units(),  # noqa: ARG005
        lambda todo: map_units(context, [unit.task for unit in todo], write, "rasters"),
        write_indexes,
        files_of=partial(files_of_raster, spec=spec),
        also_removed=lambda path: [
            layout.probabilities_raster(path),
            layout.uncertainty_raster(path),
        ],
        other_files=[layout.COLLECTION, layout.ITEMS_TABLE, *mosaics],
    )
    return run_incremental(context, work)


def are_current(context: StageContext) -> bool:
    """Return whether the class rasters are those of all predictions that there are."""
    seal, spec = read_seal(context.out, "rasters"), _make_spec(context)
    return seal is not None and seal.fingerprint == _fingerprint(_groups(context, spec), spec)


def own_maps(context: StageContext, least_periods: int) -> list[MapFiles]:
    """Return the run's class rasters by period, none where they are not of its predictions.

    Args:
        context: the run.
        least_periods: none are returned of fewer.

    Raises:
        InputError: some of them are gone.
    """
    config, out = context.config, context.out
    if len(config.periods) < least_periods:
        return []
    is_done = (pc.field("status") == "done") & pc.field("path").is_valid()
    recorded = read_latest(out, "rasters").where(is_done).column("path")
    periods = {layout.raster_period(path) for path in recorded}
    mapped = [period.name for period in config.periods if period.name in periods]
    if len(mapped) < least_periods or not are_current(context):
        return []
    lost = set(recorded) - which_exist(out, recorded)
    if lost:
        raise InputError(
            f"{len(lost)} class rasters of {out} are gone, such as {min(lost)}: run `lulc rasters` "
            "first"
        )
    folder = out / layout.RASTERS
    return [MapFiles(str(folder / name / "**" / "*.tif"), name) for name in mapped]


def _make_spec(context: StageContext) -> RasterSpec:
    config = context.config
    # A raster's border must not cut a block of predictions: the group is rounded up to whole ones.
    group = -(-config.rasters.group // config.tiling.block) * config.tiling.block
    return RasterSpec(
        context.out,
        config.name,
        make_tiling(config),
        config.make_legend(),
        group,
        config.periods,
        config.predict.probabilities,
        config.rasters.uncertainty,
        config.predict.spread,
    )


def _groups(context: StageContext, spec: RasterSpec) -> list[dict[str, Any]]:
    # Of each raster its `key` and `fingerprint`, and the `paths` of its predictions.
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    periods = [period.name for period in spec.periods]
    stage = mapping_stage(context.config)
    rows = read_done(context.out, stage).of_blocks(periods, spec.tiling.name)
    columns = rows.cells(), rows.column("fingerprint"), rows.column("path")
    for (period, col, row), fingerprint, path in zip(*columns, strict=True):
        groups[group_key(period, col, row, spec.group)].append((fingerprint, path))
    shared = plain_inputs([spec.legend, spec.name, spec.group, spec.tiling, spec.periods])
    return [
        {
            "key": key,
            "fingerprint": fingerprint_of(
                OUTPUT_VERSIONS["rasters"], [digest for digest, _ in blocks], *shared
            ),
            "paths": [path for _, path in blocks],
        }
        for key, blocks in sorted(groups.items())
    ]


def _fingerprint(groups: Sequence[Mapping[str, Any]], spec: RasterSpec) -> str:
    fingerprints = [group["fingerprint"] for group in groups]
    # What is not asked for is not in it: those of earlier releases hold.
    besides = ["uncertainty"] if spec.uncertainty else []
    besides += ["spread"] if spec.uncertainty and spec.spread else []
    return fingerprint_of(OUTPUT_VERSIONS["rasters"], fingerprints, spec.probabilities, *besides)


def _flat_periods(out: Location, periods: Sequence[str]) -> list[str]:
    # Those whose rasters an earlier release wrote: the rasters of a period lie together.
    return [name for name in periods if any((out / layout.RASTERS / name).glob("*.tif"))]


def _unit(group: Mapping[str, Any], spec: RasterSpec, flat_periods: Sequence[str]) -> Unit:
    key = group["key"]
    path = raster_path(key, spec.name, key.partition("/")[0] in flat_periods)
    return Unit(key, group["fingerprint"], path, {**group, "path": path})


def _remove_mosaics_of_other_periods(context: StageContext, periods: Sequence[str]) -> None:
    paths = read_ledger(context.out, "rasters")["path"].unique().to_pylist()
    for period in {layout.raster_period(path) for path in paths if path} - set(periods):
        for mosaic_file in layout.mosaic_files(period):
            files.remove(context.out / mosaic_file)
