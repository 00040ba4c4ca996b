"""Tiles hold the classes of the rasters at their places, at every zoom; archives hold them all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pmtiles.reader import MmapSource, Reader, all_tiles
from scipy import ndimage

from lulc.chips.chip import Chip, write_chips
from lulc.errors import InputError
from lulc.explorer.colours import find_colours
from lulc.explorer.export import export_site
from lulc.explorer.layer import SIDE, Layer, tile_box, tile_grid
from lulc.explorer.site import Site, archive_of
from lulc.explorer.tiles import TileLayer, find_layers
from lulc.geo.grid import WGS84, Grid, transformer
from lulc.legend import NODATA
from lulc.raster import cog
from lulc.raster.classes import ClassRaster
from lulc.tables import store
from tests.helpers.explored_run import COLOURS, GRID, ExploredRun


def find_layer(site: Site, name: str) -> Layer:
    return next(layer for layer in site.layers if layer.name == name)


def read_png(png: bytes) -> np.ndarray:
    with rasterio.MemoryFile(png) as memory, memory.open() as file:
        return file.read(1)


def on_map(grid: Grid, image: np.ndarray) -> np.ndarray:
    """Values of an image on GRID at the centres of a grid's pixels, NODATA beyond it."""
    rows, cols = np.mgrid[: grid.height, : grid.width] + 0.5
    x, y = grid.affine @ (cols, rows)
    cols, rows = ~GRID.affine @ transformer(grid.crs, GRID.crs).transform(x, y)
    is_inside = (cols >= 0) & (cols < GRID.width) & (rows >= 0) & (rows < GRID.height)
    values = np.full(grid.shape, np.nan if image.dtype.kind == "f" else NODATA, image.dtype)
    values[is_inside] = image[rows[is_inside].astype(int), cols[is_inside].astype(int)]
    return values


def test_a_tile_of_the_last_zoom_has_the_class_at_every_pixels_place(
    site: Site, explored: ExploredRun
) -> None:
    images = {
        "classes-2020": explored.classes["2020"],
        "confidence-2021": explored.confidence,
        "margin-2021": explored.margin,
    }
    for name, image in images.items():
        layer, compared = find_layer(site, name), 0
        for col, row in layer.tiles(layer.max_zoom):
            expected = on_map(tile_grid(layer.max_zoom, col, row), image)
            png = layer.tile(layer.max_zoom, col, row)
            values = np.full(expected.shape, NODATA) if png is None else read_png(png)
            # But at the very border of a pixel, where coordinates are interpolated.
            assert (values != expected).mean() < 1e-3
            compared += int((expected != NODATA).sum())
        assert compared > explored.classes["2020"].size / 4


def test_layers_are_what_a_period_has(site: Site) -> None:
    assert [layer.name for layer in site.layers] == [
        "classes-2020",
        "confidence-2020",
        "classes-2021",
        "confidence-2021",
        "entropy-2021",
        "margin-2021",
        "colours-2021",
    ]


def test_true_colours_are_the_chips_in_one_stretch(site: Site, explored: ExploredRun) -> None:
    layer = find_layer(site, "colours-2021")
    valid = explored.colours[:, np.isfinite(explored.colours).all(0)]
    low, high = np.percentile(valid, (2, 98), axis=1)[:, :, None, None]
    for zoom in range(layer.min_zoom, layer.max_zoom + 1):
        compared = 0
        for cell in layer.tiles(zoom):
            tile = layer.tile(zoom, *cell)
            if tile is None:
                continue
            with rasterio.MemoryFile(tile) as memory, memory.open() as file:
                colours, shown = file.read((1, 2, 3)).astype(float), file.dataset_mask() > 0
            grid = tile_grid(zoom, *cell)
            physical = np.stack([on_map(grid, band) for band in explored.colours])
            expected = 255 * np.clip((physical - low) / (high - low), 0, 1)
            assert (shown != np.isfinite(physical[0])).mean() < 0.01
            both = shown & np.isfinite(physical[0])
            assert np.abs(colours - expected)[:, both].mean() < 4  # WebP is lossy
            compared += int(both.sum())
        assert compared > 1000


def test_true_colours_need_red_green_and_blue(explored: ExploredRun, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `lulc tile`"):
        find_colours(tmp_path)
    (path,) = (explored.out / "tables" / "chips").rglob("*.parquet")
    chips = [Chip.from_row(row) for row in store.read_rows(path)]
    radar = [replace(chip, bands=("vv", "vh", "blue", "nir")) for chip in chips]
    write_chips(tmp_path / "tables" / "chips" / "0.parquet", radar, {})
    with pytest.raises(InputError, match=r"no band green, red: .* `bands`"):
        find_colours(tmp_path)


def test_a_coarse_tile_has_the_class_that_is_all_around_a_place(
    site: Site, explored: ExploredRun
) -> None:
    layer, classes = site.layers[0], explored.classes["2020"]
    for fewer in (2, 3):
        zoom, reach = layer.max_zoom - fewer, 4 * 2**fewer + 1
        same = ndimage.minimum_filter(classes, reach) == ndimage.maximum_filter(classes, reach)
        uniform = np.where(same, classes, NODATA)
        compared = 0
        for col, row in layer.tiles(zoom):
            png = layer.tile(zoom, col, row)
            if png is not None:
                values, expected = read_png(png), on_map(tile_grid(zoom, col, row), uniform)
                is_sure = expected != NODATA
                assert (values[is_sure] == expected[is_sure]).all()
                compared += int(is_sure.sum())
        assert compared > 200


def test_a_tile_has_the_colours_of_the_legend(site: Site) -> None:
    layer = site.layers[0]
    png = next(p for cell in layer.tiles(12) if (p := layer.tile(12, *cell)) is not None)
    with rasterio.MemoryFile(png) as memory, memory.open() as file:
        table = file.colormap(1)
    for class_id, (_, colour) in COLOURS.items():
        assert table[class_id] == (*bytes.fromhex(colour[1:]), 255)
    assert {table[i][3] for i in range(256) if i not in COLOURS} == {0}


@pytest.mark.parametrize("name", ["classes-2020", "colours-2021"])
def test_an_archive_holds_every_tile_and_no_other(site: Site, exported: Path, name: str) -> None:
    layer = find_layer(site, name)
    with (exported / "tiles" / f"{name}.pmtiles").open("rb") as file:
        source = MmapSource(file)
        reader, count = Reader(source), len(list(all_tiles(source)))
        assert reader.header()["max_zoom"] == layer.max_zoom
        for zoom in range(layer.min_zoom, layer.max_zoom + 1):
            for col, row in layer.tiles(zoom):
                png = layer.tile(zoom, col, row)
                assert reader.get(zoom, col, row) == png
                count -= png is not None
    assert count == 0


def test_a_map_without_pixels_is_told_and_left_out(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lulc")
    full = replace(make_layer(tmp_path, [GRID.window(0, 0, 64, 64)]), period="full")
    empty = make_layer(tmp_path, [GRID.window(0, 64, 64, 64)], NODATA)
    of_earlier = tmp_path / "web" / archive_of(empty)
    of_earlier.parent.mkdir(parents=True)
    of_earlier.touch()
    (tmp_path / "web" / "map.json").touch()
    assert export_site(replace(site, layers=(empty, full)), tmp_path / "web") > 0
    layers = json.loads((tmp_path / "web" / "map.json").read_text())["layers"]
    assert [layer["name"] for layer in layers] == ["classes-full"]
    assert "classes-p has no pixel" in caplog.text and not of_earlier.exists()
    with pytest.raises(InputError, match="no map of the run has a pixel"):
        export_site(replace(site, layers=(empty,)), tmp_path / "other")


def make_layer(folder: Path, grids: list[Grid], class_id: int = 1) -> TileLayer:
    parts = []
    for number, grid in enumerate(grids):
        path = folder / f"{class_id}-{number}.tif"
        cog.write_cog(path, grid, [np.full(grid.shape, class_id, np.uint8)], {})
        parts.append(ClassRaster(str(path), 1, grid, NODATA, True, ()))
    return TileLayer("classes", "p", tuple(parts), None, {1: (1, 2, 3, 255)})


def test_a_map_across_the_antimeridian_is_whole(tmp_path: Path) -> None:
    west = Grid(WGS84, (0.01, 0.0, 179.0, 0.0, -0.01, 1.0), 100, 100)
    east = Grid(WGS84, (0.01, 0.0, -180.0, 0.0, -0.01, 1.0), 100, 100)
    layer = make_layer(tmp_path, [west, east])
    assert layer.bounds == pytest.approx((179, 0, 181, 1), abs=1e-6)
    cells = list(layer.tiles(4))
    assert {col for col, _ in cells} == {0, 15}
    for cell in cells:
        png = layer.tile(4, *cell)
        assert (png is not None) == (tile_box(4, *cell)[1] >= 0)


def test_the_last_zoom_is_that_of_the_smallest_pixels(tmp_path: Path) -> None:
    coarse = Grid(WGS84, (0.01, 0.0, 10.0, 0.0, -0.01, 1.0), 100, 100)
    fine = Grid(WGS84, (0.0025, 0.0, 11.0, 0.0, -0.0025, 1.0), 400, 400)
    layers = [make_layer(tmp_path, grids) for grids in ([coarse], [coarse, fine], [fine, coarse])]
    first, *both = (layer.max_zoom for layer in layers)
    assert both == [first + 2] * 2


def test_a_map_of_very_many_rasters_is_shown_from_the_zoom_that_reads_few(tmp_path: Path) -> None:
    side = 48  # pixels of a raster
    cells = [(side * row, side * col) for row in range(12) for col in range(12)]
    grids = [GRID.window(row, col, side, side) for row, col in cells]
    layer = make_layer(tmp_path, grids)
    assert 0 < layer.min_zoom <= layer.max_zoom
    for cell in layer.tiles(layer.min_zoom):
        assert len(layer._rasters_in(layer.min_zoom, *cell)) <= 110


def test_the_corners_of_tiles_are_those_of_the_web_map() -> None:
    assert tile_grid(0, 0, 0).bounds == pytest.approx(
        (-20037508.342789244, -20037508.342789244, 20037508.342789244, 20037508.342789244)
    )
    assert tile_box(1, 1, 0) == pytest.approx((0, 0, 180, 85.0511287798066))
    assert tile_grid(3, 5, 2).shape == (SIDE, SIDE)


def test_a_run_without_maps_is_refused(explored: ExploredRun) -> None:
    with pytest.raises(InputError, match="run `lulc rasters`"):
        find_layers(explored.config, explored.out, {}, explored.config.make_legend())
