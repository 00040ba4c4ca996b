"""Post-classification comparison of two class rasters, as a raster and as true areas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lulc.geo.areas import pixel_areas
from lulc.geo.grid import Grid
from lulc.raster import reader
from lulc.raster.access import OpenRaster, open_raster
from lulc.raster.views import PixelWindow, align, read_window
from lulc.raster.writer import create_cog
from lulc.stats import class_rasters
from lulc.tables import files

NODATA_PAIR = 0xFFFF
"""Value of the change raster where either raster has no class."""

CHANGES = pa.schema(
    {
        "from_id": pa.int64(),
        "from_class": pa.string(),
        "to_id": pa.int64(),
        "to_class": pa.string(),
        "pixels": pa.int64(),
        "area_m2": pa.float64(),
    }
)
"""Schema of the rows of `write_changes`."""

_ROWS = 512  # of the rasters that are compared at once


@dataclass(frozen=True)
class _ClassBand:
    # An open class raster, and the id that means no class in it.
    source: OpenRaster
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
    with open_raster(str(before)) as first, open_raster(str(after)) as second:
        names_before, nodata_before = class_rasters.read_classes(first)
        names_after, nodata_after = class_rasters.read_classes(second)
        grid = reader.grid_of(first)
        with align(second, first, nodata_after) as aligned:
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


def _write_pairs(
    path: Path, grid: Grid, before: _ClassBand, after: _ClassBand
) -> tuple[np.ndarray, np.ndarray]:
    # (65536,) pixels and m² by pair of classes, of two rasters on one grid; writes the raster of
    # pairs at path.
    pixels, areas = np.zeros(NODATA_PAIR + 1), np.zeros(NODATA_PAIR + 1)

    def write(temporary: Path) -> None:
        with create_cog(temporary, before.source, "uint16", NODATA_PAIR) as target:
            for row in range(0, grid.height, _ROWS):
                window = np.s_[row : min(row + _ROWS, grid.height), 0 : grid.width]
                pairs = _read_pairs(before, after, window)
                target.write(pairs, window)
                row_areas = pixel_areas(grid.window(row, 0, *pairs.shape))
                weights = np.broadcast_to(row_areas, pairs.shape).ravel()
                pixels[:] += np.bincount(pairs.ravel(), minlength=len(pixels))
                areas[:] += np.bincount(pairs.ravel(), weights=weights, minlength=len(areas))

    files.write_atomic(path, write)
    return pixels, areas


def _read_pairs(before: _ClassBand, after: _ClassBand, window: PixelWindow) -> np.ndarray:
    # (H, W) uint16 pairs of classes in a window.
    from_ids = read_window(before.source, window)
    to_ids = read_window(after.source, window)
    valid = (from_ids != before.nodata) & (to_ids != after.nodata)
    return np.where(valid, from_ids.astype(np.uint16) << 8 | to_ids, np.uint16(NODATA_PAIR))
