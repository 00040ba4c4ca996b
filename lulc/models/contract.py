"""What a model asks of its input and what its output means: checked before a single pixel is predicted. No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lulc.errors import InputError
from lulc.legend import LandClass, Legend


@dataclass(frozen=True)
class Contract:
    """A model's contract. mean and std are of physical values (DN * scale + offset) in the training split, one a band.

    architecture: keyword arguments of the model's `build`. multiple: heights and widths must be multiples of it. gsd_m: side of
    a pixel in metres it learned on, the median, and gsd_range_m the least and the largest; size: of a sample in pixels. reduce:
    how T dates become one image (`median` of the valid ones) for tasks that see one. temperature: what logits are divided by, so
    that confidence is calibrated. flips, score: as `predict` of the run says. scales and offsets: of the chips it learned on, one
    a band, for input that says none. file_bands: of the datasets it learned from, all bands of one date in their order, which
    image files that do not name theirs share.
    """

    name: str
    task: str
    model: str
    architecture: dict[str, Any]
    bands: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    legend: Legend
    gsd_m: float
    multiple: int = 32
    size: int = 256
    temperature: float = 1.0
    reduce: str = "median"
    flips: bool = False
    score: float = 0.25
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    fingerprints: dict[str, str] = field(default_factory=dict)
    gsd_range_m: tuple[float, ...] = ()
    file_bands: tuple[tuple[str, ...], ...] = ()

    def check(self, bands: Sequence[str], gsd_m: float, where: str) -> None:
        """Nothing when input of these bands and this pixel side in metres may be mapped; else InputError."""
        if tuple(bands) != self.bands:
            raise InputError(
                f"{where} has bands {list(bands)}; model {self.name!r} takes {list(self.bands)}, in this order"
            )
        least, largest = self.gsd_range_m or (self.gsd_m, self.gsd_m)
        if not 0.8 * least <= gsd_m <= 1.25 * largest:
            known = f"{least:g} m" if least == largest else f"{least:g} to {largest:g} m"
            raise InputError(
                f"{where} has pixels of {gsd_m:g} m; model {self.name!r} learned on {known}: resample it, or train a model for it"
            )


def write_contract(contract: Contract, path: Path) -> None:
    """The contract as JSON."""
    path.write_text(json.dumps(asdict(contract), indent=1))


def read_contract(path: Path) -> Contract:
    """The contract in a JSON file; InputError when it is not one."""
    try:
        raw = json.loads(path.read_text())
        legend = Legend(
            raw["legend"]["name"], tuple(LandClass(**c) for c in raw["legend"]["classes"])
        )
        tuples = {
            name: tuple(raw[name])
            for name in ("bands", "mean", "std", "scales", "offsets", "gsd_range_m")
            if name in raw
        }
        file_bands = tuple(tuple(bands) for bands in raw.get("file_bands", ()))
        return Contract(**{**raw, **tuples, "legend": legend, "file_bands": file_bands})
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not a model contract ({error}): was the model logged by `lulc train`?"
        ) from error
