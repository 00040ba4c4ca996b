"""The area of interest of a run: a box in degrees or a vector file."""

from __future__ import annotations

import re

import shapely
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError, UsageError
from lulc.geo import grid


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
    return shapely.make_valid(grid.project(found, frame.crs.to_wkt(), grid.WGS84))


def parse_box(text: str) -> BaseGeometry:
    """The box of a text `xmin,ymin,xmax,ymax` in degrees; UsageError when it is not one."""
    try:
        xmin, ymin, xmax, ymax = (float(part) for part in text.split(","))
        if not (
            ymin < ymax
            and ymin >= -90
            and ymax <= 90
            and xmin != xmax
            and max(abs(xmin), abs(xmax)) <= 180
        ):
            raise ValueError(text)
    except ValueError as error:
        raise UsageError(
            f"area {text!r} must be xmin,ymin,xmax,ymax in degrees, longitude first"
        ) from error
    return make_box((xmin, ymin, xmax, ymax))


def make_box(bounds: tuple[float, float, float, float]) -> BaseGeometry:
    """The box of bounds in degrees; two boxes where xmin > xmax, across the antimeridian."""
    xmin, ymin, xmax, ymax = bounds
    if xmin < xmax:
        return shapely.box(*bounds)
    return shapely.union_all(
        [shapely.box(xmin, ymin, 180, ymax), shapely.box(-180, ymin, xmax, ymax)]
    )
