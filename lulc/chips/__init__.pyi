from .blocks import make_chip_spec, tile_block
from .chip import Chip, choose_encoding, join_chips, write_chips
from .composites import Interval, compose, fill_gaps, make_intervals, median_composite
from .cut import Cut, cut_block
from .extent import Cell, block_of_tile, find_cells
from .mosaic import ChipSpec, Mosaic, MosaicTarget, mosaic_dates, mosaic_scenes
from .plan import BlockPlan, Reach, plan_blocks
from .tiling import make_tiling

__all__ = [
    "BlockPlan",
    "Cell",
    "Chip",
    "ChipSpec",
    "Cut",
    "Interval",
    "Mosaic",
    "MosaicTarget",
    "Reach",
    "block_of_tile",
    "choose_encoding",
    "compose",
    "cut_block",
    "fill_gaps",
    "find_cells",
    "join_chips",
    "make_chip_spec",
    "make_intervals",
    "make_tiling",
    "median_composite",
    "mosaic_dates",
    "mosaic_scenes",
    "plan_blocks",
    "tile_block",
    "write_chips",
]
