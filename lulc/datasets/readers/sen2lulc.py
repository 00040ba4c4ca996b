"""Sen-2 LULC: 213,761 Sentinel-2 pictures of 64x64 pixels at 10 m of India, with seven classes of land use and cover.

Sawant et al. 2023, doi:10.1016/j.dib.2023.109724; archive doi:10.17632/f4ky6ks248: `train_images/train/<number>.png` (red, green
and blue, stretched for the eye), `train_masks/train/<number>.tif` with the same number, and so for `val` and `test`. No file list
or table of codes by the publisher was found: the layout, with or without the inner folder, and the codes, 1 to 7 in the paper's
order of classes, are those of programs that read the archive. 0 is no label. Nothing says where a picture lies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.files import label_of, read_image, read_mask, walk
from lulc.legend import NODATA, LandClass, Legend
from lulc.tables.encoding import Encoding

_CLASSES = (
    # Name, colour, class of the common legend.
    ("water", "#0000ff", 0),
    ("dense forest", "#006400", 1),
    ("sparse forest", "#90ee90", 1),
    ("barren land", "#a52a2a", 7),
    ("built up", "#ff0000", 6),
    ("agriculture land", "#ffff00", 4),
    ("fallow land", "#d2b48c", 4),
)
_BANDS = ("red", "green", "blue")
_DESCRIPTION = Description(
    "segment",
    Legend(
        "sen2lulc",
        tuple(LandClass(i, name, colour) for i, (name, colour, _) in enumerate(_CLASSES, 1)),
    ),
    Encoding(_BANDS, "uint8", (1.0,) * 3, (0.0,) * 3),
    10.0,
    common={i: common for i, (_, _, common) in enumerate(_CLASSES, 1)},
)
_CODES = {0: NODATA} | {i: i for i in _DESCRIPTION.legend.ids}
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_IMAGE = re.compile(
    r"(?P<above>(?:.*/)?)(?P<split>train|val|test)_images/(?P<inside>(?:.*/)?[^/]+)\.png"
)


def _describe(_options: Options) -> Description:
    return _DESCRIPTION


def _items(root: Path, _options: Options) -> Iterator[ExampleItem]:
    for file in walk(root, (".png",)):
        if found := _IMAGE.fullmatch(file):
            mask = f"{found['above']}{found['split']}_masks/{found['inside']}.tif"
            yield ExampleItem(
                f"{found['split']}-{PurePosixPath(file).stem}",
                (file, mask),
                (),
                _SPLITS[found["split"]],
            )


def _read(root: Path, item: ExampleItem, _options: Options, bands: Sequence[str]) -> Example:
    image, mask = item.files
    pixels, valid, grid = read_image(root, image, [_BANDS.index(band) + 1 for band in bands])
    label = label_of(read_mask(root, mask, valid.shape), _CODES, str(root / mask))
    return Example(pixels[None], valid[None], label, grid)


SEN2LULC = Dataset(
    "sen2lulc",
    "Sen-2 LULC (Sawant et al. 2023, doi:10.1016/j.dib.2023.109724), CC-BY-4.0",
    {},
    _describe,
    _items,
    _read,
)
