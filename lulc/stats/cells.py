"""Cells that cover the Earth, squares of an equal-area grid or hexagons of H3, and their areas.

The squares are those of EPSG:6933 (EASE-Grid 2.0), of which a cell is one wherever it lies; its
sides are parallels and meridians. So all cells are polygons in longitude and latitude, and each
pixel goes to them by the shares that they cover of it.
"""

from __future__ import annotations

import importlib
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import shapely
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError, UsageError
from lulc.geo.antimeridian import polygon_of_ring
from lulc.geo.grid import WGS84, Grid, footprint, transformer
from lulc.legend import NODATA
from lulc.stats.regions import MAP_LEVEL, Region
from lulc.stats.zonal import INSIDE, SEAM
from lulc.tables import schemas

type Rows = list[dict[str, Any]]
type Count = Callable[[Sequence[tuple[int, int]], Callable[[int], Region]], Rows]
"""Counts pairs of row and region position as `zonal.count_block` does, in one file or block."""

PARTS = pa.schema([pa.field("cell_id", pa.string()), *list(INSIDE)[1:]])
"""Schema of what the tiles of one file hold of a cell, by class."""

_EQUAL_AREA = "EPSG:6933"
_MOST = 1_000_000  # cells that meet a tile
_ROUNDING = 1e-9  # of the area of a block, in the sum over its cells
_H3_DEGREES = 60.0  # H3 takes a polygon that is wider than half the Earth for its other side
# H3 takes sides for arcs. Those of cells of a resolution of 5 or more lie within the margin of
# `_boxes` of their chords but near the poles; else a cell beside those that H3 gives may be met.
_FINE, _HIGH = 5, 80.0


class Cells(Protocol):
    """A grid of cells over the whole Earth."""

    def meeting(self, outline: BaseGeometry) -> Mapping[str, BaseGeometry]:
        """Return id and polygon of the cells that an outline in EPSG:4326 meets.

        Cells that lie near it may be among them.
        """
        ...


def parse_cells(text: str) -> Cells:
    """Return the cells that a text names, such as `1km`, `500m` or `h3:7`."""
    if text.startswith("h3:"):
        importlib.import_module("h3")  # told where it is missing before workers begin
        return _Hexagons(int(text.removeprefix("h3:")))
    number, unit = re.fullmatch(r"([\d.]+)(k?m)", text).groups()  # type: ignore[union-attr]
    return _Squares(text, float(number) * (1000 if unit == "km" else 1))


@dataclass(frozen=True)
class _Squares:
    """Squares of EPSG:6933, named like tiles: `6933-<side>/<col>_<row>`, rows counted down."""

    side: str
    side_m: float

    @cached_property
    def _ends(self) -> tuple[float, float]:
        # x of the antimeridian and y of the pole.
        x, y = transformer(WGS84, _EQUAL_AREA).transform([180.0, 0.0], [0.0, 90.0])
        return float(x[0]), float(y[1])

    def meeting(self, outline: BaseGeometry) -> Mapping[str, BaseGeometry]:
        cells: dict[str, BaseGeometry] = {}
        for box in _boxes(outline, 360.0):
            x, y = transformer(WGS84, _EQUAL_AREA).transform(box[[0, 2]], box[[1, 3]])
            first_col, last_col = np.floor(x / self.side_m).astype(int).tolist()
            last_row, first_row = np.floor(-y / self.side_m).astype(int).tolist()
            cols = np.arange(first_col, last_col + 1)
            rows = np.arange(first_row, last_row + 1)
            _check_number(len(cols) * len(rows), self.side)
            lon, lat = self._longitudes(cols), self._latitudes(rows)
            i, j = (index.ravel() for index in np.indices((len(cols), len(rows))))
            polygons = shapely.box(lon[i], lat[j + 1], lon[i + 1], lat[j])
            # Beyond the ends of the Earth a cell has no area.
            cells |= {
                f"6933-{self.side}/{col}_{row}": polygon
                for col, row, polygon in zip(
                    cols[i].tolist(), rows[j].tolist(), polygons, strict=True
                )
                if polygon.area > 0
            }
        return cells

    def _longitudes(self, cols: np.ndarray) -> np.ndarray:
        # Of the sides of columns, which end at the antimeridian.
        x = np.append(cols, cols[-1] + 1) * self.side_m
        end = self._ends[0]
        lon = transformer(_EQUAL_AREA, WGS84).transform(np.clip(x, -end, end), np.zeros(len(x)))[0]
        return np.select([x <= -end, x >= end], [-180.0, 180.0], lon)

    def _latitudes(self, rows: np.ndarray) -> np.ndarray:
        # Of the sides of rows, downwards, which end at the poles.
        y = -np.append(rows, rows[-1] + 1) * self.side_m
        end = self._ends[1]
        lat = transformer(_EQUAL_AREA, WGS84).transform(np.zeros(len(y)), np.clip(y, -end, end))[1]
        return np.select([y <= -end, y >= end], [-90.0, 90.0], lat)


@dataclass(frozen=True)
class _Hexagons:
    """Cells of H3 at a resolution; their sides are straight in longitude and latitude."""

    resolution: int

    def meeting(self, outline: BaseGeometry) -> Mapping[str, BaseGeometry]:
        import h3

        area_m2 = h3.average_hexagon_area(self.resolution, "m^2")
        cells: set[str] = set()
        for west, south, east, north in _boxes(outline, _H3_DEGREES):
            box_m2 = (east - west) * (north - south) * 111_320.0**2
            _check_number(box_m2 / area_m2, f"h3:{self.resolution}")
            box = h3.LatLngPoly([(south, west), (south, east), (north, east), (north, west)])
            overlapping = h3.h3shape_to_cells_experimental(box, self.resolution, "overlap")
            cells.update(overlapping)
            if self.resolution < _FINE or max(north, -south) > _HIGH:
                cells.update(*(h3.grid_disk(cell, 1) for cell in overlapping))
        return {cell: _hexagon(h3.cell_to_boundary(cell)) for cell in sorted(cells)}


def _hexagon(corners: Sequence[tuple[float, float]]) -> BaseGeometry:
    lat, lon = np.array([*corners, corners[0]]).T
    return polygon_of_ring(lon, lat)


def _boxes(outline: BaseGeometry, width: float) -> list[np.ndarray]:
    # West, south, east and north of boxes around the parts of an outline, a little larger, as its
    # sides are chords; each as wide as is told at most.
    boxes = []
    for west, south, east, north in shapely.bounds(shapely.get_parts(outline)).tolist():
        margin = 0.001 * (east - west + north - south) + 1e-4
        west, east = max(west - margin, -180.0), min(east + margin, 180.0)
        south, north = max(south - margin, -90.0), min(north + margin, 90.0)
        count = int(np.ceil((east - west) / width))
        sides = np.linspace(west, east, count + 1)
        boxes += [np.array([a, south, b, north]) for a, b in itertools.pairwise(sides)]
    return boxes


def _check_number(count: float, text: str) -> None:
    if count > _MOST:
        raise UsageError(
            f"stats.grid {text}: a tile meets {count:,.0f} cells: choose cells that are larger"
        )


def count_cells(tiles: Sequence[tuple[int, Grid]], cells: Cells, count: Count) -> Rows:
    """Count the classes of the tiles of a file, or of a block of a raster, by cell.

    Args:
        tiles: row and grid of each.
        cells: the cells.
        count: counts regions in them; cells are regions to it.

    Returns:
        Rows of PARTS.

    Raises:
        InputError: the cells together do not hold what the tiles hold.
    """
    polygons: dict[str, BaseGeometry] = {}
    met = []
    for row, grid in tiles:
        of_tile = cells.meeting(footprint(grid))
        polygons |= of_tile
        met += [(row, cell_id) for cell_id in of_tile]
    ids = sorted(polygons)
    positions = {cell_id: position for position, cell_id in enumerate(ids)}
    whole = len(ids)  # the position of the whole map

    def region_at(position: int) -> Region:
        if position == whole:
            return Region(position, MAP_LEVEL, shapely.Polygon(), whole_map=True)
        return Region(position, "cell", polygons[ids[position]])

    pairs = [(row, positions[cell_id]) for row, cell_id in met]
    counted = count([*pairs, *((row, whole) for row, _ in tiles)], region_at)
    parts = [row for row in counted if row["position"] != whole]
    _check_sums(parts, [row for row in counted if row["position"] == whole])
    return [
        {"cell_id": ids[row["position"]]} | {name: row[name] for name in INSIDE.names[1:]}
        for row in parts
        if row["class_id"] != SEAM
    ]


def _check_sums(parts: Rows, totals: Rows) -> None:
    # Cells partition the Earth, so that their areas are those of the tiles by class.
    sums: dict[tuple[Any, ...], float] = {}
    for sign, rows in ((1, parts), (-1, totals)):
        for row in rows:
            key = row["period"], row["model"], row["class_id"]
            sums[key] = sums.get(key, 0.0) + sign * row["area_m2"]
    block_m2 = sum(row["area_m2"] for row in totals)
    off = {key: gap for key, gap in sums.items() if abs(gap) > _ROUNDING * block_m2}
    if off:
        (period, _, class_id), gap = max(off.items(), key=lambda entry: abs(entry[1]))
        raise InputError(
            f"class {class_id} of period {period} has {gap:+.1f} m² in the cells of stats.grid "
            f"that it has not in the {block_m2:.1f} m² of their tiles: the CRS of the map does not "
            "hold for all of it; map in one that does, or leave stats.grid out"
        )


def cell_areas(sums: pa.Table, names: Mapping[int, str]) -> pa.Table:
    """Return rows of the cell_areas table.

    Args:
        sums: rows of PARTS, one for each cell, period, model and class.
        names: class names by id.
    """
    rows = sums.to_pylist()
    for row in rows:
        is_class = row["class_id"] < NODATA
        row["class_name"] = names.get(row["class_id"]) if is_class else "unobserved"
        row["mean_confidence"] = row["confidence_m2"] / row["area_m2"]
        if not is_class or math.isnan(row["mean_confidence"]):
            row["mean_confidence"] = row["confident_m2"] = None
        if not is_class:
            row["class_id"] = None
    return pa.Table.from_pylist(rows, schemas.CELL_AREAS)
