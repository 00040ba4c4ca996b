"""Class rasters made elsewhere as the windows that are refined: one map, or several combined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lulc.config import Combination
from lulc.errors import InputError
from lulc.geo.grid import Grid, turn_of
from lulc.geo.tiling import Tiling
from lulc.legend import NODATA
from lulc.maps.refine.layers import read_layer
from lulc.maps.refine.steps import MapWindow, reach
from lulc.tables import arrays

if TYPE_CHECKING:
    from lulc.maps.refine.blocks import RefineSpec


@dataclass(frozen=True, eq=False)
class BlockWindow:
    """What is refined of a block in one period."""

    window: MapWindow
    """The block, and around it as many pixels as the steps look."""
    class_ids: tuple[int, ...]
    """The legend ids that probabilities are of, in their order."""
    tiles: Sequence[dict[str, Any]]
    """Rows of the block's tiles without pixels, in their order."""


@dataclass(frozen=True)
class MapSource:
    """A map of one period that was made elsewhere."""

    name: str
    read: Callable[[Grid], np.ndarray]
    """Returns the ids (H, W) uint8 at the centres of a grid's pixels, 255 where there is none."""
    accuracy: float | None = None
    """Share of its pixels that are right; None where it is not known."""
    within: str | None = None
    """The layer in which it counts; None for everywhere."""


def read_block(period: str, cell: tuple[int, int], spec: RefineSpec) -> BlockWindow | None:
    """Read a block of the maps of a period.

    Args:
        period: its name.
        cell: column and row of the block's top left tile.
        spec: with the maps of each period.

    Returns:
        The block, with the tiles that have a class; None where none has.

    Raises:
        InputError: a map cannot be read, has a class that the legend lacks, or shares a place
            with another and nothing tells how they are combined.
    """
    margin, tiling, ids = reach(spec.settings), spec.tiling, tuple(i for i, _ in spec.legend)
    grid = tiling.grid(*cell, halo=margin, span=spec.block)
    window = combine_maps(spec.sources[period], grid, spec.settings.combine)
    unknown = set(np.unique(window.classes).tolist()) - {*ids, NODATA}
    if unknown:
        names = ", ".join(source.name for source in spec.sources[period])
        raise InputError(
            f"{names} of period {period} has classes {sorted(unknown)}, which the legend lacks: "
            "name them under legend"
        )
    _clip(window, grid, (cell[0] * tiling.size - margin, cell[1] * tiling.size - margin), tiling)
    core, tiles = window.cut(margin).classes, []
    for row in range(spec.block):
        for col in range(spec.block):
            top, left = row * tiling.size, col * tiling.size
            if (core[top : top + tiling.size, left : left + tiling.size] != NODATA).any():
                tile = cell[0] + col, cell[1] + row
                header = {
                    "tile_id": tiling.tile_id(*tile),
                    "period": period,
                    "model": "",
                    "legend": spec.name,
                    "scene_ids": [],
                    "class_ids": list(ids),
                }
                tiles.append(header | arrays.grid_columns(tiling.grid(*tile)))
    return BlockWindow(window, ids, tiles) if tiles else None


def _clip(window: MapWindow, grid: Grid, origin: tuple[int, int], tiling: Tiling) -> None:
    # Takes away what lies beyond the tiling, and where degrees go round, beyond half a turn: what
    # is read there lies once more at the other end.
    if tiling.extent:
        rows, cols = (
            (start + np.arange(side) < 0) | (start + np.arange(side) >= end)
            for start, side, end in zip(origin[::-1], grid.shape, tiling.extent, strict=True)
        )
    elif turn := turn_of(grid.crs):
        x = grid.transform[2] + grid.transform[0] * (np.arange(grid.width) + 0.5)
        rows, cols = np.zeros(grid.height, bool), (x < -turn / 2) | (x >= turn / 2)
    else:
        return
    for layer in (window.classes, window.confidence):
        layer[rows] = NODATA
        layer[:, cols] = NODATA


def combine_maps(
    sources: Sequence[MapSource], grid: Grid, combination: Combination | None
) -> MapWindow:
    """Combine the maps of a period on a grid.

    Args:
        sources: in the order in which they come first.
        grid: of the result.
        combination: `first`: each pixel has the class of the first map that has one there. `vote`:
            the class that most maps have, each weighed by its accuracy if that is known, and of
            equal ones that of the first. None: no two maps may have a class at one place.

    Returns:
        The classes, and as confidence the accuracy of the map that they are of, 255 where it is
        not known; after a vote the share of the votes.

    Raises:
        InputError: a map cannot be read; or `combination` is None, and two have a class at a place.
    """
    if len(sources) == 1:
        (source,) = sources
        classes = _read(source, grid)
        return MapWindow(classes, _confidence(source, classes))
    layers = [_read(source, grid) for source in sources]
    if combination == "vote":
        return _vote(sources, layers)
    classes = np.full(grid.shape, NODATA, np.uint8)
    confidence = classes.copy()
    for source, layer in zip(sources, layers, strict=True):
        has_class = layer != NODATA
        if combination is None and (has_class & (classes != NODATA)).any():
            raise InputError(
                f"{source.name} and another map of its period both have classes at places in "
                f"{tuple(round(side, 6) for side in grid.bounds)} of {grid.crs[:40]}: say how they "
                "are combined, `refine: {combine: first}` or vote"
            )
        is_first = has_class & (classes == NODATA)
        np.copyto(classes, layer, where=is_first)
        np.copyto(confidence, _confidence(source, layer), where=is_first)
    return MapWindow(classes, confidence)


def _read(source: MapSource, grid: Grid) -> np.ndarray:
    classes = source.read(grid)
    if source.within is not None:
        values, valid = read_layer(source.within, grid)
        classes = np.where(valid & (values != 0), classes, np.uint8(NODATA))
    return classes


def _confidence(source: MapSource, classes: np.ndarray) -> np.ndarray:
    percent = NODATA if source.accuracy is None else round(100 * source.accuracy)
    confidence: np.ndarray = np.where(classes == NODATA, NODATA, percent).astype(np.uint8)
    return confidence


def _vote(sources: Sequence[MapSource], layers: Sequence[np.ndarray]) -> MapWindow:
    weights = [1.0 if source.accuracy is None else source.accuracy for source in sources]
    classes = np.full(layers[0].shape, NODATA, np.uint8)
    total, most = np.zeros(classes.shape), np.zeros(classes.shape)
    for layer, weight in zip(layers, weights, strict=True):
        total += weight * (layer != NODATA)
        votes = np.zeros(classes.shape)
        for other, other_weight in zip(layers, weights, strict=True):
            votes += other_weight * ((other == layer) & (layer != NODATA))
        wins = votes > most
        np.copyto(classes, layer, where=wins)
        np.copyto(most, votes, where=wins)
    share = np.divide(100 * most, total, out=np.full(classes.shape, float(NODATA)), where=total > 0)
    return MapWindow(classes, np.rint(share).astype(np.uint8))
