"""xView2 (xBD): pairs of satellite images of 1024x1024 pixels before and after 19 disasters, and how each building fared.

Gupta et al. 2019, arXiv:1911.09296; layouts of https://github.com/DIUx-xView/xView2_baseline and of the challenge's archives:
`<split>/images/<disaster>_00000001_pre_disaster.png` and `…_post_disaster.png`, beside them `labels/…_post_disaster.json` and, in
some, `targets/…_post_disaster_target.png`; the splits are train (tier1 in the archive of GeoTIFFs), tier3, test and hold, all
below any folder; in the paper's own layout a disaster's folder takes the split's place, and there is no split. Test stays test;
hold, the second set held back, is validation; tier3, published later for training, is train.
labels: `polygons` of `features.xy` (WKT in pixels of the image after), drawn by `subtype`; where that says un-classified there is
no label. `targets` are the publisher's masks: 0 no building, 1 no damage to 4 destroyed (github.com/DIUx-xView/xView2_scoring).
images: `png`, 8 bits, or `geotiff`, of which no document says how many: 16 hold either. Bands are red, green and blue, below 0.8
m a pixel. Colours are those of the publisher's `view_polygons.ipynb`. Dates are told by the polygons' files alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import shapely

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.files import label_of, read_dates, read_mask, walk
from lulc.datasets.shapes import draw_mask
from lulc.errors import InputError
from lulc.legend import NODATA, LandClass, Legend
from lulc.tables.encoding import Encoding

_BANDS = ("red", "green", "blue")
_LEGEND = Legend(
    "xview2",
    (
        LandClass(0, "no building", "#000000"), LandClass(1, "no damage", "#00ff00"), LandClass(2, "minor damage", "#0000ff"),
        LandClass(3, "major damage", "#ff4500"), LandClass(4, "destroyed", "#ff0000"),
    ),
)  # fmt: skip
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
    encoding = Encoding(
        _BANDS, "uint8" if options["images"] == "png" else "uint16", (1.0,) * 3, (0.0,) * 3
    )
    # What is no building may be anything, and so may what is left of one.
    return Description("change", _LEGEND, encoding, 0.5, 2, {1: 6, 2: 6, 3: 6})


def _items(root: Path, options: Options) -> Iterator[ExampleItem]:
    suffix = ".png" if options["images"] == "png" else ".tif"
    for file in walk(root, (suffix,)):
        path = PurePosixPath(file)
        found = _NAME.fullmatch(path.stem)
        if found and path.parent.name == "images":
            name, disaster = found.groups()
            beside = path.parents[1]
            labels = [f"labels/{name}_pre_disaster.json", f"labels/{name}_post_disaster.json"]
            if options["labels"] == "targets":
                labels = [f"targets/{name}_post_disaster_target.png"]
            files = (
                str(path.with_name(f"{name}_pre_disaster{path.suffix}")),
                file,
                *(str(beside / label) for label in labels),
            )
            yield ExampleItem(name, files, (), _SPLITS.get(beside.name, ""), disaster)


def _read(root: Path, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    before, after, *labels = item.files
    pixels, valid, grid = read_dates(
        root, [[(file, _BANDS.index(band) + 1) for band in bands] for file in (before, after)]
    )
    shape = valid.shape[1:]
    if options["labels"] == "targets":
        codes = read_mask(root, labels[0], shape)
        return Example(
            pixels, valid, label_of(codes, {i: i for i in _LEGEND.ids}, str(root / labels[0])), grid
        )
    told = [_read_json(root / label) for label in labels]
    label = draw_mask(_read_polygons(told[1], root / labels[1]), shape, 0)
    times = tuple(_when(found, root / file) for found, file in zip(told, labels, strict=True))
    return Example(pixels, valid, label, grid, times)


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): fetch it anew, or choose labels: targets"
        ) from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is no JSON object: fetch it anew")
    return found


def _when(told: Mapping[str, Any], path: Path) -> datetime:
    try:
        return datetime.fromisoformat(told["metadata"]["capture_date"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} says no metadata.capture_date ({error!r}): fetch it anew"
        ) from error


def _read_polygons(told: Mapping[str, Any], path: Path) -> list[tuple[shapely.Geometry, int]]:
    try:
        found = [
            (shapely.from_wkt(str(f["wkt"])), f["properties"]["subtype"])
            for f in told["features"]["xy"]
        ]
    except (KeyError, TypeError, shapely.errors.ShapelyError) as error:
        raise InputError(
            f"{path} holds no polygons with a damage subtype ({error!r}): fetch it anew"
        ) from error
    strange = sorted({str(subtype) for _, subtype in found} - set(_SUBTYPES))
    if strange:
        raise InputError(
            f"{path} has subtypes {', '.join(strange)}, known are {', '.join(_SUBTYPES)}: fetch it anew"
        )
    return [(shape, _SUBTYPES[subtype]) for shape, subtype in found]


XVIEW2 = Dataset(
    "xview2",
    "xView2, xBD (Gupta et al. 2019, arXiv:1911.09296), CC-BY-NC-SA-4.0",
    {"labels": ("polygons", "targets"), "images": ("png", "geotiff")},
    _describe,
    _items,
    _read,
)
