"""A store that is busy, slow, cut off or lying, full or closed, while a run writes to it."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Mapping

from tests.faults.bench import CORES, Bench, Line, half_written
from tests.faults.places import bucket
from tests.helpers.faulty_proxy import Kind

_NAMES: Mapping[Kind, str] = {
    "busy": "503",
    "slow": "slow",
    "cut": "connection cut",
    "lost": "answer lost",
    "short": "length lies",
    "expired": "token expired",
    "full": "store full",
    "read-only": "store read-only",
}
_REMEDIES: Mapping[Kind, str] = {
    "busy": "503|busy|answers",
    "expired": "token has expired: set AWS_",
    "full": "507|InsufficientStorage|free space",
    "read-only": "403|AccessDenied|credentials|denied",
}
_PATIENCE_S = 120
_CHIPS = "tables/chips/*/[!.]*"


def store_trembles(bench: Bench, kind: Kind, each: int) -> Generator[Line]:
    """Every so many requests fail in a way that passes: the run goes on, with no wrong pixel."""
    with bucket() as place:
        bench.seed(place, "tile")
        place.faults.kind, place.faults.each = kind, each
        ended = bench.carry_out(place, "tile")
        place.faults.each = 0
        differences = bench.differences(place, ("tile",))
        wrong = [] if place.faults.failed else ["no request failed"]
        wrong += [f"exit {ended.code}: {ended.text[-600:]}"] if ended.code else []
        wrong += ["all was done before"] if "nothing to do" in ended.text else []
        wrong += (*differences, *half_written(place))
        written = place.faults.written.items()
        rewritten = sum(times > 1 for path, times in written if "/tables/chips/" in path)
        name = f"{_NAMES[kind]}, 1 in {each}"
        yield Line(name, "tile", "s3", f"{rewritten} tasks", not differences, tuple(wrong))


def store_refuses(bench: Bench, kind: Kind) -> Generator[Line]:
    """From the middle of `tile` every request fails: an error with the remedy, soon; a rerun."""
    with bucket() as place:
        bench.seed(place, "tile")
        running = bench.start(place, "tile")
        hit = running.wait_for(lambda: len(place.names(_CHIPS)) >= 3)
        place.faults.kind, place.faults.each = kind, 1
        start = time.monotonic()
        ended = running.end()
        seconds = time.monotonic() - start
        place.faults.each = 0
        wrong = [] if hit and place.faults.failed else ["no request failed"]
        if ended.code != 5:
            wrong.append(f"exit {ended.code}, not 5: {ended.text[-600:]}")
        if place.out not in ended.last_line or not re.search(_REMEDIES[kind], ended.last_line):
            wrong.append(f"the error does not name place and remedy: {ended.last_line}")
        if seconds > _PATIENCE_S:
            wrong.append(f"came after {seconds:.0f} s")
        wrong += half_written(place, is_complete=False)
        before = place.stamps()
        rerun = bench.carry_out(place, "tile")
        after = place.stamps()
        again = sum(after.get(n) != s for n, s in before.items() if n.startswith("tables/chips/"))
        differences = bench.differences(place, ("tile",))
        wrong += [f"rerun: exit {rerun.code}: {rerun.last_line}"] if rerun.code else []
        wrong += ["all was done before"] if "nothing to do" in rerun.text else []
        wrong += [f"{again} tasks done and done again"] if again > CORES else []
        wrong += (*differences, *half_written(place))
        name = f"{_NAMES[kind]}, all"
        yield Line(name, "tile", "s3", f"{again} tasks", not differences, tuple(wrong))
