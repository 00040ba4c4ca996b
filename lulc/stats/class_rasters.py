"""Class rasters in any CRS and size: areas by class and region of each period, and of changes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lulc.config import MapFiles, Overlap
from lulc.errors import InputError
from lulc.geo.areas import pixel_areas
from lulc.geo.coverage import Runs, count_runs, find_runs
from lulc.geo.grid import Grid
from lulc.legend import NODATA, join_names, name_key
from lulc.location import Location
from lulc.paths import match_files
from lulc.raster import classes
from lulc.raster.classes import ClassRaster
from lulc.stages import OUTPUT_VERSIONS
from lulc.stats import landscape
from lulc.stats.mosaic import Mosaic, MosaicBlock, make_mosaic, read_block, read_onto
from lulc.stats.regions import Region
from lulc.stats.zonal import BETWEEN, INSIDE, SEAM, place_region
from lulc.tables import arrays, files, schemas

SIDE = 2048
"""Pixels a side of a block, which is read at once."""

_OTHER = 255  # code of pairs of classes that another pass counts
_ROUNDING = 1e-9  # of sums of shares of pixels


@dataclass(frozen=True)
class Stack:
    """Class rasters on the very same grid, at most one a period."""

    grid: Grid
    """Their grid."""
    rasters: tuple[tuple[int, int], ...]
    """(number of the period, number of the raster in its mosaic), in the order of periods."""


@dataclass(frozen=True)
class ClassMaps:
    """Class rasters of one or more periods."""

    periods: tuple[str, ...]
    """Names of the periods, in their order."""
    mosaics: tuple[Mosaic, ...]
    """The rasters of each period."""
    stacks: tuple[Stack, ...]
    """The rasters of all periods that lie on one grid, for every grid."""
    names: tuple[tuple[int, str], ...]
    """(id, name) of the classes that the rasters' tags, or the run's legend, name."""

    @property
    def rasters(self) -> tuple[ClassRaster, ...]:
        """All rasters, period after period."""
        return tuple(raster for mosaic in self.mosaics for raster in mosaic.rasters)


def scan_rasters(
    maps: Sequence[MapFiles], overlap: Overlap = "refuse", legend: Mapping[int, str] | None = None
) -> ClassMaps:
    """List the class rasters that match patterns, reading their headers only.

    Args:
        maps: patterns of files and their periods.
        overlap: whether two rasters of a period may have classes at one place.
        legend: names that hold for all rasters whatever their tags call these ids.

    Raises:
        InputError: a file is not a class raster, or no file matches a pattern, or the rasters'
            legends contradict each other.
    """
    by_period: dict[str, list[ClassRaster]] = {}
    for map_files in maps:
        paths = match_files(map_files.path)
        if not paths:
            raise InputError(
                f"no file matches {map_files.path}: the pattern of class rasters for period "
                f"{map_files.period}"
            )
        of_period = by_period.setdefault(map_files.period, [])
        of_period.extend(classes.scan_raster(str(path)) for path in paths)
    periods = tuple(sorted(by_period))
    mosaics = tuple(make_mosaic(by_period[period], overlap) for period in periods)
    rasters = [raster for mosaic in mosaics for raster in mosaic.rasters]
    names = join_legends(rasters, legend or {})
    return ClassMaps(periods, mosaics, _stack(mosaics), tuple(sorted(names.items())))


def join_legends(
    rasters: Sequence[ClassRaster], legend: Mapping[int, str] | None = None
) -> dict[int, str]:
    """Return the class names of rasters, whose legends must agree.

    Args:
        rasters: the class rasters.
        legend: names that hold for all of them; a raster may call such an id otherwise, but not by
            the name of another id.

    Raises:
        InputError: an id has two names, a name two ids, or a name reads as another id.
    """
    settled = dict(legend or {})
    ids = {name_key(name) for name in settled.values()}
    origins: list[tuple[str, Mapping[int, str]]] = [("the legend", settled)] if settled else []
    # Thousands of rasters have few legends.
    paths = {raster.names: raster.path for raster in reversed(rasters)}
    for names, path in reversed(paths.items()):
        contradicting = {
            class_id: name
            for class_id, name in names
            if class_id not in settled or name_key(name) in ids
        }
        origins.append((path, contradicting))
    return join_names(origins)


def blocks(maps: ClassMaps) -> list[dict[str, Any]]:
    """Cut class rasters into blocks; rasters on one grid share their blocks.

    Returns:
        A row for every block and period: `file_name` of the block, `row_index`, period, model, and
        the GRID columns of the block.
    """
    rows = []
    for number, stack in enumerate(maps.stacks):
        tops, lefts = (range(0, size, SIDE) for size in stack.grid.shape)
        for row, col in itertools.product(tops, lefts):
            try:
                columns = arrays.grid_columns(_block_grid(stack.grid, row, col))
            except InputError:  # a corner of a map of the Earth, beyond the rim
                continue
            del columns["footprint"]
            name = f"{number}/{row}/{col}"
            for index, (period, _) in enumerate(stack.rasters):
                period_name = maps.periods[period]
                key = {"file_name": name, "row_index": index, "period": period_name, "model": ""}
                rows.append(key | columns)
    return rows


def _block_grid(grid: Grid, row: int, col: int) -> Grid:
    return grid.window(row, col, min(SIDE, grid.height - row), min(SIDE, grid.width - col))


def _stack(mosaics: Sequence[Mosaic]) -> tuple[Stack, ...]:
    layers_by_grid: dict[Grid, list[dict[int, int]]] = {}
    for period, mosaic in enumerate(mosaics):
        for number, raster in enumerate(mosaic.rasters):
            layers = layers_by_grid.setdefault(raster.grid, [])
            free = next((layer for layer in layers if period not in layer), None)
            if free is None:
                layers.append(free := {})
            free[period] = number
    return tuple(
        Stack(grid, tuple(sorted(layer.items())))
        for grid, layers in layers_by_grid.items()
        for layer in layers
    )


def count_map_block(
    name: str,
    positions: Iterable[int],
    maps: ClassMaps,
    region_at: Callable[[int], Region],
    cache_folder: Location | None = None,
) -> list[dict[str, Any]]:
    """Count the classes of one block by region, and their changes between neighbouring periods.

    Where rasters of a period overlap each place is counted for the one that owns it (see
    `lulc.stats.mosaic`). A period that lies on another grid is sampled at the centres of this
    block's pixels.

    Args:
        name: `file_name` of the block, from `blocks`.
        positions: positions of the regions that may overlap the block.
        maps: all class rasters of the run.
        region_at: reader of a region by its position.
        cache_folder: folder of intersections of blocks with these regions. Those of this block are
            read from it, or written to it.

    Returns:
        Rows of INSIDE, for every period of the block and every pair of neighbouring periods.

    Raises:
        InputError: a raster cannot be read, or within a region two rasters of a period overlap that
            may not.
    """
    grid, layers = _read_block(name, maps)
    areas = pixel_areas(grid)
    changes = list(_code_changes(grid, layers, maps))
    rows = []
    runs_by_region = _intersect(grid, sorted(set(positions)), region_at, cache_folder)
    for position, runs in runs_by_region.items():
        for period, block in layers.items():
            for shared in block.shared:
                if count_runs(runs, shared.pixels.view(np.uint8), areas)[0][1]:
                    raise shared.error()
            sums = _count_owned(block, runs, areas)
            rows += _inside_rows((position, maps.periods[period], ""), sums, np.arange(SEAM + 1))
        for pair, codes, ids in changes:
            sums = np.array(count_runs(runs, codes, areas))
            rows += _inside_rows((position, pair, ""), sums[:, : len(ids)], ids)
    return rows


def _count_owned(block: MosaicBlock, runs: Runs, areas: np.ndarray) -> np.ndarray:
    # (2, SEAM + 1) pixels and m² by class of what the block's raster owns.
    sums = np.zeros((2, SEAM + 1))
    sums[:, :SEAM] = count_runs(runs, block.ids, areas)
    if block.foreign is not None:
        # Foreign pixels have no class here, and are no part of this raster's map either.
        foreign = np.array(count_runs(runs, block.foreign.view(np.uint8), areas))[:, 1]
        sums[:, NODATA] -= foreign
        sums[:, NODATA] *= sums[0, NODATA] > _ROUNDING * foreign[0]
    if block.seam is not None:
        sums[:, SEAM] = np.array(count_runs(runs, block.seam.view(np.uint8), areas))[:, 1]
    return sums


def _inside_rows(
    key: tuple[int, str, str], sums: np.ndarray, ids: np.ndarray
) -> list[dict[str, Any]]:
    # Rows of INSIDE of (2, N) pixels and m², for the ids (N,) that have pixels.
    return [
        dict(
            zip(
                INSIDE.names,
                (*key, int(ids[code]), *sums[:, code].tolist(), *[math.nan] * 3),
                strict=True,
            )
        )
        for code in np.flatnonzero(sums[0]).tolist()
    ]


def scan_block(
    name: str,
    positions: Iterable[int],
    maps: ClassMaps,
    region_at: Callable[[int], Region],
    cache_folder: Location | None = None,
) -> list[dict[str, Any]]:
    """Find the patches of one block by region.

    Args:
        name: `file_name` of the block, from `blocks`.
        positions: positions of the regions that may overlap the block.
        maps: all class rasters of the run.
        region_at: reader of a region by its position.
        cache_folder: folder of intersections, as in `count_map_block`.

    Returns:
        Rows of `landscape.PARTS`, for every period of the block.
    """
    grid, layers = _read_block(name, maps)
    lattice, *origin = landscape.find_lattice(grid)
    rows = []
    runs_by_region = _intersect(grid, sorted(set(positions)), region_at, cache_folder)
    for position, runs in runs_by_region.items():
        for period, block in layers.items():
            patches = landscape.scan_patches(block.ids, runs, grid, (origin[0], origin[1]))
            if patches:
                key = {"position": position, "period": maps.periods[period], "lattice": lattice}
                rows.append(key | patches.to_columns())
    return rows


def _read_block(name: str, maps: ClassMaps) -> tuple[Grid, dict[int, MosaicBlock]]:
    # The block's grid, and the classes of every period that it has, by the period's number.
    number, row, col = map(int, name.split("/"))
    stack = maps.stacks[number]
    grid = _block_grid(stack.grid, row, col)
    window = (row, col, grid.height, grid.width)
    return grid, {
        period: read_block(maps.mosaics[period], raster, window) for period, raster in stack.rasters
    }


def _code_changes(
    grid: Grid, layers: dict[int, MosaicBlock], maps: ClassMaps
) -> Iterable[tuple[str, np.ndarray, np.ndarray]]:
    # (pair of periods, codes (H, W), pair of classes by code) of every two neighbouring periods of
    # which the block has the first.
    for period in range(len(maps.periods) - 1):
        if period in layers:
            after_ids = (
                layers[period + 1].ids
                if _is_whole(layers.get(period + 1))
                else read_onto(maps.mosaics[period + 1], grid)
            )
            pair = f"{maps.periods[period]}{BETWEEN}{maps.periods[period + 1]}"
            for codes, ids in _code_pairs(layers[period].ids, after_ids):
                yield pair, codes, ids


def _is_whole(block: MosaicBlock | None) -> bool:
    return block is not None and block.foreign is None


def _intersect(
    grid: Grid,
    positions: Sequence[int],
    region_at: Callable[[int], Region],
    cache_folder: Location | None,
) -> dict[int, Runs]:
    # The pixels of a block that each region covers; kept, because the next map on this grid has
    # the same.
    fingerprint = files.fingerprint_of(OUTPUT_VERSIONS["stats"], grid)
    path = cache_folder / f"{fingerprint}.parquet" if cache_folder else None
    if path and path.exists():
        cached = _read_intersections(path)
        if set(positions) <= set(cached):
            return {position: cached[position] for position in positions}
    runs_by_region = {
        position: find_runs(place_region(region_at(position), grid), grid) for position in positions
    }
    if path:
        _write_intersections(path, runs_by_region)
    return runs_by_region


def _read_intersections(path: Location) -> dict[int, Runs]:
    rows = files.open_parquet(path).read().to_pylist()
    return {
        row["position"]: (
            np.frombuffer(row["runs"], np.int32).reshape(-1, 3),
            np.frombuffer(row["shares"]),
        )
        for row in rows
    }


def _write_intersections(path: Location, runs_by_region: dict[int, Runs]) -> None:
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


def name_classes(maps: ClassMaps, inside_rows: pa.Table) -> dict[int, str]:
    """Return a name for every class id that occurs.

    Args:
        maps: the class rasters.
        inside_rows: `zonal.INSIDE` rows of single periods.
    """
    ids = {i for i in inside_rows["class_id"].unique().to_pylist() if i < NODATA}
    return {i: f"class {i}" for i in ids} | dict(maps.names)


def list_tiles(maps: ClassMaps, period: str) -> list[tuple[str, Grid]]:
    """Return path and grid of the class rasters of a period."""
    mosaic = maps.mosaics[maps.periods.index(period)]
    return [(raster.path, raster.grid) for raster in mosaic.rasters]
