"""Blocks of chips and files of samples to blocks of vectors, the unit of work of stage embed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from lulc.chips.chip import Chip
from lulc.config import EmbedConf
from lulc.geo.areas import pixel_side_m
from lulc.geo.grid import WGS84, Grid, footprint, transformer
from lulc.inference.blocks import find_fault
from lulc.inference.embedder import (
    EmbeddedImage,
    Embedder,
    load_embedder,
    pixels_of,
    quantise,
)
from lulc.location import Location
from lulc.models.contract import Contract
from lulc.models.package import ModelRef
from lulc.raster.writer import write_vectors
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import arrays, files, geoparquet, layout, schemas, store
from lulc.tables.encoding import Encoding, known_units, to_units
from lulc.tables.ledger import LedgerRow, row_of_file


@dataclass(frozen=True)
class EmbedSpec:
    """How a run's vectors are made."""

    out: Location
    """The output location."""
    settings: EmbedConf
    model: ModelRef | None
    """The model whose network makes them; None: the embedding bands."""
    contract: Contract | None
    """Of the model."""
    positions: tuple[int, ...] = ()
    """Of the embedding bands among the run's."""

    @property
    def label(self) -> str:
        """What makes the vectors, as the table has it."""
        return f"{self.model.name}/{self.model.version}" if self.model else "bands"

    def fingerprint(self, inputs: str) -> str:
        """Return what vectors depend on: the fingerprint of their chips or samples, and how."""
        model = self.model and (self.model.name, self.model.version, self.model.checksum)
        settings = replace(self.settings, model=None)
        return files.fingerprint_of(
            OUTPUT_VERSIONS["embed"], inputs, model, self.positions, settings
        )


def embeddings_path(key: str, fingerprint: str, of_samples: bool) -> str:
    """Return the file of the vectors of a block of chips, or of a file of samples.

    Args:
        key: of the block, `<period>/<tiling>/<col>_<row>`, or of the file, `<split>/<number>`.
        fingerprint: of the vectors.
        of_samples: whether the key is that of a file of samples.
    """
    if of_samples:
        split, _, number = key.partition("/")
        return layout.sample_embeddings_file(split, number, fingerprint)
    return layout.block_file("embeddings", layout.parse_block_key(key), fingerprint)


def embed_units(
    keys: Iterable[Mapping[str, Any]], spec: EmbedSpec, of_samples: bool
) -> Iterator[LedgerRow]:
    """Make the vectors of blocks of chips, or of files of samples, and publish them.

    Args:
        keys: `key` of each, and `path`, `checksum` (if known) and `fingerprint` of its file.
        spec: how they are made.
        of_samples: whether the files are of samples.

    Yields:
        The ledger row of each; a `bad` one where its file is not as it was published.

    Raises:
        InputError: pixels do not keep the model's contract; no other unit's would.
    """
    embedder = _load(spec.model, spec.positions)
    kind, stage = ("samples", "samples") if of_samples else ("chips", "tile")
    for key in keys:
        start = time.monotonic()
        location, fingerprint = spec.out / key["path"], spec.fingerprint(key["fingerprint"])
        fault = find_fault(location, key["checksum"])
        if fault:
            error = f"{kind} {key['path']} {fault}: delete the file and run `lulc {stage}` again"
            yield LedgerRow("embed", key["key"], fingerprint, "bad", error=error)
            continue
        rasters: list[_TileRaster] = []
        tables = (
            _of_samples(location, embedder, spec)
            if of_samples
            else _of_chips(location, embedder, spec, rasters)
        )
        path = embeddings_path(key["key"], fingerprint, of_samples)
        row = _publish(LedgerRow("embed", key["key"], fingerprint, path=path), tables, spec.out)
        if rasters:
            _write_raster(spec.out / layout.embeddings_raster(path), rasters)
        yield replace(row, seconds=time.monotonic() - start)


@lru_cache(maxsize=4)
def _load(model: ModelRef | None, positions: tuple[int, ...]) -> Embedder:
    return load_embedder(model.folder if model else None, positions)


@dataclass(frozen=True, eq=False)
class _TileRaster:
    """Vectors of a tile's pixels."""

    grid: Grid
    vectors: np.ndarray
    """(D, h, w) int8."""


def _publish(unit: LedgerRow, tables: Iterator[pa.Table], out: Location) -> LedgerRow:
    # The row of the unit, whose file holds the tables; an empty one where there is none.
    first = next(tables, None)
    if first is None:
        return replace(unit, status="empty", path=None)
    footer = {"stage": "embed", "key": unit.key, "fingerprint": unit.fingerprint, "path": unit.path}
    metadata = {"lulc": json.dumps(footer)}
    count = 0

    def write_file(target: Path) -> None:
        nonlocal count
        with geoparquet.open_writer(target, first.schema, metadata) as write:
            for table in (first, *tables):
                write(table)
                count += table.num_rows

    files.write_atomic(out / str(unit.path), write_file)
    return row_of_file(out, {**footer, "status": "done", "valid_pixels": count})


def _write_raster(location: Location, tiles: Sequence[_TileRaster]) -> None:
    # The tiles of a block side by side.
    first = tiles[0].grid
    offsets = [~first.affine @ (tile.grid.transform[2], tile.grid.transform[5]) for tile in tiles]
    cells = np.rint(offsets).astype(int)
    (left, top), (right, bottom) = cells.min(0), np.add(cells.max(0), first.shape[::-1])
    vectors = np.full((len(tiles[0].vectors), bottom - top, right - left), -128, np.int8)
    for (col, row), tile in zip(cells - (left, top), tiles, strict=True):
        vectors[:, row : row + first.height, col : col + first.width] = tile.vectors
    grid = first.window(int(top), int(left), *vectors.shape[1:])
    files.write_atomic(location, lambda path: write_vectors(path, grid, vectors))


def _of_chips(
    location: Location, embedder: Embedder, spec: EmbedSpec, rasters: list[_TileRaster]
) -> Iterator[pa.Table]:
    # A table a chip; none of a chip without a valid pixel in its core. Adds its raster if asked.
    for chip in map(Chip.from_row, store.read_rows(location)):
        subject = f"chip {chip.tile_id} of {location.name}"
        image = _image(chip.pixels, chip.valid, chip.encoding, chip.core, chip.grid, subject, spec)
        valid, grid = image.core_valid, chip.grid.pad(-chip.halo)
        if not valid.any():
            continue
        columns: dict[str, Any] = {
            "tile_id": chip.tile_id,
            "period": chip.period,
            "model": spec.label,
        }
        every = spec.settings.every
        if every is None:
            share, outline = float(valid.mean()), shapely.to_wkb(footprint(grid))
            columns |= {"valid_share": share, "geometry": outline}
            yield _table(embedder.pool([image]), columns)
            continue
        valid = valid[pixels_of(every, grid.height), pixels_of(every, grid.width)]
        rows, cols = np.nonzero(valid)
        if len(rows):
            mapped = embedder.map(image, every)
            if spec.settings.raster:
                numbers = np.where(valid, quantise(mapped), np.int8(-128))
                rasters.append(_TileRaster(_coarse(grid, every), numbers))
            vectors = mapped[:, rows, cols].T
            rows, cols = (every // 2 + every * numbers for numbers in (rows, cols))
            points = _points(grid, rows, cols)
            of_pixels = {"row": rows, "col": cols, "geometry": points}
            yield _table(vectors, columns | {"valid_share": 1.0} | of_pixels)


def _coarse(grid: Grid, every: int) -> Grid:
    # The grid whose pixels are squares of every x every pixels.
    a, b, c, d, e, f = grid.transform
    transform = (a * every, b * every, c, d * every, e * every, f)
    return Grid(grid.crs, transform, grid.height // every, grid.width // every)


def _points(grid: Grid, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    # (N,) WKB of the pixels' centres.
    a, b, c, d, e, f = grid.transform
    x, y = (p * (cols + 0.5) + q * (rows + 0.5) + r for p, q, r in ((a, b, c), (d, e, f)))
    lon, lat = transformer(grid.crs, WGS84).transform(x, y)
    return np.asarray(shapely.to_wkb(shapely.points(lon, lat)), object)


def _of_samples(location: Location, embedder: Embedder, spec: EmbedSpec) -> Iterator[pa.Table]:
    # One table of all samples with a valid pixel.
    split = location.parent.name.removeprefix("split=")
    names = {c["id"]: c["name"] for c in store.read_footer(location)["legend"]["classes"]}
    images: dict[tuple[int, ...], list[EmbeddedImage]] = {}
    rows: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    for row in store.read_rows(location):
        pixels = arrays.array_from(row, "pixels")
        valid = arrays.unpack(row["valid"], (len(pixels), *pixels.shape[2:]))
        if not valid.any():
            continue
        grid = arrays.grid_from(row) if row["crs"] else None
        scales, offsets = tuple(row["scales"]), tuple(row["offsets"])
        encoding = Encoding(
            tuple(row["bands"]), pixels.dtype.name, scales, offsets, known_units(row)
        )
        core = slice(0, pixels.shape[2]), slice(0, pixels.shape[3])
        subject = f"sample {row['sample_id']}"
        image = _image(pixels, valid, encoding, core, grid, subject, spec)
        images.setdefault(pixels.shape, []).append(image)
        rows.setdefault(pixels.shape, []).append(
            {name: row[name] for name in ("sample_id", "tile_id", "period")}
            | {"split": split, "model": spec.label, "geometry": row["footprint"]}
            | {"valid_share": float(valid.any(0).mean())}
            | _class_of(row, names)
        )
    for shape, alike in images.items():
        yield _table(embedder.pool(alike), pa.Table.from_pylist(rows[shape], _without_vectors()))


def _class_of(row: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, Any]:
    if row["task"] != "classify":
        return {}
    class_id = int(arrays.array_from(row, "label"))
    return {"class_id": class_id, "class_name": names.get(class_id)}


def _image(
    pixels: np.ndarray,
    valid: np.ndarray,
    encoding: Encoding,
    core: tuple[slice, slice],
    grid: Grid | None,
    subject: str,
    spec: EmbedSpec,
) -> EmbeddedImage:
    # In the units of the model, whose contract it must keep.
    if spec.contract is not None:
        side = spec.contract.gsd_m if grid is None else pixel_side_m(grid)
        spec.contract.check(encoding.bands, side, subject, encoding.units)
        pixels, encoding = to_units(pixels, valid, encoding, spec.contract.units)
    return EmbeddedImage(pixels, valid, encoding.scales, encoding.offsets, core)


def _without_vectors() -> pa.Schema:
    return schemas.EMBEDDINGS.remove(schemas.EMBEDDINGS.get_field_index("embedding"))


def _table(vectors: np.ndarray, columns: Mapping[str, Any] | pa.Table) -> pa.Table:
    # Rows of EMBEDDINGS, vectors (N, D) as lists of one length. columns: values, or arrays of N.
    count, length = vectors.shape
    if not isinstance(columns, pa.Table):
        values = {
            field.name: columns[field.name]
            if isinstance(columns.get(field.name), np.ndarray)
            else [columns.get(field.name)] * count
            for field in _without_vectors()
        }
        columns = pa.table(values, _without_vectors())
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    lists = pa.FixedSizeListArray.from_arrays(flat, length)
    field = schemas.EMBEDDINGS.field("embedding").with_type(lists.type)
    return columns.append_column(field, lists)
