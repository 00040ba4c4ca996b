"""Boxes on overlapping tiles to detections: each object once, with its outline on the ground."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from lulc.geo.grid import WGS84, Grid, footprint
from lulc.geo.tiling import Tiling
from lulc.location import Location
from lulc.stats.boxes import suppress_boxes
from lulc.tables import layout, schemas
from lulc.tables.files import for_arrow, write_atomic
from lulc.tables.geoparquet import write_file
from lulc.tables.ledger import LedgerRow, row_of_file
from lulc.tables.store import table_guard

_SIDES = ("left", "top", "right", "bottom")
_COPIED_COLUMNS = ("period", "model", "class_id", "class_name", "score")


@dataclass(frozen=True)
class DetectionSpec:
    """The settings that the detections of a run share."""

    out: Location
    """The output location."""
    tiling: Tiling
    span: int
    """Side of a block in tiles."""
    overlap: float
    """Boxes of a class that overlap more, as a share of their union, are one."""


def write_detections(key: Mapping[str, Any], spec: DetectionSpec) -> list[LedgerRow]:
    """Publish the detections of a block.

    An object that two tiles saw is kept once, by the block that holds its centre.

    Args:
        key: the block's `key` and `fingerprint`, the `path` to write, and `paths`: the files of
            boxes of the block and of those around it, relative to the output location.
        spec: the run's settings.

    Returns:
        The ledger row of the block.
    """
    files = [spec.out / path for path in key["paths"]]
    rows = merge_detections(files, spec, key["key"])
    footer = {
        "stage": "rasters",
        "key": key["key"],
        "fingerprint": key["fingerprint"],
        "path": key["path"],
        "status": "done",
        "valid_pixels": len(rows),
    }
    metadata = {"lulc": json.dumps(footer)}
    table = pa.Table.from_pylist(rows, schemas.DETECTIONS)
    write_atomic(spec.out / key["path"], lambda path: write_file(path, table, metadata))
    return [row_of_file(spec.out, footer)]


def merge_detections(
    files: Sequence[Location], spec: DetectionSpec, key: str
) -> list[dict[str, Any]]:
    """Merge boxes into the detections whose centre lies in a block.

    Args:
        files: of boxes of the block and of those around it.
        spec: the run's settings.
        key: of the block, `<period>/<tiling>/<col>_<row>`.

    Returns:
        Rows of DETECTIONS.
    """
    tables = []
    for file in files:
        with table_guard(file):
            tables.append(pq.read_table(for_arrow(file), schema=schemas.BOXES, partitioning=None))
    table = pa.concat_tables(tables)
    if not table.num_rows:
        return []
    edges = np.column_stack([table[name].to_numpy() for name in _SIDES])
    scores, class_ids = table["score"].to_numpy(), table["class_id"].to_numpy()
    indexes = suppress_boxes(edges, scores, class_ids, spec.overlap)
    centres = (edges[indexes][:, :2] + edges[indexes][:, 2:]) / 2
    cells = np.floor(centres / spec.tiling.size).astype(int)
    first = np.array(layout.parse_block_key(key).cell)
    in_block = ((cells >= first) & (cells < first + spec.span)).all(1)
    indexes, cells = indexes[in_block], cells[in_block]
    grid = spec.tiling.grid(0, 0)
    count_by_tile: Counter[str] = Counter()
    rows = []
    for row, box, cell in zip(
        table.take(indexes).to_pylist(), edges[indexes].tolist(), cells.tolist(), strict=True
    ):
        tile_id = spec.tiling.tile_id(*cell)
        columns = {name: row[name] for name in _COPIED_COLUMNS}
        number = {"tile_id": tile_id, "n": count_by_tile[tile_id]}
        rows.append(columns | number | outline_columns(box, grid))
        count_by_tile[tile_id] += 1
    return rows


def outline_columns(box: Sequence[float], grid: Grid | None) -> dict[str, Any]:
    """Return the columns `geometry` and `crs` of a box.

    Args:
        box: left, top, right, bottom in pixels of a grid.
        grid: None for an image without one.

    Returns:
        The WKB of the ground that the box covers, and its CRS; without a grid the box in pixels,
        counted right and down, and an empty CRS.
    """
    left, top, right, bottom = box
    if grid is None:
        return {"geometry": shapely.to_wkb(shapely.box(left, top, right, bottom)), "crs": ""}
    a, b, c, d, e, f = grid.transform
    # The box as the one pixel of a grid.
    transform = (
        a * (right - left),
        b * (bottom - top),
        a * left + b * top + c,
        d * (right - left),
        e * (bottom - top),
        d * left + e * top + f,
    )
    return {"geometry": shapely.to_wkb(footprint(Grid(grid.crs, transform, 1, 1))), "crs": WGS84}
