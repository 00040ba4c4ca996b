"""A small archive with labels, regions and a run file on disk, and `lulc` run on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import yaml
from scipy import ndimage
from shapely.geometry import box

from lulc.geo.grid import Grid
from tests.helpers.synthetic_scenes import write_raster

GRID = Grid("EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5300000.0), 320, 384)
DAYS = ("20240601", "20240611", "20240621")
SPECTRA = {1: (400, 300, 200), 2: (500, 3200, 1400), 3: (1500, 2400, 2800)}
SCRIPTS = Path(sys.executable).parent


@dataclass(frozen=True)
class World:
    """The paths of the run file and the archive, and the true classes (H, W) on its grid."""

    run: Path
    archive: Path
    truth: np.ndarray


def make_world(folder: Path, seed: int = 0, grid: Grid = GRID) -> World:
    """Write three classes in patches, three cloudy dates, labels in the west, two regions."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(2, *grid.shape)), (0, 12, 12))
    truth = np.where(noise[0] > noise[0].std() * 0.4, 1, np.where(noise[1] > 0, 2, 3)).astype(
        "uint8"
    )
    archive = folder / "archive"
    for day in DAYS:
        cloud = ndimage.gaussian_filter(rng.normal(size=grid.shape), 15)
        cloud = cloud > cloud.std()
        for number, band in enumerate(("red", "nir", "swir16")):
            values = np.select([truth == c for c in SPECTRA], [SPECTRA[c][number] for c in SPECTRA])
            pixels = ndimage.gaussian_filter(values.astype(float), 0.6) + rng.normal(
                0, 120, grid.shape
            )
            pixels = np.clip(np.where(cloud, 6000, pixels), 1, 10000).astype("uint16")
            pixels[:, :7] = 0
            write_raster(archive / f"S_{day}_{band}.tif", pixels, grid, nodata=0)
        write_raster(archive / f"S_{day}_quality.tif", np.where(cloud, 3, 1).astype("uint8"), grid)
    labels = truth.copy()
    labels[:, grid.width * 2 // 3 :] = 255
    write_raster(folder / "labels.tif", labels, grid, nodata=255)
    xmin, ymin, xmax, ymax = grid.bounds
    middle = xmin + 0.37 * (xmax - xmin)
    shapes = [
        box(xmin - 300, ymin + 500, middle, ymax - 155),
        box(middle, ymin + 500, xmax - 333, ymax - 155),
    ]
    geopandas.GeoDataFrame({"id": ["west", "east"]}, geometry=shapes, crs=grid.crs).to_file(
        folder / "regions.gpkg"
    )
    np.save(folder / "truth.npy", truth)
    (folder / "run.yaml").write_text(yaml.safe_dump(_settings(), sort_keys=False))
    return open_world(folder)


def open_world(folder: Path) -> World:
    """Return the world that `make_world` wrote into a folder."""
    return World(folder / "run.yaml", folder / "archive", np.load(folder / "truth.npy"))


def _settings() -> dict[str, object]:
    names = {1: ("water", "#419bdf"), 2: ("trees", "#397d49"), 3: ("crops", "#e49635")}
    return {
        "name": "world",
        "scenes": [
            {
                "path": "archive",
                "pattern": "{scene}_{date}_{band}.tif",
                "quality": "quality",
                "clear": [1],
            }
        ],
        "bands": ["red", "nir", "swir16"],
        "tiling": {"crs": "EPSG:3035", "resolution": 10, "size": 64, "halo": 16, "block": 2},
        "periods": [{"name": "2024", "start": "2024-01-01", "end": "2024-12-31"}],
        "dates": 2,
        "legend": {i: {"name": n, "colour": c} for i, (n, c) in names.items()},
        "labels": {"path": "labels.tif"},
        "samples": {"size": 32, "block": 2, "validation": 0.2, "test": 0.2},
        "train": {"depth": 3, "decoder": [64, 32, 16], "epochs": 4, "batch": 8, "rate": 0.003},
        "rasters": {"group": 4},
        "regions": [{"path": "regions.gpkg", "id": "id", "level": "half"}],
        "spark": {"master": "local[2,4]", "memory": "1g"},
    }


def lulc(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command `lulc …` to its end, its output captured as text."""
    return run_command(SCRIPTS / "lulc", *arguments, variables=os.environ, cwd=cwd)


def run_command(
    *command: object, variables: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, its output captured as text.

    Args:
        command: its words.
        variables: its environment variables; by default those of `environment()`.
        cwd: its working folder.
    """
    return subprocess.run(
        [*map(str, command)],
        env=environment() if variables is None else variables,
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        timeout=600,
    )


def clean_run(folder: Path) -> tuple[World, Path]:
    """Return a world below a folder and the output folder of one whole run of it, made once."""
    root, out = folder / "world", folder / "world" / "out"
    if (out / "report.html").exists():
        return open_world(root), out
    world = make_world(root)
    process = lulc("run", world.run, "--out", out)
    assert process.returncode == 0, process.stderr
    return world, out


def copy_model(done: Path, out: Path) -> None:
    """Start an output folder with the registered model of another, and no more."""
    for name in ("models", "mlartifacts"):
        shutil.copytree(done / name, out / name)
    shutil.copy(done / "mlflow.db", out / "mlflow.db")


def environment() -> dict[str, str]:
    """Return the environment variables of an activated virtual environment."""
    return os.environ | {
        "PATH": f"{SCRIPTS}:{os.environ['PATH']}",
        "PYSPARK_PYTHON": sys.executable,
    }


def files(out: Path, pattern: str) -> dict[str, bytes]:
    """Read the files under a folder that match a pattern: relative name → content."""
    return {
        str(p.relative_to(out)): p.read_bytes() for p in sorted(out.glob(pattern)) if p.is_file()
    }
