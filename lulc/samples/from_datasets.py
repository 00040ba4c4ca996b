"""Samples from published datasets: their items split, weighed and cut to the table's form.

Every example is brought to the table's bands, size, dates and legend.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from lulc.config import DatasetConf
from lulc.datasets import registry
from lulc.datasets.dataset import DENSE, Description, Example, ExampleItem
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.guard import read_guard
from lulc.legend import NODATA, Crosswalk, Legend
from lulc.location import Location, parse_location
from lulc.raster import access
from lulc.samples import splits, table
from lulc.samples.table import SampleRow, count_classes
from lulc.tables import arrays, store
from lulc.tables.encoding import Encoding, recode
from lulc.tables.ledger import LedgerRow, rows_of_file


@dataclass(frozen=True)
class DatasetSpec:
    """How a dataset's examples become samples of one table."""

    out: Location
    name: str
    """Of the dataset among the run's."""
    dataset: DatasetConf
    encoding: Encoding
    """Of the table."""
    size: int
    """Pixels along a side of the table's samples."""
    dates: int
    """Dates of the table's samples."""
    legend: Legend
    """Of the table."""
    codes: tuple[tuple[int, int], ...]
    """Pairs of an id in the dataset's legend and the id that it becomes."""

    @property
    def description(self) -> Description:
        """What all examples of the dataset share."""
        return registry.describe_dataset(self.dataset)


def origin_names(datasets: Sequence[DatasetConf]) -> list[tuple[str, DatasetConf]]:
    """Return a run's datasets, each with a unique name.

    One that occurs twice, from another root, is `images`, `images-2`.
    """
    names = [dataset.name for dataset in datasets]
    earlier = [names[:i].count(name) for i, name in enumerate(names)]
    return [
        (f"{dataset.name}-{n + 1}" if n else dataset.name, dataset)
        for n, dataset in zip(earlier, datasets, strict=True)
    ]


def read_example(spec: DatasetSpec, item: ExampleItem) -> Example:
    """Return an item's example with the table's bands, in the dataset's encoding and legend.

    Raises:
        InputError: a file is damaged or missing, or does not hold what the dataset describes.
    """
    if item.error:
        raise InputError(item.error)
    dataset, options = registry.find_dataset(spec.dataset.name), registry.options_of(spec.dataset)
    bands = spec.encoding.bands
    example = dataset.read(parse_location(spec.dataset.root), item, options, bands)
    dates, count, height, width = example.pixels.shape
    if count != len(bands) or example.valid.shape != (dates, height, width) or not dates:
        raise InputError(
            f"{item.files[0]} has pixels {example.pixels.shape}, valid {example.valid.shape} "
            f"where {len(bands)} bands are expected"
        )
    dtype = np.dtype(spec.description.encoding.dtype)
    pixels = example.pixels.astype(dtype, copy=False)
    if not np.can_cast(example.pixels.dtype, dtype) and not np.array_equal(pixels, example.pixels):
        low, high = example.pixels.min(), example.pixels.max()
        raise InputError(
            f"{item.files[0]} holds {example.pixels.dtype} from {low} to {high} where "
            f"{spec.dataset.name} has {dtype}, which cannot hold them: see its options"
        )
    return dataclasses.replace(example, pixels=pixels)


def file_keys(
    split: str,
    items: Sequence[ExampleItem],
    weights: Sequence[float],
    spec: DatasetSpec,
    example: Example,
    fingerprint: str,
) -> list[dict[str, Any]]:
    """Return a key for every samples file of one split.

    Args:
        split: name of the split.
        items: of the split; they are dealt to files in an order drawn from their names.
        weights: of the items.
        spec: of the dataset.
        example: any of the dataset's, from whose size the bytes of the others are estimated.
        fingerprint: of the samples table.

    Returns:
        `split`, `name`, `fingerprint`, `items` and `weights` of each file, so many files that one
        is one row group.
    """
    weighted = sorted(
        zip(items, weights, strict=True), key=lambda pair: splits.rank(pair[0].name, 0)
    )
    if not weighted:
        return []
    windows = len(list(_windows(example.pixels.shape[2:], spec)))
    pixel_bytes = spec.dates * len(spec.encoding.bands) * np.dtype(spec.encoding.dtype).itemsize
    label_bytes = 1
    all_bytes = len(weighted) * windows * spec.size**2 * (pixel_bytes + label_bytes)
    needed = math.ceil(all_bytes / table.GROUP_BYTES)
    count = min(max(needed, table.MIN_FILES), len(weighted))
    return [
        {
            "split": split,
            "name": f"{spec.name}-{number:05d}",
            "fingerprint": fingerprint,
            "items": [vars(item) for item, _ in members],
            "weights": [weight for _, weight in members],
        }
        for number, members in enumerate(table.split_evenly(weighted, count))
    ]


def write_examples(key: Mapping[str, Any], spec: DatasetSpec) -> list[LedgerRow]:
    """Write one samples file, unless it is there already.

    Args:
        key: made by `file_keys`.
        spec: of the dataset.

    Returns:
        The ledger rows of the file and of its bad items.
    """
    path = table.file_path(key["split"], key["name"], key["fingerprint"])
    if (spec.out / path).is_file():
        return rows_of_file(spec.out, store.read_footer(spec.out / path))
    with access.gdal_settings():
        rows, errors = _cut_items(key, spec)
    footer = table.publish_rows(spec.out, key, rows, spec.legend, {"bad": errors})
    return rows_of_file(spec.out, footer)


def _cut_items(
    key: Mapping[str, Any], spec: DatasetSpec
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    # Rows of a key's items, and ledger key → error of the bad ones.
    rows, errors = [], {}
    for fields, weight in zip(key["items"], key["weights"], strict=True):
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        item = ExampleItem(**plain)
        try:
            with read_guard(parse_location(spec.dataset.root) / item.files[0]):
                rows += cut_example(item, read_example(spec, item), spec, weight)
        except InputError as error:
            errors[f"item:{spec.name}/{item.name}"] = str(error)
    return rows, errors


def cut_example(
    item: ExampleItem, example: Example, spec: DatasetSpec, weight: float | None = None
) -> list[dict[str, Any]]:
    """Cut samples out of an example.

    An example gives one sample; a larger image whose label is dense or boxes gives one for every
    window. Windows without a labelled pixel are left out. A box goes to the window that holds its
    centre, cut at the window's edges.

    Args:
        item: of the example.
        example: as `read_example` returns it.
        spec: of the dataset.
        weight: of the samples; the dataset's own by default.

    Returns:
        Rows of the samples table.

    Raises:
        InputError: the label does not fit the image or the dataset's legend.
    """
    description = spec.description
    task, example = description.task, _in_table_form(item, example, description, spec)
    rows = []
    windows = list(_windows(example.valid.shape[1:], spec))
    for y, x in windows:
        valid = arrays.window(example.valid, y, x, spec.size, 0)
        label = _window_label(example.label, task, y, x, spec.size)
        counts = count_classes(label, task, spec.legend)
        if not valid.any() or (_is_dense(label, task) and not sum(counts)):
            continue
        position = f"/{y // spec.size}_{x // spec.size}" if len(windows) > 1 else ""
        name = f"{spec.name}/{item.name}{position}"
        sample = SampleRow(
            sample_id=name,
            tile_id=name,
            period="all",
            source=spec.name,
            scene_ids=(),
            datetimes=example.datetimes,
            georeference=_georeference(example.grid, item, y, x, spec.size),
            encoding=spec.encoding,
            pixels=arrays.window(example.pixels, y, x, spec.size, 0),
            valid=valid,
            label=label,
            dataset=spec.name,
            task=task,
            legend=spec.legend,
            block=item.group,
            class_counts=counts,
            weight=spec.dataset.weight if weight is None else weight,
        )
        rows.append(sample.to_row())
    return rows


def _in_table_form(
    item: ExampleItem, example: Example, description: Description, spec: DatasetSpec
) -> Example:
    # The example in the table's encoding, dates and legend; still of its own size.
    encoding = registry.band_encoding(description, spec.encoding.bands)
    pixels = recode(example.pixels, encoding, spec.encoding)
    example = _select_dates(dataclasses.replace(example, pixels=pixels), spec.dates)
    label = _translate(example.label, description, spec)
    if _is_dense(label, description.task):
        label = _mask_label(label, example.valid, item)
    return dataclasses.replace(example, label=label)


def _is_dense(label: np.ndarray, task: str) -> bool:
    return task in DENSE and label.ndim == 2


def _select_dates(example: Example, dates: int) -> Example:
    # Of more dates than the table has, some evenly spread; fewer are filled up with dates on which
    # nothing is valid.
    pixels, valid, count = example.pixels, example.valid, len(example.pixels)
    if count > dates:
        chosen = np.array([0])
        if dates > 1:
            chosen = np.rint(np.linspace(0, count - 1, dates)).astype(int)
        times = tuple(example.datetimes[i] for i in chosen if example.datetimes)
        pixels, valid = pixels[chosen], valid[chosen]
        return dataclasses.replace(example, pixels=pixels, valid=valid, datetimes=times)
    if count < dates:
        added = (0, dates - count)
        pixels = np.pad(pixels, [added, (0, 0), (0, 0), (0, 0)])
        valid = np.pad(valid, [added, (0, 0), (0, 0)])
        return dataclasses.replace(example, pixels=pixels, valid=valid)
    return example


def _mask_label(label: np.ndarray, valid: np.ndarray, item: ExampleItem) -> np.ndarray:
    # The dense label (H, W), 255 where no date is valid (T, H, W).
    if label.shape != valid.shape[1:]:
        raise InputError(
            f"{item.files[-1]} has a label of {label.shape} pixels, "
            f"its image {valid.shape[1:]}: fetch both anew"
        )
    return np.where(valid.any(0), label, NODATA).astype(np.uint8)


def _translate(label: np.ndarray, description: Description, spec: DatasetSpec) -> np.ndarray:
    """Return an example's label in the table's legend.

    Raises:
        InputError: an id is not in the dataset's legend, or the example's only class is ignored.
    """
    dataset_ids, codes = description.legend.ids, dict(spec.codes)
    if description.task == "multilabel":
        return _translate_presence(label, dataset_ids, spec)
    is_boxes = description.task == "detect"
    unknown = set(np.unique(label[:, 0] if is_boxes else label).tolist()) - {*dataset_ids, NODATA}
    if unknown:
        raise InputError(
            f"label codes {sorted(unknown)} are not in the legend of {spec.dataset.name} "
            f"({list(dataset_ids)}): fetch it anew"
        )
    ignored = tuple({*dataset_ids, NODATA} - set(codes))
    crosswalk = Crosswalk(spec.legend, {**dict.fromkeys(ignored, NODATA), **codes}, ignored)
    if is_boxes:
        ids = crosswalk.apply(label[:, 0].astype(np.int64))
        boxes: np.ndarray = np.column_stack([ids, label[:, 1:]])[ids != NODATA]
        return boxes.astype(np.float32)
    ids = crosswalk.apply(label)
    if label.ndim:
        return np.asarray(ids)
    if ids == NODATA:
        raise InputError(f"class {int(label)} is left out by datasets.ignore")
    return np.asarray(ids, np.int64)


def _translate_presence(
    label: np.ndarray, dataset_ids: Sequence[int], spec: DatasetSpec
) -> np.ndarray:
    # (K,) uint8, 1 where the table's class is present, of a label parallel to the dataset's ids.
    presence = np.zeros(len(spec.legend.classes), np.uint8)
    codes, positions = dict(spec.codes), spec.legend.to_index()
    for dataset_id, is_present in zip(dataset_ids, label, strict=True):
        if is_present and dataset_id in codes:
            presence[positions[codes[dataset_id]]] = 1
    return presence


def _windows(shape: tuple[int, ...], spec: DatasetSpec) -> Iterator[tuple[int, int]]:
    # First row and column of each window of an image of this shape; a window may reach beyond it.
    task, size = spec.description.task, spec.size
    if task in DENSE or (task == "detect" and max(shape) > size):
        yield from itertools.product(range(0, shape[0], size), range(0, shape[1], size))
    else:
        yield (shape[0] - size) // 2, (shape[1] - size) // 2


def _window_label(label: np.ndarray, task: str, y: int, x: int, size: int) -> np.ndarray:
    if task == "detect":
        return _window_boxes(label, y, x, size)
    if _is_dense(label, task):
        return arrays.window(label, y, x, size, NODATA)
    return label


def _window_boxes(boxes: np.ndarray, y: int, x: int, size: int) -> np.ndarray:
    # Boxes whose centre is in the window, in pixels from its corner and cut at its edges.
    moved = boxes - np.array([0, x, y, x, y], np.float32)
    centre = (moved[:, 1:3] + moved[:, 3:5]) / 2
    in_window = ((centre >= 0) & (centre < size)).all(1)
    moved[:, 1:] = moved[:, 1:].clip(0, size)
    return np.asarray(moved[in_window])


def _georeference(
    grid: Grid | None, item: ExampleItem, y: int, x: int, size: int
) -> dict[str, Any]:
    # The GRID columns of a window.
    if grid is not None:
        return arrays.grid_columns(grid.window(y, x, size, size))
    # An image without georeference: pixels are counted from its corner, and the footprint is the
    # point of the listing, if there is one.
    lon, lat = item.lonlat or (None, None)
    return {
        "crs": "",
        "transform": [1.0, 0.0, float(x), 0.0, -1.0, -float(y)],
        "height": size,
        "width": size,
        "footprint": None if item.lonlat is None else shapely.to_wkb(shapely.Point(item.lonlat)),
        "xmin": lon,
        "ymin": lat,
        "xmax": lon,
        "ymax": lat,
    }
