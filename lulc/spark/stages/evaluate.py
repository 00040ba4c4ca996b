"""The evaluate stage: published maps against the labels held out of training, one task a samples file."""

from __future__ import annotations

from functools import partial

from lulc.chips.tiling import make_tiling
from lulc.errors import InputError
from lulc.spark.incremental import StageContext, StageResult, map_keys
from lulc.stats import validation
from lulc.tables import files, ledger, store
from lulc.tables.schemas import CONFUSION


def evaluate(context: StageContext) -> StageResult:
    """What the stage did: the tables `accuracy` and `confusion` of every period, model and held-out split."""
    config, out, legend = context.config, context.out, context.config.make_legend()
    samples = ledger.latest(out, "samples")
    if "" not in samples:
        raise InputError(f"{out} holds no samples to evaluate with: run `lulc samples` first")
    current = samples.pop("")["fingerprint"]
    tiling = make_tiling(config)
    periods = tuple(f"{period.name}/{tiling.name}/" for period in config.periods)
    predicted = {
        k: r
        for k, r in ledger.latest(out, "predict").items()
        if k.startswith(periods) and r["status"] == "done"
    }
    if not predicted:
        raise InputError(
            f"{out} holds no map of tiling {tiling.name!r} to evaluate: run `lulc predict` first"
        )
    fingerprint = files.fingerprint_of(
        current, legend, [[key, row["fingerprint"]] for key, row in sorted(predicted.items())]
    )
    before = ledger.latest(out, "evaluate").get("evaluate")
    if before and before["fingerprint"] == fingerprint and (out / before["path"]).exists():
        return StageResult(
            "evaluate", stood=1, note=validation.format_accuracy(store.read_table(out, "accuracy"))
        )
    keys = [
        {"split": key.partition("/")[0], "path": row["path"]}
        for key, row in sorted(samples.items())
        if row["fingerprint"] == current and key.startswith(("validation/", "test/"))
    ]
    maps = validation.Maps(
        out,
        tiling,
        config.tiling.block,
        legend,
        {key: row["path"] for key, row in predicted.items()},
    )
    matrices = validation.add_up(
        map_keys(context, keys, partial(validation.compare, maps=maps), CONFUSION, "evaluate"),
        legend,
    )
    store.write_table(out, "confusion", validation.confusion_table(matrices, legend))
    accuracy = validation.accuracy_table(matrices, legend)
    path = store.write_table(out, "accuracy", accuracy)
    done = ledger.ledger_row(
        "evaluate",
        "evaluate",
        fingerprint,
        path=str(path.relative_to(out)),
        checksum=files.checksum(path),
    )
    ledger.append_ledger(out, [done, done | {"key": ""}])
    return StageResult("evaluate", done=1, note=validation.format_accuracy(accuracy))
