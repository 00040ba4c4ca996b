"""Outlines of regions for a page, with the share of each class in them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from shapely.geometry.base import BaseGeometry

from lulc.legend import Legend
from lulc.location import Location
from lulc.stats.regions import MAP_LEVEL
from lulc.tables import store

_TOLERANCE = 1 / 800  # of the picture's side, by which outlines are simplified
_MAX_REGIONS = 5000  # that a browser draws at once
_SIDE = 1000  # units of the picture's longer side
_MARGIN = 5  # units


@dataclass(frozen=True)
class _Frame:
    # The picture's plane: x = (longitude - west) * narrowing * scale and
    # y = (north - latitude) * scale. narrowing: length of a degree of longitude by one of latitude;
    # width and height: degrees of latitude.
    west: float
    north: float
    width: float
    height: float
    narrowing: float

    @property
    def scale(self) -> float:
        """Units a degree of latitude."""
        return _SIDE / max(self.width, self.height)

    @property
    def view_box(self) -> str:
        """The picture's SVG view box."""
        width, height = (size * self.scale + 2 * _MARGIN for size in (self.width, self.height))
        return f"{-_MARGIN} {-_MARGIN} {width:.0f} {height:.0f}"

    def path(self, shape: BaseGeometry) -> str:
        """Return a polygon as an SVG path."""
        simple = shapely.simplify(shape, max(self.width, self.height) * _TOLERANCE)
        factors = (self.narrowing * self.scale, -self.scale)
        rings = [
            (shapely.get_coordinates(ring) - (self.west, self.north)) * factors
            for ring in shapely.get_rings(simple)
        ]
        return "".join(
            "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in ring.tolist()) + "Z" for ring in rings
        )


def outline_regions(out: Location, legend: Legend) -> dict[str, Any] | None:
    """Outline the regions of the finest level, with their classes in the last period.

    The finest level is the one with the most mapped regions, of those with 2 to 5,000. Longitudes
    are narrowed by the cosine of the mean latitude.

    Args:
        out: output folder of the run.
        legend: order and names of the classes.

    Returns:
        `classes` (names), `regions` (name, SVG path, and shares 0–1 of the classes as JSON), `box`
        (SVG view box) and `period`; None where no level has so many regions.
    """
    areas = store.read_table(out, "class_areas")
    areas = areas.filter(pc.is_valid(areas["class_id"]))
    period = pc.max(areas["period"]).as_py()
    areas = areas.filter(pc.equal(areas["period"], period))
    level = finest_level(areas, _MAX_REGIONS)
    if level is None:
        return None
    rows = areas.filter(pc.equal(areas["level"], level)).to_pylist()
    shares = {(row["region_id"], row["class_id"]): row["share"] for row in rows}
    mapped_ids = {row["region_id"] for row in rows}
    regions = [
        row
        for row in store.read_table(out, "regions").to_pylist()
        if row["level"] == level and row["region_id"] in mapped_ids
    ]
    classes = [
        entry
        for entry in legend.classes
        if any((row["region_id"], entry.id) in shares for row in regions)
    ]
    shapes = shapely.from_wkb([row["geometry"] for row in regions])
    frame = _frame(shapes)
    outlines = []
    for row, shape in zip(regions, shapes, strict=True):
        class_shares = [
            round(shares.get((row["region_id"], entry.id)) or 0.0, 4) for entry in classes
        ]
        outlines.append(
            {"name": row["name"], "path": frame.path(shape), "shares": json.dumps(class_shares)}
        )
    return {
        "classes": [entry.name for entry in classes],
        "regions": outlines,
        "box": frame.view_box,
        "period": period,
    }


def finest_level(rows: pa.Table, most: int | None = None) -> str | None:
    """Return the level with the most regions, of those with two or more; not the whole map.

    Args:
        rows: a table with columns `level` and `region_id`.
        most: regions that a level may have; None for any number.
    """
    groups = rows.group_by("level").aggregate([("region_id", "count_distinct")]).to_pylist()
    counts = {
        group["level"]: group["region_id_count_distinct"]
        for group in groups
        if group["level"] != MAP_LEVEL
        and 2 <= group["region_id_count_distinct"] <= (most or math.inf)
    }
    return max(counts, key=lambda level: (counts[level], level), default=None)


def _frame(shapes: np.ndarray) -> _Frame:
    west, south, east, north = shapely.total_bounds(shapes)
    narrowing = float(np.cos(np.radians((south + north) / 2)))
    return _Frame(west, north, (east - west) * narrowing, north - south, narrowing)
