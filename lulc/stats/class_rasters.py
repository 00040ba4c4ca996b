"""Class rasters from anywhere, in any CRS and size: what regions hold of them in each period and between two."""

from __future__ import annotations

import glob
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from lulc.config import MapFiles
from lulc.errors import InputError
from lulc.geo import grid as geo_grid
from lulc.geo.areas import pixel_areas
from lulc.geo.coverage import Runs, count_runs, find_runs
from lulc.geo.grid import WGS84, Grid
from lulc.geo.reproject import reproject_exact
from lulc.legend import NODATA, class_names
from lulc.raster import access, reader
from lulc.stats import landscape
from lulc.stats.regions import MAP_LEVEL
from lulc.stats.zonal import BETWEEN, INSIDE, Regions, clip, outline, widen
from lulc.tables import arrays, files, schemas

Row = dict[str, Any]

SIDE = 2048
"""Pixels a side of what is read at once."""
_OTHER = 255  # code of a pair that is counted in another turn


@dataclass(frozen=True)
class ClassRaster:
    """One class raster: where it lies, of which period, its nodata (None: 255), and its classes' names by id, where it says."""

    path: str
    period: str
    grid: Grid
    nodata: int | None
    names: tuple[tuple[int, str], ...]


def read_classes(source: DatasetReader) -> tuple[dict[int, str], int]:
    """Names by id and the id that means no class of an open raster of uint8 ids; InputError where it is none."""
    if source.count != 1 or source.dtypes[0] != "uint8" or not source.crs:
        raise InputError(
            f"{source.name} is no class raster: one band of uint8 and a CRS are accepted"
        )
    return class_names(source.tags()), NODATA if source.nodata is None else int(source.nodata)


def scan_rasters(maps: Sequence[MapFiles]) -> tuple[ClassRaster, ...]:
    """The rasters that the patterns match, by their headers. InputError for one that is no class raster, or matches nothing."""
    found = []
    for one in maps:
        paths = sorted(glob.glob(one.path, recursive=True))
        if not paths:
            raise InputError(
                f"no file matches {one.path}: the pattern of class rasters for period {one.period}"
            )
        for path in paths:
            with access.open_raster(path) as file:
                if file.count != 1 or np.dtype(file.dtypes[0]).kind not in "ui" or not file.crs:
                    raise InputError(
                        f"{path} is no class raster: one band of whole numbers and a CRS are accepted"
                    )
                names = class_names(file.tags())
                nodata = None if file.nodata is None else int(file.nodata)
                found.append(
                    ClassRaster(
                        path, one.period, reader.grid_of(file), nodata, tuple(sorted(names.items()))
                    )
                )
    return tuple(found)


def blocks(sources: tuple[ClassRaster, ...]) -> list[Row]:
    """A row for every block and period: `file_name` of the block, GRID columns, period, model; rasters of one grid share blocks.

    Each pixel of a period counts once; rasters of one period that overlap count twice, which the balance finds.
    """
    rows = []
    for number, (grid, group) in enumerate(_stacks(sources)):
        tops, lefts = (range(0, n, SIDE) for n in grid.shape)
        for row, col in itertools.product(tops, lefts):
            part = grid.window(row, col, min(SIDE, grid.height - row), min(SIDE, grid.width - col))
            place = {k: v for k, v in arrays.grid_columns(part).items() if k != "footprint"}
            name = f"{number}/{row}/{col}"
            for index, source in enumerate(group):
                rows.append(
                    {
                        "file_name": name,
                        "row_index": index,
                        "period": source.period,
                        "model": "",
                        **place,
                    }
                )
    return rows


@lru_cache(maxsize=2)
def _stacks(sources: tuple[ClassRaster, ...]) -> list[tuple[Grid, list[ClassRaster]]]:
    # Rasters on the very same grid, one a period, in the order of their periods.
    found: dict[Grid, list[dict[str, ClassRaster]]] = {}
    for source in sources:
        layers = found.setdefault(source.grid, [])
        free = next((own for own in layers if source.period not in own), None)
        if free is None:
            layers.append(free := {})
        free[source.period] = source
    return [
        (grid, [own[period] for period in sorted(own)])
        for grid, layers in found.items()
        for own in layers
    ]


def count_map_block(
    name: str,
    positions: Iterable[int],
    sources: tuple[ClassRaster, ...],
    regions: Regions,
    kept: Path | None = None,
) -> list[Row]:
    """Rows of INSIDE for one block: of every period that it has, and of every two neighbouring periods of all rasters.

    A period that another grid holds is taken where the centres of this block's pixels fall. kept: folder of intersections that
    were found before, for these regions; those of this block are read from it, or written.
    """
    grid, layers = _read_block(name, sources)
    areas = pixel_areas(grid)
    counted = [(period, classes, np.arange(256)) for period, classes in layers.items()]
    periods = sorted({source.period for source in sources})
    for before, after in itertools.pairwise(periods):
        if before in layers:
            then = (
                layers[after]
                if after in layers
                else _read_elsewhere([s for s in sources if s.period == after], grid)
            )
            counted += [
                (f"{before}{BETWEEN}{after}", codes, ids)
                for codes, ids in _pairs(layers[before], then)
            ]
    rows = []
    for position, runs in _intersect(grid, sorted(set(positions)), regions, kept).items():
        for period, codes, ids in counted:
            count, area = count_runs(runs, codes, areas)
            for value in np.flatnonzero(count[: len(ids)]).tolist():
                values = (
                    position,
                    period,
                    "",
                    int(ids[value]),
                    float(count[value]),
                    float(area[value]),
                    math.nan,
                    math.nan,
                )
                rows.append(dict(zip(INSIDE.names, values, strict=True)))
    return rows


def scan_block(
    name: str,
    positions: Iterable[int],
    sources: tuple[ClassRaster, ...],
    regions: Regions,
    kept: Path | None = None,
) -> list[Row]:
    """Rows of PARTS for one block and each of its periods; the rest as in `count_block`."""
    grid, layers = _read_block(name, sources)
    lattice, *origin = landscape.find_lattice(grid)
    rows = []
    for position, runs in _intersect(grid, sorted(set(positions)), regions, kept).items():
        for period, classes in layers.items():
            part = landscape.scan_patches(classes, runs, grid, (origin[0], origin[1]))
            if part:
                rows.append(
                    {"position": position, "period": period, "lattice": lattice} | part.to_columns()
                )
    return rows


def _read_block(name: str, sources: tuple[ClassRaster, ...]) -> tuple[Grid, dict[str, np.ndarray]]:
    # The block's grid, and the classes of every period that it has.
    number, row, col = map(int, name.split("/"))
    whole, group = _stacks(sources)[number]
    grid = whole.window(row, col, min(SIDE, whole.height - row), min(SIDE, whole.width - col))
    return grid, {source.period: _read(source, grid, row, col) for source in group}


def _intersect(
    grid: Grid, positions: Sequence[int], regions: Regions, kept: Path | None
) -> dict[int, Runs]:
    # What each region covers of a block: the next map on this grid need not find it again.
    path = kept / f"{files.fingerprint_of(grid)}.parquet" if kept else None
    if path and path.exists():
        rows = pq.read_table(path, schema=schemas.INTERSECTIONS, partitioning=None).to_pylist()
        found = {
            row["position"]: (
                np.frombuffer(row["runs"], np.int32).reshape(-1, 3),
                np.frombuffer(row["shares"]),
            )
            for row in rows
        }
        if set(positions) <= set(found):
            return {position: found[position] for position in positions}
    footprint = widen(geo_grid.footprint(grid).bounds)
    made = {}
    for position in positions:
        level, geometry = regions(position)
        shape = (
            outline(grid)
            if level == MAP_LEVEL
            else reproject_exact(clip(geometry, footprint), WGS84, grid.crs)
        )
        made[position] = find_runs(shape, grid)
    if path:
        rows = [
            {"position": p, "runs": runs.tobytes(), "shares": shares.tobytes()}
            for p, (runs, shares) in made.items()
        ]
        table = pa.Table.from_pylist(rows, schemas.INTERSECTIONS)
        # LZ4: read in half of zstd's time for a third more bytes, and every later map reads it.
        files.write_atomic(
            path,
            lambda beside: pq.write_table(table, beside, compression="lz4", use_dictionary=False),
        )
    return made


def _pairs(before: np.ndarray, after: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    # (codes, ids by code) of the pairs of classes that occur, at most 255 at a time.
    known = (before != NODATA) & (after != NODATA)
    joined = np.where(known, before.astype(np.uint16) << 8 | after, NODATA << 8 | NODATA)
    present = np.flatnonzero(np.bincount(joined.ravel(), minlength=1 << 16)[: NODATA << 8])
    for part in itertools.batched(present.tolist(), _OTHER):
        table = np.full(1 << 16, _OTHER, np.uint8)
        table[list(part)] = np.arange(len(part))
        yield table[joined], np.array(part)


def _read(source: ClassRaster, grid: Grid, row: int, col: int) -> np.ndarray:
    with access.open_raster(source.path) as file:
        return _classes(file.read(1, window=Window(col, row, grid.width, grid.height)), source)


def _read_elsewhere(sources: Sequence[ClassRaster], grid: Grid) -> np.ndarray:
    out = np.full(grid.shape, NODATA, np.uint8)
    here = geo_grid.footprint(grid)
    for source in sources:
        if shapely.intersects(here, _footprint(source.grid)):
            place = {
                "crs": grid.crs,
                "transform": grid.affine,
                "height": grid.height,
                "width": grid.width,
            }
            fill = NODATA if source.nodata is None else source.nodata
            with (
                access.open_raster(source.path) as file,
                WarpedVRT(
                    file, resampling=Resampling.nearest, src_nodata=fill, nodata=fill, **place
                ) as there,
            ):
                found = _classes(there.read(1), source)
            np.copyto(out, found, where=found != NODATA)
    return out


@cache
def _footprint(grid: Grid) -> shapely.Geometry:
    return geo_grid.footprint(grid)


def _classes(values: np.ndarray, source: ClassRaster) -> np.ndarray:
    # Ids as uint8, 255 where there is no class; a map that says so in just this way is not gone through again.
    if source.nodata in (None, NODATA) and values.dtype == np.uint8:
        return values
    nodata = NODATA if source.nodata is None else source.nodata
    empty = values == nodata
    strange = (
        (values == NODATA)
        if values.dtype == np.uint8
        else ~empty & ((values < 0) | (values >= NODATA))
    )
    if strange.any():
        raise InputError(
            f"{source.path} holds {values[strange][0]}: class ids from 0 to 254 are accepted, or its nodata"
        )
    ids = values.astype(np.uint8, copy=False)
    ids[empty] = NODATA
    return ids
