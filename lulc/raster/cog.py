"""Cloud-optimised GeoTIFFs of classes, with overviews by majority."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numba import njit
from rasterio.io import MemoryFile

from lulc.geo.grid import Grid
from lulc.legend import NODATA, Legend
from lulc.tables.files import write_atomic

BLOCK = 512
"""Side of a raster's inner tiles in pixels; overviews are made until one covers all."""

# ZSTD 3 keeps class rasters as small as DEFLATE 6 in a fraction of its time; a predictor makes them larger.
_COG = {
    "driver": "COG",
    "BLOCKSIZE": BLOCK,
    "COMPRESS": "ZSTD",
    "LEVEL": 3,
    "GEOTIFF_VERSION": "1.1",
}


def pyramid(classes: np.ndarray) -> list[np.ndarray]:
    """The raster and its overviews, each half the one before (odd sides rounded up), until one fits a block."""
    levels = [classes]
    while max(levels[-1].shape) > BLOCK:
        levels.append(majority(levels[-1], np.uint8(NODATA)))
    return levels


@njit(cache=True, nogil=True)
def majority(array, nodata):  # type: ignore[no-untyped-def]
    """The most frequent value of every 2 x 2 pixels, nodata left out, the smallest of equals; edges count what is there."""
    height, width = array.shape
    out = np.empty(((height + 1) // 2, (width + 1) // 2), array.dtype)
    for i in range(out.shape[0]):
        y, below = 2 * i, min(2 * i + 1, height - 1)
        for j in range(out.shape[1]):
            x, right = 2 * j, min(2 * j + 1, width - 1)
            # An edge pixel stands in for its missing neighbour, which doubles both counts alike.
            four = (array[y, x], array[y, right], array[below, x], array[below, right])
            best, most = nodata, 0
            if four[0] == four[1] and four[0] == four[2] and four[0] == four[3]:
                best = four[0]
            else:
                for value in four:
                    if value != nodata:
                        count = 0
                        for other in four:
                            count += other == value
                        if count > most or (count == most and value < best):
                            best, most = value, count
            out[i, j] = best
    return out


def write_cog(
    path: Path,
    grid: Grid,
    levels: Sequence[np.ndarray],
    tags: Mapping[str, str],
    legend: Legend | None = None,
) -> None:
    """A uint8 COG at `path`, the same bytes every time, with a legend's colours; SetupError where the disk is full.

    levels: the band (H, W), or bands (K, H, W), and its overviews, each half the one before; GDAL averages where there are none.
    """
    overviews = (
        {"OVERVIEWS": "FORCE_USE_EXISTING"}
        if len(levels) > 1
        else {"OVERVIEW_RESAMPLING": "AVERAGE"}
    )
    folder = uuid.uuid4().hex
    with rasterio.Env(GDAL_NUM_THREADS="1"), ExitStack() as files:
        # GDAL takes x.tif.ovr as the overview of x.tif, x.tif.ovr.ovr as that of x.tif.ovr, and so on.
        for number, level in enumerate(levels):
            bands = level.reshape(-1, *level.shape[-2:])
            place = Grid(grid.crs, grid.transform, *level.shape[-2:])
            file = files.enter_context(
                MemoryFile(dirname=folder, filename="x.tif" + ".ovr" * number)
            )
            with file.open(**_plain(place, len(bands))) as target:
                target.write(bands)
                if number == 0:
                    target.update_tags(**tags)
                    if legend is not None:
                        target.write_colormap(1, legend.palette())
        write_atomic(
            path,
            lambda beside: rasterio.shutil.copy(
                f"/vsimem/{folder}/x.tif", beside, **_COG, **overviews
            ),
        )


def _plain(grid: Grid, count: int) -> dict[str, Any]:
    blocks = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    place = {"crs": grid.crs, "transform": grid.affine, "height": grid.height, "width": grid.width}
    return {"driver": "GTiff", "dtype": "uint8", "count": count, "nodata": NODATA} | blocks | place
