"""SEN12MS: 180,662 triplets of Sentinel-1, Sentinel-2 and MODIS land cover from all over the world.

Patches of 256x256 pixels at 10 m. Schmitt et al. 2019, doi:10.5194/isprs-annals-IV-2-W7-153-2019;
archive https://mediatum.ub.tum.de/1474000: `ROIs1158_spring/s1_1/ROIs1158_spring_s1_1_p30.tif`,
`s2_1/…_s2_1_p30.tif`, `lc_1/…_lc_1_p30.tif` of seasons 1158_spring, 1868_summer, 1970_fall and
2017_winter. s1: VV and VH, sigma nought in dB; s2: 13 bands, top-of-atmosphere reflectance times
10,000; lc: IGBP, LCCS land cover, LCCS land use and LCCS surface hydrology of MCD12Q1 of 2016.
Patches of a scene overlap by half.

Split: the lists of github.com/schmitt-muc/SEN12MS, `train_list.txt`, `test_list.txt` and, if there,
`val_list.txt` in the root; without them by scene as those were made: test those of
`SEN12MS_holdOutScenes.txt`, validation those of `ValidationScenes.txt` (`train_list.txt` holds them
too), train all others. The lists that the publisher pickled are not read: the texts hold the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from lulc.datasets import igbp
from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.descriptions import (
    SENTINEL1_BANDS,
    SENTINEL2_BANDS,
    Scheme,
    sentinel_encoding,
)
from lulc.datasets.files import find_split_lists, read_label, read_sample_bands, walk
from lulc.errors import InputError
from lulc.legend import NODATA
from lulc.location import Location


class _LandCover(NamedTuple):
    """A scheme, its band in the land cover files, and code in that band → legend id."""

    scheme: Scheme
    band_index: int
    ids: Mapping[int, int]


class _Patch(NamedTuple):
    season: str
    scene: str
    number: str


def _land_cover(scheme: Scheme, band_index: int) -> _LandCover:
    return _LandCover(scheme, band_index, {i: i for i in scheme.legend.ids})


_S1, _S2 = SENTINEL1_BANDS, tuple(SENTINEL2_BANDS)
_SENSORS: dict[str, dict[str, tuple[str, ...]]] = {
    "s2": {"s2": _S2},
    "s1": {"s1": _S1},
    "both": {"s2": _S2, "s1": _S1},
}
_LAND_COVERS = {
    "igbp": _land_cover(igbp.IGBP, 1),
    "simple": _LandCover(igbp.SIMPLE, 1, igbp.TO_SIMPLE),
    "land_cover": _land_cover(igbp.LAND_COVER, 2),
    "land_use": _land_cover(igbp.LAND_USE, 3),
    "surface_hydrology": _land_cover(igbp.SURFACE_HYDROLOGY, 4),
}
_NAME = re.compile(r"(ROIs\d+_[a-z]+)_(s1|s2|lc)_(\d+)_(p\d+)")
_LISTS = {"train": "train_list.txt", "test": "test_list.txt"}
_VALIDATION_LIST = "val_list.txt"
_TEST_SCENES = {
    "ROIs1158_spring": "15 17 63 97 124 146",
    "ROIs1868_summer": "15 19 43 72 79 104 131",
    "ROIs1970_fall": "30 35 39 47 61 120 141 144",
    "ROIs2017_winter": "32 64 107 135 146",
}
_VALIDATION_SCENES = {
    "ROIs1158_spring": "44 45 77 112 113 117",
    "ROIs1868_summer": "26 36 55 73 89 113",
    "ROIs1970_fall": "1 3 14 20 57 62 93 130 142",
    "ROIs2017_winter": "69 77 103 144",
}
_SCENE_SPLITS = {
    (season, scene): split
    for split, seasons in (("test", _TEST_SCENES), ("validation", _VALIDATION_SCENES))
    for season, scenes in seasons.items()
    for scene in scenes.split()
}


def _describe(options: Options) -> Description:
    scheme = _LAND_COVERS[options["classes"]].scheme
    bands = tuple(band for sensor in _SENSORS[options["sensors"]].values() for band in sensor)
    dtype = "uint16" if options["sensors"] == "s2" else "float32"
    encoding = sentinel_encoding(bands, dtype, "toa_reflectance", "sigma0_db")
    return Description("segment", scheme.legend, encoding, gsd_m=10.0, common=scheme.common)


def _items(root: Location, options: Options) -> Iterator[ExampleItem]:
    kinds = (*_SENSORS[options["sensors"]], "lc")
    files: dict[_Patch, dict[str, str]] = {}
    twice: dict[_Patch, str] = {}
    for file in walk(root, (".tif",)):
        if match := _NAME.fullmatch(PurePosixPath(file).stem):
            patch = _Patch(match[1], match[3], match[4])
            other = files.setdefault(patch, {}).setdefault(match[2], file)
            if other != file:
                twice[patch] = f"{root / file} is there twice, also as {other}: remove one"
    listed, scene_splits = _read_lists(root), _read_scene_splits(root)
    # What a list names and the archive lacks is an item that cannot be read, unless none of its
    # season was fetched.
    seasons = {patch.season for patch in files}
    listed_patches = [patch for patch in listed if patch.season in seasons]
    for patch in dict.fromkeys([*files, *listed_patches]):
        season, scene, number = patch
        by_kind = files.get(patch, {})
        paths = tuple(
            by_kind.get(kind, f"{season}/{kind}_{scene}/{season}_{kind}_{scene}_{number}.tif")
            for kind in kinds
        )
        scene_split = scene_splits.get((season, scene), "train")
        split = listed.get(patch, "") if listed else scene_split
        name = f"{season}_{scene}_{number}"
        error = twice.get(patch, "")
        yield ExampleItem(name, paths, split=split, group=f"{season}/{scene}", error=error)


def _read(root: Location, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    *image_paths, mask_path = item.files
    sensors = _SENSORS[options["sensors"]].values()
    band_files = [
        (image_path, sensor_bands.index(band) + 1)
        for band in bands
        for image_path, sensor_bands in zip(image_paths, sensors, strict=True)
        if band in sensor_bands
    ]
    pixels, valid, grid = read_sample_bands(root, band_files)
    _, index, ids = _LAND_COVERS[options["classes"]]
    label = read_label(root, mask_path, valid.shape, {**ids, 255: NODATA}, index)
    return Example(pixels[None], valid[None], label, grid)


def _read_lists(root: Location) -> dict[_Patch, str]:
    """Read the split of every listed patch; empty where there are no lists."""
    paths = find_split_lists(root, _LISTS)
    if paths and (root / _VALIDATION_LIST).is_file():
        # Its patches are in the list of training too: the last one counts.
        paths["validation"] = root / _VALIDATION_LIST
    splits = {}
    for split, path in paths.items():
        for line in path.read_text().split():
            match = _NAME.fullmatch(PurePosixPath(line).stem)
            if match is None:
                raise InputError(
                    f"{path} names {line!r}: names such as ROIs1158_spring_s2_1_p30.tif are "
                    "expected; fetch it anew"
                )
            splits[_Patch(match[1], match[3], match[4])] = split
    return splits


def _read_scene_splits(root: Location) -> dict[tuple[str, str], str]:
    """Read the split of the scenes (season, number) that are not for training."""
    path = root / "SEN12MS_holdOutScenes.txt"
    if not path.is_file():
        return _SCENE_SPLITS
    test_scenes = re.findall(r"(ROIs\d+_[a-z]+)/s[12]_(\d+)", path.read_text())
    validation = {scene: split for scene, split in _SCENE_SPLITS.items() if split != "test"}
    return validation | dict.fromkeys(test_scenes, "test")


SEN12MS = Dataset(
    name="sen12ms",
    about="SEN12MS (Schmitt et al. 2019, doi:10.5194/isprs-annals-IV-2-W7-153-2019), CC-BY-4.0",
    options={"sensors": ("s2", "s1", "both"), "classes": tuple(_LAND_COVERS)},
    describe=_describe,
    items=_items,
    read=_read,
)
