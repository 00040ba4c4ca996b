"""What a library raises while something is read is told as input that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import shapely

from lulc.errors import InputError, SetupError
from lulc.guard import RAISE_FAULTS, read_guard


@pytest.fixture
def in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard as it is outside of tests."""
    monkeypatch.delenv(RAISE_FAULTS)


ERRORS = (
    shapely.errors.GEOSException("IllegalArgumentException: Argument must be Point"),
    pa.ArrowInvalid("Parquet magic bytes not found in footer"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    OSError(5, "Input/output error"),
    ZeroDivisionError("division by zero"),
    RecursionError("maximum recursion depth exceeded"),
)
FAULTS = (
    AttributeError("'DataFrame' object has no attribute 'to_crs'"),
    TypeError("ufunc 'right_shift' not supported for the input types"),
    KeyError("geometry"),
    IndexError("list index out of range"),
    AssertionError(),
)


@pytest.mark.parametrize("error", [*ERRORS, *FAULTS], ids=lambda error: type(error).__name__)
@pytest.mark.usefixtures("in_use")
def test_any_error_names_its_type_the_file_and_the_remedy(error: Exception) -> None:
    with pytest.raises(InputError) as caught, read_guard(Path("/data/s.tif")):
        raise error
    text = str(caught.value)
    assert text.startswith("/data/s.tif cannot be read (")
    assert type(error).__name__ in text
    assert text.endswith("replace it")
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_faults_of_the_program_are_raised_in_tests(error: Exception) -> None:
    with pytest.raises(type(error)), read_guard("a file"):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        InputError("the file has no CRS: write one"),
        SetupError("the disk is full"),
        ModuleNotFoundError("No module named 'pyhdf'", name="pyhdf"),
        MemoryError(),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.usefixtures("in_use")
def test_what_is_explained_or_of_the_machine_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, read_guard("a file"):
        raise error
    assert caught.value is error


@pytest.mark.usefixtures("in_use")
def test_secrets_of_addresses_are_left_out() -> None:
    with pytest.raises(InputError) as caught, read_guard("s"):
        raise ValueError("https://user:password@host/a.tif?sig=abc is not found")
    assert "password" not in str(caught.value)
    assert "abc" not in str(caught.value)
