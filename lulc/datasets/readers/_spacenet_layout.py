"""Where SpaceNet keeps images and labels, and what their names have in common; sources are in `lulc.datasets.spacenet`."""

from __future__ import annotations

import re
from collections.abc import Mapping

_RGB = ("red", "green", "blue")
_WORLDVIEW = ("coastal", "blue", "green", "yellow", "red", "rededge", "nir", "nir09")
Kind = tuple[Mapping[str, tuple[str, ...]], float]
"""The bands in each folder that may hold images of a kind, the first before others, and their metres a pixel."""
_CITIES: Mapping[str, Kind] = {
    "rgb": ({"PS-RGB": _RGB, "RGB-PanSharpen": _RGB}, 0.3),
    "ps-ms": ({"PS-MS": _WORLDVIEW, "MUL-PanSharpen": _WORLDVIEW}, 0.3),
    "ms": ({"MS": _WORLDVIEW, "MUL": _WORLDVIEW}, 1.24),
    "pan": ({"PAN": ("pan",)}, 0.3),
}
_RGBNIR = (*_RGB, "nir")
IMAGES: Mapping[str, Mapping[str, Kind]] = {
    # 200 m are 438 and 110 pixels.
    "1": {"rgb": ({"3band": _RGB}, 0.46), "ms": ({"8band": _WORLDVIEW}, 1.8)},
    "2": _CITIES,
    "3": _CITIES,
    "4": {
        "rgb": ({"Pan-Sharpen": ("blue", "green", "red", "nir"), "PS-RGBNIR": _RGBNIR}, 0.5),
        "ms": ({"MS": _WORLDVIEW}, 2.0),
        "pan": ({"PAN": ("pan",)}, 0.5),
    },
    "5": _CITIES,
    "6": {
        "rgb": ({"PS-RGB": _RGB}, 0.5),
        "ps-ms": ({"PS-RGBNIR": _RGBNIR}, 0.5),
        "ms": ({"RGBNIR": _RGBNIR}, 2.0),
        "pan": ({"PAN": ("pan",)}, 0.5),
        "sar": ({"SAR-Intensity": ("hh", "hv", "vh", "vv")}, 0.5),
    },
    "7": {"rgb": ({"images_masked": _RGB, "images": _RGB}, 4.0)},
}
"""Challenge → kind of images → where they are."""
_BUILDINGS = ("geojson_buildings", "buildings")
ROADS = ("geojson_roads", "geojson_roads_speed", "spacenetroads")
LABELS = {
    "1": ("geojson", "geojson_buildings"), "2": _BUILDINGS, "3": ROADS, "4": ("spacenet-buildings", "geojson_buildings"),
    "5": ROADS, "6": _BUILDINGS, "7": ("labels_match", "labels"),
}  # fmt: skip
"""Challenge → folders that may hold its labels, the first before others; those of roads are `ROADS`."""
_CITY_CHIP = re.compile(r"(img\d+)$")
ENDS = {
    "1": _CITY_CHIP, "2": _CITY_CHIP, "3": _CITY_CHIP, "4": re.compile(r"(\d+_\d+)$"), "5": re.compile(r"(chip\d+)$"),
    "6": re.compile(r"(\d{14}_\d{14}_tile_\d+)$"), "7": re.compile(r"(global_monthly_\d{4}_\d{2}_mosaic_.+?)(_Buildings)?$"),
}  # fmt: skip
"""Challenge → the end that the names of an image and of its label share."""
