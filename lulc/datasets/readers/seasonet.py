"""SeasoNet: 1,759,830 Sentinel-2 patches of 120x120 pixels at 10 m over all of Germany, of four seasons and of days with snow.

Koßmann et al. 2022, doi:10.1109/IGARSS46834.2022.9884079; archive doi:10.5281/zenodo.5850306: `<season>/grid<n>/<patch>/` holds
`<patch>_10m_RGB.tif` (B4, B3, B2), `_10m_IR.tif` (B8), `_20m.tif` (B5, B6, B7, B8A, B11, B12), `_60m.tif` (B1, B9) and
`_labels.tif`: 1 to 33, classes of CORINE in the order of their codes, from the land cover model LBM-DE2018; 0 is no label. The
second grid is shifted by half a patch, so that its patches overlap those of the first. `meta.csv` says of every patch its index,
season, grid, place, classes and folder (`Path`); `splits/{train,val,test}.csv` give indexes. Layout also by the authors' reader,
github.com/torchgeo/torchgeo/pull/1466; the order of bands in a file is what their means over the summer tell.

Patches of one place are a group: the same ground in several seasons, which is what retrieval pairs.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np

from lulc.datasets import corine
from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.files import label_of, read_mask, read_sample_bands
from lulc.errors import InputError
from lulc.legend import NODATA, LandClass, Legend
from lulc.tables.encoding import Encoding

_SIDE = 120
_FILES = {
    "10m_RGB": ("red", "green", "blue"),
    "10m_IR": ("nir",),
    "20m": ("rededge071", "rededge075", "rededge078", "nir08", "swir16", "swir22"),
    "60m": ("coastal", "nir09"),
}
_PLACES = {band: (file, i) for file, bands in _FILES.items() for i, band in enumerate(bands, 1)}
_COLUMNS = ("Index", "Season", "Grid", "Latitude", "Longitude", "Classes", "Path")
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
# The classes of CORINE that Germany has not.
_ELSEWHERE = (212, 213, 223, 241, 242, 243, 244, 323, 334, 335, 422)
_CODES = tuple(code for code in corine.CODES if code not in _ELSEWHERE)
# Level: what the codes 1 to 33 become, the legend and its map to the common one.
_IDS = {
    "3": {i: i for i in range(1, len(_CODES) + 1)},
    **{
        str(level): {i: corine.id_at(code, level) for i, code in enumerate(_CODES, 1)}
        for level in (2, 1)
    },
}


def _describe(options: Options) -> Description:
    level, ids = int(options["level"]), set(_IDS[options["level"]].values())
    if level == 3:
        classes = tuple(
            LandClass(i, corine.name_of(code), corine.colour_of(code))
            for i, code in enumerate(_CODES, 1)
        )
        common = {
            i: found
            for i, code in enumerate(_CODES, 1)
            if (found := corine.common_of(code)) is not None
        }
    else:
        classes = tuple(c for c in corine.LEGENDS[level].classes if c.id in ids)
        common = {i: found for i, found in corine.COMMON[level].items() if i in ids}
    encoding = Encoding(tuple(_PLACES), "uint16", (1e-4,) * len(_PLACES), (0.0,) * len(_PLACES))
    legend = Legend(f"seasonet-{level}", classes)
    return Description(
        "segment" if options["task"] == "segment" else "multilabel",
        legend,
        encoding,
        10.0,
        common=common,
    )


def _items(root: Path, options: Options) -> Iterator[ExampleItem]:
    file = root / "meta.csv"
    if not file.is_file():
        raise InputError(f"{root} has no meta.csv: datasets.root is the folder that it lies in")
    splits, ids = _read_splits(root), _IDS[options["level"]]
    with file.open(newline="") as lines:
        rows = csv.reader(lines)
        names = next(rows, [])
        lacks = [name for name in _COLUMNS if name not in names]
        if lacks:
            raise InputError(f"{file} has no column {', '.join(lacks)}: fetch it anew")
        at = [names.index(name) for name in _COLUMNS]
        for row in rows:
            try:
                index, season, grid, lat, lon, classes, path = (row[i] for i in at)
                if options["season"] not in ("all", season.lower()) or options["grid"] not in (
                    "both",
                    grid,
                ):
                    continue
                codes = {ids[int(code)] for code in re.findall(r"\d+", classes)}
                place = float(lon), float(lat)
            except (IndexError, KeyError, ValueError) as error:
                raise InputError(
                    f"{file} line {rows.line_num} cannot be read ({error!r}): fetch it anew"
                ) from error
            name = f"{season.lower()}-{PurePosixPath(path).name}"
            yield ExampleItem(
                name, (path,), tuple(sorted(codes)), splits.get(index, ""), f"{lat} {lon}", place
            )


def _read_splits(root: Path) -> dict[str, str]:
    files = {split: root / "splits" / f"{name}.csv" for name, split in _SPLITS.items()}
    lost = [file for file in files.values() if not file.is_file()]
    if 0 < len(lost) < len(files):
        raise InputError(f"there is no {lost[0]}: fetch all lists of the split, or none")
    return (
        {}
        if lost
        else {index: split for split, file in files.items() for index in file.read_text().split()}
    )


def _read(root: Path, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    name = PurePosixPath(item.files[0]).name
    stem = f"{item.files[0]}/{name}"
    pixels, valid, grid = read_sample_bands(
        root, [(f"{stem}_{file}.tif", i) for file, i in (_PLACES[band] for band in bands)], _SIDE
    )
    ids = _IDS[options["level"]]
    if options["task"] == "segment":
        codes = read_mask(root, f"{stem}_labels.tif", valid.shape)
        label = label_of(codes, {0: NODATA, **ids}, str(root / f"{stem}_labels.tif"))
    else:
        label = np.array(
            [c.id in item.classes for c in _describe(options).legend.classes], np.uint8
        )
    # <tile>_<time>_<latitude>_<longitude>
    when = datetime.fromisoformat(name.split("_")[1]).replace(tzinfo=UTC)
    return Example(pixels[None], valid[None], label, grid, (when,))


SEASONET = Dataset(
    "seasonet",
    "SeasoNet (Koßmann et al. 2022, doi:10.1109/IGARSS46834.2022.9884079), CC-BY-4.0",
    {
        "task": ("segment", "multilabel"),
        "level": ("3", "2", "1"),
        "season": ("all", "spring", "summer", "fall", "winter", "snow"),
        "grid": ("1", "2", "both"),
    },
    _describe,
    _items,
    _read,
)
