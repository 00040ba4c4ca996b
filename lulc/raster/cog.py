"""Cloud-optimised GeoTIFFs of arrays: classes with overviews by majority, and plain bands."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numba import njit
from rasterio.errors import RasterioIOError
from rasterio.io import MemoryFile

from lulc.geo.grid import Grid
from lulc.legend import NODATA, Legend
from lulc.location import Location
from lulc.raster.views import georeference
from lulc.raster.writer import copy_raster
from lulc.tables.files import write_atomic

BLOCK = 512
"""Side of a raster's inner tiles in pixels; overviews are made until one block covers all."""

# ZSTD 3 keeps class rasters as small as DEFLATE 6 in a fraction of its time; a predictor makes them
# larger.
_COG = {
    "driver": "COG",
    "BLOCKSIZE": BLOCK,
    "COMPRESS": "ZSTD",
    "LEVEL": 3,
    "GEOTIFF_VERSION": "1.1",
}

# A session tells GDAL to look for no file beside one that it opens; here overviews lie beside it.
_FINDS_OVERVIEWS = {"GDAL_NUM_THREADS": "1", "GDAL_DISABLE_READDIR_ON_OPEN": "FALSE"}


def pyramid(classes: np.ndarray) -> list[np.ndarray]:
    """Return a class raster and its overviews by majority.

    Args:
        classes: (H, W) uint8 class ids, 255 where there is none.

    Returns:
        The raster, then overviews, each half as wide and high as the one before (odd sides rounded
        up), until one fits a block.
    """
    levels = [classes]
    while max(levels[-1].shape) > BLOCK:
        levels.append(majority(levels[-1], np.uint8(NODATA)))
    return levels


@njit(cache=True, nogil=True)
def majority(array, nodata):  # type: ignore[no-untyped-def]
    """Return the most frequent value of every 2 x 2 pixels.

    Nodata is not counted; of equally frequent values the smallest wins.

    Args:
        array: (H, W) integers.
        nodata: Value of the array's dtype; it is given where all four pixels have it.

    Returns:
        ((H + 1) // 2, (W + 1) // 2) array of the same dtype. At odd edges only the pixels that
        exist count.
    """
    height, width = array.shape
    out = np.empty(((height + 1) // 2, (width + 1) // 2), array.dtype)
    for i in range(out.shape[0]):
        y, below = 2 * i, min(2 * i + 1, height - 1)
        for j in range(out.shape[1]):
            x, right = 2 * j, min(2 * j + 1, width - 1)
            # An edge pixel stands in for its missing neighbour, which doubles both counts alike.
            four = (array[y, x], array[y, right], array[below, x], array[below, right])
            best, best_count = nodata, 0
            if four[0] == four[1] and four[0] == four[2] and four[0] == four[3]:
                best = four[0]
            else:
                for value in four:
                    if value != nodata:
                        count = 0
                        for other in four:
                            count += other == value
                        if count > best_count or (count == best_count and value < best):
                            best, best_count = value, count
            out[i, j] = best
    return out


def write_cog(
    path: Location,
    grid: Grid,
    levels: Sequence[np.ndarray],
    tags: Mapping[str, str],
    legend: Legend | None = None,
    names: Sequence[str] = (),
) -> None:
    """Write a uint8 COG whose bytes depend on the arguments alone.

    Args:
        path: The file; it is replaced at once when it is complete.
        grid: Grid of the first level.
        levels: The band (H, W), or bands (K, H, W), and its overviews, each half the one before;
            without overviews GDAL makes them by averaging.
        tags: GDAL metadata items.
        legend: Gives the colours of the first band.
        names: Names of the bands, where they have any: their descriptions.

    Raises:
        SetupError: the disk is full.
    """
    overviews = (
        {"OVERVIEWS": "FORCE_USE_EXISTING"}
        if len(levels) > 1
        else {"OVERVIEW_RESAMPLING": "AVERAGE"}
    )
    folder = uuid.uuid4().hex
    with rasterio.Env(**_FINDS_OVERVIEWS), ExitStack() as files:
        # GDAL takes x.tif.ovr as the overview of x.tif, x.tif.ovr.ovr as that of x.tif.ovr, and so
        # on.
        for number, level in enumerate(levels):
            bands = level.reshape(-1, *level.shape[-2:])
            level_grid = Grid(grid.crs, grid.transform, *level.shape[-2:])
            file = files.enter_context(
                MemoryFile(dirname=folder, filename="x.tif" + ".ovr" * number)
            )
            with file.open(**_geotiff_profile(level_grid, len(bands))) as dataset:
                dataset.write(bands)
                if number == 0:
                    dataset.update_tags(**tags)
                    if names:
                        dataset.descriptions = names
                    if legend is not None:
                        dataset.write_colormap(1, legend.palette())

        def copy_to(temporary: Path) -> None:
            copy_raster(f"/vsimem/{folder}/x.tif", temporary, **_COG, **overviews)

        write_atomic(path, copy_to)


def _geotiff_profile(grid: Grid, band_count: int) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": band_count,
        "nodata": NODATA,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        **georeference(grid),
    }


def write_bands(path: Path, pixels: np.ndarray, grid: Grid, nodata: float) -> None:
    """Write bands of any type as a COG with GDAL's own overviews.

    Args:
        path: The file; its folder is there.
        pixels: (C, H, W) numbers.
        grid: Grid of the bands.
        nodata: Value of pixels without data.
    """
    bands = {"count": len(pixels), "dtype": pixels.dtype.name, "nodata": nodata}
    with rasterio.open(
        path, "w", driver="COG", compress="deflate", **bands, **georeference(grid)
    ) as dataset:
        dataset.write(pixels)


def read_tags(location: Location) -> dict[str, str]:
    """Return the metadata items of a GeoTIFF that this package wrote; none of one that is missing.

    A file that is no GeoTIFF has none either.
    """
    try:
        with rasterio.open(str(location), driver="GTiff") as dataset:
            tags: dict[str, str] = dataset.tags()
    except RasterioIOError:
        return {}
    return tags
