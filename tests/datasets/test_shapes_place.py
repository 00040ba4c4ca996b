"""Polygons of a dataset meet their image at whatever turn of longitude it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shapely.geometry import box, mapping

from lulc.datasets.shapes import read_shapes
from lulc.geo.grid import Grid


@pytest.mark.parametrize("west", [-60.0, 300.0])
def test_polygons_are_placed_on_an_image_beyond_180(tmp_path: Path, west: float) -> None:
    path = tmp_path / "a.geojson"
    feature = {
        "type": "Feature",
        "properties": {},
        "geometry": mapping(box(-59.9, 0.1, -59.8, 0.2)),
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    ((placed, _),) = read_shapes(path, Grid("EPSG:4326", (0.01, 0, west, 0, -0.01, 1), 100, 100))
    assert placed.bounds == pytest.approx((10, 80, 20, 90))
