"""What a run has to do: pixels to read, composite, map and write, counted over its blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lulc.chips.composites import make_intervals
from lulc.chips.features import over_dates
from lulc.chips.mosaic import STRIP_BYTES
from lulc.config import Config, Period
from lulc.cost.archive import ScenesOfPlan
from lulc.cost.coverage import Coverage
from lulc.cost.files import SceneKind
from lulc.features.feature import Feature
from lulc.geo.areas import pixel_side_m
from lulc.geo.tiling import Tiling


@dataclass(frozen=True)
class TileWork:
    """The work of the tile stage. A value is a pixel of one band."""

    blocks: int = 0
    """Tasks: blocks that a scene reaches, in every period."""
    tiles: int = 0
    """Tiles that a scene reaches, in every period."""
    scenes: float = 0.0
    """Scenes read, each counted once a block."""
    deepest: float = 0.0
    """Scenes of the block that has most."""
    decoded: tuple[tuple[str, float], ...] = ()
    """Format → values decoded."""
    covered: float = 0.0
    """Values of the map's pixels that scenes cover, each scene counted."""
    touched: float = 0.0
    """Values of whole blocks, each scene counted."""
    opened: float = 0.0
    """Files opened."""
    requests: float = 0.0
    """Rows of blocks of pixels that are decoded, and files opened: what a store is asked for."""
    read_bytes: tuple[tuple[str, float], ...] = ()
    """Format → bytes of the files that are read."""
    composited: float = 0.0
    """Values of all dates of composites."""
    computed: tuple[tuple[str, float], ...] = ()
    """Rate of features (see `rate_name`) → pixels of all dates of each such feature."""
    stored: float = 0.0
    """Values of the chips."""
    filled: float = 0.0
    """Of them, those that scenes cover: the others take no room."""
    files: int = 0
    """Blocks with a tile that a scene reaches, not with their margin alone."""

    def __add__(self, other: TileWork) -> TileWork:
        """Return the work of two periods, or of two parts of the ground."""
        return TileWork(
            self.blocks + other.blocks,
            self.tiles + other.tiles,
            self.scenes + other.scenes,
            max(self.deepest, other.deepest),
            _join(self.decoded, other.decoded),
            self.covered + other.covered,
            self.touched + other.touched,
            self.opened + other.opened,
            self.requests + other.requests,
            _join(self.read_bytes, other.read_bytes),
            self.composited + other.composited,
            _join(self.computed, other.computed),
            self.stored + other.stored,
            self.filled + other.filled,
            self.files + other.files,
        )


def count_tile_work(
    config: Config, scenes: ScenesOfPlan, coverage: Coverage, tiling: Tiling
) -> TileWork:
    """Count the work of the tile stage over all periods.

    Args:
        config: the run.
        scenes: its scenes.
        coverage: how their outlines lie on its blocks.
        tiling: of the run.
    """
    total = TileWork()
    for number, period in enumerate(config.periods):
        total += _work_of_period(config, period, scenes, scenes.counts[number], coverage, tiling)
    return total


def _work_of_period(
    config: Config,
    period: Period,
    scenes: ScenesOfPlan,
    counts: np.ndarray,
    coverage: Coverage,
    tiling: Tiling,
) -> TileWork:
    per_kind = [coverage.sum_over(of_kind) for of_kind in counts]
    depth = np.sum([number for number, _ in per_kind], axis=0)
    is_reached = depth > 0
    side = config.tiling.block * tiling.size + 2 * config.tiling.halo
    block_pixels = side**2
    dates = dates_of(config, period)
    if not is_reached.any():
        return TileWork()
    tiles = coverage.count_tiles(is_reached)
    values = tiles * (tiling.size + 2 * config.tiling.halo) ** 2 * len(config.bands)
    covered = np.sum([share for _, share in per_kind], axis=0)
    pixels = float(values.sum()) * dates / len(config.bands)
    work = TileWork(
        blocks=int(is_reached.sum()),
        files=int((tiles > 0).sum()),
        tiles=int(tiles.sum()),
        filled=float((values * np.minimum(dates, covered)).sum()),
        deepest=float(depth.max(initial=0)),
        computed=_computed((f for f in config.features if f.scope != "dates"), pixels),
        stored=float(values.sum()) * dates,
    )
    strips = _strips(config, depth / max(1, dates), side, scenes)
    col, row = coverage.cells[len(coverage.cells) // 2].tolist()
    side_m = pixel_side_m(tiling.grid(col, row, span=config.tiling.block))
    for kind, (number, share) in zip(scenes.kinds, per_kind, strict=True):
        work += _reading(config, kind, (number, share), (strips, side, side_m))
    for _ in config.layers:
        of_layer = float(is_reached.sum() * block_pixels)
        work += TileWork(
            decoded=(("tif deflate", of_layer),), covered=of_layer, opened=float(is_reached.sum())
        )
    return work


def _reading(
    config: Config,
    kind: SceneKind,
    lying: tuple[np.ndarray, np.ndarray],
    blocks: tuple[np.ndarray, int, float],
) -> TileWork:
    # lying: scenes on each block, and how often they cover it. blocks: strips of each, their side
    # in pixels, and a pixel's in metres.
    (number, share), (strips, side, side_m) = lying, blocks
    on_ground = (side_m / kind.gsd_m) ** 2 if kind.gsd_m else 1.0
    pixels = share * side**2
    decoded: list[tuple[str, float]] = []
    read: list[tuple[str, float]] = []
    requests = 0.0
    for file in kind.files:
        rows = side * (on_ground * file.finest) ** 0.5
        # A strip reads whole rows of blocks of pixels: its first and last are decoded twice.
        again = 1 + (strips - 1) * file.block_rows / rows
        values = float((pixels * again).sum()) * on_ground * file.finest * file.bands
        decoded.append((file.format, values))
        read.append((file.format, values * file.bytes_a_pixel))
        rows_of_blocks = (number * strips + share * (rows * again / file.block_rows)).sum()
        requests += float(rows_of_blocks)
    opened = float((number * strips).sum()) * len(kind.files)
    measured = len(config.scene_bands)
    return TileWork(
        scenes=float(number.sum()),
        decoded=_join(decoded, ()),
        covered=float(pixels.sum()) * kind.bands,
        touched=float(number.sum()) * side**2 * kind.bands,
        opened=opened,
        requests=requests + opened,
        read_bytes=_join(read, ()),
        composited=float(pixels.sum()) * measured if config.composite else 0.0,
        computed=_computed(over_dates(config.features), float(pixels.sum())),
    )


def rate_name(feature: Feature) -> str:
    """Return the name in `Rates.features_ns` of what a feature takes."""
    return feature.statistic if feature.scope == "dates" else feature.scope


def _computed(features: Iterable[Feature], pixels: float) -> tuple[tuple[str, float], ...]:
    return _join([(rate_name(feature), pixels) for feature in features], ())


def _strips(config: Config, depth: np.ndarray, side: int, scenes: ScenesOfPlan) -> np.ndarray:
    # Into how many strips each block is cut so that its dates fit in memory.
    if config.composite is None:
        return np.ones(len(depth))
    row_bytes = depth * len(config.scene_bands) * side * np.dtype(scenes.encoding.dtype).itemsize
    rows = np.maximum(1, STRIP_BYTES // np.maximum(row_bytes, 1))
    return np.asarray(np.ceil(side / np.minimum(rows, side)))


def dates_of(config: Config, period: Period) -> int:
    """Return how many dates, or composites, a chip of a period holds."""
    if config.composite is None:
        return config.dates
    return max(1, len(make_intervals(period, config.composite)))


def _join(
    first: Sequence[tuple[str, float]], second: Sequence[tuple[str, float]]
) -> tuple[tuple[str, float], ...]:
    # Sums by name.
    total: dict[str, float] = {}
    for name, value in (*first, *second):
        total[name] = total.get(name, 0.0) + value
    return tuple(sorted(total.items()))
