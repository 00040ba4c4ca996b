"""The area of interest of a run: a box in degrees or the polygons of a vector file."""

from __future__ import annotations

import re

import shapely
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError, UsageError
from lulc.geo.antimeridian import wrap_longitudes
from lulc.geo.reproject import to_degrees
from lulc.tables.vector_files import find_layer, polygons_of, read_features


def read_area(area: str | None) -> BaseGeometry | None:
    """Read an area of interest.

    Args:
        area: A box `xmin,ymin,xmax,ymax` in degrees (to ±360; xmin > xmax crosses the
            antimeridian), the path of a vector file, or None for no limit.

    Returns:
        The area in EPSG:4326; None where there is no limit.

    Raises:
        UsageError: The box is not valid.
        InputError: The file cannot be read, has no CRS or holds no polygon, or its place is not
            clear.
    """
    if area is None:
        return None
    if re.fullmatch(r"[-+\d.eE, ]+", area):
        return parse_box(area)
    layer = find_layer(area, "area")
    polygons = polygons_of(read_features(layer).geometries)
    numbered = [(n, polygon) for n, polygon in enumerate(polygons, 1) if polygon is not None]
    in_degrees = shapely.union_all(
        [to_degrees(polygon, layer.crs, f"polygon {n} of area {area}") for n, polygon in numbered]
    )
    if in_degrees.is_empty:
        raise InputError(f"area {area} holds no polygon with an area: give another")
    return in_degrees


def parse_box(text: str) -> BaseGeometry:
    """Return the box of a text `xmin,ymin,xmax,ymax` in degrees.

    Raises:
        UsageError: The text is not four numbers in this order and within the range of degrees.
    """
    try:
        xmin, ymin, xmax, ymax = (float(number) for number in text.split(","))
        if not (-90 <= ymin < ymax <= 90 and max(abs(xmin), abs(xmax)) <= 360):
            raise ValueError(text)
        return make_box((xmin, ymin, xmax, ymax))
    except ValueError as error:
        raise UsageError(
            f"area {text!r} must be xmin,ymin,xmax,ymax in degrees, longitude first"
        ) from error


def make_box(bounds: tuple[float, float, float, float]) -> BaseGeometry:
    """Return the box of bounds in degrees, split at the antimeridian.

    Args:
        bounds: xmin, ymin, xmax, ymax; longitudes to ±360, xmin > xmax across the antimeridian.

    Raises:
        ValueError: xmin and xmax are one meridian, or more than a turn apart.
    """
    xmin, ymin, xmax, ymax = bounds
    width = xmax - xmin if xmin < xmax else (xmax - xmin) % 360
    if not 0 < width <= 360:
        raise ValueError(f"{xmin} to {xmax}")
    return wrap_longitudes(shapely.box(xmin, ymin, xmin + width, ymax))
