"""The cost of every stage of a run: from its work and a machine's rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lulc.config import Config
from lulc.cost.network import has_windows, learns_trees, network_factor, tree_ns
from lulc.cost.rates import DEFLATE, Rates
from lulc.cost.work import TileWork, dates_of
from lulc.errors import UsageError
from lulc.maps.refine.steps import reach
from lulc.samples.table import GROUP_BYTES, MIN_FILES
from lulc.stages import stages_of
from lulc.stats.class_rasters import SIDE

_CHIP_COMPRESSION = 1.5
"""Size of raw pixels over that of their Parquet files."""
_MAP_BYTES = 1 / 2
"""Bytes of a pixel in the predictions table: class and confidence."""
_RASTER_BYTES = 1 / 2
"""Bytes of a pixel of a class raster and its confidence."""
_VECTOR_BYTES = 4 * 512
"""Bytes of a vector of a usual encoder."""
_POLYGON_BYTES = 1 / 2
"""Bytes of a pixel in the polygons table, about: as many as its classes are scattered."""
_POLYGONS_A_PIXEL = 1 / 500
"""About as many as WorldCover has on land; a minimum mapping unit sets a bound."""
_FLIPS = 4
_FIXED_SHARE = 4.0
"""Pixels computed over those mapped in windows of fixed size, whose middle half is kept."""
_FILES_A_RASTER = 3  # classes, confidence, STAC item
_ITEMS_A_TASK = 32
_NS = 1e-9


@dataclass(frozen=True)
class StageCost:
    """What a stage takes."""

    tasks: int = 0
    core_seconds: float = 0.0
    """CPU time of workers, JVMs and driver."""
    start_seconds: float = 0.0
    """The part of it that starts tasks, workers and the stage itself."""
    files: int = 0
    """Files written."""
    written_bytes: int = 0
    read_bytes: int = 0
    requests: int = 0
    """What scenes' files are asked for: to open one, and for each row of its blocks."""


@dataclass(frozen=True)
class SampleCount:
    """Samples that a run learns from."""

    windows: int = 0
    """Samples of all splits."""
    side: int = 0
    """In pixels."""
    is_counted: bool = False
    """Whether they were counted in the samples table; else they are all that labels may give."""


def stage_costs(
    config: Config,
    work: TileWork,
    samples: SampleCount,
    items: int,
    rates: Rates,
    cores: int,
    item_bytes: int,
) -> dict[str, StageCost]:
    """Return the cost of each stage that a run file needs.

    Args:
        config: the run.
        work: of the tile stage.
        samples: what is learned from.
        items: that the index stage reads.
        rates: of the machine.
        cores: how many work at once: each starts a worker.
        item_bytes: bytes of a stored value.
    """
    network = _Network.of(config, rates)
    costs = {
        "index": _index(items, rates),
        "tile": _tile(config, work, rates, item_bytes),
        "samples": _samples(config, work, samples, rates, item_bytes),
        "train": _train(config, samples, rates, network),
        "predict": _predict(config, work, rates, network),
        "refine": _refine(config, work, rates),
        "rasters": _rasters(config, work, rates),
        "polygons": _polygons(config, work, rates),
        "stats": _stats(config, work, rates),
        "evaluate": _evaluate(config, samples, rates),
        "embed": _embed(config, work, rates, network),
        "publish": StageCost(),
    }
    needed = _stages_of(config)
    return {stage: _with_start(costs[stage], stage, rates, cores) for stage in needed}


def _stages_of(config: Config) -> tuple[str, ...]:
    # Scenes alone, without labels or a model, can be cut into chips.
    try:
        return stages_of(config)
    except UsageError:
        return ("index", "tile")


@dataclass(frozen=True)
class _Network:
    """What a run's network or trees take for a pixel, nanoseconds."""

    predict_ns: float
    train_ns: float
    has_windows: bool = False
    """Whether it maps in windows of fixed size."""

    @classmethod
    def of(cls, config: Config, rates: Rates) -> _Network:
        if learns_trees(config):
            return cls(*tree_ns(config))
        factor = network_factor(config, rates)
        return cls(rates.predict_ns * factor, rates.train_ns * factor, has_windows(config))


def _with_start(cost: StageCost, stage: str, rates: Rates, cores: int) -> StageCost:
    if not cost.tasks:
        return cost
    workers = min(cores, cost.tasks)
    loads = {"index": rates.worker_s, "tile": rates.tools_s}
    loads |= dict.fromkeys(("predict", "embed"), rates.torch_s)
    # Figures that were kept before there was a stage lack it.
    start = workers * loads.get(stage, 0.0) + rates.stage_s.get(stage, 0.0)
    start += cost.tasks * rates.task_s
    return replace(cost, core_seconds=cost.core_seconds + start, start_seconds=start)


def _index(items: int, rates: Rates) -> StageCost:
    tasks = -(-items // _ITEMS_A_TASK)
    return StageCost(tasks, items * rates.item_s, files=1)


def _tile(config: Config, work: TileWork, rates: Rates, item_bytes: int) -> StageCost:
    decoded = sum(values * _read_ns(rates, name) for name, values in work.decoded)
    computed = sum(pixels * rates.features_ns[name] for name, pixels in work.computed)
    method = config.composite.method if config.composite else "median"
    ns = (
        decoded
        + work.covered * rates.warp_ns
        + work.touched * rates.place_ns
        + work.composited * rates.compose_ns[method]
        + computed
        + work.stored * rates.chip_ns
    )
    return StageCost(
        tasks=work.blocks,
        core_seconds=ns * _NS + work.opened * rates.open_s,
        files=work.files,
        written_bytes=int(work.filled * item_bytes / _CHIP_COMPRESSION),
        read_bytes=int(sum(size for _, size in work.read_bytes)),
        requests=int(work.requests),
    )


def _read_ns(rates: Rates, name: str) -> float:
    return rates.read_ns.get(name, rates.read_ns[DEFLATE])


def _samples(
    config: Config, work: TileWork, samples: SampleCount, rates: Rates, item_bytes: int
) -> StageCost:
    values = sample_values(config, samples)
    labelled = work.tiles * config.tiling.size**2 if config.labels else 0
    ns = labelled * rates.label_ns + values * rates.sample_ns
    size = values * item_bytes
    held_out = (config.samples.validation, config.samples.folds or config.samples.test)
    splits = 1 + sum(map(bool, held_out))
    files = max(MIN_FILES * splits, math.ceil(size / GROUP_BYTES)) if samples.windows else 0
    return StageCost(
        tasks=(work.files if config.labels else 0) + files,
        core_seconds=ns * _NS,
        files=files,
        written_bytes=int(size / _CHIP_COMPRESSION),
    )


def sample_values(config: Config, samples: SampleCount) -> float:
    """Return the pixels of all bands and dates of all samples."""
    dates = max(dates_of(config, period) for period in config.periods)
    return float(samples.windows) * samples.side**2 * dates * len(config.bands)


def _train(config: Config, samples: SampleCount, rates: Rates, network: _Network) -> StageCost:
    train = config.train
    shares = 1 - config.samples.validation - config.samples.test
    if learns_trees(config):
        rows = min(samples.windows * shares * samples.side**2, train.trees.rows)
        seconds = rows * network.train_ns * _NS + rates.torch_s
        return StageCost(tasks=1 if samples.windows else 0, core_seconds=seconds, files=8)
    side = min(train.crop or samples.side, samples.side)
    learned = samples.windows * shares * side**2 * train.repeats
    scored = samples.windows * config.samples.validation * samples.side**2
    ns = learned * network.train_ns + scored * network.predict_ns
    # Decoded samples are kept between epochs as far as `train.cache` reaches; reading is little
    # beside computing.
    return StageCost(
        tasks=train.ranks if samples.windows else 0,
        core_seconds=train.epochs * ns * _NS + rates.torch_s,
        files=train.epochs + 6,
    )


def _predict(config: Config, work: TileWork, rates: Rates, network: _Network) -> StageCost:
    pixels = work.tiles * config.tiling.size**2
    computed = float(pixels)
    if not learns_trees(config):
        share = _FIXED_SHARE if network.has_windows else computed_share(config)
        computed *= share * (_FLIPS if config.predict.flips else 1)
    models = config.predict.model.count("+") + 1 if config.predict.model else 1
    ns = computed * models * network.predict_ns + work.stored * rates.map_ns
    return StageCost(
        tasks=work.files,
        core_seconds=ns * _NS,
        files=work.files,
        written_bytes=int(pixels * _MAP_BYTES),
    )


def _refine(config: Config, work: TileWork, rates: Rates) -> StageCost:
    if config.refine is None:
        return StageCost()
    core, margin = config.tiling.block * config.tiling.size, reach(config.refine)
    pixels = work.tiles * config.tiling.size**2
    return StageCost(
        tasks=work.files,
        core_seconds=pixels * (1 + 2 * margin / core) ** 2 * rates.refine_ns * _NS,
        files=work.files,
        written_bytes=int(pixels * _MAP_BYTES),
    )


def _embed(config: Config, work: TileWork, rates: Rates, network: _Network) -> StageCost:
    # A network takes as long for vectors as for a map; embedding bands are no more than read.
    every = (config.embed and config.embed.every) or config.tiling.size
    vectors = work.tiles * (config.tiling.size / every) ** 2
    cost = _predict(config, work, rates, network)
    return replace(cost, written_bytes=int(vectors * _VECTOR_BYTES))


def computed_share(config: Config) -> float:
    """Return the pixels that a network computes over those of the map: blocks have margins."""
    core, halo = config.tiling.block * config.tiling.size, config.tiling.halo
    windows = -(-core // config.predict.window)
    step = core / windows
    return ((step + 2 * max(halo, 1)) / step) ** 2


def _rasters(config: Config, work: TileWork, rates: Rates) -> StageCost:
    pixels = work.tiles * config.tiling.size**2
    group = -(-config.rasters.group // config.tiling.block)
    tasks = math.ceil(work.files / group**2)
    return StageCost(
        tasks=tasks,
        core_seconds=pixels * rates.raster_ns * _NS,
        files=tasks * _FILES_A_RASTER + 2 * len(config.periods) + 1,
        written_bytes=int(pixels * _RASTER_BYTES),
    )


def _polygons(config: Config, work: TileWork, rates: Rates) -> StageCost:
    if not config.rasters.polygons:
        return StageCost()
    pixels = work.tiles * config.tiling.size**2
    unit = config.refine.minimum_mapping_unit if config.refine else None
    density = min(_POLYGONS_A_PIXEL, 1 / (unit or 1))
    return StageCost(
        tasks=math.ceil(pixels / SIDE**2),
        core_seconds=pixels * (rates.polygons_ns + density * rates.polygon_ns) * _NS,
        files=2,
        written_bytes=int(2 * pixels * _POLYGON_BYTES),
    )


def _stats(config: Config, work: TileWork, rates: Rates) -> StageCost:
    pixels = work.tiles * config.tiling.size**2
    # Of two periods or more the class rasters are read too, for what changed.
    passes = len(config.regions) or 1
    passes += 1 if len(config.periods) > 1 else 0
    return StageCost(tasks=work.files, core_seconds=pixels * passes * rates.stats_ns * _NS, files=3)


def _evaluate(config: Config, samples: SampleCount, rates: Rates) -> StageCost:
    held_out = config.samples.validation + config.samples.test
    pixels = samples.windows * held_out * samples.side**2
    return StageCost(tasks=4 if pixels else 0, core_seconds=pixels * rates.label_ns * _NS, files=2)


def total(costs: Mapping[str, StageCost], rates: Rates) -> float:
    """Return the core-seconds of all stages in one session."""
    return sum(cost.core_seconds for cost in costs.values()) + rates.session_s
