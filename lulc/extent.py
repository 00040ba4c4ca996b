"""Where a run maps: the area it is given, and the blocks of tiles that footprints reach in it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from lulc import geo
from lulc.errors import InputError, UsageError
from lulc.geo import Tiling

Cell = tuple[int, int]  # (col, row) of a block's top left tile


def read_area(area: str | None) -> BaseGeometry | None:
    """The area in degrees, of `xmin,ymin,xmax,ymax` (xmin > xmax: across the antimeridian) or a vector file; None: everywhere."""
    if area is None:
        return None
    if re.fullmatch(r"[-+\d.eE, ]+", area):
        return parse_box(area)
    import geopandas

    try:
        frame = geopandas.read_file(area)
    except Exception as error:
        raise InputError(
            f"area {area} cannot be read as a vector file ({error}); a box is xmin,ymin,xmax,ymax in degrees"
        ) from error
    if frame.crs is None:
        raise InputError(f"area {area} has no CRS: write it into the file")
    found = frame.geometry.make_valid().union_all()
    if found.is_empty:
        raise InputError(f"area {area} holds no polygon")
    return shapely.make_valid(geo.project(found, frame.crs.to_wkt(), geo.WGS84))


def parse_box(text: str) -> BaseGeometry:
    """The box of a text `xmin,ymin,xmax,ymax` in degrees; UsageError when it is not one."""
    try:
        xmin, ymin, xmax, ymax = (float(part) for part in text.split(","))
        if not (ymin < ymax and ymin >= -90 and ymax <= 90 and xmin != xmax and max(abs(xmin), abs(xmax)) <= 180):
            raise ValueError(text)
    except ValueError as error:
        raise UsageError(f"area {text!r} must be xmin,ymin,xmax,ymax in degrees, longitude first") from error
    return make_box((xmin, ymin, xmax, ymax))


def make_box(bounds: tuple[float, float, float, float]) -> BaseGeometry:
    """The box of bounds in degrees; two boxes where xmin > xmax, across the antimeridian."""
    xmin, ymin, xmax, ymax = bounds
    if xmin < xmax:
        return shapely.box(*bounds)
    return shapely.union_all([shapely.box(xmin, ymin, 180, ymax), shapely.box(-180, ymin, xmax, ymax)])


def find_cells(footprints: Iterable[BaseGeometry], tiling: Tiling, span: int, area: BaseGeometry | None) -> list[Cell]:
    """(col, row) of the blocks that footprints (in degrees) may reach and whose cores touch the area, by rows."""
    found: set[Cell] = set()
    for outline in footprints:
        for part in getattr(outline, "geoms", [outline]):
            bounds = _bounds(part, tiling.crs)
            found.update(() if bounds is None else tiling.cells(bounds, span))
    if area is not None:
        shapely.prepare(area)
    return sorted((c for c in found if area is None or _touches(c, tiling, span, area)), key=lambda c: c[::-1])


def _bounds(outline: BaseGeometry, crs: str) -> tuple[float, float, float, float] | None:
    # Points that the CRS cannot place are left out: a footprint may reach beyond what the tiling's CRS covers.
    places = shapely.get_coordinates(geo.project(outline, geo.WGS84, crs))
    places = places[np.isfinite(places).all(1)]
    if not len(places):
        return None
    (xmin, ymin), (xmax, ymax) = places.min(0), places.max(0)
    return float(xmin), float(ymin), float(xmax), float(ymax)


def _touches(cell: Cell, tiling: Tiling, span: int, area: BaseGeometry) -> bool:
    try:
        return bool(area.intersects(geo.footprint(tiling.grid(*cell, span=span))))
    except InputError:
        return False


def block_of(tile_id: str, tiling: Tiling, span: int) -> Cell:
    """The block that holds a tile; UsageError when the tile is of another tiling."""
    col, row = tiling.parse(tile_id)
    return col // span * span, row // span * span
