"""Regions as outlines for a page, with the share of each class in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from lulc import store
from lulc.legend import Legend
from lulc.regions import MAP_LEVEL

# Corners nearer than this share of the picture are drawn as one.
_FINE = 1 / 800


def make(out: Path, legend: Legend) -> dict[str, Any] | None:
    """The finest level's regions that the map reaches, in its last period: classes, and of each region a path and shares.

    None where there are fewer than two. Longitudes are narrowed by the cosine of the middle's latitude.
    """
    rows = [r for r in store.read_table(out, "class_areas").to_pylist() if r["level"] != MAP_LEVEL and r["class_id"] is not None]
    if not rows:
        return None
    period = max(r["period"] for r in rows)
    counts = {level: len({r["region_id"] for r in rows if r["level"] == level}) for level in {r["level"] for r in rows}}
    level = max(counts, key=lambda name: (counts[name], name))
    if counts[level] < 2:
        return None
    rows = [r for r in rows if r["level"] == level and r["period"] == period]
    shares = {(r["region_id"], r["class_id"]): r["share"] for r in rows}
    seen = {r["region_id"] for r in rows}
    found = [r for r in store.read_table(out, "regions").to_pylist() if r["level"] == level and r["region_id"] in seen]
    shapes = shapely.from_wkb([r["geometry"] for r in found])
    west, south, east, north = shapely.total_bounds(shapes)
    narrow = float(np.cos(np.radians((south + north) / 2)))
    wide, high = (east - west) * narrow, north - south
    scale = 1000 / max(wide, high)
    classes = [c for c in legend.classes if any((r["region_id"], c.id) in shares for r in found)]
    regions = []
    for row, shape in zip(found, shapes, strict=True):
        fine = shapely.simplify(shape, max(wide, high) * _FINE)
        rings = [(shapely.get_coordinates(ring) - (west, north)) * (narrow * scale, -scale) for ring in shapely.get_rings(fine)]
        path = "".join("M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in ring.tolist()) + "Z" for ring in rings)
        told = [round(shares.get((row["region_id"], c.id)) or 0.0, 4) for c in classes]
        regions.append({"name": row["name"], "path": path, "shares": json.dumps(told)})
    box = f"-5 -5 {wide * scale + 10:.0f} {high * scale + 10:.0f}"
    return {"classes": [c.name for c in classes], "regions": regions, "box": box, "period": period}
