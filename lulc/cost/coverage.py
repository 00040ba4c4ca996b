"""How scenes lie on the blocks of a run: how many on each, and how much of it they cover.

Scenes of one outline are counted together, so that a year of a continent takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from lulc.chips.extent import find_cells
from lulc.geo.grid import WGS84, project, turn_of
from lulc.geo.tiling import Tiling

_TURNS = (-2, -1, 0, 1, 2)
_PAIRS_AT_ONCE = 200_000


@dataclass(frozen=True, eq=False)
class Coverage:
    """N blocks of tiles and which of U outlines reach them."""

    cells: np.ndarray
    """(N, 2) col and row of each block's top left tile."""
    tiles: np.ndarray
    """(M, 2) col and row of every tile that an outline reaches."""
    block_of_tile: np.ndarray
    """(M,) position of its block."""
    outline: np.ndarray
    """(P,) position of the outline of each pair of an outline and a block."""
    block: np.ndarray
    """(P,) position of the block."""
    share: np.ndarray
    """(P,) how much of the block, its margin with it, the outline covers."""

    def sum_over(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how many scenes reach each block, and how often they cover it.

        Args:
            counts: (U,) scenes of each outline.

        Returns:
            (N,) scenes; (N,) sum of the shares of the block that they cover.
        """
        weights = counts[self.outline].astype(float)
        blocks = len(self.cells)
        return (
            np.bincount(self.block, weights, blocks),
            np.bincount(self.block, weights * self.share, blocks),
        )

    def count_tiles(self, blocks: np.ndarray) -> np.ndarray:
        """Return how many tiles are reached of each block, (N,), 0 of those not in (N,) bool."""
        return np.asarray(np.bincount(self.block_of_tile, minlength=len(self.cells)) * blocks)


def cover(
    outlines: Sequence[BaseGeometry],
    tiling: Tiling,
    span: int,
    halo: int,
    area: BaseGeometry | None,
) -> Coverage:
    """Return how outlines lie on the blocks that touch an area.

    Args:
        outlines: distinct footprints, in degrees.
        tiling: the run's tiling.
        span: a block is `span` x `span` tiles.
        halo: pixels around a block that are read with it.
        area: in degrees; None for no limit.
    """
    cells = np.array(find_cells(outlines, tiling, span, area), np.int64).reshape(-1, 2)
    placed, owner = _place(outlines, tiling)
    boxes = _boxes(cells, tiling, span, halo)
    polygon, block = shapely.STRtree(boxes).query(placed, predicate="intersects")
    share = _shares(placed, boxes, polygon, block)
    # The polygons of one outline do not overlap.
    key, pair = np.unique(owner[polygon] * max(1, len(cells)) + block, return_inverse=True)
    share = np.minimum(1.0, np.bincount(pair, share, len(key)))
    outline, block = np.divmod(key, max(1, len(cells)))
    touched, position = np.unique(block, return_inverse=True)
    cells = cells[touched]
    tiles, block_of_tile = _tiles(cells, placed, tiling, span)
    return Coverage(cells, tiles, block_of_tile, outline, position, share)


def _place(outlines: Sequence[BaseGeometry], tiling: Tiling) -> tuple[np.ndarray, np.ndarray]:
    # Polygons in the tiling's CRS, and the position of each one's outline.
    degrees, owner = shapely.get_parts(np.array(outlines, object), return_index=True)
    placed: list[BaseGeometry] = []
    owners: list[int] = []
    turn = turn_of(tiling.crs) if tiling.extent is not None else None
    for polygon, number in zip(degrees, owner.tolist(), strict=True):
        in_crs = _finite(project(polygon, WGS84, tiling.crs))
        shifts = [0.0] if turn is None else [k * turn for k in _TURNS]
        for shift in shifts if in_crs is not None else ():
            placed.append(affinity.translate(in_crs, xoff=shift))
            owners.append(number)
    return np.array(placed, object), np.array(owners, np.int64)


def _finite(polygon: BaseGeometry) -> BaseGeometry | None:
    # A footprint may reach beyond what the tiling's CRS covers: points without coordinates in it
    # are left out.
    points = shapely.get_coordinates(polygon)
    is_finite = np.isfinite(points).all(1)
    if is_finite.all() and polygon.is_valid:
        return polygon
    hull = shapely.MultiPoint(points[is_finite]).convex_hull
    return hull if hull.area > 0 else None


def _boxes(cells: np.ndarray, tiling: Tiling, span: int, halo: int) -> np.ndarray:
    side_x, side_y = tiling.size * tiling.resolution, tiling.size * tiling.pixel_height
    margin_x, margin_y = halo * tiling.resolution, halo * tiling.pixel_height
    left = tiling.x0 + cells[:, 0] * side_x
    top = tiling.y0 - cells[:, 1] * side_y
    return np.asarray(
        shapely.box(
            left - margin_x,
            top - span * side_y - margin_y,
            left + span * side_x + margin_x,
            top + margin_y,
        )
    )


def _shares(
    placed: np.ndarray, boxes: np.ndarray, polygon: np.ndarray, block: np.ndarray
) -> np.ndarray:
    # How much of its block each polygon covers; most cover all, which is seen at once.
    share = np.ones(len(polygon))
    shapely.prepare(placed)
    for start in range(0, len(polygon), _PAIRS_AT_ONCE):
        now = slice(start, start + _PAIRS_AT_ONCE)
        geometry, box = placed[polygon[now]], boxes[block[now]]
        is_cut = ~shapely.covers(geometry, box)
        overlap = shapely.intersection(geometry[is_cut], box[is_cut])
        share[now][is_cut] = shapely.area(overlap) / shapely.area(box[is_cut])
    return share


def _tiles(
    cells: np.ndarray, placed: np.ndarray, tiling: Tiling, span: int
) -> tuple[np.ndarray, np.ndarray]:
    # The tiles of the blocks whose cores a polygon reaches, and the position of each one's block.
    offsets = np.stack(np.meshgrid(np.arange(span), np.arange(span)), -1).reshape(-1, 2)
    tiles = (cells[:, None] + offsets).reshape(-1, 2)
    block = np.repeat(np.arange(len(cells)), span**2)
    if tiling.extent is not None:
        in_extent = (tiles * tiling.size < tiling.extent[::-1]).all(1)
        tiles, block = tiles[in_extent], block[in_extent]
    block_boxes = _boxes(cells, tiling, span, 0)
    _, covered = shapely.STRtree(block_boxes).query(placed, predicate="covers")
    is_covered = np.isin(block, covered)
    uncertain = np.flatnonzero(~is_covered)
    _, touched = shapely.STRtree(_boxes(tiles[uncertain], tiling, 1, 0)).query(
        placed, predicate="intersects"
    )
    is_covered[uncertain[np.unique(touched)]] = True
    return tiles[is_covered], block[is_covered]
