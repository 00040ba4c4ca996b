"""Backscatter of radar measurements on any Grid: located by tie points, calibrated, denoised."""

from __future__ import annotations

import numpy as np

from lulc.bands import Resampling
from lulc.geo.grid import Grid
from lulc.raster.reader import read_swath
from lulc.sources.sentinel1_grd import read_measurement


def read_backscatter(
    href: str, calibration: str, grid: Grid, resampling: Resampling
) -> tuple[np.ndarray, np.ndarray]:
    """Read the backscatter of a Sentinel-1 GRD measurement on a grid.

    Pixels are calibrated before they are resampled. Terrain is not corrected: the tie points have
    the height of the ground only at their own positions, so between mountains pixels are off by
    hundreds of metres.

    Args:
        href: The measurement's file in its product.
        calibration: `sigma0` or `gamma0`, both on the ellipsoid.
        grid: The target grid.
        resampling: How pixels are resampled to it.

    Returns:
        Backscatter (H, W), linear power, float32, 0 where not valid; and valid (H, W). DN 0 is no
        data.

    Raises:
        InputError: The file or its annotations are damaged.
    """
    measurement = read_measurement(href)

    def to_power(numbers: np.ndarray, row: int, col: int) -> np.ndarray:
        return measurement.power(numbers, row, col, calibration)

    return read_swath(href, measurement.swath, grid, resampling, to_power)
