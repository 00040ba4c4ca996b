"""The predict stage: a task maps a block of chips, some on a GPU; a worker loads the model once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow.compute as pc
import shapely

from lulc.chips.extent import block_of_tile
from lulc.chips.tiling import make_tiling
from lulc.errors import InputError
from lulc.geo.grid import footprint
from lulc.geo.tiling import Tiling
from lulc.inference import blocks
from lulc.inference.blocks import InferenceSpec
from lulc.inference.suitability import check_model, compare_precision
from lulc.maps.applicability import describe_far_tiles
from lulc.models.contract import read_contract
from lulc.models.package import CONTRACT, ModelRef
from lulc.models.registry import resolve
from lulc.sources.area import make_box
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import StageWork, Unit, run_incremental
from lulc.spark.workers import map_units_on_gpus
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables.encoding import known_units
from lulc.tables.files import fingerprint_of
from lulc.tables.layout import BlockKey, parse_block_key
from lulc.tables.ledger import LatestRows, LedgerRow, read_latest
from lulc.tables.store import read_rows, read_some_footers

_CHIPS_TRIED = 5
_TASK = ["key", "path", "checksum", "fingerprint"]


def predict(context: StageContext) -> StageResult:
    """Map every block of chips by the model that the run file names, or its own champion.

    Raises:
        InputError: there are no chips, or the model's legend, bands or task are not the run's.
    """
    config, out = context.config, context.out
    model = resolve(config.predict.model or config.name, out, config.tracking.uri)
    check_model(config, model)
    spec = InferenceSpec(out, model, config.predict)
    table = blocks.table_of(config.task)
    chips = chip_blocks(context)
    units_note = _compare_units(context, chips, model)
    all_chips = fingerprint_of(chips.column("key"), chips.column("fingerprint"))
    map_blocks = partial(_map_blocks, spec=spec)
    work = StageWork(
        "predict",
        fingerprint_of(OUTPUT_VERSIONS["predict"], table, spec.fingerprint(all_chips)),
        lambda bad: _plan(chips, spec, table),  # noqa: ARG005
        lambda todo: map_units_on_gpus(
            context, [unit.task for unit in todo], map_blocks, "predict", config.predict.gpu
        ),
        lambda rows: "; ".join(filter(None, [units_note, *_describe_files(context, rows)])),
        table=table,
        is_of_selection=True,
    )
    result = run_incremental(context, work)
    label = f"{model.name} version {model.version}"
    return replace(result, note=", ".join(filter(None, [label, result.note])))


def _compare_units(context: StageContext, chips: LatestRows, model: ModelRef) -> str:
    # What is converted, or not known; of one chip, as all are in one encoding.
    contract = read_contract(model.folder / CONTRACT)
    for path in chips.column("path")[:_CHIPS_TRIED] if contract.units else ():
        with contextlib.suppress(InputError):  # a damaged file is a bad input of its own block
            chip = next(read_rows(context.out / path, ["tile_id", "units"], [0]))
            return contract.describe_mismatch(known_units(chip))
    return ""


def _describe_files(context: StageContext, rows: Sequence[LedgerRow]) -> tuple[str, str]:
    # What some of the files tell: the precision, and tiles that are unlike the samples.
    footers = read_some_footers([context.out / row.path for row in rows if row.path])
    precision = compare_precision(
        [footer["trained_in"] for footer in footers], [footer["precision"] for footer in footers]
    )
    return precision, describe_far_tiles(footers, context.config.predict.training_distance)


def _plan(chips: LatestRows, spec: InferenceSpec, table: str) -> list[Unit]:
    units = []
    for task in chips.table.select(_TASK).to_pylist():
        fingerprint = spec.fingerprint(task["fingerprint"])
        path = blocks.predictions_path(task["key"], fingerprint, table)
        units.append(Unit(task["key"], fingerprint, path, task))
    return units


def chip_blocks(context: StageContext) -> LatestRows:
    """Return the ledger rows of a run's blocks of chips, of the part that is selected, by key.

    Raises:
        InputError: there are none.
    """
    tiling = make_tiling(context.config)
    periods = [period.name for period in context.config.periods]
    of_run = read_latest(context.out, "tile").of_blocks(periods, tiling.name)
    rows = of_run.where((pc.field("status") == "done") & pc.field("path").is_valid())
    if not context.selection.whole:
        keys = [key for key in rows if _is_selected(context, parse_block_key(key), tiling)]
        rows = rows.select(keys)
    if not len(rows):
        raise InputError(
            f"{context.out} holds no chips of tiling {tiling.name!r} to map: "
            "run `lulc tile` first, or choose other tiles"
        )
    return rows


def _is_selected(context: StageContext, block: BlockKey, tiling: Tiling) -> bool:
    selection, span = context.selection, context.config.tiling.block
    tiles = selection.tiles
    if tiles and block.cell not in {block_of_tile(tile_id, tiling, span) for tile_id in tiles}:
        return False
    if selection.bbox is None:
        return True
    outline = footprint(tiling.grid(*block.cell, span=span))
    return bool(shapely.intersects(make_box(selection.bbox), outline))


def _map_blocks(keys: Iterator[dict[str, Any]], spec: InferenceSpec) -> Iterator[LedgerRow]:
    from lulc.inference.predictor import use_one_core

    use_one_core()
    return blocks.map_blocks(keys, spec)
