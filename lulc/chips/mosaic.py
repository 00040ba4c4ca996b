"""Mosaics: the scenes of one date, or of many, on one grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import numpy as np

from lulc.bands import OBSERVATIONS, Band, Resampling
from lulc.chips import composites, features
from lulc.chips.composites import Interval
from lulc.config import CompositeConf
from lulc.errors import InputError
from lulc.features.feature import Feature
from lulc.geo.grid import Grid, centre_longitude
from lulc.geo.tiling import Tiling
from lulc.guard import read_guard
from lulc.raster.reader import read_band, read_bands
from lulc.sources import embeddings, radar
from lulc.sources.acquisition import group_images
from lulc.sources.scene import Scene, whole_codes
from lulc.tables.encoding import Encoding

Area = tuple[slice, slice]
"""Rows and columns of a part of a grid."""

STRIP_BYTES = 256 << 20
"""Bytes of dates in memory at once while they become a composite."""


@dataclass(frozen=True)
class ChipSpec:
    """What the chips of a run are."""

    tiling: Tiling
    encoding: Encoding
    dates: int = 1
    """Dates of a chip, unless it is a composite of all of them."""
    halo: int = 32
    """Margin on every side of a tile, in pixels."""
    span: int = 4
    """A block, the unit of work, is `span` x `span` tiles."""
    layers: tuple[tuple[str, float | None], ...] = ()
    """The bands that come from layers, not from scenes, and the value that fills their gaps."""
    resampling: Resampling | None = None
    """Of continuous bands, bilinear by default; class and quality bands are always resampled by
    nearest neighbour."""
    composite: CompositeConf | None = None
    features: tuple[Feature, ...] = ()
    """The bands that are computed of the others."""

    @property
    def measured(self) -> list[str]:
        """The bands that scenes have."""
        of_features = [feature.name for feature in self.features]
        computed = {OBSERVATIONS, *dict(self.layers), *of_features}
        return [name for name in self.encoding.bands if name not in computed]


@dataclass(frozen=True)
class MosaicTarget:
    """Where scenes are mosaicked, and which bands of them."""

    grid: Grid
    bands: tuple[str, ...]
    areas: tuple[Area, ...]
    """Parts of the grid, its tiles, for which a mosaic tells which scenes gave pixels."""
    spec: ChipSpec
    first_year: int | None = None
    """The year that features of days count from."""

    def strip(self, top: int, height: int) -> MosaicTarget:
        """Return the target of some of the grid's rows; an area outside of them becomes empty."""
        grid = self.grid.window(top, 0, height, self.grid.width)
        areas = tuple(
            (slice(max(rows.start - top, 0), max(rows.stop - top, 0)), cols)
            for rows, cols in self.areas
        )
        return replace(self, grid=grid, areas=areas)


@dataclass(eq=False)
class Mosaic:
    """One image made of several scenes."""

    pixels: np.ndarray
    """(C, H, W) in the encoding's dtype; what is not valid has no meaning."""
    valid: np.ndarray
    """(H, W) bool."""
    contributions: list[tuple[Scene, np.ndarray]] = field(default_factory=list)
    """The scenes that gave pixels, each with whether it gave any to each of the target's areas."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Scene id → error. Composites of one period share it."""
    acquired: datetime | None = None
    """The moment of a composite; of a single date it is that of its scenes."""

    @classmethod
    def empty(cls, target: MosaicTarget) -> Mosaic:
        """Return a mosaic of the target without a valid pixel."""
        shape = (len(target.bands), *target.grid.shape)
        return cls(np.zeros(shape, target.spec.encoding.dtype), np.zeros(target.grid.shape, bool))

    def fill(
        self, scene: Scene, pixels: np.ndarray, valid: np.ndarray, areas: Iterable[Area]
    ) -> None:
        """Take the pixels (C, H, W) that are valid (H, W) where the mosaic is not yet."""
        added = valid & ~self.valid
        if not added.any():
            return
        if self.contributions:
            np.copyto(self.pixels, pixels, where=added)
        else:
            self.pixels = pixels
        self.valid |= added
        self.contributions.append((scene, np.array([added[area].any() for area in areas])))


def mosaic_dates(
    scenes: Sequence[Scene], target: MosaicTarget, intervals: Sequence[Interval]
) -> Iterable[Mosaic]:
    """Mosaic each date of some scenes, or composite the dates where the run asks for composites.

    Args:
        scenes: in any order.
        target: grid and bands of the mosaics.
        intervals: the intervals of a series of composites; none for one composite of all dates.

    Returns:
        One mosaic a date, made lazily; or one composite an interval.
    """
    if target.spec.composite is None:
        images = group_images(scenes, centre_longitude(target.grid))
        return (mosaic_scenes(group, target) for _, group in images)
    return _composite_readable(scenes, target, intervals)


def mosaic_scenes(scenes: Iterable[Scene], target: MosaicTarget) -> Mosaic:
    """Mosaic the scenes of one date; the first valid pixel in the order of scenes wins.

    Returns:
        The mosaic. A scene that cannot be read gives nothing to it and is in `unreadable`.
    """
    mosaic = Mosaic.empty(target)
    for scene in scenes:
        try:
            with read_guard(f"scene {scene.scene_id}"):
                pixels, valid = _read_scene(scene, target)
        except InputError as error:
            mosaic.unreadable[scene.scene_id] = str(error)
            continue
        mosaic.fill(scene, pixels, valid, target.areas)
        if mosaic.valid.all():
            break
    return mosaic


def mosaic_layer(
    layers: Sequence[Scene], band: str, gap_value: float | None, target: MosaicTarget
) -> Mosaic:
    """Mosaic one band of the layers that have it.

    Args:
        layers: in order of precedence.
        band: the layers' band; the target's own bands do not count.
        gap_value: physical value of pixels without data; None leaves them invalid.
        target: grid and areas of the mosaic.
    """
    having_band = [layer for layer in layers if layer.band(band)]
    mosaic = mosaic_scenes(having_band, replace(target, bands=(band,)))
    if gap_value is not None:
        mosaic.pixels[0][~mosaic.valid] = target.spec.encoding.number(gap_value, band)
        mosaic.valid[:] = True
    return mosaic


def _composite_readable(
    scenes: Sequence[Scene], target: MosaicTarget, intervals: Sequence[Interval]
) -> list[Mosaic]:
    """Return one composite an interval, made of the scenes that can be read in every strip."""
    unreadable: dict[str, str] = {}
    while True:
        readable = [scene for scene in scenes if scene.scene_id not in unreadable]
        mosaics = _composite_scenes(readable, target, intervals)
        errors = {name: text for m in mosaics for name, text in m.unreadable.items()}
        if not errors:
            return [replace(mosaic, unreadable=unreadable) for mosaic in mosaics]
        # A scene that fails in a later strip has given pixels to the first: it must give none.
        unreadable |= errors


def _composite_scenes(
    scenes: Sequence[Scene], target: MosaicTarget, intervals: Sequence[Interval]
) -> list[Mosaic]:
    """Return one composite an interval, made strip by strip.

    Memory depends on the block, not on how many dates there are.
    """
    composite, encoding = target.spec.composite, target.spec.encoding
    assert composite is not None
    groups = group_images(scenes, centre_longitude(target.grid))
    interval_dates = _dates_of_intervals(groups, intervals)
    count = len(interval_dates)
    # Of the bands of a composite the first have dates: those of scenes, and features of all dates.
    dated = len(target.bands) + len(features.over_dates(target.spec.features))
    counted = int(OBSERVATIONS in encoding.bands)
    pixels = np.zeros((count, dated + counted, *target.grid.shape), encoding.dtype)
    valid = np.zeros((count, *target.grid.shape), bool)
    middles: list[datetime | None] = [interval.middle for interval in intervals] or [None]
    mosaics = [
        Mosaic(image, image_valid, acquired=middle)
        for image, image_valid, middle in zip(pixels, valid, middles, strict=True)
    ]
    for rows, strip in _strips(target, max(map(len, interval_dates))):
        for mosaic, dates in zip(mosaics, interval_dates, strict=True):
            images = [mosaic_scenes(group, strip) for _, group in dates]
            _composite_strip(mosaic, rows, images, [day for day, _ in dates], strip)
    if composite.fill != "none":
        times = np.array([interval.middle.timestamp() for interval in intervals])
        composites.fill_gaps(pixels[:, :dated], valid, times, composite.fill == "linear")
    return mosaics


def _composite_strip(
    mosaic: Mosaic,
    rows: slice,
    images: Sequence[Mosaic],
    days: Sequence[date],
    strip: MosaicTarget,
) -> None:
    # Writes the composite of some dates' images, which are of these rows alone, and the features of
    # these dates into the mosaic.
    spec, measured = strip.spec, len(strip.bands)
    assert spec.composite is not None
    pixels = np.array([image.pixels for image in images])
    pixels = pixels.reshape(-1, measured, *strip.grid.shape)
    valid = np.array([image.valid for image in images], bool).reshape(-1, *strip.grid.shape)
    mosaic.pixels[:measured, rows], count = composites.compose(
        pixels, valid, strip.bands, spec.encoding, spec.composite
    )
    dated = features.over_dates(spec.features)
    if dated:
        dates = features.Dates(pixels, valid, strip.bands, spec.encoding, days, strip.first_year)
        mosaic.pixels[measured : measured + len(dated), rows] = features.compute_over_dates(
            dated, dates
        )
    mosaic.pixels[measured + len(dated) :, rows] = count.clip(max=255)
    mosaic.valid[rows] = count > 0
    for image in images:
        mosaic.contributions += image.contributions
        mosaic.unreadable |= image.unreadable


def _dates_of_intervals(
    groups: Sequence[tuple[date, list[Scene]]], intervals: Sequence[Interval]
) -> list[list[tuple[date, list[Scene]]]]:
    # The dates of each interval, or all of them; each date with its scenes.
    if not intervals:
        return [list(groups)]
    return [[(day, group) for day, group in groups if i.start <= day <= i.end] for i in intervals]


def _strips(target: MosaicTarget, dates: int) -> Iterator[tuple[slice, MosaicTarget]]:
    # Strips of the target, each with its rows, as high as memory allows for that many dates.
    grid = target.grid
    itemsize = np.dtype(target.spec.encoding.dtype).itemsize
    row_bytes = dates * len(target.bands) * grid.width * itemsize
    step = max(1, min(grid.height, STRIP_BYTES // max(row_bytes, 1)))
    for top in range(0, grid.height, step):
        strip = target.strip(top, min(step, grid.height - top))
        yield slice(top, top + strip.grid.height), strip


def _read_scene(scene: Scene, target: MosaicTarget) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (C, H, W) of the target's bands and valid (H, W)."""
    bands = [band for name in target.bands if (band := scene.band(name))]
    if len(bands) < len(target.bands):
        missing = sorted(set(target.bands) - {band.name for band in bands})
        raise InputError(
            f"scene {scene.scene_id} has no band {', '.join(missing)}: "
            "map its band names under scenes.bands"
        )
    grid, encoding = target.grid, target.spec.encoding
    pixels = np.zeros((len(target.bands), *grid.shape), encoding.dtype)
    valid = _valid_pixels(scene, grid)
    file_bands: dict[str, list[Band]] = {}
    for band in bands if valid.any() else ():
        file_bands.setdefault(band.href, []).append(band)
    for href, bands_of_file in file_bands.items():
        arrays = _read_file(href, bands_of_file, target)
        for band, (values, band_valid) in zip(bands_of_file, arrays, strict=True):
            pixels[target.bands.index(band.name)] = encoding.encode(values, band)
            valid &= band_valid
    return pixels, valid


def _read_file(
    href: str, bands: Sequence[Band], target: MosaicTarget
) -> Sequence[tuple[np.ndarray, np.ndarray]]:
    # Values and valid (H, W) of some bands of one file, on the target's grid.
    resamplings = [_resampling(band, target.spec) for band in bands]
    calibration, indexes = bands[0].calibration, [band.index for band in bands]
    if calibration == "alphaearth":
        return embeddings.read_alphaearth(href, indexes, target.grid, resamplings[0])
    if calibration == "tessera":
        return embeddings.read_tessera(href, indexes, target.grid, resamplings[0])
    if calibration:
        return [
            radar.read_backscatter(href, calibration, target.grid, resampling)
            for resampling in resamplings
        ]
    requests = [
        (band.index, resampling, band.nodata)
        for band, resampling in zip(bands, resamplings, strict=True)
    ]
    return read_bands(href, requests, target.grid)


def _resampling(band: Band, spec: ChipSpec) -> Resampling:
    return (spec.resampling or "bilinear") if band.kind == "continuous" else "nearest"


def _valid_pixels(scene: Scene, grid: Grid) -> np.ndarray:
    # (H, W) bool: the pixels that pass all tests of the scene's quality bands.
    valid = np.ones(grid.shape, bool)
    for band in scene.quality:
        pixels, has_code = read_band(band.href, band.index, grid, "nearest", band.nodata)
        codes = whole_codes(pixels, band)
        valid &= has_code
        for test in scene.clear:
            if test.band == band.name:
                valid &= test.passes(codes)
    return valid
