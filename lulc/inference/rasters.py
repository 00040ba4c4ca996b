"""Predictions → class rasters: one cloud-optimised GeoTIFF a group of tiles, with names, colours, mode overviews and lineage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import rasterio
import rasterio.shutil

from lulc.errors import InputError
from lulc.geo.tiling import Tiling
from lulc.inference import stac
from lulc.inference.class_map import ClassMap, RasterSpec
from lulc.legend import NODATA
from lulc.raster.cog import pyramid, write_cog
from lulc.tables import arrays, ledger
from lulc.tables.files import checksum


def group_key(period: str, col: int, row: int, group: int) -> str:
    """The key `<period>/<gcol>_<grow>` of the raster that holds tile (col, row)."""
    return f"{period}/{col // group}_{row // group}"


def raster_path(key: str, name: str) -> str:
    """Where the raster of a key lies, relative to the output folder."""
    period, _, place = key.partition("/")
    return f"rasters/{period}/{name}_{place}.tif"


def confidence_path(path: str) -> str:
    """Where the confidence beside a class raster lies: in a folder of its own, so that all of `rasters/` holds classes."""
    return f"confidence/{path.removeprefix('rasters/').removesuffix('.tif')}_confidence.tif"


def probabilities_path(path: str) -> str:
    """Where the percentages of all classes lie, a band a class of the legend."""
    return f"probabilities/{path.removeprefix('rasters/').removesuffix('.tif')}_probabilities.tif"


def files_of(out: Path, path: str) -> list[Path]:
    """The files that every class raster has: itself, its STAC item, its confidence."""
    return [out / path, (out / path).with_suffix(".json"), out / confidence_path(path)]


def write_group(key: Mapping[str, Any], recipe: RasterSpec) -> list[dict[str, Any]]:
    """The ledger row of one raster, written with its confidence and its STAC item unless a raster of this fingerprint stands.

    key: `key`, `fingerprint` and `paths`, the prediction files of the group relative to the output folder.
    """
    path = raster_path(key["key"], recipe.name)
    target, described, confidence = files_of(recipe.out, path)
    probabilities = recipe.out / probabilities_path(path)
    there = (
        described.exists()
        and confidence.exists()
        and probabilities.exists() >= recipe.probabilities
    )
    row = _row_within(target) if there else None
    if row is None or row["fingerprint"] != key["fingerprint"]:
        made = mosaic_predictions([recipe.out / p for p in key["paths"]], recipe.tiling)
        count = int(np.count_nonzero(made.classes != NODATA))
        row = ledger.ledger_row(
            "rasters", key["key"], key["fingerprint"], valid_pixels=count, path=path
        )
        row.pop("finished")
        tags = {f"CLASS_{c.id}": c.name for c in recipe.legend.classes} | {
            "lulc_model": made.model,
            "lulc": json.dumps(row),
        }
        write_cog(confidence, made.grid, [made.confidence], {"lulc_model": made.model})
        probabilities.unlink(missing_ok=True)
        if made.probabilities is not None:
            names = {f"BAND_{n}": c.name for n, c in enumerate(recipe.legend.classes, 1)}
            write_cog(
                probabilities, made.grid, [made.probabilities], {"lulc_model": made.model} | names
            )
        stac.write_json(described, stac.make_item(recipe, path, made, key["fingerprint"]))
        write_cog(target, made.grid, pyramid(made.classes), tags, recipe.legend)
    return [row | {"checksum": checksum(target), "finished": datetime.now(UTC)}]


def mosaic_predictions(files: Sequence[Path], tiling: Tiling) -> ClassMap:
    """The tiles of some prediction files on the smallest grid of whole tiles that holds them, cut at the tiling's extent."""
    tables = [pq.ParquetFile(file) for file in files]
    # Where whole squares were classified a tile has fewer pixels than it was cut with.
    tiling = tiling.coarsen(
        tiling.size // tables[0].read_row_group(0, ["height"])["height"][0].as_py()
    )
    places = [[tiling.parse(i) for i in t.read(["tile_id"])["tile_id"].to_pylist()] for t in tables]
    cols, rows = zip(*(place for found in places for place in found), strict=True)
    left, top, size = min(cols), min(rows), tiling.size
    height, width = (max(rows) + 1 - top) * size, (max(cols) + 1 - left) * size
    if tiling.extent is not None:
        height, width = (
            min(height, tiling.extent[0] - top * size),
            min(width, tiling.extent[1] - left * size),
        )
    grid = tiling.grid(left, top).window(0, 0, height, width)
    classes, confidence = (
        np.full((height, width), NODATA, np.uint8),
        np.full((height, width), NODATA, np.uint8),
    )
    asked = tables[0].read_row_group(0, ["probabilities_shape"])["probabilities_shape"][0].as_py()
    probabilities = np.full((asked[0], height, width), NODATA, np.uint8) if asked else None
    scenes: set[str] = set()
    models: set[str] = set()
    for table, found in zip(tables, places, strict=True):
        at = iter(found)
        for group in range(table.num_row_groups):
            for tile in table.read_row_group(group).to_pylist():
                col, row = next(at)
                y, x = (row - top) * size, (col - left) * size
                for name, target in (
                    ("classes", classes),
                    ("confidence", confidence),
                    ("probabilities", probabilities),
                ):
                    if target is not None:
                        into = target[..., y : y + size, x : x + size]
                        into[...] = arrays.array_from(tile, name)[
                            ..., : into.shape[-2], : into.shape[-1]
                        ]
                scenes.update(tile["scene_ids"] or ())
                models.add(tile["model"])
    if len(models) > 1:
        raise InputError(
            f"predictions of models {sorted(models)} would be mixed in one raster: run `lulc predict` to the end first"
        )
    return ClassMap(grid, classes, confidence, tuple(sorted(scenes)), models.pop(), probabilities)


def _row_within(path: Path) -> dict[str, Any] | None:
    # The ledger row that a raster carries: a rerun after a killed driver need not write it again.
    try:
        with rasterio.open(path, driver="GTiff") as found:
            row: dict[str, Any] | None = json.loads(found.tags().get("lulc", "null"))
            return row
    except rasterio.errors.RasterioIOError:
        return None
