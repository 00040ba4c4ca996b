"""Small rasters and scenes on disk, for tests of what reads them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely

from lulc.bands import Band
from lulc.geo.grid import Grid, footprint, transformer
from lulc.raster.reader import grid_of, read_band
from lulc.sources.scene import Clear, Scene
from lulc.tables.encoding import Encoding

UTM33 = Grid("EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5300000.0), 300, 330)


def texture(grid: Grid, seed: int = 0, top: int = 3000, dtype: str = "uint16") -> np.ndarray:
    """Return pixels (H, W) from 1 to top, smooth over some tens of pixels, with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: grid.height, : grid.width]
    waves = np.sin(x / 17 + seed) + np.cos(y / 23) + np.sin((x + y) / 41)
    return np.clip(top * (0.5 + waves / 8) + rng.normal(0, top / 60, grid.shape), 1, top).astype(
        dtype
    )


def grid_inside(crs: str, side: float, size: int = 200, source: Grid = UTM33) -> Grid:
    """Return a grid of square pixels around the source grid's middle."""
    xmin, ymin, xmax, ymax = source.bounds
    x, y = transformer(source.crs, crs).transform((xmin + xmax) / 2, (ymin + ymax) / 2)
    return Grid(crs, (side, 0.0, x - side * size / 2, 0.0, -side, y + side * size / 2), size, size)


def write_raster(path: Path, pixels: np.ndarray, grid: Grid, **profile: Any) -> Path:
    """Write pixels (H, W) or (C, H, W) as a tiled, deflated GeoTIFF unless profile changes that."""
    stack = pixels[None] if pixels.ndim == 2 else pixels
    shape = {
        "height": grid.height,
        "width": grid.width,
        "count": len(stack),
        "dtype": stack.dtype.name,
    }
    place = {"crs": grid.crs, "transform": grid.affine}
    plain = {
        "driver": "GTiff",
        "tiled": True,
        "blockxsize": 128,
        "blockysize": 128,
        "compress": "deflate",
    }
    chosen = profile if profile.get("driver", "GTiff") != "GTiff" else plain | profile
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **shape, **place, **chosen) as file:
        file.write(stack)
    return path


def make_scene(
    folder: Path,
    name: str,
    bands: dict[str, np.ndarray],
    grid: Grid = UTM33,
    day: str | None = "2024-06-01T10:00",
    **rest: Any,
) -> Scene:
    """Write a scene, one file a band, nodata 0; in a band named quality code 1 is valid."""
    made = []
    for band, pixels in bands.items():
        kind: Any
        kind, nodata = ("quality", None) if band == "quality" else ("continuous", 0.0)
        path = write_raster(folder / f"{name}_{band}.tif", pixels, grid, nodata=nodata)
        made.append(Band(band, str(path), dtype=pixels.dtype.name, nodata=nodata, kind=kind))
    taken = None if day is None else datetime.fromisoformat(day).replace(tzinfo=UTC)
    outline = shapely.to_wkb(footprint(grid))
    clear = (Clear("quality", (1,)),) if "quality" in bands else ()
    scene = Scene(
        name,
        "geotiff",
        taken,
        grid.crs,
        outline,
        tuple(made),
        gsd_m=10.0,
        fingerprint=f"{name}-1",
        clear=clear,
    )
    return replace(scene, **rest)


def cut_short(path: Path, share: float = 0.5) -> None:
    """Truncate the file to the first share of its bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def physical_values(band: Band) -> tuple[np.ndarray, np.ndarray]:
    """Return a band's physical values (H, W) float32 on its own grid, and valid (H, W)."""
    pixels, valid = read_band(band.href, band.index, grid_of(band.href), "nearest", band.nodata)
    return Encoding((band.name,), "float32", (1.0,), (0.0,)).encode(pixels, band), valid


def valid_pixels(scene: Scene) -> np.ndarray:
    """Return which pixels (H, W) of the first band's grid the quality bands leave valid."""
    grid = grid_of(scene.bands[0].href)
    left = np.ones(grid.shape, bool)
    for band in scene.quality:
        codes, known = read_band(band.href, band.index, grid, "nearest", band.nodata)
        left &= known
        for test in (t for t in scene.clear if t.band == band.name):
            left &= test.passes(codes)
    return left
