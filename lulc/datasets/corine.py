"""CORINE Land Cover: its 44 classes and their two coarser levels as legends, and their common ids.

Codes and names of Kosztra et al. 2019, "Updated CLC illustrated nomenclature guidelines"; colours
of the legend delivered with CLC2018. An id of level 3 is a class's position in the nomenclature,
1 to 44, as in the CLC rasters: its code of three digits does not fit a byte. Ids of levels 1 and 2
are the codes. A coarser class has the colour of its first class of level 3.
"""

from __future__ import annotations

from collections.abc import Mapping

from lulc.legend import LandClass, Legend

# Code: name, colour, id in the common legend (a burnt area may be any).
_CLASSES: dict[int, tuple[str, str, int | None]] = {
    111: ("Continuous urban fabric", "#e6004d", 6),
    112: ("Discontinuous urban fabric", "#ff0000", 6),
    121: ("Industrial or commercial units", "#cc4df2", 6),
    122: ("Road and rail networks and associated land", "#cc0000", 6),
    123: ("Port areas", "#e6cccc", 6),
    124: ("Airports", "#e6cce6", 6),
    131: ("Mineral extraction sites", "#a600cc", 7),
    132: ("Dump sites", "#a64d00", 7),
    133: ("Construction sites", "#ff4dff", 7),
    141: ("Green urban areas", "#ffa6ff", 2),
    142: ("Sport and leisure facilities", "#ffe6ff", 2),
    211: ("Non-irrigated arable land", "#ffffa8", 4),
    212: ("Permanently irrigated land", "#ffff00", 4),
    213: ("Rice fields", "#e6e600", 4),
    221: ("Vineyards", "#e68000", 4),
    222: ("Fruit trees and berry plantations", "#f2a64d", 4),
    223: ("Olive groves", "#e6a600", 4),
    231: ("Pastures", "#e6e64d", 2),
    241: ("Annual crops associated with permanent crops", "#ffe6a6", 4),
    242: ("Complex cultivation patterns", "#ffe64d", 4),
    243: (
        "Land principally occupied by agriculture, with significant areas of natural vegetation",
        "#e6cc4d",
        4,
    ),
    244: ("Agro-forestry areas", "#f2cca6", 4),
    311: ("Broad-leaved forest", "#80ff00", 1),
    312: ("Coniferous forest", "#00a600", 1),
    313: ("Mixed forest", "#4dff00", 1),
    321: ("Natural grasslands", "#ccf24d", 2),
    322: ("Moors and heathland", "#a6ff80", 5),
    323: ("Sclerophyllous vegetation", "#a6e64d", 5),
    324: ("Transitional woodland/shrub", "#a6f200", 5),
    331: ("Beaches, dunes, sands", "#e6e6e6", 7),
    332: ("Bare rock", "#cccccc", 7),
    333: ("Sparsely vegetated areas", "#ccffcc", 7),
    334: ("Burnt areas", "#000000", None),
    335: ("Glaciers and perpetual snow", "#a6e6cc", 8),
    411: ("Inland marshes", "#a6a6ff", 3),
    412: ("Peat bogs", "#4d4dff", 3),
    421: ("Salt marshes", "#ccccff", 3),
    422: ("Salines", "#e6e6ff", 0),
    423: ("Intertidal flats", "#a6a6e6", 7),
    511: ("Water courses", "#00ccf2", 0),
    512: ("Water bodies", "#80f2e6", 0),
    521: ("Coastal lagoons", "#00ffa6", 0),
    522: ("Estuaries", "#a6ffe6", 0),
    523: ("Sea and ocean", "#e6f2ff", 0),
}
# Code: name, id in the common legend (3 is anything from forest to glacier).
_COARSER: dict[int, tuple[str, int | None]] = {
    1: ("Artificial surfaces", 6),
    2: ("Agricultural areas", 4),
    3: ("Forest and semi-natural areas", None),
    4: ("Wetlands", 3),
    5: ("Water bodies", 0),
    11: ("Urban fabric", 6),
    12: ("Industrial, commercial and transport units", 6),
    13: ("Mine, dump and construction sites", 7),
    14: ("Artificial, non-agricultural vegetated areas", 2),
    21: ("Arable land", 4),
    22: ("Permanent crops", 4),
    23: ("Pastures", 2),
    24: ("Heterogeneous agricultural areas", 4),
    31: ("Forests", 1),
    32: ("Scrub and/or herbaceous vegetation associations", 5),
    33: ("Open spaces with little or no vegetation", 7),
    41: ("Inland wetlands", 3),
    42: ("Maritime wetlands", 3),
    51: ("Inland waters", 0),
    52: ("Marine waters", 0),
}

CODES = tuple(_CLASSES)
"""The codes of level 3 in order."""


def id_at(code: int, level: int = 3) -> int:
    """Return the id that a class of level 3 has in the legend of a level (1 to 3)."""
    return CODES.index(code) + 1 if level == 3 else code // 10 ** (3 - level)


def name_of(code: int) -> str:
    """Return the name of a class of level 3."""
    return _CLASSES[code][0]


def colour_of(code: int) -> str:
    """Return the colour of a class of level 3 as `#rrggbb`."""
    return _CLASSES[code][1]


def common_of(code: int) -> int | None:
    """Return the id in `lulc.legend.COMMON` of a class of level 3.

    Returns:
        None where the class has no counterpart.
    """
    return _CLASSES[code][2]


def _coarser_legend(level: int) -> Legend:
    colours: dict[int, str] = {}
    for code in CODES:
        colours.setdefault(id_at(code, level), colour_of(code))
    classes = tuple(LandClass(i, _COARSER[i][0], colour) for i, colour in colours.items())
    return Legend(f"corine{level}", classes)


def _coarser_common(legend: Legend) -> dict[int, int]:
    return {i: common for i in legend.ids if (common := _COARSER[i][1]) is not None}


LEGENDS: Mapping[int, Legend] = {
    1: _coarser_legend(1),
    2: _coarser_legend(2),
    3: Legend(
        "corine3", tuple(LandClass(id_at(code), name_of(code), colour_of(code)) for code in CODES)
    ),
}
"""The legend of each level, 1 to 3."""
COMMON: Mapping[int, Mapping[int, int]] = {
    3: {id_at(code): common for code in CODES if (common := common_of(code)) is not None},
    1: _coarser_common(LEGENDS[1]),
    2: _coarser_common(LEGENDS[2]),
}
"""Level → id → id of `lulc.legend.COMMON`; classes without a counterpart there are left out."""
