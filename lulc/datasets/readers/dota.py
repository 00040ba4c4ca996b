"""DOTA: aerial and satellite images of 800 to 30,000 pixels a side with oriented boxes of 15, 16 or 18 classes of objects.

Xia et al. 2018, arXiv:1711.10398 (1.0), and Ding et al. 2021, arXiv:2102.12219 (2.0); https://captain-whu.github.io/DOTA/dataset.html
and github.com/CAPTAIN-WHU/DOTA_devkit: `train/images/P0000.png` and `val/images/…`, which the archives' parts may hold in folders
of their own; `train/labelTxt-v1.0/labelTxt/P0000.txt`, `labelTxt-v1.5/DOTA-v1.5_train/…`, `labelTxt-v2.0/DOTA-v2.0_train/…`, or
plain `labelTxt/`, of whatever version is asked for; torchgeo's copy has `annotations/version1.0/`. Folders of horizontal boxes
(`…_hbb`, `Train_Task2_gt`) are passed over: the bounds of the oriented ones are these. Test images come without labels.
Lines: `x1 y1 x2 y2 x3 y3 x4 y4 category difficult` in pixels, after `imagesource:` and `gsd:`, or more such; difficult is 0, or
missing, but for what is hard to see. Panchromatic images (GF-2, JL-1) are one band, repeated as red, green and blue.
Metres a pixel differ (0.1 to 4.5); that of the description is a common one. Images say not where they lie.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import shapely

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.files import read_image, walk
from lulc.datasets.shapes import shape_boxes
from lulc.errors import InputError
from lulc.legend import LandClass, Legend
from lulc.tables.encoding import Encoding

_BANDS = ("red", "green", "blue")
_CLASSES = {
    # Category: colour, class of the common legend. In the order of the publisher's page; the last three came later.
    "plane": ("#7f7f7f", None), "ship": ("#1f5fbf", None), "storage-tank": ("#a020a0", 6), "baseball-diamond": ("#b8d68a", 2),
    "tennis-court": ("#2f7f6f", 6), "basketball-court": ("#e49635", 6), "ground-track-field": ("#c4281b", 2),
    "harbor": ("#3a6ea5", 6), "bridge": ("#464646", 6), "large-vehicle": ("#b5651d", None), "small-vehicle": ("#ffd400", None),
    "helicopter": ("#d62fd6", None), "roundabout": ("#6e6e6e", 6), "soccer-ball-field": ("#88b053", 2),
    "swimming-pool": ("#17becf", 0), "container-crane": ("#ff7f0e", None), "airport": ("#303030", 6), "helipad": ("#e88f86", 6),
}  # fmt: skip
_COUNTS = {"1.0": 15, "1.5": 16, "2.0": 18}
_SPLITS = {"train": "train", "val": "validation"}
_VERSION = re.compile(r"v(?:ersion)?-?(\d\.\d)", re.IGNORECASE)
_HORIZONTAL = re.compile(r"hbb|task2|reclabel", re.IGNORECASE)


def _describe(options: Options) -> Description:
    names = list(_CLASSES)[: _COUNTS[options["version"]]]
    legend = Legend(
        f"dota-{options['version']}",
        tuple(LandClass(i, name, _CLASSES[name][0]) for i, name in enumerate(names)),
    )
    common = {i: found for i, name in enumerate(names) if (found := _CLASSES[name][1]) is not None}
    return Description(
        "detect", legend, Encoding(_BANDS, "uint8", (1.0,) * 3, (0.0,) * 3), 0.3, common=common
    )


def _items(root: Path, options: Options) -> Iterator[ExampleItem]:
    images, labels = {}, {}
    for file in sorted(walk(root, (".png", ".txt"))):
        path = PurePosixPath(file)
        split = next((part for part in path.parts[:-1] if part in _SPLITS), "")
        if path.suffix.lower() == ".png":
            images[split, path.stem] = file
        elif split and not _HORIZONTAL.search(file):
            said = _VERSION.findall(str(path.parent))
            # Labels that say their version come before those that say none.
            if options["version"] in said or (
                not said and (split, path.stem) not in labels and path.parent.name == "labelTxt"
            ):
                labels[split, path.stem] = file
    for (split, stem), file in labels.items():
        yield ExampleItem(
            stem,
            (images.get((split, stem), f"{split}/images/{stem}.png"), file),
            (),
            _SPLITS[split],
        )


def _read(root: Path, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    image, label = item.files
    found, valid, grid = read_image(root, image)
    pixels = found[[_BANDS.index(band) % len(found) for band in bands]]
    objects = list(_read_objects(root / label, options))
    return Example(pixels[None], valid[None], shape_boxes(objects, valid.shape), grid)


def _read_objects(path: Path, options: Options) -> Iterator[tuple[shapely.Geometry, int]]:
    names = list(_CLASSES)[: _COUNTS[options["version"]]]
    try:
        lines = path.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): fetch it anew") from error
    for number, line in enumerate(lines, 1):
        words = line.split()
        # Headers are a name, a colon and a value.
        if not words or re.match(r"[a-z ]+:", line, re.IGNORECASE):
            continue
        try:
            corners, category, difficult = (
                np.array(words[:8], float).reshape(4, 2),
                words[8],
                words[9:] not in ([], ["0"]),
            )
        except (ValueError, IndexError) as error:
            raise InputError(
                f"{path} line {number} is not eight coordinates and a category: fetch it anew"
            ) from error
        if category not in names:
            raise InputError(
                f"{path} line {number} has category {category!r}, version {options['version']} has {', '.join(names)}"
            )
        if not difficult or options["difficult"] == "keep":
            yield shapely.multipoints(corners), names.index(category)


DOTA = Dataset(
    "dota",
    "DOTA (Xia et al. 2018, arXiv:1711.10398; Ding et al. 2021, arXiv:2102.12219), for academic purposes only",
    {"version": ("1.0", "1.5", "2.0"), "difficult": ("keep", "drop")},
    _describe,
    _items,
    _read,
)
