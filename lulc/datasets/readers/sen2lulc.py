"""Sen-2 LULC: 213,761 Sentinel-2 pictures of 64x64 pixels at 10 m of India, seven classes.

Sawant et al. 2023, doi:10.1016/j.dib.2023.109724; archive doi:10.17632/f4ky6ks248:
`train_images/train/<number>.png` (red, green and blue, stretched for the eye),
`train_masks/train/<number>.tif` with the same number, and so for `val` and `test`. No file list or
table of codes by the publisher was found: the layout, with or without the inner folder, and the
codes, 1 to 7 in the paper's order of classes, are those of programs that read the archive. 0 is no
label. Pictures are not georeferenced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.descriptions import RGB, numbered_scheme, uniform_encoding
from lulc.datasets.files import SPLIT_NAMES, band_indexes, read_image, read_label, walk
from lulc.legend import NODATA
from lulc.location import Location

_CLASSES = (
    # Name, colour, id in the common legend.
    ("water", "#0000ff", 0),
    ("dense forest", "#006400", 1),
    ("sparse forest", "#90ee90", 1),
    ("barren land", "#a52a2a", 7),
    ("built up", "#ff0000", 6),
    ("agriculture land", "#ffff00", 4),
    ("fallow land", "#d2b48c", 4),
)
_SCHEME = numbered_scheme("sen2lulc", _CLASSES, first_id=1)
_DESCRIPTION = Description(
    "segment",
    _SCHEME.legend,
    uniform_encoding(RGB, "uint8", unit="picture"),
    gsd_m=10.0,
    common=_SCHEME.common,
)
_IDS = {0: NODATA} | {i: i for i in _SCHEME.legend.ids}
_IMAGE = re.compile(
    r"(?P<parent>(?:.*/)?)(?P<split>train|val|test)_images/(?P<subpath>(?:.*/)?[^/]+)\.png"
)


def _describe(_options: Options) -> Description:
    return _DESCRIPTION


def _items(root: Location, _options: Options) -> Iterator[ExampleItem]:
    for image_path in walk(root, (".png",)):
        if match := _IMAGE.fullmatch(image_path):
            split = match["split"]
            name = f"{split}-{PurePosixPath(image_path).stem}"
            mask_path = f"{match['parent']}{split}_masks/{match['subpath']}.tif"
            yield ExampleItem(name, (image_path, mask_path), split=SPLIT_NAMES[split])


def _read(root: Location, item: ExampleItem, _options: Options, bands: Sequence[str]) -> Example:
    image_path, mask_path = item.files
    pixels, valid, grid = read_image(root, image_path, band_indexes(RGB, bands))
    label = read_label(root, mask_path, valid.shape, _IDS)
    return Example(pixels[None], valid[None], label, grid)


SEN2LULC = Dataset(
    name="sen2lulc",
    about="Sen-2 LULC (Sawant et al. 2023, doi:10.1016/j.dib.2023.109724), CC-BY-4.0",
    options={},
    describe=_describe,
    items=_items,
    read=_read,
)
