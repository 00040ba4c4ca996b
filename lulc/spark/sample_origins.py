"""Where a run's samples come from: its own labels on chips, and published datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import shapely

from lulc import progress
from lulc.bands import describe_mixture
from lulc.chips.tiling import make_tiling
from lulc.config import DatasetConf
from lulc.datasets import registry
from lulc.datasets.dataset import Description, Example, ExampleItem
from lulc.datasets.listing import Listing, items_fingerprint, list_items
from lulc.errors import InputError, UsageError
from lulc.guard import read_guard
from lulc.location import parse_location
from lulc.samples import dataset_splits, from_chips, from_datasets, windows
from lulc.samples.from_chips import SampleSpec
from lulc.samples.from_datasets import DatasetSpec
from lulc.samples.plan import plan_windows
from lulc.samples.windows import Row
from lulc.sources.archives import unpack_hint
from lulc.spark.context import StageContext
from lulc.spark.kept import keep_rows
from lulc.spark.workers import map_keys
from lulc.tables import layout
from lulc.tables.encoding import known_units, merge_encodings
from lulc.tables.ledger import LatestRows, LedgerRow, read_done
from lulc.tables.store import read_rows
from lulc.tables.vector_identity import vector_identity

_ITEMS_A_TASK = 500
_ITEMS_TRIED = 20


@dataclass(frozen=True)
class SampleOrigin:
    """One origin of samples."""

    inputs: tuple[object, ...]
    """All that they depend on."""
    plan: Callable[[str], tuple[list[Row], str]]
    """Returns the keys of their files, given the fingerprint of the samples; and a note."""
    write: Callable[[Row], list[LedgerRow]]
    """Writes the file of a key."""
    published_split_of: str = ""
    """The dataset's name, where its publisher split it."""


@dataclass(frozen=True)
class _Listed:
    """A dataset of the run and its items."""

    name: str
    dataset: DatasetConf
    description: Description
    codes: Mapping[int, int]
    listing: Listing


def find_origins(context: StageContext) -> list[SampleOrigin]:
    """Return the origins of a run's samples, all of one encoding, size and number of dates.

    Raises:
        InputError: there are no chips, or a dataset's archive cannot be read.
        UsageError: the origins cannot be one table.
    """
    config = context.config
    chips = chips_of(context) if config.labels else None
    if chips and not config.datasets:
        return [_label_origin(context, chips, None)]
    first_chip = None
    if chips:
        first_chip = next(read_rows(context.out / chips.column("path")[0], None, [0]))
    specs, origins = dataset_origins(context, first_chip)
    if chips:
        origins.insert(0, _label_origin(context, chips, specs[0]))
    return origins


def dataset_origins(
    context: StageContext, chip: Row | None
) -> tuple[list[DatasetSpec], list[SampleOrigin]]:
    """Return a spec and an origin for every dataset of a run.

    Args:
        context: the run.
        chip: a row of the chips table whose encoding, size and dates the samples must have; None
            where the run has no labels of its own.
    """
    config = context.config
    datasets = _list_datasets(context)
    _tell_units(datasets, config.bands, chip)
    encodings = [registry.band_encoding(listed.description, config.bands) for listed in datasets]
    chip_encodings = [from_chips.chip_encoding(chip)] if chip else []
    encoding = merge_encodings([*encodings, *chip_encodings])
    dates = (
        config.dates if config.dates > 1 else max(listed.description.dates for listed in datasets)
    )
    dates = chip["pixels_shape"][0] if chip else dates
    size = config.samples.size if chip else None
    specs, origins = [], []
    for listed in datasets:
        codes = tuple(sorted(listed.codes.items()))
        legend = config.make_legend()
        spec = DatasetSpec(
            context.out, listed.name, listed.dataset, encoding, 0, dates, legend, codes
        )
        example = _first_readable(spec, listed.listing.items)
        # Of images of several sizes as they were published the first one's counts, as for every
        # dataset after it.
        size = listed.dataset.size or size or max(example.pixels.shape[2:])
        specs.append(replace(spec, size=size))
        origins.append(_dataset_origin(context, specs[-1], listed, example))
    sizes = {spec.size for spec in specs} | ({config.samples.size} if chip else set())
    if len(sizes) > 1:
        raise UsageError(
            f"samples of {', '.join(map(str, sorted(sizes)))} pixels a side cannot be in one "
            "table: give datasets one size"
        )
    return specs, origins


def _tell_units(datasets: Sequence[_Listed], bands: Sequence[str], chip: Row | None) -> None:
    units = {
        listed.name: registry.band_encoding(listed.description, tuple(bands)).units
        for listed in datasets
    }
    if chip:
        units[f"scenes ({chip['source']})"] = known_units(chip)
    unknown = ("",) * len(bands)
    origins = {
        name: {band: {unit} for band, unit in zip(bands, known or unknown, strict=True)}
        for name, known in units.items()
    }
    for text in describe_mixture(origins):
        progress.say(text)


def _list_datasets(context: StageContext) -> list[_Listed]:
    legend, listed = context.config.make_legend(), []
    for name, dataset in from_datasets.origin_names(context.config.datasets):
        description = registry.describe_dataset(dataset)
        codes = registry.crosswalk(dataset, description, legend)
        listing = list_items(dataset, codes)
        listed.append(_Listed(name, dataset, description, codes, listing))
    return listed


def chips_of(context: StageContext) -> LatestRows:
    """Return the ledger rows of a run's blocks of chips.

    Raises:
        InputError: it has none.
    """
    tiling = make_tiling(context.config)
    periods = [period.name for period in context.config.periods]
    rows = read_done(context.out, "tile").of_blocks(periods, tiling.name)
    if not len(rows):
        raise InputError(
            f"{context.out} holds no chips of tiling {tiling.name!r}: "
            "run `lulc index` and `lulc tile` first"
        )
    return rows


def _label_origin(
    context: StageContext, chips: LatestRows, of_datasets: DatasetSpec | None
) -> SampleOrigin:
    config, labels = context.config, context.config.labels
    assert labels is not None
    try:
        identity = vector_identity(labels.path)
    except OSError as error:
        raise InputError(
            f"labels {labels.path} cannot be opened ({error.strerror}): correct labels.path"
        ) from error
    spec = SampleSpec(
        context.out,
        config.name,
        make_tiling(config),
        config.make_legend(),
        labels,
        config.samples,
        of_datasets.encoding if of_datasets else None,
        config.task or "segment",
        config.periods,
    )

    def plan(fingerprint: str) -> tuple[list[Row], str]:
        kept_folder = context.out / layout.kept_folder("samples", fingerprint)

        def run(
            work: Callable[[Row], list[Row]], keys: list[Row], schema: pa.Schema, label: str
        ) -> list[Row]:
            kept_work = keep_rows(work, kept_folder / label, schema)
            return map_keys(context, keys, kept_work, schema, label)

        return plan_windows(spec, _near_ones(chips), fingerprint, run)

    chip_identities = [*zip(chips, chips.column("fingerprint"), strict=True)]
    inputs = (identity, labels, config.tiling, spec.encoding, chip_identities)
    return SampleOrigin(inputs, plan, partial(windows.write_planned, spec=spec))


def _near_ones(chips: LatestRows) -> list[str]:
    # Paths of the files of blocks, in an order in which near ones follow one another.
    def place(chip: tuple[str, str]) -> tuple[int, int, str]:
        key = layout.parse_block_key(chip[0])
        return key.row, key.col, key.period

    return [path for _, path in sorted(zip(chips, chips.column("path"), strict=True), key=place)]


def _dataset_origin(
    context: StageContext, spec: DatasetSpec, listed: _Listed, example: Example
) -> SampleOrigin:
    samples, items, bad = context.config.samples, listed.listing.items, listed.listing.bad
    is_published = spec.dataset.splits == "published" and any(item.split for item in items)
    gsd_m = listed.description.gsd_m

    def plan(fingerprint: str) -> tuple[list[Row], str]:
        located: Sequence[ExampleItem] = items
        outlines: dict[str, bytes] = {}
        if not is_published and example.grid is not None:
            located, outlines = _locate(context, spec, items)
        split = dataset_splits.split_items(located, spec.dataset, samples, gsd_m, spec.size)
        without_leaks = dataset_splits.drop_leaks(split, outlines, samples.buffer)
        keys = []
        for name, of_split in without_leaks.items():
            settings = samples if name == "train" else replace(samples, balance="none")
            block_m = settings.block * spec.size * gsd_m
            weights = dataset_splits.item_weights(of_split, spec, settings, block_m)
            if name == "train":
                # Bad items give no sample; they go with these to be written down.
                of_split, weights = [*of_split, *bad], [*weights, *[0.0] * len(bad)]
            keys += from_datasets.file_keys(name, of_split, weights, spec, example, fingerprint)
        note = _note(spec.name, len(items) + len(bad), len(bad), split, without_leaks)
        return keys, "; ".join([note, *listed.listing.notes])

    inputs = (spec, items_fingerprint(spec.dataset, [*items, *bad]))
    write = partial(from_datasets.write_examples, spec=spec)
    return SampleOrigin(inputs, plan, write, spec.name if is_published else "")


def _note(
    name: str,
    item_count: int,
    bad_count: int,
    split: Mapping[str, Sequence[ExampleItem]],
    without_leaks: Mapping[str, Sequence[ExampleItem]],
) -> str:
    split_count, final_count = (sum(map(len, items.values())) for items in (split, without_leaks))
    counts = ", ".join(f"{name} {len(items):,}" for name, items in without_leaks.items())
    in_none, dropped = item_count - bad_count - split_count, split_count - final_count
    note = f"{name}: {counts}"
    note += f", {in_none:,} in no split" if in_none else ""
    if dropped:
        note += f", {dropped:,} left out because they share ground with another split"
    return f"{note} of {item_count:,} items"


def _locate(
    context: StageContext, spec: DatasetSpec, items: Sequence[ExampleItem]
) -> tuple[list[ExampleItem], dict[str, bytes]]:
    # The items with their locations, and name → outline (WKB, degrees), as the images say.
    keys = []
    for start in range(0, len(items), _ITEMS_A_TASK):
        task = items[start : start + _ITEMS_A_TASK]
        keys.append({"names": [i.name for i in task], "files": [list(i.files) for i in task]})
    read = partial(dataset_splits.read_outlines, spec=spec)
    rows = map_keys(context, keys, read, dataset_splits.OUTLINES, "outlines")
    outlines = {row["name"]: row["outline"] for row in rows if row["outline"] is not None}
    centroids = {name: shapely.from_wkb(wkb).centroid.coords[0] for name, wkb in outlines.items()}
    located = [replace(item, lonlat=item.lonlat or centroids.get(item.name)) for item in items]
    return located, outlines


def _first_readable(spec: DatasetSpec, items: Sequence[ExampleItem]) -> Example:
    # From its size the bytes of the others are estimated.
    errors = []
    for item in items[:: max(1, len(items) // _ITEMS_TRIED)]:
        try:
            with read_guard(parse_location(spec.dataset.root) / item.files[0]):
                return from_datasets.read_example(spec, item)
        except InputError as error:
            errors.append(str(error))
    first_errors = "\n  ".join(errors[:3])
    raise InputError(
        f"dataset {spec.dataset.name}: none of {len(errors)} items tried can be read"
        f"{unpack_hint(parse_location(spec.dataset.root))}:\n  {first_errors}"
    )
