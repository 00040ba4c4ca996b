"""What the known quality layers say of a pixel: conditions of `archive.mask` → the tests that a usable pixel passes."""

from __future__ import annotations

from collections.abc import Collection

from lulc.config import Condition
from lulc.sources.scene import Clear

# Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD) 14.9, table of the Scene Classification Layer. The rest: 2 dark
# area or cast shadow of terrain, 4 vegetation, 5 not vegetated, 7 unclassified. 0 is no data.
_SCL: dict[Condition, tuple[int, ...]] = {
    "saturated": (1,), "shadow": (3,), "water": (6,), "cloud": (8, 9), "cirrus": (10,), "snow": (11,),
}  # fmt: skip

# Landsat 8-9 Collection 2 Level 2 Science Product Guide (LSDS-1619) and Landsat 4-7 (LSDS-1618), pixel quality assessment:
# one bit a condition; 0 fill, 1 dilated cloud, 2 cirrus (8-9 alone), 3 cloud, 4 cloud shadow, 5 snow, 6 clear, 7 water.
_QA_PIXEL: dict[Condition, tuple[int, ...]] = {
    "cloud": (1, 3),
    "cirrus": (2,),
    "shadow": (4,),
    "snow": (5,),
    "water": (7,),
}


def scl_tests(mask: Collection[Condition]) -> tuple[Clear, ...]:
    """What Sentinel-2's scene classification, as band `quality`, must say of a usable pixel: neither no data nor a condition."""
    codes = {0} | {code for condition in mask for code in _SCL[condition]}
    return (Clear("quality", tuple(sorted(codes)), refused=True),)


def qa_pixel_tests(mask: Collection[Condition]) -> tuple[Clear, ...]:
    """What Landsat Collection 2's QA_PIXEL, as band `quality`, must say of a usable pixel: neither fill nor a condition.

    Saturation is not in it: QA_RADSAT holds that, a band at a time.
    """
    bits = {0} | {bit for condition in mask for bit in _QA_PIXEL.get(condition, ())}
    return tuple(Clear("quality", (0,), first_bit=bit, bits=1) for bit in sorted(bits))


# Radiometric saturation (QA_RADSAT), same guides: bits 0-6 are bands 1-7, where ETM+ has its low-gain thermal band at 5 and its
# high-gain one at 8; OLI's cirrus band is bit 8. No pixel is there at all with bit 9 (TM, ETM+: the detector has no value) and
# bit 11 (OLI: the ground is hidden by terrain). The panchromatic band and TIRS have none.
_RADSAT = {str(band): band - 1 for band in range(1, 8)} | {
    "9": 8,
    "6_VCID_1": 5,
    "6_VCID_2": 8,
    "ST_B6": 5,
}
_UNSEEN = (9, 11)


def qa_radsat_tests(bands: Collection[str]) -> tuple[Clear, ...]:
    """What Landsat Collection 2's QA_RADSAT, as band `saturation`, must say: seen, and none of these bands saturated.

    bands: their names in the MTL; saturation of others does not count.
    """
    bits = {*_UNSEEN} | {_RADSAT[band] for band in bands if band in _RADSAT}
    return tuple(Clear("saturation", (0,), first_bit=bit, bits=1) for bit in sorted(bits))


def bqa_tests(mask: Collection[Condition], cirrus: bool) -> tuple[Clear, ...]:
    """What Landsat Collection 1's BQA, as band `quality`, must say of a usable pixel: neither fill nor unseen nor a condition.

    Saturation is of any band: BQA counts them, without saying which. cirrus: whether the sensor sees it (OLI).
    Bits: Landsat Collection 1 Level 1 Product Definition (LSDS-1656), quality assessment band. Confidences are high at 3.
    """
    tests = [
        Clear("quality", (0,), first_bit=0, bits=1),
        Clear("quality", (0,), first_bit=1, bits=1),
    ]
    if "saturated" in mask:
        tests.append(Clear("quality", (0,), first_bit=2, bits=2))
    if "cloud" in mask:
        tests.append(Clear("quality", (0,), first_bit=4, bits=1))
    confidences: tuple[tuple[Condition, int], ...] = (
        ("shadow", 7),
        ("snow", 9),
        *((("cirrus", 11),) if cirrus else ()),
    )
    tests += [
        Clear("quality", (3,), refused=True, first_bit=bit, bits=2)
        for name, bit in confidences
        if name in mask
    ]
    return tuple(tests)


# MODIS surface reflectance state (MOD09 User's Guide, collection 6.1; each file's own QA index says the same): condition → first
# bit, how many, and the values that are usable. Cloud: clear, or not set and taken to be clear; mixed is cloud. Water: shores and
# ephemeral water are land.
_STATE: dict[Condition, tuple[tuple[int, int, tuple[int, ...]], ...]] = {
    "cloud": ((0, 2, (0, 3)),), "shadow": ((2, 1, (0,)),), "water": ((3, 3, (1, 2, 4)),), "cirrus": ((8, 2, (0,)),),
    "snow": ((12, 1, (0,)), (15, 1, (0,))),
}  # fmt: skip


def modis_state_tests(mask: Collection[Condition]) -> tuple[Clear, ...]:
    """What the state layer of MODIS surface reflectance (MOD09, MYD09), as band `quality`, must say: no condition of mask."""
    fields = sorted(field for condition in mask for field in _STATE.get(condition, ()))
    return tuple(Clear("quality", codes, first_bit=bit, bits=bits) for bit, bits, codes in fields)


def modis_reliability_tests(mask: Collection[Condition]) -> tuple[Clear, ...]:
    """What the pixel reliability of MODIS vegetation indices (MOD13, MYD13), as band `quality`, must say: good or marginal.

    MOD13 User's Guide, collection 6.1, pixel reliability: -1 no data, 0 good, 1 marginal, 2 snow or ice, 3 cloudy.
    """
    codes = tuple(
        code
        for code, condition in ((0, None), (1, None), (2, "snow"), (3, "cloud"))
        if condition not in mask
    )
    return (Clear("quality", codes),)
