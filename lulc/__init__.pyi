from . import errors, progress
from .api.areas import (
    class_areas,
    compare_maps,
    draw_sample,
    estimate_areas,
    measure_areas,
    open_map,
    read,
)
from .api.config import load_config
from .api.models import load_model
from .api.run import Run, open_run, run
from .api.sql import register
from .chips.chip import Chip
from .config.mapping import RegionFile
from .config.run import Config
from .geo.grid import Grid
from .geo.tiling import Tiling
from .legend import LandClass, Legend
from .maps.class_map import ClassMap
from .samples.sample import Sample
from .stages import Selection, stages_of
from .stats.regions import Region

__version__: str

__all__ = [
    "Chip",
    "ClassMap",
    "Config",
    "Grid",
    "LandClass",
    "Legend",
    "Region",
    "RegionFile",
    "Run",
    "Sample",
    "Selection",
    "Tiling",
    "class_areas",
    "compare_maps",
    "draw_sample",
    "errors",
    "estimate_areas",
    "load_config",
    "load_model",
    "measure_areas",
    "open_map",
    "open_run",
    "progress",
    "read",
    "register",
    "run",
    "stages_of",
]
