"""An invented landscape as a function of a seed: relief, rivers, lakes, parcels, forest and towns.

`Landscape.reflectance` gives its surface reflectance on one of four days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import shapely
from numpy.random import Generator

from lulc.cli.demo.hydrology import blur, make_water
from lulc.legend import LandClass, Legend
from lulc.raster.vector import rasterize

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
CLASSES = Legend(
    "demo",
    (
        LandClass(1, "water", "#419bdf"),
        LandClass(2, "forest", "#397d49"),
        LandClass(3, "grassland", "#88b053"),
        LandClass(4, "cropland", "#e49635"),
        LandClass(5, "built-up", "#c4281b"),
        LandClass(6, "bare", "#a59b8f"),
        LandClass(7, "wetland", "#7a87c6"),
    ),
)


class _Cover(NamedTuple):
    # A cover's class, its reflectance in the six bands when dull (bare, dry, roofed) and when
    # green, and how green it is in mid April, early June, late July and mid September.
    class_id: int
    dull: tuple[float, ...]
    green: tuple[float, ...]
    greenness: tuple[float, ...]


# Orders of magnitude as in published spectral libraries; the values themselves are invented.
_COVERS = (
    _Cover(1, (.042, .040, .026, .016, .009, .006), (.038, .046, .030, .030, .012, .008),
           (.3, .5, .9, .6)),
    _Cover(2, (.024, .034, .024, .170, .085, .040), (.022, .036, .022, .235, .095, .040),
           (.4, .7, .8, .6)),
    _Cover(2, (.045, .060, .060, .180, .170, .100), (.024, .048, .026, .370, .165, .072),
           (.2, .95, .9, .7)),
    _Cover(3, (.055, .082, .080, .230, .255, .165), (.033, .070, .046, .330, .240, .120),
           (.6, .9, .75, .8)),
    _Cover(4, (.070, .098, .125, .235, .310, .230), (.026, .058, .032, .410, .195, .090),
           (.3, .95, .1, .0)),
    _Cover(4, (.072, .090, .115, .185, .265, .225), (.028, .055, .034, .400, .215, .095),
           (.0, .15, .9, .7)),
    _Cover(4, (.068, .094, .120, .210, .285, .220), (.032, .075, .042, .390, .200, .095),
           (.15, .9, .4, .0)),
    _Cover(5, (.115, .125, .135, .175, .190, .175), (.130, .145, .160, .205, .215, .190),
           (.5, .5, .5, .5)),
    _Cover(5, (.055, .075, .075, .210, .210, .140), (.045, .075, .055, .290, .200, .120),
           (.4, .8, .7, .6)),
    _Cover(6, (.115, .138, .158, .195, .235, .215), (.135, .160, .180, .215, .250, .225),
           (.5, .5, .5, .5)),
    _Cover(7, (.046, .060, .060, .130, .120, .070), (.034, .056, .044, .260, .140, .066),
           (.2, .7, .9, .6)),
)  # fmt: skip
# Positions in _COVERS.
_WATER, _CONIFER, _BROADLEAF, _MEADOW = 0, 1, 2, 3
_CROPS = (4, 5, 6)
_ROOFS, _GARDENS, _ROCK, _WETLAND = 7, 8, 9, 10

SEASONS = len(_COVERS[0].greenness)
_SUN_ELEVATION = (42, 62, 58, 44)  # degrees, on each of the days


@dataclass(frozen=True)
class Landscape:
    """Arrays of one shape (H, W) with one value per pixel of 10 m."""

    cover: np.ndarray
    """uint8 row of the spectral table."""
    relief: np.ndarray
    """Height in metres."""
    vigour: np.ndarray
    """How much greener or duller a pixel is than its cover, mean 0."""
    tone: np.ndarray
    """Relative brightness, mean 1."""

    def classes(self) -> np.ndarray:
        """Return the majority class of every 2 x 2 pixels, (H/2, W/2) uint8 ids of CLASSES."""
        ids = np.array([cover.class_id for cover in _COVERS], np.uint8)[self.cover]
        quarters = np.stack([ids[i::2, j::2] for i in (0, 1) for j in (0, 1)])
        votes = np.stack([(quarters == c.id).sum(0) for c in CLASSES.classes])
        return np.array(CLASSES.ids, np.uint8)[votes.argmax(0)]

    def reflectance(self, season: int) -> np.ndarray:
        """Return the surface reflectance on a day, darker on slopes that face away from the sun.

        Args:
            season: number of the day, below SEASONS.

        Returns:
            (6, H, W) float32 in the order of BANDS.
        """
        dull = np.array([cover.dull for cover in _COVERS], np.float32)
        green = np.array([cover.green for cover in _COVERS], np.float32)
        seasonal = np.array([cover.greenness[season] for cover in _COVERS], np.float32)
        greenness = np.clip(seasonal[self.cover] + self.vigour, 0, 1)
        light = self.tone * _illumination(self.relief, _SUN_ELEVATION[season])
        return np.stack(
            [
                (dull[:, b][self.cover] * (1 - greenness) + green[:, b][self.cover] * greenness)
                * light
                for b in range(len(BANDS))
            ]
        )


@dataclass(frozen=True)
class _Terrain:
    # (H, W) arrays: height in metres, where there is water, how much of it is near (0–1), slope as
    # rise over run.
    relief: np.ndarray
    water: np.ndarray
    shore: np.ndarray
    slope: np.ndarray


@dataclass(frozen=True)
class _Texture:
    # (H, W) random fields: `luck` (3, H, W) is 0–1 and the same in all of a parcel, all others have
    # mean 0 and deviation 1, from coarse to fine.
    luck: np.ndarray
    patch: np.ndarray
    grain: np.ndarray
    mottle: np.ndarray
    freckle: np.ndarray


def make_landscape(shape: tuple[int, int], seed: int) -> Landscape:
    """Make a landscape: mountains in the south, farmland in the north, rivers downhill.

    Args:
        shape: (H, W) in pixels of 10 m, both multiples of 8.
        seed: another seed makes another landscape.
    """
    # The order of the random draws is part of the result.
    rng = np.random.default_rng(seed)
    terrain = _make_terrain(rng, shape)
    parcel, hedge = _make_parcels(rng, shape)
    texture = _make_texture(rng, parcel)
    cover, wooded = _make_vegetation(terrain, texture)
    flat_shore = (terrain.shore > 0.05) & (terrain.slope < 0.05)
    cover[flat_shore & (fractal(rng, shape, 2.2) > 0)] = _WETLAND
    town = _make_towns(rng, terrain) & ~wooded
    gardens = (texture.mottle + 0.8 * texture.grain)[town] > 0.35
    cover[town] = np.where(gardens, _GARDENS, _ROOFS)
    cover[terrain.water] = _WATER
    return _assemble(terrain, texture, cover, town, hedge)


def fractal(rng: Generator, shape: tuple[int, int], roughness: float) -> np.ndarray:
    """Return noise whose amplitude falls with frequency to the power `roughness`.

    Returns:
        (H, W) float32 of mean 0 and deviation 1.
    """
    rows, cols = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    # Waves longer than half the smaller side have the amplitude of that wave, so that no single
    # hill takes the whole area.
    frequency = np.maximum(np.hypot(rows, cols), 2 / min(shape))
    spectrum = np.fft.rfft2(rng.standard_normal(shape, np.float32)) / frequency**roughness
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, shape)
    return (noise / noise.std()).astype(np.float32)


def _make_terrain(rng: Generator, shape: tuple[int, int]) -> _Terrain:
    relief, water, shore = make_water(_make_relief(rng, shape))
    slope = blur(np.hypot(*np.gradient(relief, 10.0)), 10)
    return _Terrain(relief, water, shore, slope)


def _make_relief(rng: Generator, shape: tuple[int, int]) -> np.ndarray:
    south = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None]
    broad, ridges = fractal(rng, shape, 2.4), 1 - np.abs(fractal(rng, shape, 2.1))
    rise = 1 / (1 + np.exp(-(south - 0.72 + 0.1 * broad) * 9))
    return (430 + 25 * broad - 60 * south + 1500 * rise * (0.75 + 0.3 * ridges)).astype(np.float32)


def _make_texture(rng: Generator, parcel: np.ndarray) -> _Texture:
    luck = rng.random((3, 1 << 16), np.float32)[:, parcel]
    patch, grain = fractal(rng, parcel.shape, 2.0), fractal(rng, parcel.shape, 1.0)
    mottle, freckle = rng.standard_normal((2, *parcel.shape), np.float32)
    return _Texture(luck, patch, grain, mottle, freckle)


def _make_vegetation(terrain: _Terrain, texture: _Texture) -> tuple[np.ndarray, np.ndarray]:
    # Cover without water, wetland and towns, and where forest grows below the tree line or above.
    relief, slope = terrain.relief, terrain.slope
    luck, patch, grain = texture.luck, texture.patch, texture.grain
    cover = np.asarray(_CROPS, np.uint8)[(luck[0] * len(_CROPS)).astype(np.intp)]
    height = relief + 90 * patch  # patches move the limits of altitude up and down
    cover[(luck[1] < np.clip((height - 500) / 400, 0.06, 1)) | (slope > 0.16)] = _MEADOW
    wooded = patch + 3.5 * np.clip(slope, 0, 0.5) + np.clip((relief - 700) / 500, 0, 0.7) > 0.95
    cover[wooded] = np.where((grain + (950 - relief) / 300)[wooded] > 0, _BROADLEAF, _CONIFER)
    cover[height > 1500] = _MEADOW
    cover[(height > 1850) | ((slope > 0.62) & (relief > 1250))] = _ROCK
    return cover, wooded


def _assemble(
    terrain: _Terrain, texture: _Texture, cover: np.ndarray, town: np.ndarray, hedge: np.ndarray
) -> Landscape:
    luck, grain, mottle = texture.luck, texture.grain, texture.mottle
    farmed = (cover >= _MEADOW) & (cover < _ROOFS)
    vigour = (
        0.06 * grain
        + 0.2 * texture.freckle
        + np.where(farmed, 0.35 * (luck[2] - 0.5) - 0.15 * hedge, 0.1 * texture.patch)
    )
    tone = (
        1
        + 0.05 * grain
        + 0.12 * mottle
        + np.where(town, 0.22 * mottle, 0)
        + np.where(farmed, 0.2 * (luck[1] - 0.5), 0)
    )
    tone = np.clip(tone, 0.5, 1.8)
    return Landscape(cover, terrain.relief, vigour.astype(np.float32), tone.astype(np.float32))


def _illumination(
    relief: np.ndarray, sun_elevation: float, sun_azimuth: float = 155.0
) -> np.ndarray:
    # Cosine of the sun's incidence over that on flat ground, softened for diffuse light.
    south, east = np.gradient(relief, 10.0)
    elevation, azimuth = np.radians([sun_elevation, sun_azimuth])
    incidence = (
        np.sin(elevation) + np.cos(elevation) * (np.cos(azimuth) * south - np.sin(azimuth) * east)
    ) / np.sqrt(1 + south**2 + east**2)
    return np.asarray(np.clip(incidence / np.sin(elevation), 0.2, 1.6) ** 0.7)


def _make_parcels(rng: Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    # (H, W) number (0–65535) of each pixel's field, and where field borders run. Every village has
    # its own direction and field size.
    count = max(4, shape[0] * shape[1] // 30_000)
    sites = shapely.MultiPoint(rng.random((count, 2)) * (shape[1], shape[0]))
    cells = shapely.voronoi_polygons(sites, extend_to=shapely.box(0, 0, shape[1], shape[0])).geoms
    numbered_cells = [(cell, number) for number, cell in enumerate(cells)]
    village = rasterize(numbered_cells, np.zeros(shape, np.int32))
    angle = rng.random(count) * np.pi
    length = rng.uniform(36, 70, count).astype(np.float32)[village]
    width = rng.uniform(22, 38, count).astype(np.float32)[village]
    bend = 6 * fractal(rng, shape, 2.2)
    y, x = np.indices(shape, np.float32, sparse=True)
    cos, sin = np.cos(angle).astype(np.float32)[village], np.sin(angle).astype(np.float32)[village]
    along = (x * cos + y * sin + bend) / length
    strip = np.floor(along).astype(np.int64)
    across = (y * cos - x * sin + bend) / width + 0.37 * strip
    field = np.floor(across).astype(np.int64)
    number = (village * 7919 + strip * 104_729 + field * 1_299_709) & 0xFFFF
    return number, np.minimum(along % 1, across % 1) < 0.06


def _make_towns(rng: Generator, terrain: _Terrain) -> np.ndarray:
    # (H, W) where there are towns: at low and flat random points, with ragged edges.
    relief, slope = terrain.relief, terrain.slope
    height, width = relief.shape
    count = max(2, height * width // 260_000)
    rows, cols = rng.integers(0, height, count * 8), rng.integers(0, width, count * 8)
    suitable = (slope[rows, cols] < 0.08) & (relief[rows, cols] < 900) & ~terrain.water[rows, cols]
    ragged = 0.5 * fractal(rng, relief.shape, 1.9)
    town = np.zeros(relief.shape, bool)
    for row, col in list(zip(rows[suitable], cols[suitable], strict=True))[:count]:
        radius = float(rng.gamma(3.0, 14.0) + 16)
        reach = int(radius * 2)
        window = np.s_[
            max(row - reach, 0) : min(row + reach, height),
            max(col - reach, 0) : min(col + reach, width),
        ]
        y, x = np.ogrid[window]
        town[window] |= np.hypot(y - row, x - col) / radius + ragged[window] < 1
    return town & (slope < 0.2)
