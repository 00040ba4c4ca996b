"""PASTIS: 2,433 Sentinel-2 level-2A series over France, and the crop of every parcel.

Patches of 128x128 pixels at 10 m, 2018 to 2019. Sainte Fare Garnot and Landrieu 2021,
arXiv:2107.07933, doi:10.5281/zenodo.5012942, with Sentinel-1 (PASTIS-R) arXiv:2112.07558,
doi:10.5281/zenodo.5735646; layout, codes and colours by github.com/VSainteuf/pastis-benchmark. The
root is the folder of `metadata.geojson`, which gives of each patch its id, fold (1 to 5), dates and
outline. `DATA_S2/S2_<id>.npy`: (T, 10, 128, 128), B2 to B8, B8A, B11, B12 of THEIA, reflectance
times 10,000, -10,000 where there is none, 38 to 61 dates, cloudy ones among them.
`DATA_S1A/S1A_<id>.npy`, `DATA_S1D/…` (ascending and descending orbits): (T, 3, 128, 128), VV, VH
and their ratio, which is left out, sigma nought in dB, about 70 dates.
`ANNOTATIONS/TARGET_<id>.npy`: (3, 128, 128), of which the first is the class; 19, parcels mostly
outside their patch, becomes no label. Folds 1 to 3 train, 4 is validation and 5 test, the first of
the publisher's five runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from lulc.bands import Unit
from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.descriptions import (
    REFLECTANCE_SCALE,
    SENTINEL1_BANDS,
    numbered_scheme,
    uniform_encoding,
)
from lulc.datasets.files import label_of, parse_day
from lulc.datasets.shapes import DEGREES, Shape, read_geojson, read_shapes
from lulc.errors import InputError
from lulc.legend import NODATA
from lulc.location import Location
from lulc.tables.files import local_copy


class _Sensor(NamedTuple):
    """The arrays of one sensor."""

    bands: tuple[str, ...]
    channels: int
    """Channels in the files, the bands first."""
    max_dates: int


_S2_BANDS = (
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
)
_SENSORS = {
    "s2": _Sensor(_S2_BANDS, 10, 61),
    "s1a": _Sensor(SENTINEL1_BANDS, 3, 70),
    "s1d": _Sensor(SENTINEL1_BANDS, 3, 70),
}
_SIDE = 128
_THEIA_NODATA = -10_000
_CROPS = 4  # in the common legend
_CLASSES = (
    # Name, colour, id in the common legend. The background is all that is no farm land.
    ("background", "#000000", None),
    ("meadow", "#aec7e8", 2),
    ("soft winter wheat", "#ff7f0e", _CROPS),
    ("corn", "#ffbb78", _CROPS),
    ("winter barley", "#2ca02c", _CROPS),
    ("winter rapeseed", "#98df8a", _CROPS),
    ("spring barley", "#d62728", _CROPS),
    ("sunflower", "#ff9896", _CROPS),
    ("grapevine", "#9467bd", _CROPS),
    ("beet", "#c5b0d5", _CROPS),
    ("winter triticale", "#8c564b", _CROPS),
    ("winter durum wheat", "#c49c94", _CROPS),
    ("fruits, vegetables, flowers", "#e377c2", _CROPS),
    ("potatoes", "#f7b6d2", _CROPS),
    ("leguminous fodder", "#7f7f7f", _CROPS),
    ("soybeans", "#c7c7c7", _CROPS),
    ("orchard", "#bcbd22", _CROPS),
    ("mixed cereal", "#dbdb8d", _CROPS),
    ("sorghum", "#17becf", _CROPS),
)
_SCHEME = numbered_scheme("pastis", _CLASSES)
_IDS = {i: i for i in _SCHEME.legend.ids} | {19: NODATA}
_FOLD_SPLITS = {1: "train", 2: "train", 3: "train", 4: "validation", 5: "test"}


def _describe(options: Options) -> Description:
    sensor = _SENSORS[options["sensor"]]
    if options["sensor"] == "s2":
        unit: Unit = "surface_reflectance"
        encoding = uniform_encoding(sensor.bands, "int16", REFLECTANCE_SCALE, unit)
    else:
        encoding = uniform_encoding(sensor.bands, "float32", unit="sigma0_db")
    return Description(
        "series",
        _SCHEME.legend,
        encoding,
        gsd_m=10.0,
        dates=sensor.max_dates,
        common=_SCHEME.common,
    )


def _items(root: Location, options: Options) -> Iterator[ExampleItem]:
    metadata = root / "metadata.geojson"
    if not metadata.is_file():
        raise InputError(
            f"{root} has no metadata.geojson: datasets.root must be the folder that holds it"
        )
    sensor = options["sensor"].upper()
    for number, (outline, properties) in enumerate(_read_outlines(metadata), 1):
        try:
            patch, fold = int(properties["ID_PATCH"]), int(properties["Fold"])
            split = _FOLD_SPLITS[fold]
        except (KeyError, TypeError, ValueError) as error:
            name = str(properties.get("ID_PATCH", f"feature-{number}"))
            reason = (
                f"{metadata} has a patch without ID_PATCH, or Fold from 1 to 5 ({error!r}): "
                "fetch it anew"
            )
            yield ExampleItem(name, (metadata.name,), error=reason)
            continue
        centre = outline.envelope.centroid
        is_in_degrees = abs(centre.x) <= 180 and abs(centre.y) <= 90
        yield ExampleItem(
            str(patch),
            (f"DATA_{sensor}/{sensor}_{patch}.npy", f"ANNOTATIONS/TARGET_{patch}.npy"),
            split=split,
            lonlat=(centre.x, centre.y) if is_in_degrees else None,
        )


def _read(root: Location, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    image_path, mask_path = item.files
    sensor = _SENSORS[options["sensor"]]
    array = _load(root / image_path, (None, sensor.channels, _SIDE, _SIDE))
    pixels = array[:, [sensor.bands.index(band) for band in bands]]
    valid = (pixels != _THEIA_NODATA).all(1) & np.isfinite(pixels).all(1)
    codes = _load(root / mask_path, (3, _SIDE, _SIDE))[0].astype(np.int32)
    label = label_of(codes, _IDS, root / mask_path)
    times = _read_times(root / "metadata.geojson", item.name, f"dates-{options['sensor'].upper()}")
    if len(times) != len(pixels):
        raise InputError(
            f"{root / image_path} has {len(pixels)} dates, metadata.geojson {len(times)}: "
            "fetch both anew"
        )
    return Example(np.where(valid[:, None], pixels, 0), valid, label, None, times)


def _read_outlines(metadata: Location) -> list[Shape]:
    """Read the outlines of the patches, in degrees where the file names its CRS."""
    geometries, properties, crs = read_geojson(metadata)
    return read_shapes(metadata, DEGREES) if crs else list(zip(geometries, properties, strict=True))


def _load(path: Location, shape: tuple[int | None, ...]) -> np.ndarray:
    """Open an array of numbers of this shape, None standing for any length."""
    try:
        # Opens plain arrays alone, never objects.
        with local_copy(path) as copy:
            array: np.ndarray = np.lib.format.open_memmap(copy, mode="r")
    except (OSError, ValueError, OverflowError, EOFError) as error:
        raise InputError(f"{path} cannot be read as an array ({error}): fetch it anew") from error
    fits = len(array.shape) == len(shape) and all(
        length in (None, side) for length, side in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in "iuf":
        raise InputError(
            f"{path} is {array.dtype} {array.shape} where numbers {shape} are expected: "
            "fetch it anew"
        )
    return array


def _read_times(metadata: Location, patch: str, key: str) -> tuple[datetime, ...]:
    try:
        days = _read_patches(metadata, metadata.stat().st_mtime_ns)[patch][key]
        # Numbered, not always in order.
        return tuple(parse_day(str(days[number])) for number in sorted(days, key=int))
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{metadata} has no {key} of patch {patch} ({error!r}): fetch it anew"
        ) from error


@lru_cache(maxsize=1)
def _read_patches(metadata: Location, _changed: int) -> Mapping[str, Mapping[str, Any]]:
    features = json.loads(metadata.read_text())["features"]
    rows = [feature["properties"] for feature in features]
    return {str(int(properties["ID_PATCH"])): properties for properties in rows}


PASTIS = Dataset(
    name="pastis",
    about="PASTIS and PASTIS-R (Sainte Fare Garnot and Landrieu 2021, arXiv:2107.07933), "
    "Etalab 2.0",
    options={"sensor": ("s2", "s1a", "s1d")},
    describe=_describe,
    items=_items,
    read=_read,
)
