"""Items of a dataset in splits: as published, or by block and class; weighed, and kept apart."""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from lulc.config import DatasetConf, SampleConf
from lulc.datasets.dataset import ExampleItem
from lulc.errors import InputError, UsageError
from lulc.geo.grid import WGS84, footprint, transformer
from lulc.guard import read_guard
from lulc.location import Location, parse_location
from lulc.raster import reader
from lulc.samples import leakage, splits
from lulc.samples.from_datasets import DatasetSpec

_EQUAL_AREA_CRS = "EPSG:6933"
"""Spatial blocks of datasets are squares of it."""

OUTLINES = pa.schema(
    [
        pa.field("name", pa.string()),
        pa.field("outline", pa.binary()),  # WKB, EPSG:4326
    ]
)
"""Where the images of some items lie."""


def split_items(
    items: Iterable[ExampleItem],
    dataset: DatasetConf,
    samples: SampleConf,
    gsd_m: float,
    size: int,
) -> dict[str, list[ExampleItem]]:
    """Split a dataset's items.

    The publisher's split is taken where there is one; else items are split by spatial block, by
    group, or, where they have neither, equally by class. An item that the publisher's lists leave
    out is in no split.

    Args:
        items: of the dataset.
        dataset: from the run file; says whether the publisher's split counts.
        samples: shares, folds, and samples along a side of a spatial block.
        gsd_m: side of a pixel in metres.
        size: pixels along a side of a sample.

    Returns:
        Split → its items in order of name.

    Raises:
        UsageError: `samples.folds` is set, and the publisher's split counts.
    """
    all_items = list(items)
    if dataset.splits == "published" and any(item.split for item in all_items):
        if samples.folds:
            raise UsageError(
                f"samples.folds splits by location, {dataset.name} is split by its publisher: "
                "add `splits: blocks` to it"
            )
        return {split: [i for i in all_items if i.split == split] for split in splits.SPLITS}
    return _split_by_block(all_items, samples, samples.block * size * gsd_m)


def _split_by_block(
    items: Sequence[ExampleItem], samples: SampleConf, side_m: float
) -> dict[str, list[ExampleItem]]:
    # By spatial blocks of that side in metres; items without location are split by class.
    by_block: dict[tuple[Any, ...], list[ExampleItem]] = defaultdict(list)
    by_class: dict[tuple[int, ...], list[ExampleItem]] = defaultdict(list)
    for item, block in zip(items, spatial_blocks(items, side_m), strict=True):
        if block:
            by_block[block].append(item)
        else:
            by_class[item.classes[:1]].append(item)
    items_of: dict[str, list[ExampleItem]] = {split: [] for split in splits.SPLITS}
    for block, split in splits.assign(_count_items(items, by_block), samples).items():
        items_of[split] += by_block[block]
    for alike in by_class.values():
        alike.sort(key=lambda item: splits.rank(item.name, samples.seed))
        for split, dealt in splits.split_in_order(alike, samples).items():
            items_of[split] += dealt
    return {split: sorted(i, key=lambda item: item.name) for split, i in items_of.items()}


def _count_items(
    items: Iterable[ExampleItem], by_block: Mapping[tuple[Any, ...], Sequence[ExampleItem]]
) -> dict[tuple[Any, ...], np.ndarray]:
    # Items of each block by class; one whose classes are unknown counts for every class.
    ids = sorted({class_id for item in items for class_id in item.classes}) or [0]
    return {
        block: np.array([sum(i in (item.classes or ids) for item in members) for i in ids])
        for block, members in by_block.items()
    }


def spatial_blocks(items: Iterable[ExampleItem], side_m: float) -> list[tuple[Any, ...]]:
    """Return the spatial block of every item.

    Args:
        items: of one dataset.
        side_m: side of a block in metres.

    Returns:
        Of each item its group, or else the square that it lies in; () where neither is known.
    """
    forward = transformer(WGS84, _EQUAL_AREA_CRS)

    def find_block(item: ExampleItem) -> tuple[Any, ...]:
        if item.group:
            return (item.group,)
        if not item.lonlat:
            return ()
        x, y = forward.transform(*item.lonlat)
        return math.floor(x / side_m), math.floor(y / side_m)

    return [find_block(item) for item in items]


def item_weights(
    items: Sequence[ExampleItem], spec: DatasetSpec, samples: SampleConf, side_m: float
) -> list[float]:
    """Return the weight of every item by `samples.balance`, times its dataset's weight.

    Args:
        items: of the dataset.
        spec: legend and weight.
        samples: says what is balanced.
        side_m: side of a spatial block in metres.

    Raises:
        UsageError: the listing does not give the classes or locations that `balance` needs.
    """
    codes = dict(spec.codes)
    class_ids = [{codes.get(code) for code in item.classes} for item in items]
    has_class = [[class_id in ids for class_id in spec.legend.ids] for ids in class_ids]
    counts = np.array(has_class, float)
    blocks = spatial_blocks(items, side_m)
    if samples.balance == "class" and items and not counts.any(1).all():
        raise UsageError(
            f"samples.balance class: the listing of {spec.name} does not give classes; "
            "use train.class_weight"
        )
    if samples.balance == "area" and not all(blocks):
        raise UsageError(
            f"samples.balance area: nothing says where images of {spec.name} lie; use class or none"
        )
    balance = splits.balance_weights(counts, blocks, samples.balance)
    weights: list[float] = (spec.dataset.weight * balance).tolist()
    return weights


def read_outlines(key: Mapping[str, Any], spec: DatasetSpec) -> list[dict[str, Any]]:
    """Return where the images of some items lie.

    Args:
        key: `names` and `files` of the items.
        spec: of their dataset.

    Returns:
        An OUTLINES row for each item: the footprint of its first image that has a grid.
    """
    rows = []
    for name, item_files in zip(key["names"], key["files"], strict=True):
        outline = None
        with contextlib.suppress(InputError), read_guard(spec.dataset.root):
            image = next(_images(parse_location(spec.dataset.root), item_files))
            outline = shapely.to_wkb(footprint(reader.grid_of(str(image))))
        rows.append({"name": name, "outline": outline})
    return rows


def _images(root: Location, item_files: Iterable[str]) -> Iterator[Location]:
    # The first image of an item, or in its folder.
    for file in item_files:
        path = root / file
        images: list[Location] = [*path.glob("*.tif")] if path.is_dir() else [path]
        yield from sorted(images, key=str)[:1]


def drop_leaks(
    items_of: Mapping[str, list[ExampleItem]], outlines: Mapping[str, bytes], buffer: float
) -> dict[str, list[ExampleItem]]:
    """Drop items that share ground with one of a later split, or are too near to it.

    Args:
        items_of: split → its items.
        outlines: name of an item → its outline (WKB, EPSG:4326), where it is known.
        buffer: least distance in metres.

    Returns:
        Split → its remaining items. Splits give way in the order of `splits.SPLITS`.
    """
    remaining, later = {}, np.zeros(0, object)
    for split in reversed(splits.SPLITS):
        items = items_of[split]
        shapes = shapely.from_wkb(np.array([outlines.get(item.name) for item in items], object))
        leaks = leakage.is_near(shapes, later, buffer)
        remaining[split] = [item for item, drop in zip(items, leaks, strict=True) if not drop]
        later = np.concatenate([later, shapes[~leaks & ~shapely.is_missing(shapes)]])
    return {split: remaining[split] for split in splits.SPLITS}
