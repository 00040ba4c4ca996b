"""Predictions → class rasters: one cloud-optimised GeoTIFF a group of tiles, with names, colours, mode overviews and lineage."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import rasterio
import rasterio.shutil
from numba import njit
from rasterio.io import MemoryFile

from lulc import catalog, pixels, store
from lulc.conf import Period
from lulc.errors import InputError
from lulc.geo import Grid, Tiling
from lulc.legend import NODATA, Legend

BLOCK = 512
"""Side of a raster's inner tiles in pixels; overviews are made until one covers all."""

# ZSTD 3 keeps class rasters as small as DEFLATE 6 in a fraction of its time; a predictor makes them larger.
_COG = {"driver": "COG", "BLOCKSIZE": BLOCK, "COMPRESS": "ZSTD", "LEVEL": 3, "GEOTIFF_VERSION": "1.1"}


@dataclass(frozen=True)
class Recipe:
    """What the rasters of a run share. group: side of a raster in tiles, a multiple of the prediction block's.

    probabilities: whether the predictions hold those of all classes.
    """

    out: Path
    name: str
    tiling: Tiling
    legend: Legend
    group: int
    periods: tuple[Period, ...]
    probabilities: bool = False


@dataclass(frozen=True)
class ClassMap:
    """Legend ids and confidence in per cent on a grid, both (H, W) uint8, 255 where there is none; and what they come from.

    probabilities: (K, H, W) uint8, the percentages of all classes, where they were asked for.
    """

    grid: Grid
    classes: np.ndarray
    confidence: np.ndarray
    scene_ids: tuple[str, ...]
    model: str
    probabilities: np.ndarray | None = None


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


def write_group(key: Mapping[str, Any], recipe: Recipe) -> list[dict[str, Any]]:
    """The ledger row of one raster, written with its confidence and its STAC item unless a raster of this fingerprint stands.

    key: `key`, `fingerprint` and `paths`, the prediction files of the group relative to the output folder.
    """
    path = raster_path(key["key"], recipe.name)
    target, described, confidence = files_of(recipe.out, path)
    probabilities = recipe.out / probabilities_path(path)
    there = described.exists() and confidence.exists() and probabilities.exists() >= recipe.probabilities
    row = _row_within(target) if there else None
    if row is None or row["fingerprint"] != key["fingerprint"]:
        made = mosaic([recipe.out / p for p in key["paths"]], recipe.tiling)
        count = int(np.count_nonzero(made.classes != NODATA))
        row = store.entry("rasters", key["key"], key["fingerprint"], valid_pixels=count, path=path)
        row.pop("finished")
        tags = {f"CLASS_{c.id}": c.name for c in recipe.legend.classes} | {"lulc_model": made.model, "lulc": json.dumps(row)}
        write_cog(confidence, made.grid, [made.confidence], {"lulc_model": made.model})
        probabilities.unlink(missing_ok=True)
        if made.probabilities is not None:
            names = {f"BAND_{n}": c.name for n, c in enumerate(recipe.legend.classes, 1)}
            write_cog(probabilities, made.grid, [made.probabilities], {"lulc_model": made.model} | names)
        catalog.write_json(described, catalog.make_item(recipe, path, made, key["fingerprint"]))
        write_cog(target, made.grid, pyramid(made.classes), tags, recipe.legend)
    return [row | {"checksum": store.checksum(target), "finished": datetime.now(UTC)}]


def mosaic(files: Sequence[Path], tiling: Tiling) -> ClassMap:
    """The tiles of some prediction files on the smallest grid of whole tiles that holds them, cut at the tiling's extent."""
    tables = [pq.ParquetFile(file) for file in files]
    # Where whole squares were classified a tile has fewer pixels than it was cut with.
    tiling = tiling.coarsen(tiling.size // tables[0].read_row_group(0, ["height"])["height"][0].as_py())
    places = [[tiling.parse(i) for i in t.read(["tile_id"])["tile_id"].to_pylist()] for t in tables]
    cols, rows = zip(*(place for found in places for place in found), strict=True)
    left, top, size = min(cols), min(rows), tiling.size
    height, width = (max(rows) + 1 - top) * size, (max(cols) + 1 - left) * size
    if tiling.extent is not None:
        height, width = min(height, tiling.extent[0] - top * size), min(width, tiling.extent[1] - left * size)
    grid = tiling.grid(left, top).window(0, 0, height, width)
    classes, confidence = np.full((height, width), NODATA, np.uint8), np.full((height, width), NODATA, np.uint8)
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
                for name, target in (("classes", classes), ("confidence", confidence), ("probabilities", probabilities)):
                    if target is not None:
                        into = target[..., y : y + size, x : x + size]
                        into[...] = pixels.array_from(tile, name)[..., : into.shape[-2], : into.shape[-1]]
                scenes.update(tile["scene_ids"] or ())
                models.add(tile["model"])
    if len(models) > 1:
        raise InputError(
            f"predictions of models {sorted(models)} would be mixed in one raster: run `lulc predict` to the end first"
        )
    return ClassMap(grid, classes, confidence, tuple(sorted(scenes)), models.pop(), probabilities)


def pyramid(classes: np.ndarray) -> list[np.ndarray]:
    """The raster and its overviews, each half the one before (odd sides rounded up), until one fits a block."""
    levels = [classes]
    while max(levels[-1].shape) > BLOCK:
        levels.append(majority(levels[-1], np.uint8(NODATA)))
    return levels


@njit(cache=True, nogil=True)
def majority(array, nodata):  # type: ignore[no-untyped-def]
    """The most frequent value of every 2 x 2 pixels, nodata left out, the smallest of equals; edges count what is there."""
    height, width = array.shape
    out = np.empty(((height + 1) // 2, (width + 1) // 2), array.dtype)
    for i in range(out.shape[0]):
        y, below = 2 * i, min(2 * i + 1, height - 1)
        for j in range(out.shape[1]):
            x, right = 2 * j, min(2 * j + 1, width - 1)
            # An edge pixel stands in for its missing neighbour, which doubles both counts alike.
            four = (array[y, x], array[y, right], array[below, x], array[below, right])
            best, most = nodata, 0
            if four[0] == four[1] and four[0] == four[2] and four[0] == four[3]:
                best = four[0]
            else:
                for value in four:
                    if value != nodata:
                        count = 0
                        for other in four:
                            count += other == value
                        if count > most or (count == most and value < best):
                            best, most = value, count
            out[i, j] = best
    return out


def write_cog(
    path: Path, grid: Grid, levels: Sequence[np.ndarray], tags: Mapping[str, str], legend: Legend | None = None
) -> None:
    """A uint8 COG at `path`, the same bytes every time, with a legend's colours; SetupError where the disk is full.

    levels: the band (H, W), or bands (K, H, W), and its overviews, each half the one before; GDAL averages where there are none.
    """
    overviews = {"OVERVIEWS": "FORCE_USE_EXISTING"} if len(levels) > 1 else {"OVERVIEW_RESAMPLING": "AVERAGE"}
    folder = uuid.uuid4().hex
    with rasterio.Env(GDAL_NUM_THREADS="1"), ExitStack() as files:
        # GDAL takes x.tif.ovr as the overview of x.tif, x.tif.ovr.ovr as that of x.tif.ovr, and so on.
        for number, level in enumerate(levels):
            bands = level.reshape(-1, *level.shape[-2:])
            place = Grid(grid.crs, grid.transform, *level.shape[-2:])
            file = files.enter_context(MemoryFile(dirname=folder, filename="x.tif" + ".ovr" * number))
            with file.open(**_plain(place, len(bands))) as target:
                target.write(bands)
                if number == 0:
                    target.update_tags(**tags)
                    if legend is not None:
                        target.write_colormap(1, legend.palette())
        store.publish(path, lambda beside: rasterio.shutil.copy(f"/vsimem/{folder}/x.tif", beside, **_COG, **overviews))


def _plain(grid: Grid, count: int) -> dict[str, Any]:
    blocks = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    place = {"crs": grid.crs, "transform": grid.affine, "height": grid.height, "width": grid.width}
    return {"driver": "GTiff", "dtype": "uint8", "count": count, "nodata": NODATA} | blocks | place


def _row_within(path: Path) -> dict[str, Any] | None:
    # The ledger row that a raster carries: a rerun after a killed driver need not write it again.
    try:
        with rasterio.open(path, driver="GTiff") as found:
            row: dict[str, Any] | None = json.loads(found.tags().get("lulc", "null"))
            return row
    except rasterio.errors.RasterioIOError:
        return None
