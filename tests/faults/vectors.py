"""Stage embed, which the clean run has not: its driver killed, and chips damaged."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from tests.faults import kills
from tests.faults.bench import Bench, Line, done_again, half_written
from tests.faults.places import Folder

_CHIPS = "tables/chips/*/[!.]*"
_VECTORS = "tables/embeddings/*/[!.]*"


def embed_harmed(bench: Bench) -> Generator[Line]:
    """`embed` with its driver killed, and with damaged chips, against vectors made undisturbed."""
    clean = bench.folder("clean")
    bench.seed(clean, "embed")
    ended = bench.carry_out(clean, "embed")
    assert ended.code == 0, ended.text
    with_vectors = replace(bench, clean=clean.folder)
    yield from kills.driver_killed(with_vectors, bench.folder("killed"), ("embed",), "embed")
    yield from _chips_damaged(with_vectors, bench.folder("damaged"))


def _chips_damaged(bench: Bench, place: Folder) -> Generator[Line]:
    # A block is cut short: it alone has no vectors, until it is made again as told.
    bench.seed(place, "embed")
    names = place.names(_CHIPS)
    damaged = place.folder / names[len(names) // 2]
    damaged.write_bytes(damaged.read_bytes()[:-100])
    first = bench.carry_out(place, "embed")
    wrong = [] if first.code == 0 else [f"exit {first.code}: {first.text[-600:]}"]
    made = len(place.names(_VECTORS))
    if made != len(names) - 1:
        wrong.append(f"{made} blocks have vectors, not all {len(names)} but one")
    damaged.unlink()
    for verb in ("tile", "embed"):
        ended = bench.carry_out(place, verb)
        wrong += [f"{verb}: exit {ended.code}: {ended.last_line}"] if ended.code else []
    differences = bench.differences(place, ("embed",))
    wrong += (*differences, *half_written(place))
    redone = f"{done_again(place, 'embed')} tasks"
    yield Line("chips damaged", "embed", place.store, redone, not differences, tuple(wrong))
