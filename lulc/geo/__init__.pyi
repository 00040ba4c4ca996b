from .areas import degrees_area, is_equal_area, pixel_areas
from .coverage import Runs, count_runs, covered_share, find_runs, fractions
from .grid import (
    WGS84,
    Grid,
    footprint,
    is_on_earth,
    map_coordinates,
    parse_crs,
    project,
    same_crs,
    transformer,
)
from .overlap import PixelMap
from .reproject import onto_grid, reproject_exact, to_degrees
from .swath import Swath
from .tiling import Tiling

__all__ = [
    "WGS84",
    "Grid",
    "PixelMap",
    "Runs",
    "Swath",
    "Tiling",
    "count_runs",
    "covered_share",
    "degrees_area",
    "find_runs",
    "footprint",
    "fractions",
    "is_equal_area",
    "is_on_earth",
    "map_coordinates",
    "onto_grid",
    "parse_crs",
    "pixel_areas",
    "project",
    "reproject_exact",
    "same_crs",
    "to_degrees",
    "transformer",
]
