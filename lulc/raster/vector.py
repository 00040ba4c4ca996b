"""Geometries drawn into arrays, and arrays outlined as polygons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from rasterio import features
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from lulc.geo.grid import Grid


def rasterize(
    shapes: Sequence[BaseGeometry] | Sequence[tuple[BaseGeometry, int]] | np.ndarray,
    canvas: np.ndarray,
    grid: Grid | None = None,
) -> np.ndarray:
    """Draw geometries into an array, in place.

    Args:
        shapes: Geometries, drawn as 1, or pairs of a geometry and its value; a later one covers
            those before it.
        canvas: (H, W) numbers; pixels whose centre no geometry covers are left as they are.
        grid: Grid of the array, in the CRS of the geometries; without it their coordinates are
            (column, row) from the upper left corner.

    Returns:
        The canvas.
    """
    placement = {} if grid is None else {"transform": grid.affine}
    features.rasterize(shapes, out=canvas, **placement)
    return canvas


def outline_values(
    values: np.ndarray, mask: np.ndarray, grid: Grid
) -> Iterator[tuple[BaseGeometry, int]]:
    """Yield the patches of equal values as polygons.

    Args:
        values: (H, W) uint8.
        mask: (H, W) bool; other pixels belong to no polygon.
        grid: Grid of the array.

    Yields:
        A polygon in the grid's CRS, of pixels that share a side, and their value.
    """
    for outline, value in features.shapes(values, mask=mask, transform=grid.affine):
        yield shape(outline), int(value)
