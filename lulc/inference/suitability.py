"""Whether a model can map a run, and how like its tiles are to what the model learned from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lulc.chips.chip import Chip
from lulc.config import Config
from lulc.errors import InputError
from lulc.models.contract import Contract, read_contract
from lulc.models.package import CONTRACT, ModelRef

_EVERY = 4  # rows and columns of a tile, of which one is enough for its means


def check_model(config: Config, model: ModelRef) -> None:
    """Check before anything is started that a model can map a run.

    Every chip is checked again where it is read.

    Raises:
        InputError: its task, bands, legend or size are not the run's.
    """
    for other in model.others:
        check_model(config, other)
    label = f"model {model.name} version {model.version}"
    contract = read_contract(model.folder / CONTRACT)
    contract.check(config.bands, contract.gsd_m, "the run file")
    contract.check_formulas(config.formulas)
    if contract.task != config.task:
        raise InputError(
            f"{label} is for task {contract.task}, the run file's is {config.task}: "
            f"say `task: {contract.task}` in the run file, or map with another model"
        )
    if contract.task in ("classify", "multilabel") and config.tiling.size % contract.size:
        raise InputError(
            f"{label} classifies squares of {contract.size} pixels, and tiles have "
            f"{config.tiling.size}: set tiling.size to a multiple of {contract.size}"
        )
    side = config.tiling.block * config.tiling.size + 2 * config.tiling.halo
    if contract.task == "segment" and contract.window > side:
        raise InputError(
            f"{label} maps windows of {contract.window} pixels, and a block has {side} with its "
            "margin: set tiling.block or tiling.size higher"
        )
    of_run = {(c.id, c.name) for c in config.make_legend().classes}
    of_model = {(c.id, c.name) for c in contract.legend.classes}
    if of_run != of_model:
        raise InputError(
            f"{label} maps {sorted(of_model - of_run)} where the run file's legend has "
            f"{sorted(of_run - of_model)}: "
            "give the run file the model's legend, or train a model for it"
        )


def compare_precision(trained_in: Iterable[str], computed_in: Iterable[str]) -> str:
    """Tell the precision that a model is computed in, where it is not that of its training.

    Args:
        trained_in: precisions of its training; empty texts where they were not recorded.
        computed_in: precisions that it is computed in; likewise.

    Returns:
        `computed in …, trained in …`; empty where they are the same, or one is not known.
    """
    trained, computed = ({name for name in names if name} for names in (trained_in, computed_in))
    if not (trained and computed) or trained == computed:
        return ""
    return f"computed in {', '.join(sorted(computed))}, trained in {', '.join(sorted(trained))}"


def training_distance(chip: Chip, contracts: Sequence[Contract]) -> float | None:
    """Return how far a chip's core lies from what models learned from, the farthest of them.

    Args:
        chip: the chip, in the units of the models.
        contracts: of the models.

    Returns:
        The distance of `Contract.distance`, of the means of all dates over every fourth row and
        column; None where no pixel of these is valid.
    """
    rows, cols = (slice(axis.start, axis.stop, _EVERY) for axis in chip.core)
    valid = chip.valid[:, rows, cols]
    count = np.count_nonzero(valid)
    if not count:
        return None
    sums = chip.pixels[..., rows, cols].sum((0, 2, 3), np.float64, where=valid[:, None])
    means = (sums / count * chip.scales + chip.offsets).tolist()
    distances = (contract.distance(means) for contract in contracts)
    return max((distance for distance in distances if distance is not None), default=None)
