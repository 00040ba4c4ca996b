"""The one protocol by which a stage does only what is missing or changed.

skip:    nothing to do where the stage's seal has its fingerprint and every file is there.
recover: a file that a killed run published but did not record gets its ledger row.
run:     units that are neither current nor recovered are worked on, in waves.
record:  their ledger rows are appended as each wave ends, bad inputs among them.
prune:   files and rows that no unit has any more are removed.
seal:    the stage's own row is appended, so that the next run can skip it; not where a unit is
         bad. It is broken before anything is done.

A run that is killed between any two steps is completed by the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.compute as pc

from lulc.errors import LulcError, SetupError
from lulc.location import Location, relative_name
from lulc.spark.context import StageContext, StageResult
from lulc.tables import files, layout
from lulc.tables.files import fingerprint_of
from lulc.tables.ledger import (
    STAGE_KEY,
    LatestRows,
    LedgerRow,
    bad_rows_of_file,
    read_latest,
    read_ledger,
)
from lulc.tables.ledger_files import which_exist
from lulc.tables.store import table_folder

type Rows = Mapping[str, LedgerRow]
type Waves = Iterable[Sequence[LedgerRow]]

_ROUNDS = 10
"""So often a stage plans anew because inputs turned out to be bad."""


@dataclass(frozen=True)
class Unit:
    """A unit of work: done once, and again when what it depends on changes."""

    key: str
    fingerprint: str
    """What the unit's output depends on."""
    path: str | None = None
    """The file that it publishes, relative to the output location; None where it leaves none."""
    task: Any = None
    """What a worker is sent to do it: a mapping or a record with flat fields."""


def _itself(path: str) -> Sequence[str]:
    return (path,)


def _nothing(path: str) -> Sequence[str]:  # noqa: ARG001
    return ()


_IS_UNIT = pc.field("key") != STAGE_KEY


def _always() -> bool:
    return True


def _no_note(rows: Sequence[LedgerRow]) -> str:  # noqa: ARG001
    return ""


@dataclass(frozen=True)
class StageWork:
    """What a stage consists of; `run_incremental` does the rest."""

    stage: str
    fingerprint: str
    """What all units depend on together: settings and inputs."""
    plan: Callable[[Rows], Sequence[Unit]]
    """Returns the units, given the bad inputs by key; called again when more inputs are bad."""
    work: Callable[[Sequence[Unit]], Waves]
    """Does some units; gives, as they are done, a row for each, and one for every bad input."""
    finish: Callable[[Sequence[LedgerRow]], str] = _no_note
    """Does what needs all units and no outdated file, given the rows of the units worked on;
    returns a note for the user."""
    table: str | None = None
    """The table whose folder holds the units' files and no other. Without it, outdated files are
    those that the ledger names."""
    is_of_selection: bool = False
    """Whether the units are those of the selected part of the run; else they are all of it."""
    keeps_outdated: bool = False
    """Leave files of before where they are."""
    files_of: Callable[[str], Sequence[str]] = _itself
    """All files that belong to the unit that publishes `path`."""
    also_removed: Callable[[str], Sequence[str]] = _nothing
    """Files that the unit of an outdated path may have had besides."""
    other_files: Sequence[str] = ()
    """Files that `finish` makes; where one is missing, the stage is not skipped."""
    is_there: Callable[[], bool] = _always
    """Whether what the stage keeps outside the output location is there."""
    footers_name_bad: bool = False
    """Whether bad inputs of a unit are named in the footer of its file."""
    is_still_bad: Callable[[LedgerRow], bool] | None = None
    """Whether a bad input of before has not changed; by default, whether the row's fingerprint
    is the stage's."""


def run_incremental(context: StageContext, work: StageWork) -> StageResult:
    """Bring a stage up to date and return what was done.

    Args:
        context: the run, its output location, and the part of it to work on.
        work: the stage's units and how they are done.

    Raises:
        SetupError: a worker made something else than was planned.
        InputError, UsageError: as the stage's own functions raise them; units that were recorded
            before stay done.
    """
    out = context.out
    rows = read_latest(out, work.stage)
    bad: Rows = _known_bad(work, rows)
    retries = bool(bad) and context.selection.retry_bad
    is_whole = context.selection.whole or not work.is_of_selection
    fingerprint = work.fingerprint
    if not is_whole:
        fingerprint = fingerprint_of(fingerprint, replace(context.selection, retry_bad=False))
    if not retries and _is_sealed(out, work, fingerprint, rows):
        current = rows.where(_IS_UNIT & pc.field("status").isin(["done", "empty"]))
        return StageResult(work.stage, skipped=len(current), bad=len(bad))
    _drop(context, rows.where(pc.field("key") == STAGE_KEY).records())
    if retries:
        _forget(context, bad.values())
        bad = {}
    units = work.plan(bad)
    if recovered_bad := _recover(context, work, units):
        bad = {**bad, **recovered_bad}
        units = work.plan(bad)
    worked_on: dict[tuple[str, str], LedgerRow] = {}
    attempted: set[tuple[str, str]] = set()
    rows = read_latest(out, work.stage)
    for _ in range(_ROUNDS):
        outdated = _outdated(out, work, units, rows)
        to_do = [unit for unit in outdated if (unit.key, unit.fingerprint) not in attempted]
        if not to_do:
            break
        attempted |= {(unit.key, unit.fingerprint) for unit in to_do}
        newly_bad: dict[str, LedgerRow] = {}
        for row in _do(context, work, to_do, rows):
            if row.status == "bad":
                newly_bad[row.key] = row
            else:
                worked_on[row.key, row.fingerprint] = row
        rows = read_latest(out, work.stage)
        all_bad = {**bad, **newly_bad}
        bad = {key: row for key, row in all_bad.items() if rows.state_of(key)[1] == "bad"}
        if newly_bad:
            units = work.plan(bad)
    else:
        raise SetupError(
            f"stage {work.stage} met more bad inputs in each of {_ROUNDS} rounds: what is done is "
            "recorded; look at the bad rows of the ledger, and rerun"
        )
    _check_fingerprints(work.stage, units, rows)
    by_unit = (worked_on.get((unit.key, unit.fingerprint)) for unit in units)
    new_rows = [row for row in by_unit if row is not None]
    _prune(context, work, is_whole, units, rows, bad)
    note = work.finish(new_rows)
    bad_units = sum(unit.key in bad for unit in units)
    if not bad_units:
        context.record([LedgerRow(work.stage, STAGE_KEY, fingerprint)])
    done = sum(row.status == "done" for row in new_rows)
    return StageResult(
        work.stage,
        skipped=len(units) - len(new_rows) - bad_units,
        done=done,
        empty=len(new_rows) - done,
        bad=len(bad),
        note=note,
    )


def _do(
    context: StageContext, work: StageWork, units: Sequence[Unit], rows: LatestRows
) -> Iterator[LedgerRow]:
    # The units' rows, which are recorded as waves end.
    # A file that is written in place is no longer the one that its row is about.
    in_place = [unit.key for unit in units if unit.path and rows.path_of(unit.key) == unit.path]
    _drop(context, rows.select(in_place).records())
    context.check_lease()
    planned = {unit.key: unit.fingerprint for unit in units}
    for wave in work.work(units):
        context.record(wave)
        # Without an input that is bad there is no reason to make something else than was planned.
        if all(row.status != "bad" for row in wave):
            for row in wave:
                _check_fingerprint(work.stage, row.key, planned.get(row.key), row.fingerprint)
        yield from wave


def run_whole(
    context: StageContext,
    stage: str,
    fingerprint: str,
    path: str,
    make: Callable[[dict[str, LedgerRow]], None],
    seconds_before: float = 0.0,
) -> StageResult:
    """Bring a stage up to date that makes its tables in one go on the driver.

    Args:
        context: the run and its output location.
        stage: the stage's name.
        fingerprint: what its tables depend on.
        path: the file that is written last; the stage is current where it is there.
        make: writes the tables, and adds bad inputs by key to the mapping that it is given; they
            are recorded even where it fails. What its tasks keep (`lulc.spark.kept`) is removed.
        seconds_before: what the stage took before this call, for the ledger.
    """

    def work(_: Sequence[Unit]) -> Waves:
        start = time.monotonic()
        bad: dict[str, LedgerRow] = {}
        try:
            make(bad)
        except LulcError:
            context.record(bad.values())
            raise
        # The tables were made without these inputs and no others.
        not_bad = [_dropped(row) for key, row in known_bad.items() if key not in bad]
        done = LedgerRow(
            stage,
            path,
            fingerprint,
            path=path,
            checksum=files.checksum(context.out / path),
            seconds=seconds_before + time.monotonic() - start,
        )
        return [[*not_bad, *bad.values(), done]]

    def plan(_: Rows) -> Sequence[Unit]:
        return [Unit(path, fingerprint, path)]

    def finish(_: Sequence[LedgerRow]) -> str:
        folder = context.out / layout.unfinished_stage(stage)
        files.remove_folder(folder)
        files.remove_empty(folder.parent)
        return ""

    stage_work = StageWork(stage, fingerprint, plan, work, finish, keeps_outdated=True)
    known_bad = _known_bad(stage_work, read_latest(context.out, stage))
    # The tables were made without the bad inputs: trying these again makes the tables again.
    tries_again = bool(known_bad) and context.selection.retry_bad
    return run_incremental(context, replace(stage_work, is_there=lambda: not tries_again))


def _known_bad(work: StageWork, rows: LatestRows) -> dict[str, LedgerRow]:
    def has_stage_fingerprint(row: LedgerRow) -> bool:
        return row.fingerprint == work.fingerprint

    is_still_bad = work.is_still_bad or has_stage_fingerprint
    bad = rows.where(pc.field("status") == "bad").records()
    return {row.key: row for row in bad if is_still_bad(row)}


def _is_sealed(out: Location, work: StageWork, fingerprint: str, rows: LatestRows) -> bool:
    seal = rows.get(STAGE_KEY)
    if seal is None or (seal.status, seal.fingerprint) != ("done", fingerprint):
        return False
    if not work.is_there():
        return False
    done = rows.where(_IS_UNIT & (pc.field("status") == "done") & pc.field("path").is_valid())
    unit_files = (file for path in done.column("path") for file in work.files_of(path))
    paths = {*unit_files, *work.other_files}
    return which_exist(out, paths) == paths


def _outdated(
    out: Location, work: StageWork, units: Sequence[Unit], rows: LatestRows
) -> list[Unit]:
    # The units whose row is of another fingerprint, or whose files are not all there.
    if not work.is_there():
        return list(units)
    files_of_unit = {unit.key: _recorded_files(work, unit, rows) for unit in units}
    existing = which_exist(
        out, {file for recorded in files_of_unit.values() for file in recorded or ()}
    )
    return [
        unit
        for unit in units
        if (recorded := files_of_unit[unit.key]) is None or not existing.issuperset(recorded)
    ]


def _recorded_files(work: StageWork, unit: Unit, rows: LatestRows) -> Sequence[str] | None:
    # The files of a unit's row; None where the row is not of the unit's fingerprint.
    fingerprint, status, path = rows.state_of(unit.key)
    if fingerprint != unit.fingerprint:
        return None
    if status == "empty" or (status == "done" and unit.path is None):
        return ()
    return work.files_of(path) if status == "done" and path else None


def _check_fingerprints(stage: str, units: Sequence[Unit], rows: LatestRows) -> None:
    for unit in units:
        fingerprint, status, _ = rows.state_of(unit.key)
        if status != "bad":
            _check_fingerprint(stage, unit.key, unit.fingerprint, fingerprint)


def _check_fingerprint(stage: str, key: str, planned: str | None, actual: str | None) -> None:
    # Another fingerprint would be made again by every run, and never be the one that is asked for.
    if planned is not None and actual != planned:
        raise SetupError(
            f"stage {stage} planned {key} as {planned}, and a worker made {actual or 'none'} of "
            "it: its code or the tables that it reads are not the driver's. Install the same lulc "
            "everywhere, let nothing else write to the output location, and rerun"
        )


def _recover(context: StageContext, work: StageWork, units: Sequence[Unit]) -> dict[str, LedgerRow]:
    # Files that were made but not recorded, by name and size: names hold the fingerprint. None is
    # read but for the bad inputs that it may name, which are returned.
    rows = read_latest(context.out, work.stage)
    unrecorded = [
        (unit, path)
        for unit in _outdated(context.out, work, units, rows)
        if unit.path and unit.path.endswith(f".{unit.fingerprint}.parquet")
        for path in {unit.path, layout.without_sector(unit.path)}
    ]
    existing = which_exist(context.out, {path for _, path in unrecorded})
    recovered = [
        LedgerRow(work.stage, unit.key, unit.fingerprint, path=path)
        for unit, path in unrecorded
        if path in existing and files.is_filled(context.out / path)
    ]
    with_bad = recovered if work.footers_name_bad else []
    bad = [row for unit in with_bad for row in bad_rows_of_file(context.out, unit)]
    context.record([*recovered, *bad])
    return {row.key: row for row in bad}


def _forget(context: StageContext, bad: Iterable[LedgerRow]) -> None:
    # Inputs that are tried again: what was made without them is made anew.
    for row in bad:
        if row.path:
            files.remove(context.out / row.path)
    _drop(context, bad)


def _drop(context: StageContext, outdated: Iterable[LedgerRow]) -> None:
    context.record([_dropped(row) for row in outdated if row.status != "dropped"])


def _prune(
    context: StageContext,
    work: StageWork,
    is_whole: bool,
    units: Sequence[Unit],
    rows: LatestRows,
    bad: Rows,
) -> None:
    out = context.out
    context.check_lease()  # another process's files are not this one's to remove
    planned = {unit.key for unit in units}
    current = {
        path
        for key, (_, status, path) in rows.states.items()
        if key in planned and status == "done" and path
    }
    paths = set() if work.keeps_outdated else _written_paths(out, work)
    if not is_whole:
        names = {layout.without_fingerprint(unit.path) for unit in units if unit.path}
        paths = {path for path in paths if layout.without_fingerprint(path) in names}
    for path in sorted(paths - current):
        for file in (*work.files_of(path), *work.also_removed(path)):
            files.remove(out / file)
    if is_whole:
        for folder in _written_folders(out, work, current):
            files.remove_unfinished(folder)
    outdated = [
        key
        for key, (_, status, _) in rows.states.items()
        if (status == "bad" and key not in bad)
        or (is_whole and key not in planned and status in ("done", "empty") and key != STAGE_KEY)
    ]
    _drop(context, rows.select(outdated).records())


def _written_paths(out: Location, work: StageWork) -> set[str]:
    # Paths that the stage may have written, now or before.
    if work.table:
        tables = files.list_tables(table_folder(out, work.table))
        return {relative_name(file, out) for file in tables}
    paths = read_ledger(out, work.stage)["path"].unique().to_pylist()
    return {path for path in paths if path}


def _written_folders(out: Location, work: StageWork, paths: Iterable[str]) -> set[Location]:
    # The folders that the stage writes into.
    if work.table:
        return {table_folder(out, work.table)}
    unit_files = (file for path in paths for file in work.files_of(path))
    return {(out / file).parent for file in (*unit_files, *work.other_files)}


def _dropped(row: LedgerRow) -> LedgerRow:
    return LedgerRow(row.stage, row.key, row.fingerprint, "dropped")
