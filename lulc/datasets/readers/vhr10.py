"""NWPU VHR-10: 800 images of 0.5 to 2 m from Google Earth, and of 0.08 m from Vaihingen, with boxes of ten classes of objects.

Cheng et al. 2014, doi:10.1016/j.isprsjprs.2014.10.002; layout by its readme and torchgeo: `NWPU VHR-10 dataset/` holds `positive
image set/001.jpg` to `650.jpg`, `ground truth/001.txt` and so on, a line an object: `(x1,y1),(x2,y2),class`, the upper left and
lower right corner in pixels and 1 to 10; and `negative image set/`, 150 images without any. Of 85 images red, green and blue are
near infrared, red and green; nothing in the files tells which. The publisher has no split; images say not where they lie.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import shapely

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.files import read_image, walk
from lulc.datasets.shapes import shape_boxes
from lulc.errors import InputError
from lulc.legend import LandClass, Legend
from lulc.tables.encoding import Encoding

_BANDS = ("red", "green", "blue")
_CLASSES = (
    # Name, colour, class of the common legend.
    ("airplane", "#7f7f7f", None), ("ship", "#1f5fbf", None), ("storage tank", "#a020a0", 6),
    ("baseball diamond", "#b8d68a", 2), ("tennis court", "#2f7f6f", 6), ("basketball court", "#e49635", 6),
    ("ground track field", "#c4281b", 2), ("harbor", "#3a6ea5", 6), ("bridge", "#464646", 6), ("vehicle", "#ffd400", None),
)  # fmt: skip
_DESCRIPTION = Description(
    "detect",
    Legend(
        "vhr10",
        tuple(LandClass(i, name, colour) for i, (name, colour, _) in enumerate(_CLASSES, 1)),
    ),
    Encoding(_BANDS, "uint8", (1.0,) * 3, (0.0,) * 3),
    1.0,  # between the 0.5 and 2 m of most
    common={i: common for i, (_, _, common) in enumerate(_CLASSES, 1) if common is not None},
)
_POSITIVE, _NEGATIVE = "positive image set", "negative image set"
_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_LINE = re.compile(rf"\s*\({_NUMBER},{_NUMBER}\)\s*,\s*\({_NUMBER},{_NUMBER}\)\s*,\s*(\d+)\s*")


def _describe(_options: Options) -> Description:
    return _DESCRIPTION


def _items(root: Path, _options: Options) -> Iterator[ExampleItem]:
    for file in walk(root, (".jpg",)):
        path = PurePosixPath(file)
        if path.parent.name == _POSITIVE:
            yield ExampleItem(
                f"positive-{path.stem}",
                (file, str(path.parents[1] / "ground truth" / f"{path.stem}.txt")),
            )
        elif path.parent.name == _NEGATIVE:
            yield ExampleItem(f"negative-{path.stem}", (file,))


def _read(root: Path, item: ExampleItem, _options: Options, bands: Sequence[str]) -> Example:
    pixels, valid, grid = read_image(
        root, item.files[0], [_BANDS.index(band) + 1 for band in bands]
    )
    found = [box for file in item.files[1:] for box in _read_boxes(root / file)]
    return Example(pixels[None], valid[None], shape_boxes(found, valid.shape), grid)


def _read_boxes(path: Path) -> Iterator[tuple[shapely.Geometry, int]]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): every image of the positive set has its file"
        ) from error
    for number, line in enumerate(lines, 1):
        found = _LINE.fullmatch(line)
        if found and int(found[5]) in _DESCRIPTION.legend.ids:
            yield shapely.box(*(float(n) for n in found.groups()[:4])), int(found[5])
        elif line.strip():
            raise InputError(
                f"{path} line {number} {line!r} is not '(x1,y1),(x2,y2),class' of class 1 to 10: fetch it anew"
            )


VHR10 = Dataset(
    "vhr10",
    "NWPU VHR-10 (Cheng et al. 2014, doi:10.1016/j.isprsjprs.2014.10.002), for research only; imagery of Google Earth and DGPF",
    {},
    _describe,
    _items,
    _read,
)
