"""Any other archive of labelled images, described by options: patterns of file names, classes, bands; no code is needed.

images: where they lie under the root, such as `chips/{item}.tif`; `{item}` stands for a part of a name, `{class}` for a folder
named after the image's class. What labels them is one of: masks (a pattern such as `masks/{item}.png`); polygons (a pattern of
GeoJSON files, such as `{item}_labels.geojson`); table, a CSV or Parquet file whose column `item` names image files, with `class`,
for boxes also `left`, `top`, `right`, `bottom`, and if need be `split`; or `{class}` in the images' own pattern.
classes: names in the order of their codes, which are 0, 1, … or those given, such as `background=0, building=255`.
column: the property of polygons that names the class; without it all are of the last class. Where no polygon is, is the first.
where: which features of the file count, such as `kind=outline`; without it all that have an area do.
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
from lulc.datasets.files import label_of, read_image, read_mask, walk
from lulc.datasets.shapes import draw_mask, read_shapes, shape_boxes
from lulc.errors import InputError, UsageError
from lulc.legend import LandClass, Legend, distinct_colours
from lulc.tables.encoding import Encoding

_TABLE = ("item", "class")
_BOX = ("left", "top", "right", "bottom")


def _codes(options: Options) -> dict[str, int]:
    """Class name → its code in masks, in order."""
    found: dict[str, int] = {}
    for number, text in enumerate(part.strip() for part in options["classes"].split(",")):
        name, _, code = (part.strip() for part in text.partition("="))
        if not name or (code and not code.isdigit()):
            raise UsageError(
                f"images: classes {options['classes']!r} must be names, such as 'background, building=255'"
            )
        found[name] = int(code) if code else number
    return found


def _describe(options: Options) -> Description:
    if not options["images"] or not options["classes"]:
        raise UsageError(
            "images: options.images (a pattern such as `chips/{item}.tif`) and options.classes (their names) are needed"
        )
    names = list(_codes(options))
    colours = distinct_colours(len(names))
    classes = tuple(
        LandClass(i, name, colour)
        for i, (name, colour) in enumerate(zip(names, colours, strict=True))
    )
    bands = (
        tuple(band.strip() for band in options["bands"].split(","))
        if options["bands"]
        else ("red", "green", "blue")
    )
    try:
        scale, gsd_m = float(options["scale"] or 1), float(options["gsd_m"] or 1)
    except ValueError as error:
        raise UsageError(
            f"images: scale {options['scale']!r} and gsd_m {options['gsd_m']!r} must be numbers"
        ) from error
    encoding = Encoding(bands, options["dtype"], (scale,) * len(bands), (0.0,) * len(bands))
    return Description(cast(Task, options["task"]), Legend("images", classes), encoding, gsd_m)


def _items(root: Path, options: Options) -> Iterator[ExampleItem]:
    names = list(_codes(options))
    if options["table"]:
        yield from _listed(root, options, names)
        return
    pattern = (
        re.escape(options["images"])
        .replace(r"\{item\}", r"(?P<item>[^/]+)", 1)
        .replace(r"\{class\}", r"(?P<class>[^/]+)", 1)
    )
    for file in walk(root, (PurePosixPath(options["images"]).suffix.lower(),)):
        found = re.fullmatch(pattern, file)
        if not found:
            continue
        given = found.groupdict()
        label = options["masks"] or options["polygons"]
        files = (file, label.format(**given)) if label else (file,)
        if "class" in given and given["class"] not in names:
            raise InputError(
                f"images: {root / file} is of class {given['class']!r}, classes has {', '.join(names)}"
            )
        yield ExampleItem(
            PurePosixPath(file).with_suffix("").as_posix(),
            files,
            (names.index(given["class"]),) if "class" in given else (),
        )


@lru_cache(maxsize=4)
def _read_table(path: str) -> pd.DataFrame:
    try:
        found = pd.read_parquet(path) if path.endswith(".parquet") else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"images: table {path} cannot be read ({error}): a CSV or Parquet file is accepted"
        ) from error
    lacks = [name for name in _TABLE if name not in found]
    if lacks:
        raise InputError(
            f"images: table {path} has no column {', '.join(lacks)}: it has {', '.join(map(str, found.columns))}"
        )
    return found


def _listed(root: Path, options: Options, names: list[str]) -> Iterator[ExampleItem]:
    table = _read_table(str(root / options["table"]))
    strange = sorted(set(map(str, table["class"].dropna())) - set(names))
    if strange:
        raise InputError(
            f"images: {root / options['table']} names classes {', '.join(strange[:5])}; classes has {', '.join(names)}"
        )
    for item, rows in table.groupby("item", sort=True):
        classes = tuple(sorted({names.index(str(name)) for name in rows["class"].dropna()}))
        file = str(item)
        if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
            raise InputError(
                f"images: {root / options['table']} names {file}: give names relative to the root, without '..'"
            )
        split = str(rows["split"].iloc[0]) if "split" in rows else ""
        known = {"val": "validation", "valid": "validation", "nan": ""}
        yield ExampleItem(
            PurePosixPath(file).with_suffix("").as_posix(),
            (file,),
            classes,
            known.get(split, split),
        )


def _read(root: Path, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    own = _describe(options).encoding.bands
    pixels, valid, grid = read_image(root, item.files[0], [own.index(band) + 1 for band in bands])
    label: np.ndarray
    if options["masks"]:
        codes = {code: i for i, code in enumerate(_codes(options).values())}
        label = label_of(read_mask(root, item.files[1], valid.shape), codes, item.files[1])
        if options["task"] == "detect":
            raise UsageError(
                "images: boxes are read from polygons or a table, not from masks: choose task segment"
            )
    elif options["polygons"]:
        shapes = read_shapes(root / item.files[1], grid)
        named = [
            (shape, _class_of(told, options, root / item.files[1]))
            for shape, told in shapes
            if shape.area > 0 and _counts(told, options["where"])
        ]
        label = (
            shape_boxes(named, valid.shape)
            if options["task"] == "detect"
            else draw_mask(named, valid.shape, 0)
        )
    elif options["task"] == "detect":
        table = _read_table(str(root / options["table"]))
        mine = table[(table["item"] == item.files[0]) & table["class"].notna()]
        ids = [list(_codes(options)).index(str(name)) for name in mine["class"]]
        label = (
            np.column_stack([ids, mine[list(_BOX)].to_numpy(float)])
            .astype(np.float32)
            .reshape(-1, 5)
        )
    elif options["task"] == "multilabel":
        label = np.isin(np.arange(len(_codes(options))), item.classes).astype(np.uint8)
    elif len(item.classes) == 1:
        label = np.array(item.classes[0], np.int64)
    else:
        raise InputError(
            f"images: {root / item.files[0]} has {len(item.classes)} classes where task {options['task']} wants one"
        )
    return Example(pixels[None], valid[None], label, grid)


def _class_of(told: Mapping[str, object], options: Options, path: Path) -> int:
    names = list(_codes(options))
    if not options["column"]:
        return len(names) - 1
    found = _values(told, options["column"])
    if len(found) != 1 or found[0] not in names:
        raise InputError(
            f"{path} has a polygon whose {options['column']} is {found}: classes has {', '.join(names)}"
        )
    return names.index(found[0])


def _counts(told: Mapping[str, object], where: str) -> bool:
    name, _, value = (part.strip() for part in where.partition("="))
    return not where or value in _values(told, name)


def _values(told: Mapping[str, object], name: str) -> list[str]:
    # Annotation tools write one value and a list of values alike.
    found = told.get(name)
    return [str(value) for value in (found if isinstance(found, list) else [found])]


IMAGES = Dataset(
    "images",
    "any archive of labelled images that a run file describes",
    {
        "task": ("segment", "classify", "multilabel", "detect"),
        **dict.fromkeys(
            (
                "images",
                "masks",
                "polygons",
                "column",
                "where",
                "table",
                "classes",
                "bands",
                "scale",
                "gsd_m",
            ),
            (),
        ),
        "dtype": ("uint8", "int16", "uint16", "float32"),
    },
    _describe,
    _items,
    _read,
)
