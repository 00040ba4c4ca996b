"""Areas by cell of a grid: counted where tiles are counted, added up and written by workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql.functions import col, collect_list, expr, struct
from pyspark.sql.pandas.types import from_arrow_schema

from lulc.config import StatsConf
from lulc.location import Location
from lulc.spark.areas.measure import GRID_COLUMNS, SUM, Rows, Tiles, persisted
from lulc.spark.carried import carry
from lulc.spark.context import StageContext
from lulc.spark.kept import keep_rows
from lulc.spark.workers import map_frame
from lulc.stats.cells import PARTS, Cells, Count, cell_areas, count_cells, parse_cells
from lulc.stats.zonal import BETWEEN, SUMS
from lulc.tables import files, layout, schemas, store
from lulc.tables.arrays import grid_from
from lulc.tables.geoparquet import open_writer

_KEYS = ["cell_id", "period", "model", "class_id"]
_TABLE = "cell_areas"
_ROWS_A_FILE = 2_000_000
_FILES = pa.schema([pa.field("path", pa.string())])


def fingerprint_of_cells(settings: StatsConf) -> list[str]:
    """Return what areas depend on besides all else where they are taken by cell, too."""
    return [settings.grid] if settings.grid else []


def write_cell_areas(
    context: StageContext, tiles: Tiles, names: Mapping[int, str], fingerprint: str
) -> None:
    """Write table `cell_areas` where `stats.grid` asks for it; else remove one of before.

    Neither cells nor their areas pass through the driver.

    Args:
        context: the run.
        tiles: the map.
        names: class names by id.
        fingerprint: tells what was kept of these tiles from what was of others.

    Raises:
        InputError: within tasks: the cells do not hold what the tiles hold.
        UsageError: within tasks: a tile meets too many cells.
    """
    folder, grid = store.table_folder(context.out, _TABLE), context.config.stats.grid
    paths: set[str] = set()
    if grid is not None:
        kept = context.out / layout.kept_folder("stats", fingerprint) / "cells"
        count = keep_rows(partial(_of_file, tiles.count, parse_cells(grid)), kept, PARTS)
        tile = struct("row_index", *GRID_COLUMNS)
        by_file = tiles.frame.groupBy("file_name").agg(collect_list(tile).alias("tiles"))
        sums = [expr(SUM.format(name)) for name in SUMS]
        cells = map_frame(by_file, count, PARTS).groupBy(*_KEYS).agg(*sums)
        with persisted(cells) as rows:
            parts = max(1, -(-rows.count() // _ROWS_A_FILE))
            ordered = rows.repartitionByRange(parts, *map(col, _KEYS)).sortWithinPartitions(*_KEYS)
            write = carry(partial(_write_part, context.out, dict(names)))
            written = ordered.mapInArrow(write, from_arrow_schema(_FILES)).toArrow()
        paths = set(written["path"].to_pylist())
    for file in files.list_tables(folder):
        if layout.table(_TABLE) + "/" + file.name not in paths:
            files.remove(file)


def _of_file(count: Any, cells: Cells, file: dict[str, Any]) -> Rows:
    tiles = sorted(
        {(tile["row_index"], grid_from(tile)) for tile in file["tiles"]}, key=lambda tile: tile[0]
    )
    of_file: Count = partial(count, file["file_name"])
    rows = count_cells(tiles, cells, of_file)
    return [row for row in rows if BETWEEN not in row["period"]]


def _write_part(
    out: Location, names: Mapping[int, str], incoming: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    batches = iter(incoming)
    first = next((batch for batch in batches if batch.num_rows), None)
    if first is None:
        return
    task = TaskContext.get()
    place = layout.table_file(_TABLE, task.partitionId() if task else 0)

    def write_rows(path: Any) -> None:
        with open_writer(path, schemas.CELL_AREAS) as write:
            for batch in (first, *batches):
                sums = pa.Table.from_batches([batch])
                write(cell_areas(sums, names))

    files.write_atomic(out / place, write_rows)
    yield pa.RecordBatch.from_pylist([{"path": place}], _FILES)
