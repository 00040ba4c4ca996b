"""The house rules: style, rooms, types, and what an import or the command line may load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import lint

PACKAGE = lint.ROOT / "lulc"


def test_style_rooms_and_types() -> None:
    assert lint.main() == 0


@pytest.mark.parametrize("statement", ["import lulc", "import lulc.cli", "import lulc.conf, lulc.geo, lulc.store, lulc.legend"])
def test_import_loads_nothing_heavy(statement: str) -> None:
    heavy = "{'torch', 'pyspark', 'mlflow', 'sedona', 'petastorm', 'matplotlib', 'geopandas'}"
    code = f"{statement}; import sys; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_no_file_names_an_index_or_this_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=lint.ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    banned = ["--index" + "-url", "/root" + "/", "/work" + "/main", "pypi" + ".org"]
    for name in filter(None, listed):
        path = lint.ROOT / name
        if path.is_file() and path.suffix in {".py", ".toml", ".txt", ".yaml", ".md", ".ipynb", ""}:
            text = path.read_text(errors="replace")
            assert not [b for b in banned if b in text], name


@pytest.mark.parametrize("folder", ["sources", "models", "tasks"])
def test_every_file_that_extends_is_listed(folder: str) -> None:
    import importlib

    listed = getattr(importlib.import_module(f"lulc.{folder}"), folder.upper())
    kind = type(next(iter(listed.values())))
    modules = [importlib.import_module(f"lulc.{folder}.{p.stem}") for p in (PACKAGE / folder).glob("[!_]*.py")]
    exported = {v.name: v for m in modules for v in vars(m).values() if isinstance(v, kind)}
    assert exported == listed


def test_jobs_and_stages_are_the_same_names() -> None:
    from lulc.options import STAGES

    assert {p.stem for p in Path(lint.ROOT / "jobs").glob("*.py")} == set(STAGES)
