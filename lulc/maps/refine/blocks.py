"""Blocks of predictions, or of maps made elsewhere, to blocks of the map.

They are the unit of work of the refine stage.

A block is refined in a window that reaches into its neighbours as far as the steps look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from lulc.config import RefineConf
from lulc.errors import InputError
from lulc.geo.tiling import Tiling
from lulc.location import Location
from lulc.maps.prediction_row import PredictionRow
from lulc.maps.refine.sources import BlockWindow, MapSource, read_block
from lulc.maps.refine.steps import (
    MapWindow,
    empty_window,
    follow_rules,
    make_consistent,
    reach,
    refine_window,
)
from lulc.tables import arrays, schemas, store
from lulc.tables.files import open_parquet
from lulc.tables.layout import parse_block_key
from lulc.tables.ledger import LedgerRow, row_of_file

_BLOCKS = ("keys", "fingerprints", "paths")
_LAYERS = ("classes", "confidence", "probabilities")
_ARRAY = ("", "_shape", "_dtype", "_codec")
_PIXELS = [f"{name}{suffix}" for name in _LAYERS for suffix in _ARRAY]
_HEADER = ["tile_id", "period", "model", "legend", "scene_ids", "class_ids"]
_KEPT = ["training_distance", *(f"spread{suffix}" for suffix in _ARRAY)]
_GRID = ["crs", "transform", "height", "width"]


@dataclass(frozen=True)
class RefineSpec:
    """How a run's predictions, or maps made elsewhere, become its map."""

    out: Location
    """The output location."""
    settings: RefineConf
    tiling: Tiling
    """Of the run; its pixels are the squares where those were classified."""
    block: int
    """Side of a block in tiles."""
    periods: tuple[str, ...]
    """Names, in their order."""
    legend: tuple[tuple[int, str], ...]
    """Id and name of each class."""
    name: str = ""
    """Of the run."""
    sources: Mapping[str, Sequence[MapSource]] = field(default_factory=dict)
    """Maps made elsewhere, by period; none where predictions are refined."""

    @property
    def blocks_reached(self) -> int:
        """How many blocks on each side the steps look into."""
        return -(-reach(self.settings) // (self.block * self.tiling.size))


def refine_blocks(key: Mapping[str, Any], spec: RefineSpec) -> list[LedgerRow]:
    """Refine the blocks at one place, and publish their maps.

    Args:
        key: `keys`, `fingerprints` and `paths`, one a block: a period each. And `sources`: the
            predictions of these blocks and of those that the steps look into, relative to the
            output location; none where maps made elsewhere are refined.
        spec: how they are refined.

    Returns:
        The blocks' ledger rows; of one without any class, `empty`.

    Raises:
        InputError: predictions are damaged, or of several models, or hold no probabilities where
            those are smoothed; or as `sources.read_block` raises it.
    """
    cell = parse_block_key(key["keys"][0]).cell
    periods = (
        _read_maps(key["keys"], cell, spec)
        if spec.sources
        else _read_periods(key["sources"], cell, spec)
    )
    cores = _refine_periods(periods, cell, spec) if periods else {}
    ledger_rows = []
    for block, fingerprint, path in zip(*(key[n] for n in _BLOCKS), strict=True):
        period = parse_block_key(block).period
        if period not in periods:
            ledger_rows.append(LedgerRow("refine", block, fingerprint, "empty"))
            continue
        tiles = periods[period].tiles
        rows = [_make_row(tile, cores[period], cell, spec.tiling) for tile in tiles]
        footer = {
            "stage": "refine",
            "key": block,
            "fingerprint": fingerprint,
            "status": "done",
            "valid_pixels": sum(row.valid_pixels for row in rows),
            "path": path,
        }
        tables = (row.to_row() for row in rows)
        store.write_rows(spec.out / path, tables, schemas.ALL["refined"], footer)
        ledger_rows.append(row_of_file(spec.out, footer))
    return ledger_rows


def _read_maps(
    keys: Sequence[str], cell: tuple[int, int], spec: RefineSpec
) -> dict[str, BlockWindow]:
    # Those of all periods where periods are made consistent.
    own = {parse_block_key(key).period for key in keys}
    periods = [
        p for p in spec.periods if p in spec.sources and (spec.settings.transitions or p in own)
    ]
    blocks = {period: read_block(period, cell, spec) for period in periods}
    return {period: block for period, block in blocks.items() if block}


def _read_periods(
    sources: Sequence[str], cell: tuple[int, int], spec: RefineSpec
) -> dict[str, BlockWindow]:
    # Period → its tiles around a cell, in the order of the periods.
    margin, size = reach(spec.settings), spec.tiling.size
    origin = cell[1] * size - margin, cell[0] * size - margin
    readers: dict[str, _Reader] = {}
    kinds: set[Any] = set()
    for path in sources:
        with store.table_guard(spec.out / path), open_parquet(spec.out / path) as file:
            ids = file.read(["tile_id", "period"]).to_pylist()
            reader = readers.setdefault(ids[0]["period"], _Reader(spec, origin, margin, kinds))
            reader.read(file, [spec.tiling.parse(row["tile_id"]) for row in ids])
    in_order = ((period, readers[period]) for period in spec.periods if period in readers)
    return {
        period: BlockWindow(of_period.window, of_period.class_ids, tiles)
        for period, of_period in in_order
        if (tiles := of_period.tiles_of(cell))
    }


def _refine_periods(
    periods: Mapping[str, BlockWindow], cell: tuple[int, int], spec: RefineSpec
) -> dict[str, MapWindow]:
    settings, margin, names = spec.settings, reach(spec.settings), dict(spec.legend)
    cores = {
        period: refine_window(block.window, settings, block.class_ids).cut(margin)
        for period, block in periods.items()
    }
    # In the order of the probabilities, which is the model's.
    of_model = next(iter(periods.values())).class_ids
    legend = {
        class_id: names[class_id] for class_id in (*of_model, *sorted(names.keys() - of_model))
    }
    if settings.rules:
        grid = spec.tiling.grid(*cell, span=spec.block)
        cores = {p: follow_rules(core, settings, legend, grid) for p, core in cores.items()}
    if settings.transitions and len(cores) > 1:
        windows = make_consistent(list(cores.values()), settings.transitions, legend)
        cores = dict(zip(cores, windows, strict=True))
    return cores


class _Reader:
    """Fills a window of one period with the tiles of prediction files."""

    def __init__(
        self, spec: RefineSpec, origin: tuple[int, int], margin: int, kinds: set[Any]
    ) -> None:
        self.spec, self.origin = spec, origin
        self.side = spec.block * spec.tiling.size + 2 * margin
        self.window = empty_window(self.side, 0)
        self.class_ids: tuple[int, ...] = ()
        self._tiles: dict[tuple[int, int], dict[str, Any]] = {}
        self._kinds = kinds

    def read(self, file: pq.ParquetFile, cells: Sequence[tuple[int, int]]) -> None:
        """Paste what the window holds of a file's tiles."""
        for group, cell in enumerate(cells):
            if all(-self.spec.tiling.size < start < self.side for start in self._place(cell)):
                self._paste(file, group, cell)

    def tiles_of(self, cell: tuple[int, int]) -> list[dict[str, Any]]:
        """Return the rows without pixels of a block's tiles, in the order of their file."""
        span = self.spec.block
        return [
            tile
            for (col, row), tile in self._tiles.items()
            if 0 <= col - cell[0] < span and 0 <= row - cell[1] < span
        ]

    def _place(self, cell: tuple[int, int]) -> tuple[int, int]:
        size, (top, left) = self.spec.tiling.size, self.origin
        return cell[1] * size - top, cell[0] * size - left

    def _paste(self, file: pq.ParquetFile, group: int, cell: tuple[int, int]) -> None:
        # Files of earlier releases lack what is kept as it is.
        kept = [name for name in _KEPT if name in file.schema_arrow.names]
        tile = file.read_row_group(group, [*_HEADER, *_GRID, *_PIXELS, *kept]).to_pylist()[0]
        self._check(tile)
        row, col = self._place(cell)
        rows = slice(max(row, 0), row + tile["height"])
        cols = slice(max(col, 0), col + tile["width"])
        for name in _LAYERS[:2] if self.window.probabilities is None else _LAYERS:
            pixels = arrays.array_from(tile, name)[..., max(-row, 0) :, max(-col, 0) :]
            target = getattr(self.window, name)[..., rows, cols]
            target[...] = pixels[..., : target.shape[-2], : target.shape[-1]]
        self._tiles[cell] = {name: tile[name] for name in (*_HEADER, *_GRID, *kept)}

    def _check(self, tile: Mapping[str, Any]) -> None:
        # Blocks of before and after a change of the model or its settings do not make one map.
        percents = tile["probabilities_shape"]
        self._kinds.add((tile["model"], tile["height"], percents and percents[0]))
        if len(self._kinds) > 1 or tile["height"] != self.spec.tiling.size:
            raise InputError(
                f"predictions of {tile['model']} and others would be mixed in one map: run "
                "`lulc predict` to the end first"
            )
        if not self._tiles:
            self.class_ids = tuple(tile["class_ids"])
            self.window = empty_window(self.side, percents[0] if percents else 0)


def _make_row(
    tile: Mapping[str, Any], core: MapWindow, cell: tuple[int, int], tiling: Tiling
) -> PredictionRow:
    col, row = tiling.parse(tile["tile_id"])
    y, x = (row - cell[1]) * tiling.size, (col - cell[0]) * tiling.size
    area = np.s_[..., y : y + tile["height"], x : x + tile["width"]]
    percents = core.probabilities
    return PredictionRow(
        tile["tile_id"],
        tile["period"],
        tile["model"],
        tile["legend"],
        tuple(tile["scene_ids"] or ()),
        arrays.grid_from(tile),
        tuple(tile["class_ids"]),
        core.classes[area],
        core.confidence[area],
        None if percents is None else percents[area],
        arrays.array_from(tile, "spread") if tile.get("spread_shape") else None,
        tile.get("training_distance"),
    )
