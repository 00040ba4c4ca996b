"""One small run that all tests of the explorer look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from lulc.cli.main import main
from lulc.explorer.site import Site, open_site
from tests.helpers.explored_run import ExploredRun, make_explored_run


@pytest.fixture(scope="package")
def explored(tmp_path_factory: pytest.TempPathFactory) -> ExploredRun:
    return make_explored_run(tmp_path_factory.mktemp("explored"))


@pytest.fixture(scope="package")
def site(explored: ExploredRun, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return open_site(explored.config, explored.out, tmp_path_factory.mktemp("scratch"), True)


@pytest.fixture(scope="package")
def exported(explored: ExploredRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the run as files."""
    folder = tmp_path_factory.mktemp("exported")
    assert main(["view", str(explored.out), "--export", str(folder), "--true-colours"]) == 0
    return folder
