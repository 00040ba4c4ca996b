"""What every stage is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import SparkSession

from lulc.config import Config
from lulc.tables.files import Location


@dataclass(frozen=True)
class Selection:
    """The part of a run to work on; the whole run by default."""

    bbox: tuple[float, float, float, float] | None = None
    """West, south, east, north in degrees."""
    tiles: tuple[str, ...] = ()
    """Tile ids."""
    where: str | None = None
    """A SQL condition on the scenes table."""
    retry_bad: bool = False
    """Read inputs again that the ledger holds as bad."""

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self.bbox is None and not self.tiles and self.where is None


@dataclass(frozen=True)
class StageContext:
    """What a stage works with."""

    config: Config
    out: Location
    selection: Selection
    spark: Callable[[], SparkSession]
    """Starts the session at the first call."""


@dataclass(frozen=True)
class StageResult:
    """What a stage did."""

    stage: str
    skipped: int = 0
    """Units that were current already."""
    done: int = 0
    empty: int = 0
    """Units worked on that have nothing to write."""
    bad: int = 0
    """Inputs that cannot be used; the ledger names them."""
    note: str = ""
    """What else the user should know."""
    seconds: float = 0.0
    inputs: int = 0
    """How many inputs there were, where they are not scenes."""
