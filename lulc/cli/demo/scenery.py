"""An invented landscape, a function of a seed: relief, rivers, lakes, parcels, forest, towns; and how it looks on a day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.random import Generator
from rasterio.features import rasterize
from rasterio.transform import IDENTITY

from lulc.cli.demo.hydrology import blur, make_water
from lulc.legend import LandClass, Legend

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

# Every cover: its class, reflectance of the six bands when dull (bare, dry, roofed) and when green, and how green it is
# in mid April, early June, late July and mid September. Orders of magnitude as in published spectral libraries; the
# values themselves are invented.
_COVERS = (
    (1, (.042, .040, .026, .016, .009, .006), (.038, .046, .030, .030, .012, .008), (.3, .5, .9, .6)),
    (2, (.024, .034, .024, .170, .085, .040), (.022, .036, .022, .235, .095, .040), (.4, .7, .8, .6)),
    (2, (.045, .060, .060, .180, .170, .100), (.024, .048, .026, .370, .165, .072), (.2, .95, .9, .7)),
    (3, (.055, .082, .080, .230, .255, .165), (.033, .070, .046, .330, .240, .120), (.6, .9, .75, .8)),
    (4, (.070, .098, .125, .235, .310, .230), (.026, .058, .032, .410, .195, .090), (.3, .95, .1, .0)),
    (4, (.072, .090, .115, .185, .265, .225), (.028, .055, .034, .400, .215, .095), (.0, .15, .9, .7)),
    (4, (.068, .094, .120, .210, .285, .220), (.032, .075, .042, .390, .200, .095), (.15, .9, .4, .0)),
    (5, (.115, .125, .135, .175, .190, .175), (.130, .145, .160, .205, .215, .190), (.5, .5, .5, .5)),
    (5, (.055, .075, .075, .210, .210, .140), (.045, .075, .055, .290, .200, .120), (.4, .8, .7, .6)),
    (6, (.115, .138, .158, .195, .235, .215), (.135, .160, .180, .215, .250, .225), (.5, .5, .5, .5)),
    (7, (.046, .060, .060, .130, .120, .070), (.034, .056, .044, .260, .140, .066), (.2, .7, .9, .6)),
)  # fmt: skip
_WATER, _CONIFER, _BROADLEAF, _MEADOW, _CROPS, _ROOFS, _GARDENS, _ROCK, _WETLAND = (
    0,
    1,
    2,
    3,
    (4, 5, 6),
    7,
    8,
    9,
    10,
)
SEASONS = len(_COVERS[0][3])


@dataclass(frozen=True)
class Landscape:
    """Arrays of one shape (H, W), one value a pixel of 10 m.

    cover: row of the spectral table; relief: metres; vigour: how much greener or duller than its kind a place is (mean 0);
    tone: relative brightness (mean 1).
    """

    cover: np.ndarray
    relief: np.ndarray
    vigour: np.ndarray
    tone: np.ndarray

    def classes(self) -> np.ndarray:
        """(H/2, W/2) uint8 ids of CLASSES: the class that holds most of every 2 x 2 pixels."""
        ids = np.array([c[0] for c in _COVERS], np.uint8)[self.cover]
        quarters = np.stack([ids[i::2, j::2] for i in (0, 1) for j in (0, 1)])
        votes = np.stack([(quarters == c.id).sum(0) for c in CLASSES.classes])
        return np.array(CLASSES.ids, np.uint8)[votes.argmax(0)]

    def reflectance(self, season: int) -> np.ndarray:
        """(6, H, W) float32 surface reflectance on one of the SEASONS days, darker on slopes that face away from the sun."""
        dull, green = (np.array([c[i] for c in _COVERS], np.float32) for i in (1, 2))
        greenness = np.array([c[3][season] for c in _COVERS], np.float32)[self.cover]
        greenness = np.clip(greenness + self.vigour, 0, 1)
        light = self.tone * _light(self.relief, (42, 62, 58, 44)[season])
        return np.stack(
            [
                (dull[:, b][self.cover] * (1 - greenness) + green[:, b][self.cover] * greenness)
                * light
                for b in range(len(BANDS))
            ]
        )


def make_landscape(shape: tuple[int, int], seed: int) -> Landscape:
    """A Landscape of this shape (both sides multiples of 8): mountains in the south, farmland in the north, rivers downhill."""
    rng = np.random.default_rng(seed)
    relief = _make_relief(rng, shape)
    relief, water, shore = make_water(relief)
    slope = blur(np.hypot(*np.gradient(relief, 10.0)), 10)
    parcel, hedge = _make_parcels(rng, shape)
    luck = rng.random((3, 1 << 16), np.float32)[:, parcel]
    patch, grain = fractal(rng, shape, 2.0), fractal(rng, shape, 1.0)
    mottle, freckle = rng.standard_normal((2, *shape), np.float32)
    cover = np.asarray(_CROPS, np.uint8)[(luck[0] * len(_CROPS)).astype(np.intp)]
    high = relief + 90 * patch
    cover[(luck[1] < np.clip((high - 500) / 400, 0.06, 1)) | (slope > 0.16)] = _MEADOW
    wooded = patch + 3.5 * np.clip(slope, 0, 0.5) + np.clip((relief - 700) / 500, 0, 0.7) > 0.95
    cover[wooded] = np.where((grain + (950 - relief) / 300)[wooded] > 0, _BROADLEAF, _CONIFER)
    cover[high > 1500] = _MEADOW
    cover[(high > 1850) | ((slope > 0.62) & (relief > 1250))] = _ROCK
    cover[(shore > 0.05) & (slope < 0.05) & (fractal(rng, shape, 2.2) > 0)] = _WETLAND
    town = _make_towns(rng, relief, slope, water) & ~wooded
    cover[town] = np.where((mottle + 0.8 * grain)[town] > 0.35, _GARDENS, _ROOFS)
    cover[water] = _WATER
    farmed = (cover >= _MEADOW) & (cover < _ROOFS)
    vigour = (
        0.06 * grain
        + 0.2 * freckle
        + np.where(farmed, 0.35 * (luck[2] - 0.5) - 0.15 * hedge, 0.1 * patch)
    )
    tone = (
        1
        + 0.05 * grain
        + 0.12 * mottle
        + np.where(town, 0.22 * mottle, 0)
        + np.where(farmed, 0.2 * (luck[1] - 0.5), 0)
    )
    return Landscape(
        cover, relief, vigour.astype(np.float32), np.clip(tone, 0.5, 1.8).astype(np.float32)
    )


def fractal(rng: Generator, shape: tuple[int, int], roughness: float) -> np.ndarray:
    """(H, W) float32 noise of mean 0 and deviation 1 whose amplitude falls with frequency to the power `roughness`."""
    rows, cols = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    # Waves longer than half the smaller side are no longer than that one in strength: no single hill takes the whole.
    frequency = np.maximum(np.hypot(rows, cols), 2 / min(shape))
    spectrum = np.fft.rfft2(rng.standard_normal(shape, np.float32)) / frequency**roughness
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, shape)
    return (noise / noise.std()).astype(np.float32)


def _make_relief(rng: Generator, shape: tuple[int, int]) -> np.ndarray:
    south = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None]
    broad, ridges = fractal(rng, shape, 2.4), 1 - np.abs(fractal(rng, shape, 2.1))
    rise = 1 / (1 + np.exp(-(south - 0.72 + 0.1 * broad) * 9))
    return (430 + 25 * broad - 60 * south + 1500 * rise * (0.75 + 0.3 * ridges)).astype(np.float32)


def _light(relief: np.ndarray, sun_elevation: float, sun_azimuth: float = 155.0) -> np.ndarray:
    # Cosine of the sun's incidence over that on flat ground, softened for diffuse light.
    south, east = np.gradient(relief, 10.0)
    elevation, azimuth = np.radians([sun_elevation, sun_azimuth])
    towards = (
        np.sin(elevation) + np.cos(elevation) * (np.cos(azimuth) * south - np.sin(azimuth) * east)
    ) / np.sqrt(1 + south**2 + east**2)
    return np.asarray(np.clip(towards / np.sin(elevation), 0.2, 1.6) ** 0.7)


def _make_parcels(rng: Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    # (H, W) number (0–65535) of the field a pixel lies in, and where field borders run. Every village has its own direction
    # and field size.
    count = max(4, shape[0] * shape[1] // 30_000)
    sites = shapely.MultiPoint(rng.random((count, 2)) * (shape[1], shape[0]))
    cells = shapely.voronoi_polygons(sites, extend_to=shapely.box(0, 0, shape[1], shape[0])).geoms
    village = rasterize(
        [(c, i) for i, c in enumerate(cells)], shape, transform=IDENTITY, dtype="int32"
    )
    angle, long, wide = (
        rng.random(count) * np.pi,
        rng.uniform(36, 70, count),
        rng.uniform(22, 38, count),
    )
    bend = 6 * fractal(rng, shape, 2.2)
    y, x = np.indices(shape, np.float32, sparse=True)
    cos, sin = np.cos(angle).astype(np.float32)[village], np.sin(angle).astype(np.float32)[village]
    along = (x * cos + y * sin + bend) / long.astype(np.float32)[village]
    strip = np.floor(along).astype(np.int64)
    across = (y * cos - x * sin + bend) / wide.astype(np.float32)[village] + 0.37 * strip
    field = np.floor(across).astype(np.int64)
    number = (village * 7919 + strip * 104_729 + field * 1_299_709) & 0xFFFF
    return number, np.minimum(along % 1, across % 1) < 0.06


def _make_towns(
    rng: Generator, relief: np.ndarray, slope: np.ndarray, water: np.ndarray
) -> np.ndarray:
    # Towns lie low and flat: of many places those are kept, and grow with ragged edges.
    height, width = relief.shape
    count = max(2, height * width // 260_000)
    rows, cols = rng.integers(0, height, count * 8), rng.integers(0, width, count * 8)
    good = (slope[rows, cols] < 0.08) & (relief[rows, cols] < 900) & ~water[rows, cols]
    ragged = 0.5 * fractal(rng, relief.shape, 1.9)
    town = np.zeros(relief.shape, bool)
    for row, col in list(zip(rows[good], cols[good], strict=True))[:count]:
        radius = float(rng.gamma(3.0, 14.0) + 16)
        reach = int(radius * 2)
        box = np.s_[
            max(row - reach, 0) : min(row + reach, height),
            max(col - reach, 0) : min(col + reach, width),
        ]
        y, x = np.ogrid[box]
        town[box] |= np.hypot(y - row, x - col) / radius + ragged[box] < 1
    return town & (slope < 0.2)
