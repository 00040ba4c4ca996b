"""Reading from a failing object store: rare errors give no wrong pixel, an outage ends in time."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lulc.errors import InputError, StoreError
from lulc.geo.grid import Grid
from lulc.raster import reader
from lulc.raster.access import ReadError
from tests.helpers.faulty_proxy import Faults, Kind
from tests.helpers.object_stores import faulty_store, fill_bucket, store_variables
from tests.helpers.synthetic_scenes import texture, write_raster

GRID = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0), 512, 512)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Faults]]:
    path = write_raster(tmp_path_factory.mktemp("store") / "x.tif", texture(GRID), GRID)
    with faulty_store() as (place, faults):
        early = [f"{kind}{each}.tif" for kind in ("cut", "short") for each in (1, 2, 3)]
        names = ("busy.tif", "down.tif", "token.tif", *early, "site #2/a?b %41.tif")
        fill_bucket(place, dict.fromkeys(names, path.read_bytes()))
        yield place, faults


@pytest.fixture
def environment(store: tuple[str, Faults], monkeypatch: pytest.MonkeyPatch) -> Faults:
    place, faults = store
    for name, value in store_variables(place).items():
        monkeypatch.setenv(name, value)
    faults.each = faults.asked = faults.failed = 0
    return faults


@pytest.fixture(params=["s3", "http"])
def base(request: pytest.FixtureRequest, store: tuple[str, Faults]) -> str:
    return "s3://bucket" if request.param == "s3" else f"http://{store[0]}/bucket"


def test_one_request_in_ten_failing_gives_no_wrong_pixel(base: str, environment: Faults) -> None:
    environment.each = 10
    expected = texture(GRID)
    for row in range(0, 512, 128):
        for col in range(0, 512, 128):
            found, valid = reader.read_band(
                f"{base}/busy.tif", 1, GRID.window(row, col, 128, 128), "nearest", None
            )
            assert valid.all()
            np.testing.assert_array_equal(found, expected[row : row + 128, col : col + 128])
    assert environment.failed >= 1 and environment.asked >= 10


def test_a_store_that_is_down_is_an_error_in_time_and_is_not_remembered(
    base: str, environment: Faults
) -> None:
    environment.each = 1
    started = time.monotonic()
    # A file of a store that is down is not a bad one.
    kind = StoreError if base.startswith("s3") else ReadError
    with pytest.raises(kind, match=r"down\.tif.*503"):
        reader.read_band(f"{base}/down.tif", 1, GRID, "nearest", None)
    assert time.monotonic() - started < 120
    environment.each = 0
    assert reader.read_band(f"{base}/down.tif", 1, GRID, "nearest", None)[1].all()


@pytest.mark.parametrize("kind", ["cut", "short"])
def test_what_ends_early_is_read_again_or_is_an_error(
    kind: Kind, base: str, environment: Faults
) -> None:
    environment.kind, expected = kind, texture(GRID)
    try:
        for environment.each in (3, 2, 1):
            told = ""
            try:
                name = f"{base}/{kind}{environment.each}.tif"
                window = GRID.window(0, 0, 256, 256)
                found, valid = reader.read_band(name, 1, window, "nearest", None)
                assert valid.all() and (found == expected[:256, :256]).all()
            except InputError as error:
                told = str(error)
            assert not told or (environment.each < 3 and kind in told)
        assert environment.failed
    finally:
        environment.kind = "busy"


def test_an_expired_token_is_not_taken_for_a_bad_file(environment: Faults) -> None:
    environment.kind, environment.each = "expired", 1
    try:
        with pytest.raises(StoreError, match=r"token\.tif.* expired: set AWS_"):
            reader.read_band("s3://bucket/token.tif", 1, GRID, "nearest", None)
    finally:
        environment.kind = "busy"


@pytest.mark.usefixtures("environment")
def test_a_key_may_hold_the_marks_of_an_address() -> None:
    found, valid = reader.read_band(
        "s3://bucket/site #2/a?b %41.tif", 1, GRID.window(0, 0, 9, 9), "nearest", None
    )
    assert valid.all()
    np.testing.assert_array_equal(found, texture(GRID)[:9, :9])


def test_what_is_not_there_is_not_asked_for_again(base: str, environment: Faults) -> None:
    started = time.monotonic()
    with pytest.raises(ReadError, match=r"none\.tif"):
        reader.read_band(f"{base}/none.tif", 1, GRID, "nearest", None)
    assert time.monotonic() - started < 10 and environment.asked < 10


@pytest.mark.usefixtures("environment")
def test_a_refusal_says_how_to_be_let_in_and_shows_no_key(
    store: tuple[str, Faults], tmp_path: Path
) -> None:
    place, _ = store
    connection = http.client.HTTPConnection(place, timeout=30)
    for name, body in (
        ("/closed", b""),
        ("/closed/x.tif", write_raster(tmp_path / "x.tif", texture(GRID), GRID).read_bytes()),
    ):
        connection.request("PUT", name, body)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) and answer.status == 200
    with pytest.raises(ReadError, match=r"closed/x\.tif.*403.*AWS_ACCESS_KEY_ID"):
        reader.read_band(f"http://{place}/closed/x.tif", 1, GRID, "nearest", None)
    with pytest.raises(ReadError, match=r"none\.tif") as caught:
        reader.read_band(f"http://{place}/bucket/none.tif?token=SECRET", 1, GRID, "nearest", None)
    assert "SECRET" not in str(caught.value)
