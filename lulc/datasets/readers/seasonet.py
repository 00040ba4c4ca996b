"""SeasoNet: 1,759,830 Sentinel-2 patches of all of Germany, of four seasons and of days with snow.

Patches of 120x120 pixels at 10 m. Koßmann et al. 2022, doi:10.1109/IGARSS46834.2022.9884079;
archive doi:10.5281/zenodo.5850306: `<season>/grid<n>/<patch>/` holds `<patch>_10m_RGB.tif` (B4, B3,
B2), `_10m_IR.tif` (B8), `_20m.tif` (B5, B6, B7, B8A, B11, B12), `_60m.tif` (B1, B9) and
`_labels.tif`: 1 to 33, classes of CORINE in the order of their codes, from the land cover model
LBM-DE2018; 0 is no label. The second grid is shifted by half a patch, so that its patches overlap
those of the first. `meta.csv` gives of every patch its index, season, grid, coordinates, classes
and folder (`Path`); `splits/{train,val,test}.csv` give indexes. Layout also by the authors' reader,
github.com/torchgeo/torchgeo/pull/1466; the order of bands in a file is what their means over the
summer show.

Patches with the same coordinates are a group: the same ground in several seasons, which is what
retrieval pairs.

max_cloud, max_snow: patches with more in the columns `Clouds` or `Snow`, in their unit, are left
out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath

import numpy as np

from lulc.datasets import corine
from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Note, Options
from lulc.datasets.descriptions import (
    REFLECTANCE_SCALE,
    Scheme,
    number_option,
    numbered_scheme,
    uniform_encoding,
)
from lulc.datasets.files import SPLIT_NAMES, find_split_lists, read_label, read_sample_bands
from lulc.errors import InputError
from lulc.legend import NODATA, Legend
from lulc.location import Location
from lulc.tables.csv_files import read_csv_rows

_SIDE = 120
_FILE_BANDS = {
    "10m_RGB": ("red", "green", "blue"),
    "10m_IR": ("nir",),
    "20m": ("rededge071", "rededge075", "rededge078", "nir08", "swir16", "swir22"),
    "60m": ("coastal", "nir09"),
}
# Band: the end of its file's name and its index there.
_BANDS = {
    band: (end, index) for end, bands in _FILE_BANDS.items() for index, band in enumerate(bands, 1)
}
_COLUMNS = ("Index", "Season", "Grid", "Latitude", "Longitude", "Classes", "Path")
# Column of a patch → the option with its greatest number.
_LIMITED = {"Clouds": "max_cloud", "Snow": "max_snow"}
_LISTS = {split: f"{name}.csv" for name, split in SPLIT_NAMES.items()}
# The classes of CORINE that Germany has not.
_ABSENT = (212, 213, 223, 241, 242, 243, 244, 323, 334, 335, 422)
_CODES = tuple(code for code in corine.CODES if code not in _ABSENT)
# Level: code in the masks, 1 to 33 → legend id.
_IDS = {
    "3": {i: i for i in range(1, len(_CODES) + 1)},
    "2": {i: corine.id_at(code, 2) for i, code in enumerate(_CODES, 1)},
    "1": {i: corine.id_at(code, 1) for i, code in enumerate(_CODES, 1)},
}


def _describe(options: Options) -> Description:
    scheme = _scheme(options["level"])
    return Description(
        "segment" if options["task"] == "segment" else "multilabel",
        scheme.legend,
        uniform_encoding(tuple(_BANDS), "uint16", REFLECTANCE_SCALE, "surface_reflectance"),
        gsd_m=10.0,
        common=scheme.common,
    )


def _items(root: Location, options: Options) -> Iterator[ExampleItem | Note]:
    metadata = root / "meta.csv"
    if not metadata.is_file():
        raise InputError(f"{root} has no meta.csv: datasets.root must be the folder that holds it")
    splits = {
        index: split
        for split, path in find_split_lists(root / "splits", _LISTS).items()
        for index in path.read_text().split()
    }
    limits = {
        column: number_option("seasonet", options, option, np.inf)
        for column, option in _LIMITED.items()
        if options[option]
    }
    rows = read_csv_rows(metadata)
    _, header = next(rows, (0, []))
    missing = [name for name in (*_COLUMNS, *limits) if name not in header]
    if missing:
        raise InputError(f"{metadata} has no column {', '.join(missing)}: fetch it anew")
    positions = [header.index(name) for name in _COLUMNS]
    limited = [(header.index(column), limit) for column, limit in limits.items()]
    left_out = 0
    for line, row in rows:
        try:
            item = _parse_row([row[i] for i in positions], options, splits)
            # What gives no number is no less than the limit.
            is_clear = item is None or all(float(row[i]) <= limit for i, limit in limited)
        except (IndexError, KeyError, ValueError) as error:
            reason = f"{metadata} line {line} cannot be read ({error!r}): fetch it anew"
            yield ExampleItem(f"line-{line}", (metadata.name,), error=reason)
            continue
        if item is not None and is_clear:
            yield item
        left_out += not is_clear
    if left_out:
        chosen = " or ".join(f"{column} above {limit:g}" for column, limit in limits.items())
        yield Note(f"{left_out:,} patches with {chosen} are left out")


def _read(root: Location, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    (folder,) = item.files
    patch = PurePosixPath(folder).name
    ends = [_BANDS[band] for band in bands]
    band_files = [(f"{folder}/{patch}_{end}.tif", index) for end, index in ends]
    pixels, valid, grid = read_sample_bands(root, band_files, _SIDE)
    if options["task"] == "segment":
        ids = {0: NODATA, **_IDS[options["level"]]}
        label = read_label(root, f"{folder}/{patch}_labels.tif", valid.shape, ids)
    else:
        label = np.isin(_scheme(options["level"]).legend.ids, item.classes).astype(np.uint8)
    # <tile>_<time>_<latitude>_<longitude>
    time = datetime.fromisoformat(patch.split("_")[1]).replace(tzinfo=UTC)
    return Example(pixels[None], valid[None], label, grid, (time,))


def _scheme(level: str) -> Scheme:
    name = f"seasonet-{level}"
    if level == "3":
        codes = [
            (corine.name_of(code), corine.colour_of(code), corine.common_of(code))
            for code in _CODES
        ]
        return numbered_scheme(name, codes, first_id=1)
    ids = set(_IDS[level].values())
    classes = tuple(c for c in corine.LEGENDS[int(level)].classes if c.id in ids)
    common = {i: other for i, other in corine.COMMON[int(level)].items() if i in ids}
    return Scheme(Legend(name, classes), common)


def _parse_row(row: Sequence[str], options: Options, splits: dict[str, str]) -> ExampleItem | None:
    """Return the item of a row of `_COLUMNS`, None where it is of another season or grid."""
    index, season, grid, latitude, longitude, classes, folder = row
    season = season.lower()
    if options["season"] not in ("all", season) or options["grid"] not in ("both", grid):
        return None
    ids = _IDS[options["level"]]
    return ExampleItem(
        f"{season}-{PurePosixPath(folder).name}",
        (folder,),
        classes=tuple(sorted({ids[int(code)] for code in re.findall(r"\d+", classes)})),
        split=splits.get(index, ""),
        group=f"{latitude} {longitude}",
        lonlat=(float(longitude), float(latitude)),
    )


SEASONET = Dataset(
    name="seasonet",
    about="SeasoNet (Koßmann et al. 2022, doi:10.1109/IGARSS46834.2022.9884079), CC-BY-4.0",
    options={
        "task": ("segment", "multilabel"),
        "level": ("3", "2", "1"),
        "season": ("all", "spring", "summer", "fall", "winter", "snow"),
        "grid": ("1", "2", "both"),
        "max_cloud": (),
        "max_snow": (),
    },
    describe=_describe,
    items=_items,
    read=_read,
)
