"""Post-classification comparison of two class rasters, as a raster and as true areas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from lulc.geo.areas import pixel_areas
from lulc.geo.grid import Grid
from lulc.raster import access, reader
from lulc.stats import class_rasters
from lulc.tables import files

NODATA_PAIR = 0xFFFF
"""Value of the change raster where either raster has no class."""

_ROWS = 512  # of the rasters that are compared at once


@dataclass(frozen=True)
class _ClassBand:
    # An open class raster, and the id that means no class in it.
    source: DatasetReader | WarpedVRT
    nodata: int


def write_changes(before: Path, after: Path, path: Path) -> list[dict[str, Any]]:
    """Compare two class rasters pixel by pixel and write the change raster.

    The change raster is a uint16 COG on the grid of `before`, its values from_id * 256 + to_id,
    65535 where either raster has no class. `after` is sampled at the centres of its pixels.

    Args:
        before: earlier class raster.
        after: later class raster, on any grid.
        path: the change raster to write.

    Returns:
        A row for every pair of classes that occurs: from_id, from_class, to_id, to_class, pixels
        and area_m2 (true area).

    Raises:
        InputError: a raster is not one band of uint8 class ids, or has no CRS.
    """
    with access.open_raster(str(before)) as first, access.open_raster(str(after)) as second:
        names_before, nodata_before = class_rasters.read_classes(first)
        names_after, nodata_after = class_rasters.read_classes(second)
        grid = reader.grid_of(first)
        with WarpedVRT(
            second,
            resampling=Resampling.nearest,
            src_nodata=nodata_after,
            nodata=nodata_after,
            **_georeference(first),
        ) as aligned:
            pixels, areas = _write_pairs(
                path, grid, _ClassBand(first, nodata_before), _ClassBand(aligned, nodata_after)
            )
    names = names_before | names_after
    rows = []
    for code in np.flatnonzero(pixels[:NODATA_PAIR]).tolist():
        from_id, to_id = divmod(code, 256)
        rows.append(
            {
                "from_id": from_id,
                "from_class": names.get(from_id, str(from_id)),
                "to_id": to_id,
                "to_class": names.get(to_id, str(to_id)),
                "pixels": int(pixels[code]),
                "area_m2": float(areas[code]),
            }
        )
    return rows


def _georeference(source: DatasetReader) -> dict[str, Any]:
    return {
        "crs": source.crs,
        "transform": source.transform,
        "height": source.height,
        "width": source.width,
    }


def _write_pairs(
    path: Path, grid: Grid, before: _ClassBand, after: _ClassBand
) -> tuple[np.ndarray, np.ndarray]:
    # (65536,) pixels and m² by pair of classes, of two rasters on one grid; writes the raster of
    # pairs at path.
    source = before.source
    pixels, areas = np.zeros(NODATA_PAIR + 1), np.zeros(NODATA_PAIR + 1)
    profile = {
        "driver": "GTiff",
        "dtype": "uint16",
        "count": 1,
        "nodata": NODATA_PAIR,
        "tiled": True,
        "compress": "zstd",
        **_georeference(source),
    }

    def write(temporary: Path) -> None:
        plain = temporary.with_suffix(".plain")
        try:
            with rasterio.open(plain, "w", **profile) as target:
                for window in _row_windows(source):
                    pairs = _read_pairs(before, after, window)
                    target.write(pairs, 1, window=window)
                    row_areas = pixel_areas(grid.window(window.row_off, 0, *pairs.shape))
                    weights = np.broadcast_to(row_areas, pairs.shape).ravel()
                    pixels[:] += np.bincount(pairs.ravel(), minlength=len(pixels))
                    areas[:] += np.bincount(pairs.ravel(), weights=weights, minlength=len(areas))
            rasterio.shutil.copy(
                plain, temporary, driver="COG", COMPRESS="ZSTD", OVERVIEW_RESAMPLING="NEAREST"
            )
        finally:
            plain.unlink(missing_ok=True)

    files.write_atomic(path, write)
    return pixels, areas


def _row_windows(source: DatasetReader) -> Iterator[Window]:
    for row in range(0, source.height, _ROWS):
        yield Window(0, row, source.width, min(_ROWS, source.height - row))


def _read_pairs(before: _ClassBand, after: _ClassBand, window: Window) -> np.ndarray:
    # (H, W) uint16 pairs of classes in a window.
    from_ids = before.source.read(1, window=window)
    to_ids = after.source.read(1, window=window)
    valid = (from_ids != before.nodata) & (to_ids != after.nodata)
    return np.where(valid, from_ids.astype(np.uint16) << 8 | to_ids, np.uint16(NODATA_PAIR))
