"""PASTIS: 2,433 Sentinel-2 level-2A series of 128x128 pixels at 10 m over France, 2018 to 2019, and the crop of every parcel.

Sainte Fare Garnot and Landrieu 2021, arXiv:2107.07933, doi:10.5281/zenodo.5012942, with Sentinel-1 (PASTIS-R) arXiv:2112.07558,
doi:10.5281/zenodo.5735646; layout, codes and colours by github.com/VSainteuf/pastis-benchmark. The root is the folder of
`metadata.geojson`, which says of each patch its id, fold (1 to 5), dates and outline. `DATA_S2/S2_<id>.npy`: (T, 10, 128, 128),
B2 to B8, B8A, B11, B12 of THEIA, reflectance times 10,000, -10,000 where there is none, 38 to 61 dates, cloudy ones among them.
`DATA_S1A/S1A_<id>.npy`, `DATA_S1D/…` (ascending and descending orbits): (T, 3, 128, 128), VV, VH and their ratio, which is left
out, in dB, about 70 dates. `ANNOTATIONS/TARGET_<id>.npy`: (3, 128, 128), of which the first is the class; 19, parcels mostly
outside their patch, becomes no label. Folds 1 to 3 train, 4 is validation and 5 test, the first of the publisher's five runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.files import label_of
from lulc.datasets.shapes import read_shapes
from lulc.errors import InputError
from lulc.geo.grid import WGS84, Grid
from lulc.legend import NODATA, LandClass, Legend
from lulc.tables.encoding import Encoding

_SIDE = 128
_NOTHING = -10_000
_RADAR = ("vv", "vh")
_SENSORS = {
    # Bands that are offered, channels in the files, dates at most.
    "s2": (
        (
            "blue",
            "green",
            "red",
            "rededge071",
            "rededge075",
            "rededge078",
            "nir",
            "nir08",
            "swir16",
            "swir22",
        ),
        10,
        61,
    ),
    "s1a": (_RADAR, 3, 70),
    "s1d": (_RADAR, 3, 70),
}
_CLASSES = (
    ("background", "#000000"), ("meadow", "#aec7e8"), ("soft winter wheat", "#ff7f0e"), ("corn", "#ffbb78"),
    ("winter barley", "#2ca02c"), ("winter rapeseed", "#98df8a"), ("spring barley", "#d62728"), ("sunflower", "#ff9896"),
    ("grapevine", "#9467bd"), ("beet", "#c5b0d5"), ("winter triticale", "#8c564b"), ("winter durum wheat", "#c49c94"),
    ("fruits, vegetables, flowers", "#e377c2"), ("potatoes", "#f7b6d2"), ("leguminous fodder", "#7f7f7f"),
    ("soybeans", "#c7c7c7"), ("orchard", "#bcbd22"), ("mixed cereal", "#dbdb8d"), ("sorghum", "#17becf"),
)  # fmt: skip
_LEGEND = Legend(
    "pastis", tuple(LandClass(i, name, colour) for i, (name, colour) in enumerate(_CLASSES))
)
# The background is all that is no farm land.
_COMMON = {1: 2, **dict.fromkeys(range(2, 19), 4)}
_FOLDS = {1: "train", 2: "train", 3: "train", 4: "validation", 5: "test"}


def _describe(options: Options) -> Description:
    bands, _, dates = _SENSORS[options["sensor"]]
    kind, scale = ("int16", 1e-4) if options["sensor"] == "s2" else ("float32", 1.0)
    encoding = Encoding(bands, kind, (scale,) * len(bands), (0.0,) * len(bands))
    return Description("series", _LEGEND, encoding, 10.0, dates, _COMMON)


def _items(root: Path, options: Options) -> Iterator[ExampleItem]:
    file = root / "metadata.geojson"
    if not file.is_file():
        raise InputError(
            f"{root} has no metadata.geojson: datasets.root is the folder that it lies in"
        )
    sensor = options["sensor"].upper()
    for shape, told in read_shapes(file, _DEGREES):
        try:
            number, fold = int(told["ID_PATCH"]), int(told["Fold"])
            split = _FOLDS[fold]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{file} has a patch without ID_PATCH, or Fold from 1 to 5 ({error!r}): fetch it anew"
            ) from error
        centre = shape.envelope.centroid
        # Degrees, where the file says its CRS, or needs not.
        place = (centre.x, centre.y) if abs(centre.x) <= 180 and abs(centre.y) <= 90 else None
        files = (f"DATA_{sensor}/{sensor}_{number}.npy", f"ANNOTATIONS/TARGET_{number}.npy")
        yield ExampleItem(str(number), files, (), split, place=place)


# Its pixels are degrees of longitude and latitude.
_DEGREES = Grid(WGS84, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), 1, 1)


def _read(root: Path, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    own, channels, _ = _SENSORS[options["sensor"]]
    pixels = _load(root / item.files[0], (None, channels, _SIDE, _SIDE))[
        :, [own.index(band) for band in bands]
    ]
    valid = (pixels != _NOTHING).all(1) & np.isfinite(pixels).all(1)
    path = root / item.files[1]
    label = label_of(
        _load(path, (3, _SIDE, _SIDE))[0].astype(np.int32),
        {19: NODATA, **{i: i for i in _LEGEND.ids}},
        str(path),
    )
    times = _read_dates(root / "metadata.geojson", item.name, f"dates-{options['sensor'].upper()}")
    if len(times) != len(pixels):
        raise InputError(
            f"{root / item.files[0]} has {len(pixels)} dates, metadata.geojson {len(times)}: fetch both anew"
        )
    return Example(np.where(valid[:, None], pixels, 0), valid, label, None, times)


def _load(path: Path, shape: tuple[int | None, ...]) -> np.ndarray:
    try:
        # Opens plain arrays alone, never objects.
        found: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, OverflowError, EOFError) as error:
        raise InputError(f"{path} cannot be read as an array ({error}): fetch it anew") from error
    fits = len(found.shape) == len(shape) and all(
        n in (None, side) for n, side in zip(shape, found.shape, strict=True)
    )
    if not fits or found.dtype.kind not in "iuf":
        raise InputError(
            f"{path} is {found.dtype} {found.shape} where numbers {shape} are due: fetch it anew"
        )
    return found


def _read_dates(file: Path, name: str, key: str) -> tuple[datetime, ...]:
    try:
        days = _read_patches(str(file), file.stat().st_mtime_ns)[name][key]
        # Numbered, not always in order.
        return tuple(
            datetime.strptime(str(days[n]), "%Y%m%d").replace(tzinfo=UTC)
            for n in sorted(days, key=int)
        )
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{file} says no {key} of patch {name} ({error!r}): fetch it anew"
        ) from error


@lru_cache(maxsize=1)
def _read_patches(file: str, _changed: int) -> Mapping[str, Mapping[str, Any]]:
    found = json.loads(Path(file).read_text())["features"]
    return {str(int(f["properties"]["ID_PATCH"])): f["properties"] for f in found}


PASTIS = Dataset(
    "pastis",
    "PASTIS and PASTIS-R (Sainte Fare Garnot and Landrieu 2021, arXiv:2107.07933), Etalab 2.0",
    {"sensor": ("s2", "s1a", "s1d")},
    _describe,
    _items,
    _read,
)
