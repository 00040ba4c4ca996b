"""Table `polygons` for other programs: a GeoPackage, and vector tiles for web maps.

Both are written as they are read, some row groups at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import shapely

from lulc.geo.antimeridian import wrap_longitudes
from lulc.geo.grid import WGS84, parse_crs, transformer
from lulc.geo.reproject import to_degrees
from lulc.location import Location
from lulc.paths import for_pyogrio
from lulc.tables import files, layout, schemas, store

LAYER = "polygons"
"""Layer of the vector tiles."""
_BATCH = 10_000
_MAX_ZOOM = 22  # of GDAL


def read_polygons(out: Location, period: str, columns: Sequence[str]) -> pa.RecordBatchReader:
    """Read the polygons of a period in order, some at a time.

    Args:
        out: the output location.
        period: its name.
        columns: names of columns.
    """
    folder = store.table_folder(out, "polygons")
    schema = pa.schema([pa.field(name, schemas.POLYGONS.field(name).type) for name in columns])
    tables = sorted(files.list_tables(folder), key=lambda file: int(file.stem.split("-")[1]))

    def batches() -> Iterator[pa.RecordBatch]:
        for table in tables:
            rows = store.open_dataset(folder, [table])
            of_period = ds.field("period") == period
            yield from (
                batch.cast(schema)
                for batch in rows.to_batches(
                    columns=list(columns),
                    filter=of_period,
                    batch_size=_BATCH,
                    batch_readahead=2,
                    fragment_readahead=1,
                )
                if batch.num_rows
            )

    return pa.RecordBatchReader.from_batches(schema, batches())


def write_geopackage(out: Location, periods: Sequence[str], crs: str) -> None:
    """Write the polygons as a GeoPackage, a layer a period.

    Args:
        out: the output location, which holds table `polygons`.
        periods: names of the periods.
        crs: of the polygons.
    """
    import pyogrio

    columns = [name for name in schemas.POLYGONS.names if name != "period"]

    def write(path: Path) -> None:
        with for_pyogrio(path) as plain:
            for number, period in enumerate(periods):
                pyogrio.write_arrow(
                    read_polygons(out, period, columns),
                    plain,
                    layer=period,
                    driver="GPKG",
                    geometry_name="geometry",
                    geometry_type="Polygon",
                    crs=crs,
                    append=number > 0,
                )

    files.write_atomic(out / layout.POLYGONS, write)


def write_vector_tiles(
    out: Location, period: str, crs: str, pixel_zoom: int, location: Location
) -> None:
    """Write the polygons of a period as vector tiles, one PMTiles archive.

    Args:
        out: the output location, which holds table `polygons`.
        period: its name.
        crs: of the polygons.
        pixel_zoom: at which pixels of the map are as large as those of tiles of 512 pixels a side.
        location: of the archive.
    """
    import pyogrio

    # A vector tile tells 4096 places along its side: 4 a pixel of the map at its last zoom.
    max_zoom = min(max(pixel_zoom - 1, 0), _MAX_ZOOM)
    columns = ["class_id", "class_name", "area_m2", "mean_confidence", "geometry"]
    polygons = read_polygons(out, period, columns)

    def in_degrees() -> Iterator[pa.RecordBatch]:
        at = columns.index("geometry")
        for batch in polygons:
            shapes = shapely.from_wkb(batch["geometry"].to_numpy(zero_copy_only=False))
            outlines = pa.array(shapely.to_wkb(_to_degrees(shapes, crs)), pa.binary())
            yield batch.set_column(at, "geometry", outlines)

    def write(path: Path) -> None:
        with for_pyogrio(path) as plain:
            pyogrio.write_arrow(
                pa.RecordBatchReader.from_batches(polygons.schema, in_degrees()),
                plain,
                layer=LAYER,
                driver="PMTiles",
                geometry_name="geometry",
                geometry_type="Polygon",
                crs=WGS84,
                dataset_options={"MINZOOM": "0", "MAXZOOM": str(max_zoom), "NAME": LAYER},
            )

    files.write_atomic(location, write)


def _to_degrees(shapes: np.ndarray, crs: str) -> np.ndarray:
    # (N,) polygons in EPSG:4326; those that cross the antimeridian or hold a pole are cut there.
    moved = shapely.transform(shapes, transformer(crs, WGS84).transform, interleaved=False)
    west, _, east, _ = shapely.bounds(moved).T
    is_beyond = (west < -180) | (east > 180)
    if parse_crs(crs).is_geographic:
        # Not by `to_degrees`, which asks of outlines from elsewhere which way a long side goes.
        for number in np.flatnonzero(is_beyond):
            moved[number] = wrap_longitudes(moved[number])
        return np.asarray(moved)
    for number in np.flatnonzero(is_beyond | (east - west >= 180)):
        moved[number] = to_degrees(shapes[number], crs, f"a polygon of class rasters in {crs[:40]}")
    return np.asarray(moved)
