"""What a run will read, write and cost, from metadata alone: scenes' headers are opened, datasets listed, no pixel is read."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import mapping

from lulc.chips import extent
from lulc.chips.chip import choose_encoding
from lulc.chips.tiling import make_tiling
from lulc.config import Archive, Config
from lulc.datasets import registry
from lulc.errors import InputError, LulcError
from lulc.geo import grid
from lulc.geo.tiling import Tiling
from lulc.samples import from_datasets
from lulc.sources import area
from lulc.sources.readers import geotiff
from lulc.sources.registry import source_of
from lulc.sources.scene import Scene
from lulc.sources.source import SceneItem
from lulc.tables.encoding import Encoding

# Nanoseconds of one core for a pixel, band counts in where it matters: measured on two cores (python -m tests.benchmarks).
_TILE_NS_A_BAND = 25.0
_PREDICT_NS = 1500.0
_WRITE_NS = 20.0
# Parquet bytes are about raw bytes divided by this.
_PACKING = 1.5


@dataclass(frozen=True)
class Ground:
    """What a run maps: its scenes, those that cannot be read with the error, the tiling, and (col, row) of its tiles."""

    scenes: tuple[Scene, ...]
    bad: dict[str, str]
    tiling: Tiling
    encoding: Encoding
    tiles: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class RunPlan:
    """What a run will do: the ground that it maps, if it has scenes, and name → items and their bytes of its datasets."""

    config: Config
    ground: Ground | None
    items: dict[str, tuple[int, int]]


def make_plan(config: Config) -> RunPlan:
    """The plan of a run file; InputError when no scene can be read, or nothing is in a dataset's folder."""
    items = {}
    for name, conf in from_datasets.origin_names(config.datasets):
        listed = from_datasets.list_items(
            conf, registry.crosswalk(conf, registry.describe_dataset(conf), config.make_legend())
        )
        files = {file for item in listed for file in item.files if file}
        items[name] = len(listed), sum(_size(Path(conf.root) / file) for file in files)
    return RunPlan(config, _survey(config) if config.scenes else None, items)


def _size(place: Path) -> int:
    # Of a file, or of all in an item that is a folder; 0 of what is not there.
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(file.stat().st_size for file in files if file.is_file())


def _survey(config: Config) -> Ground:
    found: list[Scene] = []
    bad: dict[str, str] = {}
    for archive in config.scenes:
        for key, scene in _read(archive):
            if isinstance(scene, Scene):
                found.append(scene)
            else:
                bad[key] = scene
    if not found:
        first = "".join(f"\n  {key}: {error}" for key, error in list(bad.items())[:3])
        where = ", ".join(archive.path for archive in config.scenes)
        raise InputError(
            f"none of {len(bad)} scenes in {where} can be read: check scenes.path and scenes.pattern{first}"
        )
    layers = [geotiff.read_layer(layer) for layer in config.layers]
    encoding = choose_encoding([*found, *layers], config.bands)
    tiling = make_tiling(config)
    outlines = (shapely.from_wkb(scene.footprint) for scene in found)
    cells = extent.find_cells(outlines, tiling, 1, area.read_area(config.area))
    return Ground(tuple(found), bad, tiling, encoding, tuple(cells))


def _read(archive: Archive) -> Iterable[tuple[str, Scene | str]]:
    source = source_of(archive)

    def header(item: SceneItem) -> tuple[str, Scene | str]:
        try:
            return item.key, source.read(item, archive, ())
        except (LulcError, OSError) as error:
            return item.key, str(error)

    with ThreadPoolExecutor(16) as pool:
        yield from pool.map(header, source.items(archive))


def summary(plan: RunPlan) -> dict[str, Any]:
    """The plan in figures: bytes, seconds of one core, memory of one worker."""
    found: dict[str, Any] = {"run": plan.config.name}
    if plan.ground:
        found |= _mapping(plan.config, plan.ground)
    for name, (count, size) in plan.items.items():
        found |= {f"{name} items": count, f"{name} files bytes": size}
    return found | {"training": _training(plan.config)}


def _training(config: Config) -> str:
    if config.labels is None and not config.datasets:
        return "none"
    return f"{config.train.epochs} epochs" + (" beside that" if config.scenes else "")


def _mapping(config: Config, ground: Ground) -> dict[str, Any]:
    tiles, size, item = (
        len(ground.tiles) * len(config.periods),
        ground.tiling.size,
        np.dtype(ground.encoding.dtype).itemsize,
    )
    chip = config.dates * len(config.bands) * (size + 2 * config.tiling.halo) ** 2 * item
    pixels = tiles * size**2
    span = config.tiling.block
    read_ns = pixels * len(config.bands) * config.dates * _TILE_NS_A_BAND
    block = (span * size + 2 * config.tiling.halo) ** 2 * len(config.bands) * item
    return {
        "scenes": len(ground.scenes),
        "bad scenes": ground.bad,
        "tiling": ground.tiling.name,
        "periods": [p.name for p in config.periods],
        "tiles": tiles,
        "tasks": -(-tiles // span**2),
        "row groups": tiles,
        "chip bytes": chip,
        "chips table bytes": int(tiles * chip / _PACKING),
        "predictions table bytes": int(pixels * 2 / 3),
        "rasters bytes": int(pixels / 4),
        # One date being read, the dates kept, and what Python, GDAL and the model need beside them.
        "memory a core, bytes": int(block * (1 + config.dates) * 1.5 + 500e6),
        "core hours": round((read_ns + pixels * (_PREDICT_NS + _WRITE_NS)) / 3.6e12, 3),
    }


def format_plan(plan: RunPlan) -> str:
    """The plan as aligned lines of text."""
    lines = []
    for name, value in summary(plan).items():
        shown = value
        if name == "bad scenes":
            shown = f"{len(value)}" + "".join(
                f"\n{'':<26}{key}: {error}" for key, error in list(value.items())[:5]
            )
        elif "bytes" in name:
            shown = f"{value / 2**20:,.1f} MiB"
        elif isinstance(value, list):
            shown = ", ".join(value)
        elif isinstance(value, int):
            shown = f"{value:,}"
        lines.append(f"{name.replace(', bytes', '').replace(' bytes', ''):<26}{shown}")
    return "\n".join(lines)


def geojson(plan: RunPlan) -> dict[str, Any]:
    """The tiles as a FeatureCollection in degrees, of a run that maps no scenes an empty one."""
    features = (
        [_tile(plan.ground.tiling, cell) for cell in plan.ground.tiles] if plan.ground else []
    )
    return {"type": "FeatureCollection", "features": features}


def _tile(tiling: Tiling, cell: tuple[int, int]) -> dict[str, Any]:
    name = tiling.tile_id(*cell)
    geometry = mapping(grid.footprint(tiling.grid(*cell)))
    return {"type": "Feature", "id": name, "properties": {"tile_id": name}, "geometry": geometry}
