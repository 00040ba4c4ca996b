"""DOTA: aerial and satellite images with oriented boxes of 15, 16 or 18 classes of objects.

Images of 800 to 30,000 pixels a side. Xia et al. 2018, arXiv:1711.10398 (1.0), and Ding et al.
2021, arXiv:2102.12219 (2.0); https://captain-whu.github.io/DOTA/dataset.html and
github.com/CAPTAIN-WHU/DOTA_devkit: `train/images/P0000.png` and `val/images/…`, which the archives'
parts may hold in folders of their own; `train/labelTxt-v1.0/labelTxt/P0000.txt`,
`labelTxt-v1.5/DOTA-v1.5_train/…`, `labelTxt-v2.0/DOTA-v2.0_train/…`, or plain `labelTxt/`, of
whatever version the options say; torchgeo's copy has `annotations/version1.0/`. Folders of
horizontal boxes (`…_hbb`, `Train_Task2_gt`) are passed over: the bounds of the oriented ones are
these. Test images come without labels.

Lines: `x1 y1 x2 y2 x3 y3 x4 y4 category difficult` in pixels, after `imagesource:` and `gsd:`, or
more such; difficult is 0, or missing, but for what is hard to see. Panchromatic images (GF-2, JL-1)
are one band, repeated as red, green and blue. Metres a pixel differ (0.1 to 4.5); that of the
description is a common one. Images are not georeferenced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np
import shapely

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Note, Options
from lulc.datasets.descriptions import RGB, numbered_scheme, uniform_encoding
from lulc.datasets.files import read_image, read_lines, split_of, walk
from lulc.datasets.shapes import LabelledShape, shape_boxes
from lulc.errors import InputError
from lulc.location import Location

_CLASSES = {
    # Category: colour, id in the common legend. In the order of the publisher's page; the last
    # three came later.
    "plane": ("#7f7f7f", None),
    "ship": ("#1f5fbf", None),
    "storage-tank": ("#a020a0", 6),
    "baseball-diamond": ("#b8d68a", 2),
    "tennis-court": ("#2f7f6f", 6),
    "basketball-court": ("#e49635", 6),
    "ground-track-field": ("#c4281b", 2),
    "harbor": ("#3a6ea5", 6),
    "bridge": ("#464646", 6),
    "large-vehicle": ("#b5651d", None),
    "small-vehicle": ("#ffd400", None),
    "helicopter": ("#d62fd6", None),
    "roundabout": ("#6e6e6e", 6),
    "soccer-ball-field": ("#88b053", 2),
    "swimming-pool": ("#17becf", 0),
    "container-crane": ("#ff7f0e", None),
    "airport": ("#303030", 6),
    "helipad": ("#e88f86", 6),
}
_COUNTS = {"1.0": 15, "1.5": 16, "2.0": 18}
_VERSION = re.compile(r"v(?:ersion)?-?(\d\.\d)", re.IGNORECASE)
_HORIZONTAL = re.compile(r"hbb|task2|reclabel", re.IGNORECASE)
_HEADER = re.compile(r"[a-z ]+:", re.IGNORECASE)


def _describe(options: Options) -> Description:
    version = options["version"]
    scheme = numbered_scheme(
        f"dota-{version}", ((name, *_CLASSES[name]) for name in _categories(version))
    )
    encoding = uniform_encoding(RGB, "uint8", unit="picture")
    return Description("detect", scheme.legend, encoding, gsd_m=0.3, common=scheme.common)


def _items(root: Location, options: Options) -> Iterator[ExampleItem | Note]:
    image_paths: dict[tuple[str, str], str] = {}
    label_paths: dict[tuple[str, str], str] = {}
    for file in sorted(walk(root, (".png", ".txt"))):
        path = PurePosixPath(file)
        split = split_of(path.parent)
        key = split, path.stem
        if path.suffix.lower() == ".png":
            image_paths[key] = file
        elif split and not _HORIZONTAL.search(file):
            versions = _VERSION.findall(str(path.parent))
            # A folder that names its version comes before one that names none.
            is_unversioned = not versions and path.parent.name == "labelTxt"
            if options["version"] in versions or (is_unversioned and key not in label_paths):
                label_paths[key] = file
    for (split, stem), label_path in label_paths.items():
        image_path = image_paths.get((split, stem), f"{split}/images/{stem}.png")
        yield ExampleItem(stem, (image_path, label_path), split=split)
    alone = sorted(path for key, path in image_paths.items() if key not in label_paths)
    if alone:
        yield Note(f"{len(alone):,} images have no labels and are left out, such as {alone[0]}")


def _read(root: Location, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    image_path, label_path = item.files
    layers, valid, grid = read_image(root, image_path)
    pixels = layers[[RGB.index(band) % len(layers) for band in bands]]
    boxes = shape_boxes(_read_objects(root / label_path, options), valid.shape)
    return Example(pixels[None], valid[None], boxes, grid)


def _categories(version: str) -> list[str]:
    return list(_CLASSES)[: _COUNTS[version]]


def _read_objects(path: Location, options: Options) -> Iterator[LabelledShape]:
    categories = _categories(options["version"])
    for number, line in enumerate(read_lines(path), 1):
        if not line.split() or _HEADER.match(line):
            continue
        try:
            corners, category, is_difficult = _parse_object(line)
        except (ValueError, IndexError) as error:
            raise InputError(
                f"{path} line {number} is not eight coordinates and a category: fetch it anew"
            ) from error
        if category not in categories:
            raise InputError(
                f"{path} line {number} has category {category!r}, version {options['version']} "
                f"has {', '.join(categories)}"
            )
        if not is_difficult or options["difficult"] == "keep":
            yield shapely.multipoints(corners), categories.index(category)


def _parse_object(line: str) -> tuple[np.ndarray, str, bool]:
    words = line.split()
    return np.array(words[:8], float).reshape(4, 2), words[8], words[9:] not in ([], ["0"])


DOTA = Dataset(
    name="dota",
    about="DOTA (Xia et al. 2018, arXiv:1711.10398; Ding et al. 2021, arXiv:2102.12219), for "
    "academic purposes only",
    options={"version": ("1.0", "1.5", "2.0"), "difficult": ("keep", "drop")},
    describe=_describe,
    items=_items,
    read=_read,
)
