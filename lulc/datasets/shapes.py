"""Polygons that label an image: read from GeoJSON into the image's pixels, drawn as a mask or reduced to boxes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError
from lulc.geo.grid import WGS84, Grid, transformer

Shape = tuple[BaseGeometry, Mapping[str, Any]]
"""A geometry in (column, row) of an image, counted in pixels from its upper left corner, and the properties of its feature."""


def read_shapes(path: Path, grid: Grid | None) -> list[Shape]:
    """The features of a GeoJSON file (its own `crs`, else EPSG:4326) on a grid; of a picture without one, as they stand.

    None where the file holds no features; InputError where it is no GeoJSON, or lies where the grid's CRS has no place for it.
    """
    try:
        found = json.loads(path.read_text())
        features = found["features"] if found.get("type") == "FeatureCollection" else [found]
        shapes = [shapely.geometry.shape(f["geometry"]) for f in features if f["geometry"]]
        told = [f.get("properties") or {} for f in features if f["geometry"]]
        crs = found["crs"]["properties"]["name"] if found.get("crs") else WGS84
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is not there: every image has its file of polygons, an empty collection where it has none"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not GeoJSON ({type(error).__name__}: {error}): fetch it anew"
        ) from error
    if not shapes or grid is None:
        return list(zip(shapes, told, strict=True))
    back, forward = ~grid.affine, transformer(crs, grid.crs)

    def place(xy: np.ndarray) -> np.ndarray:
        x, y = forward.transform(*xy.T)
        return np.column_stack([back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f])

    placed = [shapely.transform(shapely.force_2d(shape), place) for shape in shapes]
    if not np.isfinite(shapely.get_coordinates(placed)).all():
        raise InputError(
            f"{path} holds places that CRS {grid.crs[:40]} of its image cannot hold: fetch both anew"
        )
    return list(zip(placed, told, strict=True))


def draw_mask(
    shapes: Iterable[tuple[BaseGeometry, int]], shape: tuple[int, int], rest: int
) -> np.ndarray:
    """(H, W) uint8: the id of the last shape that covers a pixel's centre, `rest` where none does."""
    found = [(geometry, id_) for geometry, id_ in shapes if not geometry.is_empty]
    out = np.full(shape, rest, np.uint8)
    return rasterize(found, out=out) if found else out


def shape_boxes(shapes: Iterable[tuple[BaseGeometry, int]], shape: tuple[int, int]) -> np.ndarray:
    """(N, 5) float32: id, left, top, right, bottom of every shape in pixels, cut at the image's edges; without those outside."""
    rows = [[id_, *geometry.bounds] for geometry, id_ in shapes if not geometry.is_empty]
    found = np.array(rows, np.float32).reshape(-1, 5)
    found[:, 1:] = found[:, 1:].clip(0, np.array([shape[1], shape[0]] * 2, np.float32))
    return found[(found[:, 3] > found[:, 1]) & (found[:, 4] > found[:, 2])]
