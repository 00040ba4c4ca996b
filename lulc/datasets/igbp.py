"""The land cover schemes of MODIS (MCD12Q1) as legends, and their common ids.

Codes and names of Sulla-Menashe and Friedl 2018, "User guide to collection 6 MODIS land cover
(MCD12Q1 and MCD12C1) product"; colours of the product's page in the Earth Engine catalogue
(MODIS/061/MCD12Q1). Code 255 is unclassified. `SIMPLE` is the scheme of ten classes of Schmitt and
Wu 2021, doi:10.5194/isprs-annals-V-2-2021-101-2021, and of the IEEE GRSS contest of 2020.
"""

from __future__ import annotations

from collections.abc import Mapping

from lulc.datasets.descriptions import Scheme
from lulc.legend import LandClass, Legend


def _scheme(name: str, classes: Mapping[int, tuple[str, str, int]]) -> Scheme:
    # Code: name, colour, id in the common legend.
    rows = classes.items()
    legend = Legend(
        name, tuple(LandClass(code, title, colour) for code, (title, colour, _) in rows)
    )
    return Scheme(legend, {code: common for code, (_, _, common) in rows})


IGBP = _scheme(
    "igbp",
    {
        1: ("Evergreen needleleaf forests", "#05450a", 1),
        2: ("Evergreen broadleaf forests", "#086a10", 1),
        3: ("Deciduous needleleaf forests", "#54a708", 1),
        4: ("Deciduous broadleaf forests", "#78d203", 1),
        5: ("Mixed forests", "#009900", 1),
        6: ("Closed shrublands", "#c6b044", 5),
        7: ("Open shrublands", "#dcd159", 5),
        8: ("Woody savannas", "#dade48", 5),
        9: ("Savannas", "#fbff13", 5),
        10: ("Grasslands", "#b6ff05", 2),
        11: ("Permanent wetlands", "#27ff87", 3),
        12: ("Croplands", "#c24f44", 4),
        13: ("Urban and built-up lands", "#a5a5a5", 6),
        14: ("Cropland/natural vegetation mosaics", "#ff6d4c", 4),
        15: ("Permanent snow and ice", "#69fff8", 8),
        16: ("Barren", "#f9ffa4", 7),
        17: ("Water bodies", "#1c0dff", 0),
    },
)
SIMPLE = _scheme(
    "igbp-simple",
    {
        1: ("Forest", "#009900", 1),
        2: ("Shrubland", "#c6b044", 5),
        3: ("Savanna", "#fbff13", 5),
        4: ("Grassland", "#b6ff05", 2),
        5: ("Wetlands", "#27ff87", 3),
        6: ("Croplands", "#c24f44", 4),
        7: ("Urban/built-up", "#a5a5a5", 6),
        8: ("Snow/ice", "#69fff8", 8),
        9: ("Barren", "#f9ffa4", 7),
        10: ("Water", "#1c0dff", 0),
    },
)
TO_SIMPLE: Mapping[int, int] = dict(
    enumerate((1, 1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 6, 8, 9, 10), 1)
)
"""Code of IGBP → id of SIMPLE."""
LAND_COVER = _scheme(
    "lccs-land-cover",
    {
        1: ("Barren", "#f9ffa4", 7),
        2: ("Permanent snow and ice", "#69fff8", 8),
        3: ("Water bodies", "#1c0dff", 0),
        11: ("Evergreen needleleaf forests", "#05450a", 1),
        12: ("Evergreen broadleaf forests", "#086a10", 1),
        13: ("Deciduous needleleaf forests", "#54a708", 1),
        14: ("Deciduous broadleaf forests", "#78d203", 1),
        15: ("Mixed broadleaf/needleleaf forests", "#005a00", 1),
        16: ("Mixed broadleaf evergreen/deciduous forests", "#009900", 1),
        21: ("Open forests", "#006c00", 1),
        22: ("Sparse forests", "#00d000", 5),
        31: ("Dense herbaceous", "#b6ff05", 2),
        32: ("Sparse herbaceous", "#98d604", 2),
        41: ("Dense shrublands", "#dcd159", 5),
        42: ("Shrubland/grassland mosaics", "#f1fb58", 5),
        43: ("Sparse shrublands", "#fbee65", 5),
    },
)
LAND_USE = _scheme(
    "lccs-land-use",
    {
        1: ("Barren", "#f9ffa4", 7),
        2: ("Permanent snow and ice", "#69fff8", 8),
        3: ("Water bodies", "#1c0dff", 0),
        9: ("Urban and built-up lands", "#a5a5a5", 6),
        10: ("Dense forests", "#003f00", 1),
        20: ("Open forests", "#006c00", 1),
        25: ("Forest/cropland mosaics", "#e3ff77", 4),
        30: ("Natural herbaceous", "#b6ff05", 2),
        35: ("Natural herbaceous/croplands mosaics", "#93ce04", 4),
        36: ("Herbaceous croplands", "#77a703", 4),
        40: ("Shrublands", "#dcd159", 5),
    },
)
SURFACE_HYDROLOGY = _scheme(
    "lccs-surface-hydrology",
    {
        1: ("Barren", "#f9ffa4", 7),
        2: ("Permanent snow and ice", "#69fff8", 8),
        3: ("Water bodies", "#1c0dff", 0),
        10: ("Dense forests", "#003f00", 1),
        20: ("Open forests", "#006c00", 1),
        27: ("Woody wetlands", "#72834a", 3),
        30: ("Grasslands", "#b6ff05", 2),
        40: ("Shrublands", "#c6b044", 5),
        50: ("Herbaceous wetlands", "#3aba73", 3),
        51: ("Tundra", "#1e9db3", 2),
    },
)
