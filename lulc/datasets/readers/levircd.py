"""LEVIR-CD: 637 pairs of Google Earth images of 1024x1024 pixels at 0.5 m, 5 to 14 years apart, and which buildings changed.

Chen and Shi 2020, doi:10.3390/rs12101662; layout of https://github.com/justchenhao/STANet: `<split>/A/<split>_1.png` (before),
`<split>/B/…` (after) and `<split>/label/…`, of splits train, val and test; torchgeo's copy has `A/`, `B/` and `label/` alone, so
that names tell the split. Labels are 0 (no change) and 255 (a building was built or went). Where the publisher's
`LEVIR_CD_name_coords.json` (corners in degrees, west, north, east, south, of each name) lies in the root, it tells the places;
images have no dates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.files import label_of, read_dates, read_mask, walk
from lulc.errors import InputError
from lulc.legend import LandClass, Legend
from lulc.tables.encoding import Encoding

_BANDS = ("red", "green", "blue")
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_PLACES = "LEVIR_CD_name_coords.json"
_DESCRIPTION = Description(
    "change",
    Legend(
        "levircd",
        (LandClass(0, "no change", "#000000"), LandClass(1, "building change", "#ffffff")),
    ),
    Encoding(_BANDS, "uint8", (1.0,) * 3, (0.0,) * 3),
    0.5,
    2,
)


def _describe(_options: Options) -> Description:
    return _DESCRIPTION


def _items(root: Path, _options: Options) -> Iterator[ExampleItem]:
    places = _read_places(root)
    for file in walk(root, (".png",)):
        path = PurePosixPath(file)
        split = _SPLITS.get(path.stem.partition("_")[0], "")
        if path.parent.name == "A":
            files = (
                file,
                *(str(path.parents[1] / folder / path.name) for folder in ("B", "label")),
            )
            yield ExampleItem(path.stem, files, (), split, place=places.get(path.name))


def _read_places(root: Path) -> dict[str, tuple[float, float]]:
    file = root / _PLACES
    if not file.is_file():
        return {}
    try:
        corners = json.loads(file.read_text())
        return {
            name: ((west + east) / 2, (north + south) / 2)
            for name, (west, north, east, south) in corners.items()
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file} cannot be read ({type(error).__name__}: {error}): fetch it anew, or remove it"
        ) from error


def _read(root: Path, item: ExampleItem, _options: Options, bands: Sequence[str]) -> Example:
    before, after, mask = item.files
    pixels, valid, grid = read_dates(
        root, [[(file, _BANDS.index(band) + 1) for band in bands] for file in (before, after)]
    )
    label = label_of(read_mask(root, mask, valid.shape[1:]), {0: 0, 255: 1}, str(root / mask))
    return Example(pixels, valid, label, grid)


LEVIRCD = Dataset(
    "levircd",
    "LEVIR-CD (Chen and Shi 2020, doi:10.3390/rs12101662), for academic purposes only; imagery of Google Earth",
    {},
    _describe,
    _items,
    _read,
)
