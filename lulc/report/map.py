"""A picture of a class map: colours and names of the legend, scale bar and north arrow.

Rasters are read from their overviews, so that memory is bounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from lulc.geo.grid import WGS84, Grid, project
from lulc.legend import NODATA, Legend
from lulc.raster.access import OpenRaster, open_raster
from lulc.raster.views import open_north_up, read_mode

_SIDE = 1400  # pixels of the picture's longest side


def read_map(
    rasters: Sequence[Path], bounds: Sequence[float] | None = None
) -> tuple[np.ndarray, Grid]:
    """Read class rasters side by side, decimated to at most 1400 pixels a side.

    Args:
        rasters: class rasters. The first one's CRS and pixel size are the picture's; rasters in
            another CRS or rotated are warped to it.
        bounds: west, south, east and north in degrees, beyond which nothing is read.

    Returns:
        (H, W) uint8 class ids, NODATA where there is none, and their grid.
    """
    with open_raster(str(rasters[0])) as first:
        crs = first.crs
    # One at a time: a continent has more files than a process may have open.
    extents = []
    for path in rasters:
        with open_north_up(str(path), crs) as source:
            extents.append((*source.bounds, *source.res))
    corners = np.array(extents)[:, :4]
    left, bottom, right, top = _joint_bounds(corners, crs.to_wkt(), bounds)
    step_x, step_y = extents[0][4:]
    every = max(1, math.ceil(max((right - left) / step_x, (top - bottom) / step_y) / _SIDE))
    step_x, step_y = step_x * every, step_y * every
    shape = (max(1, round((top - bottom) / step_y)), max(1, round((right - left) / step_x)))
    grid = Grid(crs.to_wkt(), (step_x, 0.0, left, 0.0, -step_y, top), *shape)
    classes = np.full(shape, NODATA, np.uint8)
    lows = np.maximum(corners[:, :2], (left, bottom))
    highs = np.minimum(corners[:, 2:], (right, top))
    for path, low, high in zip(rasters, lows, highs, strict=True):
        if (low < high).all():
            with open_north_up(str(path), crs) as source:
                _read_into(classes, grid, source, (*low, *high))
    return classes, grid


def _read_into(
    classes: np.ndarray,
    grid: Grid,
    source: OpenRaster,
    bounds: tuple[float, ...],
) -> None:
    # The raster's classes within left, bottom, right and top.
    left, bottom, right, top = bounds
    step_x, step_y = grid.transform[0], -grid.transform[4]
    row = round((grid.transform[5] - top) / step_y)
    col = round((left - grid.transform[2]) / step_x)
    height = min(grid.height - row, max(1, round((top - bottom) / step_y)))
    width = min(grid.width - col, max(1, round((right - left) / step_x)))
    if min(height, width) < 1:
        return
    # Overviews hold the majority; the last step to the picture's pixels takes the mode again.
    ids = read_mode(source, bounds, (height, width))
    nodata = NODATA if source.nodata is None else source.nodata
    valid = (ids != nodata) & (ids >= 0) & (ids < NODATA)
    target = classes[row : row + height, col : col + width]
    np.copyto(target, ids.astype(np.uint8), where=valid)


def _joint_bounds(
    corners: np.ndarray, crs: str, bounds: Sequence[float] | None
) -> tuple[float, ...]:
    # Left, bottom, right and top of all rasters, cut to the bounds in degrees if they overlap them.
    low, high = corners[:, :2].min(0), corners[:, 2:].max(0)
    if bounds is not None:
        box = project(shapely.box(*bounds), WGS84, crs).bounds
        inner = np.maximum(low, box[:2]), np.minimum(high, box[2:])
        if (inner[0] < inner[1]).all():
            low, high = inner
    return (*low.tolist(), *high.tolist())


def _trim(classes: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    # Without the empty margin of the map: tiles reach beyond the scenes.
    rows, cols = (np.flatnonzero((classes != NODATA).any(axis)) for axis in (1, 0))
    if not len(rows):
        return classes, grid
    inner = grid.window(int(rows[0]), int(cols[0]), int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1)
    return classes[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1], inner


def draw_map(
    rasters: Sequence[Path], legend: Legend, title: str, bounds: Sequence[float] | None = None
) -> bytes:
    """Draw class rasters with legend, scale bar and north arrow.

    Args:
        rasters: class rasters, read as by `read_map`.
        legend: names and colours; classes that do not occur are left out.
        title: title of the picture.
        bounds: west, south, east and north in degrees, beyond which nothing is drawn.

    Returns:
        The picture as PNG.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    classes, grid = _trim(*read_map(rasters, bounds))
    colours = np.full((256, 4), 255, np.uint8)
    for class_id, rgba in legend.palette().items():
        colours[class_id] = rgba
    height = max(4.0, min(14.0, 7.2 * grid.height / grid.width + 0.6))
    figure = Figure(figsize=(10, height), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(colours[classes], interpolation="nearest")
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_axis_off()
    occurring = set(np.unique(classes).tolist())
    handles = [
        Patch(facecolor=entry.colour, edgecolor="#888888", linewidth=0.4, label=entry.name)
        for entry in legend.classes
        if entry.id in occurring
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
    _add_scale_bar(axes, grid)
    _add_north_arrow(axes)
    png = BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


def round_length(longest: float) -> float:
    """Return the largest of 1, 2 or 5 times a power of ten that is not over a length.

    Examples:
        >>> round_length(734.0)
        500.0
    """
    power = 10.0 ** math.floor(math.log10(longest))
    # The logarithm of a length just below a power of ten may be rounded up to it.
    return max(factor * power for factor in (0.5, 1, 2, 5) if factor * power <= longest)


def _add_scale_bar(axes: Any, grid: Grid) -> None:
    # Below the map by points: as far below a tall one as a wide one.
    from matplotlib.transforms import offset_copy

    pixel_m = grid.resolution_m[0]
    length = round_length(grid.width * pixel_m / 4)
    end = length / pixel_m
    below = offset_copy(axes.get_xaxis_transform(), axes.figure, y=-12, units="points")
    style = {"color": "#222222", "linewidth": 3, "solid_capstyle": "butt", "clip_on": False}
    axes.plot([0, end], [0, 0], transform=below, scalex=False, scaley=False, **style)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    style = {"va": "center", "fontsize": 9, "clip_on": False}
    axes.text(end + grid.width * 0.012, 0, text, transform=below, **style)


def _add_north_arrow(axes: Any) -> None:
    position = {
        "xy": (0.985, 0),
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "annotation_clip": False,
    }
    arrow = {"arrowstyle": "-|>", "color": "#222222"}
    axes.annotate("", xytext=(0, -24), arrowprops=arrow, **position)
    axes.annotate("N", xytext=(-6, -16), ha="right", va="center", fontsize=9, **position)
