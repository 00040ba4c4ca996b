"""The arguments of a network's `build`, from the settings of a training. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lulc.bands import COMMON
from lulc.config import TrainConf
from lulc.errors import UsageError

TORCHGEO = "torchgeo:"
"""What the name of an encoder of torchgeo begins with."""

# Backbones that take any bands by their wavelengths → what they have in place of those of radar:
# DOFA one number (torchgeo, models.dofa), Panopticon one for each polarisation of an orbit that is
# not known (torchgeo, models.panopticon).
_BY_WAVELENGTH = {
    "dofa": dict.fromkeys(("vv", "vh", "hh", "hv"), 3.75),
    "panopticon": {"vv": -1.0, "vh": -2.0, "hh": -3.0, "hv": -4.0},
}


def architecture_of(train: TrainConf, bands: Sequence[str]) -> dict[str, Any]:
    """Return the keyword arguments of the model's `build`.

    Args:
        train: the settings.
        bands: of the network's input, in order.

    Raises:
        UsageError: the encoder must know the wavelength of every band, and one has none.
    """
    architecture = {
        "encoder": train.encoder,
        "depth": train.depth,
        "decoder": list(train.decoder),
        "dropout": train.dropout,
    }
    if train.shrink > 1:
        architecture["shrink"] = train.shrink
    if train.lora:
        architecture["lora"] = train.lora
    if wavelengths := wavelengths_of(train.encoder, bands):
        architecture["wavelengths"] = wavelengths
    return architecture


def wavelengths_of(encoder: str, bands: Sequence[str]) -> list[float]:
    """Return the central wavelength of every band, for an encoder that must know them.

    Returns:
        One a band in µm, of radar the number that the encoder has in its place; none where it takes
        bands as they come.

    Raises:
        UsageError: a band has none.
    """
    name = encoder.removeprefix(TORCHGEO)
    family = next((family for family in _BY_WAVELENGTH if name.startswith(family)), None)
    if family is None or name == encoder:
        return []
    known = COMMON | _BY_WAVELENGTH[family]
    unknown = [band for band in bands if band not in known]
    if unknown:
        raise UsageError(
            f"train.encoder {encoder} must know the wavelength of every band, and "
            f"{', '.join(unknown)} has none: leave it out of the bands, or choose another encoder; "
            f"bands with one: {', '.join(known)}"
        )
    return [known[band] for band in bands]
