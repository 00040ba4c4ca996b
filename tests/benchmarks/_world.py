"""The made-up world of the tests, large enough that its pixels count, with the usual network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from lulc.yaml12 import parse_yaml
from tests.helpers.small_world import GRID, World, make_world

_SIDE, _QUICK_SIDE = 4096, 1100


def make_large_world(folder: Path, quick: bool) -> World:
    """Write the world; a smaller one where it is only tried."""
    side = _QUICK_SIDE if quick else _SIDE
    return make_world(folder, grid=replace(GRID, height=side, width=side))


def run_of(world: World) -> dict[str, Any]:
    """Return a run of it that trains the usual network; its paths are relative to its folder."""
    raw: dict[str, Any] = parse_yaml(world.run.read_text(), str(world.run))
    return raw | {
        "tiling": {"crs": "EPSG:3035", "resolution": 10, "size": 256, "halo": 32, "block": 4},
        "samples": {"size": 64, "block": 2, "validation": 0.1, "test": 0.1},
        "train": {"epochs": 1, "batch": 16, "rate": 0.001},
        "rasters": {"group": 16},
    }
