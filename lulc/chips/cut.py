"""Chips of one block of tiles.

The block's scenes are read once and masked; each tile keeps its clearest dates, or composites.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from lulc.bands import OBSERVATIONS
from lulc.chips import features
from lulc.chips.chip import Chip
from lulc.chips.composites import Interval
from lulc.chips.mosaic import (
    Area,
    ChipSpec,
    Mosaic,
    MosaicTarget,
    mosaic_dates,
    mosaic_layer,
)
from lulc.geo.ground import ground_steps
from lulc.sources.acquisition import in_order
from lulc.sources.scene import LAYER, Scene

GROUND_SQUARE = 16
"""Side in pixels of the squares in which the ground's scale is taken as one. It divides every tile
and halo, so that terrain does not depend on them."""


@dataclass(frozen=True)
class Cut:
    """What cutting a block gave."""

    chips: tuple[Chip, ...]
    skipped: tuple[str, ...]
    """Ids of the tiles without a valid pixel."""
    unreadable: dict[str, str]
    """Scene id → error."""


@dataclass(frozen=True, eq=False)
class _TileDate:
    """One date of one tile."""

    number: int
    """Position among the block's dates, in order of time; of a composite, among the intervals."""
    clear: float
    """Share of the core that is valid."""
    scenes: tuple[Scene, ...]
    """The scenes that gave pixels."""
    pixels: np.ndarray
    """(C, H, W), 0 where not valid."""
    valid: np.ndarray
    """(H, W) bool."""
    acquired: datetime | None
    """None where no scene has a date."""


@dataclass(frozen=True)
class _Tile:
    """A tile of the block, and the dates it keeps so far."""

    cell: tuple[int, int]
    """Column and row in the tiling."""
    position: int
    """Among the block's tiles."""
    area: Area
    """Rows and columns of the tile with its halo in the block."""
    dates: list[_TileDate] = field(default_factory=list)


def cut_block(
    scenes: Iterable[Scene],
    spec: ChipSpec,
    col: int,
    row: int,
    period: str,
    intervals: Sequence[Interval] = (),
    first_year: int | None = None,
) -> Cut:
    """Cut the chips of one block out of the scenes of one period.

    Scenes of one solar day, platform and level are one date, the first valid pixel in order of time
    winning. Each tile keeps its clearest dates, in order of time; or one composite of all dates, or
    one of each interval. A scene that cannot be read gives nothing to the block.

    Args:
        scenes: all that reach the block, layers among them, in any order.
        spec: what the chips are.
        col: column of the block's top left tile.
        row: row of the block's top left tile.
        period: the period's name.
        intervals: of a series of composites.
        first_year: the year that features of days count from.
    """
    tiling = spec.tiling
    tiles = _tiles_of(spec, col, row)
    target = MosaicTarget(
        grid=tiling.grid(col, row, spec.halo, spec.span),
        bands=tuple(spec.measured),
        areas=tuple(tile.area for tile in tiles),
        spec=spec,
        first_year=first_year,
    )
    ordered = in_order(scenes)
    layers = [scene for scene in ordered if scene.is_layer]
    dated = [scene for scene in ordered if not scene.is_layer]
    layer_mosaics = [mosaic_layer(layers, *layer, target) for layer in spec.layers]
    unreadable = {name: error for m in layer_mosaics for name, error in m.unreadable.items()}
    of_layers = _features_of_layers(layer_mosaics, target)
    for number, mosaic in enumerate(mosaic_dates(dated, target, intervals)):
        unreadable |= mosaic.unreadable
        for layer_mosaic in layer_mosaics:
            mosaic.valid &= layer_mosaic.valid
        for tile in tiles if mosaic.valid.any() else ():
            _add_date(tile, number, [mosaic, *layer_mosaics, *of_layers], spec)
    return Cut(
        tuple(_make_chip(tile, spec, period, intervals) for tile in tiles if tile.dates),
        tuple(tiling.tile_id(*tile.cell) for tile in tiles if not tile.dates),
        unreadable,
    )


def _features_of_layers(layers: Sequence[Mosaic], target: MosaicTarget) -> list[Mosaic]:
    # The features of layers, as one more mosaic of the block; none without such features.
    spec = target.spec
    names = [name for name, _ in spec.layers]
    wanted = features.of_layers(spec.features, names)
    if not wanted:
        return []
    arrays = {n: (m.pixels[0], m.valid) for n, m in zip(names, layers, strict=True)}
    ground = ground_steps(target.grid, GROUND_SQUARE)
    pixels = features.compute_of_layers(wanted, arrays, spec.encoding, ground)
    return [Mosaic(pixels, np.ones(target.grid.shape, bool))]


def _tiles_of(spec: ChipSpec, col: int, row: int) -> list[_Tile]:
    tiling = spec.tiling
    side = tiling.size + 2 * spec.halo
    tiles: list[_Tile] = []
    for tile_col, tile_row in tiling.cells(tiling.grid(col, row, 0, spec.span).bounds):
        top, left = (tile_row - row) * tiling.size, (tile_col - col) * tiling.size
        area = slice(top, top + side), slice(left, left + side)
        tiles.append(_Tile((tile_col, tile_row), len(tiles), area))
    return tiles


def _add_date(tile: _Tile, number: int, mosaics: Sequence[Mosaic], spec: ChipSpec) -> None:
    """Add a date to a tile, unless the tile is full and none of its dates is less clear.

    Of one date too many the least clear is dropped, of equals the latest.

    Args:
        tile: written to.
        number: the date's position in time.
        mosaics: of the date, then of each layer.
        spec: says how many dates a chip has; of composites all are kept.
    """
    limit = spec.dates if spec.composite is None else number + 1
    valid = mosaics[0].valid[tile.area]
    core = slice(spec.halo, spec.halo + spec.tiling.size)
    clear = float(valid[core, core].mean())
    full = len(tile.dates) == limit
    if clear == 0 or (full and clear <= min(tile_date.clear for tile_date in tile.dates)):
        return
    contributors = dict.fromkeys(
        scene
        for mosaic in mosaics
        for scene, gave_pixels in mosaic.contributions
        if gave_pixels[tile.position]
    )
    first = min((scene.datetime for scene in contributors if scene.datetime), default=None)
    acquired = mosaics[0].acquired or first
    pixels = _cut_pixels(mosaics, tile.area, spec)
    pixels *= valid
    tile.dates.append(_TileDate(number, clear, tuple(contributors), pixels, valid.copy(), acquired))
    tile.dates.sort(key=lambda tile_date: (-tile_date.clear, tile_date.number))
    del tile.dates[limit:]


def _cut_pixels(mosaics: Sequence[Mosaic], area: Area, spec: ChipSpec) -> np.ndarray:
    # (C, H, W) of an area of a date's mosaic and of the layers', bands in the encoding's order.
    # Features of images follow when the chip is made.
    bands, layers = spec.encoding.bands, list(dict(spec.layers))
    mosaic_bands = [
        *spec.measured,
        *(feature.name for feature in features.over_dates(spec.features)),
        *({OBSERVATIONS} & set(bands)),
        *layers,
        *(feature.name for feature in features.of_layers(spec.features, layers)),
    ]
    cut = np.concatenate([mosaic.pixels[:, *area] for mosaic in mosaics])
    pixels = np.zeros((len(bands), *cut.shape[1:]), cut.dtype)
    pixels[[bands.index(band) for band in mosaic_bands]] = cut
    return pixels


def _make_chip(tile: _Tile, spec: ChipSpec, period: str, intervals: Sequence[Interval]) -> Chip:
    tiling, encoding, halo = spec.tiling, spec.encoding, spec.halo
    dates = sorted(tile.dates, key=lambda tile_date: tile_date.number)
    pixels, valid = _stack_dates(dates, spec, intervals)
    core = slice(halo, halo + tiling.size)
    moments = [interval.middle for interval in intervals] or [
        tile_date.acquired for tile_date in dates if tile_date.acquired
    ]
    scenes = [scene for tile_date in dates for scene in tile_date.scenes]
    return Chip(
        tile_id=tiling.tile_id(*tile.cell),
        period=period,
        source="+".join(sorted({scene.source for scene in scenes} - {LAYER})),
        scene_ids=tuple(dict.fromkeys(scene.scene_id for scene in scenes)),
        datetimes=tuple(moments),
        grid=tiling.grid(*tile.cell, halo),
        halo=halo,
        bands=encoding.bands,
        scales=encoding.scales,
        offsets=encoding.offsets,
        units=encoding.units,
        pixels=pixels,
        valid=valid,
        clear=float(valid.any(0)[core, core].mean()),
    )


def _stack_dates(
    dates: Sequence[_TileDate], spec: ChipSpec, intervals: Sequence[Interval]
) -> tuple[np.ndarray, np.ndarray]:
    # Pixels (T, C, H, W) and valid (T, H, W) of a chip.
    side = spec.tiling.size + 2 * spec.halo
    count = max(len(intervals), 1) if spec.composite else spec.dates
    pixels = np.zeros((count, len(spec.encoding.bands), side, side), spec.encoding.dtype)
    valid = np.zeros((count, side, side), bool)
    of_images = features.of_images(spec.features, dict(spec.layers))
    for n, tile_date in enumerate(dates):
        # Each interval of a series has its fixed position, also where another one is empty.
        t = tile_date.number if intervals else n
        pixels[t], valid[t] = tile_date.pixels, tile_date.valid
        features.compute_of_image(of_images, pixels[t], valid[t], spec.encoding)
    return pixels, valid
