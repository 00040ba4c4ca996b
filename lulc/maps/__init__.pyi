from .class_map import ClassMap, RasterSpec
from .mosaic import read_class_map, read_class_raster
from .mosaic_index import write_mosaic
from .prediction_row import PredictionRow, count_percents
from .rasters import group_key, mosaic_predictions, raster_path, write_group
from .stac import write_collection

__all__ = [
    "ClassMap",
    "PredictionRow",
    "RasterSpec",
    "count_percents",
    "group_key",
    "mosaic_predictions",
    "raster_path",
    "read_class_map",
    "read_class_raster",
    "write_collection",
    "write_group",
    "write_mosaic",
]
