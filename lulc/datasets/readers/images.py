"""Any other archive of labelled images, described by options: no code is needed.

images: their paths under the root as a pattern, such as `chips/{item}.tif`; `{item}` stands for a
part of a name, `{class}` for a folder named after the image's class, `{split}` for one named after
its split. Files that the pattern does not match are counted and told.

Labels are one of: masks (a pattern such as `masks/{item}.png`); polygons (a pattern of GeoJSON
files, such as `{item}_labels.geojson`); table, a CSV or Parquet file whose column `item` names
image files, with `class`, for boxes also `left`, `top`, `right`, `bottom`, and if need be `split`;
or `{class}` in the images' own pattern. An image without its label is a bad item, a label without
its image is told.

classes: names in the order of their codes, which are 0, 1, … or as in `background=0, building=255`;
for masks in colours as in `background=#000000, building=#ff0000`.

bands: of the image files, all of them in order.

column: the property of polygons that names the class; without it all are of the last class. Pixels
outside all polygons are of the first class.

where: which features of the file count, such as `kind=outline`; without it all that have an area.

units: of polygons: `map`, the coordinates of a georeferenced image (in degrees, or the file's
`crs`), or `pixels` of the image. Pictures have pixels alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import cast

import numpy as np

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Note, Options, Task
from lulc.datasets.descriptions import RGB, band_option, number_option, uniform_encoding
from lulc.datasets.files import band_indexes, read_image, split_of, walk
from lulc.datasets.readers._images_classes import (
    Classes,
    parse_classes,
    read_class_mask,
    split_pair,
)
from lulc.datasets.readers._images_table import read_boxes, read_label_rows
from lulc.datasets.shapes import (
    areas_of,
    draw_mask,
    read_shapes,
    require_overlap,
    shape_boxes,
)
from lulc.errors import InputError, UsageError
from lulc.geo.grid import Grid
from lulc.location import Location

_PLACEHOLDERS = ("item", "class", "split")


def _describe(options: Options) -> Description:
    if not options["images"] or not options["classes"]:
        raise UsageError(
            "images: options.images (a pattern such as `chips/{item}.tif`) and options.classes "
            "(their names) are needed"
        )
    labels = [name for name in ("masks", "polygons", "table") if options[name]]
    if len(labels) > 1:
        raise UsageError(
            f"images: options {' and '.join(labels)} say labels: give the one that counts"
        )
    for name in ("images", "masks", "polygons"):
        _pattern(options, name)
    if options["masks"] and options["task"] == "detect":
        raise UsageError(
            "images: boxes are read from polygons or a table, not from masks: choose task segment"
        )
    scale = number_option("images", options, "scale", 1.0)
    encoding = uniform_encoding(band_option(options, RGB), options["dtype"], scale)
    gsd_m = number_option("images", options, "gsd_m", 1.0)
    legend = parse_classes(options["classes"]).legend
    return Description(cast(Task, options["task"]), legend, encoding, gsd_m)


def _items(root: Location, options: Options) -> Iterator[ExampleItem | Note]:
    names = parse_classes(options["classes"]).names
    if options["table"]:
        yield from _table_items(root, options, names)
        return
    image_pattern, label_option = _pattern(options, "images"), _label_option(options)
    suffixes = {PurePosixPath(options[name]).suffix.lower() for name in ("images", label_option)}
    files = set(walk(root, tuple(suffixes)))
    words_of = {
        path: match.groupdict()
        for path in sorted(files)
        if (match := image_pattern.fullmatch(path))
    }
    label_of = {}
    if label_option != "images":
        label_of = {path: _fill(options, label_option, words) for path, words in words_of.items()}
    # Where masks lie beside their images the images' pattern may match them too.
    labels = set(label_of.values()) & files
    for path, words in words_of.items():
        if path not in labels:
            yield _pattern_item(root, path, words, label_of.get(path), files, names)
    yield from _notes(options, label_option, files - set(words_of) - labels)


def _pattern_item(
    root: Location,
    image_path: str,
    words: Mapping[str, str],
    label_path: str | None,
    files: set[str],
    names: Sequence[str],
) -> ExampleItem:
    error, split = "", ""
    classes: tuple[int, ...] = ()
    if label_path is not None and label_path not in files:
        error = f"images: {root / image_path} has no label {label_path}"
    if "split" in words:
        split = split_of(words["split"])
        error = error or (
            "" if split else f"images: {root / image_path}: {words['split']!r} names no split"
        )
    if "class" in words:
        if words["class"] not in names:
            raise InputError(
                f"images: {root / image_path} is of class {words['class']!r}, classes has "
                f"{', '.join(names)}"
            )
        classes = (names.index(words["class"]),)
    paths = (image_path,) if label_path is None else (image_path, label_path)
    return ExampleItem(_item_name(image_path), paths, classes, split, error=error)


def _notes(options: Options, label_option: str, left_out: set[str]) -> Iterator[Note]:
    """Yield what is told of the files that are neither an image nor the label of one."""
    labels = []
    if label_option != "images":
        label_pattern = _pattern(options, label_option)
        labels = sorted(path for path in left_out if label_pattern.fullmatch(path))
    if labels:
        yield Note(f"{len(labels):,} labels have no image, such as {labels[0]}")
    others = sorted(left_out - set(labels))
    if others:
        yield Note(
            f"{len(others):,} files are left out, as {options['images']} does not match them, such "
            f"as {others[0]}"
        )


def _label_option(options: Options) -> str:
    """Return the option whose pattern names the labels; `images` where classes are folders."""
    return next((name for name in ("masks", "polygons") if options[name]), "images")


def _pattern(options: Options, option: str) -> re.Pattern[str]:
    """Return the expression of a pattern, in which the second `{item}` stands for the first."""
    literal, *pieces = re.split(r"\{(\w*)\}", options[option])
    expression, seen = re.escape(literal), set()
    for name, text in zip(pieces[::2], pieces[1::2], strict=True):
        if name not in _PLACEHOLDERS or (
            option != "images" and f"{{{name}}}" not in options["images"]
        ):
            raise UsageError(
                f"images: {option} {options[option]!r} has {{{name}}}: {{item}}, {{class}} and "
                "{split} are known, in labels those that images has"
            )
        expression += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+)"
        expression += re.escape(text)
        seen.add(name)
    return re.compile(expression)


def _fill(options: Options, option: str, words: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: words[match[1]], options[option])


def _item_name(image_path: str) -> str:
    return PurePosixPath(image_path).with_suffix("").as_posix()


def _table_items(
    root: Location, options: Options, names: Sequence[str]
) -> Iterator[ExampleItem | Note]:
    path = root / options["table"]
    rows_of = read_label_rows(path)
    unknown = sorted({row["class"] for rows in rows_of.values() for row in rows} - {"", *names})
    if unknown:
        raise InputError(
            f"images: {path} names classes {', '.join(unknown[:5])}; classes has {', '.join(names)}"
        )
    for image_path, rows in sorted(rows_of.items()):
        if not PurePosixPath(image_path).name:
            error = f"images: {path} has {len(rows)} rows whose item is no file: {image_path!r}"
            yield ExampleItem(f"item {image_path!r}", (options["table"],), error=error)
            continue
        if PurePosixPath(image_path).is_absolute() or ".." in PurePosixPath(image_path).parts:
            raise InputError(
                f"images: {path} names {image_path}: give names relative to the root, without '..'"
            )
        classes = sorted({names.index(row["class"]) for row in rows if row["class"]})
        splits = sorted({row.get("split", "") for row in rows})
        split, error = split_of(splits[0]), ""
        if len(splits) > 1:
            error = f"images: {path} has {image_path} in splits {', '.join(splits)}"
        elif splits[0] and not split:
            error = f"images: {path}: {splits[0]!r} of {image_path} names no split"
        name, files = _item_name(image_path), (image_path,)
        yield ExampleItem(name, files, tuple(classes), split, error=error)
    pattern = _pattern(options, "images")
    images = walk(root, (PurePosixPath(options["images"]).suffix.lower(),))
    unlisted = sorted(image for image in images if image not in rows_of)
    missed = [image for image in unlisted if pattern.fullmatch(image)]
    if missed:
        yield Note(f"{len(missed):,} images are not in {options['table']}, such as {missed[0]}")


def _read(root: Location, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    file_bands = _describe(options).encoding.bands
    pixels, valid, grid = read_image(root, item.files[0])
    if len(pixels) < len(file_bands):
        # A band that is named is data, also where the file takes it for alpha.
        pixels, valid, grid = read_image(root, item.files[0], range(1, len(file_bands) + 1))
    if len(pixels) > len(file_bands):
        raise InputError(
            f"{root / item.files[0]} has {len(pixels)} bands, the option bands names "
            f"{', '.join(file_bands)}: name all bands of the files, in order"
        )
    label = _read_label(root, item, options, valid.shape, grid)
    pixels = pixels[[index - 1 for index in band_indexes(file_bands, bands)]]
    return Example(pixels[None], valid[None], label, grid)


def _read_label(
    root: Location, item: ExampleItem, options: Options, shape: tuple[int, int], grid: Grid | None
) -> np.ndarray:
    """Read the label of an image of this shape (H, W), from the files the options name."""
    classes, task = parse_classes(options["classes"]), options["task"]
    if options["masks"]:
        return read_class_mask(root / item.files[1], shape, classes)
    if options["polygons"]:
        return _read_polygons(root / item.files[1], options, shape, grid)
    if task == "detect":
        return read_boxes(root / options["table"], item.files[0], classes.names, shape)
    if task == "multilabel":
        return np.isin(np.arange(len(classes.codes)), item.classes).astype(np.uint8)
    if len(item.classes) == 1:
        return np.array(item.classes[0], np.int64)
    raise InputError(
        f"images: {root / item.files[0]} has {len(item.classes)} classes where task {task} needs "
        "one"
    )


def _read_polygons(
    path: Location, options: Options, shape: tuple[int, int], grid: Grid | None
) -> np.ndarray:
    classes = parse_classes(options["classes"])
    features = read_shapes(path, None if options["units"] == "pixels" else grid)
    if "{" in options["polygons"]:
        # One file of all images need not meet each of them.
        require_overlap((geometry for geometry, _ in features), shape, path)
    shapes = [
        (polygons, _class_of(properties, options, classes, path))
        for geometry, properties in features
        if _is_selected(properties, options["where"])
        if (polygons := areas_of(geometry)) is not None
    ]
    return (
        shape_boxes(shapes, shape) if options["task"] == "detect" else draw_mask(shapes, shape, 0)
    )


def _class_of(
    properties: Mapping[str, object], options: Options, classes: Classes, path: Location
) -> int:
    names = classes.names
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
    name, value = split_pair(where)
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
        "units": ("map", "pixels"),
    },
    describe=_describe,
    items=_items,
    read=_read,
)
