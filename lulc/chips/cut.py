"""Cutting: the scenes of one block of tiles read once, masked, and kept as chips of the clearest dates or of composites."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from lulc.bands import OBSERVATIONS
from lulc.chips.chip import Chip
from lulc.chips.composites import Interval
from lulc.chips.mosaic import LAYER, Area, ChipSpec, Mosaic, day_of, mosaic_dates, mosaic_layer
from lulc.sources.scene import Scene


@dataclass(frozen=True)
class Cut:
    """What became of a block: its chips, the ids of tiles without a valid pixel, and scene id → why it could not be read."""

    chips: tuple[Chip, ...]
    skipped: tuple[str, ...]
    bad: dict[str, str]


@dataclass(frozen=True, eq=False)
class _Date:
    """One date of one tile: the clear share of its core, its number in time, the scenes that gave pixels (C, H, W) and valid.

    taken: the moment it stands for, None where no scene says.
    """

    clear: float
    number: int
    scenes: tuple[Scene, ...]
    pixels: np.ndarray
    valid: np.ndarray
    taken: datetime | None


def cut_block(
    scenes: Iterable[Scene],
    recipe: ChipSpec,
    col: int,
    row: int,
    period: str,
    intervals: Sequence[Interval] = (),
) -> Cut:
    """The chips of the block whose top left tile is (col, row), from the scenes of one period.

    Scenes of one source and UTC day are one date, the first valid pixel in order of time and id winning. Each tile keeps its
    clearest dates, in order of time; or one composite of all, of each interval where there are any. A scene that cannot be read
    gives nothing to the block and is named in `bad`.
    """
    tiling = recipe.tiling
    grid = tiling.grid(col, row, recipe.halo, recipe.span)
    tiles = list(tiling.cells(tiling.grid(col, row, 0, recipe.span).bounds))
    side = tiling.size + 2 * recipe.halo
    corners = [((r - row) * tiling.size, (c - col) * tiling.size) for c, r in tiles]
    areas = [(slice(top, top + side), slice(left, left + side)) for top, left in corners]
    best: list[list[_Date]] = [[] for _ in tiles]
    bad: dict[str, str] = {}
    ordered = sorted(scenes, key=_order)
    layers = [s for s in ordered if s.source == LAYER]
    grounds = [
        mosaic_layer(layers, name, fill, grid, recipe, bad, areas) for name, fill in recipe.layers
    ]
    dated = [s for s in ordered if s.source != LAYER]
    for number, image in enumerate(mosaic_dates(dated, grid, recipe, intervals, bad, areas)):
        for ground in grounds:
            image.valid &= ground.valid
        for place, dates in enumerate(best if image.valid.any() else ()):
            _keep(dates, number, place, areas[place], [image, *grounds], recipe)
    chips = tuple(
        _assemble(t, dates, recipe, period, intervals)
        for t, dates in zip(tiles, best, strict=True)
        if dates
    )
    return Cut(
        chips,
        tuple(tiling.tile_id(*t) for t, dates in zip(tiles, best, strict=True) if not dates),
        bad,
    )


def _order(scene: Scene) -> tuple[tuple[date, str], float, str]:
    return (
        day_of(scene),
        0.0 if scene.datetime is None else scene.datetime.timestamp(),
        scene.scene_id,
    )


def _keep(
    dates: list[_Date],
    number: int,
    place: int,
    area: Area,
    images: Sequence[Mosaic],
    recipe: ChipSpec,
) -> None:
    # Adds the first image's date to a tile's, and drops the least clear (of equals the latest) when there are too many.
    most = recipe.dates if recipe.composite is None else number + 1
    valid = images[0].valid[area]
    core = slice(recipe.halo, recipe.halo + recipe.tiling.size)
    clear = float(valid[core, core].mean())
    if clear == 0 or (len(dates) == most and clear <= min(d.clear for d in dates)):
        return
    pixels = np.concatenate([image.pixels[:, *area] for image in images])
    names = [*recipe.measured, *({OBSERVATIONS} & set(recipe.encoding.bands)), *dict(recipe.layers)]
    pixels = pixels[[names.index(n) for n in recipe.encoding.bands]]
    pixels *= valid
    given = tuple(
        dict.fromkeys(scene for image in images for scene, where in image.given if where[place])
    )
    taken = images[0].taken or min((s.datetime for s in given if s.datetime), default=None)
    dates.append(_Date(clear, number, given, pixels, valid.copy(), taken))
    dates.sort(key=lambda d: (-d.clear, d.number))
    del dates[most:]


def _assemble(
    tile: tuple[int, int],
    dates: list[_Date],
    recipe: ChipSpec,
    period: str,
    intervals: Sequence[Interval],
) -> Chip:
    tiling, encoding, halo = recipe.tiling, recipe.encoding, recipe.halo
    dates.sort(key=lambda d: d.number)
    side = tiling.size + 2 * halo
    count = max(len(intervals), 1) if recipe.composite else recipe.dates
    pixels = np.zeros((count, len(encoding.bands), side, side), encoding.dtype)
    valid = np.zeros((count, side, side), bool)
    for t, one in enumerate(dates):
        # Each interval of a series keeps its place, also where another one is empty.
        pixels[one.number if intervals else t], valid[one.number if intervals else t] = (
            one.pixels,
            one.valid,
        )
    taken = [i.middle for i in intervals] or [one.taken for one in dates if one.taken]
    return Chip(
        tile_id=tiling.tile_id(*tile),
        period=period,
        source="+".join(
            sorted({s.source for one in dates for s in one.scenes if s.source != LAYER})
        ),
        scene_ids=tuple(dict.fromkeys(s.scene_id for one in dates for s in one.scenes)),
        datetimes=tuple(taken),
        grid=tiling.grid(*tile, halo),
        halo=halo,
        bands=encoding.bands,
        scales=encoding.scales,
        offsets=encoding.offsets,
        pixels=pixels,
        valid=valid,
        clear=float(valid.any(0)[halo : side - halo, halo : side - halo].mean()),
    )
