"""Post-classification comparison: what each pixel of one class raster has become in another, as a raster and as true areas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from lulc.geo.areas import pixel_areas
from lulc.raster import access, reader
from lulc.stats import class_rasters
from lulc.tables import files

_ROWS = 512
NOTHING = 0xFFFF


def write_changes(before: Path, after: Path, path: Path) -> list[dict[str, Any]]:
    """from_id, from_class, to_id, to_class, pixels and area_m2 (true) of every pair of classes that occurs; writes `path`.

    It is a uint16 COG on the grid of `before`: from_id * 256 + to_id, 65535 where either has no class. `after` is taken
    where the centres of these pixels fall. InputError for what is no raster of one band of class ids, or has no CRS.
    """
    with access.open_raster(str(before)) as first, access.open_raster(str(after)) as second:
        names: dict[int, str] = {}
        empty: list[int] = []
        for source in (first, second):
            found, none = class_rasters.read_classes(source)
            names |= found
            empty.append(none)
        grid, counts, areas = reader.grid_of(first), np.zeros(NOTHING + 1), np.zeros(NOTHING + 1)
        place = {
            "crs": first.crs,
            "transform": first.transform,
            "height": first.height,
            "width": first.width,
        }
        own = {
            "driver": "GTiff",
            "dtype": "uint16",
            "count": 1,
            "nodata": NOTHING,
            "tiled": True,
            "compress": "zstd",
            **place,
        }

        def write(beside: Path) -> None:
            plain = beside.with_suffix(".plain")
            try:
                with rasterio.open(plain, "w", **own) as target:
                    for row in range(0, first.height, _ROWS):
                        window = Window(0, row, first.width, min(_ROWS, first.height - row))
                        made = _join(
                            first.read(1, window=window), there.read(1, window=window), empty
                        )
                        target.write(made, 1, window=window)
                        each = pixel_areas(grid.window(row, 0, *made.shape))
                        counts[:] += np.bincount(made.ravel(), minlength=NOTHING + 1)
                        weights = np.broadcast_to(each, made.shape).ravel()
                        areas[:] += np.bincount(
                            made.ravel(), weights=weights, minlength=NOTHING + 1
                        )
                rasterio.shutil.copy(
                    plain, beside, driver="COG", COMPRESS="ZSTD", OVERVIEW_RESAMPLING="NEAREST"
                )
            finally:
                plain.unlink(missing_ok=True)

        with WarpedVRT(
            second, resampling=Resampling.nearest, src_nodata=empty[1], nodata=empty[1], **place
        ) as there:
            files.write_atomic(path, write)
    return [
        {"from_id": i >> 8, "from_class": names.get(i >> 8, str(i >> 8)), "to_id": i & 255}
        | {
            "to_class": names.get(i & 255, str(i & 255)),
            "pixels": int(counts[i]),
            "area_m2": float(areas[i]),
        }
        for i in np.flatnonzero(counts[:NOTHING]).tolist()
    ]


def _join(before: np.ndarray, after: np.ndarray, empty: list[int]) -> np.ndarray:
    known = (before != empty[0]) & (after != empty[1])
    return np.where(known, before.astype(np.uint16) << 8 | after, np.uint16(NOTHING))
