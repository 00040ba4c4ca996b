"""Labels wherever they lie and however their longitudes are told."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import translate
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from lulc.config import LabelConf
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.legend import NODATA, LandClass, Legend
from lulc.samples.labels import read_labels
from lulc.samples.leakage import is_near
from tests.helpers.synthetic_scenes import write_raster

LEGEND = Legend("two", (LandClass(1, "water", "#0000ff"), LandClass(2, "forest", "#00ff00")))
ACROSS = Grid("EPSG:3832", (1e3, 0.0, 3.3e6, 0.0, -1e3, -1.5e6), 64, 64)
"""From 179.6 to -179.8 degrees."""


def write(path: Path, *shapes: tuple[BaseGeometry, str], crs: str = "EPSG:4326") -> LabelConf:
    geometries, names = zip(*shapes, strict=True)
    frame = geopandas.GeoDataFrame({"class": list(names)}, geometry=list(geometries), crs=crs)
    frame.to_file(path)
    return LabelConf(str(path), column="class")


def test_labels_on_both_sides_of_180_are_both_drawn(tmp_path: Path) -> None:
    water, forest = box(178, -20, 180, -10), box(-180, -20, -178, -10)
    labels = write(tmp_path / "labels.geojson", (water, "water"), (forest, "forest"))
    found = read_labels(labels, LEGEND, ACROSS)
    columns = (found == 1).sum(1)
    assert set(np.unique(found)) == {1, 2}
    assert np.ptp(columns) <= 1
    # Where the meridian of 180 lies in this CRS, whose own is 150.
    assert columns[0] == pytest.approx((6378137 * np.pi / 6 - 3.3e6) / 1e3, abs=1)


@pytest.mark.parametrize(
    "grid",
    [
        ACROSS,
        Grid("EPSG:4326", (0.01, 0, 179.7, 0, -0.01, -13), 60, 60),
        Grid("EPSG:4326", (0.01, 0, -180.3, 0, -0.01, -13), 60, 60),
        Grid("EPSG:4258", (0.01, 0, 179.7, 0, -0.01, -13), 60, 60),
        Grid("EPSG:32760", (1e3, 0, 7.9e5, 0, -1e3, 8.56e6), 60, 60),
    ],
    ids=["pacific", "east of 180", "west of -180", "another datum", "utm"],
)
@settings(max_examples=8, deadline=None)
@given(turn=st.integers(-1, 0), split=st.booleans())
def test_labels_moved_by_a_turn_or_cut_at_180_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, grid: Grid, turn: int, split: bool
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    lake = shapely.Point(180.05, -13.5).buffer(0.2)
    plain = read_labels(write(folder / "a.gpkg", (lake, "water")), LEGEND, grid)
    told = translate(lake, 360 * turn)
    if split:
        west, east = lake & box(170, -90, 180, 90), lake & box(180, -90, 190, 90)
        told = shapely.MultiPolygon([west, translate(east, -360)])
    other = read_labels(write(folder / "b.gpkg", (told, "water")), LEGEND, grid)
    assert (plain == 1).mean() > 0.1
    assert (plain != other).mean() < 2e-3


@pytest.mark.parametrize("west", [299.0, -61.0, -421.0])
def test_a_raster_of_labels_is_found_at_any_turn(tmp_path: Path, west: float) -> None:
    codes = np.repeat([[1, 2]], 50, 1).repeat(100, 0).astype(np.uint8)
    path = write_raster(
        tmp_path / "codes.tif", codes, Grid("EPSG:4326", (0.02, 0, west, 0, -0.02, -10), 100, 100)
    )
    labels = LabelConf(str(path))
    for start in (-60.5, 299.5):
        grid = Grid("EPSG:4326", (0.01, 0, start, 0, -0.01, -10.5), 80, 100)
        found = read_labels(labels, LEGEND, grid)
        assert (found[:, :50] == 1).all()
        assert (found[:, 50:] == 2).all()


def test_parts_within_parts_and_in_collections_are_drawn(tmp_path: Path) -> None:
    grid = Grid("EPSG:32633", (10, 0, 5e5, 0, -10, 5e6), 50, 50)
    whole = box(5e5, 5e6 - 500, 5e5 + 500, 5e6)
    nested = shapely.MultiPolygon([whole, whole.buffer(-100)])
    line = shapely.LineString([(5e5, 5e6), (5e5 + 500, 5e6 - 500)])
    collected = shapely.GeometryCollection([line, shapely.GeometryCollection([nested])])
    for name, shape in (("nested", nested), ("collected", collected)):
        labels = write(tmp_path / f"{name}.gpkg", (shape, "water"), crs=grid.crs)
        assert (read_labels(labels, LEGEND, grid) == 1).all()


def test_a_side_that_may_go_either_way_round_is_refused(tmp_path: Path) -> None:
    jump = shapely.Polygon([(179, -14), (-179, -14), (-179, -13), (179, -13)])
    labels = write(tmp_path / "jump.gpkg", (jump, "water"))
    with pytest.raises(InputError, match=r"jump.gpkg has a side .* 179 to -179.*RFC 7946"):
        read_labels(labels, LEGEND, ACROSS)


def test_a_tile_far_from_all_labels_has_none(tmp_path: Path) -> None:
    labels = write(tmp_path / "labels.gpkg", (box(0, 0, 1, 1), "water"))
    assert (read_labels(labels, LEGEND, ACROSS) == NODATA).all()


def test_samples_across_180_are_near_each_other() -> None:
    west, east = box(179.99, 0, 179.999, 0.01), box(-179.999, 0, -179.99, 0.01)
    across = shapely.MultiPolygon([box(179.99, 0.02, 180, 0.03), box(-180, 0.02, -179.99, 0.03)])
    far = box(-10, 0, -9.99, 0.01)
    others = np.array([east, far], object)
    found = is_near(np.array([west, across, box(0, 0, 1, 1)], object), others, 2000.0)
    assert found.tolist() == [True, True, False]
