"""The Tiling that a run file describes."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

from lulc.config import Config, TilingConf
from lulc.errors import InputError
from lulc.geo.grid import crs_code, parse_crs
from lulc.geo.tiling import Tiling
from lulc.paths import match_files
from lulc.raster.reader import grid_of
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import files

_UNITS = {"metre": "m", "meter": "m", "degree": "deg", "foot": "ft", "US survey foot": "ft"}


def make_tiling(config: Config) -> Tiling:
    """Return the run's Tiling.

    It is named after CRS, pixel and size (`6933-10m-512`), or, with `tiling.like`, after the raster
    whose own pixels it takes. Of maps made elsewhere that are refined that is the first of them.

    Raises:
        InputError: the raster of `tiling.like` is rotated, or its rows run from south to north; or
            there is none of `maps`.
    """
    tiling = config.tiling
    if config.maps and config.refine and tiling.like is None:
        return _tiling_of_maps(config)
    return _tiling_of_crs(tiling) if tiling.like is None else _tiling_like(tiling, tiling.like)


def _tiling_of_crs(tiling: TilingConf) -> Tiling:
    crs = parse_crs(tiling.crs)
    code = crs_code(tiling.crs)
    if code is None:
        crs_name = f"custom{files.fingerprint_of(OUTPUT_VERSIONS['tiling'], crs.to_wkt())[:6]}"
    else:
        crs_name = code.replace(":", "").removeprefix("EPSG")
    unit = _UNITS.get(crs.axis_info[0].unit_name, "") if crs.axis_info else ""
    name = f"{crs_name}-{tiling.resolution:g}{unit}-{tiling.size}"
    return Tiling(name, tiling.crs, tiling.resolution, tiling.size)


def _tiling_of_maps(config: Config) -> Tiling:
    by_entry = [match_files(entry.path) for entry in config.maps]
    first = next(itertools.chain.from_iterable(by_entry), None)
    if first is None:
        raise InputError(f"no file matches {config.maps[0].path}: the pattern of class rasters")
    tiling = _tiling_like(config.tiling, str(first))
    # One raster a map is the whole map, whose extent is kept; tiles of many go on beyond the first.
    is_whole = all(len(paths) == 1 for paths in by_entry)
    if is_whole and len({grid_of(str(path)) for (path,) in by_entry}) == 1:
        return tiling
    return replace(tiling, extent=None)


def _tiling_like(tiling: TilingConf, raster: str) -> Tiling:
    grid = grid_of(raster)
    a, b, c, d, e, f = grid.transform
    if b or d or a <= 0 or e >= 0:
        raise InputError(
            f"{raster}, whose pixels the tiling takes, is rotated or runs upwards "
            f"({grid.transform}): give tiling.crs and resolution instead, or another tiling.like"
        )
    stem = re.sub(r"[^\w-]", "-", Path(raster).stem)
    return Tiling(
        name=f"{stem}-{tiling.size}",
        crs=grid.crs,
        resolution=a,
        size=tiling.size,
        x0=c,
        y0=f,
        resolution_y=None if -e == a else -e,
        extent=grid.shape,
    )
