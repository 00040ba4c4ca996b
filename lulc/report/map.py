"""A picture of a class map: colours and names of the legend, scale bar and north arrow.

Rasters are read from their overviews, so that memory is bounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from lulc.geo.grid import WGS84, Grid, project, same_crs, turn_of
from lulc.geo.reproject import bounds_in
from lulc.legend import NODATA, Legend
from lulc.location import Location
from lulc.raster.classes import read_mode_onto, scan_raster

PICTURE_SIDE = 1400
"""Longest side of a picture in pixels."""


def read_map(
    rasters: Sequence[Location], bounds: Sequence[float] | None = None
) -> tuple[np.ndarray, Grid]:
    """Read class rasters side by side, decimated to at most 1400 pixels a side.

    Args:
        rasters: class rasters. The picture is in the first one's CRS, north up, and has the
            smallest pixels of those in that; where two overlap the first counts.
        bounds: west, south, east and north in degrees, beyond which nothing is read.

    Returns:
        (H, W) uint8 class ids, NODATA where there is none, and their grid.
    """
    scanned = [scan_raster(str(path)) for path in rasters]
    first = scanned[0].grid
    extents = np.array([_extent(raster.grid, first) for raster in scanned])
    left, bottom, right, top = _joint_bounds(extents, first.crs, bounds)
    in_crs = (raster.grid for raster in scanned if same_crs(raster.grid.crs, first.crs))
    step_x, step_y = min(grid.resolution for grid in in_crs)
    every = max(1, math.ceil(max((right - left) / step_x, (top - bottom) / step_y) / PICTURE_SIDE))
    step_x, step_y = step_x * every, step_y * every
    shape = (max(1, round((top - bottom) / step_y)), max(1, round((right - left) / step_x)))
    grid = Grid(first.crs, (step_x, 0.0, left, 0.0, -step_y, top), *shape)
    classes = np.full(shape, NODATA, np.uint8)
    for raster, extent in zip(scanned, extents, strict=True):
        window = _window(grid, extent)
        if min(classes[window].shape) > 0:
            window_grid = grid.window(window[0].start, window[1].start, *classes[window].shape)
            ids = read_mode_onto(raster, window_grid)
            np.copyto(classes[window], ids, where=classes[window] == NODATA)
    return classes, grid


def _extent(grid: Grid, first: Grid) -> tuple[float, float, float, float]:
    # Left, bottom, right and top of a grid in the CRS of the first, at the turn of longitude that
    # is closest to it. One that the CRS cannot hold is drawn where the first lies.
    xmin, ymin, xmax, ymax = bounds_in(grid, first.crs) or first.bounds
    if turn := turn_of(first.crs):
        shift = turn * round((xmin + xmax - first.bounds[0] - first.bounds[2]) / 2 / turn)
        xmin, xmax = xmin - shift, xmax - shift
    return xmin, ymin, xmax, ymax


def _window(grid: Grid, extent: np.ndarray) -> tuple[slice, slice]:
    # Rows and columns of a north-up grid that an extent reaches.
    step_x, step_y = grid.resolution
    left, top = grid.transform[2], grid.transform[5]
    rows = math.floor((top - extent[3]) / step_y), math.ceil((top - extent[1]) / step_y)
    cols = math.floor((extent[0] - left) / step_x), math.ceil((extent[2] - left) / step_x)
    (row0, row1), (col0, col1) = rows, cols
    return slice(max(0, row0), max(0, row1)), slice(max(0, col0), max(0, col1))


def _joint_bounds(
    extents: np.ndarray, crs: str, bounds: Sequence[float] | None
) -> tuple[float, ...]:
    # Left, bottom, right and top of all rasters, cut to the bounds in degrees if they overlap them.
    low, high = extents[:, :2].min(0), extents[:, 2:].max(0)
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
    rasters: Sequence[Location],
    legend: Legend,
    title: str,
    bounds: Sequence[float] | None = None,
    regions: Iterable[tuple[str, BaseGeometry]] = (),
) -> bytes:
    """Draw class rasters with regions, legend, scale bar and north arrow.

    Args:
        rasters: class rasters, read as by `read_map`.
        legend: names and colours; classes that do not occur are left out.
        title: title of the picture.
        bounds: west, south, east and north in degrees, beyond which nothing is drawn.
        regions: names and polygons in degrees. All are outlined; those are named whose names fit.

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
    _add_regions(axes, grid, regions)
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


def _add_regions(axes: Any, grid: Grid, regions: Iterable[tuple[str, BaseGeometry]]) -> None:
    # Dark lines and names with a light rim, which are seen on light and on dark classes.
    from matplotlib.patheffects import withStroke

    frame = shapely.box(0, 0, grid.width, grid.height)
    inner = [(name, shapely.intersection(_on_grid(shape, grid), frame)) for name, shape in regions]
    inner = [(name, shape) for name, shape in inner if shape.area > 0]
    rim = [withStroke(linewidth=2.6, foreground="white")]
    for _, shape in inner:
        for ring in shapely.get_rings(shapely.get_parts(shape)):
            xy = shapely.get_coordinates(ring) - 0.5  # a pixel's centre is at whole numbers
            line = {"color": "#1a1a1a", "linewidth": 1.0, "path_effects": rim}
            axes.plot(*xy.T, scalex=False, scaley=False, **line)
    axes.figure.draw_without_rendering()  # where a name ends is known of a figure that is laid out
    taken: list[BaseGeometry] = []
    for name, shape in sorted(inner, key=lambda region: -region[1].area):
        x, y = shapely.get_coordinates(shapely.point_on_surface(shape))[0] - 0.5
        style = {"ha": "center", "va": "center", "fontsize": 11, "path_effects": rim}
        text = axes.text(x, y, name, color="#1a1a1a", **style)
        corners = axes.transData.inverted().transform(text.get_window_extent())
        box = shapely.box(*corners.min(0), *corners.max(0))
        if shape.covers(box) and not shapely.intersects(box, taken).any():
            taken.append(box)
        else:
            text.remove()


def _on_grid(shape: BaseGeometry, grid: Grid) -> BaseGeometry:
    # In columns and rows of a north-up grid.
    x, y = (grid.transform[2], grid.transform[5])
    step = np.array([grid.transform[0], grid.transform[4]])
    in_plane = shapely.make_valid(project(shape, WGS84, grid.crs))
    return shapely.make_valid(shapely.transform(in_plane, lambda xy: (xy - (x, y)) / step))
