"""The two nomenclatures of BigEarthNet: their classes by name, their legends, and the CORINE codes that each class holds.

Order of the classes and what 43 become of 19: `label_indices.json` of git.tu-berlin.de/rsim/BigEarthNet-S2_19-classes_models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lulc.datasets import corine
from lulc.legend import LandClass, Legend

# Other codes (roads, rock, …) are in none of the 19.
_NINETEEN: dict[str, tuple[int, ...]] = {
    "Urban fabric": (111, 112),
    "Industrial or commercial units": (121,),
    "Arable land": (211, 212, 213),
    "Permanent crops": (221, 222, 223, 241),
    "Pastures": (231,),
    "Complex cultivation patterns": (242,),
    "Land principally occupied by agriculture, with significant areas of natural vegetation": (
        243,
    ),
    "Agro-forestry areas": (244,),
    "Broad-leaved forest": (311,),
    "Coniferous forest": (312,),
    "Mixed forest": (313,),
    "Natural grassland and sparsely vegetated areas": (321, 333),
    "Moors, heathland and sclerophyllous vegetation": (322, 323),
    "Transitional woodland, shrub": (324,),
    "Beaches, dunes, sands": (331,),
    "Inland wetlands": (411, 412),
    "Coastal wetlands": (421, 422),
    "Inland waters": (511, 512),
    "Marine waters": (521, 522, 523),
}
# The 43 are those of CORINE but glaciers, two of them under an older name.
_OLDER = {321: "Natural grassland", 412: "Peatbogs"}


@dataclass(frozen=True)
class Nomenclature:
    """A legend, whose ids are places in the publisher's order, its map to the common one, and CORINE code → id."""

    legend: Legend
    common: Mapping[int, int]
    ids: Mapping[int, int]

    @property
    def names(self) -> dict[str, int]:
        """Name of each class → its id."""
        return {c.name: c.id for c in self.legend.classes}


def _nomenclature(members: Mapping[str, tuple[int, ...]]) -> Nomenclature:
    # A class has the colour and the counterpart of the first code that it holds.
    classes = tuple(
        LandClass(i, name, corine.colour_of(codes[0]))
        for i, (name, codes) in enumerate(members.items())
    )
    common = {
        i: found
        for i, codes in enumerate(members.values())
        if (found := corine.common_of(codes[0])) is not None
    }
    ids = {code: i for i, codes in enumerate(members.values()) for code in codes}
    return Nomenclature(Legend(f"bigearthnet-{len(members)}", classes), common, ids)


NOMENCLATURES = {
    "19": _nomenclature(_NINETEEN),
    "43": _nomenclature(
        {_OLDER.get(code, corine.name_of(code)): (code,) for code in corine.CODES if code != 335}
    ),
}
CODE_OF = {
    NOMENCLATURES["43"].legend.classes[i].name: code for code, i in NOMENCLATURES["43"].ids.items()
}
"""Name of each of the 43 classes, as the JSON files of version 1 give it → its CORINE code."""
