"""The house rules: style, rooms, types, and what an import or the command line may load."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import lint

PACKAGE = lint.ROOT / "lulc"


def test_style_rooms_and_types() -> None:
    assert lint.main() == 0


@pytest.mark.parametrize(
    "statement",
    [
        "import lulc",
        "import lulc.cli.main",
        "import lulc.config, lulc.geo.grid, lulc.tables.store, lulc.legend",
    ],
)
def test_import_loads_nothing_heavy(statement: str) -> None:
    heavy = "{'torch', 'pyspark', 'mlflow', 'sedona', 'petastorm', 'matplotlib', 'geopandas'}"
    code = f"{statement}; import sys; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("place", "code", "reason"),
    [
        (
            "geo/upward.py",
            "import lulc.spark.session",
            "lulc.geo is not allowed to import lulc.spark",
        ),
        (
            "sources/typed.py",
            "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import lulc.chips.chip",
            "lulc.sources is not allowed to import lulc.chips",
        ),
        (
            "report/sideways.py",
            "def draw():\n    import lulc.training.fit",
            "lulc.report is not allowed to import lulc.training",
        ),
        ("attic.py", "", "lulc.attic"),
        ("stats/opens.py", "import rasterio", "rasterio"),
    ],
)
def test_the_contract_fails_on_what_it_forbids(
    tmp_path: Path, place: str, code: str, reason: str
) -> None:
    shutil.copytree(PACKAGE, tmp_path / "lulc", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(lint.ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "lulc" / place).write_text(code)
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 1, process.stdout
    assert reason in " ".join(process.stdout.split())


def test_no_file_names_an_index_or_this_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=lint.ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    banned = ["--index" + "-url", "/root" + "/", "/work" + "/main", "pypi" + ".org"]
    for name in filter(None, listed):
        path = lint.ROOT / name
        if path.is_file() and path.suffix in {".py", ".toml", ".txt", ".yaml", ".md", ".ipynb", ""}:
            text = path.read_text(errors="replace")
            assert not [b for b in banned if b in text], name


@pytest.mark.parametrize(
    ("registry", "readers", "name"),
    [
        ("sources.registry", "sources/readers", "SOURCES"),
        ("datasets.registry", "datasets/readers", "DATASETS"),
        ("models.networks.registry", "models/networks", "MODELS"),
        ("models.tasks.registry", "models/tasks", "TASKS"),
    ],
)
def test_every_file_that_extends_is_listed(registry: str, readers: str, name: str) -> None:
    import importlib

    listed = getattr(importlib.import_module(f"lulc.{registry}"), name)
    kind = type(next(iter(listed.values())))
    folder = PACKAGE / readers
    modules = [
        importlib.import_module(f"lulc.{readers.replace('/', '.')}.{p.stem}")
        for p in folder.glob("[!_]*.py")
    ]
    exported = {v.name: v for m in modules for v in vars(m).values() if isinstance(v, kind)}
    assert exported == listed
