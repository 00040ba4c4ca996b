"""The evaluate stage: maps against the labels held out of training, one task a samples file."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow.compute as pc

from lulc.chips.tiling import make_tiling
from lulc.errors import InputError
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import run_whole
from lulc.spark.kept import keep_rows
from lulc.spark.workers import map_keys
from lulc.stages import OUTPUT_VERSIONS, mapping_stage
from lulc.stats import validation
from lulc.stats.confusion import hardly_mapped, summarise
from lulc.tables import layout, store
from lulc.tables.files import fingerprint_of
from lulc.tables.ledger import LatestRows, LedgerRow, read_done, read_seal
from lulc.tables.schemas import CONFUSION

_HELD_OUT = ("validation/", "test/")


def evaluate(context: StageContext) -> StageResult:
    """Write the tables `accuracy` and `confusion` of every period, model and held-out split.

    Raises:
        InputError: there are no samples or no map.
    """
    config, out, legend = context.config, context.out, context.config.make_legend()
    samples = read_seal(out, "samples")
    if samples is None:
        raise InputError(f"{out} holds no samples to evaluate with: run `lulc samples` first")
    tiling, predictions = make_tiling(config), _predictions(context)
    identities = [*zip(predictions.column("key"), predictions.column("fingerprint"), strict=True)]
    fingerprint = fingerprint_of(
        OUTPUT_VERSIONS["evaluate"], samples.fingerprint, legend, identities
    )

    def write_accuracy(_: dict[str, LedgerRow]) -> None:
        is_current = pc.field("fingerprint") == samples.fingerprint
        keys = [
            {"split": row.key.partition("/")[0], "path": row.path}
            for row in read_done(out, "samples").where(is_current).records()
            if row.key.startswith(_HELD_OUT)
        ]
        paths = dict(zip(predictions, predictions.column("path"), strict=True))
        maps = validation.Maps(out, tiling, config.tiling.block, legend, paths)
        kept_folder = out / layout.kept_folder("evaluate", fingerprint)
        compare = keep_rows(partial(validation.compare, maps=maps), kept_folder, CONFUSION)
        rows = map_keys(context, keys, compare, CONFUSION, "evaluate")
        matrices = validation.add_up(rows, legend)
        store.write_table(out, "confusion", validation.confusion_table(matrices, legend))
        store.write_table(out, "accuracy", validation.accuracy_table(matrices, legend))
        _tag_models(context, matrices)

    accuracy = layout.table_file("accuracy")
    result = run_whole(context, "evaluate", fingerprint, accuracy, write_accuracy)
    note = validation.format_accuracy(store.read_table(out, "accuracy"))
    return replace(result, note=note)


def _tag_models(context: StageContext, matrices: validation.Matrices) -> None:
    from lulc.models.tracking import tag_hardly_mapped

    legend, totals = context.config.make_legend(), defaultdict(list)
    for (_, model, split), matrix in matrices.items():
        if split == "test":
            totals[model].append(matrix)
    for model, of_periods in totals.items():
        scores = summarise(np.sum(of_periods, axis=0), legend)
        name, _, version = model.rpartition("/")
        tag_hardly_mapped(context.config, context.out, name, version, hardly_mapped(scores))


def _predictions(context: StageContext) -> LatestRows:
    tiling = make_tiling(context.config)
    periods = [period.name for period in context.config.periods]
    stage = mapping_stage(context.config)
    rows = read_done(context.out, stage).of_blocks(periods, tiling.name)
    if not len(rows):
        raise InputError(
            f"{context.out} holds no map of tiling {tiling.name!r} to evaluate: "
            f"run `lulc {stage}` first"
        )
    return rows
