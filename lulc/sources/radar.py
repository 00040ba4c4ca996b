"""Radar measurements as backscatter on any Grid: placed by tie points, calibrated and freed of noise as they are read."""

from __future__ import annotations

import numpy as np

from lulc.bands import Resampling
from lulc.geo.grid import Grid
from lulc.raster.reader import read_swath
from lulc.sources.sentinel1_grd import read_measurement


def read_backscatter(
    href: str, calibration: str, grid: Grid, resampling: Resampling
) -> tuple[np.ndarray, np.ndarray]:
    """Backscatter (H, W) of a Sentinel-1 GRD measurement on a grid, and valid (H, W).

    Linear power, float32, 0 where not valid: DN 0 is no data. calibration: sigma0 or gamma0, both on the ellipsoid. Pixels are
    calibrated before they are resampled. Terrain is not corrected: the tie points lie as high as the ground is at them alone, so
    that between mountains pixels are off by hundreds of metres. InputError where the file or its annotations are damaged.
    """
    measurement = read_measurement(href)

    def convert(numbers: np.ndarray, row: int, col: int) -> np.ndarray:
        return measurement.power(numbers, row, col, calibration)

    return read_swath(href, measurement.swath, grid, resampling, convert)
