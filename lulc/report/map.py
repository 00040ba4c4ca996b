"""A picture of a class map: colours of the legend, names, scale bar and north, read from overviews so that memory is bounded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import shapely
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import from_bounds

from lulc.geo.grid import WGS84, Grid, parse_crs, project, transformer
from lulc.legend import NODATA, Legend
from lulc.raster import access

# Longest side of the picture's map, in pixels.
_SIDE = 1400


def read_map(
    rasters: Sequence[Path], within: Sequence[float] | None = None
) -> tuple[np.ndarray, Grid]:
    """(H, W) uint8 ids of class rasters side by side, decimated to at most 1400 pixels a side; and where.

    The first raster's CRS and pixels are the picture's; rasters that lie otherwise are warped to it. within: west, south, east
    and north in degrees, beyond which nothing is read.
    """
    with access.open_raster(str(rasters[0])) as first:
        crs = first.crs
    # One at a time: a continent has more files than a process may have open.
    sides = []
    for path in rasters:
        with _upright(path, crs) as data:
            sides.append((*data.bounds, *data.res))
    bounds, (step_x, step_y) = np.array(sides)[:, :4], sides[0][4:]
    left, bottom, right, top = _reach(bounds, crs.to_wkt(), within)
    every = max(1, math.ceil(max((right - left) / step_x, (top - bottom) / step_y) / _SIDE))
    step_x, step_y = step_x * every, step_y * every
    shape = (max(1, round((top - bottom) / step_y)), max(1, round((right - left) / step_x)))
    out = np.full(shape, NODATA, np.uint8)
    lows, highs = np.maximum(bounds[:, :2], (left, bottom)), np.minimum(bounds[:, 2:], (right, top))
    for path, low, high in zip(rasters, lows, highs, strict=True):
        row, col = round((top - high[1]) / step_y), round((low[0] - left) / step_x)
        tall = min(shape[0] - row, max(1, round((high[1] - low[1]) / step_y)))
        wide = min(shape[1] - col, max(1, round((high[0] - low[0]) / step_x)))
        if (low >= high).any() or min(tall, wide) < 1:
            continue
        with _upright(path, crs) as data:
            # Overviews hold the majority; the last step to the picture's pixels takes the mode again.
            window = from_bounds(*low, *high, data.transform)
            part = data.read(1, window=window, out_shape=(tall, wide), resampling=Resampling.mode)
            known = (
                (part != (NODATA if data.nodata is None else data.nodata))
                & (part >= 0)
                & (part < NODATA)
            )
            np.copyto(out[row : row + tall, col : col + wide], part.astype(np.uint8), where=known)
    return out, Grid(crs.to_wkt(), (step_x, 0.0, left, 0.0, -step_y, top), *shape)


@contextmanager
def _upright(path: Path, crs: CRS) -> Iterator[DatasetReader | WarpedVRT]:
    # The raster, seen in the CRS and north up.
    with access.open_raster(str(path)) as file:
        step = file.transform
        if file.crs == crs and (step.b, step.d) == (0, 0) and step.a > 0 > step.e:
            yield file
            return
        # Beside what a raster without nodata covers there is no class, and not class 0.
        fill = NODATA if file.nodata is None else file.nodata
        with WarpedVRT(file, crs=crs, src_nodata=fill, nodata=fill) as warped:
            yield warped


def _reach(bounds: np.ndarray, crs: str, within: Sequence[float] | None) -> tuple[float, ...]:
    # Left, bottom, right and top of all bounds, as far as they lie within the degrees, should any of them.
    low, high = bounds[:, :2].min(0), bounds[:, 2:].max(0)
    if within is not None:
        box = project(shapely.box(*within), WGS84, crs).bounds
        inner = np.maximum(low, box[:2]), np.minimum(high, box[2:])
        if (inner[0] < inner[1]).all():
            low, high = inner
    return (*low.tolist(), *high.tolist())


def _trim(classes: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    # Without the empty margin around what is mapped: tiles reach beyond the scenes.
    rows, cols = (np.flatnonzero((classes != NODATA).any(axis)) for axis in (1, 0))
    if not len(rows):
        return classes, grid
    inner = grid.window(int(rows[0]), int(cols[0]), int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1)
    return classes[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1], inner


def draw_map(
    rasters: Sequence[Path], legend: Legend, title: str, within: Sequence[float] | None = None
) -> bytes:
    """PNG of what `read_map` reads with legend, scale bar and north arrow; only classes that occur are in the legend."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    classes, grid = _trim(*read_map(rasters, within))
    colours = np.full((256, 4), 255, np.uint8)
    for value, rgba in legend.palette().items():
        colours[value] = rgba
    figure = Figure(
        figsize=(10, max(4.0, min(14.0, 7.2 * grid.height / grid.width + 0.6))),
        dpi=150,
        layout="constrained",
    )
    axes = figure.add_subplot()
    axes.imshow(colours[classes], interpolation="nearest")
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_axis_off()
    found = set(np.unique(classes).tolist())
    handles = [
        Patch(facecolor=c.colour, edgecolor="#888888", linewidth=0.4, label=c.name)
        for c in legend.classes
        if c.id in found
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
    _scale_bar(axes, grid)
    picture = BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def metres_a_pixel(grid: Grid) -> float:
    """Ground length of a pixel's lower side in the middle of the grid."""
    x, y = grid.affine @ (grid.width / 2, grid.height / 2)
    (lon, far), (lat, up) = transformer(grid.crs, WGS84).transform(
        np.array([x, x + grid.resolution[0]]), np.array([y, y])
    )
    return float(parse_crs(WGS84).get_geod().inv(lon, lat, far, up)[2])  # type: ignore[union-attr]


def round_length(longest: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not over a length."""
    power = 10.0 ** math.floor(math.log10(longest))
    # The logarithm of a length just below a power of ten may be rounded up to it.
    return max(f * power for f in (0.5, 1, 2, 5) if f * power <= longest)


def _scale_bar(axes, grid: Grid) -> None:  # type: ignore[no-untyped-def]
    # Under the map in points: as far below a tall one as a wide one.
    from matplotlib.transforms import offset_copy

    side = metres_a_pixel(grid)
    length = round_length(grid.width * side / 4)
    below = offset_copy(axes.get_xaxis_transform(), axes.figure, y=-12, units="points")
    style = {"color": "#222222", "linewidth": 3, "solid_capstyle": "butt", "clip_on": False}
    axes.plot([0, length / side], [0, 0], transform=below, scalex=False, scaley=False, **style)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axes.text(
        length / side + grid.width * 0.012,
        0,
        text,
        transform=below,
        va="center",
        fontsize=9,
        clip_on=False,
    )
    place = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
    axes.annotate(
        "",
        xy=(0.985, 0),
        xytext=(0, -24),
        arrowprops={"arrowstyle": "-|>", "color": "#222222"},
        **place,
    )
    axes.annotate(
        "N", xy=(0.985, 0), xytext=(-6, -16), ha="right", va="center", fontsize=9, **place
    )
