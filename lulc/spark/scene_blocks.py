"""Footprints of scenes joined with the blocks of tiles that they reach, in Sedona."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import shapely
from pyspark.errors import AnalysisException
from shapely.geometry.base import BaseGeometry

from lulc.chips.extent import Cell, block_of_tile, find_cells
from lulc.chips.mosaic import ChipSpec
from lulc.chips.plan import Reach
from lulc.errors import InputError, UsageError
from lulc.geo.batches import footprints
from lulc.sources.area import make_box, read_area
from lulc.sources.scene import LAYER
from lulc.sources.scenes_table import SceneColumns
from lulc.spark.context import StageContext
from lulc.spark.parquet import read_parquet
from lulc.spark.queries.rules import fault_of_query
from lulc.tables import schemas, store

_PAIRS = """
    SELECT p.place, c.number FROM {places} p JOIN {cells} c
    ON ST_Intersects(ST_GeomFromWKB(p.footprint), ST_GeomFromWKB(c.footprint))
"""


def find_reach(context: StageContext, scenes: SceneColumns, spec: ChipSpec) -> Reach:
    """Return which footprints may reach which blocks in the selected part of a run.

    Args:
        context: the run.
        scenes: the scenes and layers.
        spec: tiling, and tiles along a side of a block.

    Raises:
        InputError: no scene reaches the selected part.
    """
    cells, outlines = _cells(context, scenes, spec)
    spark = context.spark()
    frames = {
        "cells": spark.createDataFrame(_numbered("number", outlines)),
        "places": spark.createDataFrame(_numbered("place", scenes.outlines)),
    }
    pairs = spark.sql(_PAIRS, None, **frames).toArrow()
    return Reach(cells, *(pairs[name].to_numpy().astype(np.int64) for name in ("place", "number")))


def selected_scenes(context: StageContext, count: int) -> np.ndarray | None:
    """Return which scenes of the table the selection's condition leaves, layers among them.

    Args:
        context: the run, whose scenes table is written.
        count: the scenes of the table.

    Returns:
        (count,) bool; None where there is no condition.

    Raises:
        UsageError: the condition is none on the scenes table, or fails on its values.
    """
    where = context.selection.where
    if not where:
        return None
    folder, columns = (
        store.table_folder(context.out, "scenes"),
        (*schemas.SCENES.names, "row_index"),
    )
    frame = read_parquet(context.spark(), [folder], schemas.SCENES, columns)
    try:
        chosen = frame.where(f"source = '{LAYER}' OR ({where})").select("row_index").toArrow()
    except AnalysisException as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"--where {where!r} is no condition on the columns of the scenes table: {reason}"
        ) from error
    except Exception as error:
        if fault := fault_of_query(error):
            raise UsageError(
                f"--where {where!r} fails on the values of a scene: {fault}"
            ) from error
        raise
    return np.isin(np.arange(count), chosen["row_index"].to_numpy())


def _numbered(name: str, outlines: Sequence[bytes]) -> pa.Table:
    numbers = pa.array(np.arange(len(outlines), dtype=np.int32))
    return pa.table({name: numbers, "footprint": pa.array(outlines, pa.binary())})


def _cells(
    context: StageContext, scenes: SceneColumns, spec: ChipSpec
) -> tuple[list[Cell], Sequence[bytes]]:
    # The blocks of the selection that a scene may reach, and their outlines as WKB.
    of_scenes = np.unique(scenes.places[~scenes.is_layer]).tolist()
    reaching = shapely.from_wkb([scenes.outlines[number] for number in of_scenes])
    cells = find_cells(reaching, spec.tiling, spec.span, _area(context))
    if tiles := context.selection.tiles:
        selected = {block_of_tile(tile_id, spec.tiling, spec.span) for tile_id in tiles}
        cells = [cell for cell in cells if cell in selected]
    outlines = footprints([spec.tiling.grid(*cell, spec.halo, spec.span) for cell in cells])
    # What the tiling's CRS cannot place on the Earth holds no pixel.
    on_earth = ~shapely.is_missing(outlines)
    if not on_earth.any():
        raise InputError(
            "no scene reaches the selected tiles: "
            "check area, --bbox and --tiles against `lulc info` of the scenes"
        )
    cells_on_earth = [cell for cell, is_there in zip(cells, on_earth, strict=True) if is_there]
    return cells_on_earth, shapely.to_wkb(outlines[on_earth])


def _area(context: StageContext) -> BaseGeometry | None:
    area, bbox = read_area(context.config.area), context.selection.bbox
    if bbox is None:
        return area
    box = make_box(bbox)
    return box if area is None else area.intersection(box)
