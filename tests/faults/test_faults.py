"""Every case of the fault suite; the ordinary run of the tests has a part of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.bench import Bench
from tests.faults.cases import CASES, Case
from tests.helpers.small_world import World

_ORDINARY, _OTHER = pytest.mark.faults(ordinary=True), pytest.mark.faults


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=c.name, marks=_ORDINARY if c.is_ordinary else _OTHER) for c in CASES],
)
def test_a_fault_changes_nothing_and_is_told(
    case: Case, small: World, done: Path, tmp_path: Path
) -> None:
    bench = Bench(small, done, tmp_path)
    try:
        lines = list(case.lines(bench))
    finally:
        bench.end_all()
    assert lines
    assert not [line for line in lines if not line.passed]
