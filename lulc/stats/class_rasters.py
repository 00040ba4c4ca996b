"""Class rasters in any CRS and size: areas by class and region of each period, and of changes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from lulc.config import MapFiles
from lulc.errors import InputError
from lulc.geo import grid as geo_grid
from lulc.geo.areas import pixel_areas
from lulc.geo.coverage import Runs, count_runs, find_runs
from lulc.geo.grid import Grid
from lulc.guard import read_guard
from lulc.legend import NODATA, class_names
from lulc.paths import match_files
from lulc.raster import reader
from lulc.raster.access import OpenRaster, open_raster
from lulc.raster.views import align, read_window
from lulc.stats import landscape
from lulc.stats.regions import Region
from lulc.stats.zonal import BETWEEN, INSIDE, outline, project_region, widen
from lulc.tables import arrays, files, schemas

SIDE = 2048
"""Pixels a side of a block, which is read at once."""

_OTHER = 255  # code of pairs of classes that another pass counts


@dataclass(frozen=True)
class ClassRaster:
    """A class raster of one period."""

    path: str
    """Path of the file."""
    period: str
    """Name of the period that it maps."""
    grid: Grid
    """Grid of its pixels."""
    nodata: int | None
    """Value that means no class; None stands for 255."""
    names: tuple[tuple[int, str], ...]
    """(id, name) of the classes that its tags name."""


def read_classes(source: OpenRaster) -> tuple[dict[int, str], int]:
    """Read the classes of an open class raster.

    Returns:
        Class names by id, as far as the tags have them, and the id that means no class.

    Raises:
        InputError: the raster is not one band of uint8 with a CRS.
    """
    if source.count != 1 or source.dtypes[0] != "uint8" or not source.crs:
        raise InputError(
            f"{source.name} is no class raster: one band of uint8 and a CRS are accepted"
        )
    return class_names(source.tags()), NODATA if source.nodata is None else int(source.nodata)


def scan_rasters(maps: Sequence[MapFiles]) -> tuple[ClassRaster, ...]:
    """List the class rasters that match patterns, reading their headers only.

    Raises:
        InputError: a file is not a class raster, or no file matches a pattern.
    """
    rasters = []
    for map_files in maps:
        paths = match_files(map_files.path)
        if not paths:
            raise InputError(
                f"no file matches {map_files.path}: the pattern of class rasters for period "
                f"{map_files.period}"
            )
        for path in paths:
            with read_guard(f"class raster {path}"):
                rasters.append(_scan_raster(str(path), map_files.period))
    return tuple(rasters)


def _scan_raster(path: str, period: str) -> ClassRaster:
    with open_raster(path) as file:
        if file.count != 1 or np.dtype(file.dtypes[0]).kind not in "ui" or not file.crs:
            raise InputError(
                f"{path} is no class raster: one band of whole numbers and a CRS are accepted"
            )
        names = class_names(file.tags())
        nodata = None if file.nodata is None else int(file.nodata)
        return ClassRaster(path, period, reader.grid_of(file), nodata, tuple(sorted(names.items())))


def blocks(sources: tuple[ClassRaster, ...]) -> list[dict[str, Any]]:
    """Cut class rasters into blocks; rasters on one grid share their blocks.

    Every pixel of a period is counted once. Where rasters of one period overlap it is counted
    twice, which the balance of areas detects.

    Returns:
        A row for every block and period: `file_name` of the block, `row_index`, period, model, and
        the GRID columns of the block.
    """
    rows = []
    for number, (grid, stack) in enumerate(_stacks(sources)):
        tops, lefts = (range(0, size, SIDE) for size in grid.shape)
        for row, col in itertools.product(tops, lefts):
            columns = arrays.grid_columns(_block_grid(grid, row, col))
            del columns["footprint"]
            name = f"{number}/{row}/{col}"
            for index, source in enumerate(stack):
                key = {"file_name": name, "row_index": index, "period": source.period, "model": ""}
                rows.append(key | columns)
    return rows


def _block_grid(grid: Grid, row: int, col: int) -> Grid:
    return grid.window(row, col, min(SIDE, grid.height - row), min(SIDE, grid.width - col))


@lru_cache(maxsize=2)
def _stacks(sources: tuple[ClassRaster, ...]) -> list[tuple[Grid, list[ClassRaster]]]:
    # Rasters on the very same grid, one a period, in the order of their periods.
    layers_by_grid: dict[Grid, list[dict[str, ClassRaster]]] = {}
    for source in sources:
        layers = layers_by_grid.setdefault(source.grid, [])
        free = next((layer for layer in layers if source.period not in layer), None)
        if free is None:
            layers.append(free := {})
        free[source.period] = source
    return [
        (grid, [layer[period] for period in sorted(layer)])
        for grid, layers in layers_by_grid.items()
        for layer in layers
    ]


def count_map_block(
    name: str,
    positions: Iterable[int],
    sources: tuple[ClassRaster, ...],
    region_at: Callable[[int], Region],
    cache_folder: Path | None = None,
) -> list[dict[str, Any]]:
    """Count the classes of one block by region, and their changes between neighbouring periods.

    A period that lies on another grid is sampled at the centres of this block's pixels.

    Args:
        name: `file_name` of the block, from `blocks`.
        positions: positions of the regions that may overlap the block.
        sources: all class rasters of the run.
        region_at: reader of a region by its position.
        cache_folder: folder of intersections of blocks with these regions. Those of this block are
            read from it, or written to it.

    Returns:
        Rows of INSIDE, for every period of the block and every pair of neighbouring periods.
    """
    grid, layers = _read_block(name, sources)
    areas = pixel_areas(grid)
    codings = [
        *((period, classes, np.arange(256)) for period, classes in layers.items()),
        *_code_changes(grid, layers, sources),
    ]
    rows = []
    runs_by_region = _intersect(grid, sorted(set(positions)), region_at, cache_folder)
    for position, runs in runs_by_region.items():
        for period, codes, ids in codings:
            pixels, area = count_runs(runs, codes, areas)
            for code in np.flatnonzero(pixels[: len(ids)]).tolist():
                sums = (float(pixels[code]), float(area[code]), math.nan, math.nan)
                row = (position, period, "", int(ids[code]), *sums)
                rows.append(dict(zip(INSIDE.names, row, strict=True)))
    return rows


def scan_block(
    name: str,
    positions: Iterable[int],
    sources: tuple[ClassRaster, ...],
    region_at: Callable[[int], Region],
    cache_folder: Path | None = None,
) -> list[dict[str, Any]]:
    """Find the patches of one block by region.

    Args:
        name: `file_name` of the block, from `blocks`.
        positions: positions of the regions that may overlap the block.
        sources: all class rasters of the run.
        region_at: reader of a region by its position.
        cache_folder: folder of intersections, as in `count_map_block`.

    Returns:
        Rows of `landscape.PARTS`, for every period of the block.
    """
    grid, layers = _read_block(name, sources)
    lattice, *origin = landscape.find_lattice(grid)
    rows = []
    runs_by_region = _intersect(grid, sorted(set(positions)), region_at, cache_folder)
    for position, runs in runs_by_region.items():
        for period, classes in layers.items():
            patches = landscape.scan_patches(classes, runs, grid, (origin[0], origin[1]))
            if patches:
                key = {"position": position, "period": period, "lattice": lattice}
                rows.append(key | patches.to_columns())
    return rows


def _read_block(name: str, sources: tuple[ClassRaster, ...]) -> tuple[Grid, dict[str, np.ndarray]]:
    # The block's grid, and the classes of every period that it has.
    number, row, col = map(int, name.split("/"))
    stack_grid, stack = _stacks(sources)[number]
    grid = _block_grid(stack_grid, row, col)
    return grid, {source.period: _read(source, grid, row, col) for source in stack}


def _code_changes(
    grid: Grid, layers: dict[str, np.ndarray], sources: tuple[ClassRaster, ...]
) -> Iterable[tuple[str, np.ndarray, np.ndarray]]:
    # (pair of periods, codes (H, W), pair of classes by code) of every two neighbouring periods of
    # which the block has the first.
    periods = sorted({source.period for source in sources})
    for before, after in itertools.pairwise(periods):
        if before in layers:
            after_classes = (
                layers[after]
                if after in layers
                else _resample([source for source in sources if source.period == after], grid)
            )
            for codes, ids in _code_pairs(layers[before], after_classes):
                yield f"{before}{BETWEEN}{after}", codes, ids


def _intersect(
    grid: Grid,
    positions: Sequence[int],
    region_at: Callable[[int], Region],
    cache_folder: Path | None,
) -> dict[int, Runs]:
    # The pixels of a block that each region covers; kept, because the next map on this grid has
    # the same.
    path = cache_folder / f"{files.fingerprint_of(grid)}.parquet" if cache_folder else None
    if path and path.exists():
        cached = _read_intersections(path)
        if set(positions) <= set(cached):
            return {position: cached[position] for position in positions}
    bounds = widen(geo_grid.footprint(grid).bounds)
    runs_by_region = {}
    for position in positions:
        shape = project_region(region_at(position), bounds, grid.crs)
        runs_by_region[position] = find_runs(outline(grid) if shape is None else shape, grid)
    if path:
        _write_intersections(path, runs_by_region)
    return runs_by_region


def _read_intersections(path: Path) -> dict[int, Runs]:
    rows = pq.read_table(path, schema=schemas.INTERSECTIONS, partitioning=None).to_pylist()
    return {
        row["position"]: (
            np.frombuffer(row["runs"], np.int32).reshape(-1, 3),
            np.frombuffer(row["shares"]),
        )
        for row in rows
    }


def _write_intersections(path: Path, runs_by_region: dict[int, Runs]) -> None:
    rows = [
        {"position": position, "runs": runs.tobytes(), "shares": shares.tobytes()}
        for position, (runs, shares) in runs_by_region.items()
    ]
    table = pa.Table.from_pylist(rows, schemas.INTERSECTIONS)
    # LZ4: read in half of zstd's time for a third more bytes, and every later map reads it.
    files.write_atomic(
        path,
        lambda temporary: pq.write_table(table, temporary, compression="lz4", use_dictionary=False),
    )


def _code_pairs(before: np.ndarray, after: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    # (codes (H, W), pair of classes by code) of the pairs that occur, at most 255 at a time.
    valid = (before != NODATA) & (after != NODATA)
    pairs = np.where(valid, before.astype(np.uint16) << 8 | after, NODATA << 8 | NODATA)
    present = np.flatnonzero(np.bincount(pairs.ravel(), minlength=1 << 16)[: NODATA << 8])
    for batch in itertools.batched(present.tolist(), _OTHER):
        table = np.full(1 << 16, _OTHER, np.uint8)
        table[list(batch)] = np.arange(len(batch))
        yield table[pairs], np.array(batch)


def _read(source: ClassRaster, grid: Grid, row: int, col: int) -> np.ndarray:
    with open_raster(source.path) as file:
        window = np.s_[row : row + grid.height, col : col + grid.width]
        return _to_ids(read_window(file, window), source)


def _resample(sources: Sequence[ClassRaster], grid: Grid) -> np.ndarray:
    # The classes of rasters on another grid at the centres of a grid's pixels.
    classes = np.full(grid.shape, NODATA, np.uint8)
    footprint = geo_grid.footprint(grid)
    for source in sources:
        if shapely.intersects(footprint, _footprint(source.grid)):
            fill = NODATA if source.nodata is None else source.nodata
            with (
                open_raster(source.path) as file,
                align(file, grid, fill) as aligned,
            ):
                ids = _to_ids(aligned.read(1), source)
            np.copyto(classes, ids, where=ids != NODATA)
    return classes


@cache
def _footprint(grid: Grid) -> shapely.Geometry:
    return geo_grid.footprint(grid)


def _to_ids(values: np.ndarray, source: ClassRaster) -> np.ndarray:
    # Ids as uint8, 255 where there is no class; a raster stored so already is not scanned again.
    if source.nodata in (None, NODATA) and values.dtype == np.uint8:
        return values
    nodata = NODATA if source.nodata is None else source.nodata
    empty = values == nodata
    invalid = (
        (values == NODATA)
        if values.dtype == np.uint8
        else ~empty & ((values < 0) | (values >= NODATA))
    )
    if invalid.any():
        raise InputError(
            f"{source.path} holds {values[invalid][0]}: class ids from 0 to 254 are accepted, "
            "or its nodata"
        )
    ids = values.astype(np.uint8, copy=False)
    ids[empty] = NODATA
    return ids


def name_classes(sources: Sequence[ClassRaster], inside: pa.Table) -> dict[int, str]:
    """Return a name for every class id that occurs.

    Args:
        sources: class rasters; the last that names a class counts.
        inside: `zonal.INSIDE` rows of single periods.
    """
    ids = {i for i in inside["class_id"].unique().to_pylist() if i < NODATA}
    names = {i: f"class {i}" for i in ids}
    return names | {i: name for source in sources for i, name in source.names}
