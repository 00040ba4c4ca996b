"""The one protocol of stages: a run killed at any step is completed by the next, all equal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lulc
from lulc.config import Config
from lulc.errors import InputError
from lulc.runfile import parse_run, read_run
from lulc.spark import pipeline, workers
from lulc.spark.context import Selection, StageContext, StageResult
from lulc.spark.incremental import StageWork, Unit, run_incremental, run_whole
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import files, layout, ledger, schemas, store
from lulc.tables.ledger import STAGE_KEY, LedgerRow
from tests.helpers.small_world import World

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Killed(BaseException):
    """Ends a stage as a signal would: nothing of ours catches it."""


def no_spark() -> Any:
    raise AssertionError("Spark is not needed here")


CONFIG = parse_run(
    {
        "name": "t",
        "scenes": [{"path": "x"}],
        "bands": ["red"],
        "legend": {1: {"name": "a", "colour": "#000000"}},
        "samples": {"size": 128},
    },
    Path("/"),
)


class Letters:
    """A stage that writes a file for each of some letters; `kill_at` ends it before that step."""

    def __init__(self, out: Path, letters: str, version: str = "1", broken: str = "") -> None:
        self.out, self.letters, self.version, self.broken = out, letters, version, broken
        self.kill_at: str | None = None
        self.written: list[str] = []

    def unit(self, letter: str) -> Unit:
        fingerprint = f"{letter}{self.version}"
        return Unit(letter, fingerprint, f"tables/chips/{letter}.{fingerprint}.parquet", letter)

    def step(self, name: str) -> None:
        if name == self.kill_at:
            raise Killed(name)

    def work(self, units: Sequence[Unit]) -> Iterator[list[LedgerRow]]:
        for unit in units:
            self.step(f"write {unit.key}")
            assert unit.path
            if unit.key in self.broken:
                error = f"{unit.key} is broken"
                yield [LedgerRow("tile", f"input {unit.key}", "1", "bad", error=error)]
                continue
            footer = {"stage": "tile", "key": unit.key, "fingerprint": unit.fingerprint}
            about = footer | {"path": unit.path}
            store.write_rows(self.out / unit.path, [], schemas.TRIALS, about)
            self.written.append(unit.key)
            self.step(f"record {unit.key}")
            yield [ledger.row_of_file(self.out, store.read_footer(self.out / unit.path))]

    def plan(self, bad: Mapping[str, LedgerRow]) -> list[Unit]:
        return [self.unit(x) for x in self.letters if f"input {x}" not in bad]

    def finish(self, rows: Sequence[LedgerRow]) -> str:
        self.step("finish")
        return f"{len(rows)} new"

    def run(self, selection: Selection | None = None) -> StageResult:
        context = StageContext(CONFIG, self.out, selection or Selection(), no_spark)
        fingerprint = f"{self.letters} {self.version}"
        work = StageWork(
            "tile",
            fingerprint,
            self.plan,
            self.work,
            self.finish,
            table="chips",
            is_of_selection=True,
            is_still_bad=lambda row: row.fingerprint == "1",
        )
        return run_incremental(context, work)

    def files(self) -> set[str]:
        return {p.name.partition(".")[0] for p in (self.out / "tables/chips").glob("[!.]*")}


def test_what_is_up_to_date_is_skipped_and_what_is_gone_is_pruned(tmp_path: Path) -> None:
    assert Letters(tmp_path, "abc").run() == StageResult("tile", done=3, note="3 new")
    idle = Letters(tmp_path, "abc")
    assert idle.run() == StageResult("tile", skipped=3)
    assert idle.written == []
    fewer = Letters(tmp_path, "bcd")
    assert fewer.run() == StageResult("tile", skipped=2, done=1, note="1 new")
    assert fewer.files() == set("bcd")
    assert ledger.read_latest(tmp_path, "tile")["a"].status == "dropped"
    changed = Letters(tmp_path, "bcd", "2")
    assert changed.run().done == 3
    assert len(list((tmp_path / "tables/chips").glob("*.parquet"))) == 3


def test_a_lost_file_is_made_again_alone(tmp_path: Path) -> None:
    Letters(tmp_path, "abc").run()
    next((tmp_path / "tables/chips").glob("b.*")).unlink()
    again = Letters(tmp_path, "abc")
    assert again.run().done == 1
    assert again.written == ["b"]


def test_bad_inputs_are_left_out_recorded_once_and_tried_again_when_asked(tmp_path: Path) -> None:
    first = Letters(tmp_path, "abc", broken="b")
    assert first.run() == StageResult("tile", done=2, bad=1, note="2 new")
    assert Letters(tmp_path, "abc", broken="b").run() == StageResult("tile", skipped=2, bad=1)
    mended = Letters(tmp_path, "abc")
    assert mended.run(Selection(retry_bad=True)).bad == 0
    assert mended.files() == set("abc")
    assert ledger.read_latest(tmp_path, "tile")["input b"].status == "dropped"


def test_a_part_of_a_run_prunes_only_its_own_earlier_files(tmp_path: Path) -> None:
    Letters(tmp_path, "abc").run()
    part, selected = Letters(tmp_path, "b", "2"), Selection(tiles=("b",))
    assert part.run(selected).done == 1
    assert part.files() == set("abc")
    assert len(list((tmp_path / "tables/chips").glob("b.*"))) == 1
    assert Letters(tmp_path, "b", "2").run(selected) == StageResult("tile", skipped=3)
    # A part that happens to be all that is planned does not stand for the whole run.
    assert Letters(tmp_path, "b", "2").run().skipped == 1
    assert part.files() == {"b"}


def test_only_files_of_the_stage_are_pruned(tmp_path: Path) -> None:
    Letters(tmp_path, "ab").run()
    folder = tmp_path / "tables/chips"
    mine = folder / "backup/a.a1.parquet"
    mine.parent.mkdir()
    shutil.copy(folder / "a.a1.parquet", mine)
    unfinished = shutil.copy(mine, folder / f".{'0f' * 16}.parquet")
    assert Letters(tmp_path, "bc").run().done == 1
    assert mine.exists()
    assert not Path(unfinished).exists()


def test_a_bad_unit_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    units = [Unit(letter, f"{letter}1") for letter in "ab"]
    broken = {"b"}

    def work(todo: Sequence[Unit]) -> Iterator[list[LedgerRow]]:
        yield [
            LedgerRow("predict", unit.key, unit.fingerprint, "bad", error="cut short")
            if unit.key in broken
            else LedgerRow("predict", unit.key, unit.fingerprint)
            for unit in todo
        ]

    def run() -> StageResult:
        context = StageContext(CONFIG, tmp_path, Selection(), no_spark)
        stage_work = StageWork("predict", "f", lambda bad: units, work)  # noqa: ARG005
        return run_incremental(context, stage_work)

    assert run() == StageResult("predict", done=1, bad=1)
    assert run() == StageResult("predict", skipped=1, bad=1)
    broken.clear()
    assert run() == StageResult("predict", skipped=1, done=1)
    assert run() == StageResult("predict", skipped=2)


def test_a_file_that_lies_as_earlier_releases_had_it_is_taken_up_there(tmp_path: Path) -> None:
    class Sectors(Letters):
        def unit(self, letter: str) -> Unit:
            flat = super().unit(letter)
            assert flat.path
            return replace(flat, path=flat.path.replace("chips/", "chips/sector=2024.0_0/"))

    # A driver of an earlier release was killed before it recorded `a`.
    killed = Letters(tmp_path, "a")
    killed.kill_at = "record a"
    with pytest.raises(Killed):
        killed.run()
    assert Sectors(tmp_path, "ab").run() == StageResult("tile", skipped=1, done=1, note="1 new")
    rows = ledger.read_done(tmp_path, "tile")
    assert {key: row.path for key, row in rows.items()} == {
        "a": "tables/chips/a.a1.parquet",
        "b": "tables/chips/sector=2024.0_0/b.b1.parquet",
    }
    assert Sectors(tmp_path, "ab").run() == StageResult("tile", skipped=2)
    # Done anew, both lie in a sector, and the old files are gone.
    assert Sectors(tmp_path, "ab", "2").run().done == 2
    assert {p.parent.name for p in (tmp_path / "tables/chips").rglob("*.parquet")} == {
        "sector=2024.0_0"
    }


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_stage_killed_at_any_step_ends_as_if_it_never_was(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    out = tmp_path_factory.mktemp("killed")
    before = data.draw(st.sampled_from(["", "a", "ab", "abcd"]), "letters of the run before")
    letters = data.draw(st.sampled_from(["abc", "bcd", "d"]), "letters of the killed run")
    if before:
        Letters(out, before).run()
    steps = [f"{step} {x}" for x in letters for step in ("write", "record")] + ["finish"]
    killed = Letters(out, letters)
    killed.kill_at = data.draw(st.sampled_from(steps), "step")
    missing = [x for x in letters if x not in before]
    try:
        killed.run()
    except Killed:
        assert ledger.read_seal(out, "tile") is None
    again = Letters(out, letters)
    result = again.run()
    # What was published before the kill is recovered, not written again.
    assert not set(again.written) & set(killed.written)
    assert set(again.written) | set(killed.written) == set(missing)
    assert result.skipped + result.done == len(letters)
    assert again.files() == set(letters)
    rows = ledger.read_done(out, "tile")
    assert set(rows) == set(letters)
    checksums = {row.checksum for row in rows.values() if row.checksum}
    assert checksums <= {files.checksum(out / str(row.path)) for row in rows.values()}
    assert Letters(out, letters).run() == StageResult("tile", skipped=len(letters))


def test_tables_made_in_one_go_are_made_again_only_where_something_changed(tmp_path: Path) -> None:
    made: list[str] = []

    def make(bad: dict[str, LedgerRow]) -> None:
        made.append("x")
        bad["input"] = LedgerRow("stats", "input", "f1", "bad", error="no area")
        table = schemas.CLASS_AREAS.empty_table()
        store.write_table(tmp_path, "class_areas", table)

    def run(fingerprint: str, selection: Selection | None = None) -> StageResult:
        context = StageContext(CONFIG, tmp_path, selection or Selection(), no_spark)
        path = "tables/class_areas/part-0.parquet"
        return run_whole(context, "stats", fingerprint, path, make)

    assert run("f1") == StageResult("stats", done=1, bad=1)
    assert run("f1") == StageResult("stats", skipped=1, bad=1)
    assert run("f1", Selection(retry_bad=True)).done == 1
    assert run("f2").done == 1
    (tmp_path / "tables/class_areas/part-0.parquet").unlink()
    assert run("f2").done == 1
    assert len(made) == 4


def test_tables_that_a_killed_run_replaced_are_made_again(tmp_path: Path) -> None:
    path, made, bad_inputs = "tables/class_areas/part-0.parquet", [], {"input"}

    def run(fingerprint: str, kill: bool = False) -> StageResult:
        def make(bad: dict[str, LedgerRow]) -> None:
            made.append(fingerprint)
            for key in bad_inputs:
                bad[key] = LedgerRow("stats", key, fingerprint, "bad", error="no area")
            kept = tmp_path / layout.unfinished_stage("stats") / "f" / "a.parquet"
            files.write_atomic(kept, Path.touch)
            store.write_table(tmp_path, "class_areas", schemas.CLASS_AREAS.empty_table())
            if kill:
                raise Killed

        context = StageContext(CONFIG, tmp_path, Selection(), no_spark)
        return run_whole(context, "stats", fingerprint, path, make)

    run("f1")
    with pytest.raises(Killed):
        run("f2", kill=True)
    assert ledger.read_seal(tmp_path, "stats") is None
    assert (tmp_path / "unfinished").exists()
    assert run("f1") == StageResult("stats", done=1, bad=1)
    assert not (tmp_path / "unfinished").exists()
    assert made == ["f1", "f2", "f1"]
    bad_inputs.clear()
    (tmp_path / path).unlink()
    assert run("f1") == StageResult("stats", done=1)
    assert run("f1") == StageResult("stats", skipped=1)


def test_bad_inputs_are_recorded_even_where_a_stage_fails(tmp_path: Path) -> None:
    def fail(bad: dict[str, LedgerRow]) -> None:
        bad["input"] = LedgerRow("index", "input", "f", "bad", error="cut short")
        raise InputError("none of 1 items is a scene")

    context = StageContext(CONFIG, tmp_path, Selection(), no_spark)
    with pytest.raises(InputError, match="none of 1"):
        run_whole(context, "index", "f", "tables/scenes/part-0.parquet", fail)
    assert ledger.read_latest(tmp_path, "index")["input"].error == "cut short"
    assert ledger.read_seal(tmp_path, "index") is None


STAGES = ("index", "tile", "samples", "predict", "rasters", "stats", "evaluate")


def _forget(out: Path, stage: str) -> None:
    # The stage as if it had never been: its ledger rows and the files that they name are removed.
    for file in store.table_folder(out, "ledger").glob("*.parquet"):
        table = pq.read_table(file)
        keep = [name != stage for name in table["stage"].to_pylist()]
        for row in table.to_pylist():
            if row["stage"] == stage and row["path"]:
                (out / row["path"]).unlink(missing_ok=True)
        file.unlink()
        if any(keep):
            pq.write_table(table.filter(keep), file)
    if stage == "index":
        shutil.rmtree(out / layout.READ_ITEMS)


_WRITTEN_FOLDERS = {
    "tile": "tables/chips",
    "predict": "tables/predictions",
    "rasters": "confidence/*/*",
}


def _contents(out: Path) -> dict[str, Any]:
    folders = [p for p in (out / "tables").iterdir() if p.name not in ("ledger", "regions")]
    files = [p for folder in folders for p in folder.rglob("*.parquet")]
    files += [p for p in (out / "rasters").rglob("*") if p.is_file() and p.suffix != ".json"]
    contents: dict[str, Any] = {}
    for file in files:
        is_table = file.parent.name in ("scenes", "class_areas", "accuracy", "confusion")
        content = pq.read_table(file).to_pylist() if is_table else file.read_bytes()
        contents[str(file.relative_to(out))] = content
    return contents


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers do the first half of the next stage's keys; then the driver is killed."""
    whole, state = workers._map_tasks, {"armed": True}

    def half(context: Any, keys: Sequence[Any], tasks: int, *rest: Any) -> list[dict[str, Any]]:
        if not state["armed"]:
            return whole(context, keys, tasks, *rest)
        state["armed"] = False
        first = keys[: (len(keys) + 1) // 2]
        whole(context, first, min(tasks, len(first)), *rest)
        raise Killed

    monkeypatch.setattr(workers, "_map_tasks", half)
    frames = {"armed": True}
    map_frame = workers.map_frame

    def frame(*arguments: Any) -> Any:
        if frames["armed"]:
            frames["armed"] = False
            raise Killed
        return map_frame(*arguments)

    monkeypatch.setattr("lulc.spark.areas.measure.map_frame", frame)


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_killed_at_half_is_completed_by_the_next_run(
    stage: str,
    done: Path,
    small: World,
    tmp_path: Path,
    spark: SparkSession,
    killing: None,  # noqa: ARG001
) -> None:
    out = tmp_path / "out"
    shutil.copytree(done, out)
    expected, config = _contents(out), read_run(small.run)
    units = len(ledger.read_done(out, stage))
    _forget(out, stage)

    def context(config: Config) -> StageContext:
        return StageContext(config, out, Selection(), lambda: spark)

    with pytest.raises(Killed):
        pipeline.run_stage(stage, context(config))
    assert ledger.read_seal(out, stage) is None
    # What killed writers left.
    folders = out.glob(_WRITTEN_FOLDERS.get(stage, "none"))
    left = [folder / f".{'0f' * 16}.tif" for folder in folders]
    for path in left:
        path.write_bytes(b"half")
    result = pipeline.run_stage(stage, context(config))
    assert _contents(out) == expected
    assert bool(left) == (stage in _WRITTEN_FOLDERS)
    assert not any(path.exists() for path in left)
    assert ledger.read_seal(out, stage) is not None
    # Units whose files were published before the kill are not done again.
    if stage in ("tile", "predict"):
        assert result.done <= units // 2
    rows = ledger.read_latest(out, stage)
    assert {key for key, row in rows.items() if row.status == "done"} >= {STAGE_KEY}
    idle = pipeline.run_stage(stage, StageContext(config, out, Selection(), no_spark))
    assert (idle.done, idle.empty) == (0, 0)


def test_a_release_that_writes_the_same_makes_nothing_again(
    done: Path, small: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(done, out)
    monkeypatch.setattr(lulc, "__version__", "9.9.9")
    context = StageContext(read_run(small.run), out, Selection(), no_spark)
    results = [pipeline.run_stage(stage, context) for stage in STAGES]
    assert [(r.done, r.empty, r.skipped > 0) for r in results] == [(0, 0, True)] * len(STAGES)
    # One whose output is another now is made again, with what follows from it alone.
    monkeypatch.setitem(OUTPUT_VERSIONS, "rasters", "9.9.9")
    assert pipeline.run_stage("predict", context).done == 0
    with pytest.raises(AssertionError, match="Spark is not needed"):
        pipeline.run_stage("rasters", context)


def test_a_folder_of_release_0_1_is_retired_once(tmp_path: Path) -> None:
    old = [LedgerRow("tile", "2024/t/0_0", "f", path="x"), LedgerRow("tile", "", "f")]
    ledger.append_ledger(tmp_path, [*old, LedgerRow("index", "bad.tif", "", "bad")])
    assert ledger.retire_old_rows(tmp_path)
    assert not ledger.retire_old_rows(tmp_path)
    rows = ledger.read_latest(tmp_path, "tile").values()
    assert {row.status for row in rows} == {"dropped"}
