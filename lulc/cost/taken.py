"""What the stages of a run took, as its ledger tells, beside what was planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from lulc.cost.stages import StageCost
from lulc.location import Location, StorePath, relative_name
from lulc.stages import STAGES
from lulc.tables.ledger import STAGE_KEY, read_latest

_BY_BLOCKS = ("tile", "samples", "predict", "refine")
"""Stages each of whose files has a row of the ledger."""
_BY_UNITS = (*_BY_BLOCKS, "rasters")
"""Stages whose ledger has the seconds of their units; what starts the stage is in none of them."""


@dataclass(frozen=True)
class Taken:
    """What a stage took."""

    seconds: float | None
    """By the clock, of all units together; None where none tells."""
    files: int
    """Of the ledger."""
    bytes: int


@dataclass(frozen=True)
class Comparison:
    """A figure of a plan beside that of the ledger."""

    planned: float
    took: float

    @property
    def factor(self) -> float | None:
        """How many times the plan it took; None where nothing was planned."""
        return self.took / self.planned if self.planned else None


def read_taken(out: Location) -> dict[str, Taken]:
    """Return what the stages took whose units are done, by their last rows in the ledger."""
    taken = {}
    for stage in STAGES:
        is_unit = (pc.field("key") != STAGE_KEY) & pc.field("status").isin(["done", "empty"])
        rows: pa.Table = read_latest(out, stage).where(is_unit).table
        if rows.num_rows:
            sizes = _sizes(out, {path for path in rows["path"].to_pylist() if path})
            seconds = pc.sum(rows["seconds"]).as_py()
            taken[stage] = Taken(seconds, len(sizes), sum(sizes.values()))
    return taken


def compare_costs(
    costs: Mapping[str, StageCost], taken: Mapping[str, Taken]
) -> dict[str, dict[str, Comparison]]:
    """Return stage → figure → what was planned and what it took.

    Planned seconds are CPU time, without the start of a stage whose ledger has it in no row; those
    of the ledger go by the clock, also while a machine does other work.
    """
    compared: dict[str, dict[str, Comparison]] = {}
    for stage, cost in costs.items():
        if stage not in taken:
            continue
        took = taken[stage]
        figures = {}
        if stage in _BY_BLOCKS:
            figures["files"] = Comparison(cost.files, took.files)
            figures["bytes"] = Comparison(cost.written_bytes, took.bytes)
        if took.seconds is not None:
            start = cost.start_seconds if stage in _BY_UNITS else 0.0
            figures["seconds"] = Comparison(cost.core_seconds - start, took.seconds)
        compared[stage] = figures
    return compared


def _sizes(out: Location, paths: set[str]) -> dict[str, int]:
    # Path → bytes of the files that are there. A store is asked by its listing.
    if isinstance(out, StorePath):
        listed = {
            relative_name(file, out): stat.st_size
            for folder in {path.partition("/")[0] for path in paths}
            for file, stat in (out / folder).walk()
        }
        return {path: listed[path] for path in paths & listed.keys()}
    files = {path: out / path for path in paths}
    return {path: file.stat().st_size for path, file in files.items() if file.is_file()}
