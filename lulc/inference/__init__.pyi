from .blocks import InferenceSpec, map_blocks, predictions_path, table_of
from .detections import DetectionSpec, write_detections
from .folder import map_folder
from .predictor import Predictor, load, load_all, use_one_core
from .trained_model import TrainedModel, open_model

__all__ = [
    "DetectionSpec",
    "InferenceSpec",
    "Predictor",
    "TrainedModel",
    "load",
    "load_all",
    "map_blocks",
    "map_folder",
    "open_model",
    "predictions_path",
    "table_of",
    "use_one_core",
    "write_detections",
]
