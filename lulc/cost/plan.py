"""The plan of a run: what it will read, do and write, and what that costs.

No pixel is read. Scenes are those of the scenes table, else of some headers; datasets are listed.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import shapely

from lulc import progress
from lulc.chips.tiling import make_tiling
from lulc.config import Config, DatasetConf, LabelConf
from lulc.cost.archive import ScenesOfPlan, read_scenes_of_plan
from lulc.cost.coverage import Coverage, cover
from lulc.cost.memory import LARGEST_ITEM, stage_memory
from lulc.cost.rates import Rates, load_rates
from lulc.cost.stages import SampleCount, StageCost, sample_values, stage_costs, total
from lulc.cost.work import TileWork, count_tile_work
from lulc.datasets import registry
from lulc.datasets.listing import list_items
from lulc.errors import LulcError
from lulc.geo.grid import WGS84, project
from lulc.geo.tiling import Tiling
from lulc.location import Location, parse_location, relative_name
from lulc.paths import list_files
from lulc.samples import from_datasets
from lulc.samples.labels import bounds_of_labels
from lulc.samples.points import count_windows
from lulc.sources import area
from lulc.tables import files, store
from lulc.tables.files import open_parquet

_PAIR_BYTES = 60
"""Of a scene of a block among the keys that workers hold."""
_USUAL_SIDE = 256
"""Of a dataset's samples, where it does not say."""


@dataclass(frozen=True)
class MapPlan:
    """What a run maps."""

    scenes: ScenesOfPlan
    tiling: Tiling
    coverage: Coverage
    work: TileWork


@dataclass(frozen=True)
class RunPlan:
    """What a run will do."""

    config: Config
    map: MapPlan | None
    """None where the run has no scenes."""
    items: dict[str, tuple[int, int]]
    """Dataset → number of its items, and bytes of their files."""
    samples: SampleCount
    rates: Rates
    cores: int
    item_bytes: int
    """Of a stored value."""
    costs: dict[str, StageCost]
    """Stage → its cost."""
    memory: dict[str, int]
    """Stage → bytes that a task takes outside the JVM."""

    @property
    def core_seconds(self) -> float:
        """CPU time of all stages, in one session."""
        return total(self.costs, self.rates)


def make_plan(config: Config, out: Location | None = None, cores: int = 1) -> RunPlan:
    """Plan a run.

    Args:
        config: the run.
        out: its output location, whose tables are used as far as they are there.
        cores: how many are to work at once.

    Raises:
        InputError: no scene can be read, or a dataset's folder holds none of its items.
    """
    items = {
        name: _count_items(config, dataset)
        for name, dataset in from_datasets.origin_names(config.datasets)
    }
    map_plan = plan_map(config, out) if config.scenes else None
    work = map_plan.work if map_plan else TileWork()
    samples = _count_samples(config, out, map_plan, items)
    item_bytes = _item_bytes(map_plan)
    rates = load_rates()
    listed = map_plan.scenes.items if map_plan else 0
    broadcast = int(work.scenes * _PAIR_BYTES)
    return RunPlan(
        config,
        map_plan,
        items,
        samples,
        rates,
        cores,
        item_bytes,
        stage_costs(config, work, samples, listed, rates, cores, item_bytes),
        stage_memory(
            config, item_bytes, work.deepest, broadcast, sample_values(config, samples) * item_bytes
        ),
    )


def _item_bytes(map_plan: MapPlan | None) -> int:
    return np.dtype(map_plan.scenes.encoding.dtype).itemsize if map_plan else LARGEST_ITEM


def plan_map(config: Config, out: Location | None = None) -> MapPlan:
    """Plan what a run maps.

    Args:
        config: the run.
        out: its output location, whose scenes table is used if it is there.

    Raises:
        InputError: no scene can be read.
    """
    scenes = read_scenes_of_plan(config, out)
    tiling = make_tiling(config)
    limit = area.read_area(config.area)
    coverage = cover(scenes.outlines, tiling, config.tiling.block, config.tiling.halo, limit)
    return MapPlan(scenes, tiling, coverage, count_tile_work(config, scenes, coverage, tiling))


def _count_samples(
    config: Config,
    out: Location | None,
    map_plan: MapPlan | None,
    items: dict[str, tuple[int, int]],
) -> SampleCount:
    side = config.samples.size if config.labels else _dataset_side(config)
    written = files.list_tables(store.table_folder(out, "samples")) if out is not None else []
    if written:
        rows = sum(open_parquet(file).metadata.num_rows for file in written)
        return SampleCount(rows, side, True)
    windows = sum(count for count, _ in items.values())
    if config.labels and config.labels.points and map_plan:
        windows += count_windows(config.labels, map_plan.tiling, side) * len(config.periods)
    elif config.labels and map_plan:
        tiles = _labelled_tiles(config.labels, map_plan) * len(config.periods)
        windows += round(tiles * (config.tiling.size // side) ** 2)
    return SampleCount(windows, side)


def _dataset_side(config: Config) -> int:
    sides = [dataset.size for dataset in config.datasets if dataset.size]
    return max(sides, default=_USUAL_SIDE)


def _labelled_tiles(labels: LabelConf, map_plan: MapPlan) -> float:
    # Tiles within the bounds of the labels, parts of tiles counted as parts; all of them where
    # labels cannot be read.
    try:
        bounds = bounds_of_labels(labels)
    except LulcError:
        return float(len(map_plan.coverage.tiles))
    if bounds is None:
        return 0.0
    tiles = tile_boxes(map_plan)
    reach = project(shapely.box(*bounds), WGS84, map_plan.tiling.crs)
    shares = shapely.area(shapely.intersection(tiles, reach)) / shapely.area(tiles)
    return float(np.nansum(shares))


def tile_boxes(map_plan: MapPlan) -> np.ndarray:
    """Return the cores of the tiles of a plan as polygons in the tiling's CRS, (M,)."""
    tiling = map_plan.tiling
    side_x, side_y = tiling.size * tiling.resolution, tiling.size * tiling.pixel_height
    left = tiling.x0 + map_plan.coverage.tiles[:, 0] * side_x
    top = tiling.y0 - map_plan.coverage.tiles[:, 1] * side_y
    return np.asarray(shapely.box(left, top - side_y, left + side_x, top))


def _count_items(config: Config, dataset: DatasetConf) -> tuple[int, int]:
    # Number of a dataset's items, and bytes of their files.
    description = registry.describe_dataset(dataset)
    codes = registry.crosswalk(dataset, description, config.make_legend())
    listing = list_items(dataset, codes)
    for note in listing.notes:
        progress.say(note)
    names = {name for item in listing.items for name in item.files if name}
    return len(listing.items), _sum_sizes(parse_location(dataset.root), names)


def _sum_sizes(root: Location, names: Set[str]) -> int:
    # Bytes of files and folders below a root.
    if isinstance(root, Path):
        return sum(_size(root / name) for name in names)
    # A store is asked by one listing, not once for a file.
    walked = [(relative_name(file, root), stat.st_size) for file, stat in root.walk()]
    above = {name: map(str, PurePosixPath(name).parents) for name, _ in walked}
    return sum(size for name, size in walked if not names.isdisjoint((name, *above[name])))


def _size(path: Path) -> int:
    # Bytes of a file, or of all files of an item that is a folder; 0 where it is missing or no file
    # can have its name.
    paths = list_files(path) if path.is_dir() else [path]
    return sum(file.stat().st_size for file in paths if file.is_file())
