"""A table as a file for other programs: CSV, XLSX, Parquet, GeoParquet, GeoPackage, GeoJSON."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from lulc.errors import UsageError
from lulc.geo.grid import WGS84
from lulc.tables import files

_VECTOR = (".gpkg", ".geojson")
_ACCEPTED = (".csv", ".xlsx", ".parquet", *_VECTOR)
_SHEET = 1_048_575  # rows below the header that a sheet of XLSX can have


def save(table: pa.Table, path: Path, geometry: str | None) -> None:
    """Nothing; the file stands when it returns. geometry: the column of WKB in EPSG:4326, where there is one.

    UsageError for a suffix that says nothing, a vector file of rows without a geometry, and more than a sheet can hold.
    """
    if path.suffix not in _ACCEPTED:
        raise UsageError(f"{path}: a table can be saved as {', '.join(_ACCEPTED)}")
    if path.suffix in _VECTOR and geometry is None:
        raise UsageError(
            f"{path} is for shapes, and the query gives none: select a geometry, or save it as .csv or .parquet"
        )
    if path.suffix == ".xlsx":
        _save_sheet(table, path, geometry)
        return
    if geometry is None:
        write = pa.csv.write_csv if path.suffix == ".csv" else pq.write_table
        files.write_atomic(path, lambda beside: write(table, beside))
        return
    import geopandas
    import shapely

    rest = table.drop_columns([geometry]).to_pandas()
    shapes = geopandas.GeoDataFrame(
        rest, geometry=shapely.from_wkb(table[geometry].to_pylist()), crs=WGS84
    )
    if path.suffix == ".csv":
        rest[geometry] = shapes.geometry.to_wkt()
        files.write_atomic(path, lambda beside: rest.to_csv(beside, index=False))
    elif path.suffix == ".parquet":
        files.write_atomic(path, shapes.to_parquet)
    else:
        files.write_atomic(path, lambda beside: shapes.to_file(beside, layer="result"))


def _save_sheet(table: pa.Table, path: Path, geometry: str | None) -> None:
    import pyogrio

    if geometry or table.num_rows > _SHEET:
        what = (
            "no shapes"
            if geometry
            else f"{_SHEET:,} rows at most, and the query gives {table.num_rows:,}"
        )
        raise UsageError(
            f"{path}: a sheet holds {what}: ask for other columns or fewer rows, or save it as .parquet"
        )
    # Nested columns have no place in a cell but as text.
    frame = table.to_pandas()
    for field in table.schema:
        if pa.types.is_nested(field.type):
            frame[field.name] = frame[field.name].map(str, na_action="ignore")
    files.write_atomic(
        path, lambda beside: pyogrio.write_dataframe(frame, beside, layer="result", driver="XLSX")
    )
