"""A plan as figures, as text and as GeoJSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from shapely.geometry import mapping

from lulc.api.inputs import find_missing
from lulc.config import Config
from lulc.cost.archive import ScenesOfPlan
from lulc.cost.plan import MapPlan, RunPlan
from lulc.errors import LulcError
from lulc.geo.grid import footprint
from lulc.geo.tiling import Tiling
from lulc.models.contract import TREE_MODELS
from lulc.samples.labels import check_labels
from lulc.stages import STAGES

_STAGE_COLUMNS = (
    ("tasks", "tasks"),
    ("core hours", "core hours"),
    ("hours", "hours"),
    ("MiB a core", "memory bytes"),
    ("files", "files"),
    ("MiB written", "written bytes"),
)


def summary(plan: RunPlan, price: float | None = None) -> dict[str, Any]:
    """Return the plan in figures.

    Args:
        plan: the plan.
        price: of an hour of one core, in any currency.

    Returns:
        Name → figure: counts, bytes and hours where the name says so, scene or input → error; under
        `stages` the figures of each one.
    """
    figures: dict[str, Any] = {"run": plan.config.name}
    if missing := find_missing(plan.config, STAGES):
        figures["missing inputs"] = missing
    elif fault := _label_fault(plan.config):
        figures["bad labels"] = fault
    if plan.map:
        figures |= _map_figures(plan, plan.map)
    for name, (count, size) in plan.items.items():
        figures |= {f"{name} items": count, f"{name} files bytes": size}
    core_hours = plan.core_seconds / 3600
    figures |= {
        "training": _describe_training(plan),
        "stages": {stage: _stage_figures(plan, stage) for stage in plan.costs},
        "core hours": round(core_hours, 3),
        "core hours to start": round(
            sum(cost.start_seconds for cost in plan.costs.values()) / 3600, 3
        ),
        "hours": {"cores": plan.cores, "hours": round(hours(plan), 3)},
        "files": sum(cost.files for cost in plan.costs.values()),
        "output bytes": sum(cost.written_bytes for cost in plan.costs.values()),
    }
    if price is not None:
        figures["money"] = {
            "of core hours": _round_money(core_hours * price),
            f"of {plan.cores} cores held throughout": _round_money(
                hours(plan) * plan.cores * price
            ),
        }
    return figures | {"rates": _describe_rates(plan)}


def _label_fault(config: Config) -> str | None:
    if config.labels is None:
        return None
    try:
        check_labels(config.labels, config.make_legend(), config.periods)
    except LulcError as error:
        return str(error)
    return None


def hours(plan: RunPlan) -> float:
    """Return the hours of a run on its cores, the session's start with them."""
    return plan.rates.session_s / 3600 + sum(_stage_hours(plan, stage) for stage in plan.costs)


def _stage_hours(plan: RunPlan, stage: str) -> float:
    # No stage is faster than its tasks share the cores.
    cost = plan.costs[stage]
    return cost.core_seconds / 3600 / max(1, min(plan.cores, cost.tasks))


def _round_money(money: float) -> float:
    return round(money, 2) if money >= 1 else float(f"{money:.2g}")


def format_plan(plan: RunPlan, price: float | None = None) -> str:
    """Return the plan as aligned lines of text."""
    lines = []
    for name, figure in summary(plan, price).items():
        if name == "stages":
            lines += _format_stages(figure)
            continue
        label = name.replace(", bytes", "").replace(" bytes", "")
        lines.append(f"{label:<26}{_format_figure(name, figure)}")
    return "\n".join(lines)


def geojson(plan: RunPlan) -> dict[str, Any]:
    """Return the tiles of a plan as GeoJSON.

    Returns:
        A FeatureCollection in degrees; empty for a run without scenes.
    """
    features = []
    if plan.map:
        cells = plan.map.coverage.tiles.tolist()
        features = [_tile_feature(plan.map.tiling, (col, row)) for col, row in cells]
    return {"type": "FeatureCollection", "features": features}


def _map_figures(plan: RunPlan, map_plan: MapPlan) -> dict[str, Any]:
    config, scenes, work = plan.config, map_plan.scenes, map_plan.work
    guessed = [kind.source for kind in scenes.kinds if not kind.is_known]
    notes = list(scenes.notes)
    if guessed:
        notes.append(
            f"no file of {', '.join(sorted(set(guessed)))} can be asked: its format is taken from "
            "its name"
        )
    if not work.tiles:
        notes.append(f"no tile is made: {_explain_no_tile(scenes)}")
    tile_cost = plan.costs["tile"]
    return {
        "scenes": scenes.scenes,
        "counted from": scenes.origin,
        "bad scenes": scenes.bad,
        **({"notes": notes} if notes else {}),
        "tiling": map_plan.tiling.name,
        "periods": [period.name for period in config.periods],
        "tiles": work.tiles,
        "blocks of tiles": work.blocks,
        "scenes a block": {
            "mean": round(work.scenes / max(1, work.blocks), 1),
            "most": round(work.deepest),
        },
        "read bytes": {name: int(size) for name, size in work.read_bytes},
        "requests of file ranges": tile_cost.requests,
        "chip bytes": int(work.stored / max(1, work.tiles)) * plan.item_bytes,
    }


def _explain_no_tile(scenes: ScenesOfPlan) -> str:
    if not scenes.counts.any():
        return "no scene is of a period of the run"
    west, south, east, north = shapely.total_bounds(np.array(scenes.outlines, object))
    return (
        f"no scene reaches the area of the run; scenes lie at longitude {west:.4f} to {east:.4f}, "
        f"latitude {south:.4f} to {north:.4f}"
    )


def _stage_figures(plan: RunPlan, stage: str) -> dict[str, Any]:
    cost = plan.costs[stage]
    return {
        "tasks": cost.tasks,
        "core hours": round(cost.core_seconds / 3600, 4),
        "hours": round(_stage_hours(plan, stage), 4),
        "memory bytes": plan.memory[stage],
        "files": cost.files,
        "written bytes": cost.written_bytes,
    }


def _describe_training(plan: RunPlan) -> str:
    config, samples = plan.config, plan.samples
    if config.labels is None and not config.datasets:
        return "none"
    counted = "" if samples.is_counted else "at most "
    model = config.train.model
    learner = f"trees ({model})" if model in TREE_MODELS else f"{config.train.epochs} epochs"
    return f"{learner}, {counted}{samples.windows:,} samples of {samples.side} pixels"


def _describe_rates(plan: RunPlan) -> str:
    rates = plan.rates
    if rates.is_shipped:
        return f"shipped, of {rates.machine}: `lulc plan --calibrate` measures this machine's"
    return f"measured on {rates.machine} on {rates.measured}"


def _format_stages(stages: dict[str, dict[str, Any]]) -> list[str]:
    header = "".join(f"{title:>13}" for title, _ in _STAGE_COLUMNS)
    lines = [f"{'stage':<10}{header}"]
    for stage, figures in stages.items():
        cells = [_format_cell(title, figures[name]) for title, name in _STAGE_COLUMNS]
        lines.append(f"{stage:<10}" + "".join(f"{cell:>13}" for cell in cells))
    return lines


def _format_cell(title: str, figure: float) -> str:
    if title.startswith("MiB"):
        return f"{figure / 2**20:,.0f}"
    return f"{figure:,}" if isinstance(figure, int) else f"{figure:,.3f}"


def _format_figure(name: str, figure: Any) -> str:
    if name in ("bad scenes", "missing inputs"):
        first_errors = list(figure.items())[:5]
        return str(len(figure)) + "".join(
            f"\n{'':<26}{key}: {error}" for key, error in first_errors
        )
    if name == "read bytes":
        return ", ".join(f"{key} {size / 2**20:,.0f} MiB" for key, size in figure.items())
    if name == "hours":
        return f"{figure['hours']:,} on {figure['cores']} cores"
    if name == "money":
        return ", ".join(f"{value:,} {key}" for key, value in figure.items())
    if isinstance(figure, dict):
        return ", ".join(f"{key} {value:,}" for key, value in figure.items())
    if "bytes" in name:
        return f"{figure / 2**20:,.1f} MiB"
    if isinstance(figure, list):
        return ", ".join(figure)
    return f"{figure:,}" if isinstance(figure, int | float) else str(figure)


def _tile_feature(tiling: Tiling, cell: tuple[int, int]) -> dict[str, Any]:
    tile_id = tiling.tile_id(*cell)
    return {
        "type": "Feature",
        "id": tile_id,
        "properties": {"tile_id": tile_id},
        "geometry": mapping(footprint(tiling.grid(*cell))),
    }
