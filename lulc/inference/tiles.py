"""Tiles of a run, mapped one by one by a registered model, as the stage predict maps them."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, lru_cache, partial

from lulc.chips.extent import block_of_tile
from lulc.chips.tiling import make_tiling
from lulc.config import Config
from lulc.errors import InputError, UsageError
from lulc.inference import blocks
from lulc.inference.blocks import InferenceSpec
from lulc.inference.suitability import check_model
from lulc.location import Location
from lulc.maps.prediction_row import PredictionRow
from lulc.models.contract import read_contract
from lulc.models.package import CONTRACT, ModelRef
from lulc.models.registry import resolve
from lulc.tables.layout import BlockKey
from lulc.tables.ledger import LatestRows, read_latest

_KEPT_BLOCKS = 8
"""Tiles of a block are asked for one after the other, or nearly so."""


def find_model(out: Location, config: Config, name: str | None) -> ModelRef:
    """Find a model that can give the pixels of a run's tiles classes.

    Args:
        out: the run's output location.
        config: the run.
        name: as of `TileMapper.map_tile`.

    Raises:
        UsageError: the name is an address, or no name of a model.
        InputError: there is no such model, or its bands, classes or task are not the run's.
    """
    if name and "://" in name:
        raise UsageError(f"model {name!r} is an address: give the name of a registered model")
    address = name or config.predict.model or config.name
    model = resolve(address, out, config.tracking.uri)
    check_model(config, model)
    task = read_contract(model.folder / CONTRACT).task
    if blocks.table_of(task) != "predictions":
        raise InputError(
            f"model {model.name} is for task {task}, which gives a pixel no class: "
            "give a model for segment, series, change or classify"
        )
    return model


class TileMapper:
    """Maps tiles of a run; a tile's block is mapped as a whole, and kept for its other tiles."""

    def __init__(self, out: Location, config: Config, probabilities: bool = False) -> None:
        """Map tiles of a run.

        Args:
            out: the run's output location.
            config: the run.
            probabilities: keep the percentages of all classes.
        """
        self._out, self._config = out, config
        self._settings = replace(config.predict, probabilities=probabilities)
        self._tiling = make_tiling(config)
        self._model = lru_cache(partial(find_model, out, config))
        self._block = lru_cache(_KEPT_BLOCKS)(self._map_block)

    def map_tile(self, model: str | None, tile_id: str, period: str) -> PredictionRow:
        """Return the classes of a tile's core.

        Args:
            model: its name in the registry, as `lulc.models.registry.resolve` takes it; None: the
                one that the run maps with.
            tile_id: `<tiling>/<col>_<row>`.
            period: name of the period.

        Raises:
            UsageError: the tile is of another tiling, or as `find_model` raises.
            InputError: as `find_model` raises, or the tile has no chip that is as it was written.
        """
        spec = InferenceSpec(self._out, self._model(model), self._settings)
        cell = block_of_tile(tile_id, self._tiling, self._config.tiling.block)
        rows = self._block(spec, str(BlockKey(period, self._tiling.name, *cell)))
        if tile_id not in rows:
            raise InputError(f"{self._out} has no chip of tile {tile_id!r} in period {period!r}")
        return rows[tile_id]

    @cached_property
    def _chips(self) -> LatestRows:
        return read_latest(self._out, "tile")

    def _map_block(self, spec: InferenceSpec, key: str) -> dict[str, PredictionRow]:
        # With torch, which finding a model does without.
        from lulc.inference.block_images import read_images
        from lulc.models.device import choose_device

        row = self._chips.get(key)
        if row is None or row.path is None:
            return {}
        location = self._out / row.path
        if fault := blocks.find_fault(location, row.checksum):
            raise InputError(f"chips {row.path} {fault}: run `lulc tile` again")
        predictor = blocks.load_predictor(spec.model, choose_device())
        rows = blocks.map_images(read_images(location, predictor, spec), predictor, spec)
        return {row.tile_id: row for row in rows if isinstance(row, PredictionRow)}
