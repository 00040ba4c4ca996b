from .blocks import InferenceSpec, map_blocks, predictions_path, table_of
from .class_map import ClassMap, RasterSpec
from .detections import DetectionSpec, write_detections
from .folder import map_folder
from .mosaic import read_class_map, read_class_raster
from .mosaic_index import write_mosaic
from .predictor import Predictor, load, load_all, use_one_core
from .rasters import group_key, mosaic_predictions, raster_path, write_group
from .rows import PredictionRow, count_percents
from .stac import write_collection
from .trained_model import TrainedModel, open_model

__all__ = [
    "ClassMap",
    "DetectionSpec",
    "InferenceSpec",
    "PredictionRow",
    "Predictor",
    "RasterSpec",
    "TrainedModel",
    "count_percents",
    "group_key",
    "load",
    "load_all",
    "map_blocks",
    "map_folder",
    "mosaic_predictions",
    "open_model",
    "predictions_path",
    "raster_path",
    "read_class_map",
    "read_class_raster",
    "table_of",
    "use_one_core",
    "write_collection",
    "write_detections",
    "write_group",
    "write_mosaic",
]
