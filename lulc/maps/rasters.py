"""Predictions to class rasters: one cloud-optimised GeoTIFF a group of tiles.

Each has class names, colours and overviews by majority, a raster of confidence and a STAC item
beside it, and where the run keeps them a raster of all classes' percentages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.geo.tiling import Tiling
from lulc.legend import NODATA
from lulc.location import Location
from lulc.maps import stac
from lulc.maps.class_map import ClassMap, RasterSpec
from lulc.maps.uncertainty import BANDS, measure_uncertainty
from lulc.raster.cog import pyramid, read_tags, write_cog
from lulc.tables import arrays, files, layout
from lulc.tables.files import open_parquet
from lulc.tables.ledger import LedgerRow
from lulc.tables.store import table_guard


def group_key(period: str, col: int, row: int, group: int) -> str:
    """Return the key of the raster that holds a tile.

    Args:
        period: its name.
        col: of the tile.
        row: of the tile.
        group: side of a raster in tiles.

    Returns:
        `<period>/<col>_<row>`, counted in rasters.
    """
    return f"{period}/{col // group}_{row // group}"


def raster_path(key: str, run: str, flat: bool = False) -> str:
    """Return the class raster of a key, relative to the output location; see `layout.raster`."""
    period, _, cell = key.partition("/")
    col, _, row = cell.partition("_")
    return layout.raster(period, run, (int(col), int(row)), flat)


def write_group(key: Mapping[str, Any], spec: RasterSpec) -> list[LedgerRow]:
    """Write one class raster with the files beside it, unless it is current.

    Args:
        key: the raster's `key`, `fingerprint` and `path`, and `paths`: the prediction files of the
            group, relative to the output location.
        spec: the run's settings.

    Returns:
        The ledger row of the raster.
    """
    path = key["path"]
    row = _current_row(path, spec)
    if row is None or row.fingerprint != key["fingerprint"]:
        with table_guard(f"one of {', '.join(key['paths'])} in {spec.out}"):
            class_map = mosaic_predictions([spec.out / p for p in key["paths"]], spec.tiling)
        valid_pixels = int(np.count_nonzero(class_map.classes != NODATA))
        row = LedgerRow(
            "rasters", key["key"], key["fingerprint"], path=path, valid_pixels=valid_pixels
        )
        _write_files(row, path, class_map, spec)
    checksum = files.checksum(spec.out / path)
    return [replace(row, checksum=checksum, finished=datetime.now(UTC))]


def files_of_raster(path: str, spec: RasterSpec) -> list[str]:
    """Return all files that belong to a class raster, itself among them."""
    paths = [path, layout.raster_item(path), layout.confidence_raster(path)]
    if spec.probabilities:
        paths.append(layout.probabilities_raster(path))
    if spec.uncertainty_bands:
        paths.append(layout.uncertainty_raster(path))
    return paths


def _current_row(path: str, spec: RasterSpec) -> LedgerRow | None:
    # The row of a raster whose files are all there, which a killed driver may not have recorded.
    if not all(files.exists(spec.out / file) for file in files_of_raster(path, spec)):
        return None
    return _read_row(spec.out / path)


def _write_files(row: LedgerRow, path: str, class_map: ClassMap, spec: RasterSpec) -> None:
    # The class raster last: with the row in its tags it stands for all of them.
    out, grid, model = spec.out, class_map.georeference, {"lulc_model": class_map.model}
    write_cog(out / layout.confidence_raster(path), grid, [class_map.confidence], model)
    probabilities = out / layout.probabilities_raster(path)
    uncertainty = out / layout.uncertainty_raster(path)
    files.remove(probabilities)
    files.remove(uncertainty)
    if class_map.probabilities is not None:
        names = [c.name for c in spec.legend.classes]
        write_cog(probabilities, grid, [class_map.probabilities], model, names=names)
    if spec.uncertainty_bands:
        bands = [_uncertainty(class_map, spec)]
        write_cog(uncertainty, grid, bands, model, names=spec.uncertainty_bands)
    item = stac.make_item(spec, path, class_map, row.fingerprint)
    stac.write_json(out / layout.raster_item(path), item)
    class_tags = {f"CLASS_{c.id}": c.name for c in spec.legend.classes}
    # Without time and number, so that two attempts write the same bytes.
    columns = {k: v for k, v in row.to_row().items() if k not in ("finished", "number")}
    tags = class_tags | model | {"lulc": json.dumps(columns)}
    write_cog(out / path, grid, pyramid(class_map.classes), tags, spec.legend)


def _uncertainty(class_map: ClassMap, spec: RasterSpec) -> np.ndarray:
    # The bands of the raster; without what predictions of before do not hold.
    bands = np.full((len(spec.uncertainty_bands), *class_map.classes.shape), NODATA, np.uint8)
    if spec.probabilities and class_map.probabilities is not None:
        bands[: len(BANDS)] = measure_uncertainty(class_map.probabilities)
    if spec.spread and class_map.spread is not None:
        bands[-1] = class_map.spread
    return bands


def mosaic_predictions(locations: Sequence[Location], tiling: Tiling) -> ClassMap:
    """Mosaic the tiles of prediction files.

    Args:
        locations: of the files.
        tiling: of the run.

    Returns:
        The classes on the smallest grid of whole tiles that holds them, cut at the tiling's extent.

    Raises:
        InputError: the predictions are those of several models.
    """
    tables = [open_parquet(location) for location in locations]
    # Those of earlier releases hold no spread.
    columns = {"height", "probabilities_shape", "spread_shape"} & set(tables[0].schema_arrow.names)
    first = tables[0].read_row_group(0, sorted(columns)).to_pylist()[0]
    # Where squares were classified, a tile has fewer pixels than it was cut with.
    tiling = tiling.coarsen(tiling.size // first["height"])
    cells = [_read_cells(table, tiling) for table in tables]
    all_cells = [cell for table_cells in cells for cell in table_cells]
    grid, (left, top) = _bounding_grid(all_cells, tiling)
    layers = {
        "classes": np.full(grid.shape, NODATA, np.uint8),
        "confidence": np.full(grid.shape, NODATA, np.uint8),
    }
    if first["probabilities_shape"]:
        shape = (first["probabilities_shape"][0], *grid.shape)
        layers["probabilities"] = np.full(shape, NODATA, np.uint8)
    if first.get("spread_shape"):
        layers["spread"] = np.full(grid.shape, NODATA, np.uint8)
    scene_ids: set[str] = set()
    models: set[str] = set()
    for table, table_cells in zip(tables, cells, strict=True):
        tiles = (
            tile
            for group in range(table.num_row_groups)
            for tile in table.read_row_group(group).to_pylist()
        )
        for tile, (col, row) in zip(tiles, table_cells, strict=True):
            _paste(layers, tile, (row - top) * tiling.size, (col - left) * tiling.size)
            scene_ids.update(tile["scene_ids"] or ())
            models.add(tile["model"])
    if len(models) > 1:
        raise InputError(
            f"predictions of models {sorted(models)} would be mixed in one raster: run "
            "`lulc predict` to the end first"
        )
    return ClassMap(
        grid,
        layers["classes"],
        layers["confidence"],
        tuple(sorted(scene_ids)),
        models.pop(),
        layers.get("probabilities"),
        layers.get("spread"),
    )


def _read_cells(table: pq.ParquetFile, tiling: Tiling) -> list[tuple[int, int]]:
    return [tiling.parse(tile_id) for tile_id in table.read(["tile_id"])["tile_id"].to_pylist()]


def _bounding_grid(
    cells: Sequence[tuple[int, int]], tiling: Tiling
) -> tuple[Grid, tuple[int, int]]:
    """Return the grid that holds tiles, and the (col, row) of its first tile."""
    cols, rows = zip(*cells, strict=True)
    left, top, size = min(cols), min(rows), tiling.size
    height, width = (max(rows) + 1 - top) * size, (max(cols) + 1 - left) * size
    if tiling.extent is not None:
        height = min(height, tiling.extent[0] - top * size)
        width = min(width, tiling.extent[1] - left * size)
    return tiling.grid(left, top).window(0, 0, height, width), (left, top)


def _paste(layers: Mapping[str, np.ndarray], tile: Mapping[str, Any], y: int, x: int) -> None:
    # What of the tile lies beyond the layers is cut off.
    for name, layer in layers.items():
        array = arrays.array_from(tile, name)
        height, width = array.shape[-2:]
        target = layer[..., y : y + height, x : x + width]
        target[...] = array[..., : target.shape[-2], : target.shape[-1]]


def _read_row(location: Location) -> LedgerRow | None:
    # The ledger row that a raster carries.
    columns = json.loads(read_tags(location).get("lulc", "null"))
    return LedgerRow(**columns) if columns else None
