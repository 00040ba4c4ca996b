"""A model's contract: the input it expects and the meaning of its output. No torch.

A contract is checked before the first pixel is predicted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lulc.bands import is_decibel, mixes_levels, shared_unit
from lulc.errors import InputError, UsageError
from lulc.legend import LandClass, Legend
from lulc.location import Location

TREE_MODELS = ("boosting", "forest")
"""The kinds of model that are trees."""

# Lists of JSON that the record has as tuples.
_TUPLES = ("bands", "mean", "std", "scales", "offsets", "gsd_range_m", "units")

# Keys in the contracts of earlier versions that nothing reads.
_RETIRED = frozenset({"reduce"})


@dataclass(frozen=True)
class Contract:
    """A model's contract, as kept in `contract.json` beside its weights."""

    name: str
    """The model's name in the registry."""
    task: str
    """Name of the task that the model was trained for."""
    model: str
    """Name of the kind of model."""
    architecture: dict[str, Any]
    """Keyword arguments of the network's `build`, or how trees were grown."""
    bands: tuple[str, ...]
    """Input bands, in order."""
    mean: tuple[float, ...]
    """Mean of the physical values (DN * scale + offset) in the training split, one a band."""
    std: tuple[float, ...]
    """Standard deviation of the same values, one a band."""
    legend: Legend
    """Classes of the output, in the order of its channels."""
    gsd_m: float
    """Median side in metres of the pixels that the model was trained on."""
    multiple: int = 32
    """Heights and widths of the input must be multiples of it."""
    size: int = 256
    """Side of a training sample in pixels."""
    window: int = 0
    """Side in pixels of the windows that the network must see, as it has positions learned from
    samples of that size; 0: any that are multiples of `multiple`."""
    temperature: float = 1.0
    """Logits are divided by it, so that confidence is calibrated."""
    flips: bool = False
    """`predict.flips` of the run file."""
    score: float = 0.25
    """`predict.score` of the run file."""
    scales: tuple[float, ...] = ()
    """Scales of the training chips, one a band, for input that declares none."""
    offsets: tuple[float, ...] = ()
    """Offsets of the training chips, one a band, for input that declares none."""
    fingerprints: dict[str, str] = field(default_factory=dict)
    """Fingerprints by table or stage, of what the model was trained from."""
    gsd_range_m: tuple[float, ...] = ()
    """Smallest and largest side in metres of the training pixels."""
    file_bands: tuple[tuple[str, ...], ...] = ()
    """All bands of one date, in file order, of each training dataset.

    Image files that do not name their bands are taken to have them in such an order.
    """
    precision: str = ""
    """The precision that the network was trained in, `float32` or `bfloat16`; empty where it was
    not recorded."""
    units: tuple[str, ...] = ()
    """A `lulc.bands.Unit` of the physical values, one a band, empty where it was not known; none
    at all where none was."""
    formulas: dict[str, str] = field(default_factory=dict)
    """Formulas of the bands that were computed by one, by band."""

    def check(
        self, bands: Sequence[str], gsd_m: float, subject: str, units: Sequence[str] = ()
    ) -> None:
        """Raise InputError unless the model may map input of these bands, pixel size and units.

        Args:
            bands: bands of the input, in order.
            gsd_m: side of an input pixel in metres; from 0.8 times the smallest to 1.25 times the
                largest side of the training pixels is accepted.
            subject: the input, as the message names it.
            units: of the input's bands, empty where one is not known; none: none is known.

        Raises:
            InputError: other bands or another order, pixels too small or too large, or a band of
                another quantity.
        """
        if tuple(bands) != self.bands:
            raise InputError(
                f"{subject} has bands {list(bands)}; model {self.name!r} takes "
                f"{list(self.bands)}, in this order"
            )
        smallest, largest = self.gsd_range_m or (self.gsd_m, self.gsd_m)
        if not 0.8 * smallest <= gsd_m <= 1.25 * largest:
            trained_on = (
                f"{smallest:g} m" if smallest == largest else f"{smallest:g} to {largest:g} m"
            )
            raise InputError(
                f"{subject} has pixels of {gsd_m:g} m; model {self.name!r} was trained on pixels "
                f"of {trained_on}: resample the input, or train a model for it"
            )
        for band, unit, own in zip(self.bands, units or self.units, self.units, strict=False):
            if shared_unit((unit, own)) is None:
                raise InputError(
                    f"{subject} has {band} in {unit}; model {self.name!r} was trained on {own}: "
                    "map other input, or state the true unit under `units` in the run file, or by "
                    "`--units` of image files"
                )

    def check_formulas(self, formulas: Mapping[str, str]) -> None:
        """Raise InputError unless bands of the same names are computed by the same formulas.

        Args:
            formulas: of the run's computed bands, by band.
        """
        for band, formula in formulas.items():
            own = self.formulas.get(band, formula)
            if own != formula:
                raise InputError(
                    f"the run file computes {band} by {formula}; model {self.name!r} learned from "
                    f"{own}: give tiling.expressions this formula, or train a model for it"
                )

    def describe_mismatch(self, units: Sequence[str]) -> str:
        """Return what to tell of an input whose units are not the model's; empty if they are.

        Args:
            units: of the input's bands, as for `check`.
        """
        bands_of: dict[str, list[str]] = {}
        known = units or ("",) * len(self.bands)
        for band, unit, own in zip(self.bands, known, self.units, strict=False):
            text = ""
            if own and not unit:
                text = f"{{}} taken for {own}, the unit of the input is not known"
            elif mixes_levels((unit, own)):
                text = f"WARNING: {{}} in {unit}, where the model learned from {own}"
            elif own and is_decibel(unit) != is_decibel(own):
                text = f"{{}} converted from {unit} to {own}"
            if text:
                bands_of.setdefault(text, []).append(band)
        return "; ".join(text.format(", ".join(bands)) for text, bands in bands_of.items())

    def distance(self, means: Sequence[float]) -> float | None:
        """Return how far the means of bands lie from those of the training samples.

        The root mean square over the bands, in standard deviations of the training pixels: the
        distance in standardised predictors by which Meyer & Pebesma (2021,
        doi:10.1111/2041-210X.13650) tell where a model applies, here from the samples' centre.

        Args:
            means: physical values, one a band, in the order of the contract's.

        Returns:
            The distance; None where the samples did not vary in any band.
        """
        steps = [
            (mean - own) / std
            for mean, own, std in zip(means, self.mean, self.std, strict=True)
            if std > 0
        ]
        return math.hypot(*steps) / math.sqrt(len(steps)) if steps else None

    def describe_bands(self) -> list[str]:
        """Return the name of each band, with its unit where it is known."""
        return [
            f"{band} ({unit})" if unit else band
            for band, unit in zip(self.bands, self.units or ("",) * len(self.bands), strict=True)
        ]


def write_contract(contract: Contract, path: Path) -> None:
    """Write the contract as JSON."""
    path.write_text(json.dumps(asdict(contract), indent=1))


def read_contract(path: Location) -> Contract:
    """Read a contract from JSON, also one that an earlier version wrote.

    Returns:
        The contract.

    Raises:
        InputError: the file cannot be read or is not a contract.
    """
    try:
        raw = json.loads(path.read_text())
        classes = tuple(LandClass(**land_class) for land_class in raw["legend"]["classes"])
        fields = {name: value for name, value in raw.items() if name not in _RETIRED}
        fields |= {name: tuple(raw[name]) for name in _TUPLES if name in raw}
        fields["legend"] = Legend(raw["legend"]["name"], classes)
        fields["file_bands"] = tuple(tuple(bands) for bands in raw.get("file_bands", ()))
        return Contract(**fields)
    except (OSError, KeyError, TypeError, ValueError, UsageError) as error:
        raise InputError(
            f"{path} is not a model contract ({error}): was the model logged by `lulc train`?"
        ) from error
