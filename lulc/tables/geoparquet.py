"""Parquet files of tables: GeoParquet 1.1 where the table has geometries.

Metadata `geo` of the file name the column of geometries, with its types and extent. Column `bbox`
holds the bounds of every geometry, so that a reader leaves out the row groups beyond its own by
their statistics. It is of the file, not of the table: lulc's own readers do not look at it.
(https://geoparquet.org/releases/v1.1.0/)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from lulc.geo.grid import WGS84, parse_crs, same_crs

GEOMETRY_COLUMNS = ("footprint", "geometry")
"""The columns of tables that hold WKB."""
BBOX = "bbox"
CORNERS = ("xmin", "ymin", "xmax", "ymax")

_BOUNDS = pa.struct([pa.field(name, pa.float64()) for name in CORNERS])
_BBOX_FIELD = pa.field(BBOX, _BOUNDS, metadata={"description": "bounds of the geometry"})


def geometry_column(schema: pa.Schema) -> str | None:
    """Return which column of a table holds its geometries; None where none does."""
    return next((name for name in schema.names if name in GEOMETRY_COLUMNS), None)


def read_geo(file: pq.ParquetFile) -> dict[str, Any]:
    """Return the metadata `geo` of a file; none of a file that is no GeoParquet.

    Those that its Arrow schema repeats may be missing: GDAL writes none there.

    Raises:
        ValueError: they are no JSON.
    """
    geo: dict[str, Any] = json.loads((file.metadata.metadata or {}).get(b"geo", "{}"))
    return geo


def covering_column(geo: Mapping[str, Any], geometry: str) -> str | None:
    """Return which column holds the bounds of a column of geometries; None where none does.

    Args:
        geo: as `read_geo` returns it.
        geometry: name of the column.
    """
    covering = geo["columns"][geometry].get("covering")
    return str(covering["bbox"]["xmin"][0]) if covering else None


@contextmanager
def open_writer(
    path: Path,
    schema: pa.Schema,
    metadata: Mapping[str, str] | None = None,
    geometry: str | None = None,
    crs: str | None = WGS84,
    row_group_size: int | None = None,
    **options: Any,
) -> Iterator[Callable[[pa.Table], None]]:
    """Open a Parquet file for writing; what it yields writes rows of the schema.

    Args:
        path: of the file on this machine's disk.
        schema: of the rows.
        metadata: of the file, beside those of the schema.
        geometry: the column of WKB; by default that of `geometry_column`.
        crs: of the geometries, x first; None where they are in no known CRS, such as pixels of an
            image.
        row_group_size: most rows of a row group.
        **options: of pyarrow's ParquetWriter.
    """
    geometry = geometry or geometry_column(schema)
    geo = _Geo(geometry, schema, crs) if geometry else None
    if geo:
        schema = geo.schema
        metadata = {**(metadata or {}), "geo": geo.to_json()}
        if isinstance(options.get("write_statistics"), list):
            corners = [f"{BBOX}.{corner}" for corner in CORNERS]
            options["write_statistics"] = [*options["write_statistics"], *corners]
    options = {"compression": "zstd", **options}
    schema = schema.with_metadata({**(schema.metadata or {}), **(metadata or {})})
    with pq.ParquetWriter(path, schema, **options) as writer:

        def write(table: pa.Table) -> None:
            writer.write_table(geo.cover(table) if geo else table, row_group_size)

        yield write
        if geo:  # types and extent are known now
            writer.add_key_value_metadata({"geo": geo.to_json()})


def write_file(
    path: Path, table: pa.Table, metadata: Mapping[str, str] | None = None, **options: Any
) -> None:
    """Write a table to a Parquet file.

    Args:
        path: of the file on this machine's disk.
        table: its rows.
        metadata: further metadata of the file.
        **options: of `open_writer`.
    """
    with open_writer(path, table.schema, metadata, **options) as write:
        write(table)


class _Geo:
    """What a file says of its geometries, as far as it is written."""

    def __init__(self, geometry: str, schema: pa.Schema, crs: str | None) -> None:
        self.geometry = geometry
        self.crs = crs
        self.has_bounds = BBOX in schema.names
        self.schema = schema if self.has_bounds else schema.append(_BBOX_FIELD)
        self.is_covered = self.schema.field(BBOX).type == _BOUNDS
        self.types: set[str] = set()
        self.extent = np.array([np.inf, np.inf, -np.inf, -np.inf])

    def cover(self, table: pa.Table) -> pa.Table:
        """Note the geometries of some rows, and return the rows with their bounds."""
        shapes = shapely.from_wkb(table[self.geometry].to_numpy())
        kinds = np.stack([shapely.get_type_id(shapes), shapely.has_z(shapes)], 1)
        _, firsts = np.unique(kinds, axis=0, return_index=True)
        self.types |= {
            shape.geom_type + (" Z" if shape.has_z else "")
            for shape in shapes[firsts]
            if shape is not None
        }
        bounds = shapely.bounds(shapes)
        missing = np.isnan(bounds).any(1)
        if not missing.all():
            lows, highs = bounds[~missing, :2].min(0), bounds[~missing, 2:].max(0)
            self.extent = np.concatenate(
                [np.minimum(self.extent[:2], lows), np.maximum(self.extent[2:], highs)]
            )
        if self.has_bounds:
            return table
        corners = [pa.array(bounds[:, side]) for side in range(len(CORNERS))]
        column = pa.StructArray.from_arrays(corners, fields=list(_BOUNDS), mask=pa.array(missing))
        return table.append_column(_BBOX_FIELD, column)

    def to_json(self) -> str:
        """Return the metadata `geo`; types and extent are left out as long as there are none."""
        column: dict[str, Any] = {"encoding": "WKB", "geometry_types": sorted(self.types)}
        # Where no CRS is named, longitude and latitude on WGS 84 are meant.
        if self.crs is None or not same_crs(self.crs, WGS84):
            column["crs"] = self.crs and parse_crs(self.crs).to_json_dict()
        if np.isfinite(self.extent).all():
            column["bbox"] = self.extent.tolist()
        if self.is_covered:
            column["covering"] = {"bbox": {name: [BBOX, name] for name in CORNERS}}
        columns = {self.geometry: column}
        geo = {"version": "1.1.0", "primary_column": self.geometry, "columns": columns}
        return json.dumps(geo)
