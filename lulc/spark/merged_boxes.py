"""The rasters stage of task detect: boxes of neighbouring tiles merged, one task a block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from lulc.chips.tiling import make_tiling
from lulc.errors import InputError
from lulc.inference.blocks import predictions_path
from lulc.inference.detections import DetectionSpec, write_detections
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import StageWork, Unit, run_incremental
from lulc.spark.workers import map_units
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables.files import fingerprint_of
from lulc.tables.layout import BlockKey, parse_block_key
from lulc.tables.ledger import LedgerRow, read_done
from lulc.tables.store import read_table


def detections(context: StageContext) -> StageResult:
    """Write the detections of every block whose boxes, or those around it, changed.

    Raises:
        InputError: there are no boxes.
    """
    config, out = context.config, context.out
    tiling = make_tiling(config)
    spec = DetectionSpec(out, tiling, config.tiling.block, config.predict.overlap)
    periods = [period.name for period in config.periods]
    rows = read_done(out, "predict").of_blocks(periods, tiling.name).records()
    boxes = {parse_block_key(row.key): row for row in rows}
    if not boxes:
        raise InputError(
            f"{out} holds no boxes of tiling {tiling.name!r}: run `lulc predict` first"
        )
    units = [_unit(block, boxes, spec) for block in sorted(boxes)]
    write = partial(write_detections, spec=spec)
    work = StageWork(
        "rasters",
        fingerprint_of(OUTPUT_VERSIONS["rasters"], [unit.fingerprint for unit in units]),
        lambda bad: units,  # noqa: ARG005
        lambda todo: map_units(context, [unit.task for unit in todo], write, "detections"),
        table="detections",
    )
    result = run_incremental(context, work)
    count = read_table(out, "detections", ["n"]).num_rows
    return replace(result, note=f"{count:,} detections")


def _unit(block: BlockKey, boxes: Mapping[BlockKey, LedgerRow], spec: DetectionSpec) -> Unit:
    # A block's detections depend on its own boxes and on those of the eight blocks around it.
    steps = (-spec.span, 0, spec.span)
    offsets = [(x, y) for y in steps for x in steps]
    neighbours = [replace(block, col=block.col + x, row=block.row + y) for x, y in offsets]
    rows = [boxes[neighbour] for neighbour in neighbours if neighbour in boxes]
    fingerprint = fingerprint_of(
        OUTPUT_VERSIONS["rasters"], "detections", [row.fingerprint for row in rows], spec.overlap
    )
    path = predictions_path(str(block), fingerprint, "detections")
    paths = [row.path for row in rows]
    task = {"key": str(block), "fingerprint": fingerprint, "path": path, "paths": paths}
    return Unit(str(block), fingerprint, path, task)
