"""Chip: pixels of one tile over T dates; to and from table rows and files, and what is made of chips without a model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numba import njit

from lulc import pixels, store, tables
from lulc.encoding import Encoding, choose_encoding
from lulc.errors import InputError
from lulc.geo import Grid
from lulc.tiling import make_tiling

__all__ = [
    "Chip",
    "Encoding",
    "about",
    "choose_encoding",
    "composite",
    "from_row",
    "make_tiling",
    "mosaic",
    "read_rows",
    "to_row",
    "write_block",
    "write_rows",
]

_PLAIN = ("tile_id", "period", "source", "scene_ids", "datetimes", "halo", "bands", "scales", "offsets", "clear")


@dataclass(frozen=True, eq=False)
class Chip:
    """Pixels (T, C, H, W) of one tile, 0 where not valid (T, H, W). `halo` pixels of margin around the tile's core are included.

    datetimes: of the dates that there are, in time order; T may be larger, its rest is not valid. Physical value = DN * scale +
    offset, one of each a band.
    """

    tile_id: str
    period: str
    source: str
    scene_ids: tuple[str, ...]
    datetimes: tuple[datetime, ...]
    grid: Grid
    halo: int
    bands: tuple[str, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    pixels: np.ndarray
    valid: np.ndarray
    clear: float

    @property
    def core(self) -> tuple[slice, slice]:
        """Rows and columns of the core."""
        height, width = self.grid.shape
        return slice(self.halo, height - self.halo), slice(self.halo, width - self.halo)


def to_row(chip: Chip) -> dict[str, Any]:
    """The chip as a row of the chips table."""
    row = {name: list(value) if isinstance(value := getattr(chip, name), tuple) else value for name in _PLAIN}
    row |= pixels.grid_columns(chip.grid) | pixels.array_columns("pixels", chip.pixels, "delta")
    return row | {"valid": pixels.pack(chip.valid)}


def from_row(row: Mapping[str, Any]) -> Chip:
    """The chip of a row of the chips table."""
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value := row[name], list) else value for name in _PLAIN}
    array = pixels.array_from(row, "pixels")
    dates, _, height, width = array.shape
    return Chip(**plain, grid=pixels.grid_from(row), pixels=array, valid=pixels.unpack(row["valid"], (dates, height, width)))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema, about: Mapping[str, Any]) -> None:
    """A Parquet file published at `path`: one row group a row, and `about` as JSON under the footer's key `lulc`."""
    # Pixels are differences already: a dictionary or statistics of them cost time and say nothing.
    keyed = [field.name for field in schema if not pa.types.is_binary(field.type)]
    options = {"compression": "zstd", "compression_level": 1, "use_dictionary": False, "write_statistics": keyed}

    def write(beside: Path) -> None:
        with pq.ParquetWriter(beside, schema.with_metadata({"lulc": json.dumps(about)}), **options) as writer:
            for row in rows:
                writer.write_table(pa.Table.from_pylist([dict(row)], schema))

    store.publish(path, write)


def write_block(path: Path, chips: Iterable[Chip], about: Mapping[str, Any]) -> None:
    """The chips of a block in one file, a row group each."""
    write_rows(path, map(to_row, chips), tables.CHIPS, about)


def about(path: Path) -> dict[str, Any]:
    """What the writer of a file of rows said of it in the footer; InputError where it is not such a file."""
    try:
        found: dict[str, Any] = json.loads(pq.read_schema(path).metadata[b"lulc"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} was not written whole by this project: delete it and run the stage that makes it") from error
    return found


def noted(out: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """The ledger row of a published unit, from what its writer said of it, with the checksum of its file if it has one."""
    given = {name: about[name] for name in ("status", "valid_pixels", "path") if name in about}
    path = given.get("path")
    return store.entry(about["stage"], about["key"], about["fingerprint"], checksum=path and store.checksum(out / path), **given)


def adopt(out: Path, path: str) -> dict[str, Any] | None:
    """The ledger row of a file that a killed run published but could not note; None where it is not there, or not whole."""
    try:
        return noted(out, about(out / path))
    except InputError:
        return None


def read_rows(
    path: Path | str, columns: Sequence[str] | None = None, groups: Sequence[int] | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of a file, one row group held at a time; some columns or row groups where given."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups) if groups is None else groups:
            yield from file.read_row_group(group, columns=list(columns) if columns else None).to_pylist()


def composite(pixels: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One image (C, H, W), 0 where not valid, and valid (H, W), of T dates (T, C, H, W): each band's median over valid dates.

    Of an even number of dates the lower middle one, so that every value was measured.
    """
    if len(pixels) == 1:
        return pixels[0], valid[0]
    out = np.zeros(pixels.shape[1:], pixels.dtype)
    _median(np.ascontiguousarray(pixels), np.ascontiguousarray(valid), out)
    return out, valid.any(0)


@njit(cache=True, nogil=True)
def _median(pixels, valid, out):  # type: ignore[no-untyped-def]
    dates, bands, height, width = pixels.shape
    line = np.empty(dates, pixels.dtype)
    for band in range(bands):
        for i in range(height):
            for j in range(width):
                n = 0
                for t in range(dates):
                    if valid[t, i, j]:
                        value = pixels[t, band, i, j]
                        at = n
                        while at > 0 and line[at - 1] > value:
                            line[at] = line[at - 1]
                            at -= 1
                        line[at] = value
                        n += 1
                if n:
                    out[band, i, j] = line[(n - 1) // 2]


def mosaic(chips: Sequence[Chip]) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Pixels (T, C, H, W), valid (T, H, W) and grid of all the chips' cores together; chips must be of one tiling."""
    cores = [chip.grid.pad(-chip.halo) for chip in chips]
    first = cores[0]
    places = []
    for grid in cores:
        move = ~first.affine @ grid.affine
        places.append((round(move.f), round(move.c)))
    top, left = (min(p[axis] for p in places) for axis in (0, 1))
    bottom, right = (max(p[axis] + g.shape[axis] for p, g in zip(places, cores, strict=True)) for axis in (0, 1))
    dates, bands = chips[0].pixels.shape[:2]
    out = np.zeros((dates, bands, bottom - top, right - left), chips[0].pixels.dtype)
    valid = np.zeros((dates, bottom - top, right - left), bool)
    for chip, (row, col), grid in zip(chips, places, cores, strict=True):
        area = np.s_[..., row - top : row - top + grid.height, col - left : col - left + grid.width]
        out[area], valid[area] = chip.pixels[..., *chip.core], chip.valid[..., *chip.core]
    return out, valid, first.window(top, left, bottom - top, right - left)
