"""Samples from published datasets: every example brought to the table's bands, size, dates and legend; and its files."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from lulc.config import DatasetConf, SampleConf
from lulc.datasets import registry
from lulc.datasets.dataset import DENSE, Description, Example, ExampleItem
from lulc.errors import InputError, UsageError
from lulc.geo.grid import WGS84, Grid, footprint, transformer
from lulc.legend import NODATA, Crosswalk, Legend
from lulc.raster import access, reader
from lulc.samples import leakage, splits
from lulc.samples.table import GROUP_BYTES, MIN_FILES, file_key, file_path, publish_rows
from lulc.tables import arrays, ledger, store
from lulc.tables.encoding import Encoding, recode
from lulc.tables.files import file_identity, fingerprint_of

_BLOCKS = "EPSG:6933"  # equal-area: spatial blocks of datasets are squares of it


@dataclass(frozen=True)
class DatasetSpec:
    """How a dataset's examples become samples of one table: the table's encoding, pixels a side, dates and legend.

    codes: the dataset's id, and what it becomes. name: of the dataset among the run's.
    """

    out: Path
    name: str
    conf: DatasetConf
    encoding: Encoding
    size: int
    dates: int
    legend: Legend
    codes: tuple[tuple[int, int], ...]

    @property
    def description(self) -> Description:
        """The dataset's own."""
        return registry.describe_dataset(self.conf)


def origin_names(confs: Sequence[DatasetConf]) -> list[tuple[str, DatasetConf]]:
    """A run's datasets, each with a name of its own: one that is there twice, from another root, is `images`, `images-2`."""
    earlier = [[other.name for other in confs[:i]].count(conf.name) for i, conf in enumerate(confs)]
    return [
        (f"{conf.name}-{n + 1}" if n else conf.name, conf)
        for n, conf in zip(earlier, confs, strict=True)
    ]


def list_items(conf: DatasetConf, codes: Mapping[int, int] | None = None) -> list[ExampleItem]:
    """The dataset's items in order of name; where codes are given, without those known to hold none of their classes.

    InputError where there are none, or two have one name.
    """
    root = Path(conf.root)
    if not root.is_dir():
        raise InputError(
            f"dataset {conf.name}: {conf.root} is not a folder: datasets.root is the one that its archive was unpacked in"
        )
    found = sorted(
        registry.find_dataset(conf.name).items(root, registry.options_of(conf)),
        key=lambda item: item.name,
    )
    if not found:
        options = ", ".join(f"{k} {v}" for k, v in registry.options_of(conf).items())
        raise InputError(
            f"dataset {conf.name}: nothing in {conf.root} is named as its publisher names it ({options or 'no options'})"
        )
    for one, two in itertools.pairwise(found):
        if one.name == two.name:
            raise InputError(
                f"dataset {conf.name}: two items are named {one.name} ({one.files[0]}, {two.files[0]}): remove one"
            )
    return [
        item
        for item in found
        if codes is None or not item.classes or any(c in codes for c in item.classes)
    ]


def items_fingerprint(conf: DatasetConf, items: Sequence[ExampleItem]) -> str:
    """A fingerprint that changes when an item, its split or one of its files (size, time) does."""

    def stat(file: str) -> list[object]:
        try:
            return file_identity(Path(conf.root) / file)
        except OSError:
            return [file]

    return fingerprint_of(
        registry.options_of(conf), [[vars(i), [stat(f) for f in i.files]] for i in items]
    )


def read_example(recipe: DatasetSpec, item: ExampleItem) -> Example:
    """The item's example with the table's bands, in the dataset's own encoding and legend; InputError says what is wrong."""
    dataset, options = registry.find_dataset(recipe.conf.name), registry.options_of(recipe.conf)
    example = dataset.read(Path(recipe.conf.root), item, options, recipe.encoding.bands)
    dates, count, height, width = example.pixels.shape
    if (
        count != len(recipe.encoding.bands)
        or example.valid.shape != (dates, height, width)
        or not dates
    ):
        shapes = f"pixels {example.pixels.shape}, valid {example.valid.shape}"
        raise InputError(
            f"{item.files[0]} has {shapes} where {len(recipe.encoding.bands)} bands are asked for"
        )
    kind = np.dtype(recipe.description.encoding.dtype)
    if not np.can_cast(example.pixels.dtype, kind):
        raise InputError(
            f"{item.files[0]} holds {example.pixels.dtype} where {recipe.conf.name} has {kind}: see its options"
        )
    return dataclasses.replace(example, pixels=example.pixels.astype(kind, copy=False))


OUTLINES = pa.schema(
    [pa.field("name", pa.string()), pa.field("outline", pa.binary())]
)  # WKB, EPSG:4326


def split_items(
    items: Iterable[ExampleItem], conf: DatasetConf, samples: SampleConf, gsd_m: float, size: int
) -> dict[str, list[ExampleItem]]:
    """Split → its items: the publisher's where there is one, else by spatial block, by group, or, lacking both, equal by class.

    An item that the publisher's lists leave out is in no split.
    """
    found = list(items)
    if conf.splits == "published" and any(item.split for item in found):
        if samples.folds:
            raise UsageError(
                f"samples.folds parts by place, {conf.name} is split by its publisher: add `splits: blocks` to it"
            )
        return {name: [i for i in found if i.split == name] for name in splits.SPLITS}
    blocks: dict[tuple[Any, ...], list[ExampleItem]] = defaultdict(list)
    loose: dict[tuple[int, ...], list[ExampleItem]] = defaultdict(list)
    for item, block in zip(found, blocks_of(found, samples.block * size * gsd_m), strict=True):
        if block:
            blocks[block].append(item)
        else:
            loose[item.classes[:1]].append(item)
    ids = sorted({c for item in found for c in item.classes}) or [0]
    counts = {
        block: np.array([sum(i in (item.classes or ids) for item in inside) for i in ids])
        for block, inside in blocks.items()
    }
    held: dict[str, list[ExampleItem]] = {name: [] for name in splits.SPLITS}
    for block, name in splits.assign(counts, samples).items():
        held[name] += blocks[block]
    for inside in loose.values():
        inside.sort(key=lambda item: splits.rank(item.name, samples.seed))
        for name, part in splits.deal_out(inside, samples).items():
            held[name] += part
    return {name: sorted(inside, key=lambda item: item.name) for name, inside in held.items()}


def blocks_of(items: Iterable[ExampleItem], side: float) -> list[tuple[Any, ...]]:
    """The spatial block of every item: its group, or else the square of `side` metres that it lies in; () where nothing says."""
    forward = transformer(WGS84, _BLOCKS)

    def find(item: ExampleItem) -> tuple[Any, ...]:
        if item.group or not item.place:
            return (item.group,) if item.group else ()
        x, y = forward.transform(*item.place)
        return math.floor(x / side), math.floor(y / side)

    return [find(item) for item in items]


def weigh(
    items: Sequence[ExampleItem], recipe: DatasetSpec, samples: SampleConf, side: float
) -> list[float]:
    """What every item weighs by `samples.balance`, times its dataset's weight; blocks are squares of `side` metres.

    UsageError where the listing does not tell what that needs.
    """
    codes = dict(recipe.codes)
    counts = np.array(
        [
            [any(codes.get(c) == i for c in item.classes) for i in recipe.legend.ids]
            for item in items
        ],
        float,
    )
    blocks = blocks_of(items, side)
    if samples.balance == "class" and items and not counts.any(1).all():
        raise UsageError(
            f"samples.balance class: the listing of {recipe.name} does not tell classes; use train.class_weight"
        )
    if samples.balance == "area" and not all(blocks):
        raise UsageError(
            f"samples.balance area: nothing says where images of {recipe.name} lie; use class or none"
        )
    weights: list[float] = (
        recipe.conf.weight * splits.balance_weights(counts, blocks, samples.balance)
    ).tolist()
    return weights


def locate(key: Mapping[str, Any], recipe: DatasetSpec) -> list[dict[str, Any]]:
    """An OUTLINES row for each of a key's items (`names`, `files`): where the first file with a grid says that it lies."""
    rows = []
    for name, files in zip(key["names"], key["files"], strict=True):
        outline = None
        with contextlib.suppress(InputError, OSError):
            path = next(_images(Path(recipe.conf.root), files))
            outline = shapely.to_wkb(footprint(reader.grid_of(str(path))))
        rows.append({"name": name, "outline": outline})
    return rows


def _images(root: Path, files: Iterable[str]) -> Iterator[Path]:
    # The first image of an item, or in its folder.
    for file in files:
        yield from (
            sorted((root / file).glob("*.tif"))[:1] if (root / file).is_dir() else [root / file]
        )


def keep_apart(
    held: Mapping[str, list[ExampleItem]], outlines: Mapping[str, bytes], buffer: float
) -> dict[str, list[ExampleItem]]:
    """The splits without the items that share ground with one of a later split (of SPLITS), or lie within `buffer` m of it."""
    kept, later = {}, np.zeros(0, object)
    for split in reversed(splits.SPLITS):
        shapes = shapely.from_wkb(
            np.array([outlines.get(item.name) for item in held[split]], object)
        )
        near = leakage.near(shapes, later, buffer)
        kept[split] = [item for item, close in zip(held[split], near, strict=True) if not close]
        later = np.concatenate([later, shapes[~near & ~shapely.is_missing(shapes)]])
    return {split: kept[split] for split in splits.SPLITS}


def file_keys(
    split: str,
    items: Sequence[ExampleItem],
    weights: Sequence[float],
    recipe: DatasetSpec,
    example: Example,
    fingerprint: str,
) -> list[dict[str, Any]]:
    """A key for every file of one split: items in an order drawn from their names, so many that a file is one row group.

    weights: of the items. example: any of the dataset's, from whose size the bytes of the others are reckoned.
    """
    found = sorted(zip(items, weights, strict=True), key=lambda pair: splits.rank(pair[0].name, 0))
    if not found:
        return []
    windows = len(list(_windows(example.pixels.shape[2:], recipe)))
    one = recipe.size**2 * (
        recipe.dates * len(recipe.encoding.bands) * np.dtype(recipe.encoding.dtype).itemsize + 1
    )
    files = min(
        max(math.ceil(len(found) * windows * one / GROUP_BYTES), min(MIN_FILES, len(found))),
        len(found),
    )
    bounds = [i * len(found) // files for i in range(files + 1)]
    return [
        {"split": split, "name": f"{recipe.name}-{n:05d}", "fingerprint": fingerprint}
        | {
            "items": [vars(item) for item, _ in found[a:b]],
            "weights": [weight for _, weight in found[a:b]],
        }
        for n, (a, b) in enumerate(itertools.pairwise(bounds))
    ]


def write_examples(key: Mapping[str, Any], recipe: DatasetSpec) -> list[dict[str, Any]]:
    """Ledger rows of one samples file (`split`, `name`, `items`, `weights`), published now or standing, and of bad items."""
    path = file_path(key["split"], key["name"], key["fingerprint"])
    if not (recipe.out / path).exists():
        with access.gdal_settings():
            rows, bad = _rows(key, recipe)
        about = {
            "stage": "samples",
            "key": file_key(key["split"], key["name"]),
            "fingerprint": key["fingerprint"],
            "bad": bad,
        }
        publish_rows(recipe.out, path, rows, about | {"legend": asdict(recipe.legend)})
    about = store.read_footer(recipe.out / path)
    failed = [
        ledger.ledger_row(
            "samples",
            f"item:{recipe.name}/{name}",
            key["fingerprint"],
            status="bad",
            error=error,
            path=path,
        )
        for name, error in about.pop("bad").items()
    ]
    return [ledger.published_row(recipe.out, about), *failed]


def _rows(
    key: Mapping[str, Any], recipe: DatasetSpec
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    # Of a key's items; and what is wrong with those that are bad.
    rows, bad = [], {}
    for given, weight in zip(key["items"], key["weights"], strict=True):
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in given.items()
        }
        item = ExampleItem(**plain)
        try:
            rows += [
                row | {"weight": weight}
                for row in cut_example(item, read_example(recipe, item), recipe)
            ]
        except InputError as error:
            bad[item.name] = str(error)
    return rows, bad


def cut_example(item: ExampleItem, example: Example, recipe: DatasetSpec) -> list[dict[str, Any]]:
    """Rows of the samples table: one, or, of a larger image with a label a pixel or boxes, one for every window.

    Windows without a label a pixel are left out; a box goes to the window that holds its centre, cut at the window's edges.
    """
    description = recipe.description
    array = recode(
        example.pixels, registry.band_encoding(description, recipe.encoding.bands), recipe.encoding
    )
    array, valid, times = _take_dates(array, example, recipe.dates)
    label = _translate(example.label, description, recipe)
    dense = description.task in DENSE and label.ndim == 2
    if dense and label.shape != array.shape[2:]:
        raise InputError(
            f"{item.files[-1]} has a label of {label.shape} pixels, its image {array.shape[2:]}: fetch both anew"
        )
    if dense:
        label = np.where(valid.any(0), label, NODATA).astype(np.uint8)
    rows = []
    places = list(_windows(array.shape[2:], recipe))
    for y, x in places:
        piece = arrays.window(label, y, x, recipe.size, NODATA) if dense else label
        if description.task == "detect":
            piece = _move_boxes(label, y, x, recipe.size)
        seen = arrays.window(valid, y, x, recipe.size, 0)
        counts = _count(piece, description.task, recipe.legend)
        if not seen.any() or (dense and not sum(counts)):
            continue
        number = f"/{y // recipe.size}_{x // recipe.size}" if len(places) > 1 else ""
        name = f"{recipe.name}/{item.name}{number}"
        rows.append(
            {
                "sample_id": name,
                "tile_id": name,
                "period": "all",
                "source": recipe.name,
                "scene_ids": [],
                "datetimes": times,
            }
            | _place(example.grid, item, y, x, recipe.size)
            | {"halo": 0, "bands": list(recipe.encoding.bands)}
            | {"scales": list(recipe.encoding.scales), "offsets": list(recipe.encoding.offsets)}
            | arrays.array_columns("pixels", arrays.window(array, y, x, recipe.size, 0), "delta")
            | {"valid": arrays.pack(seen), "clear": float(seen.any(0).mean())}
            | {"dataset": recipe.name, "task": description.task, "legend": recipe.legend.name}
            | {"block": item.group, "class_ids": list(recipe.legend.ids), "class_counts": counts}
            | {"weight": recipe.conf.weight}
            | arrays.array_columns("label", piece, "delta" if dense else "raw")
        )
    return rows


def _take_dates(
    array: np.ndarray, example: Example, dates: int
) -> tuple[np.ndarray, np.ndarray, list[Any]]:
    # Of more dates than the table keeps, some evenly spread; fewer are filled up with dates on which nothing is valid.
    count = len(array)
    if count > dates:
        chosen = (
            np.rint(np.linspace(0, count - 1, dates)).astype(int) if dates > 1 else np.array([0])
        )
        return (
            array[chosen],
            example.valid[chosen],
            [example.datetimes[i] for i in chosen if example.datetimes],
        )
    if count == dates:
        return array, example.valid, list(example.datetimes)
    empty = [(0, dates - count), *[(0, 0)] * 3]
    return (
        np.pad(array, empty),
        np.pad(example.valid, [empty[0], *empty[2:]]),
        list(example.datetimes),
    )


def _translate(label: np.ndarray, description: Description, recipe: DatasetSpec) -> np.ndarray:
    """The label in the table's legend; InputError names an id that the dataset's own legend lacks."""
    own, codes = description.legend, dict(recipe.codes)
    ignored = tuple({*own.ids, NODATA} - set(codes))
    walk = Crosswalk(recipe.legend, {**dict.fromkeys(ignored, NODATA), **codes}, ignored)
    if description.task == "multilabel":
        found = np.zeros(len(recipe.legend.classes), np.uint8)
        at = recipe.legend.to_index()
        for i in (i for i, there in zip(own.ids, label, strict=True) if there and i in codes):
            found[at[codes[i]]] = 1
        return found
    strange = sorted(
        set(np.unique(label[:, 0] if description.task == "detect" else label).tolist())
        - {*own.ids, NODATA}
    )
    if strange:
        raise InputError(
            f"label codes {strange} are not in the legend of {recipe.conf.name} ({list(own.ids)}): fetch it anew"
        )
    if description.task == "detect":
        ids = walk.apply(label[:, 0].astype(np.int64))
        boxes: np.ndarray = np.column_stack([ids, label[:, 1:]])[ids != NODATA]
        return boxes.astype(np.float32)
    found = walk.apply(label)
    if label.ndim == 0 and found == NODATA:
        raise InputError(f"class {int(label)} is left out by datasets.ignore")
    return np.asarray(found, np.int64) if label.ndim == 0 else np.asarray(found)


def _count(label: np.ndarray, task: str, legend: Legend) -> list[int]:
    if task == "multilabel":
        return [int(n) for n in label]
    ids = label[:, 0].astype(np.int64) if task == "detect" else label.ravel()
    counted: list[int] = np.bincount(ids, minlength=256)[list(legend.ids)].tolist()
    return counted


def _windows(shape: tuple[int, ...], recipe: DatasetSpec) -> Iterator[tuple[int, int]]:
    task = recipe.description.task
    if task in DENSE or (task == "detect" and max(shape) > recipe.size):
        yield from itertools.product(
            range(0, shape[0], recipe.size), range(0, shape[1], recipe.size)
        )
        return
    yield _middle(shape, recipe.size)


def _middle(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    return (shape[0] - size) // 2, (shape[1] - size) // 2


def _move_boxes(boxes: np.ndarray, y: int, x: int, size: int) -> np.ndarray:
    # Those whose centre is in the window, counted from its corner and cut at its edges.
    moved = boxes - np.array([0, x, y, x, y], np.float32)
    centre = (moved[:, 1:3] + moved[:, 3:5]) / 2
    inside = ((centre >= 0) & (centre < size)).all(1)
    moved[:, 1:] = moved[:, 1:].clip(0, size)
    return np.asarray(moved[inside])


def _place(grid: Grid | None, item: ExampleItem, y: int, x: int, size: int) -> dict[str, Any]:
    if grid is not None:
        return arrays.grid_columns(grid.window(y, x, size, size))
    # A plain picture: pixels counted from its corner, and a point where the listing at least tells that.
    point = None if item.place is None else shapely.to_wkb(shapely.Point(item.place))
    lon, lat = item.place or (None, None)
    place = {
        "crs": "",
        "transform": [1.0, 0.0, float(x), 0.0, -1.0, -float(y)],
        "height": size,
        "width": size,
    }
    return place | {"footprint": point, "xmin": lon, "ymin": lat, "xmax": lon, "ymax": lat}
