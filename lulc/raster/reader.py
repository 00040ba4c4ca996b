"""The one raster reader: bands of a file onto any Grid, from windows that are wholly read or not at all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from lulc.bands import Resampling
from lulc.errors import InputError
from lulc.geo import overlap, warp
from lulc.geo.grid import Grid
from lulc.geo.swath import Swath
from lulc.raster.access import ReadError, gdal_message, open_raster
from lulc.redact import redact_url

_BUDGET = 2 << 30  # bytes of one band that a read may decode
_FARTHEST = 1e9  # units from its origin that any CRS of the Earth reaches
_CHUNK = 32 << 20  # source pixels held at once
_MARK = b"\xa5\xc3\x5a\x3c\x96\x69\x0f\xf0"


def grid_of(raster: DatasetReader | str) -> Grid:
    """The grid of an open raster or a raster file; InputError where it says not, or not credibly, where it lies."""
    if isinstance(raster, str):
        with open_raster(raster) as opened:
            return grid_of(opened)
    if raster.crs is None:
        raise InputError(
            f"{redact_url(raster.name)} has no CRS: write the true one into the file (for example with gdal_edit.py -a_srs)"
        )
    grid = Grid(raster.crs.to_string(), tuple(raster.transform)[:6], raster.height, raster.width)
    a, b, _, d, e, _ = grid.transform
    xmin, ymin, xmax, ymax = bounds = grid.bounds
    if (
        not all(map(math.isfinite, grid.transform))
        or a * e == b * d
        or max(map(abs, bounds)) > _FARTHEST
    ):
        raise InputError(
            f"{redact_url(raster.name)} lies nowhere on Earth by its transform {grid.transform}: georeference it anew"
        )
    if raster.crs.is_geographic and (
        min(ymin, -90) < -91 or max(ymax, 90) > 91 or xmin < -541 or xmax > 541
    ):
        raise InputError(
            f"{redact_url(raster.name)} says degrees ({grid.crs[:40]}) but has bounds {bounds}: give it its true CRS"
        )
    return grid


def read_band(
    href: str, index: int, grid: Grid, resampling: Resampling, nodata: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (H, W) of one band on any grid, 0 where not valid, and valid (H, W); ReadError names file, band and window.

    On the source's own lattice values are copied; elsewhere only the window the grid needs is read and warped.
    """
    return read_bands(href, [(index, resampling, nodata)], grid)[0]


def read_bands(
    href: str, bands: Sequence[tuple[int, Resampling, float | None]], grid: Grid
) -> list[tuple[np.ndarray, np.ndarray]]:
    """What `read` gives for each (index, resampling, nodata) of one file, opened once; a broken connection is tried twice."""
    return _opened(href, lambda dataset: [_read_band(dataset, href, *band, grid) for band in bands])


def read_swath(
    href: str,
    swath: Swath,
    grid: Grid,
    resampling: Resampling,
    convert: Callable[[np.ndarray, int, int], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """What `read` gives for band 1 of a file that a swath places, its pixels, 0 being no data, first made into values.

    convert(pixels, row, column): the float values of a window that starts there, nan where there is none.
    """

    def read_it(dataset: DatasetReader) -> tuple[np.ndarray, np.ndarray]:
        if dataset.shape != (swath.height, swath.width):
            said = f"{swath.height}x{swath.width}"
            raise ReadError(
                f"{redact_url(href)} has {dataset.height}x{dataset.width} pixels, its annotation says {said}: fetch it anew"
            )
        at = overlap.locate(swath, grid)
        return _read_pieces(
            dataset, 1, 0, swath, grid, at, warp.effective(resampling, at.scale), convert
        )

    return _opened(href, read_it)


def read_whole(
    href: str, indexes: Sequence[int] = (), placed: bool = True
) -> tuple[np.ndarray, np.ndarray, Grid | None]:
    """Bands (C, H, W) of a whole file, 0 where not valid; where all are valid (H, W); and its grid, None of a plain picture.

    indexes: which bands, from 1; all but alpha where not said. placed: whether the grid, which takes time, is wanted. ReadError
    names the file; of one too large nothing is read.
    """

    def read_it(dataset: DatasetReader) -> tuple[np.ndarray, np.ndarray, Grid | None]:
        colours = [colour.name for colour in dataset.colorinterp]
        bands = list(indexes) or [i for i, colour in enumerate(colours, 1) if colour != "alpha"]
        if not all(1 <= index <= dataset.count for index in bands):
            raise ReadError(
                f"{redact_url(href)} has {dataset.count} bands: there is no band {max(bands)}"
            )
        kinds = {dataset.dtypes[index - 1] for index in bands}
        if len(kinds) > 1 or not all(map(is_real, kinds)):
            raise ReadError(
                f"{redact_url(href)} holds {', '.join(sorted(kinds))}: bands of one type of real numbers can be read"
            )
        window = Window(0, 0, dataset.width, dataset.height)
        cost = len(bands) * window.width * window.height * np.dtype(kinds.pop()).itemsize
        if cost > _BUDGET:
            raise ReadError(
                f"{redact_url(href)} would decode {cost / 2**30:.1f} GiB: cut it into smaller images first"
            )
        pixels, valid = _read_windows(
            dataset, bands, [dataset.nodatavals[index - 1] for index in bands], window
        )
        seen = valid.all(axis=0)
        return (
            np.where(seen, pixels, 0),
            seen,
            grid_of(dataset) if placed and dataset.crs is not None else None,
        )

    return _opened(href, read_it, placed)


def _opened[T](href: str, read_it: Callable[[DatasetReader], T], placed: bool = True) -> T:
    for last in (False, True):
        try:
            with open_raster(href, placed) as dataset:
                return read_it(dataset)
        except ReadError as error:
            if last or not isinstance(error.__cause__, OSError):
                raise
            time.sleep(0.2)
    raise AssertionError


def _read_band(
    dataset: DatasetReader,
    href: str,
    index: int,
    resampling: Resampling,
    nodata: float | None,
    grid: Grid,
) -> tuple[np.ndarray, np.ndarray]:
    if not 1 <= index <= dataset.count:
        raise ReadError(
            f"{redact_url(dataset.name)} has {dataset.count} bands: there is no band {index}"
        )
    if not is_real(dataset.dtypes[index - 1]):
        raise ReadError(
            f"{redact_url(dataset.name)} band {index} is of type {dataset.dtypes[index - 1]}: real numbers can be read"
        )
    source = grid_of(dataset)
    at = overlap.locate(source, grid)
    how = warp.effective(resampling, at.scale)
    window = _window(at, source)
    cost = window.width * window.height * np.dtype(dataset.dtypes[index - 1]).itemsize
    if cost > _BUDGET:
        factors = (
            [f for f in dataset.overviews(index) if f <= at.scale and cost / f**2 <= _BUDGET]
            if how == "average"
            else []
        )
        if not factors:
            remedy = "add overviews (gdaladdo -r average), or take finer pixels or smaller blocks (tiling)"
            raise ReadError(
                f"{_named(dataset, [index], window)} would decode {cost / 2**30:.1f} GiB: {remedy}"
            )
        with open_raster(
            href, OVERVIEW_LEVEL=dataset.overviews(index).index(factors[0])
        ) as overview:
            return _read_band(overview, href, index, "average", nodata, grid)
    offset = overlap.pixel_offset(source, grid)
    if offset is not None:
        return _copy(dataset, index, nodata, offset, grid)
    return _read_pieces(dataset, index, nodata, source, grid, at, how)


def _read_pieces(
    dataset: DatasetReader,
    index: int,
    nodata: float | None,
    source: Grid | Swath,
    grid: Grid,
    at: overlap.PixelMap,
    how: Resampling,
    convert: Callable[[np.ndarray, int, int], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    window = _window(at, source)
    rows = max(1, grid.height * _CHUNK // max(_CHUNK, window.width * window.height))
    pieces = []
    for row in range(0, grid.height, rows):
        part = (
            overlap.locate(source, grid.window(row, 0, min(rows, grid.height - row), grid.width))
            if rows < grid.height
            else at
        )
        window = _window(part, source)
        pixels, valid = _read_window(dataset, index, nodata, window)
        if convert is not None:
            pixels = convert(pixels, window.row_off, window.col_off)
            valid &= np.isfinite(pixels)
        pieces.append(warp.gather(pixels, valid, part, (window.row_off, window.col_off), how))
    return (
        pieces[0]
        if len(pieces) == 1
        else (np.concatenate([p for p, _ in pieces]), np.concatenate([v for _, v in pieces]))
    )


def _window(at: overlap.PixelMap, source: Grid | Swath) -> Window:
    # Two pixels of margin: bilinear takes one more than the grid's own extent, and knots may be a hair off.
    row0, col0, row1, col1 = at.span or (0.0, 0.0, -4.0, -4.0)
    top, left = max(0, int(np.floor(row0)) - 2), max(0, int(np.floor(col0)) - 2)
    bottom, right = (
        min(source.height, int(np.ceil(row1)) + 2),
        min(source.width, int(np.ceil(col1)) + 2),
    )
    return Window(left, top, max(0, right - left), max(0, bottom - top))


def _copy(
    dataset: DatasetReader, index: int, nodata: float | None, offset: tuple[int, int], grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    row0, col0 = (max(0, o) for o in offset)
    row1, col1 = (
        min(dataset.height, offset[0] + grid.height),
        min(dataset.width, offset[1] + grid.width),
    )
    pixels, valid = np.zeros(grid.shape, dataset.dtypes[index - 1]), np.zeros(grid.shape, bool)
    if row1 > row0 and col1 > col0:
        found, good = _read_window(
            dataset, index, nodata, Window(col0, row0, col1 - col0, row1 - row0)
        )
        place = np.s_[row0 - offset[0] : row1 - offset[0], col0 - offset[1] : col1 - offset[1]]
        pixels[place], valid[place] = np.where(good, found, 0), good
    return pixels, valid


def _read_window(
    dataset: DatasetReader, index: int, nodata: float | None, window: Window
) -> tuple[np.ndarray, np.ndarray]:
    pixels, valid = _read_windows(
        dataset, [index], [dataset.nodatavals[index - 1] if nodata is None else nodata], window
    )
    return pixels[0], valid[0]


def _read_windows(
    dataset: DatasetReader, indexes: list[int], nodatas: Sequence[float | None], window: Window
) -> tuple[np.ndarray, np.ndarray]:
    shape = (len(indexes), window.height, window.width)
    if not all(shape):
        return np.zeros(shape, dataset.dtypes[indexes[0] - 1]), np.zeros(shape, bool)
    try:
        pixels = _fill(dataset, indexes, window, _MARK)
        # Where the mark is found either the data hold it or nothing was written: another mark tells.
        suspect = any(
            _untouched(p, dataset.block_shapes[i - 1], window)
            for p, i in zip(pixels, indexes, strict=True)
        )
        if suspect and _fill(dataset, indexes, window, _MARK[::-1]).tobytes() != pixels.tobytes():
            raise OSError("part of the window was never filled: the file is cut short")
        flags, colours = dataset.mask_flag_enums, [colour.name for colour in dataset.colorinterp]
        valid = np.stack(
            [_unmasked(dataset, index, window, flags[index - 1], colours) for index in indexes]
        )
    except (RasterioError, OSError) as error:
        raise ReadError(
            f"{_named(dataset, indexes, window)} cannot be read: {gdal_message(error)}"
        ) from error
    for band, nodata, good in zip(pixels, nodatas, valid, strict=True):
        good &= is_data(band, nodata)
    return pixels, valid


def _unmasked(
    dataset: DatasetReader,
    index: int,
    window: Window,
    flags: Sequence[MaskFlags],
    colours: Sequence[str],
) -> np.ndarray:
    if MaskFlags.per_dataset in flags or MaskFlags.alpha in flags:
        return np.asarray(dataset.read_masks(index, window=window) != 0)
    # GDAL itself heeds alpha as the last of two or four bands alone.
    if "alpha" in colours and colours[index - 1] != "alpha":
        return np.asarray(dataset.read(colours.index("alpha") + 1, window=window) != 0)
    return np.ones((window.height, window.width), bool)


def is_real(dtype: str) -> bool:
    """Whether GDAL's type of that name holds real numbers, not complex ones."""
    return not dtype.startswith("complex")


def is_data(pixels: np.ndarray, nodata: float | None) -> np.ndarray | bool:
    """Where pixels are neither the nodata value nor, in floats, infinite or not a number."""
    if pixels.dtype.kind == "f":
        known = np.isfinite(pixels)
        return known if nodata is None else known & (pixels != pixels.dtype.type(nodata))
    if nodata is None or not float(nodata).is_integer():
        return True
    if (
        pixels.dtype.kind != "b"
        and not np.iinfo(pixels.dtype).min <= nodata <= np.iinfo(pixels.dtype).max
    ):
        return True
    return np.asarray(pixels != pixels.dtype.type(nodata))


def _fill(dataset: DatasetReader, indexes: list[int], window: Window, mark: bytes) -> np.ndarray:
    buffer = np.empty((len(indexes), window.height, window.width), dataset.dtypes[indexes[0] - 1])
    buffer.view(f"u{buffer.itemsize}")[...] = np.frombuffer(
        mark[: buffer.itemsize], f"u{buffer.itemsize}"
    )[0]
    dataset.read(indexes, window=window, out=buffer)
    return buffer


def _untouched(pixels: np.ndarray, block: tuple[int, int], window: Window) -> bool:
    # A block that GDAL did not deliver holds the mark everywhere.
    same = (
        pixels.view(f"u{pixels.itemsize}")
        == np.frombuffer(_MARK[: pixels.itemsize], f"u{pixels.itemsize}")[0]
    )
    rows, cols = (
        [0, *range(size - start % size, length, size)]
        for size, start, length in zip(
            block, (window.row_off, window.col_off), pixels.shape, strict=True
        )
    )
    if not same[np.ix_(rows, cols)].any():
        return False
    return bool(
        np.logical_and.reduceat(np.logical_and.reduceat(same, cols, axis=1), rows, axis=0).any()
    )


def _named(dataset: DatasetReader, indexes: Sequence[int], window: Window) -> str:
    first, last = (
        (window.row_off, window.col_off),
        (window.row_off + window.height, window.col_off + window.width),
    )
    bands = f"band{'s' * (len(indexes) > 1)} {', '.join(map(str, indexes))}"
    return (
        f"{redact_url(dataset.name)} {bands} rows {first[0]}-{last[0]} columns {first[1]}-{last[1]}"
    )
