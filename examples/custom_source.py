"""An archive form of your own: list its scenes, read them, and cut a tile.

    python examples/custom_source.py flights

The archive has a folder for every flight, with `ortho.tif` and `flight.json`, such as
`{"taken": "2024-06-01T10:00:00Z", "bands": ["red", "green", "blue"]}`. To use the source in runs,
put FLIGHTS into a file of `lulc/sources/readers` and list it in `lulc/sources/registry.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import shapely

import lulc
from lulc.config import Archive
from lulc.geo import WGS84, project
from lulc.sources import Scene, SceneItem, Source
from lulc.sources.header import make_scene, open_header, with_fingerprint


def accepts(_: Archive, names: Sequence[str]) -> bool:
    """Return whether the archive looks like one of flights."""
    return any(Path(name).name == "flight.json" for name in names)


def items(archive: Archive) -> Iterator[SceneItem]:
    """List the flights, from file names alone."""
    for path in sorted(Path(archive.path).glob("*/flight.json")):
        yield SceneItem(str(path), path.parent.name)


def read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    """Read the scene of a flight: its time, and the file and scale of each band."""
    flight = json.loads(Path(item.path).read_text())
    header = open_header(str(Path(item.path).with_name("ortho.tif")))
    numbered = [
        (name, n) for n, name in enumerate(flight["bands"], 1) if not bands or name in bands
    ]
    scene_bands = [(header.band(name, number, archive), header) for name, number in numbered]
    taken = datetime.fromisoformat(flight["taken"])
    return with_fingerprint(make_scene(item.key, FLIGHTS.name, taken, scene_bands), flight)


FLIGHTS = Source("flights", accepts, items, read)


def main(folder: str) -> None:
    """Print the scenes of an archive, and what one tile holds of each."""
    archive = Archive(folder)
    tiling = lulc.Tiling("flights", "EPSG:6933", resolution=10, size=256)
    for item in items(archive):
        scene = read(item, archive)
        names = ", ".join(band.name for band in scene.bands)
        print(f"{scene.scene_id}: {scene.datetime:%Y-%m-%d}, {scene.gsd_m:.2f} m, {names}")
        outline = project(shapely.from_wkb(scene.footprint), WGS84, tiling.crs)
        col, row = next(tiling.cells(outline.bounds))
        _, valid, _ = lulc.read(scene.bands[0].href, tiling.grid(col, row))
        print(f"  tile {tiling.tile_id(col, row)}: {valid.mean():.0%} valid")


if __name__ == "__main__":
    main(*sys.argv[1:])
