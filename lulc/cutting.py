"""Cutting: the scenes of one block of tiles read once, masked, and kept as chips of the clearest dates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date
from itertools import groupby

import numpy as np

from lulc.bands import Resampling
from lulc.chips import Chip
from lulc.encoding import Encoding
from lulc.errors import InputError
from lulc.geo import Grid, Tiling
from lulc.pixels import read, read_bands
from lulc.scenes import Scene, SceneBand

LAYER = "layer"  # source of a raster without a date whose bands join every date


@dataclass(frozen=True)
class Recipe:
    """How a run cuts chips: `dates` dates a chip, `halo` pixels around it, `span` x `span` tiles read at once.

    layers: the bands that come from layers, not from scenes, and what fills their gaps. resampling: of continuous bands,
    bilinear where not said; class and quality bands are always taken from the nearest pixel.
    """

    tiling: Tiling
    encoding: Encoding
    dates: int = 1
    halo: int = 32
    span: int = 4
    layers: tuple[tuple[str, float | None], ...] = ()
    resampling: Resampling | None = None


@dataclass(frozen=True)
class Cut:
    """What became of a block: its chips, the ids of tiles without a valid pixel, and scene id → why it could not be read."""

    chips: tuple[Chip, ...]
    skipped: tuple[str, ...]
    bad: dict[str, str]


@dataclass(eq=False)
class _Image:
    """Scenes laid over each other: pixels (C, H, W), valid (H, W), and which scene gave which pixels."""

    pixels: np.ndarray
    valid: np.ndarray
    given: list[tuple[Scene, np.ndarray]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Date:
    """One date of one tile: the clear share of its core, its number in time, the scenes that gave pixels (C, H, W) and valid."""

    clear: float
    number: int
    scenes: tuple[Scene, ...]
    pixels: np.ndarray
    valid: np.ndarray


def cut(scenes: Iterable[Scene], recipe: Recipe, col: int, row: int, period: str) -> Cut:
    """The chips of the block whose top left tile is (col, row), from the scenes of one period.

    Scenes of one source and UTC day are one date, the first valid pixel in order of time and id winning. Each tile keeps its
    clearest dates, in order of time. A scene that cannot be read gives nothing to the block and is named in `bad`.
    """
    tiling, encoding = recipe.tiling, recipe.encoding
    grid = tiling.grid(col, row, recipe.halo, recipe.span)
    tiles = list(tiling.cells(tiling.grid(col, row, 0, recipe.span).bounds))
    best: dict[tuple[int, int], list[_Date]] = {tile: [] for tile in tiles}
    bad: dict[str, str] = {}
    ordered = sorted(scenes, key=_order)
    layers = [s for s in ordered if s.source == LAYER]
    grounds = [_ground([s for s in layers if s.band(name)], name, fill, grid, recipe, bad) for name, fill in recipe.layers]
    names = [n for n in encoding.bands if n not in dict(recipe.layers)]
    for number, (_, group) in enumerate(groupby((s for s in ordered if s.source != LAYER), _day)):
        image = _lay(group, names, grid, recipe, bad)
        for ground in grounds:
            image.valid &= ground.valid
        for tile in tiles if image.valid.any() else ():
            top, left = ((n - first) * tiling.size for n, first in zip(tile[::-1], (row, col), strict=True))
            side = tiling.size + 2 * recipe.halo
            _keep(best[tile], number, np.s_[top : top + side, left : left + side], [image, *grounds], recipe)
    chips = tuple(_assemble(tile, dates, recipe, period) for tile, dates in best.items() if dates)
    return Cut(chips, tuple(tiling.tile_id(*tile) for tile, dates in best.items() if not dates), bad)


def _day(scene: Scene) -> tuple[date, str]:
    return date.min if scene.datetime is None else scene.datetime.astimezone(UTC).date(), scene.source


def _order(scene: Scene) -> tuple[tuple[date, str], float, str]:
    return _day(scene), 0.0 if scene.datetime is None else scene.datetime.timestamp(), scene.scene_id


def _lay(scenes: Iterable[Scene], names: Sequence[str], grid: Grid, recipe: Recipe, bad: dict[str, str]) -> _Image:
    image = _Image(np.zeros((len(names), *grid.shape), recipe.encoding.dtype), np.zeros(grid.shape, bool))
    for scene in scenes:
        try:
            pixels, valid = _read_scene(scene, names, grid, recipe)
        except InputError as error:
            bad[scene.scene_id] = str(error)
            continue
        fresh = valid & ~image.valid
        if fresh.any():
            if image.given:
                np.copyto(image.pixels, pixels, where=fresh)
            else:
                image.pixels = pixels
            image.valid |= fresh
            image.given.append((scene, fresh))
        if image.valid.all():
            break
    return image


def _ground(scenes: Sequence[Scene], name: str, fill: float | None, grid: Grid, recipe: Recipe, bad: dict[str, str]) -> _Image:
    # A layer's band, its gaps filled where the run file says with what.
    image = _lay(scenes, [name], grid, recipe, bad)
    if fill is not None:
        image.pixels[0][~image.valid] = recipe.encoding.number(fill, name)
        image.valid[:] = True
    return image


def _read_scene(scene: Scene, names: Sequence[str], grid: Grid, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    bands = [b for name in names if (b := scene.band(name))]
    if len(bands) < len(names):
        missing = sorted(set(names) - {b.name for b in bands})
        raise InputError(f"scene {scene.scene_id} has no band {', '.join(missing)}: map its band names under scenes.bands")
    pixels, valid = np.zeros((len(names), *grid.shape), recipe.encoding.dtype), _usable(scene, grid)
    files: dict[str, list[SceneBand]] = {}
    for band in bands if valid.any() else ():
        files.setdefault(band.href, []).append(band)
    for href, held in files.items():
        found = read_bands(href, [(b.index, _resampling(b, recipe), b.nodata) for b in held], grid)
        for band, (values, good) in zip(held, found, strict=True):
            pixels[names.index(band.name)] = recipe.encoding.encode(values, band)
            valid &= good
    return pixels, valid


def _resampling(band: SceneBand, recipe: Recipe) -> Resampling:
    return (recipe.resampling or "bilinear") if band.kind == "continuous" else "nearest"


def _usable(scene: Scene, grid: Grid) -> np.ndarray:
    usable = np.ones(grid.shape, bool)
    for band in scene.quality:
        codes, known = read(band.href, band.index, grid, "nearest", band.nodata)
        usable &= known
        for test in (t for t in scene.clear if t.band == band.name):
            usable &= test.passes(codes)
    return usable


def _keep(dates: list[_Date], number: int, area: tuple[slice, slice], images: Sequence[_Image], recipe: Recipe) -> None:
    # Adds the first image's date to a tile's, and drops the least clear (of equals the latest) when there are too many.
    valid = images[0].valid[area]
    core = slice(recipe.halo, recipe.halo + recipe.tiling.size)
    clear = float(valid[core, core].mean())
    if clear == 0 or (len(dates) == recipe.dates and clear <= min(d.clear for d in dates)):
        return
    pixels = np.concatenate([image.pixels[:, *area] for image in images])
    names = [n for n in recipe.encoding.bands if n not in dict(recipe.layers)] + [n for n, _ in recipe.layers]
    pixels = pixels[[names.index(n) for n in recipe.encoding.bands]]
    pixels *= valid
    given = tuple(scene for image in images for scene, where in image.given if where[area].any())
    dates.append(_Date(clear, number, given, pixels, valid.copy()))
    dates.sort(key=lambda d: (-d.clear, d.number))
    del dates[recipe.dates :]


def _assemble(tile: tuple[int, int], dates: list[_Date], recipe: Recipe, period: str) -> Chip:
    tiling, encoding, halo = recipe.tiling, recipe.encoding, recipe.halo
    dates.sort(key=lambda d: d.number)
    side = tiling.size + 2 * halo
    pixels = np.zeros((recipe.dates, len(encoding.bands), side, side), encoding.dtype)
    valid = np.zeros((recipe.dates, side, side), bool)
    for t, one in enumerate(dates):
        pixels[t], valid[t] = one.pixels, one.valid
    taken = [min((s.datetime for s in one.scenes if s.datetime), default=None) for one in dates]
    return Chip(
        tile_id=tiling.tile_id(*tile),
        period=period,
        source="+".join(sorted({s.source for one in dates for s in one.scenes if s.source != LAYER})),
        scene_ids=tuple(dict.fromkeys(s.scene_id for one in dates for s in one.scenes)),
        datetimes=tuple(t for t in taken if t),
        grid=tiling.grid(*tile, halo),
        halo=halo,
        bands=encoding.bands,
        scales=encoding.scales,
        offsets=encoding.offsets,
        pixels=pixels,
        valid=valid,
        clear=float(valid.any(0)[halo : side - halo, halo : side - halo].mean()),
    )
