"""Regions as outlines for a page, with the share of each class in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import shapely

from lulc.legend import Legend
from lulc.stats.regions import MAP_LEVEL
from lulc.tables import store

# Corners nearer than this share of the picture are drawn as one.
_FINE = 1 / 800
_MOST = 5000  # regions that a browser draws at once


def outline_regions(out: Path, legend: Legend) -> dict[str, Any] | None:
    """The finest level's regions that the map reaches, in its last period: classes, and of each region a path and shares.

    Of levels with 2 to 5,000 such regions; None where there is none. Longitudes are narrowed by the cosine of the middle's
    latitude.
    """
    areas = store.read_table(out, "class_areas")
    areas = areas.filter(
        pc.and_(pc.not_equal(areas["level"], MAP_LEVEL), pc.is_valid(areas["class_id"]))
    )
    period = pc.max(areas["period"]).as_py()
    areas = areas.filter(pc.equal(areas["period"], period))
    levels = areas.group_by("level").aggregate([("region_id", "count_distinct")]).to_pylist()
    counts = {
        r["level"]: r["region_id_count_distinct"]
        for r in levels
        if 2 <= r["region_id_count_distinct"] <= _MOST
    }
    if not counts:
        return None
    level = max(counts, key=lambda name: (counts[name], name))
    rows = areas.filter(pc.equal(areas["level"], level)).to_pylist()
    shares = {(r["region_id"], r["class_id"]): r["share"] for r in rows}
    seen = {r["region_id"] for r in rows}
    found = [
        r
        for r in store.read_table(out, "regions").to_pylist()
        if r["level"] == level and r["region_id"] in seen
    ]
    shapes = shapely.from_wkb([r["geometry"] for r in found])
    west, south, east, north = shapely.total_bounds(shapes)
    narrow = float(np.cos(np.radians((south + north) / 2)))
    wide, high = (east - west) * narrow, north - south
    scale = 1000 / max(wide, high)
    classes = [c for c in legend.classes if any((r["region_id"], c.id) in shares for r in found)]
    regions = []
    for row, shape in zip(found, shapes, strict=True):
        fine = shapely.simplify(shape, max(wide, high) * _FINE)
        rings = [
            (shapely.get_coordinates(ring) - (west, north)) * (narrow * scale, -scale)
            for ring in shapely.get_rings(fine)
        ]
        path = "".join(
            "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in ring.tolist()) + "Z" for ring in rings
        )
        told = [round(shares.get((row["region_id"], c.id)) or 0.0, 4) for c in classes]
        regions.append({"name": row["name"], "path": path, "shares": json.dumps(told)})
    box = f"-5 -5 {wide * scale + 10:.0f} {high * scale + 10:.0f}"
    return {"classes": [c.name for c in classes], "regions": regions, "box": box, "period": period}
