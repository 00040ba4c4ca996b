"""Areas by region wherever a map lies and however its CRS and longitudes are told."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from lulc.config import MapFiles, RegionFile
from lulc.geo.areas import degrees_area
from lulc.geo.grid import Grid
from lulc.stats.without_spark import measure_class_rasters
from tests.helpers.synthetic_scenes import write_raster

MODIS_SPHERE = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"


def areas_of(folder: Path, grid: Grid, classes: np.ndarray, region: BaseGeometry) -> dict:
    """m² by class id, None of what is not observed."""
    write_raster(folder / "map.tif", classes, grid)
    path = folder / "regions.gpkg"
    geopandas.GeoDataFrame({"id": ["a"]}, geometry=[region], crs="EPSG:4326").to_file(path)
    tables = measure_class_rasters(
        [MapFiles(str(folder / "map.tif"), "1")], [RegionFile(str(path))]
    )
    return {row["class_id"]: row["area_m2"] for row in tables.class_areas.to_pylist()}


@pytest.mark.parametrize(
    ("grid", "region"),
    [
        (
            Grid(MODIS_SPHERE, (463.3127, 0, 1.1119505e6, 0, -463.3127, 5.5597526e6), 40, 60),
            box(15.65, 49.85, 15.85, 49.95),
        ),
        (Grid("EPSG:3410", (25000, 0, 1e6, 0, -25000, 5e6), 20, 20), box(12, 39, 14, 42)),
        (Grid("EPSG:3408", (25000, 0, -3e5, 0, -25000, 3e5), 24, 24), box(-180, 88.5, 180, 90)),
        (Grid("EPSG:4035", (0.05, 0, 10, 0, -0.05, 60), 40, 40), box(10.5, 58.5, 11.5, 59.5)),
        (Grid("EPSG:4807", (0.01, 0, 1, 0, -0.01, 54), 40, 40), box(3.29, 48.3, 3.5, 48.5)),
        (Grid("EPSG:27572", (100, 0, 6e5, 0, -100, 2.4e6), 90, 90), box(2.36, 48.54, 2.4, 48.58)),
        (
            Grid("EPSG:2227", (100, 0, 6e6, 0, -100, 2.1e6), 80, 80),
            box(-122.435, 37.73, -122.42, 37.74),
        ),
    ],
    ids=["modis", "ease", "ease north", "sphere in degrees", "grads", "paris", "feet"],
)
def test_a_region_within_the_map_has_its_true_area(
    tmp_path: Path, grid: Grid, region: BaseGeometry
) -> None:
    found = areas_of(tmp_path, grid, np.full(grid.shape, 5, np.uint8), region)
    assert found[5] == pytest.approx(degrees_area(region), rel=1e-6)
    assert found[None] == pytest.approx(0, abs=1e-6 * found[5])
