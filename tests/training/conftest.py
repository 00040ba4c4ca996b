"""What several tests of training learn from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import tiny_samples


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of `tiny_samples`, which is only read."""
    return tiny_samples.write_samples(tmp_path_factory.mktemp("samples"))
