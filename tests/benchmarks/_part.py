"""A part of the made-up world's map, for bare loops: where it lies, and how its files are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import rasterio
import torch
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from lulc.config import Config
from lulc.models.package import CONTRACT

SIDE = 512
"""Pixels along the side of a window: what is read and mapped at once."""


@dataclass(frozen=True)
class Part:
    """Rows of windows of the map that one process does."""

    folder: Path
    """Of the world."""
    model: Path
    bands: tuple[str, ...]
    crs: str
    left: float
    top: float
    rows: int
    cols: int
    name: str

    def transform(self, row: int = 0, col: int = 0) -> rasterio.Affine:
        """Return the place of a window."""
        x, y = self.left + col * SIDE * 10, self.top - row * SIDE * 10
        return rasterio.Affine(10, 0, x, 0, -10, y)


def split_map(folder: Path, config: Config, out: Path) -> list[Part]:
    """Return the map of a run as two parts of about the same size."""
    with rasterio.open(next((folder / "archive").glob("*_red.tif"))) as file:
        bounds = transform_bounds(file.crs, config.tiling.crs, *file.bounds)
    left, bottom, right, top = bounds
    rows, cols = (int(-(-span // (SIDE * 10))) for span in (top - bottom, right - left))
    model = next((out / "models").glob("**/" + CONTRACT)).parent
    parts = []
    for first, count in ((0, rows - rows // 2), (rows - rows // 2, rows // 2)):
        place = (config.tiling.crs, left, top - first * SIDE * 10)
        parts.append(Part(folder, model, config.bands, *place, count, cols, f"part{first}"))
    return [part for part in parts if part.rows]


def warp(
    path: Path, part: Part, row: int, col: int, how: Resampling, nodata: int | None
) -> np.ndarray:
    """Return a window (H, W) of a part from a file of one band, which stays open."""
    window = Window(col * SIDE, row * SIDE, SIDE, SIDE)
    found: np.ndarray = _open(path, part, how, nodata).read(1, window=window)
    return found


@lru_cache(maxsize=32)
def _open(path: Path, part: Part, how: Resampling, nodata: int | None) -> WarpedVRT:
    place = {"transform": part.transform(), "height": part.rows * SIDE, "width": part.cols * SIDE}
    file = rasterio.open(path)
    return WarpedVRT(file, crs=part.crs, resampling=how, nodata=nodata, **place)


def chips_file(part: Part) -> Path:
    """Return where the chips of a part are."""
    return part.folder / f"{part.name}.parquet"


def read_chips(part: Part) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pixels (2, C, H, W) uint16 and valid (2, H, W) of each window, by rows."""
    file = pq.ParquetFile(chips_file(part))
    for number in range(file.num_row_groups):
        (row,) = file.read_row_group(number).to_pylist()
        pixels = np.frombuffer(row["pixels"], np.uint16).reshape(2, -1, SIDE, SIDE)
        valid = np.unpackbits(np.frombuffer(row["valid"], np.uint8)).reshape(2, SIDE, SIDE)
        yield pixels, valid.astype(bool)


def standardise(pixels: torch.Tensor) -> torch.Tensor:
    """Return pixels (N, C, H, W) as a network takes them."""
    ready = (pixels.float() - 2000) / 700
    return ready.contiguous(memory_format=torch.channels_last)
