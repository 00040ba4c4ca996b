"""The two nomenclatures of BigEarthNet: their classes, legends, and the CORINE codes of each class.

Order of the classes and what 43 become of 19: `label_indices.json` of
git.tu-berlin.de/rsim/BigEarthNet-S2_19-classes_models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lulc.datasets import corine
from lulc.datasets.descriptions import Scheme, numbered_scheme

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
# The 43 are those of CORINE without glaciers (335), two of them under an older name.
_OLDER_NAMES = {321: "Natural grassland", 412: "Peatbogs"}
_FORTY_THREE = {
    _OLDER_NAMES.get(code, corine.name_of(code)): (code,) for code in corine.CODES if code != 335
}


@dataclass(frozen=True)
class Nomenclature(Scheme):
    """A scheme whose ids are positions in the publisher's order, with CORINE code → id."""

    ids: Mapping[int, int]

    @property
    def names(self) -> dict[str, int]:
        """Name of each class → its id."""
        return {c.name: c.id for c in self.legend.classes}


def _nomenclature(members: Mapping[str, tuple[int, ...]]) -> Nomenclature:
    # A class has the colour and the counterpart of the first code that it holds.
    scheme = numbered_scheme(
        f"bigearthnet-{len(members)}",
        [
            (name, corine.colour_of(codes[0]), corine.common_of(codes[0]))
            for name, codes in members.items()
        ],
    )
    ids = {code: i for i, codes in enumerate(members.values()) for code in codes}
    return Nomenclature(scheme.legend, scheme.common, ids)


NOMENCLATURES = {"19": _nomenclature(_NINETEEN), "43": _nomenclature(_FORTY_THREE)}
CODE_OF = {name: codes[0] for name, codes in _FORTY_THREE.items()}
"""Name of each of the 43 classes, as the JSON files of version 1 give it → its CORINE code."""
