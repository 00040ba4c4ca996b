"""What every stage is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pyspark.sql import SparkSession

from lulc.config import Config
from lulc.location import Location
from lulc.stages import Selection
from lulc.tables.ledger import LedgerRow, append_ledger


def _always_may() -> None:
    pass


@dataclass(frozen=True)
class StageContext:
    """What a stage works with."""

    config: Config
    out: Location
    selection: Selection
    spark: Callable[[], SparkSession]
    """Starts the session at the first call."""
    check_lease: Callable[[], None] = _always_may
    """Raises where the output location may not be written, or by another process alone."""

    def record(self, rows: Iterable[LedgerRow]) -> None:
        """Append rows to the ledger.

        Raises:
            SetupError: another process has taken over the output location.
        """
        records = list(rows)
        if records:
            self.check_lease()
            append_ledger(self.out, records)


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
