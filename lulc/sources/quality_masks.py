"""How quality layers mask a scene: conditions of `archive.mask` → tests that valid pixels pass."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from lulc.config import Archive, Condition
from lulc.errors import InputError
from lulc.sources.scene import Clear

_CODED = re.compile(
    r"(^|[_. ])(scl|bqa|fmask|qa_pixel|qa_radsat|qa_aerosol|cloud_qa|state(_\w+)?|reliability)"
    r"([_.]|$)",
    re.IGNORECASE,
)
"""Names of layers whose codes, or bits, say what a pixel is."""
_REMEDY = "set scenes.unmasked: allow to use such scenes, which are then marked"


class NoQualityLayerError(InputError):
    """A scene lacks a quality layer that the run file asks for."""

    def __init__(self, reason: str, conditions: Collection[Condition]) -> None:
        super().__init__(f"{reason}, or {_REMEDY}")
        self.conditions = conditions
        """The conditions that the layer shows."""


@dataclass(frozen=True)
class QualityLayer:
    """A quality layer of a product."""

    name: str
    """Name of its band in the scene, such as `quality`."""
    file: str
    """The product's file, or layer in its file, that holds it."""
    index: int = 1
    """Band number in the file, from 1."""


@dataclass(frozen=True)
class QualityMask:
    """How a product's quality layers mask a scene."""

    layers: tuple[QualityLayer, ...] = ()
    tests: tuple[Clear, ...] = ()
    unmasked: tuple[Condition, ...] = ()
    """The conditions of `archive.mask` that no layer of the product shows."""


def quality_tests(archive: Archive) -> tuple[Clear, ...]:
    """Return the tests of band `quality` where the run file names the quality layer.

    Where the run file gives no codes, 0 fails: it is no data in every scheme in use.

    Raises:
        InputError: the layer is one of codes, in which clouds are not 0, and none are given.
    """
    if archive.clear:
        return (Clear("quality", archive.clear),)
    if archive.quality and _CODED.search(archive.quality):
        raise InputError(
            f"scenes.quality {archive.quality!r} holds codes: give scenes.clear, its codes that "
            "are valid, or leave both out where scenes.mask says what is masked"
        )
    return (Clear("quality", (0,), refused=True),)


# Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD) 14.9, table of the Scene
# Classification Layer. The other codes: 2 dark area or cast shadow of terrain, 4 vegetation,
# 5 not vegetated, 7 unclassified. 0 is no data.
_SCL: dict[Condition, tuple[int, ...]] = {
    "saturated": (1,),
    "shadow": (3,),
    "water": (6,),
    "cloud": (8, 9),
    "cirrus": (10,),
    "snow": (11,),
}

# Landsat 8-9 Collection 2 Level 2 Science Product Guide (LSDS-1619) and Landsat 4-7 (LSDS-1618),
# pixel quality assessment: one bit a condition; 0 fill, 1 dilated cloud, 2 cirrus (8-9 alone),
# 3 cloud, 4 cloud shadow, 5 snow, 6 clear, 7 water.
_QA_PIXEL: dict[Condition, tuple[int, ...]] = {
    "cloud": (1, 3),
    "cirrus": (2,),
    "shadow": (4,),
    "snow": (5,),
    "water": (7,),
}


def scl_tests(mask: Collection[Condition]) -> tuple[Clear, ...]:
    """Return the tests of Sentinel-2's scene classification as band `quality`.

    Returns:
        One test that refuses no data and the codes of the conditions.
    """
    codes = {0} | {code for condition in mask for code in _SCL[condition]}
    return (Clear("quality", tuple(sorted(codes)), refused=True),)


def qa_pixel_tests(mask: Collection[Condition]) -> tuple[Clear, ...]:
    """Return the tests of Landsat Collection 2's QA_PIXEL as band `quality`.

    Saturation is not in it: QA_RADSAT has that, per band.

    Returns:
        A test for the fill bit and for each bit of the conditions.
    """
    bits = {0} | {bit for condition in mask for bit in _QA_PIXEL.get(condition, ())}
    return tuple(Clear("quality", (0,), first_bit=bit, bits=1) for bit in sorted(bits))


# Radiometric saturation (QA_RADSAT), same guides: bits 0-6 are bands 1-7, where ETM+ has its
# low-gain thermal band at 5 and its high-gain one at 8; OLI's cirrus band is bit 8. The pixel has
# no measurement with bit 9 (TM, ETM+: the detector has no value) and bit 11 (OLI: the ground is
# hidden by terrain). The panchromatic band and TIRS have none.
_RADSAT = {str(band): band - 1 for band in range(1, 8)}
_RADSAT |= {"9": 8, "6_VCID_1": 5, "6_VCID_2": 8, "ST_B6": 5}
_RADSAT_NO_MEASUREMENT = (9, 11)


def qa_radsat_tests(bands: Collection[str]) -> tuple[Clear, ...]:
    """Return the tests of Landsat Collection 2's QA_RADSAT as band `saturation`.

    Args:
        bands: The scene's bands by their names in the MTL; others may be saturated.

    Returns:
        A test for each of the bands' bits and for pixels without a measurement.
    """
    bits = {*_RADSAT_NO_MEASUREMENT} | {_RADSAT[band] for band in bands if band in _RADSAT}
    return tuple(Clear("saturation", (0,), first_bit=bit, bits=1) for bit in sorted(bits))


def bqa_tests(mask: Collection[Condition], cirrus: bool) -> tuple[Clear, ...]:
    """Return the tests of Landsat Collection 1's BQA as band `quality`.

    Saturation is of any band: BQA counts them, without saying which.
    Bits: Landsat Collection 1 Level 1 Product Definition (LSDS-1656), quality assessment band.
    Confidences are high at 3.

    Args:
        mask: The conditions to mask.
        cirrus: Whether the sensor (OLI) has a cirrus band.

    Returns:
        Tests for fill, for pixels without a measurement, and for the conditions.
    """
    tests = [
        Clear("quality", (0,), first_bit=0, bits=1),
        Clear("quality", (0,), first_bit=1, bits=1),
    ]
    if "saturated" in mask:
        tests.append(Clear("quality", (0,), first_bit=2, bits=2))
    if "cloud" in mask:
        tests.append(Clear("quality", (0,), first_bit=4, bits=1))
    confidences: dict[Condition, int] = {"shadow": 7, "snow": 9}
    if cirrus:
        confidences["cirrus"] = 11
    tests += [
        Clear("quality", (3,), refused=True, first_bit=bit, bits=2)
        for condition, bit in confidences.items()
        if condition in mask
    ]
    return tuple(tests)


# MODIS surface reflectance state (MOD09 User's Guide, collection 6.1; each file's own QA index says
# the same): condition → first bit, number of bits, and the values that are valid. Cloud: clear, or
# not set and assumed to be clear; mixed is cloud. Water: shores and ephemeral water are land.
_STATE: dict[Condition, tuple[tuple[int, int, tuple[int, ...]], ...]] = {
    "cloud": ((0, 2, (0, 3)),),
    "shadow": ((2, 1, (0,)),),
    "water": ((3, 3, (1, 2, 4)),),
    "cirrus": ((8, 2, (0,)),),
    "snow": ((12, 1, (0,)), (15, 1, (0,))),
}


def modis_state_tests(mask: Collection[Condition]) -> tuple[Clear, ...]:
    """Return the tests of MODIS' surface reflectance state (MOD09, MYD09) as band `quality`.

    Returns:
        A test for each bit field of the conditions.
    """
    fields = sorted(field for condition in mask for field in _STATE.get(condition, ()))
    return tuple(
        Clear("quality", codes, first_bit=first_bit, bits=bits) for first_bit, bits, codes in fields
    )


def modis_reliability_tests(mask: Collection[Condition]) -> tuple[Clear, ...]:
    """Return the tests of MODIS' pixel reliability (MOD13, MYD13) as band `quality`.

    MOD13 User's Guide, collection 6.1, pixel reliability: -1 no data, 0 good, 1 marginal, 2 snow or
    ice, 3 cloudy.

    Returns:
        One test: good, marginal, or a condition that is not masked.
    """
    codes = [0, 1]
    codes += [2] if "snow" not in mask else []
    codes += [3] if "cloud" not in mask else []
    return (Clear("quality", tuple(codes)),)
