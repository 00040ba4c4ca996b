"""Files of AlphaEarth Foundations as they are published, south-up, and their values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio

from lulc.geo.grid import Grid
from tests.helpers.synthetic_scenes import write_raster

NORTH_UP = Grid("EPSG:32633", (10.0, 0.0, 5e5, 0.0, -10.0, 5.3e6), 128, 96)
SOUTH_UP = Grid("EPSG:32633", (10.0, 0.0, 5e5, 0.0, 10.0, 5.3e6 - 1280), 128, 96)
AXES = tuple(f"e{number}" for number in range(64))


def write_alphaearth(
    folder: Path, numbers: np.ndarray, year: int = 2023, zone: str = "33N"
) -> Path:
    """Numbers (64, H, W), the first row in the north, as a file whose first row is in the south."""
    path = folder / f"{year}/{zone}/xk4jt2kb9ikvgqa9d-0000000000-0000008192.tiff"
    write_raster(path, numbers[:, ::-1], SOUTH_UP, nodata=-128, interleave="pixel")
    with rasterio.open(path, "r+") as file:
        assert file.transform.e > 0
        for number in range(64):
            file.set_band_description(number + 1, f"A{number:02d}")
    return path


def make_numbers() -> np.ndarray:
    """Numbers (64, H, W) of all 255 values; 5 columns without data in the west."""
    numbers = np.random.default_rng(0).integers(-127, 128, (64, *NORTH_UP.shape)).astype("int8")
    numbers[0, 3, 5:] = np.arange(-45, 46)
    numbers[:, :, :5] = -128
    return numbers


def published(numbers: np.ndarray) -> np.ndarray:
    """The README's own expression."""
    values = numbers.astype(float)
    return (values / 127.5) ** 2 * np.sign(values)
