from .area_estimation import estimate_areas
from .boxes import average_precision, iou, suppress_boxes
from .change import write_changes
from .class_areas import MapTiles, balance
from .class_rasters import ClassMaps, count_map_block, join_legends, scan_block, scan_rasters
from .confusion import ClassScore, Scores, summarise
from .estimators import (
    Estimate,
    ReferenceSample,
    allocate,
    error_matrix,
    mean,
    points_for,
    ratio,
)
from .interpreted_points import InterpretedPoints, read_points
from .label_quality import LabelQuality, class_thresholds, rate_labels
from .landscape import join_part_rows, landscape_table
from .mosaic import Mosaic, make_mosaic
from .regions import Region, RegionSet, read_region, read_regions, write_regions
from .sampling import design_file, draw_sample, scan_strata
from .uncertain_points import draw_uncertain
from .validation import Maps, accuracy_table, confusion_table, format_accuracy
from .whole_map import whole_map_region
from .zonal import count_block, measure_outside, transitions

__all__ = [
    "ClassMaps",
    "ClassScore",
    "Estimate",
    "InterpretedPoints",
    "LabelQuality",
    "MapTiles",
    "Maps",
    "Mosaic",
    "ReferenceSample",
    "Region",
    "RegionSet",
    "Scores",
    "accuracy_table",
    "allocate",
    "average_precision",
    "balance",
    "class_thresholds",
    "confusion_table",
    "count_block",
    "count_map_block",
    "design_file",
    "draw_sample",
    "draw_uncertain",
    "error_matrix",
    "estimate_areas",
    "format_accuracy",
    "iou",
    "join_legends",
    "join_part_rows",
    "landscape_table",
    "make_mosaic",
    "mean",
    "measure_outside",
    "points_for",
    "rate_labels",
    "ratio",
    "read_points",
    "read_region",
    "read_regions",
    "scan_block",
    "scan_rasters",
    "scan_strata",
    "summarise",
    "suppress_boxes",
    "transitions",
    "whole_map_region",
    "write_changes",
    "write_regions",
]
