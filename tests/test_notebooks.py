"""Notebooks are kept without outputs, and run on a real kernel."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from lulc import store, tables
from tests.lint import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_stripped_and_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    for name in ("class_areas", "accuracy"):
        store.write_table(tmp_path, name, tables.ALL[name].empty_table())
    store.append_ledger(tmp_path, [store.entry("tile", "a", "1", seconds=1.5)])
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "map.png")
    monkeypatch.setenv("LULC_OUT", str(tmp_path))
    NotebookClient(notebook, timeout=120).execute(cwd=str(path.parent))
    assert all(cell.outputs for cell in notebook.cells if cell.cell_type == "code")
