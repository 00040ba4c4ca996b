"""Regions: polygons of any vector file and CRS as rows of the regions table, and polygons carried truly between CRSs."""

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
from lulc.geo.antimeridian import only_polygons
from lulc.geo.areas import degrees_area
from lulc.geo.reproject import to_degrees
from lulc.tables import schemas, store
from lulc.tables.files import write_atomic

MAP_LEVEL = "map"
"""Level of the one region that stands for all that is mapped, where the run file has no regions."""

FILE = "part-0.parquet"
"""The regions table's one file."""
_GROUP = 64  # regions a row group
_ID_COLUMNS = ("region_id", "id", "code", "name")


@dataclass(frozen=True)
class Found:
    """What region files hold: the regions table, ids of polygons that had to be repaired, and ids of those that have no area."""

    table: pa.Table
    repaired: tuple[str, ...]
    empty: tuple[str, ...]


def read_regions(files: Sequence[RegionFile]) -> Found:
    """The regions of all files; InputError for a file that cannot be read, has no CRS, or gives two regions of a level one id."""
    rows, repaired, empty = [], [], []
    for file in files:
        if file.level == MAP_LEVEL:
            raise UsageError(
                f"regions {file.path}: level {MAP_LEVEL!r} stands for the whole map: choose another name"
            )
        for region_id, name, wkb, crs in _read_file(file):
            geometry = _polygon(wkb)
            if geometry is None:
                empty.append(region_id)
                continue
            if not shapely.is_valid(geometry):
                geometry = only_polygons(shapely.make_valid(geometry))
                repaired.append(region_id)
            for suffix, part in cut_by_grid(geometry, file.cut):
                placed = to_degrees(part, crs, f"region {region_id!r} of {file.path}")
                area = degrees_area(placed)
                if area == 0:
                    empty.append(region_id + suffix)
                    continue
                values = (
                    region_id + suffix,
                    file.level,
                    name + suffix,
                    shapely.to_wkb(placed),
                    area,
                )
                rows.append(dict(zip(schemas.REGIONS.names, values, strict=True)))
    named = [(r["level"], r["region_id"]) for r in rows] + [(None, i) for i in empty]
    twice = [i for (_, i), n in Counter(named).items() if n > 1]
    if twice:
        raise InputError(
            f"region ids {twice[:10]} are there more than once in {', '.join(f.path for f in files)}: name a column of distinct "
            "values with `id`, or dissolve the file by it"
        )
    return Found(pa.Table.from_pylist(rows, schemas.REGIONS), tuple(repaired), tuple(empty))


def write_regions(out: Path, table: pa.Table) -> None:
    """The regions table in one file of small row groups: a worker reads the regions it needs by their position."""
    path = store.table_folder(out, "regions") / FILE
    write_atomic(
        path,
        lambda beside: pq.write_table(table, beside, row_group_size=_GROUP, compression="zstd"),
    )


def read_region(path: str, fingerprint: str, position: int) -> tuple[str, BaseGeometry]:
    """(level, geometry) of the region at a position of the regions table; the fingerprint keeps an older file's apart."""
    return _read_group(path, fingerprint, position // _GROUP)[position % _GROUP]


@lru_cache(maxsize=1)
def _open(path: str, _fingerprint: str) -> pq.ParquetFile:
    # Of many regions the footer is long: to read it again for every group took half of the time of a block.
    return pq.ParquetFile(path)


@lru_cache(maxsize=32)
def _read_group(path: str, fingerprint: str, group: int) -> list[tuple[str, BaseGeometry]]:
    table = _open(path, fingerprint).read_row_group(group, ["level", "geometry"])
    return list(
        zip(
            table["level"].to_pylist(), shapely.from_wkb(table["geometry"].to_pylist()), strict=True
        )
    )


def cut_by_grid(geometry: BaseGeometry, parts: int) -> Iterator[tuple[str, BaseGeometry]]:
    """(suffix of the id, part) of a polygon cut by an even grid of parts x parts over its bounds; the whole for 1."""
    if parts == 1:
        yield "", geometry
        return
    xmin, ymin, xmax, ymax = geometry.bounds
    x, y = np.linspace(xmin, xmax, parts + 1), np.linspace(ymax, ymin, parts + 1)
    for row in range(parts):
        for col in range(parts):
            part = only_polygons(
                geometry.intersection(shapely.box(x[col], y[row + 1], x[col + 1], y[row]))
            )
            if not part.is_empty:
                yield f"/{col}_{row}", part


def _polygon(wkb: bytes | None) -> BaseGeometry | None:
    geometry = None if wkb is None else shapely.from_wkb(wkb, on_invalid="ignore")
    if geometry is None or not np.isfinite(shapely.get_coordinates(geometry)).all():
        return None
    kept = only_polygons(shapely.force_2d(geometry))
    return None if kept.is_empty else kept


def _read_file(file: RegionFile) -> list[tuple[str, str, bytes | None, str]]:
    # (id, name, WKB, CRS) of every feature.
    import pyogrio

    try:
        info = pyogrio.read_info(file.path, layer=file.layer)
        if info["driver"] == "OGR_VRT":
            raise InputError(
                f"regions {file.path} is a VRT, which may point at any file: give the file it points at"
            )
        meta, _, shapes, columns = pyogrio.raw.read(file.path, layer=file.layer)
    except (
        OSError,
        ValueError,
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
    ) as error:
        raise InputError(f"regions {file.path} cannot be read as a vector file: {error}") from error
    if not meta["crs"]:
        raise InputError(
            f"regions {file.path} has no CRS, so where its regions lie is not known: set it in the file"
        )
    if shapes is None:
        raise InputError(
            f"regions {file.path} has no geometry: give a layer that has, with `layer`"
        )
    fields = {str(n): values for n, values in zip(meta["fields"], columns, strict=True)}
    ids = _ids(file, fields, len(shapes))
    column = file.name or next((n for n in fields if n.lower() == "name"), None)
    names = _column(file, fields, column, "name") if column else ids
    return [
        (i, n or i, wkb, str(meta["crs"])) for i, n, wkb in zip(ids, names, shapes, strict=True)
    ]


def _ids(file: RegionFile, fields: dict[str, Any], count: int) -> list[str]:
    if file.id:
        ids = _column(file, fields, file.id, "id")
        if "" in ids:
            raise InputError(
                f"regions {file.path}: feature {ids.index('') + 1} has nothing in id column {file.id!r}: fill it in"
            )
        return ids
    for wanted in _ID_COLUMNS:
        for column in (n for n in fields if n.lower() == wanted):
            ids = _column(file, fields, column, "id")
            if len(set(ids)) == count and "" not in ids:
                return ids
    return [f"{Path(file.path).stem}-{n}" for n in range(1, count + 1)]


def _column(file: RegionFile, fields: dict[str, Any], name: str, use: str) -> list[str]:
    if name not in fields:
        raise InputError(
            f"regions {file.path} has no column {name!r} for {use}: it has {', '.join(fields) or 'none'}"
        )

    def text(value: Any) -> str:
        if value is None or value != value:  # noqa: PLR0124 (NaN)
            return ""
        return (
            str(int(value))
            if isinstance(value, float | np.floating) and value == int(value)
            else str(value)
        )

    return [text(v) for v in fields[name].tolist()]
