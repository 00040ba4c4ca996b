"""A picture of a class map: colours of the legend, names, scale bar and north, read from overviews so that memory is bounded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from lulc import geo
from lulc.geo import Grid
from lulc.legend import NODATA, Legend

# Longest side of the picture's map, in pixels.
_SIDE = 1400


def read_map(rasters: Sequence[Path]) -> tuple[np.ndarray, Grid]:
    """(H, W) uint8 ids of class rasters of one grid lattice, side by side, decimated to at most 1400 pixels a side; and where."""
    import rasterio
    from rasterio.enums import Resampling

    opened = [rasterio.open(p) for p in rasters]
    try:
        left, bottom, right, top = (
            f(v) for f, v in zip((min, min, max, max), zip(*(o.bounds for o in opened), strict=True), strict=True)
        )
        step_x, step_y = opened[0].res
        every = max(1, math.ceil(max((right - left) / step_x, (top - bottom) / step_y) / _SIDE))
        step_x, step_y = step_x * every, step_y * every
        shape = (max(1, round((top - bottom) / step_y)), max(1, round((right - left) / step_x)))
        out = np.full(shape, NODATA, np.uint8)
        for data in opened:
            row, col = round((top - data.bounds.top) / step_y), round((data.bounds.left - left) / step_x)
            high = min(shape[0] - row, max(1, round(data.height / every)))
            wide = min(shape[1] - col, max(1, round(data.width / every)))
            # Overviews hold the majority; the last step to the picture's pixels takes the mode again.
            part = data.read(1, out_shape=(high, wide), resampling=Resampling.mode)
            place = out[row : row + high, col : col + wide]
            np.copyto(place, part, where=part != NODATA)
        return out, Grid(opened[0].crs.to_wkt(), (step_x, 0.0, left, 0.0, -step_y, top), *shape)
    finally:
        for data in opened:
            data.close()


def _trim(classes: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    # Without the empty margin around what is mapped: tiles reach beyond the scenes.
    rows, cols = (np.flatnonzero((classes != NODATA).any(axis)) for axis in (1, 0))
    if not len(rows):
        return classes, grid
    inner = grid.window(int(rows[0]), int(cols[0]), int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1)
    return classes[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1], inner


def draw(rasters: Sequence[Path], legend: Legend, title: str) -> bytes:
    """PNG of the map of class rasters with legend, scale bar and north arrow; only classes that occur are in the legend."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    classes, grid = _trim(*read_map(rasters))
    colours = np.full((256, 4), 255, np.uint8)
    for value, rgba in legend.palette().items():
        colours[value] = rgba
    figure = Figure(figsize=(10, max(4.0, min(14.0, 7.2 * grid.height / grid.width + 0.6))), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(colours[classes], interpolation="nearest")
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_axis_off()
    found = set(np.unique(classes).tolist())
    handles = [
        Patch(facecolor=c.colour, edgecolor="#888888", linewidth=0.4, label=c.name) for c in legend.classes if c.id in found
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
    _scale_bar(axes, grid)
    picture = BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def metres_a_pixel(grid: Grid) -> float:
    """Ground length of a pixel's lower side in the middle of the grid."""
    x, y = grid.affine @ (grid.width / 2, grid.height / 2)
    (lon, far), (lat, up) = geo.transformer(grid.crs, geo.WGS84).transform(
        np.array([x, x + grid.resolution[0]]), np.array([y, y])
    )
    return float(geo.parse_crs(geo.WGS84).get_geod().inv(lon, lat, far, up)[2])  # type: ignore[union-attr]


def round_length(longest: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not over a length."""
    power = 10.0 ** math.floor(math.log10(longest))
    # The logarithm of a length just below a power of ten may be rounded up to it.
    return max(f * power for f in (0.5, 1, 2, 5) if f * power <= longest)


def _scale_bar(axes, grid: Grid) -> None:  # type: ignore[no-untyped-def]
    side = metres_a_pixel(grid)
    length = round_length(grid.width * side / 4)
    pixels, y = length / side, grid.height * 1.025
    axes.plot([0, pixels], [y, y], color="#222222", linewidth=3, solid_capstyle="butt", clip_on=False)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axes.text(pixels + grid.width * 0.012, y, text, va="center", fontsize=9, clip_on=False)
    head = {"arrowstyle": "-|>", "color": "#222222"}
    right = grid.width * 0.985
    axes.annotate("", xy=(right, grid.height * 1.005), xytext=(right, grid.height * 1.06), arrowprops=head, annotation_clip=False)
    axes.text(right - grid.width * 0.012, grid.height * 1.035, "N", ha="right", va="center", fontsize=9, clip_on=False)
