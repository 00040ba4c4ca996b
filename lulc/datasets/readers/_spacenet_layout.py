"""The folders and file names of SpaceNet; their sources are in `lulc.datasets.readers.spacenet`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lulc.datasets.descriptions import RGB

ImageKind = tuple[Mapping[str, tuple[str, ...]], float]
"""The bands in each folder that may hold images of a kind, the first preferred, and their pixel
side in metres."""

_WORLDVIEW = ("coastal", "blue", "green", "yellow", "red", "rededge", "nir", "nir09")
_RGBNIR = (*RGB, "nir")
_CITY_IMAGES: Mapping[str, ImageKind] = {
    "rgb": ({"PS-RGB": RGB, "RGB-PanSharpen": RGB}, 0.3),
    "ps-ms": ({"PS-MS": _WORLDVIEW, "MUL-PanSharpen": _WORLDVIEW}, 0.3),
    "ms": ({"MS": _WORLDVIEW, "MUL": _WORLDVIEW}, 1.24),
    "pan": ({"PAN": ("pan",)}, 0.3),
}
IMAGE_KINDS: Mapping[str, Mapping[str, ImageKind]] = {
    # 200 m are 438 and 110 pixels.
    "1": {"rgb": ({"3band": RGB}, 0.46), "ms": ({"8band": _WORLDVIEW}, 1.8)},
    "2": _CITY_IMAGES,
    "3": _CITY_IMAGES,
    "4": {
        "rgb": ({"Pan-Sharpen": ("blue", "green", "red", "nir"), "PS-RGBNIR": _RGBNIR}, 0.5),
        "ms": ({"MS": _WORLDVIEW}, 2.0),
        "pan": ({"PAN": ("pan",)}, 0.5),
    },
    "5": _CITY_IMAGES,
    "6": {
        "rgb": ({"PS-RGB": RGB}, 0.5),
        "ps-ms": ({"PS-RGBNIR": _RGBNIR}, 0.5),
        "ms": ({"RGBNIR": _RGBNIR}, 2.0),
        "pan": ({"PAN": ("pan",)}, 0.5),
        "sar": ({"SAR-Intensity": ("hh", "hv", "vh", "vv")}, 0.5),
    },
    "7": {"rgb": ({"images_masked": RGB, "images": RGB}, 4.0)},
}
"""Challenge → kind of images → its folders and pixel side."""

_BUILDING_FOLDERS = ("geojson_buildings", "buildings")
ROAD_FOLDERS = ("geojson_roads", "geojson_roads_speed", "spacenetroads")
LABEL_FOLDERS = {
    "1": ("geojson", "geojson_buildings"),
    "2": _BUILDING_FOLDERS,
    "3": ROAD_FOLDERS,
    "4": ("spacenet-buildings", "geojson_buildings"),
    "5": ROAD_FOLDERS,
    "6": _BUILDING_FOLDERS,
    "7": ("labels_match", "labels"),
}
"""Challenge → folders that may hold its labels, the first preferred; roads have `ROAD_FOLDERS`."""

_CITY_CHIP = re.compile(r"(img\d+)$")
NAME_ENDS = {
    "1": _CITY_CHIP,
    "2": _CITY_CHIP,
    "3": _CITY_CHIP,
    "4": re.compile(r"(\d+_\d+)$"),
    "5": re.compile(r"(chip\d+)$"),
    "6": re.compile(r"(\d{14}_\d{14}_tile_\d+)$"),
    "7": re.compile(r"(global_monthly_\d{4}_\d{2}_mosaic_.+?)(_Buildings)?$"),
}
"""Challenge → the end that the names of an image and of its label share."""
