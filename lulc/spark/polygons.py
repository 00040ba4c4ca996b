"""Polygons of class maps: found block by block, joined where blocks share them, and written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql.functions import col, collect_list, struct
from pyspark.sql.pandas.types import from_arrow_schema

from lulc import progress
from lulc.location import Location
from lulc.spark.areas.measure import persisted
from lulc.spark.carried import carry
from lulc.spark.context import StageContext
from lulc.spark.kept import keep_table
from lulc.spark.workers import map_frame
from lulc.stats.class_rasters import SIDE
from lulc.stats.polygons import (
    LINKED,
    PARTS,
    PATCHES,
    Lattice,
    dissolve,
    find_parts,
    join_parts,
    links_of,
    list_blocks,
    polygon_table,
    shared_parts,
    whole_patches,
)
from lulc.tables import files, layout, schemas
from lulc.tables.files import fingerprint_of
from lulc.tables.geoparquet import open_writer

_TABLE = "polygons"
_FILES = pa.schema([pa.field("path", pa.string()), pa.field("polygons", pa.int64())])
_TASKS_A_CORE = 64
_POLYGONS_A_FILE = 1_000_000
_POLYGONS_A_GROUP = 20_000  # a reader leaves out groups by their bounds
_BATCH = 10_000


def write_polygons(
    context: StageContext,
    lattices: Sequence[Lattice],
    names: Mapping[int, str],
    fingerprint: str,
    side: int = SIDE,
) -> int:
    """Write table `polygons`.

    No polygon passes through the driver: it joins what blocks say of the pixels at their sides.
    What blocks hold lies below the output location until the stage is recorded.

    Args:
        context: the run.
        lattices: of its maps.
        names: class names by id.
        fingerprint: of the maps; tells what was kept of their blocks from what was of others.
        side: pixels a side of a block; the polygons are the same whatever it is.

    Returns:
        How many polygons there are.

    Raises:
        InputError: within tasks: a raster cannot be read, or rasters overlap that may not.
    """
    spark = context.spark()
    blocks = pa.Table.from_pylist(list_blocks(lattices, side))
    tasks = min(len(blocks), _TASKS_A_CORE * spark.sparkContext.defaultParallelism)
    frame = spark.createDataFrame(blocks).repartition(tasks)
    kept = context.out / layout.kept_folder("polygons", fingerprint_of(fingerprint, side))
    find = partial(find_parts, lattices=tuple(lattices), side=side)
    with progress.spark(spark.sparkContext, tasks, "polygons"):
        links = _map_blocks(frame, keep_table(find, kept), links_of, LINKED).toArrow()
        parts = partial(_map_blocks, frame, keep_table(find, kept))
        with persisted(_join(parts, links, lattices)) as patches:
            keys = col("lattice"), col("place")
            file_count = max(1, -(-patches.count() // _POLYGONS_A_FILE))
            ordered = patches.repartitionByRange(file_count, *keys).sortWithinPartitions(*keys)
            write = carry(partial(_write_file, context.out, tuple(lattices), dict(names)))
            written = ordered.mapInArrow(write, from_arrow_schema(_FILES)).toArrow()
    paths = set(written["path"].to_pylist())
    if not paths:
        paths = {layout.table_file(_TABLE)}
        _write(context.out / layout.table_file(_TABLE), (), lattices, names)
    folder = context.out / layout.table(_TABLE)
    for file in files.list_tables(folder):
        if f"{layout.table(_TABLE)}/{file.name}" not in paths:
            files.remove(file)
    files.remove_unfinished(folder)
    return sum(written["polygons"].to_pylist())


def _map_blocks(
    frame: DataFrame,
    find: Callable[[Mapping[str, int]], pa.Table],
    pick: Callable[[pa.Table], pa.Table],
    schema: pa.Schema,
) -> DataFrame:
    # What `pick` takes of the rows of PARTS of each block.
    def batches(incoming: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in incoming:
            for block in batch.to_pylist():
                yield from pick(find(block)).to_batches(_BATCH)

    return frame.mapInArrow(carry(batches), from_arrow_schema(schema))


def _join(
    map_blocks: Callable[..., DataFrame], links: pa.Table, lattices: Sequence[Lattice]
) -> DataFrame:
    # Rows of PATCHES: those that end in their block, and those that blocks share.
    whole, shared = map_blocks(whole_patches, PATCHES), map_blocks(shared_parts, PARTS)
    if not links.num_rows:
        return whole
    joined = whole.sparkSession.createDataFrame(join_parts(links))
    columns = [name for name in PARTS.names if name not in ("place", "geometry")]
    by_patch = (
        shared.join(joined, "part")
        .groupBy("patch")
        .agg(collect_list(struct(*columns, "is_left")).alias("parts"))
    )
    return whole.unionByName(
        map_frame(by_patch, partial(dissolve, lattices=tuple(lattices)), PATCHES)
    )


def _write_file(
    out: Location,
    lattices: Sequence[Lattice],
    names: Mapping[int, str],
    incoming: Iterable[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    batches = (batch for batch in incoming if batch.num_rows)
    first = next(batches, None)
    if first is None:
        return
    task = TaskContext.get()
    place = layout.table_file(_TABLE, task.partitionId() if task else 0)
    count = _write(out / place, chain([first], batches), lattices, names)
    yield pa.RecordBatch.from_pylist([{"path": place, "polygons": count}], _FILES)


def _write(
    location: Location,
    batches: Iterable[pa.RecordBatch],
    lattices: Sequence[Lattice],
    names: Mapping[int, str],
) -> int:
    count = 0

    def write_rows(path: Any) -> None:
        nonlocal count
        crs = lattices[0].grid.crs
        with open_writer(
            path, schemas.POLYGONS, crs=crs, row_group_size=_POLYGONS_A_GROUP
        ) as write:
            for batch in batches:
                write(polygon_table(pa.Table.from_batches([batch]), lattices, names))
                count += batch.num_rows

    files.write_atomic(location, write_rows)
    return count
