"""Files of a store that fails: whole or an error, in time, with what to do; never a part."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from lulc.errors import SetupError, StoreError, explain, kept_work_named
from lulc.guard import read_guard
from lulc.location import StorePath, parse_location
from lulc.tables import files
from tests.helpers.faulty_proxy import Faults, Kind
from tests.helpers.object_stores import faulty_store, fill_bucket, store_variables

CONTENT = os.urandom(300_000)
KEPT = "finished work is kept: rerun the same command when this is mended"


@pytest.fixture(scope="module")
def faults() -> Iterator[Faults]:
    with faulty_store() as (place, faults), pytest.MonkeyPatch.context() as patch:
        fill_bucket(place, {"x.bin": CONTENT})
        for name, value in store_variables(place).items():
            patch.setenv(name, value)
        yield faults


@pytest.fixture
def location(faults: Faults) -> Iterator[StorePath]:
    faults.each = faults.asked = faults.failed = 0
    location = parse_location("s3://bucket/x.bin")
    assert isinstance(location, StorePath)
    yield location
    faults.each = 0


def read_whole(location: StorePath) -> bytes:
    with location.open("rb") as file:
        content: bytes = file.read()
    return content


def read_pieces(location: StorePath) -> bytes:
    with location.open("rb") as file:
        return b"".join(iter(lambda: file.read(40_000), b""))


READERS: tuple[Callable[[StorePath], bytes], ...] = (StorePath.read_bytes, read_whole, read_pieces)


@pytest.mark.parametrize("kind", ["busy", "slow", "cut", "short"])
def test_what_fails_now_and_then_passes(kind: Kind, faults: Faults, location: StorePath) -> None:
    faults.kind, faults.each = kind, 2
    for attempt in range(2):
        files.write_atomic(location, lambda path: path.write_bytes(CONTENT))
        for read in READERS:
            assert read(location) == CONTENT, (read, attempt)
    assert faults.failed > 2


@pytest.mark.parametrize("kind", ["cut", "short"])
def test_a_part_is_never_taken_for_the_whole(
    kind: Kind, faults: Faults, location: StorePath
) -> None:
    faults.kind, faults.each, faults.methods = kind, 1, ("GET",)
    try:
        for read in READERS:
            with pytest.raises(StoreError, match=r"bucket/x\.bin"):
                read(location)
    finally:
        faults.methods = ()


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("busy", "503"),
        ("expired", "the token has expired"),
        ("full", "free space"),
        ("read-only", "AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_store_that_takes_nothing_is_an_error_in_time(
    kind: Kind, remedy: str, faults: Faults, location: StorePath
) -> None:
    faults.kind, faults.each = kind, 1
    start = time.monotonic()
    with pytest.raises(SetupError, match=rf"s3://bucket/x\.bin: .*{remedy}"):
        files.write_atomic(location, lambda path: path.write_bytes(b"new"))
    with pytest.raises(SetupError, match=remedy):
        files.create_exclusive(location.with_name("new"), b"new")
    assert time.monotonic() - start < 60
    if kind in ("busy", "expired"):
        # What is read is not taken for damaged: nothing is recorded as bad.
        with pytest.raises(SetupError) as told, read_guard("the chips"):
            location.read_bytes()
        for error in (told.value, RuntimeError(f"lulc.errors.StoreError: {told.value}\n\n")):
            code, text = explain(error)
            assert (code, "s3://bucket/x.bin" in text, remedy in text) == (5, True, True)
            assert "finished work" not in text  # no stage was running
            with pytest.raises(type(error)) as raised, kept_work_named():
                raise error
            assert explain(raised.value) == (code, f"{text}; {KEPT}")
    faults.each = 0
    assert location.read_bytes() == CONTENT
    assert not location.with_name("new").exists()
