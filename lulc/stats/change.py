"""Post-classification comparison of two class rasters, as a raster and as true areas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lulc.errors import UsageError
from lulc.geo.areas import pixel_areas
from lulc.legend import NODATA
from lulc.location import Location
from lulc.raster import classes
from lulc.raster.classes import ClassRaster
from lulc.raster.writer import create_cog
from lulc.stats.class_rasters import join_legends
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


def write_changes(before: Location, after: Location, path: Location) -> list[dict[str, Any]]:
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
        InputError: a file is no class raster, or the two name their classes differently.
        UsageError: the change raster would replace one of the two.
    """
    if path.resolve() in (before.resolve(), after.resolve()):
        raise UsageError(f"{path} is compared itself: write the change raster to another file")
    first, second = (classes.scan_raster(str(path.resolve())) for path in (before, after))
    names = join_legends([first, second])
    pixels, areas = _write_pairs(path, first, second)
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
    path: Location, before: ClassRaster, after: ClassRaster
) -> tuple[np.ndarray, np.ndarray]:
    # (65536,) pixels and m² by pair of classes; writes the raster of pairs at path.
    grid = before.grid
    pixels, areas = np.zeros(NODATA_PAIR + 1), np.zeros(NODATA_PAIR + 1)

    def write(temporary: Path) -> None:
        with create_cog(temporary, grid, "uint16", NODATA_PAIR) as target:
            for row in range(0, grid.height, _ROWS):
                window = np.s_[row : min(row + _ROWS, grid.height), 0 : grid.width]
                strip = grid.window(row, 0, window[0].stop - row, grid.width)
                from_ids = classes.read_ids(before, window)
                to_ids, _ = classes.read_ids_onto(after, strip)
                valid = (from_ids != NODATA) & (to_ids != NODATA)
                codes = from_ids.astype(np.uint16) << 8 | to_ids
                pairs = np.where(valid, codes, np.uint16(NODATA_PAIR))
                target.write(pairs, window)
                weights = np.broadcast_to(pixel_areas(strip), pairs.shape).ravel()
                pixels[:] += np.bincount(pairs.ravel(), minlength=len(pixels))
                areas[:] += np.bincount(pairs.ravel(), weights=weights, minlength=len(areas))

    files.write_atomic(path, write)
    return pixels, areas
