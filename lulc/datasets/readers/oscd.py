"""OSCD (Onera Satellite Change Detection): 24 cities, each on two Sentinel-2 level-1C dates, and where they were built up.

Daudt et al. 2018, doi:10.1109/IGARSS.2018.8518015, https://rcdaudt.github.io/oscd/. Three archives, unpacked below one folder:
`…Images/<city>/` holds `imgs_1_rect/B01.tif` to `B12.tif` with `B8A.tif` (all brought to one grid of 10 m by the publisher),
`imgs_2_rect/` of the later date, `dates.txt` (`date_1: 20161130`) and `<city>.geojson`; beside the cities lie `train.txt` and
`test.txt`, names parted by commas; `…Train Labels/<city>/cm/` and `…Test Labels/<city>/cm/` hold `<city>-cm.tif`, 1 where nothing
changed and 2 where it did, and `cm.png`, in which the publisher's own reader
(github.com/rcdaudt/fully_convolutional_change_detection) takes whatever is not 0 as change; the first is read where it is there.
Folders are known by the cities' names, as other copies name the archives otherwise. There is no validation split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
import shapely

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.files import label_of, read_dates, read_mask, walk
from lulc.datasets.shapes import read_shapes
from lulc.errors import InputError
from lulc.legend import LandClass, Legend
from lulc.tables.encoding import Encoding

_FILES = {
    "coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "rededge071": "B05", "rededge075": "B06", "rededge078": "B07",
    "nir": "B08", "nir08": "B8A", "nir09": "B09", "cirrus": "B10", "swir16": "B11", "swir22": "B12",
}  # fmt: skip
_FIRST = "imgs_1_rect"
_DESCRIPTION = Description(
    "change",
    Legend("oscd", (LandClass(0, "no change", "#000000"), LandClass(1, "urban change", "#ffffff"))),
    # Top-of-atmosphere reflectance times 10,000.
    Encoding(tuple(_FILES), "uint16", (1e-4,) * len(_FILES), (0.0,) * len(_FILES)),
    10.0,
    2,
)


def _describe(_options: Options) -> Description:
    return _DESCRIPTION


def _items(root: Path, _options: Options) -> Iterator[ExampleItem]:
    files = set(walk(root, (".tif", ".png", ".txt", ".geojson")))
    cities = sorted(
        {
            PurePosixPath(file).parents[1]
            for file in files
            if PurePosixPath(file).parent.name == _FIRST
        }
    )
    masks = {
        PurePosixPath(file).name: file for file in files if PurePosixPath(file).parent.name == "cm"
    }
    pictures = {
        PurePosixPath(file).parents[1].name: file for file in files if file.endswith("cm/cm.png")
    }
    splits = {
        city: split
        for folder in {city.parent for city in cities}
        for city, split in _read_lists(root, folder).items()
    }
    lost = sorted(set(splits) - {city.name for city in cities})
    if lost:
        raise InputError(
            f"{root}: train.txt or test.txt names {', '.join(lost)}, which has no folder {_FIRST}: fetch it anew"
        )
    for city in cities:
        mask = masks.get(f"{city.name}-cm.tif") or pictures.get(city.name)
        if mask:
            outline = f"{city}/{city.name}.geojson"
            place = _centre(root / outline) if outline in files else None
            yield ExampleItem(
                city.name, (str(city), mask), (), splits.get(city.name, ""), city.name, place
            )


def _read_lists(root: Path, folder: PurePosixPath) -> dict[str, str]:
    paths = {split: root / folder / f"{split}.txt" for split in ("train", "test")}
    lost = [path for path in paths.values() if not path.is_file()]
    if len(lost) == 1:
        raise InputError(f"there is no {lost[0]}: fetch both lists of the split, or none")
    return (
        {}
        if lost
        else {
            city: split
            for split, path in paths.items()
            for city in re.findall(r"\w+", path.read_text())
        }
    )


def _centre(path: Path) -> tuple[float, float] | None:
    shapes = [shape for shape, _ in read_shapes(path, None)]
    west, south, east, north = shapely.total_bounds(shapes)
    return (float(west + east) / 2, float(south + north) / 2) if shapes else None


def _read(root: Path, item: ExampleItem, _options: Options, bands: Sequence[str]) -> Example:
    city, mask = item.files
    folders = (f"{city}/{_FIRST}", f"{city}/imgs_2_rect")
    pixels, valid, grid = read_dates(
        root, [[(f"{folder}/{_FILES[band]}.tif", 1) for band in bands] for folder in folders]
    )
    codes = read_mask(root, mask, valid.shape[1:])
    if mask.endswith(".png"):
        codes = np.where(codes > 0, 2, codes + (codes == 0))
    return Example(
        pixels,
        valid,
        label_of(codes, {1: 0, 2: 1}, str(root / mask)),
        grid,
        _read_days(root / city / "dates.txt"),
    )


def _read_days(path: Path) -> tuple[datetime, ...]:
    try:
        days = [line.split()[-1] for line in path.read_text().split("\n") if line.strip()]
        first, second = (datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC) for day in days)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} does not say two days such as 'date_1: 20161130' ({error}): fetch it anew"
        ) from error
    return first, second


OSCD = Dataset(
    "oscd",
    "OSCD (Daudt et al. 2018, doi:10.1109/IGARSS.2018.8518015), labels CC-BY-NC-SA-4.0; Copernicus Sentinel data",
    {},
    _describe,
    _items,
    _read,
)
