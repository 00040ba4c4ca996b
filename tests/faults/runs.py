"""Runs beside and after each other: two at once, clocks that differ, new releases and inputs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import lulc
from tests.faults.bench import Bench, Line, half_written
from tests.faults.commands import Ended
from tests.faults.places import Folder, Place
from tests.helpers import small_world

_AN_HOUR_AHEAD = ("faketime", "-m", "-f", "+3600")
_CHIPS = "tables/chips/[!.]*"


def _failure(ended: Ended, code: int = 0) -> tuple[str, ...]:
    if ended.code == code:
        return ()
    return (f"exit {ended.code}, not {code}: {ended.text[-600:]}",)


def _idle(bench: Bench, place: Place, verb: str, stages: int) -> tuple[str, ...]:
    # A last run finds everything done.
    ended = bench.carry_out(place, verb)
    count = ended.text.count("nothing to do")
    lacks = () if count == stages else (f"a last run did something: {ended.text[-600:]}",)
    return (*_failure(ended), *lacks)


def two_at_once(bench: Bench, place: Place, verbs: tuple[str, str], fault: str) -> Iterator[Line]:
    """Start two commands on one location: one goes on, the other stops and says who holds it."""
    bench.seed(place, "tile")
    first = bench.start(place, verbs[0])
    hit = first.wait_for(lambda: len(place.names(_CHIPS)) >= 2)
    second = bench.carry_out(place, verbs[1])
    ended = first.end()
    wrong = [] if hit else ["the first ended before the second began"]
    wrong += [*_failure(ended), *_failure(second, 5)]
    if f"process {first.process.pid}" not in second.text:
        wrong.append(f"does not say who holds it: {second.last_line}")
    differences = bench.differences(place, ("index", "tile"))
    wrong += (*differences, *half_written(place), *_idle(bench, place, "tile", 1))
    yield Line(fault, " + ".join(verbs), place.store, "0 tasks", not differences, tuple(wrong))


def holder_killed(bench: Bench, place: Place) -> Iterator[Line]:
    """A run is killed; the next takes its lease over."""
    bench.seed(place, "tile")
    running = bench.start(place, "tile")
    hit = running.wait_for(lambda: len(place.names(_CHIPS)) >= 2)
    running.kill()
    start = time.monotonic()
    ended = bench.carry_out(place, "tile")
    wrong = [] if hit else ["ended before it was killed"]
    wrong += _failure(ended)
    if time.monotonic() - start > 120:
        wrong.append("was taken over after two minutes only")
    differences = bench.differences(place, ("tile",))
    wrong += (*differences, *half_written(place))
    yield Line(
        "holder of lease killed",
        "tile",
        place.store,
        "2 tasks at most",
        not differences,
        tuple(wrong),
    )


def other_settings(bench: Bench, place: Place) -> Iterator[Line]:
    """A second run with other settings starts while a first one writes."""
    bench.seed(place, "tile")
    first = bench.start(place, "tile")
    hit = first.wait_for(lambda: len(place.names(_CHIPS)) >= 2)
    second = bench.carry_out(place, "tile", "--set", "dates=1")
    ended = first.end()
    wrong = [] if hit else ["the first ended before the second began"]
    wrong += [*_failure(ended), *_failure(second, 5)]
    differences = bench.differences(place, ("tile",))
    wrong += (*differences, *half_written(place))
    yield Line(
        "other settings at once", "tile", place.store, "0 tasks", not differences, tuple(wrong)
    )


def clocks_differ(bench: Bench, place: Place) -> Iterator[Line]:
    """Other settings ran on a machine whose clock is an hour ahead; then the run on this one."""
    if shutil.which(_AN_HOUR_AHEAD[0]) is None:
        lacking = "not tried: apt-get install faketime"
        yield Line("clock an hour ahead", "tile", place.store, wrong=(lacking,))
        return
    ahead = bench.carry_out(place, "index", first=_AN_HOUR_AHEAD)
    cut = bench.carry_out(place, "tile", "--set", "dates=1", first=_AN_HOUR_AHEAD)
    ended = bench.carry_out(place, "tile")
    differences = bench.differences(place, ("tile",))
    wrong = (*_failure(ahead), *_failure(cut), *_failure(ended), *differences)
    wrong += (*half_written(place), *_idle(bench, place, "tile", 1))
    yield Line("clock an hour ahead", "tile", place.store, "0 tasks", not differences, wrong)


def upgraded(bench: Bench, place: Place) -> Iterator[Line]:
    """Release x made a part; release x + 1 goes on: it ends, does all anew once, then nothing."""
    bench.seed(place, "tile")
    ended = bench.carry_out(place, "tile")
    release = bench.room / "release"
    shutil.copytree(Path(lulc.__file__).parent, release / "lulc")
    root = release / "lulc" / "__init__.py"
    text = root.read_text()
    root.write_text(text.replace(f'__version__ = "{lulc.__version__}"', '__version__ = "9.9.9"'))
    newer = replace(place, environment={**place.environment, "PYTHONPATH": str(release)})
    first = bench.carry_out(newer, "tile")
    wrong = [*_failure(ended), *_failure(first), *_idle(bench, newer, "tile", 1)]
    if "14 done" not in first.text:
        wrong.append(f"not all was made anew: {first.last_line}")
    names = place.names(_CHIPS)
    if len(names) != 14:
        wrong.append(f"{len(names)} files of chips, not 14")
    # What release x made is not what x + 1 makes, by name; back to x it is.
    back = bench.carry_out(place, "tile")
    differences = bench.differences(place, ("tile",))
    wrong += [*_failure(back), *differences, *half_written(place)]
    yield Line(
        "lulc upgraded between", "tile", place.store, "all, once", not differences, tuple(wrong)
    )


def input_replaced(bench: Bench, place: Place) -> Iterator[Line]:
    """A scene's file is replaced under its name by another of the same size, between two runs."""
    archive = bench.room / "archive"
    shutil.copytree(bench.world.archive, archive)
    given = ("--set", f"scenes.0.path={archive}")
    wrong = [t for s in ("index", "tile") for t in _failure(bench.carry_out(place, s, *given))]
    before = {name: place.read(name) for name in place.names(_CHIPS)}
    one, other = (archive / f"S_{day}_red.tif" for day in small_world.DAYS[:2])
    size = one.stat().st_size
    content = other.read_bytes()[:size]
    one.write_bytes(content + bytes(size - len(content)))
    wrong += [t for s in ("index", "tile") for t in _failure(bench.carry_out(place, s, *given))]
    fresh = bench.folder("fresh")
    wrong += [t for s in ("index", "tile") for t in _failure(bench.carry_out(fresh, s, *given))]
    after = {name: place.read(name) for name in place.names(_CHIPS)}
    expected = {name: fresh.read(name) for name in fresh.names(_CHIPS)}
    if before == after:
        wrong.append("what was made of the old file stands")
    yield Line("input replaced", "tile", place.store, "all, once", after == expected, tuple(wrong))


def workers_of_another_release(bench: Bench, place: Folder) -> Iterator[Line]:
    """Workers import another release of lulc than the driver."""
    bench.seed(place, "tile")
    release = bench.room / "release"
    shutil.copytree(Path(lulc.__file__).parent, release / "lulc")
    root = release / "lulc" / "__init__.py"
    text = root.read_text()
    root.write_text(text.replace(f'__version__ = "{lulc.__version__}"', '__version__ = "9.9.9"'))
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
