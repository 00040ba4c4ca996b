"""Any other archive of labelled images, described by options: no code is needed.

images: their paths under the root as a pattern, such as `chips/{item}.tif`; `{item}` stands for a
part of a name, `{class}` for a folder named after the image's class.

Labels are one of: masks (a pattern such as `masks/{item}.png`); polygons (a pattern of GeoJSON
files, such as `{item}_labels.geojson`); table, a CSV or Parquet file whose column `item` names
image files, with `class`, for boxes also `left`, `top`, `right`, `bottom`, and if need be `split`;
or `{class}` in the images' own pattern.

classes: names in the order of their codes, which are 0, 1, … or as in `background=0, building=255`.

column: the property of polygons that names the class; without it all are of the last class. Pixels
outside all polygons are of the first class.

where: which features of the file count, such as `kind=outline`; without it all that have an area.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import cast

import numpy as np
import pandas as pd

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options, Task
from lulc.datasets.descriptions import RGB, band_option, number_option, uniform_encoding
from lulc.datasets.files import band_indexes, read_image, read_label, walk
from lulc.datasets.shapes import draw_mask, read_shapes, shape_boxes
from lulc.errors import InputError, UsageError
from lulc.geo.grid import Grid
from lulc.legend import LandClass, Legend, distinct_colours

_COLUMNS = ("item", "class")
_BOX_COLUMNS = ("left", "top", "right", "bottom")
_SPLITS = {"val": "validation", "valid": "validation", "nan": ""}


def _describe(options: Options) -> Description:
    if not options["images"] or not options["classes"]:
        raise UsageError(
            "images: options.images (a pattern such as `chips/{item}.tif`) and options.classes "
            "(their names) are needed"
        )
    names = list(_class_codes(options))
    colours = distinct_colours(len(names))
    classes = tuple(map(LandClass, range(len(names)), names, colours))
    scale = number_option("images", options, "scale", 1.0)
    encoding = uniform_encoding(band_option(options, RGB), options["dtype"], scale)
    gsd_m = number_option("images", options, "gsd_m", 1.0)
    return Description(cast(Task, options["task"]), Legend("images", classes), encoding, gsd_m)


def _items(root: Path, options: Options) -> Iterator[ExampleItem]:
    names = list(_class_codes(options))
    if options["table"]:
        yield from _table_items(root, options, names)
        return
    pattern = (
        re.escape(options["images"])
        .replace(r"\{item\}", r"(?P<item>[^/]+)", 1)
        .replace(r"\{class\}", r"(?P<class>[^/]+)", 1)
    )
    label_pattern = options["masks"] or options["polygons"]
    for image_path in walk(root, (PurePosixPath(options["images"]).suffix.lower(),)):
        match = re.fullmatch(pattern, image_path)
        if not match:
            continue
        words = match.groupdict()
        files: tuple[str, ...] = (image_path,)
        if label_pattern:
            files += (label_pattern.format(**words),)
        if "class" in words and words["class"] not in names:
            raise InputError(
                f"images: {root / image_path} is of class {words['class']!r}, classes has "
                f"{', '.join(names)}"
            )
        classes = (names.index(words["class"]),) if "class" in words else ()
        yield ExampleItem(_item_name(image_path), files, classes)


def _read(root: Path, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    file_bands = _describe(options).encoding.bands
    pixels, valid, grid = read_image(root, item.files[0], band_indexes(file_bands, bands))
    label = _read_label(root, item, options, valid.shape, grid)
    return Example(pixels[None], valid[None], label, grid)


def _class_codes(options: Options) -> dict[str, int]:
    """Return class name → its code in masks, in order."""
    codes: dict[str, int] = {}
    for number, text in enumerate(options["classes"].split(",")):
        name, code = _split_pair(text)
        if not name or (code and not code.isdigit()):
            raise UsageError(
                f"images: classes {options['classes']!r} must be names, such as "
                "'background, building=255'"
            )
        codes[name] = int(code) if code else number
    return codes


def _split_pair(text: str) -> tuple[str, str]:
    """Return name and value of `name=value`."""
    name, _, value = text.partition("=")
    return name.strip(), value.strip()


def _item_name(image_path: str) -> str:
    return PurePosixPath(image_path).with_suffix("").as_posix()


def _table_items(root: Path, options: Options, names: Sequence[str]) -> Iterator[ExampleItem]:
    path = root / options["table"]
    table = _read_table(str(path))
    unknown = sorted(set(map(str, table["class"].dropna())) - set(names))
    if unknown:
        raise InputError(
            f"images: {path} names classes {', '.join(unknown[:5])}; classes has {', '.join(names)}"
        )
    for item, rows in table.groupby("item", sort=True):
        image_path = str(item)
        if PurePosixPath(image_path).is_absolute() or ".." in PurePosixPath(image_path).parts:
            raise InputError(
                f"images: {path} names {image_path}: give names relative to the root, without '..'"
            )
        classes = sorted({names.index(str(name)) for name in rows["class"].dropna()})
        split = str(rows["split"].iloc[0]) if "split" in rows else ""
        yield ExampleItem(
            _item_name(image_path), (image_path,), tuple(classes), _SPLITS.get(split, split)
        )


@lru_cache(maxsize=4)
def _read_table(path: str) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path) if path.endswith(".parquet") else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"images: table {path} cannot be read ({error}): a CSV or Parquet file is accepted"
        ) from error
    missing = [name for name in _COLUMNS if name not in table]
    if missing:
        raise InputError(
            f"images: table {path} has no column {', '.join(missing)}: it has "
            f"{', '.join(map(str, table.columns))}"
        )
    return table


def _read_label(
    root: Path, item: ExampleItem, options: Options, shape: tuple[int, int], grid: Grid | None
) -> np.ndarray:
    """Read the label of an image of this shape (H, W), from the files the options name."""
    codes, task = _class_codes(options), options["task"]
    if options["masks"]:
        label = read_label(root, item.files[1], shape, {c: i for i, c in enumerate(codes.values())})
        if task == "detect":
            raise UsageError(
                "images: boxes are read from polygons or a table, not from masks: choose task "
                "segment"
            )
        return label
    if options["polygons"]:
        return _read_polygons(root / item.files[1], options, shape, grid)
    if task == "detect":
        return _read_boxes(root / options["table"], item.files[0], list(codes))
    if task == "multilabel":
        return np.isin(np.arange(len(codes)), item.classes).astype(np.uint8)
    if len(item.classes) == 1:
        return np.array(item.classes[0], np.int64)
    raise InputError(
        f"images: {root / item.files[0]} has {len(item.classes)} classes where task {task} needs "
        "one"
    )


def _read_polygons(
    path: Path, options: Options, shape: tuple[int, int], grid: Grid | None
) -> np.ndarray:
    shapes = [
        (polygon, _class_of(properties, options, path))
        for polygon, properties in read_shapes(path, grid)
        if polygon.area > 0 and _is_selected(properties, options["where"])
    ]
    return (
        shape_boxes(shapes, shape) if options["task"] == "detect" else draw_mask(shapes, shape, 0)
    )


def _read_boxes(path: Path, image_path: str, names: Sequence[str]) -> np.ndarray:
    table = _read_table(str(path))
    rows = table[(table["item"] == image_path) & table["class"].notna()]
    ids = [names.index(str(name)) for name in rows["class"]]
    boxes = np.column_stack([ids, rows[list(_BOX_COLUMNS)].to_numpy(float)])
    return boxes.astype(np.float32).reshape(-1, 5)


def _class_of(properties: Mapping[str, object], options: Options, path: Path) -> int:
    names = list(_class_codes(options))
    if not options["column"]:
        return len(names) - 1
    values = _values(properties, options["column"])
    if len(values) != 1 or values[0] not in names:
        raise InputError(
            f"{path} has a polygon whose {options['column']} is {values}: classes has "
            f"{', '.join(names)}"
        )
    return names.index(values[0])


def _is_selected(properties: Mapping[str, object], where: str) -> bool:
    name, value = _split_pair(where)
    return not where or value in _values(properties, name)


def _values(properties: Mapping[str, object], name: str) -> list[str]:
    # Annotation tools write one value and a list of values alike.
    value = properties.get(name)
    return [str(element) for element in (value if isinstance(value, list) else [value])]


IMAGES = Dataset(
    name="images",
    about="any archive of labelled images that a run file describes",
    options={
        "task": ("segment", "classify", "multilabel", "detect"),
        "images": (),
        "masks": (),
        "polygons": (),
        "column": (),
        "where": (),
        "table": (),
        "classes": (),
        "bands": (),
        "scale": (),
        "gsd_m": (),
        "dtype": ("uint8", "int16", "uint16", "float32"),
    },
    describe=_describe,
    items=_items,
    read=_read,
)
