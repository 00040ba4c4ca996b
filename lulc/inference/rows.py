"""Predictions of one chip as rows of the table that the model's task fills.

Tables `predictions` (a class a pixel or square), `probabilities` (a row a class and square) and
`boxes`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lulc.geo.grid import Grid
from lulc.maps.prediction_row import PredictionRow
from lulc.tables import arrays


@dataclass(frozen=True)
class ProbabilityRow:
    """A row of the probabilities table: how likely one class is in one square."""

    tile_id: str
    period: str
    model: str
    grid: Grid
    """Of the square, as one pixel."""
    class_id: int
    class_name: str
    probability: float
    """0 to 1."""

    def to_row(self) -> dict[str, Any]:
        """Return the row of the table."""
        columns = {name: value for name, value in vars(self).items() if name != "grid"}
        return columns | arrays.grid_columns(self.grid)


@dataclass(frozen=True)
class BoxRow:
    """A row of the boxes table: one box of one tile, in pixels of the whole tiling."""

    tile_id: str
    period: str
    model: str
    class_id: int
    class_name: str
    score: float
    """0 to 1."""
    left: float
    top: float
    right: float
    bottom: float

    def to_row(self) -> dict[str, Any]:
        """Return the row of the table."""
        return asdict(self)


type TableRow = PredictionRow | ProbabilityRow | BoxRow
"""A row of the table that a task fills."""
