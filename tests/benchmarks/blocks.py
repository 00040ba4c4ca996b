"""blocks: a whole run of tiny blocks, whose cost is all that is not pixels; killed, run again."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from shapely.geometry import box

from lulc.geo.grid import Grid
from lulc.legend import LandClass, Legend
from lulc.models.contract import Contract, write_contract
from lulc.models.networks.registry import MODELS
from lulc.models.package import CONTRACT, LOCAL, WEIGHTS
from lulc.tables import layout
from lulc.tables.ledger import read_latest
from tests.benchmarks._killing import count_by_wave, kill_at_half
from tests.helpers.many_verbs import run_verbs
from tests.helpers.small_world import SCRIPTS
from tests.helpers.synthetic_scenes import write_raster

_SIDE = 64  # pixels of a block: 4 × 4 tiles of 16
_CONTINENT = 79_000  # blocks of Africa at 10 m
_STAGES = ("index", "tile", "predict", "rasters", "stats")
_LEGEND = Legend("two", (LandClass(1, "a", "#000000"), LandClass(2, "b", "#ffffff")))
_NETWORK: dict[str, Any] = {"encoder": "resnet18", "depth": 1, "decoder": [4]}


def measure(quick: bool) -> dict[str, float]:
    """Figures by name, of a run whose network is a stub and whose blocks have 64 × 64 pixels.

    blocks.<stage>: milliseconds a block on two cores, by the clock, the stage's start included.
    blocks.hours: of 79,000 such blocks, all stages together.
    blocks.redone: blocks of tile and predict done twice where the run is killed half-way through
    each ÷ those of the longest wave. blocks.start: seconds until the rerun has done a block.
    """
    side = 12 if quick else 90
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = _make_world(folder, side)
        out = folder / "whole"
        _place_model(out)
        clock = [time.monotonic()]
        answers, told = run_verbs(
            [(stage, run, "--out", out, "--json") for stage in _STAGES],
            {},
            folder,
            lambda: clock.append(time.monotonic()),
        )
        assert not any(answer.code for answer in answers), told
        assert len(read_latest(out, "predict")) >= side * side
        seconds = dict(zip(_STAGES, np.diff(clock).tolist(), strict=True))
        figures = {f"blocks.{name}": 1e3 * took / side**2 for name, took in seconds.items()}
        figures["blocks.hours"] = sum(seconds.values()) / side**2 * _CONTINENT / 3600
        return figures | _kill_and_rerun(run, folder / "killed", side * side)


def _make_world(folder: Path, side: int) -> Path:
    """Write a scene of side × side blocks, a region that holds it, and the run file."""
    pixels = side * _SIDE
    north = 64 * 10 * 7_000.0  # on the border of a block
    grid = Grid("EPSG:6933", (10.0, 0.0, 0.0, 0.0, -10.0, north), pixels, pixels)
    values = np.random.default_rng(0).integers(1, 255, (pixels, pixels), np.uint8)
    write_raster(folder / "archive" / "s_20240601_red.tif", values, grid, blockxsize=512)
    region = geopandas.GeoDataFrame({"id": ["r"]}, geometry=[box(*grid.bounds)], crs=grid.crs)
    region.to_file(folder / "regions.gpkg")
    settings = {
        "name": "blocks",
        "scenes": [{"path": "archive", "pattern": "{scene}_{date}_{band}.tif"}],
        "bands": ["red"],
        "tiling": {"size": 16, "halo": 0, "block": 4},
        "periods": [{"name": "2024"}],
        "legend": {c.id: {"name": c.name, "colour": c.colour} for c in _LEGEND.classes},
        "rasters": {"group": 4},
        "regions": [{"path": "regions.gpkg", "id": "id"}],
        "spark": {"master": "local[2,4]", "memory": "2g"},
    }
    run = folder / "run.yaml"
    run.write_text(yaml.safe_dump(settings, sort_keys=False))
    return run


def _place_model(out: Path) -> None:
    folder = out / layout.model_folder("blocks", LOCAL)
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    net = MODELS["unet"].build(1, len(_LEGEND.classes), **_NETWORK)
    save_file(net.state_dict(), folder / WEIGHTS)
    contract = Contract(
        "blocks", "segment", "unet", _NETWORK, ("red",), (128.0,), (74.0,), _LEGEND, 10.0, 2
    )
    write_contract(contract, folder / CONTRACT)


def _kill_and_rerun(run: Path, out: Path, count: int) -> dict[str, float]:
    """Kill tile and predict with half of their blocks in the ledger, and run each again."""
    _place_model(out)
    _carry_out("index", run, out)
    redone, starts = [], []
    for stage, table in (("tile", "chips"), ("predict", "predictions")):
        process = subprocess.Popen(_command(stage, run, out), stderr=subprocess.DEVNULL)
        kill_at_half(process, out, stage, count)
        before, begun = len(_times(out, table)), time.time()
        _carry_out(stage, run, out)
        made = [when for when in _times(out, table) if when >= begun]
        longest = max(count_by_wave(out, stage).values())
        redone.append((before + len(made) - count) / longest)
        starts.append(min(made) - begun)
    return {"blocks.redone": max(redone), "blocks.start": max(starts)}


def _command(stage: str, run: Path, out: Path) -> list[str | Path]:
    return [SCRIPTS / "lulc", stage, run, "--out", out]


def _carry_out(stage: str, run: Path, out: Path) -> None:
    subprocess.run(_command(stage, run, out), check=True, capture_output=True)


def _times(out: Path, table: str) -> list[float]:
    """Return when each file of a table of blocks was written, in seconds since 1970."""
    return [file.stat().st_mtime for file in (out / "tables" / table).rglob("*.parquet")]
