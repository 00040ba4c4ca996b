"""The refine stage: a task makes the map of a block of its predictions and those around it.

Maps made elsewhere take the place of predictions where the run names such.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from lulc.chips.tiling import make_tiling
from lulc.errors import InputError, UsageError
from lulc.geo.tiling import Tiling
from lulc.maps.refine.blocks import RefineSpec, refine_blocks
from lulc.maps.refine.layers import check_layer, layer_identity
from lulc.maps.refine.sources import MapSource
from lulc.maps.refine.steps import reach
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import StageWork, Unit, run_incremental
from lulc.spark.map_blocks import ScannedMap, blocks_of_maps, note_on_pixels, scan_maps
from lulc.spark.workers import map_units
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import layout
from lulc.tables.files import fingerprint_of, open_parquet, plain_inputs
from lulc.tables.ledger import LatestRows, read_done

type _Cell = tuple[str, int, int]
"""Period, column and row of a block's top left tile."""
type _Block = tuple[str, str, str]
"""Key, fingerprint and path of a block of predictions."""


def refine(context: StageContext) -> StageResult:
    """Make the map of every block of predictions, or of maps made elsewhere.

    All are, whatever part of the run is selected.

    Raises:
        InputError: there are no predictions, or a map cannot be read.
        UsageError: the run file does not say how to refine.
    """
    spec, units, note = plan_refinement(context)
    work = StageWork(
        "refine",
        fingerprint_of(OUTPUT_VERSIONS["refine"], [[unit.key, unit.fingerprint] for unit in units]),
        lambda bad: units,  # noqa: ARG005
        lambda todo: map_units(
            context, _join_periods(todo, spec), partial(refine_blocks, spec=spec), "refine"
        ),
        table="refined",
    )
    result = run_incremental(context, work)
    pixels = reach(spec.settings)
    looked_at = f"{pixels} pixels around each are looked at" if pixels else ""
    return replace(result, note="; ".join(filter(None, [looked_at, note])))


def plan_refinement(context: StageContext) -> tuple[RefineSpec, list[Unit], str]:
    """Return how the run's map is refined, its blocks, and a note on its maps; no pixel is read.

    Raises:
        InputError: as `refine` raises it.
        UsageError: as `refine` raises it.
    """
    config, out = context.config, context.out
    if config.refine is None:
        raise UsageError(
            "the run file does not say how to refine: give it such as "
            "`refine: {majority: 3, minimum_mapping_unit: 5}`"
        )
    spec = RefineSpec(
        out,
        config.refine,
        make_tiling(config),
        config.tiling.block,
        tuple(period.name for period in config.periods),
        tuple((c.id, c.name) for c in config.make_legend().classes),
        config.name,
    )
    for name, path in config.refine.layers.items():
        check_layer(path, f"refine.layers.{name}")
    if config.maps:
        scanned = scan_maps(config)
        spec = replace(spec, sources=_by_period(scanned))
        return spec, list(_plan_maps(scanned, spec)), note_on_pixels(scanned, spec.tiling)
    rows = _read_predictions(spec)
    spec = replace(spec, tiling=_tiling_of(rows, spec))
    return spec, list(_plan(rows, spec)), ""


def _read_predictions(spec: RefineSpec) -> LatestRows:
    name = spec.tiling.name
    rows = read_done(spec.out, "predict").of_blocks(list(spec.periods), name)
    if not len(rows):
        raise InputError(
            f"{spec.out} holds no predictions of tiling {name!r}: run `lulc predict` first"
        )
    return rows


def _tiling_of(rows: LatestRows, spec: RefineSpec) -> Tiling:
    # Where squares were classified, a tile has fewer pixels than it was cut with.
    with open_parquet(spec.out / rows.column("path")[0]) as file:
        side = file.read_row_group(0, ["height"])["height"][0].as_py()
    return spec.tiling.coarsen(spec.tiling.size // side)


def _by_period(scanned: Sequence[ScannedMap]) -> dict[str, list[MapSource]]:
    sources: dict[str, list[MapSource]] = defaultdict(list)
    for one in scanned:
        sources[one.period].append(one.source)
    return dict(sources)


def _plan_maps(scanned: Sequence[ScannedMap], spec: RefineSpec) -> Iterator[Unit]:
    blocks = blocks_of_maps(scanned, spec.tiling, spec.block, reach(spec.settings))
    shared = [*_shared(spec), *plain_inputs([spec.settings.combine, spec.legend, spec.tiling])]
    settings = plain_inputs([one.identity() for one in scanned])
    for cell in blocks:
        own, col, row = cell
        periods = spec.periods if spec.settings.transitions else (own,)
        parts = [[period, blocks.get((period, col, row), [])] for period in periods]
        of_periods = [entry for entry in settings if entry[0] in periods]
        fingerprint = fingerprint_of(OUTPUT_VERSIONS["refine"], shared, of_periods, parts)
        key = layout.BlockKey(own, spec.tiling.name, col, row)
        yield Unit(str(key), fingerprint, layout.block_file("refined", key, fingerprint), [])


def _shared(spec: RefineSpec) -> list[Any]:
    # What all blocks depend on. Names of classes and the order of periods matter where these steps
    # are.
    settings = spec.settings
    names = spec.legend if settings.transitions or settings.rules else ()
    periods = spec.periods if settings.transitions else ()
    layers = [layer_identity(path) for _, path in sorted(settings.layers.items())]
    return plain_inputs([settings, names, periods, layers])


def _plan(rows: LatestRows, spec: RefineSpec) -> Iterator[Unit]:
    columns = (rows.column(name) for name in ("key", "fingerprint", "path"))
    blocks = dict(zip(rows.cells(), zip(*columns, strict=True), strict=True))
    shared = _shared(spec)
    for cell, (key, _, _) in blocks.items():
        around = list(_around(cell, blocks, spec))
        parts = [[place, fingerprint] for place, (_, fingerprint, _) in around]
        fingerprint = fingerprint_of(OUTPUT_VERSIONS["refine"], shared, parts)
        path = layout.block_file("refined", layout.parse_block_key(key), fingerprint)
        yield Unit(key, fingerprint, path, [source for _, (_, _, source) in around])


def _around(
    cell: _Cell, blocks: Mapping[_Cell, _Block], spec: RefineSpec
) -> Iterator[tuple[Sequence[Any], _Block]]:
    # The block at a cell and those that its steps look into, with how many blocks away they are.
    own, col, row = cell
    reached = range(-spec.blocks_reached, spec.blocks_reached + 1)
    for period in spec.periods if spec.settings.transitions else (own,):
        for down in reached:
            for right in reached:
                near = blocks.get((period, col + right * spec.block, row + down * spec.block))
                if near is not None:
                    yield (period, right, down), near


def _join_periods(units: Sequence[Unit], spec: RefineSpec) -> list[dict[str, Any]]:
    # Tasks: a block each, or where periods are made consistent all those at one place.
    by_place: dict[Any, list[Unit]] = defaultdict(list)
    for unit in units:
        place = layout.parse_block_key(unit.key).cell if spec.settings.transitions else unit.key
        by_place[place].append(unit)
    return [
        {
            "keys": [unit.key for unit in some],
            "fingerprints": [unit.fingerprint for unit in some],
            "paths": [unit.path for unit in some],
            "sources": some[0].task,
        }
        for some in by_place.values()
    ]
