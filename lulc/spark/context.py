"""What every stage is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import SparkSession

from lulc.config import Config
from lulc.stages import Selection
from lulc.tables.files import Location


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
