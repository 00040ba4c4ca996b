"""Polygons that label an image: read from GeoJSON into its pixels, drawn as a mask or boxed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError
from lulc.geo.grid import WGS84, Grid, transformer
from lulc.raster.vector import rasterize

Shape = tuple[BaseGeometry, Mapping[str, Any]]
"""A geometry in (column, row) pixels of an image, counted from its upper left corner, and the
properties of its feature."""
LabelledShape = tuple[BaseGeometry, int]
"""A geometry in (column, row) pixels of an image, and its legend id."""


def read_shapes(path: Path, grid: Grid | None) -> list[Shape]:
    """Read the features of a GeoJSON file as shapes in an image's pixels.

    Args:
        path: of the file, in its own `crs`, else in EPSG:4326.
        grid: of the image; None for a picture without one, whose coordinates are taken as they are.

    Raises:
        InputError: the file is missing or not GeoJSON, or the grid's CRS cannot hold its
            coordinates.
    """
    geometries, properties, crs = _parse_features(path)
    if not geometries or grid is None:
        return list(zip(geometries, properties, strict=True))
    inverse, to_grid_crs = ~grid.affine, transformer(crs, grid.crs)

    def to_pixels(xy: np.ndarray) -> np.ndarray:
        x, y = to_grid_crs.transform(*xy.T)
        columns = inverse.a * x + inverse.b * y + inverse.c
        rows = inverse.d * x + inverse.e * y + inverse.f
        return np.column_stack([columns, rows])

    in_pixels = [shapely.transform(shapely.force_2d(shape), to_pixels) for shape in geometries]
    if not np.isfinite(shapely.get_coordinates(in_pixels)).all():
        raise InputError(
            f"{path} has coordinates outside of CRS {grid.crs[:40]}, which its image has: "
            "fetch both anew"
        )
    return list(zip(in_pixels, properties, strict=True))


def _parse_features(path: Path) -> tuple[list[BaseGeometry], list[Mapping[str, Any]], str]:
    """Return geometry and properties of each feature that has a geometry, and the CRS of all."""
    try:
        content = json.loads(path.read_text())
        is_collection = content.get("type") == "FeatureCollection"
        features = content["features"] if is_collection else [content]
        features = [feature for feature in features if feature["geometry"]]
        geometries = [shapely.geometry.shape(feature["geometry"]) for feature in features]
        properties = [feature.get("properties") or {} for feature in features]
        crs = content["crs"]["properties"]["name"] if content.get("crs") else WGS84
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is not there: every image needs its file of polygons, an empty collection "
            "where it has none"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
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
