"""Scenes across the antimeridian, in the south and round a pole are joined and cut correctly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import shapely

from lulc.chips import extent
from lulc.chips.chip import Chip
from lulc.config import Archive
from lulc.geo import areas
from lulc.geo.grid import WGS84, Grid, footprint, transformer
from lulc.geo.tiling import Tiling
from lulc.raster import reader
from lulc.runfile import parse_run
from lulc.sources.scene import Scene, scenes_from_table
from lulc.spark.context import StageContext
from lulc.spark.stages.index import index
from lulc.spark.stages.tile import tile
from lulc.stages import Selection
from lulc.tables import ledger, store
from tests.helpers.synthetic_scenes import texture, write_raster

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Place = tuple[float, float]


def square(crs: str, x: float, y: float, side: float, size: int = 60) -> Grid:
    """A grid of size x size pixels whose top left corner is (x, y)."""
    return Grid(crs, (side, 0.0, x, 0.0, -side, y), size, size)


# (longitude, latitude) of places that lie in each grid, and of near places that do not.
GRIDS: dict[str, tuple[Grid, list[Place], list[Place]]] = {
    "zone 1": (
        square("EPSG:32601", 200_000, 7_200_000, 5000),
        [(179.9, 63.5), (-179.9, 63.5)],
        [(0, 63.5), (170, 63.5)],
    ),
    "zone 60": (
        square("EPSG:32660", 600_000, 7_200_000, 5000),
        [(179.9, 63.5), (-179.9, 63.5)],
        [(0, 63.5), (-170, 63.5)],
    ),
    "south": (
        square("EPSG:32733", 300_000, 6_300_000, 2000),
        [(13.5, -34)],
        [(13.5, 34), (13.5, -33), (12, -34)],
    ),
    "south of a northern zone": (
        square("EPSG:32633", 300_000, -20_000, 2000),
        [(13.5, -0.7)],
        [(13.5, 0.1), (13.5, -89)],
    ),
    "south across the antimeridian": (
        square("EPSG:32760", 700_000, 8_100_000, 5000),
        [(179.5, -18), (-179.5, -18)],
        [(0, -18), (178, -18), (179.5, 18)],
    ),
    "arctic": (
        square("EPSG:3413", 200_000, -800_000, 2000),
        [(-25, 82)],
        [(-25, 80), (155, 82), (-25, -82)],
    ),
    "arctic across the antimeridian": (
        square("EPSG:3413", -900_000, 900_000, 5000),
        [(179, 80.6), (-179, 80.6)],
        [(0, 80.6), (-45, 80.6)],
    ),
    "antarctic": (
        square("EPSG:3031", 1_000_000, 100_000, 2000),
        [(89, -80.2)],
        [(-89, -80.2), (89, 80.2), (89, -85)],
    ),
    "north pole": (
        square("EPSG:3413", -200_000, 100_000, 5000),
        [(0, 90), (-135, 89.5), (45, 89.5), (60, 89.3)],
        [(0, 85)],
    ),
    "south pole": (
        square("EPSG:3031", -100_000, 200_000, 5000),
        [(0, -90), (180, -89.5), (-90, -89.5)],
        [(0, -85), (0, 90)],
    ),
    "pole at a corner": (
        square("EPSG:3031", 0, 300_000, 5000),
        [(45, -88), (1, -89.9)],
        [(-45, -88), (135, -88), (-135, -88)],
    ),
    "pole at the corner where longitudes turn": (
        square("EPSG:3031", -300_000, 0, 5000),
        [(-135, -88), (-179, -89)],
        [(45, -88), (135, -88), (-45, -88)],
    ),
    "pole on a side": (
        square("EPSG:3413", -150_000, 300_000, 5000),
        [(134, 88), (-140, 89)],
        [(-45, 89), (0, 89), (-90, 89)],
    ),
    "round the world": (
        Grid("EPSG:4326", (1, 0, -180, 0, -1, 90), 180, 360),
        [(0, 0), (179, 89), (-179, -89)],
        [],
    ),
    "more than half round": (
        Grid("EPSG:4326", (1, 0, -100, 0, -1, 10), 20, 200),
        [(0, 0), (99, 5)],
        [(101, 0), (180, 0)],
    ),
    "round the world, equal areas": (
        Grid("EPSG:6933", (28_950, 0, -17_367_000, 0, -28_950, 7_300_000), 504, 1200),
        [(0, 0), (179, 80), (-179, -80)],
        [],
    ),
}


@pytest.mark.parametrize(("grid", "within", "beside"), GRIDS.values(), ids=GRIDS)
def test_footprints_are_where_the_grid_is(
    grid: Grid, within: list[Place], beside: list[Place]
) -> None:
    found = footprint(grid)
    assert found.is_valid
    xmin, ymin, xmax, ymax = found.bounds
    assert -180 <= xmin < xmax <= 180 and -90 <= ymin < ymax <= 90
    assert shapely.intersects_xy(found, *np.transpose(within)).all()
    assert not beside or not shapely.intersects_xy(found, *np.transpose(beside)).any()
    true = np.broadcast_to(areas.pixel_areas(grid), grid.shape).sum()
    assert areas.degrees_area(found) == pytest.approx(true, rel=2e-3)
    # Every pixel lies in it, but for half a pixel at the border, which is straight in another CRS.
    row, col = np.mgrid[1 : grid.height - 1 : 7, 1 : grid.width - 1 : 7] + 0.5
    lon, lat = transformer(grid.crs, WGS84).transform(*(grid.affine @ (col, row)))
    assert shapely.intersects_xy(found, lon, lat).all()


# A scene, and the equal-area or polar grid it is mapped on.
SCENES = {
    "antimeridian": (square("EPSG:32601", 214_000, 7_200_000, 100, 160), "EPSG:3571", 120.0),
    "antimeridian, utm tiles": (
        square("EPSG:32660", 780_000, 7_200_000, 100, 160),
        "EPSG:32601",
        120.0,
    ),
    "south": (square("EPSG:32733", 300_000, 6_300_000, 100, 160), "EPSG:6933", 120.0),
    "antarctic": (square("EPSG:3031", 1_000_000, 100_000, 100, 160), "EPSG:6932", 120.0),
    "south pole": (square("EPSG:3031", -5_000, 7_000, 100, 160), "EPSG:3031", 120.0),
    "north pole": (square("EPSG:3413", -9_000, 8_000, 100, 160), "EPSG:6931", 120.0),
}


def map_scene(
    folder: Path, grid: Grid, crs: str, side: float, spark: SparkSession
) -> tuple[Scene, dict[str, Chip]]:
    write_raster(folder / "in" / "s_20240601.tif", texture(grid), grid, nodata=0)
    raw = {
        "name": "far",
        "scenes": [{"path": "in"}],
        "bands": ["b1"],
        "legend": {1: {"name": "a", "colour": "#000000"}},
        "tiling": {"crs": crs, "resolution": side, "size": 32, "halo": 0, "block": 2},
        "samples": {"size": 32},
    }
    config, out = (
        replace(parse_run(raw, folder), scenes=(Archive(str(folder / "in")),)),
        folder / "out",
    )
    context = StageContext(config, out, Selection(), lambda: spark)
    assert index(context).bad == 0
    assert tile(context).bad == 0
    (scene,) = scenes_from_table(store.read_table(out, "scenes"))
    paths = [out / row.path for row in ledger.read_latest(out, "tile").values() if row.path]
    return scene, {
        row["tile_id"]: Chip.from_row(row) for path in paths for row in store.read_rows(path)
    }


def reached(grid: Grid, tiling: Tiling, inset: float) -> set[tuple[int, int]]:
    row, col = np.mgrid[: grid.height + 1, : grid.width + 1].astype(float)
    row, col = np.clip(row, inset, grid.height - inset), np.clip(col, inset, grid.width - inset)
    x, y = transformer(grid.crs, tiling.crs).transform(*(grid.affine @ (col, row)))
    side = tiling.size * tiling.resolution
    return {(int(c), int(r)) for c, r in zip((x // side).flat, (-y // side).flat, strict=True)}


@pytest.mark.parametrize(("grid", "crs", "side"), SCENES.values(), ids=SCENES)
def test_tiles_are_those_the_scene_covers(
    tmp_path: Path, spark: SparkSession, grid: Grid, crs: str, side: float
) -> None:
    scene, made = map_scene(tmp_path, grid, crs, side, spark)
    tiling = Tiling("far", crs, side, 32)
    # The scene's pixels on the tiling decide which tiles must exist, whatever footprints say: at
    # least those of the pixel centres, at most those of the pixel corners.
    centres, corners = (reached(grid, tiling, inset) for inset in (0.5, 0.0))
    cells = {tiling.parse(f"far/{i.rpartition('/')[2]}"): chip for i, chip in made.items()}
    assert centres <= cells.keys() <= corners
    for (col, row), chip in cells.items():
        # Blocks of 2 x 2 tiles are warped at once.
        block = tiling.grid(col // 2 * 2, row // 2 * 2, span=2)
        values, seen = reader.read_band(scene.bands[0].href, 1, block, "bilinear", 0)
        part = np.s_[row % 2 * 32 :, col % 2 * 32 :]
        assert np.array_equal(chip.valid[0], seen[part][:32, :32])
        assert np.array_equal(chip.pixels[0, 0], values[part][:32, :32])
    # The whole scene is there, once: as much ground as it covers.
    ground = sum(float((areas.pixel_areas(c.grid) * c.valid[0]).sum()) for c in made.values())
    assert ground == pytest.approx(
        float(np.broadcast_to(areas.pixel_areas(grid), grid.shape).sum()), rel=0.01
    )


def test_blocks_round_a_pole_are_found_in_any_area() -> None:
    grid = GRIDS["south pole"][0]
    tiling = Tiling("t", "EPSG:3031", 5000.0, 16)
    everywhere = extent.find_cells([footprint(grid)], tiling, 1, None)
    assert set(tiling.cells(grid.bounds)) <= set(everywhere)
    # Around the pole: what lies south of 89.9°, 11 km of it, is in the four tiles that meet there.
    assert extent.find_cells([footprint(grid)], tiling, 1, shapely.box(-180, -90, 180, -89.9)) == [
        (-1, -1),
        (0, -1),
        (-1, 0),
        (0, 0),
    ]
