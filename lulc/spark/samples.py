"""The samples stage: labels surveyed on every chip, blocks split, the audit, then one task a file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from lulc import leakage, splits, store
from lulc import samples as pure
from lulc.errors import InputError, UsageError
from lulc.samples import SURVEY, Recipe
from lulc.spark.stage import Outcome, Request, each, ledger_rows
from lulc.splits import SPLITS, Block, Fence
from lulc.tiling import make_tiling

Row = dict[str, Any]


def samples(request: Request) -> Outcome:
    """What the stage did: labels on every chip that stands, split by spatial block, audited, written as equal row groups."""
    run, out = request.run, request.out
    if run.labels is None:
        raise UsageError("the run file has no labels to learn from: add `labels:` with the path of a class raster or of polygons")
    recipe = Recipe(out, run.name, make_tiling(run), run.make_legend(), run.labels, run.samples)
    chips = _chips(request, recipe)
    try:
        identity = store.identity(run.labels.path)
    except OSError as error:
        raise InputError(f"labels {run.labels.path} cannot be opened ({error.strerror}): correct labels.path") from error
    inputs = [[row["key"], row["fingerprint"]] for row in chips]
    print_ = store.fingerprint(identity, recipe.legend, run.samples, run.labels, run.tiling, inputs)
    held = {key: row for key, row in store.standing(out, "samples").items() if row["fingerprint"] == print_}
    whole = held.pop("", None)
    standing = {key for key, row in held.items() if (out / row["path"]).exists()}
    if whole and standing == set(held):
        return Outcome("samples", stood=len(held))
    windows, note = plan(request, recipe, [row["path"] for row in chips])
    keys = _file_keys(windows, recipe, print_)
    paths = {pure.file_path(key["split"], key["number"], print_) for key in keys}
    there = sum((out / path).exists() for path in paths)
    # A file that a killed run left is adopted: `write` gives the ledger row in its footer.
    to_do = [key for key in keys if pure.file_key(key["split"], key["number"]) not in standing]
    ledger_rows(request, to_do, partial(pure.write, recipe=recipe), "samples")
    for file in store.table_folder(out, "samples").rglob("*.parquet"):
        if str(file.relative_to(out)) not in paths:
            file.unlink()
    store.append_ledger(out, [store.entry("samples", "", print_)])
    return Outcome("samples", stood=there, done=len(keys) - there, note=note)


def plan(request: Request, recipe: Recipe, paths: Sequence[str]) -> tuple[list[Row], str]:
    """The windows that become samples, each with its `split` and `fences`, audited; and what to tell the user about them."""
    conf = recipe.conf
    work = partial(pure.survey, recipe=recipe)
    rows = each(request, [{"path": path, "places": []} for path in paths], work, SURVEY, "labels")
    labelled = [row for row in rows if sum(row["counts"])]
    by_block: dict[Block, np.ndarray] = defaultdict(lambda: np.zeros(len(recipe.legend.classes), np.int64))
    for row in labelled:
        by_block[_block(row, recipe)] += row["counts"]
    assigned = splits.assign(by_block, conf)
    metres = splits.ground(recipe.tiling, assigned, conf)
    around = splits.fences(assigned, metres, conf)
    fenced = _survey_again(request, [row for row in labelled if _block(row, recipe) in around], around, recipe)
    final = [fenced.get(_where(row), row) for row in labelled]
    least = max(1, conf.min_labelled * conf.size**2)
    windows = [
        row | {"split": assigned[_block(row, recipe)], "fences": around.get(_block(row, recipe), [])}
        for row in final
        if sum(row["counts"]) >= least
    ]
    leakage.audit([_place(row, conf.size) for row in windows], metres, conf)
    lost = {
        "windows without a label": len(rows) - len(labelled),
        "windows with too few": len(labelled) - len(windows),
        "pixels within the buffer": sum(sum(row["counts"]) for row in labelled) - sum(sum(row["counts"]) for row in final),
        "pixels without imagery": sum(row["unobserved"] for row in rows),
        "pixels of contradicting polygons": sum({(r["path"], r["row_group"]): r["conflicts"] for r in rows}.values()),
    }
    return windows, _describe(windows, lost, recipe)


def _chips(request: Request, recipe: Recipe) -> list[Row]:
    # The chip blocks of this run's tiling and periods, in order of their keys.
    periods = tuple(f"{period.name}/{recipe.tiling.name}/" for period in request.run.periods)
    rows = [row for key, row in sorted(store.standing(request.out, "tile").items()) if key.startswith(periods)]
    done = [row for row in rows if row["status"] == "done" and (request.out / row["path"]).exists()]
    if not done:
        raise InputError(f"{request.out} holds no chips of tiling {recipe.tiling.name!r}: run `lulc tile` first")
    return done


def _block(row: Mapping[str, Any], recipe: Recipe) -> Block:
    return splits.block_of(row["col"], row["row"], recipe.conf)


def _where(row: Mapping[str, Any]) -> tuple[str, int, int, int]:
    return row["path"], row["row_group"], row["col"], row["row"]


def _survey_again(
    request: Request, rows: Iterable[Row], around: Mapping[Block, list[Fence]], recipe: Recipe
) -> dict[tuple[str, int, int, int], Row]:
    # What windows near another split hold once their labels keep off it.
    places = defaultdict(list)
    for row in rows:
        places[row["path"]].append(pure.place_of(row, around[_block(row, recipe)]))
    keys = [{"path": path, "places": found} for path, found in places.items()]
    return {_where(row): row for row in each(request, keys, partial(pure.survey, recipe=recipe), SURVEY, "buffer")}


def _place(row: Mapping[str, Any], size: int) -> leakage.Place:
    extent = None if row["extent"] is None else np.frombuffer(row["extent"], np.int16).reshape(2, size)
    return leakage.Place(pure.sample_id(row), row["split"], row["col"], row["row"], extent)


def _file_keys(windows: Sequence[Row], recipe: Recipe, print_: str) -> list[Row]:
    keys = []
    for split in SPLITS:
        files = pure.share_out([row for row in windows if row["split"] == split], recipe.conf)
        for number, rows in enumerate(files):
            places = [pure.place_of(row, row["fences"]) for row in rows]
            keys.append({"split": split, "number": number, "fingerprint": print_, "places": places})
    return keys


def _describe(windows: Sequence[Row], lost: Mapping[str, int], recipe: Recipe) -> str:
    names = [c.name for c in recipe.legend.classes]
    counts = {split: np.zeros(len(names), np.int64) for split in SPLITS}
    number = Counter(row["split"] for row in windows)
    for row in windows:
        counts[row["split"]] += row["counts"]
    parts = []
    for split in SPLITS:
        shown = ", ".join(f"{name} {count:,}" for name, count in zip(names, counts[split], strict=True) if count)
        parts.append(f"{split} {number[split]:,} samples ({shown or 'no label'})")
    text = "; ".join([*parts, *(f"{count:,} {what} left out" for what, count in lost.items() if count)])
    if not counts["train"].any():
        raise InputError(f"no labelled pixel is left to train on: {text}; check labels, samples.min_labelled and samples.buffer")
    absent = [name for name, count in zip(names, counts["train"], strict=True) if not count]
    return text + (f"; WARNING: no training label of {', '.join(absent)}" if absent else "")
