"""The scenes table, written from rows of which a part is held at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from lulc.location import Location
from lulc.tables import files, layout, schemas
from lulc.tables.ordered import write_in_order

_ROWS_A_GROUP = 2048


def write_scenes(out: Location, read: Callable[[], Iterable[pa.RecordBatch]]) -> None:
    """Write the scenes table of a run in order of id, as GeoParquet 1.1.0.

    No CRS is named, which means longitude and latitude on WGS 84.

    Args:
        out: the output location.
        read: gives the scenes' rows in any order, the same each time.
    """
    ids: list[pa.Array] = []
    kinds: set[str] = set()
    bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])
    for batch in read():
        ids.append(batch["scene_id"])
        outlines = shapely.from_wkb(batch["footprint"].to_numpy(zero_copy_only=False))
        kinds.update(outline.geom_type for outline in outlines)
        total = shapely.total_bounds(outlines)
        bounds[:2] = np.fmin(bounds[:2], total[:2])
        bounds[2:] = np.fmax(bounds[2:], total[2:])
    order = pc.sort_indices(pa.chunked_array(ids, pa.string())).to_numpy()
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    column = {"encoding": "WKB", "geometry_types": sorted(kinds), "bbox": bounds.tolist()}
    columns = {"footprint": column}
    geo = {"version": "1.1.0", "primary_column": "footprint", "columns": columns}
    schema = schemas.SCENES.with_metadata({"geo": json.dumps(geo)})

    def write(path: Path) -> None:
        write_in_order(path, read(), ranks, schema, _ROWS_A_GROUP, compression="zstd")

    files.write_atomic(out / layout.table_file("scenes"), write)
