"""LEVIR-CD: 637 pairs of Google Earth images of 1024x1024 pixels at 0.5 m, and changed buildings.

The images of a pair are 5 to 14 years apart. Chen and Shi 2020, doi:10.3390/rs12101662; layout of
https://github.com/justchenhao/STANet: `<split>/A/<split>_1.png` (before), `<split>/B/…` (after) and
`<split>/label/…`, of splits train, val and test; torchgeo's copy has `A/`, `B/` and `label/` alone,
so that names give the split where folders do not. Labels are 0 (no change) and 255 (a building was
built or removed). Where the publisher's `LEVIR_CD_name_coords.json` (corners in degrees, west,
north, east, south, of each name) is in the root, it gives the coordinates; images have no dates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.descriptions import RGB, uniform_encoding
from lulc.datasets.files import SPLIT_NAMES, read_before_and_after, read_label, split_of, walk
from lulc.errors import InputError
from lulc.legend import LandClass, Legend
from lulc.location import Location

_COORDINATES = "LEVIR_CD_name_coords.json"
_LEGEND = Legend(
    "levircd", (LandClass(0, "no change", "#000000"), LandClass(1, "building change", "#ffffff"))
)
_DESCRIPTION = Description(
    "change", _LEGEND, uniform_encoding(RGB, "uint8", unit="picture"), gsd_m=0.5, dates=2
)
_IDS = {0: 0, 255: 1}


def _describe(_options: Options) -> Description:
    return _DESCRIPTION


def _items(root: Location, _options: Options) -> Iterator[ExampleItem]:
    all_corners = _read_corners(root)
    for before_path in walk(root, (".png",)):
        path = PurePosixPath(before_path)
        if path.parent.name == "A":
            after_path, mask_path = (
                str(path.parents[1] / folder / path.name) for folder in ("B", "label")
            )
            folder_split = split_of(path.parents[1])
            named_split = SPLIT_NAMES.get(path.stem.partition("_")[0], "")
            error = ""
            if folder_split and named_split and folder_split != named_split:
                error = (
                    f"{root / before_path} is named as {named_split} and lies among "
                    f"{folder_split}: fetch it anew"
                )
            corners = all_corners.get(path.name)
            lonlat = _centre(corners)
            if corners is not None and lonlat is None:
                error = f"{root / _COORDINATES} gives {path.name} no four corners: fetch it anew"
            yield ExampleItem(
                path.stem,
                (before_path, after_path, mask_path),
                split=folder_split or named_split,
                lonlat=lonlat,
                error=error,
            )


def _read(root: Location, item: ExampleItem, _options: Options, bands: Sequence[str]) -> Example:
    *image_paths, mask_path = item.files
    pixels, valid, grid = read_before_and_after(root, image_paths, RGB, bands)
    label = read_label(root, mask_path, valid.shape[1:], _IDS)
    return Example(pixels, valid, label, grid)


def _read_corners(root: Location) -> Mapping[str, Any]:
    """Read what the publisher gives as the corners of each image, by its file name."""
    path = root / _COORDINATES
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_bytes()).items())
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}: {error}): fetch it anew, or remove it"
        ) from error


def _centre(corners: Any) -> tuple[float, float] | None:
    """Return the centre as longitude and latitude in degrees; None of what are no corners."""
    try:
        west, north, east, south = map(float, corners)
    except (TypeError, ValueError):
        return None
    return (west + east) / 2, (north + south) / 2


LEVIRCD = Dataset(
    name="levircd",
    about="LEVIR-CD (Chen and Shi 2020, doi:10.3390/rs12101662), for academic purposes only; "
    "imagery of Google Earth",
    options={},
    describe=_describe,
    items=_items,
    read=_read,
)
