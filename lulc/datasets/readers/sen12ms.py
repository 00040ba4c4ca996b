"""SEN12MS: 180,662 triplets of Sentinel-1, Sentinel-2 and MODIS land cover, 256x256 pixels at 10 m, from all over the world.

Schmitt et al. 2019, doi:10.5194/isprs-annals-IV-2-W7-153-2019; archive https://mediatum.ub.tum.de/1474000:
`ROIs1158_spring/s1_1/ROIs1158_spring_s1_1_p30.tif`, `s2_1/…_s2_1_p30.tif`, `lc_1/…_lc_1_p30.tif` of seasons 1158_spring,
1868_summer, 1970_fall and 2017_winter. s1: VV and VH, sigma nought in dB; s2: 13 bands, top-of-atmosphere reflectance times
10,000; lc: IGBP, LCCS land cover, LCCS land use and LCCS surface hydrology of MCD12Q1 of 2016. Images of a scene overlap by half.

Split: the lists of github.com/schmitt-muc/SEN12MS, `train_list.txt`, `test_list.txt` and, if there, `val_list.txt` in the root;
without them by scene as those were made: test those of `SEN12MS_holdOutScenes.txt`, validation those of `ValidationScenes.txt`
(`train_list.txt` holds them too), train all others. The lists that the publisher pickled are not read: the texts say the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from lulc.datasets import igbp
from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.files import label_of, read_mask, read_sample_bands, walk
from lulc.errors import InputError
from lulc.legend import NODATA
from lulc.tables.encoding import Encoding

_S2 = (
    "coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078", "nir", "nir08", "nir09", "cirrus", "swir16",
    "swir22",
)  # fmt: skip
_S1 = ("vv", "vh")
_SENSORS: dict[str, dict[str, tuple[str, ...]]] = {
    "s2": {"s2": _S2},
    "s1": {"s1": _S1},
    "both": {"s2": _S2, "s1": _S1},
}
# Option: the scheme, its band of lc, and what that band's codes become.
_SCHEMES = {
    "igbp": (igbp.IGBP, 1, {i: i for i in igbp.IGBP.legend.ids}),
    "simple": (igbp.SIMPLE, 1, dict(igbp.TO_SIMPLE)),
    "land_cover": (igbp.LAND_COVER, 2, {i: i for i in igbp.LAND_COVER.legend.ids}),
    "land_use": (igbp.LAND_USE, 3, {i: i for i in igbp.LAND_USE.legend.ids}),
    "surface_hydrology": (
        igbp.SURFACE_HYDROLOGY,
        4,
        {i: i for i in igbp.SURFACE_HYDROLOGY.legend.ids},
    ),
}
_NAME = re.compile(r"(ROIs\d+_[a-z]+)_(s1|s2|lc)_(\d+)_(p\d+)")
_Key = tuple[str, str, str]  # season, scene, patch
_HELD_OUT = {
    "ROIs1158_spring": "15 17 63 97 124 146",
    "ROIs1868_summer": "15 19 43 72 79 104 131",
    "ROIs1970_fall": "30 35 39 47 61 120 141 144",
    "ROIs2017_winter": "32 64 107 135 146",
}
_VALIDATION = {
    "ROIs1158_spring": "44 45 77 112 113 117",
    "ROIs1868_summer": "26 36 55 73 89 113",
    "ROIs1970_fall": "1 3 14 20 57 62 93 130 142",
    "ROIs2017_winter": "69 77 103 144",
}
_SCENES = {
    (season, scene): split
    for split, seasons in (("test", _HELD_OUT), ("validation", _VALIDATION))
    for season, scenes in seasons.items()
    for scene in scenes.split()
}


def _describe(options: Options) -> Description:
    scheme = _SCHEMES[options["classes"]][0]
    bands = tuple(band for sensor in _SENSORS[options["sensors"]].values() for band in sensor)
    kind = "uint16" if options["sensors"] == "s2" else "float32"
    encoding = Encoding(
        bands, kind, tuple(1.0 if band in _S1 else 1e-4 for band in bands), (0.0,) * len(bands)
    )
    return Description("segment", scheme.legend, encoding, 10.0, common=scheme.common)


def _items(root: Path, options: Options) -> Iterator[ExampleItem]:
    kinds = (*_SENSORS[options["sensors"]], "lc")
    found: dict[_Key, dict[str, str]] = {}
    for file in walk(root, (".tif",)):
        if match := _NAME.fullmatch(PurePosixPath(file).stem):
            season, kind, scene, patch = match.groups()
            found.setdefault((season, scene, patch), {})[kind] = file
    lists, scenes = _lists(root), _scenes(root)
    # What a list names and the archive lacks is an item that cannot be read, unless none of its season was fetched.
    seasons = {season for season, _, _ in found}
    for key in dict.fromkeys([*found, *(key for key in lists if key[0] in seasons)]):
        season, scene, patch = key
        there = found.get(key, {})
        files = tuple(
            there.get(k, f"{season}/{k}_{scene}/{season}_{k}_{scene}_{patch}.tif") for k in kinds
        )
        split = lists.get(key, "") if lists else scenes.get((season, scene), "train")
        yield ExampleItem(f"{season}_{scene}_{patch}", files, (), split, f"{season}/{scene}")


def _lists(root: Path) -> dict[_Key, str]:
    lists = {
        split: root / name
        for split, name in (("train", "train_list.txt"), ("test", "test_list.txt"))
    }
    lost = [file.name for file in lists.values() if not file.is_file()]
    if len(lost) == 1:
        raise InputError(f"{root} lacks {lost[0]}: fetch both lists of the split, or none")
    if lost:
        return {}
    more = root / "val_list.txt"
    found = {}
    # Those of validation stand in the list of training too: the last one counts.
    for split, file in (*lists.items(), *([("validation", more)] if more.is_file() else [])):
        for line in file.read_text().split():
            match = _NAME.fullmatch(PurePosixPath(line).stem)
            if match is None:
                raise InputError(
                    f"{file} names {line!r}: names such as ROIs1158_spring_s2_1_p30.tif are due; fetch it anew"
                )
            found[match[1], match[3], match[4]] = split
    return found


def _scenes(root: Path) -> dict[tuple[str, str], str]:
    file = root / "SEN12MS_holdOutScenes.txt"
    if not file.is_file():
        return _SCENES
    held = re.findall(r"(ROIs\d+_[a-z]+)/s[12]_(\d+)", file.read_text())
    return {
        **{scene: split for scene, split in _SCENES.items() if split != "test"},
        **dict.fromkeys(held, "test"),
    }


def _read(root: Path, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    sensors = _SENSORS[options["sensors"]]
    places = [
        (file, sensor.index(band) + 1)
        for band in bands
        for file, sensor in zip(item.files, sensors.values(), strict=False)
        if band in sensor
    ]
    pixels, valid, grid = read_sample_bands(root, places)
    _, index, ids = _SCHEMES[options["classes"]]
    codes = read_mask(root, item.files[-1], valid.shape, index)
    return Example(
        pixels[None],
        valid[None],
        label_of(codes, {**ids, 255: NODATA}, str(root / item.files[-1])),
        grid,
    )


SEN12MS = Dataset(
    "sen12ms",
    "SEN12MS (Schmitt et al. 2019, doi:10.5194/isprs-annals-IV-2-W7-153-2019), CC-BY-4.0",
    {"sensors": ("s2", "s1", "both"), "classes": tuple(_SCHEMES)},
    _describe,
    _items,
    _read,
)
