"""Disks that are full or read-only, and what is done once there is room again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.bench import Bench, Line, done_again, half_written
from tests.faults.places import Folder

_ROOM = 400 << 20
_BALLAST = "ballast"


@contextmanager
def small_disk(folder: Path) -> Iterator[Folder]:
    """Mount a small disk in memory and give an output folder on it. It takes root."""
    folder.mkdir(parents=True)
    mount("-t", "tmpfs", "-o", f"size={_ROOM}", "lulc-faults", str(folder))
    try:
        yield Folder(folder / "out")
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def mount(*options: str) -> None:
    """Run `mount`."""
    subprocess.run(["mount", *options], check=True)


def leave_free(disk: Path, free: int) -> None:
    """Fill a disk so that so many bytes are left."""
    ballast = disk / _BALLAST
    ballast.unlink(missing_ok=True)
    space = os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize - free)


def disk_full(bench: Bench, stage: str, free: int) -> Generator[Line]:
    """So many bytes are free when a stage starts, fewer than it writes; then there is room."""
    with small_disk(bench.room / "disk") as place:
        disk = place.folder.parent
        bench.seed(place, stage)
        leave_free(disk, free)
        ended = bench.carry_out(place, stage)
        (disk / _BALLAST).unlink()
        wrong = list(half_written(place))
        if ended.code != 5:
            wrong.append(f"exit {ended.code}, not 5: {ended.text[-600:]}")
        if place.out not in ended.last_line or "free space" not in ended.last_line:
            wrong.append(f"the error does not name place and remedy: {ended.last_line}")
        before = place.stamps()
        rerun = bench.carry_out(place, stage)
        if rerun.code:
            wrong.append(f"with room again: exit {rerun.code}: {rerun.last_line}")
        differences = bench.differences(place, (stage,))
        wrong += (*differences, *half_written(place))
        after = place.stamps()
        again = sum(after.get(n) != s for n, s in before.items() if _is_of(n, stage))
        if again:
            wrong.append(f"{again} finished files were written again")
        redone = f"{again} files"
        yield Line("disk full", stage, place.store, redone, not differences, tuple(wrong))


def _is_of(name: str, stage: str) -> bool:
    table = {"tile": "tables/chips/", "predict": "tables/predictions/", "rasters": "rasters/2024/"}
    return name.startswith(table.get(stage, "-")) and not name.startswith("rasters/2024/mosaic.")


def read_only(bench: Bench) -> Generator[Line]:
    """A disk that is read-only: a new folder, then a run with work to do, then one without."""
    with small_disk(bench.room / "disk") as place:
        disk = str(place.folder.parent)
        bench.seed(place, "rasters")
        for what, out in (("new folder", Folder(place.folder.parent / "new")), ("rasters", place)):
            mount("-o", "remount,ro", disk)
            ended = bench.carry_out(out, "rasters")
            mount("-o", "remount,rw", disk)
            wrong = []
            if ended.code != 5:
                wrong.append(f"exit {ended.code}, not 5: {ended.text[-600:]}")
            if out.out not in ended.last_line or "choose another --out" not in ended.last_line:
                wrong.append(f"the error does not name place and remedy: {ended.last_line}")
            yield Line("disk read-only", what, place.store, wrong=tuple(wrong))
        ended = bench.carry_out(place, "rasters")
        differences = bench.differences(place, ("rasters",))
        wrong = [f"exit {ended.code}: {ended.last_line}"] if ended.code else []
        wrong += (*differences, *half_written(place))
        redone = f"{done_again(place, 'rasters')} tasks"
        name = "disk writable again"
        yield Line(name, "rasters", place.store, redone, not differences, tuple(wrong))
