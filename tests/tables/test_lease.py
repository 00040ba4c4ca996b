"""One process at a time works on an output location, and a dead one is in nobody's way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lulc.config import Config
from lulc.errors import SetupError
from lulc.location import Location, parse_location
from lulc.spark.context import StageContext
from lulc.stages import Selection
from lulc.tables import files, lease, ledger
from lulc.tables.ledger import LedgerRow
from tests.helpers.object_stores import SCHEMES, store_of

HOLD = """
import sys
from lulc.location import parse_location
from lulc.tables.lease import hold
with hold(parse_location(sys.argv[1]), "lulc tile"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module", params=["disk", *SCHEMES])
def root(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Location]:
    """A folder on disk, or a bucket of a store on this machine."""
    if request.param == "disk":
        yield tmp_path_factory.mktemp("disk")
        return
    with (
        store_of(request.param) as (address, environment, _),
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        yield parse_location(address)


@pytest.fixture
def out(root: Location, tmp_path: Path) -> Location:
    """An output location that is not there yet."""
    return root / tmp_path.name


@contextmanager
def other_process(out: Location) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease of a location until its input ends."""
    program = [sys.executable, "-c", HOLD, str(out)]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def files_of(out: Location) -> list[str]:
    return sorted(file.name for file in (out / "lease").iterdir())


def test_the_second_is_told_who_works_there_and_goes_on_when_it_has_ended(out: Location) -> None:
    with other_process(out) as process:
        with (
            pytest.raises(SetupError, match=f"worked on by `lulc tile` of .*{process.pid}"),
            lease.hold(out, "lulc index"),
        ):
            pytest.fail("two work on one location")
        process.communicate()
        with lease.hold(out, "lulc index") as mine:
            mine.check()
    assert files_of(out) == ["000000000002.json"]


def test_of_many_that_take_over_from_a_killed_process_one_does(out: Location) -> None:
    with other_process(out) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        begin, ended = threading.Barrier(8), threading.Barrier(8)

        def take_over(_: int) -> bool:
            begin.wait()
            try:
                with lease.hold(out, "lulc run") as mine:
                    ended.wait()
                    mine.check()
                    return True
            except SetupError:
                ended.wait()
                return False

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(take_over, range(8))) == 1
    assert len(files_of(out)) == 1


def elsewhere(out: Location, beat: int = 0, number: int = 7) -> None:
    """A process of another machine gives a sign of life."""
    here = lease.Holder.of_this_process("lulc tile")
    holder = replace(here, host="far", machine="far", beat=beat)
    content = json.dumps(asdict(holder))
    place = out / "lease" / f"{number:012d}.json"
    files.write_atomic(place, lambda path: path.write_text(content))


def test_a_process_of_another_machine_is_known_by_its_signs_of_life(
    out: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_SILENCE_S", 0.5)
    monkeypatch.setattr(lease, "_GLANCE_S", 0.02)
    stopped = threading.Event()
    elsewhere(out)

    def live() -> None:
        while not stopped.wait(0.02):
            elsewhere(out, time.monotonic_ns())

    thread = threading.Thread(target=live)
    thread.start()
    try:
        with pytest.raises(SetupError, match="on far"), lease.hold(out, "lulc run"):
            pytest.fail("two work on one location")
    finally:
        stopped.set()
        thread.join()
    # Its clock may say what it likes: it gives no sign of life any more.
    with lease.hold(out, "lulc run") as mine:
        mine.check()
        assert files_of(out) == ["000000000008.json"]


def test_the_holder_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_BEAT_S", 0.01)
    with lease.hold(tmp_path, "lulc run"):
        file = tmp_path / "lease" / "000000000001.json"
        first = json.loads(file.read_text())["beat"]
        for _ in range(1000):
            if json.loads(file.read_text())["beat"] > first:
                break
            threading.Event().wait(0.01)
        else:
            pytest.fail("no sign of life in ten seconds")
    assert json.loads(file.read_text())["ended"]


def test_who_lost_the_lease_records_nothing_more(out: Location) -> None:
    with lease.hold(out, "lulc run") as mine:
        context = StageContext(
            Config(name="r", scenes=(), bands=("red",)),
            out,
            Selection(),
            lambda: None,
            mine.check,
        )
        context.record([LedgerRow("tile", "a", "f")])
        elsewhere(out, number=mine.number + 1)
        with pytest.raises(SetupError, match=r"taken over by `lulc tile` .* on far"):
            context.record([LedgerRow("tile", "b", "f")])
    assert set(ledger.read_latest(out, "tile")) == {"a"}
    assert not json.loads((out / "lease" / "000000000002.json").read_text())["ended"]


def test_where_nothing_can_be_written_nothing_to_do_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "lease").write_text("no folder")
    with lease.hold(tmp_path, "lulc run") as mine, pytest.raises(SetupError, match="--out"):
        mine.check()
    with (
        pytest.raises(SetupError, match="could not be written"),
        lease.hold(tmp_path / "lease" / "out", "lulc run"),
    ):
        pytest.fail("there is no such place")


def test_a_pid_that_another_process_has_got_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_SILENCE_S", 0.1)
    monkeypatch.setattr(lease, "_GLANCE_S", 0.02)
    mine = lease.Holder.of_this_process("lulc tile")
    assert mine.started is not None
    (tmp_path / "lease").mkdir()
    reused = replace(mine, started=mine.started - 3600, pid=os.getpid())
    (tmp_path / "lease" / "000000000001.json").write_text(json.dumps(asdict(reused)))
    with lease.hold(tmp_path, "lulc run") as held:
        assert held.number == 2


def test_a_file_that_is_no_lease_is_named(tmp_path: Path) -> None:
    (tmp_path / "lease").mkdir()
    (tmp_path / "lease" / "000000000001.json").write_text("{}")
    with (
        pytest.raises(SetupError, match=r"000000000001\.json .* delete it"),
        lease.hold(tmp_path, "lulc run"),
    ):
        pytest.fail("held")


def test_who_lost_the_lease_to_a_deleted_folder_is_told_and_leaves_the_other_alone(
    out: Location,
) -> None:
    with lease.hold(out, "lulc index") as lost:
        files.remove_folder(out / "lease")
        with other_process(out) as process:
            with pytest.raises(SetupError, match=f"taken over by `lulc tile` .*{process.pid}"):
                lost.check()
            lost.renew(replace(lost.holder, beat=1))
            taken = json.loads((out / "lease" / "000000000001.json").read_text())
            assert taken["pid"] == process.pid


def test_other_names_in_the_folder_are_no_leases(out: Location) -> None:
    for name in ("5.json", "000000000001 (conflicted copy).json", "000000000002.json.txt"):
        files.create_exclusive(out / "lease" / name, b"{}")
    with lease.hold(out, "lulc index") as mine:
        mine.check()
        assert mine.number == 1


def test_work_that_fails_before_it_has_made_anything_leaves_nothing(out: Location) -> None:
    def fail(made: str = "") -> None:
        with lease.hold(out, "lulc index"):
            if made:
                files.write_atomic(out / made, lambda path: path.write_text("made"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not out.exists()
    with pytest.raises(RuntimeError):
        fail("tables/scenes/a.parquet")
    assert files_of(out) == ["000000000001.json"]
