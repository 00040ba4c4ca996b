"""Regions: polygons of any vector file and CRS as rows of the regions table, read by position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from shapely.geometry.base import BaseGeometry

from lulc.config import RegionFile
from lulc.errors import InputError, UsageError
from lulc.geo.antimeridian import only_polygons, repair
from lulc.geo.areas import degrees_area
from lulc.geo.reproject import check_sides, to_degrees
from lulc.guard import read_guard
from lulc.location import Location
from lulc.tables import layout, schemas
from lulc.tables.files import open_parquet, write_atomic
from lulc.tables.geoparquet import write_file
from lulc.tables.vector_files import find_layer, polygons_of, read_features, texts_of
from lulc.tables.vector_identity import vector_identity

MAP_LEVEL = "map"
"""Level, in tables, of the one region that is the whole map, where the run file has no regions."""

_GROUP_SIZE = 64  # regions a row group
_ID_COLUMNS = ("region_id", "id", "code", "name")


@dataclass(frozen=True)
class Region:
    """A region of the regions table."""

    position: int
    """Row number in the regions table, from 0."""
    level: str
    """Level of the region, such as park or district."""
    geometry: BaseGeometry
    """Polygon or MultiPolygon in EPSG:4326."""
    whole_map: bool = False
    """The region is the whole map: every tile lies in it, and no border cuts a pixel."""


@dataclass(frozen=True)
class RegionSet:
    """The regions of a run's region files.

    Attributes:
        table: rows of the regions table (`schemas.REGIONS`).
        repaired: ids of regions whose invalid polygon was repaired.
        empty: ids of regions without an area, which are left out of the table.
        notes: what a user should know of the regions' ids.
    """

    table: pa.Table
    repaired: tuple[str, ...]
    empty: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Feature:
    # A feature of a vector file; polygon is in the file's CRS, None where it has no polygon.
    region_id: str
    name: str
    polygon: BaseGeometry | None
    crs: str


def level_of_file(path: str | Path) -> str:
    """Return the level of a region file that is given alone: its name, unless that is reserved."""
    stem = Path(path).stem
    return "region" if stem == MAP_LEVEL else stem


def region_identities(files: Sequence[RegionFile]) -> list[list[object]]:
    """Return what changes when a region file or a part of it is replaced.

    Raises:
        InputError: a file is not there.
    """
    identities = []
    for file in files:
        with read_guard(f"regions {file.path}", "correct regions.path"):
            identities.append(vector_identity(file.path))
    return identities


def read_regions(files: Sequence[RegionFile]) -> RegionSet:
    """Read the regions of all files.

    Args:
        files: vector files of polygons in any CRS.

    Returns:
        The regions in EPSG:4326 with their ellipsoidal areas in m², in the order of the files.

    Raises:
        InputError: a file cannot be read or has no CRS, a region id of a level is not unique, or
            no region has an area.
        UsageError: a file's level is `MAP_LEVEL`.
    """
    rows: list[dict[str, Any]] = []
    repaired: list[str] = []
    empty: list[str] = []
    notes: list[str] = []
    for file in files:
        if file.level == MAP_LEVEL:
            raise UsageError(
                f"regions {file.path}: level {MAP_LEVEL!r} is reserved for the whole map: "
                "choose another name"
            )
        with read_guard(f"regions {file.path}"):
            features, note = _read_features(file)
        notes += [note] if note else []
        for feature in features:
            geometry = feature.polygon
            if geometry is None:
                empty.append(feature.region_id)
                continue
            if not shapely.is_valid(geometry):
                geometry = repair(geometry)
                if geometry.is_empty:
                    empty.append(feature.region_id)
                    continue
                repaired.append(feature.region_id)
            # A piece may hide that a side of the whole goes round the Earth.
            check_sides(geometry, feature.crs, _origin(file, feature))
            for suffix, piece in cut_by_grid(geometry, file.cut):
                row = _region_row(file, feature, suffix, piece)
                if row["area_m2"] == 0:
                    empty.append(row["region_id"])
                else:
                    rows.append(row)
    _check_unique(rows, empty, files)
    if files and not rows:
        names = ", ".join(file.path for file in files)
        raise InputError(f"no region of {names} is a polygon with an area: give others")
    table = pa.Table.from_pylist(rows, schemas.REGIONS)
    return RegionSet(table, tuple(repaired), tuple(empty), tuple(notes))


def write_regions(out: Location, table: pa.Table) -> None:
    """Write the regions table as one file of small row groups.

    A worker then reads the regions it needs by their position.
    """
    path = out / layout.table_file("regions")
    write_atomic(
        path,
        lambda temporary: write_file(temporary, table, row_group_size=_GROUP_SIZE),
    )


def read_region(path: str, fingerprint: str, position: int) -> Region:
    """Read the region at a position of the regions table.

    Args:
        path: the regions table's file.
        fingerprint: fingerprint of the run. Row groups are cached, and a file written anew under
            the same path has another fingerprint.
        position: row number in the table, from 0.
    """
    return _read_group(path, fingerprint, position // _GROUP_SIZE)[position % _GROUP_SIZE]


@lru_cache(maxsize=1)
def _open(path: str, _fingerprint: str) -> pq.ParquetFile:
    # Of many regions the footer is long: to read it for every group took half of a block's time.
    return open_parquet(path)


@lru_cache(maxsize=32)
def _read_group(path: str, fingerprint: str, group: int) -> list[Region]:
    table = _open(path, fingerprint).read_row_group(group, ["level", "geometry"])
    levels = table["level"].to_pylist()
    shapes = shapely.from_wkb(table["geometry"].to_pylist())
    first = group * _GROUP_SIZE
    return [
        Region(first + number, level, shape, level == MAP_LEVEL)
        for number, (level, shape) in enumerate(zip(levels, shapes, strict=True))
    ]


def cut_by_grid(geometry: BaseGeometry, divisions: int) -> Iterator[tuple[str, BaseGeometry]]:
    """Cut a polygon by an even grid of cells over its bounds.

    Args:
        geometry: Polygon or MultiPolygon.
        divisions: rows and columns of the grid; 1 leaves the polygon uncut.

    Yields:
        A suffix for the region's id and the piece, for every cell that is not empty.

    Examples:
        >>> [suffix for suffix, _ in cut_by_grid(shapely.box(0, 0, 4, 4), 2)]
        ['/0_0', '/1_0', '/0_1', '/1_1']
    """
    if divisions == 1:
        yield "", geometry
        return
    xmin, ymin, xmax, ymax = geometry.bounds
    x, y = np.linspace(xmin, xmax, divisions + 1), np.linspace(ymax, ymin, divisions + 1)
    for row in range(divisions):
        for col in range(divisions):
            cell = shapely.box(x[col], y[row + 1], x[col + 1], y[row])
            piece = only_polygons(geometry.intersection(cell))
            if not piece.is_empty:
                yield f"/{col}_{row}", piece


def _origin(file: RegionFile, feature: _Feature) -> str:
    return f"region {feature.region_id!r} of {file.path}"


def _region_row(
    file: RegionFile, feature: _Feature, suffix: str, geometry: BaseGeometry
) -> dict[str, Any]:
    # A row of the regions table for a feature, or for a piece of it.
    shape = to_degrees(geometry, feature.crs, _origin(file, feature))
    return {
        "region_id": feature.region_id + suffix,
        "level": file.level,
        "name": feature.name + suffix,
        "geometry": shapely.to_wkb(shape),
        "area_m2": degrees_area(shape),
    }


def _check_unique(
    rows: Sequence[dict[str, Any]], empty: Sequence[str], files: Sequence[RegionFile]
) -> None:
    keys = [(row["level"], row["region_id"]) for row in rows]
    keys += [(None, region_id) for region_id in empty]
    duplicates = [region_id for (_, region_id), count in Counter(keys).items() if count > 1]
    if duplicates:
        raise InputError(
            f"region ids {duplicates[:10]} occur more than once in "
            f"{', '.join(file.path for file in files)}: name a column of distinct values with "
            "`id`, or dissolve the file by it"
        )


def _read_features(file: RegionFile) -> tuple[list[_Feature], str]:
    # Features in the order of the file; a note where their ids are numbers instead of a column's.
    given_columns = [column for column in (file.id, file.name) if column]
    layer = find_layer(file.path, "regions", file.layer, given_columns)
    usual = [name for use in _ID_COLUMNS for name in layer.columns if name.lower() == use]
    name_column = file.name or next((n for n in layer.columns if n.lower() == "name"), None)
    id_columns = [file.id] if file.id else usual
    columns = dict.fromkeys([*id_columns, *([name_column] if name_column else [])])
    features = read_features(layer, list(columns))
    texts = {name: texts_of(values) for name, values in features.columns.items()}
    polygons = polygons_of(features.geometries)
    ids, note = _region_ids(file, {name: texts[name] for name in id_columns}, len(polygons))
    names = texts[name_column] if name_column else ids
    read = [
        _Feature(region_id, name or region_id, polygon, layer.crs)
        for region_id, name, polygon in zip(ids, names, polygons, strict=True)
    ]
    return read, note


def _region_ids(
    file: RegionFile, columns: dict[str, list[str]], count: int
) -> tuple[list[str], str]:
    # The values of column `id`, else of the first usual id column with distinct values, else
    # numbers.
    if file.id:
        ids = columns[file.id]
        if "" in ids:
            raise InputError(
                f"regions {file.path}: feature {ids.index('') + 1} has no value in id column "
                f"{file.id!r}: fill it in"
            )
        return ids, ""
    for ids in columns.values():
        if len(set(ids)) == count and "" not in ids:
            return ids, ""
    stem = Path(file.path).stem
    note = (
        f"{count} regions of {Path(file.path).name} are numbered {stem}-1 to {stem}-{count}, as "
        f"{', '.join(map(repr, columns))} repeats values or lacks some: name a column with `id`"
    )
    return [f"{stem}-{number}" for number in range(1, count + 1)], note if columns else ""
