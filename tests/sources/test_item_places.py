"""Where STAC items say that they lie: geometries and boxes across 180, beyond it, or missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from shapely.geometry import box, mapping

from lulc.config import Archive
from lulc.errors import InputError
from lulc.geo.grid import Grid, footprint
from lulc.sources import registry
from lulc.sources.catalogues.static import _touches
from lulc.sources.scene import Scene
from tests.helpers.synthetic_scenes import write_raster

ACROSS = Grid("EPSG:32760", (1e3, 0, 750_000, 0, -1e3, 8.3e6), 100, 100)
OUTLINE = footprint(ACROSS)
RING = [(179.3, -16.3), (-179.7, -16.3), (-179.7, -15.3), (179.3, -15.3), (179.3, -16.3)]


def read(folder: Path, geometry: Any, grid: Grid = ACROSS) -> Scene:
    write_raster(folder / "red.tif", np.ones((1, *grid.shape), np.uint16), grid)
    content = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "s",
        "geometry": geometry,
        "links": [],
        "properties": {"datetime": "2024-06-08T10:11:12Z"},
        "assets": {"red": {"href": "red.tif"}},
    }
    (folder / "s.json").write_text(json.dumps(content))
    archive = Archive(str(folder))
    source = registry.source_of(archive)
    (item,) = source.items(archive)
    return source.read(item, archive, ())


@pytest.mark.parametrize(
    "geometry",
    [
        mapping(OUTLINE),
        {"type": "Polygon", "coordinates": [RING]},
        {"type": "Polygon", "coordinates": [[(lon % 360, lat) for lon, lat in RING]]},
        {"type": "Polygon", "coordinates": [[(lon, lat, 10.0) for lon, lat in RING]]},
        {"type": "Point", "coordinates": [179.6, -15.8]},
        None,
        {},
    ],
    ids=["cut", "not cut", "beyond 180", "with heights", "point", "null", "empty"],
)
def test_an_item_across_180_lies_where_its_raster_does(tmp_path: Path, geometry: Any) -> None:
    scene = read(tmp_path, geometry)
    assert shapely.from_wkb(scene.footprint).area < 2


def test_an_item_that_goes_the_short_way_does_not_lie_on_the_other_side(tmp_path: Path) -> None:
    europe = Grid("EPSG:32633", (20.0, 0.0, 500_000.0, 0.0, -20.0, 5_300_000.0), 48, 64)
    with pytest.raises(InputError, match="one of them is wrong"):
        read(tmp_path, {"type": "Polygon", "coordinates": [[(x, -y) for x, y in RING]]}, europe)
    assert read(tmp_path, mapping(box(374, 47, 376, 48)), europe).scene_id == "s"


@pytest.mark.parametrize(
    "geometry", [{"type": "Polygon"}, {"type": "Polygon", "coordinates": [[[1]]]}, "here", [1]]
)
def test_a_geometry_that_is_none_is_refused_by_the_items_name(
    tmp_path: Path, geometry: Any
) -> None:
    with pytest.raises(InputError, match=r"\bs\b.*not a valid"):
        read(tmp_path, geometry)


@pytest.mark.parametrize(
    ("bbox", "touches"),
    [
        ([179, -17, 181, -15], True),
        ([179, -17, -179, -15], True),
        ([179, -17, 0, -179, -15, 500], True),
        ([-181, -17, -179.5, -15], True),
        ([0, -17, 360, -15], True),
        ([-180, -90, 180, 90], True),
        ([-179.9, -16, -179.9, -16], True),
        ([0, -17, 170, -15], False),
        ([-178, -17, 178, -15], False),
        ([179, 15, -179, 17], False),
        ([], True),
        (None, True),
        ([None, None, None, None], True),
        ("179,-17,181,-15", True),
    ],
)
def test_boxes_of_items_meet_an_area_across_180(bbox: Any, touches: bool) -> None:
    boxes = [(179.5, -18.0, 180.0, -14.0), (-180.0, -18.0, -179.5, -14.0)]
    assert _touches(bbox, boxes) == touches
    assert _touches(bbox, [])
