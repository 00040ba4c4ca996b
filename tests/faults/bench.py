"""What every case stands on: the small world, a clean run of it, and comparison with that run."""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lulc.stages import STAGES
from lulc.tables.ledger import STAGE_KEY
from tests.faults.commands import Ended, Running
from tests.faults.places import Folder, Place, match_names
from tests.helpers import small_world
from tests.helpers.small_world import World

CORES = 2
"""Of the session that the small world's run file asks for."""

_OF_STAGE: Mapping[str, tuple[str, ...]] = {
    "index": ("tables/scenes/*",),
    "tile": ("tables/chips/*",),
    "samples": ("tables/samples/*",),
    "train": ("models/*.safetensors",),
    "predict": ("tables/predictions/*",),
    "embed": ("tables/embeddings/*",),
    "rasters": ("rasters/*", "confidence/*"),
    "stats": ("tables/class_areas/*", "tables/regions/*"),
    "evaluate": ("tables/accuracy/*", "tables/confusion/*"),
}
"""The files by which a run is held against the clean one, byte for byte."""

_MODEL = ("mlflow.db", "mlartifacts/*", "config.yaml", "checkpoints/*", "models/*")
_TIMES = ("seconds", "attempt", "finished")
_ORDER = ("number", "finished")
_NOT_RECOVERED = ("checksum", "valid_pixels")
"""Of files that a killed driver did not note; their bytes are held against the clean run's."""


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    fault: str
    stage: str
    store: str
    redone: str = "-"
    equal: bool | None = None
    """Whether the output is that of a clean run; None where the fault leaves none to compare."""
    wrong: tuple[str, ...] = ()
    """What is not as it must be."""

    @property
    def passed(self) -> bool:
        """Whether all is as it must be."""
        return not self.wrong and self.equal is not False


@dataclass(frozen=True)
class Bench:
    """The small world, its clean run, and room for the runs under test."""

    world: World
    clean: Path
    """The output folder of the clean run."""
    room: Path
    """An empty folder for this case."""
    _made: list[Running] = field(default_factory=list)

    def folder(self, name: str = "out") -> Folder:
        """Return an output folder that is not there yet."""
        return Folder(self.room / name)

    def start(self, place: Place, *arguments: object, first: tuple[object, ...] = ()) -> Running:
        """Start `lulc VERB RUN --out PLACE …`; the first of the arguments is the verb."""
        verb, *others = arguments
        log = self.room / f"{len(self._made)}.{verb}.log"
        asked = (verb, self.world.run, "--out", place.out, *others)
        command = (*first, small_world.SCRIPTS / "lulc", *asked)
        running = Running(log, *command, environment=place.environment)
        self._made.append(running)
        return running

    def carry_out(self, place: Place, *arguments: object, **how: object) -> Ended:
        """Run a command as `start` does, to its end."""
        return self.start(place, *arguments, **how).end()

    def end_all(self) -> None:
        """End what still runs, where a case was broken off."""
        for running in self._made:
            running.end_now()

    def seed(self, place: Place, before: str) -> None:
        """Fill a place with what the clean run had made before a stage began."""
        earlier = tuple(STAGES)[: tuple(STAGES).index(before)]
        patterns = [pattern for stage in earlier for pattern in _OF_STAGE.get(stage, ())]
        place.fill(self.clean, tuple(patterns))
        if "train" in earlier:
            self.seed_model(place)
        for name in match_names(self.clean, ("tables/ledger/*",)):
            stages = pq.read_table(self.clean / name, columns=["stage"])["stage"].to_pylist()
            if set(stages) <= set(earlier):
                place.fill(self.clean, (name,))

    def seed_model(self, place: Place) -> None:
        """Fill a place with the registered model of the clean run, which need not be trained."""
        place.fill(self.clean, _MODEL)

    def start_stages(
        self, place: Place, stages: Sequence[str], settings: Mapping[str, object]
    ) -> Running:
        """Start some stages in one process, as a notebook would."""
        log = self.room / f"{len(self._made)}.stages.log"
        call = f"lulc.run({str(self.world.run)!r}, {place.out!r}, stages={tuple(stages)!r}, "
        call += f"set={dict(settings)!r})"
        code = f"import lulc\nwith lulc.progress.console(): {call}"
        running = Running(log, sys.executable, "-c", code, environment=place.environment)
        self._made.append(running)
        return running

    def differences(self, place: Place, stages: Iterable[str] = STAGES) -> tuple[str, ...]:
        """Return in what the output of some stages is not that of the clean run; empty: equal."""
        found = []
        for stage in stages:
            patterns = _OF_STAGE.get(stage, ())
            expected = {n: (self.clean / n).read_bytes() for n in match_names(self.clean, patterns)}
            names = [name for pattern in patterns for name in place.names(pattern)]
            found += [f"{name} is not there" for name in sorted(set(expected) - set(names))]
            found += [f"{name} is left over" for name in sorted(set(names) - set(expected))]
            same = sorted(set(expected) & set(names))
            found += [f"{name} differs" for name in same if place.read(name) != expected[name]]
            theirs, ours = newest_rows(Folder(self.clean), stage), newest_rows(place, stage)
            found += [
                f"the ledger's row of {stage} {key} differs: {ours.get(key)} for {theirs.get(key)}"
                for key in sorted(set(theirs) | set(ours))
                if theirs.get(key) != ours.get(key)
            ]
        return tuple(found)


def half_written(place: Place, is_complete: bool = True) -> tuple[str, ...]:
    """Return what a killed writer left: tables cut short, and once all is done hidden files too."""
    found = [f"{name} is left" for name in place.names() if is_complete and _is_hidden(name)]
    for name in place.names("tables/*.parquet"):
        if not _is_hidden(name):
            content = place.read(name)
            if content[-4:] != b"PAR1":
                found.append(f"{name} is cut short")
    return tuple(found)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def newest_rows(place: Place, stage: str) -> dict[str, tuple[object, ...]]:
    """Return key → the newest row of a stage in the ledger, but for what differs by run."""
    unlike = (*_TIMES, *_ORDER, *_NOT_RECOVERED)
    newest = {row["key"]: row for row in _ledger(place, stage)}
    return {
        key: tuple((name, row[name]) for name in sorted(row) if name not in unlike)
        for key, row in newest.items()
        if row["status"] != "dropped"
    }


def done_again(place: Place, stage: str) -> int:
    """Return how many times tasks of a stage were done again, as the ledger has it."""
    rows = [row for row in _ledger(place, stage) if row["status"] != "dropped"]
    done = Counter(row["key"] for row in rows if row["key"] != STAGE_KEY)
    return done.total() - len(done)


def later_attempts(place: Place, stage: str) -> int:
    """Return of how many tasks of a stage another attempt than the first gave the result."""
    return sum(row["attempt"] > 0 for row in _ledger(place, stage))


def _ledger(place: Place, stage: str) -> list[dict[str, Any]]:
    # Its rows of a stage, in their order.
    parts = [pq.read_table(io.BytesIO(place.read(n))) for n in place.names("tables/ledger/[!.]*")]
    if not parts:
        return []
    table = pa.concat_tables(parts, promote_options="default")
    order = [(name, "ascending") for name in _ORDER if name in table.column_names]
    return [row for row in table.sort_by(order).to_pylist() if row["stage"] == stage]
