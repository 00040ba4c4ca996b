"""Runs beside and after each other: two at once, clocks that differ, new releases and inputs."""

from __future__ import annotations

import io
import re
import shutil
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

import lulc
from tests.faults.bench import Bench, Line, done_again, half_written
from tests.faults.commands import Ended
from tests.faults.places import Folder, Place
from tests.helpers import small_world

_AN_HOUR_AHEAD = ("faketime", "-m", "-f", "+3600")
_CHIPS = "tables/chips/*/[!.]*"
_OF_CHIP = ["tile_id", "pixels", "valid"]


def _failure(ended: Ended, code: int = 0) -> tuple[str, ...]:
    if ended.code == code:
        return ()
    return (f"exit {ended.code}, not {code}: {ended.text[-600:]}",)


def _idle(bench: Bench, place: Place, stage: str) -> tuple[str, ...]:
    # A last run finds everything done.
    ended = bench.carry_out(place, stage)
    idle = "nothing to do" in ended.text
    lacks = () if idle else (f"a last run did something: {ended.text[-600:]}",)
    return (*_failure(ended), *lacks)


def two_at_once(bench: Bench, place: Place) -> Generator[Line]:
    """While `tile` works on a location, others are started on it: they say who holds it and stop.

    They are a run of all stages, `index`, and `tile` with other settings.
    """
    others = {
        "two runs at once": ("run",),
        "index beside tile": ("index",),
        "other settings at once": ("tile", "--set", "dates=1"),
    }
    bench.seed(place, "tile")
    first = bench.start(place, "tile")
    hit = first.wait_for(lambda: len(place.names(_CHIPS)) >= 2)
    workers = first.workers()
    for worker in workers:  # so that the first is at work until the others have ended
        worker.suspend()
    started = {fault: bench.start(place, *asked) for fault, asked in others.items()}
    ends = {fault: other.end() for fault, other in started.items()}
    for worker in workers:
        worker.resume()
    ended = first.end()
    differences = bench.differences(place, ("index", "tile"))
    shared = [] if hit else ["the first ended before the second began"]
    shared += [*_failure(ended), *differences, *half_written(place), *_idle(bench, place, "tile")]
    again = done_again(place, "tile")
    for fault, asked in others.items():
        other = ends[fault]
        wrong = [*_failure(other, 5), *shared]
        if f"process {first.process.pid} " not in other.text:
            wrong.append(f"does not say who holds it: {other.last_line}")
        redone = f"{again} tasks"
        yield Line(fault, asked[0], place.store, redone, not differences, tuple(wrong))


def clocks_differ(bench: Bench, place: Place) -> Generator[Line]:
    """Other settings ran on a machine whose clock is an hour ahead; then the run on this one."""
    if shutil.which(_AN_HOUR_AHEAD[0]) is None:
        lacking = "not tried: apt-get install faketime"
        yield Line("clock an hour ahead", "tile", place.store, wrong=(lacking,))
        return
    bench.seed(place, "tile")
    ahead = bench.carry_out(place, "tile", "--set", "dates=1", first=_AN_HOUR_AHEAD)
    ended = bench.carry_out(place, "tile")
    differences = bench.differences(place, ("tile",))
    wrong = (*_failure(ahead), *_failure(ended), *differences)
    wrong += (*half_written(place), *_idle(bench, place, "tile"))
    redone = f"{done_again(place, 'tile')} tasks, as asked"  # of other settings at first
    yield Line("clock an hour ahead", "tile", place.store, redone, not differences, wrong)


def upgraded(bench: Bench, place: Folder) -> Generator[Line]:
    """One release made the chips; the next that cuts others makes them anew, once."""
    bench.seed(place, "samples")
    before, release = _pixels(place), _next_release(bench)
    newer = replace(place, environment={"PYTHONPATH": str(release)})
    wrong = [*_idle(bench, newer, "tile")]  # it cuts the same
    stages = release / "lulc" / "stages.py"
    stages.write_text(re.sub(r'("tile": ")(?=\d)', r"\g<1>9.", stages.read_text()))
    first = bench.carry_out(newer, "tile")
    wrong += [*_failure(first), *_idle(bench, newer, "tile"), *half_written(place)]
    if "14 done" not in first.text:
        wrong.append(f"not all was made anew: {first.last_line}")
    is_equal = _pixels(place) == before and len(place.names(_CHIPS)) == 14
    redone = f"{done_again(place, 'tile')} tasks"
    yield Line("lulc upgraded between", "tile", place.store, redone, is_equal, tuple(wrong))


def _next_release(bench: Bench) -> Path:
    # A folder to import another release of lulc from.
    release = bench.room / "release"
    shutil.copytree(Path(lulc.__file__).parent, release / "lulc")
    root = release / "lulc" / "__init__.py"
    text = root.read_text()
    root.write_text(text.replace(f'__version__ = "{lulc.__version__}"', '__version__ = "9.9.9"'))
    return release


def _pixels(place: Place) -> dict[str, object]:
    # Tile → pixels, of all chips.
    files = [io.BytesIO(place.read(name)) for name in place.names(_CHIPS)]
    tables = [pq.read_table(file, columns=_OF_CHIP) for file in files]
    return {row["tile_id"]: row for table in tables for row in table.to_pylist()}


def input_replaced(bench: Bench, place: Place) -> Generator[Line]:
    """A scene's file is replaced under its name by another of the same size, between two runs."""
    changed = bench.room / "changed"
    shutil.copytree(bench.world.archive, changed)
    files = (changed / f"S_{day}_red.tif" for day in small_world.DAYS[:2])
    other, one = sorted(files, key=lambda file: file.stat().st_size)
    one.write_bytes(other.read_bytes().ljust(one.stat().st_size, b"\0"))
    archive, fresh = place.beside("archive"), place.beside("fresh")

    def index_and_tile(out: Place) -> tuple[str, ...]:
        settings = {"scenes.0.path": archive.out}
        return _failure(bench.start_stages(out, ("index", "tile"), settings).end())

    archive.fill(bench.world.archive, ("*",))
    wrong = [*index_and_tile(place)]
    before = _pixels(place)
    archive.fill(changed, (one.name,))
    wrong += index_and_tile(place)
    wrong += index_and_tile(fresh)
    after = {name: place.read(name) for name in place.names(_CHIPS)}
    expected = {name: fresh.read(name) for name in fresh.names(_CHIPS)}
    if before == _pixels(place):
        wrong.append("what was made of the old file stands")
    redone = f"{done_again(place, 'tile')} tasks"
    yield Line("input replaced", "tile", place.store, redone, after == expected, tuple(wrong))


def workers_of_another_release(bench: Bench, place: Folder) -> Generator[Line]:
    """Workers import another release of lulc than the driver."""
    bench.seed(place, "tile")
    release = _next_release(bench)
    setting = ("--set", f"spark.conf={{spark.executorEnv.PYTHONPATH: {release}}}")
    start = time.monotonic()
    ended = bench.carry_out(place, "tile", *setting)
    wrong = list(_failure(ended, 5))
    if "9.9.9" not in ended.text or lulc.__version__ not in ended.text:
        wrong.append(f"the error does not name both releases: {ended.last_line}")
    if time.monotonic() - start > 120:
        wrong.append("came after two minutes only")
    wrong += half_written(place)
    yield Line("workers of other release", "tile", place.store, wrong=tuple(wrong))
