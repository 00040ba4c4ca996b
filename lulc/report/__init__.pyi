from .chips import draw_chips
from .html import write_report
from .map import draw_map, read_map, round_length
from .regions import outline_regions
from .samples import draw_samples
from .suspects import draw_suspects
from .training import draw_confusion, draw_examples, paint

__all__ = [
    "draw_chips",
    "draw_confusion",
    "draw_examples",
    "draw_map",
    "draw_samples",
    "draw_suspects",
    "outline_regions",
    "paint",
    "read_map",
    "round_length",
    "write_report",
]
