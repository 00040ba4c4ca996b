"""Laying: the scenes of one place read and laid over each other, a date an image, or an image of many dates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby

import numpy as np

from lulc.bands import OBSERVATIONS, Band, Resampling
from lulc.chips import composites
from lulc.chips.composites import Interval
from lulc.config import CompositeConf
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.geo.tiling import Tiling
from lulc.raster.reader import read_band, read_bands
from lulc.sources import radar
from lulc.sources.scene import Scene
from lulc.tables.encoding import Encoding

LAYER = "layer"  # source of a raster without a date whose bands join every date

Area = tuple[slice, slice]

_STRIP = 256 << 20  # bytes of dates held at once while they become a composite


@dataclass(frozen=True)
class ChipSpec:
    """How a run cuts chips: `dates` dates a chip (or a composite of all), `halo` pixels around, `span` x `span` tiles at once.

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
    composite: CompositeConf | None = None

    @property
    def measured(self) -> list[str]:
        """The bands that scenes have."""
        return [n for n in self.encoding.bands if n not in dict(self.layers) and n != OBSERVATIONS]


@dataclass(eq=False)
class Mosaic:
    """Scenes laid over each other: pixels (C, H, W), valid (H, W), and which scene gave pixels to which of the areas asked for.

    taken: the moment of a composite; else it is that of the scenes.
    """

    pixels: np.ndarray
    valid: np.ndarray
    given: list[tuple[Scene, np.ndarray]] = field(default_factory=list)
    taken: datetime | None = None


def mosaic_dates(
    scenes: Sequence[Scene],
    grid: Grid,
    recipe: ChipSpec,
    intervals: Sequence[Interval],
    bad: dict[str, str],
    areas: Sequence[Area],
) -> Iterable[Mosaic]:
    """An image of every date, of scenes in order of time; or the composites that the recipe asks for, one an interval.

    areas: rows and columns for which `given` says which scene gave pixels. A scene that cannot be read gives nothing and goes
    to `bad`, id → error.
    """
    if recipe.composite is None:
        return (
            mosaic_scenes(group, recipe.measured, grid, recipe, bad, areas)
            for _, group in groupby(scenes, day_of)
        )
    while True:
        known = set(bad)
        found = _compose(
            [s for s in scenes if s.scene_id not in known], grid, recipe, intervals, bad, areas
        )
        # A scene that fails in a later strip has given pixels to the first: it must give none.
        if set(bad) == known:
            return found


def _compose(
    scenes: Sequence[Scene],
    grid: Grid,
    recipe: ChipSpec,
    intervals: Sequence[Interval],
    bad: dict[str, str],
    areas: Sequence[Area],
) -> list[Mosaic]:
    # One image an interval, made strip by strip: memory depends on the block, not on how many dates there are.
    conf, encoding, names = recipe.composite, recipe.encoding, recipe.measured
    assert conf is not None
    dates = [(day, list(group)) for (day, _), group in groupby(scenes, day_of)]
    spans = [[g for day, g in dates if i.start <= day <= i.end] for i in intervals] or [
        [g for _, g in dates]
    ]
    counted = int(OBSERVATIONS in encoding.bands)
    shape = (len(spans), len(names), *grid.shape)
    pixels, valid = np.zeros(shape, encoding.dtype), np.zeros((len(spans), *grid.shape), bool)
    counts = np.zeros((len(spans), counted, *grid.shape), encoding.dtype)
    given: list[list[tuple[Scene, np.ndarray]]] = [[] for _ in spans]
    # Rows of an area that lie outside of the strip are an empty slice.
    most = max(map(len, spans)) * len(names) * grid.width * np.dtype(encoding.dtype).itemsize
    step = max(1, min(grid.height, _STRIP // max(most, 1)))
    for top in range(0, grid.height, step):
        part = grid.window(top, 0, min(step, grid.height - top), grid.width)
        strip = np.s_[..., top : top + part.height, :]
        inside = [
            (slice(max(rows.start - top, 0), max(rows.stop - top, 0)), cols) for rows, cols in areas
        ]
        for number, groups in enumerate(spans):
            images = [mosaic_scenes(group, names, part, recipe, bad, inside) for group in groups]
            stack = np.array([i.pixels for i in images]).reshape(-1, len(names), *part.shape)
            seen = np.array([i.valid for i in images], bool).reshape(-1, *part.shape)
            pixels[number][strip], count = composites.compose(stack, seen, names, encoding, conf)
            valid[number][strip] = count > 0
            counts[number][strip] = count.clip(max=255)
            for image in images:
                given[number] += image.given
        if conf.fill != "none":
            days = np.array([i.middle.timestamp() for i in intervals])
            composites.fill_gaps(pixels[strip], valid[strip], days, conf.fill == "linear")
    middles: list[datetime | None] = [i.middle for i in intervals] or [None]
    return [
        Mosaic(np.concatenate([p, c]), v, g, m)
        for p, c, v, g, m in zip(pixels, counts, valid, given, middles, strict=True)
    ]


def day_of(scene: Scene) -> tuple[date, str]:
    """UTC day and source: scenes that share them are one date."""
    return date.min if scene.datetime is None else scene.datetime.astimezone(
        UTC
    ).date(), scene.source


def mosaic_scenes(
    scenes: Iterable[Scene],
    names: Sequence[str],
    grid: Grid,
    recipe: ChipSpec,
    bad: dict[str, str],
    areas: Sequence[Area],
) -> Mosaic:
    image = Mosaic(
        np.zeros((len(names), *grid.shape), recipe.encoding.dtype), np.zeros(grid.shape, bool)
    )
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
            image.given.append((scene, np.array([fresh[area].any() for area in areas])))
        if image.valid.all():
            break
    return image


def mosaic_layer(
    layers: Sequence[Scene],
    name: str,
    fill: float | None,
    grid: Grid,
    recipe: ChipSpec,
    bad: dict[str, str],
    areas: Sequence[Area],
) -> Mosaic:
    """A layer's band, its gaps filled where the run file says with what."""
    image = mosaic_scenes([s for s in layers if s.band(name)], [name], grid, recipe, bad, areas)
    if fill is not None:
        image.pixels[0][~image.valid] = recipe.encoding.number(fill, name)
        image.valid[:] = True
    return image


def _read_scene(
    scene: Scene, names: Sequence[str], grid: Grid, recipe: ChipSpec
) -> tuple[np.ndarray, np.ndarray]:
    bands = [b for name in names if (b := scene.band(name))]
    if len(bands) < len(names):
        missing = sorted(set(names) - {b.name for b in bands})
        raise InputError(
            f"scene {scene.scene_id} has no band {', '.join(missing)}: map its band names under scenes.bands"
        )
    pixels, valid = np.zeros((len(names), *grid.shape), recipe.encoding.dtype), _usable(scene, grid)
    files: dict[str, list[Band]] = {}
    for band in bands if valid.any() else ():
        files.setdefault(band.href, []).append(band)
    for href, held in files.items():
        if held[0].calibration:
            found = [
                radar.read_backscatter(href, b.calibration, grid, _resampling(b, recipe))
                for b in held
            ]
        else:
            found = read_bands(
                href, [(b.index, _resampling(b, recipe), b.nodata) for b in held], grid
            )
        for band, (values, good) in zip(held, found, strict=True):
            pixels[names.index(band.name)] = recipe.encoding.encode(values, band)
            valid &= good
    return pixels, valid


def _resampling(band: Band, recipe: ChipSpec) -> Resampling:
    return (recipe.resampling or "bilinear") if band.kind == "continuous" else "nearest"


def _usable(scene: Scene, grid: Grid) -> np.ndarray:
    usable = np.ones(grid.shape, bool)
    for band in scene.quality:
        codes, known = read_band(band.href, band.index, grid, "nearest", band.nodata)
        usable &= known
        for test in (t for t in scene.clear if t.band == band.name):
            usable &= test.passes(codes)
    return usable
