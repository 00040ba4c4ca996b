"""The package's metadata: every import is declared, every declaration is used, pins fit ranges."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lulc
from lulc.errors import EXTRAS, SetupError, extras_named
from tests.lint import ROOT

PACKAGE = ROOT / "lulc"

# Extras that a room's own files need, at their head or within a function. Any room that is not
# here makes do with the base.
ROOM_EXTRAS: dict[str, set[str]] = {
    "raster": {"hdf4"},
    "stats": {"h3"},
    "models": {"train", "encoders", "trees"},
    "training": {"train", "trees"},
    "inference": {"train"},
    "spark": {"spark"},
    "cli": {"spark"},
    "explorer": {"view"},
}
# Rooms whose every file can be imported with the base alone: they ask for an extra when used.
IMPORTED_BY_BASE = {"raster", "stats", "explorer"}
# segmentation-models-pytorch imports timm: lulc/models/networks/smp.py; of maplibre files are read:
# lulc/explorer/site.py
NOT_IMPORTED = {"timm", "maplibre"}


@cache
def metadata() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirements(*extras: str) -> dict[str, Requirement]:
    """Name → what the base and some extras declare, extras of extras resolved."""
    project = metadata()["project"]
    texts = list(project["dependencies"])
    for extra in extras:
        texts += project["optional-dependencies"][extra]
    declared: dict[str, Requirement] = {}
    for requirement in map(Requirement, texts):
        if requirement.name == "lulc":
            declared |= requirements(*sorted(requirement.extras))
        else:
            declared[canonicalize_name(requirement.name)] = requirement
    return declared


def imported(tree: ast.AST) -> Iterator[str]:
    """Top-level names of the libraries that code imports, other than for type checking."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        names: Iterable[str] = ()
        if isinstance(node, ast.Import):
            names = (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = (node.module or "",)
        for name in names:
            library = name.partition(".")[0]
            if library != "lulc" and library not in sys.stdlib_module_names:
                yield library
        yield from imported(node)


@cache
def imports_of_rooms() -> dict[str, dict[str, set[str]]]:
    """Room ("" for the root modules) → library → the files that import it."""
    rooms: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in sorted(PACKAGE.rglob("*.py")):
        *folders, _ = path.relative_to(PACKAGE).parts
        for library in imported(ast.parse(path.read_text())):
            rooms[folders[0] if folders else ""][library].add(str(path.relative_to(ROOT)))
    return rooms


@cache
def installed() -> Mapping[str, list[str]]:
    return packages_distributions()


def distributions(library: str) -> set[str]:
    """Names of the installed distributions that a library is of."""
    return set(map(canonicalize_name, installed().get(library, ())))


def test_a_room_imports_only_what_the_base_and_its_extras_bring() -> None:
    undeclared = {
        (room, library): sorted(files)
        for room, libraries in imports_of_rooms().items()
        for library, files in libraries.items()
        if not distributions(library) & requirements(*ROOM_EXTRAS.get(room, ())).keys()
    }
    assert not undeclared
    assert ROOM_EXTRAS.keys() <= imports_of_rooms().keys()


def test_all_that_is_declared_is_imported() -> None:
    used = {
        name
        for libraries in imports_of_rooms().values()
        for library in libraries
        for name in distributions(library)
    }
    assert requirements("all").keys() - used == NOT_IMPORTED


def test_the_extra_that_an_error_names_brings_the_library() -> None:
    for extra, libraries in EXTRAS.items():
        brought = requirements(extra).keys() - requirements().keys()
        for library in libraries:
            assert distributions(library) & brought, library
    named = {
        name for group in EXTRAS.values() for library in group for name in distributions(library)
    }
    assert requirements("all").keys() - requirements().keys() <= named


def test_extra_all_is_all_extras() -> None:
    extras = metadata()["project"]["optional-dependencies"].keys()
    assert requirements("all") == requirements(*extras)


def run_without_extras(code: str) -> subprocess.CompletedProcess[str]:
    """Run code where no library of an extra can be imported."""
    libraries = [library for group in EXTRAS.values() for library in group]
    block = f"import sys; sys.modules.update(dict.fromkeys({libraries!r}))"
    return subprocess.run(
        [sys.executable, "-c", f"{block}\n{code}"], capture_output=True, text=True, check=False
    )


def test_the_base_alone_imports_its_rooms() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in ROOM_EXTRAS.keys() - IMPORTED_BY_BASE
        and path != PACKAGE / "predict.py"  # stands for lulc.inference.predictor
    ]
    assert {"lulc.stats.zonal", "lulc.stats.estimators", "lulc.raster.reader"} <= set(modules)
    code = f"import importlib\nfor name in {modules!r}: importlib.import_module(name)"
    ended = run_without_extras(code)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("sql", "out", "SELECT 1"), "pyspark is not installed: pip install 'lulc[spark]'"),
        (("models", "out"), "mlflow is not installed: pip install 'lulc[tracking]'"),
        (
            ("predict", "--model", "m", "--input", "in", "--out", "out"),
            "torch is not installed: pip install 'lulc[train]'",
        ),
    ],
)
def test_a_missing_extra_is_one_line(arguments: tuple[str, ...], remedy: str) -> None:
    ended = run_without_extras(f"from lulc.cli.main import main; sys.exit(main({arguments!r}))")
    assert (ended.returncode, ended.stderr) == (5, f"lulc: {remedy}\n")


def test_a_missing_extra_is_a_setup_error_in_code_and_other_modules_stay_as_they_are() -> None:
    remedy = r"pyspark is not installed: pip install 'lulc\[spark\]'"
    with pytest.raises(SetupError, match=remedy), extras_named():
        raise ModuleNotFoundError("No module named 'pyspark'", name="pyspark.sql")
    with pytest.raises(ModuleNotFoundError), extras_named():
        raise ModuleNotFoundError("No module named 'mine'", name="mine")


def test_areas_and_accuracy_need_no_extra() -> None:
    names = "lulc.class_areas; lulc.estimate_areas; lulc.draw_sample; lulc.compare_maps; lulc.read"
    ended = run_without_extras(f"import lulc; {names}")
    assert ended.returncode == 0, ended.stderr


def test_sedona_is_of_the_release_of_its_jars() -> None:
    jar = re.search(
        r"sedona-spark-shaded[\w.-]+:([\d.]+)", (PACKAGE / "spark/session.py").read_text()
    )
    assert jar
    specifier = requirements("spark")["apache-sedona"].specifier
    assert jar[1] in specifier
    *release, patch = map(int, jar[1].split("."))
    assert ".".join(map(str, (*release, patch + 1))) not in specifier


def test_exact_versions_fit_the_ranges_and_have_hashes() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert "://" not in text
    pins: dict[str, str] = {}
    for entry in text.replace("\\\n", " ").splitlines():
        if not entry.startswith("#"):
            assert "--hash=sha256:" in entry
            name, version = re.split(r"==|\s", entry)[:2]
            pins[canonicalize_name(name)] = version
    declared = list(requirements("all").values())
    for group in metadata()["dependency-groups"].values():
        declared += map(Requirement, group)
    outside = [
        str(requirement)
        for requirement in declared
        if pins.get(canonicalize_name(requirement.name), "") not in requirement.specifier
    ]
    assert not outside


def test_libraries_have_a_lower_and_an_upper_bound() -> None:
    for requirement in requirements("all").values():
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators == {">=", "<"}, str(requirement)


def test_the_version_is_the_same_wherever_it_stands() -> None:
    version = metadata()["project"]["version"]
    assert lulc.__version__ == version
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"0.{version.split('.')[1]}." in (ROOT / "CHANGES.md").read_text()
