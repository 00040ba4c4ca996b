"""NWPU VHR-10: 800 images with boxes of ten classes of objects.

0.5 to 2 m a pixel from Google Earth, and 0.08 m from Vaihingen. Cheng et al. 2014,
doi:10.1016/j.isprsjprs.2014.10.002; layout by its readme and torchgeo: `NWPU VHR-10 dataset/` holds
`positive image set/001.jpg` to `650.jpg`, `ground truth/001.txt` and so on, a line an object:
`(x1,y1),(x2,y2),class`, the upper left and lower right corner in pixels and 1 to 10; and
`negative image set/`, 150 images without any. Of 85 images red, green and blue are near infrared,
red and green; nothing in the files tells which. The publisher has no split; images are not
georeferenced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import shapely

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.descriptions import RGB, numbered_scheme, uniform_encoding
from lulc.datasets.files import band_indexes, read_image, read_lines, walk
from lulc.datasets.shapes import LabelledShape, shape_boxes
from lulc.errors import InputError
from lulc.location import Location

_CLASSES = (
    # Name, colour, id in the common legend.
    ("airplane", "#7f7f7f", None),
    ("ship", "#1f5fbf", None),
    ("storage tank", "#a020a0", 6),
    ("baseball diamond", "#b8d68a", 2),
    ("tennis court", "#2f7f6f", 6),
    ("basketball court", "#e49635", 6),
    ("ground track field", "#c4281b", 2),
    ("harbor", "#3a6ea5", 6),
    ("bridge", "#464646", 6),
    ("vehicle", "#ffd400", None),
)
_SCHEME = numbered_scheme("vhr10", _CLASSES, first_id=1)
_DESCRIPTION = Description(
    "detect",
    _SCHEME.legend,
    uniform_encoding(RGB, "uint8", unit="picture"),
    gsd_m=1.0,  # between the 0.5 and 2 m of most
    common=_SCHEME.common,
)
_POSITIVE, _NEGATIVE = "positive image set", "negative image set"
_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_LINE = re.compile(rf"\s*\({_NUMBER},{_NUMBER}\)\s*,\s*\({_NUMBER},{_NUMBER}\)\s*,\s*(\d+)\s*")


def _describe(_options: Options) -> Description:
    return _DESCRIPTION


def _items(root: Location, _options: Options) -> Iterator[ExampleItem]:
    for image_path in walk(root, (".jpg",)):
        path = PurePosixPath(image_path)
        if path.parent.name == _POSITIVE:
            label_path = path.parents[1] / "ground truth" / f"{path.stem}.txt"
            yield ExampleItem(f"positive-{path.stem}", (image_path, str(label_path)))
        elif path.parent.name == _NEGATIVE:
            yield ExampleItem(f"negative-{path.stem}", (image_path,))


def _read(root: Location, item: ExampleItem, _options: Options, bands: Sequence[str]) -> Example:
    image_path, *label_paths = item.files
    pixels, valid, grid = read_image(root, image_path, band_indexes(RGB, bands))
    boxes = [box for label_path in label_paths for box in _read_boxes(root / label_path)]
    return Example(pixels[None], valid[None], shape_boxes(boxes, valid.shape), grid)


def _read_boxes(path: Location) -> Iterator[LabelledShape]:
    lines = read_lines(path, "every image of the positive set needs its file")
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match and int(match[5]) in _DESCRIPTION.legend.ids:
            yield shapely.box(*(float(text) for text in match.groups()[:4])), int(match[5])
        elif line.strip():
            raise InputError(
                f"{path} line {number} {line!r} is not '(x1,y1),(x2,y2),class' of class 1 to 10: "
                "fetch it anew"
            )


VHR10 = Dataset(
    name="vhr10",
    about="NWPU VHR-10 (Cheng et al. 2014, doi:10.1016/j.isprsjprs.2014.10.002), for research "
    "only; imagery of Google Earth and DGPF",
    options={},
    describe=_describe,
    items=_items,
    read=_read,
)
