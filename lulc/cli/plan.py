"""What a run will read, write and cost, from metadata alone.

Scenes' headers are opened and datasets are listed; no pixel is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import shapely
from shapely.geometry import mapping

from lulc import progress
from lulc.api.inputs import find_missing
from lulc.chips import extent
from lulc.chips.chip import choose_encoding
from lulc.chips.tiling import make_tiling
from lulc.cli.sizes import LARGEST_ITEM, stage_memory
from lulc.config import Config, DatasetConf
from lulc.datasets import registry
from lulc.datasets.listing import list_items
from lulc.errors import InputError
from lulc.geo.grid import footprint
from lulc.geo.tiling import Tiling
from lulc.location import Location, parse_location, relative_name
from lulc.paths import list_files
from lulc.samples import from_datasets
from lulc.sources import area
from lulc.sources.indexing.selection import select_scenes
from lulc.sources.items import Reading, describe_unread, make_reading, read_item
from lulc.sources.items import list_items as list_scenes
from lulc.sources.layers import read_layer
from lulc.sources.registry import SOURCES, source_of
from lulc.sources.scene import Scene
from lulc.sources.source import SceneItem
from lulc.stages import STAGES
from lulc.tables.encoding import Encoding

# Nanoseconds of one core for a pixel, of one band in a tile: measured on two cores
# (python -m tests.benchmarks).
_TILE_NS_PER_BAND = 25.0
_PREDICT_NS = 1500.0
_WRITE_NS = 20.0
# Size of raw pixels over that of their Parquet files.
_COMPRESSION = 1.5
_HEADERS_AT_ONCE = 16


@dataclass(frozen=True)
class MapPlan:
    """What a run maps."""

    scenes: tuple[Scene, ...]
    bad: dict[str, str]
    """Scene that cannot be read → its error."""
    notes: tuple[str, ...]
    """What else is to be known of the scenes."""
    tiling: Tiling
    encoding: Encoding
    """How pixels are stored."""
    tiles: tuple[tuple[int, int], ...]
    """(col, row) of each tile."""


@dataclass(frozen=True)
class RunPlan:
    """What a run will do."""

    config: Config
    map: MapPlan | None
    """None where the run has no scenes."""
    items: dict[str, tuple[int, int]]
    """Dataset → number of its items, and bytes of their files."""
    missing: dict[str, str]
    """Key of an input that is not there → what is said of it."""


def make_plan(config: Config) -> RunPlan:
    """Plan a run.

    Raises:
        InputError: no scene can be read, or a dataset's folder holds none of its items.
    """
    missing = find_missing(config, STAGES)
    items = {
        name: _count_items(config, dataset)
        for name, dataset in from_datasets.origin_names(config.datasets)
    }
    return RunPlan(config, _plan_map(config) if config.scenes else None, items, missing)


def summary(plan: RunPlan) -> dict[str, Any]:
    """Return the plan in figures.

    Returns:
        Name → figure: counts, bytes where the name says so (memory by stage), hours of one core,
        scene or input → error.
    """
    figures: dict[str, Any] = {"run": plan.config.name}
    if plan.missing:
        figures["missing inputs"] = plan.missing
    if plan.map:
        figures |= _map_figures(plan.config, plan.map)
    for name, (count, size) in plan.items.items():
        figures |= {f"{name} items": count, f"{name} files bytes": size}
    item_bytes = np.dtype(plan.map.encoding.dtype).itemsize if plan.map else LARGEST_ITEM
    figures["memory a core, bytes"] = stage_memory(plan.config, item_bytes)
    return figures | {"training": _describe_training(plan.config)}


def format_plan(plan: RunPlan) -> str:
    """Return the plan as aligned lines of text."""
    lines = []
    for name, figure in summary(plan).items():
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
        features = [_tile_feature(plan.map.tiling, cell) for cell in plan.map.tiles]
    return {"type": "FeatureCollection", "features": features}


def _count_items(config: Config, dataset: DatasetConf) -> tuple[int, int]:
    # Number of a dataset's items, and bytes of their files.
    description = registry.describe_dataset(dataset)
    codes = registry.crosswalk(dataset, description, config.make_legend())
    listing = list_items(dataset, codes)
    for note in listing.notes:
        progress.say(note)
    names = {name for item in listing.items for name in item.files if name}
    return len(listing.items), _sum_sizes(parse_location(dataset.root), names)


def _sum_sizes(root: Location, names: Set[str]) -> int:
    # Bytes of files and folders below a root.
    if isinstance(root, Path):
        return sum(_size(root / name) for name in names)
    # A store is asked by one listing, not once for a file.
    walked = [(relative_name(file, root), stat.st_size) for file, stat in root.walk()]
    above = {name: map(str, PurePosixPath(name).parents) for name, _ in walked}
    return sum(size for name, size in walked if not names.isdisjoint((name, *above[name])))


def _size(path: Path) -> int:
    # Bytes of a file, or of all files of an item that is a folder; 0 where it is missing or no file
    # can have its name.
    files = list_files(path) if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _plan_map(config: Config) -> MapPlan:
    scenes: list[Scene] = []
    bad: dict[str, str] = {}
    notes: list[str] = []
    unmasked_allowed: set[str] = set()
    sources = [source_of(archive) for archive in config.scenes]
    reading = make_reading(config, sources)
    for number, (source, archive) in enumerate(zip(sources, config.scenes, strict=True)):
        notes += describe_unread(source, archive)
        for key, scene in _read_headers(number, reading):
            if isinstance(scene, Scene):
                scenes.append(scene)
                if archive.unmasked == "allow":
                    unmasked_allowed.add(scene.scene_id)
            else:
                bad[key] = scene
    if not scenes:
        first_errors = "".join(f"\n  {key}: {error}" for key, error in list(bad.items())[:3])
        told = "".join(f"\n  {note}" for note in notes)
        paths = ", ".join(archive.path for archive in config.scenes)
        raise InputError(
            f"none of {len(bad)} scenes in {paths} can be read: "
            f"check scenes.path and scenes.pattern{first_errors}{told}"
        )
    selected = select_scenes(scenes, unmasked_allowed)
    scenes = selected.scenes
    notes += selected.notes
    bad |= dict(selected.errors)
    layers = [read_layer(layer) for layer in config.layers]
    encoding = choose_encoding([*scenes, *layers], config.bands)
    tiling = make_tiling(config)
    outlines = (shapely.from_wkb(scene.footprint) for scene in scenes)
    cells = extent.find_cells(outlines, tiling, 1, area.read_area(config.area))
    return MapPlan(tuple(scenes), bad, tuple(notes), tiling, encoding, tuple(cells))


def _read_headers(archive: int, reading: Reading) -> Iterable[tuple[str, Scene | str]]:
    # (key, scene) of every scene of an archive, or (key, error) where it cannot be read.
    def read(item: SceneItem) -> tuple[str, Scene | str]:
        try:
            return item.key, read_item(item, archive, reading)
        except InputError as error:
            return item.key, str(error)

    with ThreadPoolExecutor(_HEADERS_AT_ONCE) as pool:
        source = SOURCES[reading.sources[archive]]
        yield from pool.map(read, list_scenes(source, reading.archives[archive]))


def _describe_training(config: Config) -> str:
    if config.labels is None and not config.datasets:
        return "none"
    return f"{config.train.epochs} epochs" + (" in addition" if config.scenes else "")


def _map_figures(config: Config, plan: MapPlan) -> dict[str, Any]:
    size, halo, span = plan.tiling.size, config.tiling.halo, config.tiling.block
    pixel_bytes = len(config.bands) * np.dtype(plan.encoding.dtype).itemsize
    tiles = len(plan.tiles) * len(config.periods)
    pixels = tiles * size**2
    chip_bytes = config.dates * (size + 2 * halo) ** 2 * pixel_bytes
    tile_ns = pixels * len(config.bands) * config.dates * _TILE_NS_PER_BAND
    return {
        "scenes": len(plan.scenes),
        "bad scenes": plan.bad,
        **({"notes": list(plan.notes)} if plan.notes else {}),
        "tiling": plan.tiling.name,
        "periods": [period.name for period in config.periods],
        "tiles": tiles,
        "tasks": -(-tiles // span**2),
        "row groups": tiles,
        "chip bytes": chip_bytes,
        "chips table bytes": int(tiles * chip_bytes / _COMPRESSION),
        "predictions table bytes": int(pixels * 2 / 3),
        "rasters bytes": int(pixels / 4),
        "core hours": round((tile_ns + pixels * (_PREDICT_NS + _WRITE_NS)) / 3.6e12, 3),
    }


def _format_figure(name: str, figure: Any) -> str:
    if name in ("bad scenes", "missing inputs"):
        first_errors = list(figure.items())[:5]
        return str(len(figure)) + "".join(
            f"\n{'':<26}{key}: {error}" for key, error in first_errors
        )
    if isinstance(figure, dict):
        return ", ".join(f"{key} {size / 2**20:,.0f} MiB" for key, size in figure.items())
    if "bytes" in name:
        return f"{figure / 2**20:,.1f} MiB"
    if isinstance(figure, list):
        return ", ".join(figure)
    return f"{figure:,}" if isinstance(figure, int) else str(figure)


def _tile_feature(tiling: Tiling, cell: tuple[int, int]) -> dict[str, Any]:
    tile_id = tiling.tile_id(*cell)
    return {
        "type": "Feature",
        "id": tile_id,
        "properties": {"tile_id": tile_id},
        "geometry": mapping(footprint(tiling.grid(*cell))),
    }
