"""MultiSenGE: Sentinel-2 and Sentinel-1 series of 2020 of 8,157 patches in eastern France.

Patches of 256x256 pixels at 10 m. Wenger et al. 2022, doi:10.5194/isprs-annals-V-3-2022-635-2022;
archive doi:10.5281/zenodo.6375466; names by the authors' reader,
github.com/r-wenger/MultiSenGE-Tools: `labels/<tile>_<x>_<y>.json` names the patch's images, `;`
between them, and its classes; `ground_reference/<tile>_GR_<x>_<y>.tif`,
`s2/<tile>_<day>_S2_<x>_<y>.tif` and `s1/<tile>_<day>_S1_<x>_<y>.tif`. Codes 1 to 14, 0 without a
label; the schemes of 10 and 6 classes, and the split by tile, are those of Wenger et al. 2023,
doi:10.3390/rs15010151: test 31UEQ, validation 31UFP and 31UGP, train all others.

Sentinel-2 is THEIA's surface reflectance times 10,000 (-10,000 where there is none), in the order
of the authors' generator, B2, B3, B4, B5, B6, B7, B8, B8A, B11, B12; Sentinel-1 VV and VH are
linear sigma nought, speckle-filtered (0 where there is none).

sensors: `s2`, all its days; `both`, with each the image of Sentinel-1 nearest in time; `s1`, the
first of every month.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import PurePosixPath

import numpy as np

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Note, Options
from lulc.datasets.descriptions import (
    SENTINEL1_BANDS,
    SENTINEL2_BANDS,
    numbered_scheme,
    sentinel_encoding,
)
from lulc.datasets.files import parse_day, read_image, read_label, require_same_shape, walk
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.legend import NODATA
from lulc.location import Location

_S2 = tuple(band for band in SENTINEL2_BANDS if band not in ("coastal", "nir09", "cirrus"))
_S1 = SENTINEL1_BANDS
_THEIA_NODATA = -10_000
_DATES = {"s2": 8, "both": 8, "s1": 12}  # a patch has nearly nine of Sentinel-2
_URBAN = (
    # Name, colour, id in the common legend.
    ("dense built-up", "#8b0000", 6),
    ("sparse built-up", "#e6004d", 6),
    ("specialized built-up areas", "#cc4df2", 6),
    ("specialized but vegetative areas", "#ffa6ff", 2),
    ("large scale networks", "#6e6e6e", 6),
)
_CLASSES: dict[str, tuple[tuple[str, str, int | None], ...]] = {
    "14": (
        *_URBAN,
        ("arable lands", "#ffffa8", 4),
        ("vineyards", "#e68000", 4),
        ("orchards", "#f2a64d", 4),
        ("grasslands", "#ccf24d", 2),
        ("groves and hedges", "#a6f200", 1),
        ("forests", "#00a600", 1),
        ("open spaces, mineral", "#a600cc", 7),
        ("wetlands", "#a6a6ff", 3),
        ("water surfaces", "#00ccf2", 0),
    ),
    "10": (
        *_URBAN,
        ("arable lands", "#ffffa8", 4),
        ("vineyards and orchards", "#e68000", 4),
        ("grasslands", "#ccf24d", 2),
        ("forests and semi-natural areas", "#00a600", 1),
        ("water surfaces", "#00ccf2", 0),
    ),
    # What is not urban may be anything.
    "6": (*_URBAN, ("non-urban areas", "#a0a0a0", None)),
}
_TEN = {7: 7, 8: 7, 9: 8, 10: 9, 11: 9, 12: 9, 13: 10, 14: 10}
# Option: code, 1 to 14 → legend id.
_IDS = {
    "14": {i: i for i in range(1, 15)},
    "10": {i: _TEN.get(i, i) for i in range(1, 15)},
    "6": {i: min(i, 6) for i in range(1, 15)},
}
_SPLITS = {"31UEQ": "test", "31UFP": "validation", "31UGP": "validation"}
_PATCH = re.compile(r"(\d\d[A-Z]{3})_(\d+_\d+)")


def _describe(options: Options) -> Description:
    scheme = numbered_scheme(
        f"multisenge-{options['classes']}", _CLASSES[options["classes"]], first_id=1
    )
    # Floats hold whatever type the files have.
    encoding = sentinel_encoding(_sensor_bands(options), "float32", "surface_reflectance", "sigma0")
    return Description(
        "series" if options["task"] == "series" else "multilabel",
        scheme.legend,
        encoding,
        gsd_m=10.0,
        dates=_DATES[options["sensors"]],
        common=scheme.common,
    )


def _items(root: Location, options: Options) -> Iterator[ExampleItem | Note]:
    without_images = []
    for metadata_path in walk(root, (".json",)):
        path = PurePosixPath(metadata_path)
        match = _PATCH.fullmatch(path.stem)
        if not match or path.parent.name != "labels":
            continue
        tile, corner = match.groups()
        split = _SPLITS.get(tile, "train")
        try:
            s2, s1, classes = _read_metadata(root / metadata_path, options)
        except InputError as error:
            yield ExampleItem(path.stem, (metadata_path,), split=split, error=str(error))
            continue
        images = _image_files(s2, s1, options)
        if not images:
            without_images.append(metadata_path)
            continue
        folder = path.parents[1]
        mask = f"ground_reference/{tile}_GR_{corner}.tif"
        files = tuple(str(folder / file) for file in (mask, *images))
        yield ExampleItem(path.stem, files, classes, split=split)
    if without_images:
        yield Note(
            f"{len(without_images):,} patches name no images of {options['sensors']} and are left "
            f"out, such as {without_images[0]}"
        )


def _read(root: Location, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    mask_path, *paths = item.files
    dates = len(paths) // 2 if options["sensors"] == "both" else len(paths)
    image_paths, radar_paths = paths[:dates], paths[dates:]
    layers, valid, grid = _read_series(root, image_paths, radar_paths, options)
    pixels = layers[:, [_sensor_bands(options).index(band) for band in bands]]
    if options["task"] == "series":
        ids = {0: NODATA, **_IDS[options["classes"]]}
        label = read_label(root, mask_path, valid.shape[1:], ids)
    else:
        legend_ids = range(1, len(_CLASSES[options["classes"]]) + 1)
        label = np.isin(legend_ids, item.classes).astype(np.uint8)
    pixels = np.where(valid[:, None], pixels, 0)
    return Example(pixels, valid, label, grid, tuple(map(_day, image_paths)))


def _sensor_bands(options: Options) -> tuple[str, ...]:
    optical = _S2 if options["sensors"] != "s1" else ()
    return (*optical, *(_S1 if options["sensors"] != "s2" else ()))


def _read_metadata(
    path: Location, options: Options
) -> tuple[list[str], list[str], tuple[int, ...]]:
    """Read a patch's images of Sentinel-2 and of Sentinel-1, each by day, and its classes."""
    ids = _IDS[options["classes"]]
    try:
        content = json.loads(path.read_text())
        s2, s1 = (
            sorted(filter(None, content[f"corresponding_{sensor}"].split(";")), key=_day)
            for sensor in ("s2", "s1")
        )
        classes = {ids[int(code)] for code in content["labels"].split(";") if code}
    except (OSError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error!r}): fetch it anew") from error
    return s2, s1, tuple(sorted(classes))


def _image_files(s2: Sequence[str], s1: Sequence[str], options: Options) -> list[str]:
    """Return a patch's images, in the option `both` those of Sentinel-2 first; none: no item."""
    if options["sensors"] == "s1":
        first_of_month = {_day(name).strftime("%Y%m"): name for name in reversed(s1)}
        return [f"s1/{name}" for name in sorted(first_of_month.values(), key=_day)]
    optical = [f"s2/{name}" for name in s2]
    if options["sensors"] == "s2":
        return optical
    return [*optical, *(f"s1/{_nearest(s1, name)}" for name in s2)] if s1 else []


def _nearest(names: Sequence[str], reference: str) -> str:
    return min(names, key=lambda name: abs(_day(name) - _day(reference)))


def _day(name: str) -> datetime:
    # <tile>_<day>_…
    return parse_day(PurePosixPath(name).name.split("_")[1])


def _read_series(
    root: Location, image_paths: Sequence[str], radar_paths: Sequence[str], options: Options
) -> tuple[np.ndarray, np.ndarray, Grid | None]:
    """Read pixels (T, C, H, W), valid (T, H, W) and the first grid of images, all bands."""
    images: list[tuple[np.ndarray, np.ndarray, Grid | None]] = []
    for image_path, radar_path in itertools.zip_longest(image_paths, radar_paths):
        image = _read_date(root, image_path, radar_path, options)
        if images:
            first_path, first_shape = root / image_paths[0], images[0][1].shape
            require_same_shape(root / image_path, image[1].shape, first_path, first_shape)
        images.append(image)
    pixels = np.stack([date_pixels for date_pixels, _, _ in images])
    valid = np.stack([date_valid for _, date_valid, _ in images])
    return pixels, valid, images[0][2]


def _read_date(
    root: Location, image_path: str, radar_path: str | None, options: Options
) -> tuple[np.ndarray, np.ndarray, Grid | None]:
    """Read the image of one date, followed by the bands of a Sentinel-1 image if there is one."""
    file_bands = _S1 if options["sensors"] == "s1" else _S2
    pixels, valid, grid = _read_pixels(root, image_path, file_bands)
    if radar_path is not None:
        radar, radar_valid, _ = _read_pixels(root, radar_path, _S1)
        require_same_shape(root / radar_path, radar_valid.shape, root / image_path, valid.shape)
        pixels, valid = np.concatenate([pixels, radar]), valid & radar_valid
    return pixels, valid, grid


def _read_pixels(
    root: Location, image_path: str, file_bands: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, Grid | None]:
    pixels, valid, grid = read_image(root, image_path, range(1, len(file_bands) + 1))
    is_data = pixels.any(0) if file_bands == _S1 else (pixels > _THEIA_NODATA).all(0)
    return pixels.astype(np.float32), valid & is_data, grid


MULTISENGE = Dataset(
    name="multisenge",
    about="MultiSenGE (Wenger et al. 2022, doi:10.5194/isprs-annals-V-3-2022-635-2022), "
    "CC-BY-NC-4.0",
    options={
        "task": ("series", "multilabel"),
        "sensors": ("s2", "s1", "both"),
        "classes": ("14", "10", "6"),
    },
    describe=_describe,
    items=_items,
    read=_read,
)
