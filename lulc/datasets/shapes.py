"""Polygons that label an image: read from GeoJSON into its pixels, drawn as a mask or boxed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError
from lulc.geo.grid import WGS84, Grid, nearest_turn, transformer
from lulc.location import Location
from lulc.raster.vector import rasterize
from lulc.tables.vector_files import polygons_of

DEGREES = Grid(WGS84, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), 1, 1)
"""A grid whose pixels are degrees of longitude and latitude."""
PIXELS_REMEDY = "option `units: pixels` of dataset images"
_MAX_LONGITUDE = 360

Shape = tuple[BaseGeometry, Mapping[str, Any]]
"""A geometry in (column, row) pixels of an image, counted from its upper left corner, and the
properties of its feature."""
LabelledShape = tuple[BaseGeometry, int]
"""A geometry in (column, row) pixels of an image, and its legend id."""


def read_shapes(path: Location, grid: Grid | None) -> list[Shape]:
    """Read the features of a GeoJSON file as shapes in an image's pixels.

    Args:
        path: of the file, in its own `crs`, else in EPSG:4326.
        grid: of the image; None takes coordinates as pixels, as those of a picture are.

    Raises:
        InputError: the file is missing or not GeoJSON, or its coordinates are none of its CRS, or
            none that the grid's can hold; without a grid, it names a CRS.
    """
    geometries, properties, crs = read_geojson(path)
    if not geometries:
        return []
    if grid is None and crs:
        raise InputError(
            f"{path} names the CRS {crs[:40]}, and its image has no georeference: give the image "
            "its own, or take `crs` away where coordinates are pixels"
        )
    shapes = shapely.force_2d(np.array(geometries, object))
    if grid is not None:
        shapes = _to_pixels(shapes, crs, grid, path)
    return list(zip(shapes.tolist(), properties, strict=True))


def _to_pixels(shapes: np.ndarray, crs: str, grid: Grid, path: Location) -> np.ndarray:
    xy = shapely.get_coordinates(shapes)
    # No coordinates are compared true where one is nan.
    beyond = ~(np.abs(xy) <= (_MAX_LONGITUDE, 90)).all(1)
    if not crs and beyond.any():
        x, y = xy[beyond][0]
        raise InputError(
            f"{path} names no CRS, so that its coordinates are degrees, and ({x:g}, {y:g}) is "
            "none: name their CRS in `crs`, or, where they are pixels of the image, say so "
            f"({PIXELS_REMEDY})"
        )
    x, y = transformer(crs or WGS84, grid.crs).transform(*xy.T)
    if not (np.isfinite(x) & np.isfinite(y)).all():
        raise InputError(
            f"{path} has coordinates outside of CRS {grid.crs[:40]}, which its image has: "
            "fetch both anew"
        )
    inverse, x = ~grid.affine, nearest_turn(x, grid)
    columns = inverse.a * x + inverse.b * y + inverse.c
    rows = inverse.d * x + inverse.e * y + inverse.f
    return np.asarray(shapely.set_coordinates(shapes, np.column_stack([columns, rows])))


def require_overlap(shapes: Iterable[BaseGeometry], shape: tuple[int, int], path: Location) -> None:
    """Raise InputError where there are shapes and none of them meets the image.

    Args:
        shapes: in pixels.
        shape: (H, W) of the image.
        path: of the shapes, for the message.
    """
    geometries = np.array(list(shapes), object)
    if (
        not len(geometries)
        or shapely.intersects(geometries, shapely.box(0, 0, shape[1], shape[0])).any()
    ):
        return
    left, top, right, bottom = shapely.total_bounds(geometries)
    raise InputError(
        f"{path}: none of {len(geometries)} features meets its image of {shape[1]}x{shape[0]} "
        f"pixels; they reach over columns {left:.0f} to {right:.0f} and rows {top:.0f} to "
        f"{bottom:.0f}: name their CRS in `crs`, or, where they are pixels of the image, say so "
        f"({PIXELS_REMEDY})"
    )


def areas_of(geometry: BaseGeometry) -> BaseGeometry | None:
    """Return the polygons of a geometry, also those within collections; None where it has none."""
    (polygons,) = polygons_of(np.array([geometry], object))
    return polygons if polygons is not None and polygons.area > 0 else None


def read_geojson(path: Location) -> tuple[list[BaseGeometry], list[Mapping[str, Any]], str]:
    """Read a GeoJSON file.

    Returns:
        Geometry and properties of each feature that has a geometry, and the CRS that the file
        names; empty where it names none.

    Raises:
        InputError: the file is missing or not GeoJSON.
    """
    try:
        content = json.loads(path.read_bytes())
        is_collection = content.get("type") == "FeatureCollection"
        features = content["features"] if is_collection else [content]
        features = [feature for feature in features if feature["geometry"]]
        geometries = [shapely.geometry.shape(feature["geometry"]) for feature in features]
        properties = [feature.get("properties") or {} for feature in features]
        crs = str(content["crs"]["properties"]["name"]) if content.get("crs") else ""
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is not there: every image needs its file of polygons, an empty collection "
            "where it has none"
        ) from error
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        shapely.errors.ShapelyError,
    ) as error:
        raise InputError(
            f"{path} is not GeoJSON ({type(error).__name__}: {error}): fetch it anew"
        ) from error
    return geometries, properties, crs


def draw_mask(
    shapes: Iterable[LabelledShape], shape: tuple[int, int], background: int
) -> np.ndarray:
    """Draw shapes as a mask.

    Args:
        shapes: in pixels; a later one covers those before it.
        shape: (H, W) of the mask.
        background: id of pixels whose centre no shape covers.

    Returns:
        (H, W) uint8 ids.
    """
    drawable = [(geometry, id_) for geometry, id_ in shapes if not geometry.is_empty]
    mask = np.full(shape, background, np.uint8)
    return rasterize(drawable, mask)


def shape_boxes(shapes: Iterable[LabelledShape], shape: tuple[int, int]) -> np.ndarray:
    """Return the bounding boxes of shapes.

    Args:
        shapes: in pixels.
        shape: (H, W) of the image, at whose edges the boxes are cut.

    Returns:
        (N, 5) float32 rows of id, left, top, right, bottom in pixels, without shapes that lie
        outside the image.
    """
    rows = [[id_, *geometry.bounds] for geometry, id_ in shapes if not geometry.is_empty]
    boxes = np.array(rows, np.float32).reshape(-1, 5)
    boxes[:, 1:] = boxes[:, 1:].clip(0, np.array([shape[1], shape[0]] * 2, np.float32))
    return boxes[(boxes[:, 3] > boxes[:, 1]) & (boxes[:, 4] > boxes[:, 2])]
