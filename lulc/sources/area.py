"""The area of interest of a run: a box in degrees or the polygons of a vector file."""

from __future__ import annotations

import re

import shapely
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError, UsageError
from lulc.geo import grid
from lulc.tables.vector_files import find_layer, polygons_of, read_features


def read_area(area: str | None) -> BaseGeometry | None:
    """Read an area of interest.

    Args:
        area: A box `xmin,ymin,xmax,ymax` in degrees (xmin > xmax crosses the antimeridian), the
            path of a vector file, or None for no limit.

    Returns:
        The area in EPSG:4326; None where there is no limit.

    Raises:
        UsageError: The box is not valid.
        InputError: The file cannot be read, has no CRS or holds no polygon.
    """
    if area is None:
        return None
    if re.fullmatch(r"[-+\d.eE, ]+", area):
        return parse_box(area)
    layer = find_layer(area, "area")
    polygons = polygons_of(read_features(layer).geometries)
    geometry = shapely.union_all(shapely.make_valid(polygons))
    if geometry.is_empty:
        raise InputError(f"area {area} holds no polygon")
    return shapely.make_valid(grid.project(geometry, layer.crs, grid.WGS84))


def parse_box(text: str) -> BaseGeometry:
    """Return the box of a text `xmin,ymin,xmax,ymax` in degrees.

    Raises:
        UsageError: The text is not four numbers in this order and within the range of degrees.
    """
    try:
        xmin, ymin, xmax, ymax = (float(number) for number in text.split(","))
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
    """Return the box of bounds in degrees; two boxes where xmin > xmax, across the antimeridian."""
    xmin, ymin, xmax, ymax = bounds
    if xmin < xmax:
        return shapely.box(*bounds)
    return shapely.union_all(
        [shapely.box(xmin, ymin, 180, ymax), shapely.box(-180, ymin, xmax, ymax)]
    )
