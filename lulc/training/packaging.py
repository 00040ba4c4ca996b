"""A training's result as a model folder: the best epoch's weights and the contract."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lulc.config import Config
from lulc.datasets.registry import describe_dataset
from lulc.geo.areas import pixel_areas
from lulc.geo.grid import Grid
from lulc.location import Location
from lulc.models.contract import Contract, write_contract
from lulc.models.package import CONTRACT, weights_name
from lulc.tables.files import open_parquet, write_atomic

if TYPE_CHECKING:
    from lulc.training.fit import TrainResult
    from lulc.training.loader import EpochPlan
    from lulc.training.setup import TrainJob

_ROW_GROUPS_READ = 200


def write_package(
    config: Config,
    job: TrainJob,
    plan: EpochPlan,
    result: TrainResult,
    fingerprints: Mapping[str, str],
) -> Location:
    """Write the model folder of a training.

    Args:
        config: the run.
        job: the training.
        plan: how the training split is read.
        result: what the training gave.
        fingerprints: what the model depends on, kept in its contract.

    Returns:
        The folder, which lies in the job's.
    """
    smallest, median, largest = pixel_sides(plan, config)
    contract = Contract(
        name=config.name,
        task=job.task_name,
        model=job.model.name,
        architecture=job.architecture,
        bands=config.bands,
        mean=result.mean,
        std=result.std,
        legend=job.legend,
        gsd_m=median,
        multiple=job.model.multiple(**job.architecture),
        size=plan.layout.pixels.shape[-1],
        temperature=result.temperature,
        flips=config.predict.flips and not job.model.is_trees,
        score=config.predict.score,
        scales=plan.layout.scales,
        offsets=plan.layout.offsets,
        units=plan.layout.units,
        fingerprints=dict(fingerprints),
        gsd_range_m=(smallest, largest),
        file_bands=_bands_of_files(config),
        precision=result.precision,
    )
    folder = job.folder / "model"
    weights = folder / weights_name(contract)
    write_atomic(weights, lambda path: path.write_bytes(result.weights.read_bytes()))
    write_atomic(folder / CONTRACT, lambda path: write_contract(contract, path))
    return folder


def pixel_sides(plan: EpochPlan, config: Config) -> tuple[float, float, float]:
    """Return the least, the median and the largest side in metres of the training samples' pixels.

    Some hundred row groups are looked at. For samples without a place it is what their publisher
    says of all.
    """
    sides = []
    for group in plan.groups[:: max(1, len(plan.groups) // _ROW_GROUPS_READ)]:
        table = open_parquet(group.path).read_row_group(group.index, ["crs", "transform"])
        for crs, transform in {(row["crs"], tuple(row["transform"])) for row in table.to_pylist()}:
            if crs:
                area_m2 = float(np.mean(pixel_areas(Grid(crs, transform, 1, 1))))
                sides.append(math.sqrt(area_m2))
    if not sides:
        sides = [describe_dataset(config.datasets[0]).gsd_m]
    return min(sides), float(np.median(sides)), max(sides)


def _bands_of_files(config: Config) -> tuple[tuple[str, ...], ...]:
    # The bands of image files as each dataset's publisher orders them.
    bands = (describe_dataset(dataset).encoding.bands for dataset in config.datasets)
    return tuple(dict.fromkeys(bands))
