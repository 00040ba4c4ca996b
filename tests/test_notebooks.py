"""Notebooks: without outputs, on the front door alone, and run on a real kernel.

Those of real imagery run on a little that is made in its layout.
"""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import geopandas
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from shapely.geometry import box

from lulc.geo.grid import Grid
from tests.helpers.small_world import World
from tests.helpers.synthetic_scenes import write_raster
from tests.lint import ROOT

PLOTTING = {"IPython", "geopandas", "matplotlib", "numpy", "pandas", "shapely"}
LIBRARIES = PLOTTING | {"lulc", "html", "os", "pathlib"}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EUROSAT = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few files each in the layouts of EuroSAT, the building chips and the reservoir."""
    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for number, name in enumerate((*EUROSAT, "River", "SeaLake")):
        (folder / "eurosat" / name).mkdir(parents=True)
        for n in range(6):
            picture = np.clip(rng.normal(20 * number + 30, 15, (64, 64, 3)), 0, 255).astype("uint8")
            Image.fromarray(picture).save(folder / "eurosat" / name / f"{name}_{n + 1}.jpg")
    for n in range(10):
        grid = Grid("EPSG:4326", (7e-7, 0.0, 36.8 + 0.001 * n, 0.0, -7e-7, -1.2), 256, 256)
        mask = np.kron(rng.integers(0, 2, (4, 4)), np.ones((64, 64))).astype("uint8")
        chip = np.clip(rng.normal(80 + 90 * mask, 10, (3, 256, 256)), 1, 254).astype("uint8")
        write_raster(folder / "oam_buildings" / "chips" / f"c{n}.tif", chip, grid)
        write_raster(folder / "oam_buildings" / "binarymasks" / f"c{n}.mask.tif", mask, grid)
    grid = Grid("EPSG:4326", (1e-4, 0.0, 2.8, 0.0, -1e-4, 42.4), 160, 160)
    for day, side in (("2020-02-02", 100), ("2021-07-16", 60), ("2022-06-01", 80)):
        bands = rng.normal(3000, 100, (12, 160, 160))
        bands[:, 20 : 20 + side, 20 : 20 + side] -= 2500
        write_raster(
            folder / "boadella" / f"Boadella_{day}.tif", bands.clip(1).astype("int16"), grid
        )
    lake = box(2.802, 42.398 - 0.01, 2.812, 42.398)
    outlines = geopandas.GeoDataFrame({"tasks": ["segmentation"]}, geometry=[lake], crs="EPSG:4326")
    outlines.to_file(folder / "boadella" / "Boadella_2020-02-02_labels.geojson")
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_needs_the_front_door_alone(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    assert [name for name in names if name.startswith("lulc.")] == []
    libraries = LIBRARIES | ({"torch"} if path.stem[0] == "2" else set())
    assert {name.partition(".")[0] for name in names} <= libraries


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_stripped_and_runs(
    path: Path,
    data: Path,
    done: Path,
    small: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    if path.stem[0] in "46":
        shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    epochs = 1 if path.stem[0] in "35" else 2
    for name, value in (("OUT", tmp_path), ("DATA", data), ("RUN", small.run), ("EPOCHS", epochs)):
        monkeypatch.setenv(f"LULC_{name}", str(value))
    NotebookClient(notebook, timeout=300).execute(cwd=str(path.parent))
    for cell in notebook.cells:
        assert cell.cell_type != "code" or cell.execution_count
    nbformat.write(notebook, tmp_path / path.name)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
