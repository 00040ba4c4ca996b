"""A table as a file for other programs: CSV, Parquet, GeoParquet, GeoPackage, GeoJSON."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from lulc import store
from lulc.errors import UsageError
from lulc.geo import WGS84

_VECTOR = (".gpkg", ".geojson")
_ACCEPTED = (".csv", ".parquet", *_VECTOR)


def save(table: pa.Table, path: Path, geometry: str | None) -> None:
    """Nothing; the file stands when it returns. geometry: the column of WKB in EPSG:4326, where there is one.

    UsageError for a suffix that says nothing, or a vector file of rows without a geometry.
    """
    if path.suffix not in _ACCEPTED:
        raise UsageError(f"{path}: a table can be saved as {', '.join(_ACCEPTED)}")
    if path.suffix in _VECTOR and geometry is None:
        raise UsageError(f"{path} is for shapes, and the query gives none: select a geometry, or save it as .csv or .parquet")
    if geometry is None:
        write = pa.csv.write_csv if path.suffix == ".csv" else pq.write_table
        store.publish(path, lambda beside: write(table, beside))
        return
    import geopandas
    import shapely

    rest = table.drop_columns([geometry]).to_pandas()
    shapes = geopandas.GeoDataFrame(rest, geometry=shapely.from_wkb(table[geometry].to_pylist()), crs=WGS84)
    if path.suffix == ".csv":
        rest[geometry] = shapes.geometry.to_wkt()
        store.publish(path, lambda beside: rest.to_csv(beside, index=False))
    elif path.suffix == ".parquet":
        store.publish(path, shapes.to_parquet)
    else:
        store.publish(path, lambda beside: shapes.to_file(beside, layer="result"))
