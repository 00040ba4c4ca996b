"""The documentation: it builds, its generated pages are current, its commands and links hold."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shlex
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import lulc
from lulc.cli.options.parser import make_parser

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "examples" / "README.md", *DOCS.rglob("*.md")])


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", _generator().PAGES)
def test_reference_pages_are_what_the_code_gives(name: str) -> None:
    text = _generator().PAGES[name]()
    assert (DOCS / name).read_text() == text, "run: python docs/generate.py"


def test_the_site_builds_without_warnings_and_asks_no_other_host(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", tmp_path]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    loaded = re.compile(
        r'<(?:script|img)[^>]*src="?(https?:[^">]*)|<link[^>]*href="?(https?:[^">]*)'
    )
    for page in tmp_path.rglob("*.html"):
        hosts = [a or b for a, b in loaded.findall(page.read_text())]
        assert hosts == [], page.name


def test_the_glossary_has_each_term_once() -> None:
    glossary = (DOCS / "concepts.md").read_text().partition("## Glossary")[2]
    terms = Counter(re.findall(r"^- \*\*(.+?)\*\*:", glossary, re.MULTILINE))
    assert len(terms) > 50
    assert [term for term, count in terms.items() if count > 1] == []


def test_the_api_page_has_every_name() -> None:
    headings = re.findall(r"^### (\w+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert set(lulc.__all__) <= set(headings)


def test_the_picture_of_the_rooms_is_the_import_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = (c for c in settings["tool"]["importlinter"]["contracts"] if "layers" in c)
    picture = (DOCS / "architecture.md").read_text().partition("```text\n")[2].partition("```")[0]
    floors = [re.split(r"\s{2,}", line)[0] for line in picture.splitlines()]
    assert floors == contract["layers"]


def _commands() -> Iterator[tuple[str, list[str]]]:
    # (page, arguments of lulc) of every command in a block of shell.
    for path in PAGES:
        for block in re.findall(
            r"^ *```sh\n(.*?)^ *```", path.read_text(), re.DOTALL | re.MULTILINE
        ):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                for position, word in enumerate(words):
                    if word in ("lulc", ".venv/bin/lulc"):
                        yield path.name, words[position + 1 :]
                    elif match := re.fullmatch(r"jobs/(\w+)\.py", word):
                        yield path.name, [match[1], *words[position + 1 :]]


def _parses(words: list[str]) -> bool:
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            make_parser().parse_args(words)
        except SystemExit as end:
            return end.code == 0
    return True


def test_every_command_parses() -> None:
    commands = list(_commands())
    assert len(commands) > 50
    assert [f"{page}: {shlex.join(words)}" for page, words in commands if not _parses(words)] == []


def test_every_verb_that_the_text_names_exists() -> None:
    verbs = set(
        re.findall(r"^## lulc (\w+)$", (DOCS / "command-line.md").read_text(), re.MULTILINE)
    )
    for path in PAGES:
        named = re.findall(r"`(?:\.venv/bin/)?lulc ([a-z]+)[^`]*`", path.read_text())
        assert set(named) <= verbs, path.name


def test_every_relative_link_and_picture_exists() -> None:
    for path in PAGES:
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
        for link in links:
            target = link.partition("#")[0]
            if target and "://" not in target:
                assert (path.parent / target).exists(), f"{path.relative_to(ROOT)}: {link}"


def test_pictures_are_small() -> None:
    pictures = sorted((DOCS / "images").glob("*"))
    assert pictures
    assert [p.name for p in pictures if p.stat().st_size > 200_000] == []
