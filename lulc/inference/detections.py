"""Boxes found on overlapping tiles → detections: each thing once, with its place on the ground, and how many a region holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from lulc.geo.grid import WGS84, Grid, footprint
from lulc.geo.tiling import Tiling
from lulc.stats import boxes
from lulc.tables import ledger, schemas
from lulc.tables.files import write_atomic

Row = dict[str, Any]
_SIDES = ("left", "top", "right", "bottom")

# GeoParquet 1.1.0; no CRS named means longitude and latitude on WGS 84, null that nothing is known of it.
_COLUMN = {"encoding": "WKB", "geometry_types": ["Polygon", "MultiPolygon"]}
IN_DEGREES = json.dumps(
    {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": _COLUMN}}
)
IN_PIXELS = json.dumps(
    {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {**_COLUMN, "crs": None}},
    }
)


@dataclass(frozen=True)
class DetectionSpec:
    """What the detections of a run share: the output folder, the tiling, tiles a side of a block, when two boxes are one."""

    out: Path
    tiling: Tiling
    span: int
    overlap: float


def write_detections(key: Mapping[str, Any], recipe: DetectionSpec) -> list[Row]:
    """The ledger row of a block's detections after they are published as GeoParquet.

    key: `key`, `fingerprint`, `path`, and `paths`: the files of boxes of the block and of those around it, relative to the output
    folder. A thing that two tiles saw is kept once, by the block that holds its centre.
    """
    path, target = key["path"], recipe.out / key["path"]
    rows = merge_detections([recipe.out / p for p in key["paths"]], recipe, key["key"])
    about = {
        "stage": "rasters",
        "key": key["key"],
        "fingerprint": key["fingerprint"],
        "path": path,
        "status": "done",
    }
    meta = {"lulc": json.dumps(about | {"valid_pixels": len(rows)}), "geo": IN_DEGREES}
    table = pa.Table.from_pylist(rows, schemas.DETECTIONS).replace_schema_metadata(meta)
    write_atomic(target, lambda beside: pq.write_table(table, beside, compression="zstd"))
    return [ledger.published_row(recipe.out, about | {"valid_pixels": len(rows)})]


def merge_detections(files: Sequence[Path], recipe: DetectionSpec, key: str) -> list[Row]:
    """Rows of DETECTIONS whose centre lies in block `<period>/<tiling>/<col>_<row>`, from files of boxes of it and around it."""
    table = pa.concat_tables(
        [pq.read_table(file, schema=schemas.BOXES, partitioning=None) for file in files]
    )
    if not table.num_rows:
        return []
    places = np.column_stack([table[name].to_numpy() for name in _SIDES])
    kept = boxes.suppress_boxes(
        places, table["score"].to_numpy(), table["class_id"].to_numpy(), recipe.overlap
    )
    side = recipe.tiling.size
    owners = np.floor((places[kept][:, :2] + places[kept][:, 2:]) / 2 / side).astype(int)
    first = np.array(recipe.tiling.parse(key.partition("/")[2]))
    mine = ((owners >= first) & (owners < first + recipe.span)).all(1)
    grid = recipe.tiling.grid(0, 0)
    counted: dict[str, int] = {}
    rows = []
    for row, box, owner in zip(
        table.take(kept[mine]).to_pylist(), places[kept[mine]], owners[mine], strict=True
    ):
        tile_id = recipe.tiling.tile_id(*owner.tolist())
        plain = {name: row[name] for name in ("period", "model", "class_id", "class_name", "score")}
        rows.append(
            plain
            | {"tile_id": tile_id, "n": counted.get(tile_id, 0)}
            | ground_outline(box.tolist(), grid)
        )
        counted[tile_id] = counted.get(tile_id, 0) + 1
    return rows


def ground_outline(box: Sequence[float], grid: Grid | None) -> Row:
    """Columns `geometry` and `crs` of a box (left, top, right, bottom in pixels of a grid): the ground that it covers.

    Without a grid its pixels, counted right and down.
    """
    left, top, right, bottom = box
    if grid is None:
        return {"geometry": shapely.to_wkb(shapely.box(left, top, right, bottom)), "crs": ""}
    a, b, c, d, e, f = grid.transform
    corner = (
        a * (right - left),
        b * (bottom - top),
        a * left + b * top + c,
        d * (right - left),
        e * (bottom - top),
        d * left + e * top + f,
    )
    return {"geometry": shapely.to_wkb(footprint(Grid(grid.crs, corner, 1, 1))), "crs": WGS84}
