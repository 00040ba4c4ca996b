"""What a run will read, write and cost, from metadata alone: headers of the scenes are opened, no pixel is read."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.geometry import mapping

from lulc import extent, geo, sources
from lulc.conf import Archive, Run
from lulc.encoding import Encoding, choose_encoding
from lulc.errors import LulcError
from lulc.geo import Tiling
from lulc.scenes import Scene
from lulc.tiling import make_tiling

# Nanoseconds of one core for a pixel, band counts in where it matters: measured on two cores (python -m tests.benchmarks).
_TILE_NS_A_BAND = 25.0
_PREDICT_NS = 1500.0
_WRITE_NS = 20.0
# Parquet bytes are about raw bytes divided by this.
_PACKING = 1.5


@dataclass(frozen=True)
class Plan:
    """What a run will do: its scenes, those that cannot be read with the error, the tiling, and (col, row) of its tiles."""

    run: Run
    scenes: tuple[Scene, ...]
    bad: dict[str, str]
    tiling: Tiling
    encoding: Encoding
    tiles: tuple[tuple[int, int], ...]

    @property
    def chip_bytes(self) -> int:
        """Raw bytes of one chip."""
        side = self.tiling.size + 2 * self.run.tiling.halo
        return self.run.dates * len(self.run.bands) * side * side * np.dtype(self.encoding.dtype).itemsize


def make(run: Run) -> Plan:
    """The plan of a run file; InputError when no scene can be read."""
    found: list[Scene] = []
    bad: dict[str, str] = {}
    for archive in run.scenes:
        for key, scene in _read(archive):
            if isinstance(scene, Scene):
                found.append(scene)
            else:
                bad[key] = scene
    layers = [sources.read_layer(layer) for layer in run.layers]
    encoding = choose_encoding([*found, *layers], run.bands)
    tiling = make_tiling(run)
    outlines = (shapely.from_wkb(scene.footprint) for scene in found)
    cells = extent.find_cells(outlines, tiling, 1, extent.read_area(run.area))
    return Plan(run, tuple(found), bad, tiling, encoding, tuple(cells))


def _read(archive: Archive) -> Iterable[tuple[str, Scene | str]]:
    source = sources.source_of(archive)

    def header(item: sources.Item) -> tuple[str, Scene | str]:
        try:
            return item.key, source.read(item, archive, ())
        except (LulcError, OSError) as error:
            return item.key, str(error)

    with ThreadPoolExecutor(16) as pool:
        yield from pool.map(header, source.items(archive))


def summary(plan: Plan) -> dict[str, Any]:
    """The plan in figures: bytes, seconds of one core, memory of one worker."""
    run, tiles = plan.run, len(plan.tiles) * len(plan.run.periods)
    pixels = tiles * plan.tiling.size**2
    span = run.tiling.block
    side = span * plan.tiling.size + 2 * run.tiling.halo
    read_ns = pixels * len(run.bands) * run.dates * _TILE_NS_A_BAND
    block = side * side * len(run.bands) * np.dtype(plan.encoding.dtype).itemsize
    return {
        "run": run.name,
        "scenes": len(plan.scenes),
        "bad scenes": plan.bad,
        "tiling": plan.tiling.name,
        "periods": [p.name for p in run.periods],
        "tiles": tiles,
        "tasks": -(-tiles // span**2),
        "row groups": tiles,
        "chip bytes": plan.chip_bytes,
        "chips table bytes": int(tiles * plan.chip_bytes / _PACKING),
        "predictions table bytes": int(pixels * 2 / 3),
        "rasters bytes": int(pixels / 4),
        # One date being read, the dates kept, and what Python, GDAL and the model need beside them.
        "memory a core, bytes": int(block * (1 + run.dates) * 1.5 + 500e6),
        "core hours": round((read_ns + pixels * (_PREDICT_NS + _WRITE_NS)) / 3.6e12, 3),
        "training": f"{run.train.epochs} epochs beside that" if run.labels else "none",
    }


def describe(plan: Plan) -> str:
    """The plan as aligned lines of text."""
    lines = []
    for name, value in summary(plan).items():
        shown = value
        if name == "bad scenes":
            shown = f"{len(value)}" + "".join(f"\n{'':<26}{key}: {error}" for key, error in list(value.items())[:5])
        elif "bytes" in name:
            shown = f"{value / 2**20:,.1f} MiB"
        elif isinstance(value, list):
            shown = ", ".join(value)
        elif isinstance(value, int):
            shown = f"{value:,}"
        lines.append(f"{name.replace(', bytes', '').replace(' bytes', ''):<26}{shown}")
    return "\n".join(lines)


def geojson(plan: Plan) -> dict[str, Any]:
    """The tiles as a FeatureCollection in degrees."""
    features = [
        {
            "type": "Feature",
            "id": plan.tiling.tile_id(*cell),
            "properties": {"tile_id": plan.tiling.tile_id(*cell)},
            "geometry": mapping(geo.footprint(plan.tiling.grid(*cell))),
        }
        for cell in plan.tiles
    ]
    return {"type": "FeatureCollection", "features": features}
