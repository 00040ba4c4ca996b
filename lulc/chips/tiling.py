"""The Tiling that a run file asks for."""

from __future__ import annotations

import re
from pathlib import Path

from lulc.config import Config
from lulc.errors import InputError
from lulc.geo.grid import parse_crs
from lulc.geo.tiling import Tiling
from lulc.raster.reader import grid_of
from lulc.tables import files

_UNITS = {"metre": "m", "meter": "m", "degree": "deg", "foot": "ft", "US survey foot": "ft"}


def make_tiling(config: Config) -> Tiling:
    """The run's Tiling, named after CRS, pixel and size (`6933-10m-512`), or after the raster whose own pixels it takes (`like`).

    InputError where that raster is rotated or counts its rows upwards.
    """
    conf = config.tiling
    if conf.like is None:
        crs = parse_crs(conf.crs)
        authority = crs.to_authority()
        name = (
            f"custom{files.fingerprint_of(crs.to_wkt())[:6]}"
            if authority is None
            else "".join(authority).removeprefix("EPSG")
        )
        unit = _UNITS.get(crs.axis_info[0].unit_name, "") if crs.axis_info else ""
        return Tiling(
            f"{name}-{conf.resolution:g}{unit}-{conf.size}", conf.crs, conf.resolution, conf.size
        )
    grid = grid_of(conf.like)
    a, b, c, d, e, f = grid.transform
    if b or d or a <= 0 or e >= 0:
        raise InputError(
            f"tiling.like {conf.like} is rotated or runs upwards ({grid.transform}): give tiling.crs and resolution instead"
        )
    stem = re.sub(r"[^\w-]", "-", Path(conf.like).stem)
    return Tiling(
        f"{stem}-{conf.size}", grid.crs, a, conf.size, c, f, None if -e == a else -e, grid.shape
    )
