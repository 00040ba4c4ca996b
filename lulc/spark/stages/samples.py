"""The samples stage: labels surveyed on every chip, blocks split, the audit, then one task a file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import shapely

from lulc.chips.tiling import make_tiling
from lulc.datasets import registry
from lulc.datasets.dataset import Example, ExampleItem
from lulc.errors import InputError, UsageError
from lulc.samples import from_chips, from_datasets, leakage, splits, table
from lulc.samples.from_chips import LABEL_SCAN, SampleSpec
from lulc.samples.splits import SPLITS, Fence, SplitCell
from lulc.spark.incremental import StageContext, StageResult, Work, map_keys, run_units
from lulc.tables import ledger, store
from lulc.tables.encoding import merge_encodings
from lulc.tables.files import file_identity, fingerprint_of
from lulc.tables.store import read_rows

Row = dict[str, Any]


@dataclass(frozen=True)
class SampleOrigin:
    """One origin of samples.

    inputs: all that they depend on. plan(fingerprint): their files' keys, the work on one, what to tell of them.
    published: name of the dataset, where its publisher split it.
    """

    inputs: tuple[object, ...]
    plan: Callable[[str], tuple[list[Row], Work, str]]
    published: str = ""


def samples(context: StageContext) -> StageResult:
    """What the stage did: the run's labels on every chip that stands, and its datasets, split, audited, written as row groups."""
    config, out = context.config, context.out
    if config.labels is None and not config.datasets:
        raise UsageError(
            "the run file has nothing to learn from: add `labels:` (a class raster or polygons) or `datasets:`"
        )
    parts = _parts(context)
    fingerprint = fingerprint_of(
        config.task, config.make_legend(), config.samples, *(part.inputs for part in parts)
    )
    held = {
        key: row
        for key, row in ledger.latest(out, "samples").items()
        if row["fingerprint"] == fingerprint
    }
    whole = held.pop("", None)
    bad = {key: row for key, row in held.items() if row["status"] == "bad"}
    if context.selection.retry_bad and bad:
        _forget(out, bad)
        held, bad, whole = {}, {}, None
    standing = {
        key for key, row in held.items() if row["status"] == "done" and (out / row["path"]).exists()
    }
    if whole and standing | set(bad) == {
        key for key, row in held.items() if row["status"] != "dropped"
    }:
        return StageResult("samples", stood=len(standing), bad=len(bad), inputs=_inputs(out))
    planned = [part.plan(fingerprint) for part in parts]
    keys = [key for found, _, _ in planned for key in found]
    paths = {table.file_path(key["split"], key["name"], fingerprint) for key in keys}
    there = sum((out / path).exists() for path in paths)
    for found, work, _ in planned:
        # A file that a killed run left is adopted: `write` gives the ledger row in its footer.
        to_do = [key for key in found if table.file_key(key["split"], key["name"]) not in standing]
        rows = run_units(context, to_do, work, "samples")
        bad |= {row["key"]: row for row in rows if row["status"] == "bad"}
    for file in store.table_folder(out, "samples").rglob("*.parquet"):
        if str(file.relative_to(out)) not in paths:
            file.unlink()
    count = _inputs(out)
    if not count:
        first = "".join(f"\n  {row['error']}" for row in list(bad.values())[:3])
        raise InputError(f"no sample could be made; {len(bad)} items are bad{first}")
    notes = [text for _, _, text in planned]
    if config.datasets:
        published = [part.published for part in parts if part.published]
        for name, pairs in leakage.audit_ground(out, config.samples.buffer, published).items():
            notes.append(
                f"WARNING: {pairs:,} pairs of samples share ground across the published split of {name}"
            )
    ledger.append_ledger(out, [ledger.ledger_row("samples", "", fingerprint)])
    note = "; ".join(notes)
    return StageResult(
        "samples",
        stood=there,
        done=len(keys) - there,
        bad=len(bad),
        note=note,
        inputs=count + len(bad),
    )


def _parts(context: StageContext) -> list[SampleOrigin]:
    config, out = context.config, context.out
    chips, recipe = [], None
    if config.labels is not None:
        recipe = SampleSpec(
            out,
            config.name,
            make_tiling(config),
            config.make_legend(),
            config.labels,
            config.samples,
            task=config.task or "segment",
        )
        chips = _chips(context, recipe)
    if not config.datasets:
        return [_labels_part(context, recipe, chips)] if recipe else []
    first = next(read_rows(out / chips[0]["path"], None, [0])) if chips else None
    recipes, parts = dataset_parts(context, first)
    if recipe:
        parts.insert(0, _labels_part(context, replace(recipe, encoding=recipes[0].encoding), chips))
    return parts


def _labels_part(context: StageContext, recipe: SampleSpec, chips: list[Row]) -> SampleOrigin:
    try:
        identity = file_identity(recipe.labels.path)
    except OSError as error:
        raise InputError(
            f"labels {recipe.labels.path} cannot be opened ({error.strerror}): correct labels.path"
        ) from error

    def files(fingerprint: str) -> tuple[list[Row], Work, str]:
        windows, note = plan_samples(context, recipe, [row["path"] for row in chips])
        return (
            _file_keys(windows, recipe, fingerprint),
            partial(from_chips.write_samples, recipe=recipe),
            note,
        )

    inputs = (
        identity,
        recipe.labels,
        context.config.tiling,
        recipe.encoding,
        [[row["key"], row["fingerprint"]] for row in chips],
    )
    return SampleOrigin(inputs, files)


def dataset_parts(
    context: StageContext, chip: Row | None
) -> tuple[list[from_datasets.DatasetSpec], list[SampleOrigin]]:
    """A recipe and a Part for every dataset of the run, all of one encoding, size and number of dates: a chip's where given."""
    config = context.config
    found = []
    for conf in config.datasets:
        description = registry.describe_dataset(conf)
        codes = registry.crosswalk(conf, description, config.make_legend())
        found.append((conf, description, codes, from_datasets.list_items(conf, codes)))
    encodings = [registry.band_encoding(d, config.bands) for _, d, _, _ in found]
    encoding = merge_encodings([*encodings, *([from_chips.chip_encoding(chip)] if chip else [])])
    dates = (
        chip["pixels_shape"][0]
        if chip
        else config.dates
        if config.dates > 1
        else max(d.dates for _, d, _, _ in found)
    )
    recipes, parts = [], []
    size = config.samples.size if chip else None
    names = [name for name, _ in from_datasets.origin_names(config.datasets)]
    for name, (conf, description, codes, items) in zip(names, found, strict=True):
        recipe = from_datasets.DatasetSpec(
            context.out,
            name,
            conf,
            encoding,
            0,
            dates,
            config.make_legend(),
            tuple(sorted(codes.items())),
        )
        example = _first(recipe, items)
        # Of images of several sizes as they were published the first one's counts, as for every other dataset after it.
        size = conf.size or size or max(example.pixels.shape[2:])
        recipes.append(replace(recipe, size=size))
        parts.append(_dataset_part(context, recipes[-1], items, example, description.gsd_m))
    sizes = {recipe.size for recipe in recipes} | ({config.samples.size} if chip else set())
    if len(sizes) > 1:
        raise UsageError(
            f"samples of {', '.join(map(str, sorted(sizes)))} pixels a side cannot stand in one table: give datasets one size"
        )
    return recipes, parts


def _locate(
    context: StageContext, recipe: from_datasets.DatasetSpec, items: list[ExampleItem]
) -> tuple[list[ExampleItem], dict[str, bytes]]:
    """The items with their places, and name → outline (WKB, degrees), as the images themselves say."""
    parts = [items[i : i + 500] for i in range(0, len(items), 500)]
    keys = [
        {"names": [i.name for i in part], "files": [list(i.files) for i in part]} for part in parts
    ]
    rows = map_keys(
        context,
        keys,
        partial(from_datasets.locate, recipe=recipe),
        from_datasets.OUTLINES,
        "outlines",
    )
    outlines = {row["name"]: row["outline"] for row in rows if row["outline"] is not None}
    centres = {
        name: shapely.from_wkb(outline).centroid.coords[0] for name, outline in outlines.items()
    }
    return [replace(i, place=i.place or centres.get(i.name)) for i in items], outlines


def _dataset_part(
    context: StageContext,
    recipe: from_datasets.DatasetSpec,
    items: list[ExampleItem],
    example: Example,
    gsd_m: float,
) -> SampleOrigin:
    published = recipe.conf.splits == "published" and any(item.split for item in items)

    def files(fingerprint: str) -> tuple[list[Row], Work, str]:
        found, outlines = (
            (items, {}) if published or example.grid is None else _locate(context, recipe, items)
        )
        held = from_datasets.split_items(
            found, recipe.conf, context.config.samples, gsd_m, recipe.size
        )
        near = sum(map(len, held.values()))
        held = from_datasets.keep_apart(held, outlines, context.config.samples.buffer)
        near -= sum(map(len, held.values()))
        keys = []
        for split, inside in held.items():
            conf = (
                context.config.samples
                if split == "train"
                else replace(context.config.samples, balance="none")
            )
            weights = from_datasets.weigh(inside, recipe, conf, conf.block * recipe.size * gsd_m)
            keys += from_datasets.file_keys(split, inside, weights, recipe, example, fingerprint)
        counts = ", ".join(f"{name} {len(inside):,}" for name, inside in held.items())
        beside = len(items) - sum(map(len, held.values())) - near
        left = f", {beside:,} in no split" if beside else ""
        left += f", {near:,} left out because they share ground with another split" if near else ""
        return (
            keys,
            partial(from_datasets.write_examples, recipe=recipe),
            f"{recipe.name}: {counts}{left} of {len(items):,} items",
        )

    return SampleOrigin(
        (recipe, from_datasets.items_fingerprint(recipe.conf, items)),
        files,
        recipe.name if published else "",
    )


def _first(recipe: from_datasets.DatasetSpec, items: Sequence[ExampleItem]) -> Example:
    # The first of some items that can be read: its size is reckoned with.
    errors = []
    for item in items[:: max(1, len(items) // 20)]:
        try:
            return from_datasets.read_example(recipe, item)
        except InputError as error:
            errors.append(str(error))
    raise InputError(
        f"dataset {recipe.conf.name}: none of {len(errors)} items tried can be read:\n  "
        + "\n  ".join(errors[:3])
    )


def _inputs(out: Path) -> int:
    return sum(
        pq.read_metadata(file).num_rows
        for file in store.table_folder(out, "samples").rglob("[!.]*.parquet")
    )


def _forget(out: Path, bad: Mapping[str, Row]) -> None:
    # Files that lack a bad item are made again.
    for row in bad.values():
        (out / row["path"]).unlink(missing_ok=True)
    ledger.append_ledger(
        out,
        [
            ledger.ledger_row("samples", key, row["fingerprint"], status="dropped")
            for key, row in bad.items()
        ],
    )


def plan_samples(
    context: StageContext, recipe: SampleSpec, paths: Sequence[str]
) -> tuple[list[Row], str]:
    """The windows that become samples, each with its `split` and `fences`, audited; and what to tell the user about them."""
    conf = recipe.conf
    work = partial(from_chips.scan_labels, recipe=recipe)
    rows = map_keys(
        context, [{"path": path, "places": []} for path in paths], work, LABEL_SCAN, "labels"
    )
    labelled = [row for row in rows if sum(row["counts"])]
    by_block: dict[SplitCell, np.ndarray] = defaultdict(
        lambda: np.zeros(len(recipe.legend.classes), np.int64)
    )
    for row in labelled:
        by_block[_block(row, recipe)] += row["counts"]
    assigned = splits.assign(by_block, conf)
    metres = splits.ground(recipe.tiling, assigned, conf)
    around = splits.fences(assigned, metres, conf)
    fenced = _survey_again(
        context, [row for row in labelled if _block(row, recipe) in around], around, recipe
    )
    final = [fenced.get(_where(row), row) for row in labelled]
    least = max(1, conf.min_labelled * conf.size**2)
    windows = [
        row
        | {"split": assigned[_block(row, recipe)], "fences": around.get(_block(row, recipe), [])}
        for row in final
        if sum(row["counts"]) >= least
    ]
    leakage.audit([_place(row, conf.size) for row in windows], metres, conf)
    learn = [row for row in windows if row["split"] == "train"]
    counts, blocks = (
        np.array([row["counts"] for row in learn]),
        [_block(row, recipe) for row in learn],
    )
    for row, weight in zip(
        learn, splits.balance_weights(counts, blocks, conf.balance).tolist(), strict=True
    ):
        row["weight"] = weight
    lost = {
        "windows without a label": len(rows) - len(labelled),
        "windows with too few": len(labelled) - len(windows),
        "pixels within the buffer": sum(sum(row["counts"]) for row in labelled)
        - sum(sum(row["counts"]) for row in final),
        "pixels without imagery": sum(row["unobserved"] for row in rows),
        "pixels of contradicting polygons": sum(
            {(r["path"], r["row_group"]): r["conflicts"] for r in rows}.values()
        ),
    }
    return windows, _describe(windows, lost, recipe)


def _chips(context: StageContext, recipe: SampleSpec) -> list[Row]:
    # The chip blocks of this run's tiling and periods, in order of their keys.
    periods = tuple(f"{period.name}/{recipe.tiling.name}/" for period in context.config.periods)
    rows = [
        row
        for key, row in sorted(ledger.latest(context.out, "tile").items())
        if key.startswith(periods)
    ]
    done = [row for row in rows if row["status"] == "done" and (context.out / row["path"]).exists()]
    if not done:
        raise InputError(
            f"{context.out} holds no chips of tiling {recipe.tiling.name!r}: run `lulc tile` first"
        )
    return done


def _block(row: Mapping[str, Any], recipe: SampleSpec) -> SplitCell:
    return splits.split_cell(row["col"], row["row"], recipe.conf)


def _where(row: Mapping[str, Any]) -> tuple[str, int, int, int]:
    return row["path"], row["row_group"], row["col"], row["row"]


def _survey_again(
    context: StageContext,
    rows: Iterable[Row],
    around: Mapping[SplitCell, list[Fence]],
    recipe: SampleSpec,
) -> dict[tuple[str, int, int, int], Row]:
    # What windows near another split hold once their labels keep off it.
    places = defaultdict(list)
    for row in rows:
        places[row["path"]].append(from_chips.place_of(row, around[_block(row, recipe)]))
    keys = [{"path": path, "places": found} for path, found in places.items()]
    return {
        _where(row): row
        for row in map_keys(
            context, keys, partial(from_chips.scan_labels, recipe=recipe), LABEL_SCAN, "buffer"
        )
    }


def _place(row: Mapping[str, Any], size: int) -> leakage.Place:
    extent = (
        None if row["extent"] is None else np.frombuffer(row["extent"], np.int16).reshape(2, size)
    )
    return leakage.Place(table.sample_id(row), row["split"], row["col"], row["row"], extent)


def _file_keys(windows: Sequence[Row], recipe: SampleSpec, fingerprint: str) -> list[Row]:
    keys = []
    for split in SPLITS:
        files = from_chips.deal_windows(
            [row for row in windows if row["split"] == split], recipe.conf
        )
        for number, rows in enumerate(files):
            places = [from_chips.place_of(row, row["fences"]) for row in rows]
            keys.append(
                {
                    "split": split,
                    "name": f"{number:05d}",
                    "fingerprint": fingerprint,
                    "places": places,
                }
            )
    return keys


def _describe(windows: Sequence[Row], lost: Mapping[str, int], recipe: SampleSpec) -> str:
    names = [c.name for c in recipe.legend.classes]
    counts = {split: np.zeros(len(names), np.int64) for split in SPLITS}
    number = Counter(row["split"] for row in windows)
    for row in windows:
        counts[row["split"]] += row["counts"]
    parts = []
    for split in SPLITS:
        shown = ", ".join(
            f"{name} {count:,}" for name, count in zip(names, counts[split], strict=True) if count
        )
        parts.append(f"{split} {number[split]:,} samples ({shown or 'no label'})")
    text = "; ".join(
        [*parts, *(f"{count:,} {what} left out" for what, count in lost.items() if count)]
    )
    if not counts["train"].any():
        raise InputError(
            f"no labelled pixel is left to train on: {text}; check labels, samples.min_labelled and samples.buffer"
        )
    absent = [name for name, count in zip(names, counts["train"], strict=True) if not count]
    return text + (f"; WARNING: no training label of {', '.join(absent)}" if absent else "")
