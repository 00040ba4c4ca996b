"""xView2 (xBD): pairs of satellite images before and after 19 disasters, and damage to buildings.

Images of 1024x1024 pixels. Gupta et al. 2019, arXiv:1911.09296; layouts of
https://github.com/DIUx-xView/xView2_baseline and of the challenge's archives:
`<split>/images/<disaster>_00000001_pre_disaster.png` and `…_post_disaster.png`, beside them
`labels/…_post_disaster.json` and, in some, `targets/…_post_disaster_target.png`; the splits are
train (tier1 in the archive of GeoTIFFs), tier3, test and hold, all below any folder; in the paper's
own layout a disaster's folder takes the split's place, and there is no split. Test stays test;
hold, the second set held back, is validation; tier3, published later for training, is train.

labels: `polygons` of `features.xy` (WKT in pixels of the image after), drawn by `subtype`; where
that is un-classified there is no label. `targets` are the publisher's masks: 0 no building, 1 no
damage to 4 destroyed (github.com/DIUx-xView/xView2_scoring).

images: `png`, 8 bits, or `geotiff`, of which no document gives the depth: 16 bits hold either.
Bands are red, green and blue, below 0.8 m a pixel. Colours are those of the publisher's
`view_polygons.ipynb`. Dates are in the polygons' files alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import shapely

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.descriptions import RGB, uniform_encoding
from lulc.datasets.files import read_before_and_after, read_label, split_of, walk
from lulc.datasets.shapes import LabelledShape, draw_mask
from lulc.errors import InputError
from lulc.legend import NODATA, LandClass, Legend
from lulc.location import Location

_LEGEND = Legend(
    "xview2",
    (
        LandClass(0, "no building", "#000000"),
        LandClass(1, "no damage", "#00ff00"),
        LandClass(2, "minor damage", "#0000ff"),
        LandClass(3, "major damage", "#ff4500"),
        LandClass(4, "destroyed", "#ff0000"),
    ),
)
# Without a building, and where one was destroyed, the land cover may be anything.
_COMMON = {1: 6, 2: 6, 3: 6}
_IDS = {i: i for i in _LEGEND.ids}
_SUBTYPES = {
    "no-damage": 1,
    "minor-damage": 2,
    "major-damage": 3,
    "destroyed": 4,
    "un-classified": NODATA,
}
_SPLITS = {
    "train": "train",
    "tier1": "train",
    "tier3": "train",
    "hold": "validation",
    "test": "test",
}
_NAME = re.compile(r"((.+)_\d+)_post_disaster")


def _describe(options: Options) -> Description:
    if options["images"] == "png":
        encoding = uniform_encoding(RGB, "uint8", unit="picture")
    else:
        encoding = uniform_encoding(RGB, "uint16")
    return Description("change", _LEGEND, encoding, gsd_m=0.5, dates=2, common=_COMMON)


def _items(root: Location, options: Options) -> Iterator[ExampleItem]:
    suffix = ".png" if options["images"] == "png" else ".tif"
    for after_path in walk(root, (suffix,)):
        path = PurePosixPath(after_path)
        match = _NAME.fullmatch(path.stem)
        if match and path.parent.name == "images":
            name, disaster = match.groups()
            split_folder = path.parents[1]
            before_path = str(path.with_name(f"{name}_pre_disaster{path.suffix}"))
            labels = [f"labels/{name}_pre_disaster.json", f"labels/{name}_post_disaster.json"]
            if options["labels"] == "targets":
                labels = [f"targets/{name}_post_disaster_target.png"]
            label_paths = [str(split_folder / label) for label in labels]
            yield ExampleItem(
                name,
                (before_path, after_path, *label_paths),
                split=_split(split_folder.name.lower()),
                group=disaster,
            )


def _split(folder: str) -> str:
    # Folders may have the name of the archive too, such as hold_images_labels_targets.
    return _SPLITS.get(folder.partition("_")[0]) or split_of(folder)


def _read(root: Location, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    image_paths, label_paths = item.files[:2], item.files[2:]
    pixels, valid, grid = read_before_and_after(root, image_paths, RGB, bands)
    shape = valid.shape[1:]
    if options["labels"] == "targets":
        label = read_label(root, label_paths[0], shape, _IDS)
        return Example(pixels, valid, label, grid)
    paths = [root / label_path for label_path in label_paths]
    annotations = [_read_json(path) for path in paths]
    label = draw_mask(_parse_polygons(annotations[1], paths[1]), shape, 0)
    times = tuple(map(_capture_time, annotations, paths))
    return Example(pixels, valid, label, grid, times)


def _read_json(path: Location) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): fetch it anew, or choose labels: targets"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no JSON object: fetch it anew")
    return content


def _parse_polygons(annotation: Mapping[str, Any], path: Location) -> list[LabelledShape]:
    try:
        polygons = [
            (shapely.from_wkt(str(feature["wkt"])), feature["properties"]["subtype"])
            for feature in annotation["features"]["xy"]
        ]
    except (KeyError, TypeError, shapely.errors.ShapelyError) as error:
        raise InputError(
            f"{path} holds no polygons with a damage subtype ({error!r}): fetch it anew"
        ) from error
    unknown = sorted({str(subtype) for _, subtype in polygons} - set(_SUBTYPES))
    if unknown:
        raise InputError(
            f"{path} has subtypes {', '.join(unknown)}, known are {', '.join(_SUBTYPES)}: "
            "fetch it anew"
        )
    return [(polygon, _SUBTYPES[subtype]) for polygon, subtype in polygons]


def _capture_time(annotation: Mapping[str, Any], path: Location) -> datetime:
    try:
        return datetime.fromisoformat(annotation["metadata"]["capture_date"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} has no metadata.capture_date ({error!r}): fetch it anew"
        ) from error


XVIEW2 = Dataset(
    name="xview2",
    about="xView2, xBD (Gupta et al. 2019, arXiv:1911.09296), CC-BY-NC-SA-4.0",
    options={"labels": ("polygons", "targets"), "images": ("png", "geotiff")},
    describe=_describe,
    items=_items,
    read=_read,
)
