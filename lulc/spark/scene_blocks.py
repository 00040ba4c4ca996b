"""Scenes joined with the blocks of tiles that they reach, in Sedona."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

import pyarrow as pa
import shapely
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from shapely.geometry.base import BaseGeometry

from lulc.chips.extent import Cell, block_of_tile, find_cells
from lulc.chips.mosaic import ChipSpec
from lulc.errors import InputError, UsageError
from lulc.geo.grid import footprint
from lulc.sources.area import make_box, read_area
from lulc.sources.scene import LAYER, Scene
from lulc.spark.context import StageContext
from lulc.spark.parquet import read_parquet
from lulc.tables import store

_PAIRS = """
    SELECT s.scene_id, c.col, c.row FROM {scenes} s JOIN {cells} c
    ON ST_Intersects(ST_GeomFromWKB(s.footprint), ST_GeomFromWKB(c.footprint))
"""


def pair_scenes_with_blocks(
    context: StageContext, scenes: Sequence[Scene], spec: ChipSpec
) -> list[tuple[Scene, Cell]]:
    """Return every scene with every block that it may reach, in the selected part of a run.

    Args:
        context: the run, whose scenes table is written.
        scenes: the scenes and layers to pair.
        spec: tiling, and tiles along a side of a block.

    Raises:
        InputError: no scene reaches the selected part.
        UsageError: the selection's condition is none on the scenes table.
    """
    cells = context.spark().createDataFrame(pa.Table.from_pylist(_blocks(context, scenes, spec)))
    outlines = _selected_scenes(context).select("scene_id", "footprint")
    rows = context.spark().sql(_PAIRS, scenes=outlines, cells=cells).toArrow().to_pylist()
    by_id = {scene.scene_id: scene for scene in scenes}
    return [
        (by_id[row["scene_id"]], (row["col"], row["row"]))
        for row in rows
        if row["scene_id"] in by_id
    ]


def _selected_scenes(context: StageContext) -> DataFrame:
    where = context.selection.where
    frame = read_parquet(context.spark(), [store.table_folder(context.out, "scenes")])
    try:
        return frame.where(f"source = '{LAYER}' OR ({where})") if where else frame
    except AnalysisException as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"--where {where!r} is no condition on the columns of the scenes table: {reason}"
        ) from error


def _blocks(
    context: StageContext, scenes: Sequence[Scene], spec: ChipSpec
) -> list[dict[str, object]]:
    # A row (col, row, footprint) for every block of the selection that a scene may reach.
    outlines = [shapely.from_wkb(s.footprint) for s in scenes if not s.is_layer]
    selected: Collection[Cell] = {
        block_of_tile(tile_id, spec.tiling, spec.span) for tile_id in context.selection.tiles
    }
    rows = []
    for cell in find_cells(outlines, spec.tiling, spec.span, _area(context)):
        if selected and cell not in selected:
            continue
        # What the tiling's CRS cannot place on the Earth holds no pixel.
        with suppress(InputError):
            outline = footprint(spec.tiling.grid(*cell, spec.halo, spec.span))
            rows.append({"col": cell[0], "row": cell[1], "footprint": shapely.to_wkb(outline)})
    if not rows:
        raise InputError(
            "no scene reaches the selected tiles: "
            "check area, --bbox and --tiles against `lulc info` of the scenes"
        )
    return rows


def _area(context: StageContext) -> BaseGeometry | None:
    area, bbox = read_area(context.config.area), context.selection.bbox
    if bbox is None:
        return area
    box = make_box(bbox)
    return box if area is None else area.intersection(box)
