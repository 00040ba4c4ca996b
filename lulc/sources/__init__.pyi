from .area import make_box, parse_box, read_area
from .catalogues.search import find_scenes
from .layers import read_layer
from .radar import read_backscatter
from .registry import SOURCES, source_of
from .scene import Clear, Scene, scenes_from_table, scenes_to_table
from .source import SceneItem, Source

__all__ = [
    "SOURCES",
    "Clear",
    "Scene",
    "SceneItem",
    "Source",
    "find_scenes",
    "make_box",
    "parse_box",
    "read_area",
    "read_backscatter",
    "read_layer",
    "scenes_from_table",
    "scenes_to_table",
    "source_of",
]
