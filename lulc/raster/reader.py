"""Bands of a raster file on any grid.

The one reader of pixels: it reads only the window that a grid needs, and a window is read in full
or not at all. Which files may be opened, and how, is the matter of `lulc.raster.access`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rasterio.windows import Window

from lulc.bands import Resampling
from lulc.errors import InputError
from lulc.geo import overlap, warp
from lulc.geo.grid import MAX_COORDINATE, Grid, crs_text, parse_crs
from lulc.geo.swath import Swath
from lulc.raster.access import OpenRaster, ReadError, open_raster
from lulc.raster.pixels import common_dtype, data_bands, describe_window, is_real, read_pixels
from lulc.raster.side_files import NO_TRANSFORM, read_place
from lulc.raster.stores import shown_name
from lulc.redact import redact_url

# Bytes of one band that a read may decode.
_MAX_BYTES = 2 << 30
# Source pixels held at once.
_CHUNK_PIXELS = 32 << 20


def grid_of(raster: DatasetReader | str) -> Grid:
    """Return the grid of an open raster or of a raster file.

    Raises:
        InputError: it has no CRS, or its CRS or transform cannot be true.
        ReadError: the file cannot be opened.
    """
    if isinstance(raster, str):
        with open_raster(raster) as dataset:
            return grid_of(dataset)
    grid = find_grid(raster)
    if grid is None:
        kind = "no CRS" if raster.crs is None else "a local CRS, which is nowhere on Earth"
        raise InputError(
            f"{shown_name(raster)} has {kind}: write the true one into the file "
            "(for example with gdal_edit.py -a_srs)"
        )
    return grid


def find_grid(raster: OpenRaster) -> Grid | None:
    """Return the grid of an open raster, None of a picture that has no CRS or a local one.

    Raises:
        InputError: it says where it lies, but not by a CRS and a transform that can be true.
    """
    raster_crs, transform = read_place(raster)
    _check_place(raster, raster_crs, transform)
    crs = "" if raster_crs is None else crs_text(raster_crs.to_wkt())
    if not crs or not (parse_crs(crs).is_geographic or parse_crs(crs).is_projected):
        return None
    grid = Grid(crs, tuple(transform)[:6], raster.height, raster.width)
    a, b, _, d, e, _ = grid.transform
    xmin, ymin, xmax, ymax = bounds = grid.bounds
    is_finite = all(map(math.isfinite, grid.transform))
    if not is_finite or a * e == b * d or max(map(abs, bounds)) > MAX_COORDINATE:
        raise InputError(
            f"{shown_name(raster)} lies nowhere on Earth by its transform {grid.transform}: "
            "georeference it anew"
        )
    beyond_degrees = ymin < -91 or ymax > 91 or xmin < -541 or xmax > 541
    if parse_crs(crs).is_geographic and beyond_degrees:
        raise InputError(
            f"{shown_name(raster)} has a CRS in degrees ({grid.crs[:40]}) but bounds "
            f"{bounds}: write its true CRS into the file"
        )
    return grid


def _check_place(raster: OpenRaster, crs: CRS | None, transform: Affine) -> None:
    # crs, transform: of the raster and the files beside it.
    if crs is not None and transform == NO_TRANSFORM:
        raise InputError(
            f"{shown_name(raster)} has a CRS but no transform, so that its location is "
            "unknown: write its corners into the file (for example with gdal_edit.py -a_ullr)"
        )
    if crs is not None or transform != NO_TRANSFORM:
        return
    if raster.gcps[0]:
        raise InputError(
            f"{shown_name(raster)} is placed by ground control points alone: warp it to a "
            "grid (gdalwarp)"
        )
    if raster.rpcs is not None:
        raise InputError(
            f"{shown_name(raster)} is placed by rational polynomials (RPC) alone: warp it to "
            "a grid (gdalwarp -rpc)"
        )


def read_band(
    href: str, index: int, grid: Grid, resampling: Resampling, nodata: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Read one band of a raster file on any grid.

    Where the grid has the file's own lattice values are copied; elsewhere only the window that the
    grid needs is read and resampled.

    Args:
        href: See `open_raster`.
        index: The band, from 1.
        grid: Grid of the result.
        resampling: "nearest", "bilinear" or "average"; a much finer file is averaged instead of
            interpolated.
        nodata: Value without data; None takes the file's own.

    Returns:
        (H, W) pixels of the file's dtype, 0 where not valid; (H, W) valid.

    Raises:
        ReadError: the window cannot be read; names file, band and window.
        InputError: the file has no CRS, or one that cannot be true.
    """
    return read_bands(href, [(index, resampling, nodata)], grid)[0]


def list_bands(href: str) -> tuple[int, ...]:
    """Return the numbers, from 1, of the bands of a raster file, alpha left out.

    Raises:
        ReadError: the file cannot be opened.
    """
    with open_raster(href, georeferenced=False) as dataset:
        return data_bands(dataset)


def read_bands(
    href: str,
    bands: Sequence[tuple[int, Resampling, float | None]],
    grid: Grid,
    convert: Callable[[np.ndarray, int, int], np.ndarray] | None = None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read several bands of a file, opened once; a broken connection is tried twice.

    Args:
        href: See `open_raster`.
        bands: (index, resampling, nodata) of each band, as for `read_band`. One that the file flags
            as alpha is data like the others and masks none of them.
        grid: Grid of the result.
        convert: As for `read_swath`; None keeps the numbers.

    Returns:
        Pixels and valid of each band, as `read_band` gives them; of the dtype of what `convert`
        returns.
    """
    data_indexes = tuple(index for index, _, _ in bands)
    return _read_twice(
        href,
        lambda dataset: [
            _read_band(_Band(dataset, index, nodata, data_indexes, convert), href, grid, resampling)
            for index, resampling, nodata in bands
        ],
    )


def read_swath(
    href: str,
    swath: Swath,
    grid: Grid,
    resampling: Resampling,
    convert: Callable[[np.ndarray, int, int], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Read band 1 of a file that a swath georeferences, on any grid.

    Args:
        href: See `open_raster`.
        swath: Where the file's pixels lie.
        grid: Grid of the result.
        resampling: As for `read_band`.
        convert: From the numbers (h, w) of a window, and the row and column at which it starts, to
            float values, nan where there is none. Numbers are converted before they are resampled;
            0 is no data.

    Returns:
        (H, W) values, 0 where not valid; (H, W) valid.

    Raises:
        ReadError: the window cannot be read, or the file has another shape than the swath.
    """

    def read(dataset: DatasetReader) -> tuple[np.ndarray, np.ndarray]:
        if dataset.shape != (swath.height, swath.width):
            raise ReadError(
                f"{redact_url(href)} has {dataset.height}x{dataset.width} pixels, its annotation "
                f"says {swath.height}x{swath.width}: download it again"
            )
        pixel_map = overlap.locate(swath, grid)
        band = _Band(dataset, 1, 0, convert=convert)
        resampling_used = warp.effective_resampling(resampling, pixel_map.scale)
        return _resample_band(band, swath, grid, pixel_map, resampling_used)

    return _read_twice(href, read)


def read_whole(
    href: str, indexes: Sequence[int] = (), with_grid: bool = True
) -> tuple[np.ndarray, np.ndarray, Grid | None]:
    """Read bands of a whole file.

    Args:
        href: See `open_raster`.
        indexes: The bands, from 1; all but alpha by default.
        with_grid: Whether to give the grid, which takes time.

    Returns:
        (C, H, W) pixels, 0 where not valid; (H, W) bool, where all of the bands are valid; the
        grid, None of an image without CRS.

    Raises:
        ReadError: the file cannot be read or lacks a band, or its bands differ in type; names the
            file. Of a file too large nothing is read.
    """

    def read(dataset: DatasetReader) -> tuple[np.ndarray, np.ndarray, Grid | None]:
        bands = indexes or data_bands(dataset)
        _check_whole(dataset, bands, href)
        window = Window(0, 0, dataset.width, dataset.height)
        pixels, band_valid = read_pixels(dataset, bands, window)
        valid = band_valid.all(axis=0)
        grid = find_grid(dataset) if with_grid else None
        return np.where(valid, pixels, 0), valid, grid

    return _read_twice(href, read, with_grid)


def _check_whole(dataset: DatasetReader, indexes: Sequence[int], href: str) -> None:
    if not all(1 <= index <= dataset.count for index in indexes):
        raise ReadError(
            f"{redact_url(href)} has {dataset.count} bands: there is no band {max(indexes)}"
        )
    check_upright(dataset)
    pixel_bytes = len(indexes) * common_dtype(dataset, indexes).itemsize
    decoded_bytes = dataset.width * dataset.height * pixel_bytes
    if decoded_bytes > _MAX_BYTES:
        raise ReadError(
            f"{redact_url(href)} would decode {decoded_bytes / 2**30:.1f} GiB: cut it into smaller "
            "images first"
        )


def check_upright(raster: OpenRaster) -> None:
    """Raise ReadError where a picture is stored turned.

    Viewers and annotation tools turn it: masks, boxes and maps of the picture as it is shown are of
    other pixels.
    """
    if raster.driver == "JPEG":
        orientation = raster.tags().get("EXIF_Orientation", "1")
        if orientation not in ("0", "1"):
            raise ReadError(
                f"{shown_name(raster)} is stored turned (EXIF orientation {orientation}): "
                "write it upright, labels as it is shown (for example with `mogrify -auto-orient`)"
            )


def _read_twice[T](href: str, read: Callable[[DatasetReader], T], georeferenced: bool = True) -> T:
    # What `read` gives of the open file; it is opened and read again after a broken connection.
    for last_try in (False, True):
        try:
            with open_raster(href, georeferenced) as dataset:
                return read(dataset)
        except ReadError as error:
            if last_try or not isinstance(error.__cause__, OSError):
                raise
            time.sleep(0.2)
    raise AssertionError


@dataclass(frozen=True, eq=False)
class _Band:
    """A band of an open raster, and how its numbers become values."""

    dataset: DatasetReader
    index: int
    """From 1."""
    nodata: float | None
    """Number without data; None takes the file's own."""
    named: tuple[int, ...] = ()
    """Bands of the file that are known to hold data."""
    convert: Callable[[np.ndarray, int, int], np.ndarray] | None = None
    """As for `read_swath`; None keeps the numbers."""

    @property
    def dtype(self) -> str:
        return str(self.dataset.dtypes[self.index - 1])

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Read values and valid of a window."""
        (values,), (valid,) = read_pixels(
            self.dataset, (self.index,), window, (self.nodata,), self.named
        )
        if self.convert is not None:
            values = self.convert(values, window.row_off, window.col_off)
            valid &= np.isfinite(values)
        return values, valid


def _read_band(
    band: _Band, href: str, grid: Grid, resampling: Resampling
) -> tuple[np.ndarray, np.ndarray]:
    dataset, index = band.dataset, band.index
    if not 1 <= index <= dataset.count:
        raise ReadError(
            f"{shown_name(dataset)} has {dataset.count} bands: there is no band {index}"
        )
    if not is_real(band.dtype):
        raise ReadError(
            f"{shown_name(dataset)} band {index} is of type {band.dtype}: "
            "only real numbers can be read"
        )
    sources = overlap.turned(grid_of(dataset), grid)
    return warp.first_valid(_read_at(band, href, source, grid, resampling) for source in sources)


def _read_at(
    band: _Band, href: str, source: Grid, grid: Grid, resampling: Resampling
) -> tuple[np.ndarray, np.ndarray]:
    # source: the file's grid, moved by whole turns.
    pixel_map = overlap.locate(source, grid)
    resampling = warp.effective_resampling(resampling, pixel_map.scale)
    window = window_of(pixel_map, source)
    decoded_bytes = window.width * window.height * np.dtype(band.dtype).itemsize
    if decoded_bytes > _MAX_BYTES:
        # Only averages may be taken from overviews, which are averages themselves.
        max_factor = pixel_map.scale if resampling == "average" else 0.0
        level = _find_overview(band, window, decoded_bytes, max_factor)
        with open_raster(href, OVERVIEW_LEVEL=level) as overview:
            return _read_band(replace(band, dataset=overview), href, grid, "average")
    offset = overlap.pixel_offset(source, grid)
    if offset is not None:
        return _copy(band, offset, grid)
    return _resample_band(band, source, grid, pixel_map, resampling)


def _find_overview(band: _Band, window: Window, decoded_bytes: int, max_factor: float) -> int:
    # Number of the finest overview that is small enough and not coarser than the grid. A transform
    # beside the file is that of its own pixels alone.
    has_transform = band.dataset.transform != NO_TRANSFORM
    factors = band.dataset.overviews(band.index) if has_transform else []
    for level, factor in enumerate(factors):
        if factor <= max_factor and decoded_bytes / factor**2 <= _MAX_BYTES:
            return level
    raise ReadError(
        f"{describe_window(band.dataset, [band.index], window)} would decode "
        f"{decoded_bytes / 2**30:.1f} GiB: add overviews (gdaladdo -r average), or take finer "
        "pixels or smaller blocks (tiling)"
    )


def _resample_band(
    band: _Band,
    source: Grid | Swath,
    grid: Grid,
    pixel_map: overlap.PixelMap,
    resampling: Resampling,
) -> tuple[np.ndarray, np.ndarray]:
    # By strips of the grid, so that no more than _CHUNK_PIXELS of the source are held at once.
    window = window_of(pixel_map, source)
    strip_rows = max(
        1, grid.height * _CHUNK_PIXELS // max(_CHUNK_PIXELS, window.width * window.height)
    )
    if strip_rows >= grid.height:
        return _gather(band, source, pixel_map, resampling)
    strips = []
    for row in range(0, grid.height, strip_rows):
        strip = grid.window(row, 0, min(strip_rows, grid.height - row), grid.width)
        sources = (source,) if isinstance(source, Swath) else overlap.turned(source, strip)
        maps = ((moved, overlap.locate(moved, strip)) for moved in sources)
        strips.append(warp.first_valid(_gather(band, *placed, resampling) for placed in maps))
    strip_pixels, strip_valid = zip(*strips, strict=True)
    return np.concatenate(strip_pixels), np.concatenate(strip_valid)


def _gather(
    band: _Band, source: Grid | Swath, pixel_map: overlap.PixelMap, resampling: Resampling
) -> tuple[np.ndarray, np.ndarray]:
    window = window_of(pixel_map, source)
    values, valid = band.read(window)
    return warp.gather(values, valid, pixel_map, (window.row_off, window.col_off), resampling)


def window_of(pixel_map: overlap.PixelMap, source: Grid | Swath) -> Window:
    """Return the window of a source that a grid reaches, empty where it reaches none."""
    # Two pixels of margin: bilinear takes one more than the grid's own extent, and knots may be a
    # hair off.
    row0, col0, row1, col1 = pixel_map.source_bounds or (0.0, 0.0, -4.0, -4.0)
    top, left = max(0, int(np.floor(row0)) - 2), max(0, int(np.floor(col0)) - 2)
    bottom = min(source.height, int(np.ceil(row1)) + 2)
    right = min(source.width, int(np.ceil(col1)) + 2)
    return Window(left, top, max(0, right - left), max(0, bottom - top))


def _copy(band: _Band, offset: tuple[int, int], grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    # offset: row and column of the file's pixel that is the grid's first.
    row0, col0 = (max(0, start) for start in offset)
    row1 = max(row0, min(band.dataset.height, offset[0] + grid.height))
    col1 = max(col0, min(band.dataset.width, offset[1] + grid.width))
    window_pixels, window_valid = band.read(Window(col0, row0, col1 - col0, row1 - row0))
    pixels, valid = np.zeros(grid.shape, window_pixels.dtype), np.zeros(grid.shape, bool)
    if window_valid.size:
        overlapped = np.s_[row0 - offset[0] : row1 - offset[0], col0 - offset[1] : col1 - offset[1]]
        pixels[overlapped] = np.where(window_valid, window_pixels, 0)
        valid[overlapped] = window_valid
    return pixels, valid
