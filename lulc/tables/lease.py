"""The lease of an output location: one process at a time works on it, those that only read go on.

Holders follow one another in numbered files, `lease/<number>.json`; the highest number holds. A
file is created only where nobody else created it, so of several processes that want the next number
one gets it. The holder writes its file anew every few seconds. Whoever finds the file of a process
that has ended takes over; that of a process on another machine it watches for changes, as nothing
can be told from the clocks of two machines.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import psutil

from lulc import progress
from lulc.errors import SetupError
from lulc.location import Location, check_output
from lulc.tables import files, layout

_BEAT_S = 10.0
"""Seconds between two signs of life of a holder."""
_SILENCE_S = 60.0
"""Seconds without one after which a holder on another machine has ended."""
_GLANCE_S = 1.0
_TRIES = 100
_OTHER_OUT = "choose another --out"
_BOOT, _PROCESS_NAMES = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


@dataclass(frozen=True)
class Holder:
    """A process that works on an output location."""

    work: str
    """What it does, such as `tile`."""
    user: str
    host: str
    pid: int
    started: float | None
    """When the process started, by its machine's clock."""
    machine: str
    """Differs where the same pid may be another process."""
    since: str
    beat: int = 0
    """Counts its signs of life."""
    ended: bool = False
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def of_this_process(cls, work: str) -> Self:
        """Return this process as a holder."""
        pid, now = os.getpid(), f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        return cls(work, _user(), platform.node(), pid, _start_of(pid), _machine(), now)

    def __str__(self) -> str:
        """Return who it is, for a message."""
        return (
            f"`{self.work}` of {self.user}, process {self.pid} on {self.host}, since {self.since}"
        )


@dataclass(frozen=True)
class Lease:
    """The right of this process to work on an output location."""

    out: Location
    number: int
    """Of its file; 0 where the location cannot be written."""
    holder: Holder
    unwritable: SetupError | None = None

    def check(self) -> None:
        """Check that the location may be written.

        Raises:
            SetupError: it cannot be, or another process has taken it over.
        """
        if self.unwritable:
            raise self.unwritable
        if not self._is_held():
            highest = _highest(self.out)
            other = _read(self.out, highest) if highest else None
            by = f"taken over by {other}" if other else "removed"
            raise SetupError(
                f"the lease on {self.out} was {by}, as this process showed no sign of life: what "
                "is recorded is kept; rerun the same command when the other has ended"
            )

    def renew(self, holder: Holder) -> None:
        """Write the lease's file anew, if the lease is still held."""
        if self.number and self._is_held():
            _write(self.out, self.number, holder)

    def _is_held(self) -> bool:
        # Nothing is listed. Who takes over makes the next file, and removes the files before it in
        # order: as long as this one is there, the next one is, too, if it was ever made.
        recorded = _read(self.out, self.number)
        is_there = recorded is not None and recorded.token == self.holder.token
        return is_there and _read(self.out, self.number + 1) is None


@contextlib.contextmanager
def hold(out: Location, work: str) -> Iterator[Lease]:
    """Hold the lease of an output location while what is inside is done.

    A location that cannot be written can be worked on as long as nothing has to be done there:
    the lease's `check` raises what writing would.

    Args:
        out: the output location, which is made; it is left as it was found where what is inside
            fails before it has made anything.
        work: what is done there, for the message of others.

    Raises:
        UsageError: the location is a file.
        SetupError: another process holds the lease; names it. Or the location is not there and
            cannot be made.
    """
    is_new = isinstance(out, Path) and not out.exists()
    lease = _acquire(out, work)
    stopped = threading.Event()
    beating = threading.Thread(target=_beat, args=(lease, stopped), daemon=True)
    beating.start()
    has_failed = True
    try:
        yield lease
        has_failed = False
    finally:
        stopped.set()
        beating.join()
        with contextlib.suppress(SetupError, OSError):  # it is found to have ended all the same
            lease.renew(replace(lease.holder, ended=True))
            if has_failed:
                _remove_lease(lease, is_new)


def _remove_lease(lease: Lease, is_new: bool) -> None:
    # Where work failed before it had made anything.
    out = lease.out
    if {entry.name for entry in out.iterdir()} <= {layout.LEASES, layout.CONFIG}:
        files.remove(_lease_file(out, lease.number))
        files.remove_empty(out / layout.LEASES)
        if is_new:
            files.remove_empty(out)


def _acquire(out: Location, work: str) -> Lease:
    check_output(out)
    holder = Holder.of_this_process(work)
    for _ in range(_TRIES):
        highest = _highest(out)
        if highest:
            other = _read(out, highest)
            if other is None:  # it was taken over just now
                time.sleep(_GLANCE_S / 10)
                continue
            if other.token == holder.token:
                return Lease(out, highest, holder)  # created, though the store's answer was lost
            if _is_alive(out, highest, other):
                raise SetupError(
                    f"{out} is worked on by {other}: wait until it has ended, or {_OTHER_OUT}"
                )
            if not other.ended:
                progress.say(f"{out} is taken over from {other}, which has ended")
        try:
            created = files.create_exclusive(_lease_file(out, highest + 1), _encode(holder))
            if not created and _highest(out) == highest:
                file = _lease_file(out, highest + 1)
                raise SetupError(f"{file} could not be written: {_OTHER_OUT}")
        except SetupError as error:
            if not files.exists(out):
                raise
            return Lease(out, 0, holder, error)
        numbers = _numbers(out) if created else [0]
        if numbers[-1] == highest + 1:
            for number in numbers[:-1]:
                files.remove(_lease_file(out, number))
            return Lease(out, highest + 1, holder)
    raise SetupError(
        f"the lease of {out} cannot be taken: if nobody works there, delete its folder "
        f"{layout.LEASES}"
    )


def _is_alive(out: Location, number: int, holder: Holder) -> bool:
    if holder.ended:
        return False
    if holder.machine == _machine():
        started = _start_of(holder.pid)
        if started is None:
            return False
        if holder.started is not None and abs(started - holder.started) < 1.0:
            return True
    # On another machine, or the clock was set since.
    progress.say(
        f"{out} was last worked on by {holder}: watching for up to {_SILENCE_S:.0f} s whether it "
        "still is"
    )
    begin = time.monotonic()
    while time.monotonic() - begin < _SILENCE_S:
        time.sleep(_GLANCE_S)
        now = _read(out, number)
        if now != holder:
            return now is not None and not now.ended
    return False


def _beat(lease: Lease, stopped: threading.Event) -> None:
    beat = 0
    while not stopped.wait(_BEAT_S):
        beat += 1
        # A sign of life that fails is given again at the next beat.
        with contextlib.suppress(SetupError, OSError):
            lease.renew(replace(lease.holder, beat=beat))


def _lease_file(out: Location, number: int) -> Location:
    return out / layout.lease_file(number)


def _numbers(out: Location) -> list[int]:
    # In order. Other names, such as copies that a program of synchronisation makes, are no leases.
    lease_files = (out / layout.LEASES).glob("[0-9]*.json")
    numbered = ((int(file.stem), file) for file in lease_files if file.stem.isdecimal())
    return sorted(number for number, file in numbered if file == _lease_file(out, number))


def _highest(out: Location) -> int:
    return max(_numbers(out), default=0)


def _encode(holder: Holder) -> bytes:
    return json.dumps(asdict(holder), indent=1).encode()


def _write(out: Location, number: int, holder: Holder) -> None:
    files.write_atomic(_lease_file(out, number), lambda path: path.write_bytes(_encode(holder)))


def _read(out: Location, number: int) -> Holder | None:
    lease_file = _lease_file(out, number)
    try:
        return Holder(**json.loads(lease_file.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise SetupError(
            f"{lease_file} does not say who works on {out} ({error}): if nobody does, delete it"
        ) from error


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user has no name
        return f"user {os.getuid()}"


def _start_of(pid: int) -> float | None:
    # When a process started; None where it has ended.
    try:
        process = psutil.Process(pid)
        is_ended = process.status() == psutil.STATUS_ZOMBIE
        return None if is_ended else process.create_time()
    except psutil.NoSuchProcess:
        return None


def _machine() -> str:
    # Containers of one machine count their processes each from 1.
    try:
        boot, process_names = _BOOT.read_text().strip(), os.readlink(_PROCESS_NAMES)
    except OSError:  # not Linux
        boot, process_names = f"{uuid.getnode():x}", ""
    return f"{platform.node()} {boot} {process_names}".strip()
