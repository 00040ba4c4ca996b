"""The indexes over a period's rasters show one map, and the whole of it without the rasters."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window
from scipy import ndimage
from shapely.geometry import box

import lulc
from lulc.geo.grid import Grid
from lulc.legend import NODATA
from lulc.maps.mosaic_index import write_mosaic
from lulc.maps.stac import MapPart
from lulc.raster import cog
from lulc.tables import layout
from tests.helpers.synthetic_predictions import LEGEND

SIDE, STEP = 1024, 10.0
CELLS = ((3, 70), (4, 70), (4, 71), (5, 72))
INDEXES = ("mosaic.vrt", "mosaic.gti.gpkg")


def _write(out: Path, sides: dict[tuple[int, int], tuple[int, int]]) -> list[MapPart]:
    # Rasters of patches of classes, with holes, at their cells; each may be smaller than SIDE.
    rng, now = np.random.default_rng(0), datetime(2024, 1, 1, tzinfo=UTC)
    parts = []
    for cell, (height, width) in sides.items():
        place = layout.raster("p", "run", cell)
        transform = (STEP, 0.0, cell[0] * SIDE * STEP, 0.0, -STEP, -cell[1] * SIDE * STEP)
        grid = Grid("EPSG:6933", transform, height, width)
        noise = ndimage.gaussian_filter(rng.normal(size=(3, height, width)), (0, 9, 9))
        classes = noise.argmax(0).astype(np.uint8)
        classes[ndimage.gaussian_filter(noise[0], 5) > 0.02] = NODATA
        cog.write_cog(out / place, grid, cog.pyramid(classes), {}, LEGEND)
        parts.append(MapPart(place, grid, (0, 0, 1, 1), now, now))
    return parts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A period's rasters in two sectors under their indexes, moved to another place."""
    out = tmp_path_factory.mktemp("mosaic")
    sides = dict.fromkeys(CELLS, (SIDE, SIDE)) | {CELLS[-1]: (700, 900)}
    write_mosaic(out, "p", _write(out, sides), LEGEND)
    return (out / "rasters" / "p").rename(out / "elsewhere")


def test_both_open_as_the_whole_map_with_nodata_and_colours(folder: Path) -> None:
    whole = np.full((2 * SIDE + 700, 2 * SIDE + 900), NODATA, np.uint8)
    for file in folder.rglob("*.tif"):
        with rasterio.open(file) as raster:
            col = round(raster.transform.c / STEP) - 3 * SIDE
            row = round(-raster.transform.f / STEP) - 70 * SIDE
            whole[row : row + raster.height, col : col + raster.width] = raster.read(1)
    for name in INDEXES:
        with rasterio.open(folder / name) as mosaic:
            np.testing.assert_array_equal(mosaic.read(1), whole)
            assert (mosaic.nodata, mosaic.crs.to_epsg()) == (NODATA, 6933)
            assert mosaic.transform[2:6:3] == (3 * SIDE * STEP, -70 * SIDE * STEP)
            assert mosaic.colormap(1)[2] == (128, 128, 128, 255)
            assert mosaic.overviews(1)[0] == 2
    style = ElementTree.parse(folder / "mosaic.qml").findall(
        "pipe/rasterrenderer[@type='paletted']/colorPalette/paletteEntry"
    )
    assert [(e.get("value"), e.get("color"), e.get("label")) for e in style] == [
        (str(c.id), c.colour, c.name) for c in LEGEND.classes
    ]


@settings(max_examples=25)
@given(data=st.data())
def test_windows_of_both_are_the_same_at_any_scale(folder: Path, data: st.DataObject) -> None:
    with rasterio.open(folder / INDEXES[0]) as vrt, rasterio.open(folder / INDEXES[1]) as gti:
        col, row = (data.draw(st.integers(0, side - 1)) for side in (vrt.width, vrt.height))
        width = data.draw(st.integers(1, vrt.width - col))
        height = data.draw(st.integers(1, vrt.height - row))
        every = data.draw(st.sampled_from([1, 1, 2, 8]))
        how = {
            "window": Window(col, row, width, height),
            "out_shape": (-(-height // every), -(-width // every)),
        }
        np.testing.assert_array_equal(gti.read(1, **how), vrt.read(1, **how))


def test_areas_taken_through_an_index_are_those_of_the_rasters(
    folder: Path, tmp_path: Path
) -> None:
    edge = SIDE * STEP
    shape = box(3.2 * edge, -72.3 * edge, 5.4 * edge, -70.1 * edge)
    regions = geopandas.GeoDataFrame({"id": ["a"]}, geometry=[shape], crs="EPSG:6933")
    regions.to_file(tmp_path / "regions.gpkg")

    def areas(pattern: Path) -> dict[int | None, float]:
        rows = lulc.class_areas({"p": str(pattern)}, tmp_path / "regions.gpkg").to_pylist()
        return {row["class_id"]: row["area_m2"] for row in rows}

    expected = areas(folder / "*" / "*.tif")
    assert len(expected) == 4
    for name in INDEXES:
        copy = tmp_path / f"{name}.tif"
        rasterio.shutil.copy(folder / name, copy, driver="GTiff", compress="zstd")
        assert areas(copy) == pytest.approx(expected, rel=1e-12)


def test_the_whole_map_is_shown_without_opening_a_raster(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in (*INDEXES, "mosaic.gti.gpkg.ovr"):
        shutil.copy(folder / name, alone)
    classes = {}
    for name in INDEXES:
        with rasterio.open(folder / name) as complete, rasterio.open(alone / name) as mosaic:
            shape = (-(-mosaic.height // 2), -(-mosaic.width // 2))
            classes[name] = mosaic.read(1, out_shape=shape)
            np.testing.assert_array_equal(complete.read(1, out_shape=shape), classes[name])
            small = mosaic.read(1, out_shape=(96, 96))
            np.testing.assert_array_equal(complete.read(1, out_shape=(96, 96)), small)
    np.testing.assert_array_equal(*classes.values())
    # It is the majority of the pixels below, as the rasters' own overviews are.
    (raster,) = folder.glob("*/run_4_71.tif")
    with rasterio.open(raster) as file:
        half = cog.majority(file.read(1), np.uint8(NODATA))
    found = classes[INDEXES[0]][SIDE // 2 : SIDE, SIDE // 2 : SIDE]
    np.testing.assert_array_equal(found, half)


def test_the_same_rasters_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    sides = dict.fromkeys(CELLS, (SIDE, SIDE)) | {CELLS[-1]: (700, 900)}
    write_mosaic(tmp_path, "p", list(reversed(_write(tmp_path, sides))), LEGEND)
    for place in layout.mosaic_files("p"):
        name = Path(place).name
        assert (tmp_path / place).read_bytes() == (folder / name).read_bytes(), name


@pytest.mark.parametrize("side", [1, 63, 1000])
def test_rasters_of_any_size_have_an_overview(tmp_path: Path, side: int) -> None:
    parts = _write(tmp_path, {(0, 0): (side, side)})
    write_mosaic(tmp_path, "p", parts, LEGEND)
    with rasterio.open(tmp_path / "rasters/p/mosaic.gti.gpkg") as mosaic:
        assert mosaic.shape == (side, side)
        assert mosaic.read(1, out_shape=(1, 1)).shape == (1, 1)
