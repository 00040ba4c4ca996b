"""Which band each input channel of a weights file is of, and what numbers it was trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from lulc.datasets.descriptions import RGB, SENTINEL1_BANDS, SENTINEL2_BANDS
from lulc.errors import InputError, UsageError
from lulc.location import Location
from lulc.models.contract import read_contract
from lulc.models.package import CONTRACT
from lulc.yaml12 import parse_yaml

_SIDECARS = (".json", ".yaml", ".yml")


@dataclass(frozen=True)
class WeightBands:
    """The input channels of an encoder's weights."""

    bands: tuple[str, ...]
    """Band of each channel, by the names of a run file."""
    mean: tuple[float, ...] = ()
    """Physical value that the weights take for 0, one a channel; empty where it is not known."""
    std: tuple[float, ...] = ()
    """Physical value that is one unit more, one a channel; empty where it is not known."""
    origin: str = "red, green and blue by custom"
    """Where this is known from, for messages."""


_S2 = tuple(SENTINEL2_BANDS)
_S2_SURFACE = tuple(name for name in _S2 if name != "cirrus")
_S2_TEN = tuple(name for name in _S2_SURFACE if name not in ("coastal", "nir09"))
# 10 m before 20 m, those by code as texts: B11, B12, B8A.
_S2_BY_RESOLUTION = (
    "blue", "green", "red", "nir", "rededge071", "rededge075", "rededge078",
    "swir16", "swir22", "nir08",
)  # fmt: skip
_SATLAS = (
    "red", "green", "blue", "rededge071", "rededge075", "rededge078", "nir", "swir16", "swir22",
)  # fmt: skip
_TM = ("blue", "green", "red", "nir08", "swir16", "lwir", "swir22")
_ETM = ("blue", "green", "red", "nir08", "swir16", "lwir", "lwir_high_gain", "swir22", "pan")
_ETM_SURFACE = ("blue", "green", "red", "nir08", "swir16", "swir22")
_OLI_SURFACE = ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22")
_OLI_TIRS = (*_OLI_SURFACE, "pan", "cirrus", "lwir11", "lwir12")
_VV_VH = SENTINEL1_BANDS
_UNIT = (0.0, 1.0)
_S2_MEAN = (
    0.16129, 0.13976, 0.13223, 0.13731, 0.1561, 0.21084, 0.23907, 0.23187, 0.2581, 0.08377, 0.0022,
    0.21952, 0.15374,
)  # fmt: skip
_S2_STD = (
    0.0791, 0.08543, 0.08787, 0.11449, 0.11275, 0.11642, 0.1276, 0.12495, 0.13459, 0.05775, 0.00475,
    0.134, 0.11429,
)  # fmt: skip

# ESA's picture in true colour of level 1C has 255 where reflectance is 0.3558.
_TCI = (0.3558,) * 3


def _landsat(bands: Sequence[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    # What SSL4EO-L's authors brought to 0 and 1: reflectance of 0 and 0.4, -25 and 45 °C
    # (torchgeo, experiments/ssl4eo/landsat/compress_*_toa.sh).
    thermal = [band.startswith("lwir") for band in bands]
    mean = tuple(248.15 if hot else 0.0 for hot in thermal)
    return mean, tuple(70.0 if hot else 0.4 for hot in thermal)


# Family, the names of its files (folder and file, in small letters), bands, mean and std: one
# number for all, one a channel, or nothing where the input is no linear function of physical
# values or is not published. Sources: torchgeo, models resnet, swin and vit (weights of SSL4EO-S12
# and -L, DeCUR, SoftCon, SSL4Eco, Satlas; the files of SSL4EO-S12's authors are `B13_…` and
# `B2_…`); model cards of BIFOLD-BigEarthNetv2-0, whose order changed from 0.1.1 to 0.2.0.
_FAMILIES: tuple[tuple[str, str, tuple[str, ...], Any, Any], ...] = (
    ("SSL4Eco", r"ndvi_seco_eco", (*_S2[1:9], "ndvi"), *_UNIT),
    ("SSL4Eco", r"seco_eco", _S2_SURFACE, *_UNIT),
    ("SoftCon", r"(^|/)b13_\w*softcon", _S2, _S2_MEAN, _S2_STD),
    ("SSL4EO-S12", r"sentinel2_all|ssl4eo-s12_ms|(^|/)b13_", _S2, *_UNIT),
    ("CLOSP", r"closp-\w+_s2_encoder", _S2, *_UNIT),
    ("CLOSP", r"closp-\w+_s1_encoder", _VV_VH, None, None),
    # Trained on decibels, where samples may be linear: no mean and std.
    ("SSL4EO-S12", r"sentinel1_(all|grd)|ssl4eo-s12_sar|(^|/)b2_", _VV_VH, None, None),
    ("SSL4EO-L", r"landsat_tm_toa", _TM, *_landsat(_TM)),
    ("SSL4EO-L", r"landsat_etm_toa", _ETM, *_landsat(_ETM)),
    ("SSL4EO-L", r"landsat_etm_sr", _ETM_SURFACE, 0.0, 0.3),
    ("SSL4EO-L", r"landsat_oli_tirs_toa", _OLI_TIRS, *_landsat(_OLI_TIRS)),
    ("SSL4EO-L", r"landsat_oli_sr", _OLI_SURFACE, 0.0, 0.3),
    ("SatlasPretrain", r"sentinel2_\w+_[sm]i_ms", _SATLAS, 0.0, (*_TCI, *(0.816,) * 6)),
    ("SatlasPretrain", r"sentinel2_\w+_[sm]i_rgb", RGB, 0.0, _TCI),
    ("SatlasPretrain", r"sentinel1_\w+_[sm]i", ("vh", "vv"), None, None),
    ("SatlasPretrain", r"landsat_\w+_[sm]i", _OLI_TIRS, None, None),
    ("BigEarthNet v2, 0.1", r"-s1-v0\.1", ("vh", "vv"), None, None),
    ("BigEarthNet v2, 0.1", r"-s2-v0\.1", _S2_BY_RESOLUTION, None, None),
    ("BigEarthNet v2, 0.1", r"-all-v0\.1", (*_S2_BY_RESOLUTION, "vh", "vv"), None, None),
    ("BigEarthNet v2", r"-s1-v0\.\d", _VV_VH, None, None),
    ("BigEarthNet v2", r"-s2-v0\.\d", _S2_TEN, None, None),
    ("BigEarthNet v2", r"-all-v0\.\d", (*_VV_VH, *_S2_TEN), None, None),
)


def files_of_weights(source: Location) -> list[Location]:
    """Return a weights file and those beside it that may tell its bands; none where it is a name.

    Args:
        source: the weights file, or the name of published weights.
    """
    if not source.is_file():
        return []
    beside = [*(source.with_suffix(suffix) for suffix in _SIDECARS), source.parent / CONTRACT]
    return [source, *(path for path in beside if path.is_file())]


def find_bands(source: Location, channels: int) -> WeightBands | None:
    """Return the bands of a weights file's channels, None where nothing tells.

    They are those of the file of the same name that ends in `.json`, `.yaml` or `.yml`; of the
    contract beside it, where it is a model of lulc; of the published family that its name or its
    folder's name is of; else, of three channels, red, green and blue.

    Args:
        source: the weights file, or the name of published weights.
        channels: how many input channels it has.

    Raises:
        InputError: the file beside it cannot be read, or has another number of bands.
    """
    for suffix in _SIDECARS if source.suffix else ():
        sidecar = source.with_suffix(suffix)
        if sidecar.is_file():
            return _read_sidecar(sidecar, channels)
    contract_path = source.parent / CONTRACT
    if source.suffix and contract_path.is_file():
        contract = read_contract(contract_path)
        if len(contract.bands) == channels:
            return WeightBands(contract.bands, contract.mean, contract.std, CONTRACT)
    # Those who publish many encoders name the folders: `…-s2-v0.2.0/model.safetensors`.
    name = "/".join(source.absolute().parts[-4:] if source.suffix else (source.name,)).lower()
    for family, pattern, bands, mean, std in _FAMILIES:
        if len(bands) == channels and re.search(pattern, name):
            means, stds = _one_each(mean, channels), _one_each(std, channels)
            return WeightBands(bands, means, stds, f"the published order of {family}")
    return WeightBands(RGB) if channels == len(RGB) else None


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class _Sidecar:
    """What a file beside a weights file holds."""

    bands: tuple[str, ...]
    sensor: str = ""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Factor from the numbers that mean and std are of to physical values."""
    mean: float | tuple[float, ...] | None = None
    std: Annotated[float, Field(gt=0)] | tuple[Annotated[float, Field(gt=0)], ...] | None = None


def _read_sidecar(path: Location, channels: int) -> WeightBands:
    try:
        content = parse_yaml(path.read_bytes(), str(path))
        sidecar = TypeAdapter(_Sidecar).validate_python(content)
    except (OSError, UsageError) as error:
        raise _refusal(path, channels, str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise _refusal(path, channels, f"{place}: {first['msg']}") from error
    means, stds = _one_each(sidecar.mean, channels), _one_each(sidecar.std, channels)
    if len({*sidecar.bands}) != channels or len(sidecar.bands) != channels:
        raise _refusal(path, channels, f"its bands are {list(sidecar.bands)}")
    if not len(means) == len(stds) or len(means) not in (0, channels):
        raise _refusal(path, channels, "mean and std are both one number, or one a band")
    return WeightBands(
        tuple(_band_name(band, sidecar.sensor) for band in sidecar.bands),
        tuple(value * sidecar.scale for value in means),
        tuple(value * sidecar.scale for value in stds),
        path.name,
    )


def _refusal(path: Location, channels: int, reason: str) -> InputError:
    return InputError(
        f"{path} must hold `bands`, the different names of the {channels} input channels in order, "
        f"and may hold `sensor`, `scale`, and `mean` and `std`: {reason}"
    )


def _one_each(value: Any, channels: int) -> tuple[float, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,) * channels


def _band_name(band: str, sensor: str) -> str:
    # A code of ESA's, in any of its ways to write it, is that of a band of Sentinel-2.
    if re.fullmatch(r"sentinel-?2.*", sensor.lower()):
        codes = {code: name for name, code in SENTINEL2_BANDS.items()}
        return codes.get(re.sub(r"^B(?=\d$)", "B0", band.upper()), band)
    return band.lower() if band.lower() in SENTINEL1_BANDS else band


def describe_choice(known: WeightBands, bands: Sequence[str], source: str) -> str:
    """Return a sentence that says which bands got a channel of their own, and why."""
    own = [band for band in bands if band in known.bands]
    others = [band for band in bands if band not in known.bands]
    text = f"train.weights {source}: channels by {known.origin}; "
    if own:
        text += f"{', '.join(own)} got their own"
        text += ", scaled to the values that the weights were trained on" if known.std else ""
    if others:
        text += "; " if own else ""
        text += f"{', '.join(others)} began with the mean of all {len(known.bands)}"
    return text
