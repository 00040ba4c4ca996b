"""A training's result as a model folder: the best epoch's weights, the contract and the card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from safetensors.torch import load

from lulc.config import Config
from lulc.datasets.registry import describe_dataset
from lulc.geo.areas import pixel_areas
from lulc.geo.grid import Grid
from lulc.location import Location
from lulc.models.card import make_card
from lulc.models.contract import Contract, write_contract
from lulc.models.package import CARD, CONTRACT, weights_name
from lulc.tables.files import open_parquet, write_atomic
from lulc.training.card_facts import collect_facts

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
    origins = _read_origins(plan)
    smallest, median, largest = pixel_sides(origins, config)
    side, content = plan.layout.pixels.shape[-1], result.weights.read_bytes()
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
        size=side,
        window=0 if job.model.is_trees else job.fixed_window(list(load(content)), side),
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
        formulas=config.formulas,
    )
    folder = job.folder / "model"
    weights = folder / weights_name(contract)
    write_atomic(weights, lambda path: path.write_bytes(content))
    write_atomic(folder / CONTRACT, lambda path: write_contract(contract, path))
    card = make_card(contract, collect_facts(config, job, plan, result, _span(origins)))
    write_atomic(folder / CARD, lambda path: path.write_text(card, "utf-8"))
    return folder


def _read_origins(plan: EpochPlan) -> list[pa.Table]:
    # Where and when some hundred row groups of the training samples are of.
    columns = ["crs", "transform", "datetimes"]
    groups = plan.groups[:: max(1, len(plan.groups) // _ROW_GROUPS_READ)]
    return [open_parquet(group.path).read_row_group(group.index, columns) for group in groups]


def pixel_sides(origins: Sequence[pa.Table], config: Config) -> tuple[float, float, float]:
    """Return the least, the median and the largest side in metres of the training samples' pixels.

    For samples without a place it is what their publisher says of all.

    Args:
        origins: `crs` and `transform` of the samples of some row groups.
        config: the run.
    """
    sides = []
    for table in origins:
        places = table.select(["crs", "transform"]).to_pylist()
        for crs, transform in {(row["crs"], tuple(row["transform"])) for row in places}:
            if crs:
                area_m2 = float(np.mean(pixel_areas(Grid(crs, transform, 1, 1))))
                sides.append(math.sqrt(area_m2))
    if not sides:
        sides = [describe_dataset(config.datasets[0]).gsd_m]
    return min(sides), float(np.median(sides)), max(sides)


def _span(origins: Sequence[pa.Table]) -> str:
    # First and last day of the samples' imagery; empty without a date.
    datetimes = pa.concat_tables([table.select(["datetimes"]) for table in origins])["datetimes"]
    ends = pc.min_max(pc.list_flatten(datetimes)).as_py()
    if ends["min"] is None:
        return ""
    return f"{ends['min']:%Y-%m-%d} to {ends['max']:%Y-%m-%d}"


def _bands_of_files(config: Config) -> tuple[tuple[str, ...], ...]:
    # The bands of image files as each dataset's publisher orders them.
    bands = (describe_dataset(dataset).encoding.bands for dataset in config.datasets)
    return tuple(dict.fromkeys(bands))
