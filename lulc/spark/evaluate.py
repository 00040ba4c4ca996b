"""The evaluate stage: published maps against the labels held out of training, one task a samples file."""

from __future__ import annotations

from functools import partial

from lulc import agreement, store
from lulc.errors import InputError
from lulc.spark.stage import Outcome, Request, each
from lulc.tables import CONFUSION
from lulc.tiling import make_tiling


def evaluate(request: Request) -> Outcome:
    """What the stage did: the tables `accuracy` and `confusion` of every period, model and held-out split."""
    run, out, legend = request.run, request.out, request.run.make_legend()
    samples = store.standing(out, "samples")
    if "" not in samples:
        raise InputError(f"{out} holds no samples to evaluate with: run `lulc samples` first")
    current = samples.pop("")["fingerprint"]
    tiling = make_tiling(run)
    periods = tuple(f"{period.name}/{tiling.name}/" for period in run.periods)
    predicted = {k: r for k, r in store.standing(out, "predict").items() if k.startswith(periods) and r["status"] == "done"}
    if not predicted:
        raise InputError(f"{out} holds no map of tiling {tiling.name!r} to evaluate: run `lulc predict` first")
    print_ = store.fingerprint(current, legend, [[key, row["fingerprint"]] for key, row in sorted(predicted.items())])
    before = store.standing(out, "evaluate").get("evaluate")
    if before and before["fingerprint"] == print_ and (out / before["path"]).exists():
        return Outcome("evaluate", stood=1, note=agreement.describe(store.read_table(out, "accuracy")))
    keys = [
        {"split": key.partition("/")[0], "path": row["path"]}
        for key, row in sorted(samples.items())
        if row["fingerprint"] == current and key.startswith(("validation/", "test/"))
    ]
    maps = agreement.Maps(out, tiling, run.tiling.block, legend, {key: row["path"] for key, row in predicted.items()})
    matrices = agreement.add_up(each(request, keys, partial(agreement.compare, maps=maps), CONFUSION, "evaluate"), legend)
    store.write_table(out, "confusion", agreement.confusion_table(matrices, legend))
    accuracy = agreement.accuracy_table(matrices, legend)
    path = store.write_table(out, "accuracy", accuracy)
    done = store.entry("evaluate", "evaluate", print_, path=str(path.relative_to(out)), checksum=store.checksum(path))
    store.append_ledger(out, [done, done | {"key": ""}])
    return Outcome("evaluate", done=1, note=agreement.describe(accuracy))
