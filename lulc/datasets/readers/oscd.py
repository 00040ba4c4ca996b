"""OSCD (Onera Satellite Change Detection): 24 cities on two dates, and where they were built up.

Sentinel-2 level 1C. Daudt et al. 2018, doi:10.1109/IGARSS.2018.8518015,
https://rcdaudt.github.io/oscd/. Three archives, unpacked below one folder: `…Images/<city>/` holds
`imgs_1_rect/B01.tif` to `B12.tif` with `B8A.tif` (all brought to one grid of 10 m by the
publisher), `imgs_2_rect/` of the later date, `dates.txt` (`date_1: 20161130`) and
`<city>.geojson`; beside the cities are `train.txt` and `test.txt`, names parted by commas;
`…Train Labels/<city>/cm/` and `…Test Labels/<city>/cm/` hold `<city>-cm.tif`, 1 where nothing
changed and 2 where it did, and `cm.png`, in which the publisher's own reader
(github.com/rcdaudt/fully_convolutional_change_detection) takes whatever is not 0 as change; the
first is preferred. Folders are known by the cities' names, as other copies name the archives
otherwise. There is no validation split.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import PurePosixPath

import numpy as np
import shapely

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Note, Options
from lulc.datasets.descriptions import REFLECTANCE_SCALE, SENTINEL2_BANDS, uniform_encoding
from lulc.datasets.files import (
    find_split_lists,
    label_of,
    parse_day,
    read_dates,
    read_mask,
    split_of,
    walk,
)
from lulc.datasets.shapes import DEGREES, read_shapes
from lulc.errors import InputError
from lulc.legend import LandClass, Legend
from lulc.location import Location

_BEFORE, _AFTER = "imgs_1_rect", "imgs_2_rect"
_LISTS = {"train": "train.txt", "test": "test.txt"}
_IDS = {1: 0, 2: 1}
_DESCRIPTION = Description(
    "change",
    Legend("oscd", (LandClass(0, "no change", "#000000"), LandClass(1, "urban change", "#ffffff"))),
    # Top-of-atmosphere reflectance times 10,000.
    uniform_encoding(tuple(SENTINEL2_BANDS), "uint16", REFLECTANCE_SCALE, "toa_reflectance"),
    gsd_m=10.0,
    dates=2,
)


def _describe(_options: Options) -> Description:
    return _DESCRIPTION


def _items(root: Location, _options: Options) -> Iterator[ExampleItem | Note]:
    paths = {PurePosixPath(file) for file in walk(root, (".tif", ".png", ".txt", ".geojson"))}
    cities = sorted({path.parents[1] for path in paths if path.parent.name == _BEFORE})
    mask_paths = _find_masks(paths)
    splits = _read_splits(root, cities)
    for city in cities:
        name = city.name
        # Lists or folders of labels give the split, and must give the same.
        mask_of_split = {split_of(mask): mask for mask in mask_paths.get(name, ())}
        if not mask_of_split:
            yield Note(f"{city} has no labels and is left out")
            continue
        split = splits.get(name) or next(iter(mask_of_split))
        mask_path = mask_of_split.get(split, next(iter(mask_of_split.values())))
        lonlat, error = None, ""
        if len(mask_of_split) > 1 or (split and not {split, ""} & set(mask_of_split)):
            error = (
                f"{root / city} is listed as {split or 'nothing'}, its labels are in "
                f"{', '.join(map(str, mask_of_split.values()))}: keep those of its split"
            )
        outline = city / f"{name}.geojson"
        if outline in paths:
            try:
                lonlat = _centre(root / outline)
            except InputError as broken:
                error = str(broken)
        files = (str(city), str(mask_path))
        yield ExampleItem(name, files, split=split, group=name, lonlat=lonlat, error=error)


def _read(root: Location, item: ExampleItem, _options: Options, bands: Sequence[str]) -> Example:
    city, mask_path = item.files
    dates = [
        [(f"{city}/{folder}/{SENTINEL2_BANDS[band]}.tif", 1) for band in bands]
        for folder in (_BEFORE, _AFTER)
    ]
    pixels, valid, grid = read_dates(root, dates)
    codes = read_mask(root, mask_path, valid.shape[1:])
    if mask_path.endswith(".png"):
        codes = np.where(codes > 0, 2, codes + (codes == 0))
    label = label_of(codes, _IDS, root / mask_path)
    return Example(pixels, valid, label, grid, _read_days(root / city / "dates.txt"))


def _find_masks(paths: Iterable[PurePosixPath]) -> dict[str, list[PurePosixPath]]:
    """Return the masks of each city by its name, one of a folder: a GeoTIFF before a picture."""
    of_folder = {
        path.parent: path
        # The GeoTIFF comes last.
        for path in sorted(paths, key=lambda path: path.suffix == ".tif")
        if path.parent.name == "cm" and (path.name == "cm.png" or path.name.endswith("-cm.tif"))
    }
    masks = defaultdict(list)
    for folder, path in sorted(of_folder.items()):
        masks[folder.parent.name].append(path)
    return masks


def _read_splits(root: Location, cities: Sequence[PurePosixPath]) -> dict[str, str]:
    """Read the split of each city by its name, from the lists beside the cities' folders."""
    splits = {
        city: split
        for folder in {city.parent for city in cities}
        for split, path in find_split_lists(root / folder, _LISTS).items()
        for city in re.findall(r"\w+", path.read_text())
    }
    missing = sorted(set(splits) - {city.name for city in cities})
    if missing:
        raise InputError(
            f"{root}: train.txt or test.txt names {', '.join(missing)}, which has no folder "
            f"{_BEFORE}: fetch it anew"
        )
    return splits


def _centre(path: Location) -> tuple[float, float] | None:
    shapes = [shape for shape, _ in read_shapes(path, DEGREES)]
    west, south, east, north = shapely.total_bounds(shapes)
    return (float(west + east) / 2, float(south + north) / 2) if shapes else None


def _read_days(path: Location) -> tuple[datetime, ...]:
    try:
        days = [line.split()[-1] for line in path.read_text().split("\n") if line.strip()]
        before, after = map(parse_day, days)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} does not give two days such as 'date_1: 20161130' ({error}): fetch it anew"
        ) from error
    return before, after


OSCD = Dataset(
    name="oscd",
    about="OSCD (Daudt et al. 2018, doi:10.1109/IGARSS.2018.8518015), labels CC-BY-NC-SA-4.0; "
    "Copernicus Sentinel data",
    options={},
    describe=_describe,
    items=_items,
    read=_read,
)
