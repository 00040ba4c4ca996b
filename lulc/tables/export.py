"""A table as a file for other programs: CSV, XLSX, Parquet, GeoParquet, GeoPackage, GeoJSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv

from lulc.errors import UsageError
from lulc.geo.grid import WGS84
from lulc.location import Location, is_below
from lulc.paths import for_pyogrio
from lulc.tables import files, layout
from lulc.tables.geoparquet import write_file

if TYPE_CHECKING:
    import pandas as pd

_VECTOR = (".gpkg", ".geojson")
_ACCEPTED = (".csv", ".xlsx", ".parquet", *_VECTOR)
_TEXT_CELLS = (".csv", ".xlsx")
_WHOLE = (
    "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "boolean"
)  # fmt: skip
"""Types of pandas that have a null; Arrow's are named alike."""
_SHEET = 1_048_575  # rows below the header that a sheet of XLSX can have


def check_place(location: Location, out: Location) -> None:
    """Check that a file would not lie among a run's tables: only the run itself writes there.

    Args:
        location: of the file.
        out: output location of the run.

    Raises:
        UsageError: it would; names the file.
    """
    tables = out / layout.TABLES
    if is_below(_resolved(location), _resolved(tables)):
        raise UsageError(
            f"{location} lies among the run's tables, which only the run writes: "
            f"give a place that is not below {tables}"
        )


def _resolved(location: Location) -> Location:
    return location.resolve() if isinstance(location, Path) else location


def save(table: pa.Table, path: Path, geometry: str | None) -> None:
    """Write a table to a file of the format that its suffix says.

    A cell of CSV or XLSX is no list: lists and mappings are written there as JSON.

    Args:
        table: the rows.
        path: ends with .csv, .xlsx, .parquet, .gpkg or .geojson.
        geometry: the column of WKB in EPSG:4326, where there is one.

    Raises:
        UsageError: the suffix is another, a vector file is asked for without a geometry, or the
            rows are more than a sheet can hold.
    """
    if path.suffix not in _ACCEPTED:
        raise UsageError(f"{path}: a table can be saved as {', '.join(_ACCEPTED)}")
    if path.suffix in _VECTOR and geometry is None:
        raise UsageError(
            f"{path} is for geometries, and the table has none: "
            "select a geometry, or save it as .csv or .parquet"
        )
    if path.suffix in _TEXT_CELLS:
        table = nested_as_text(table)
    if path.suffix == ".xlsx":
        _save_sheet(table, path, geometry)
        return
    if path.suffix == ".parquet":
        files.write_atomic(path, lambda target: write_file(target, table, geometry=geometry))
        return
    if geometry is None:
        files.write_atomic(path, lambda target: pa.csv.write_csv(table, target))
        return
    import geopandas
    import shapely

    attributes = _to_frame(table.drop_columns([geometry]))
    features = geopandas.GeoDataFrame(
        attributes, geometry=shapely.from_wkb(table[geometry].to_pylist()), crs=WGS84
    )
    if path.suffix == ".csv":
        attributes[geometry] = features.geometry.to_wkt()
        files.write_atomic(path, lambda target: attributes.to_csv(target, index=False))
    else:

        def write_features(location: Path) -> None:
            with for_pyogrio(location) as target:
                features.to_file(target, layer="result")

        files.write_atomic(path, write_features)


def _to_frame(table: pa.Table) -> pd.DataFrame:
    # Beside nulls integers and truth values stay what they are.
    import pandas as pd

    kinds = {pa.type_for_alias(name.lower()): pd.api.types.pandas_dtype(name) for name in _WHOLE}
    frame: pd.DataFrame = table.to_pandas(types_mapper=kinds.get)
    return frame


def nested_as_text(table: pa.Table) -> pa.Table:
    """Return a table whose lists and mappings are texts of JSON."""
    for number, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [
                None if cell is None else json.dumps(cell, ensure_ascii=False, default=str)
                for cell in table.column(number).to_pylist()
            ]
            table = table.set_column(number, field.name, pa.array(texts, pa.string()))
    return table


def _save_sheet(table: pa.Table, path: Path, geometry: str | None) -> None:
    import pyogrio

    if geometry or table.num_rows > _SHEET:
        limit = f"{_SHEET:,} rows at most, and the table has {table.num_rows:,}"
        raise UsageError(
            f"{path}: a sheet holds {'no geometries' if geometry else limit}: "
            "select other columns or fewer rows, or save it as .parquet"
        )
    frame = _to_frame(table)

    def write(location: Path) -> None:
        with for_pyogrio(location) as target:
            pyogrio.write_dataframe(frame, target, layer="result", driver="XLSX")

    files.write_atomic(path, write)
