"""The house rules: style, rooms, types, and what an import or the command line may load."""

from __future__ import annotations

import subprocess
import sys

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
