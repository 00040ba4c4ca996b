"""Points drawn by uncertainty lie where confidence is least, and enter no estimate."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest

from lulc.cli import main
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.stats import sampling
from lulc.stats.area_estimation import estimate_areas
from tests.helpers.synthetic_scenes import write_raster

GRID = Grid("EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5300000.0), 120, 160)


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A class raster and its confidence where a run writes them: least in one corner."""
    rng = np.random.default_rng(0)
    classes = rng.choice(np.array([1, 2], np.uint8), GRID.shape)
    percent = rng.integers(60, 101, GRID.shape).astype(np.uint8)
    percent[:40, :40] = rng.integers(30, 50, (40, 40))
    classes[0, :20] = percent[0, :20] = 255
    path = tmp_path / "rasters" / "2024" / "0_0" / "w_0_0.tif"
    write_raster(path, classes, GRID, nodata=255)
    confidence = tmp_path / "confidence" / "2024" / "0_0" / "w_0_0_confidence.tif"
    write_raster(confidence, percent, GRID, nodata=255)
    return path, percent


def test_points_lie_where_the_map_knows_least(
    run: tuple[Path, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, percent = run
    points = tmp_path / "doubts.gpkg"
    arguments = ["design", str(points), str(path), "--by", "uncertainty", "--json"]
    assert main.main([*arguments, "--error", "0.01"]) == 2
    assert "--by uncertainty goes with --points" in capsys.readouterr().err
    assert main.main([*arguments, "--points", "80"]) == 0
    design = json.loads(capsys.readouterr().out)
    found = geopandas.read_file(points)
    assert 70 <= len(found) == design["points"] <= 80
    assert not found.geometry.duplicated().any()
    corner = found.to_crs(GRID.crs).geometry
    col, row = ((corner.x - 5e5) // 10).astype(int), ((5.3e6 - corner.y) // 10).astype(int)
    at_points = percent[row, col] / 100
    assert found["confidence"].to_numpy() == pytest.approx(at_points)
    # The least confident twentieth, and what is as confident as the last of it.
    least = np.percentile(percent[percent != 255], 5, method="inverted_cdf") / 100
    assert at_points.max() <= least == design["confidence"]
    assert set(found["drawn_by"]) == {"uncertainty"}


def test_they_never_enter_an_estimate(run: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    path, _ = run
    doubts, sample, out = (tmp_path / name for name in ("doubts.gpkg", "sample.gpkg", "out"))
    arguments = ["design", str(doubts), str(path), "--by", "uncertainty", "--points", "20"]
    assert main.main(arguments) == 0
    with pytest.raises(InputError, match="drawn where the map knows least"):
        estimate_areas(doubts, [path], out)
    # Nor where they are merged into the file of a sample.
    sampling.draw_sample([path], sample, points=100)
    drawn, extra = geopandas.read_file(sample), geopandas.read_file(doubts)
    merged = pd.concat([drawn, extra.assign(stratum_id=1)])
    merged.assign(reference="1").to_file(sample)
    with pytest.raises(InputError, match="drawn where the map knows least"):
        estimate_areas(sample, [path], out)


def test_a_map_without_confidence_is_refused(
    run: tuple[Path, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = run
    alone = tmp_path / "alone.tif"
    alone.write_bytes(path.read_bytes())
    arguments = ["design", str(tmp_path / "p.gpkg"), str(alone), "--by", "uncertainty"]
    assert main.main([*arguments, "--points", "20"]) == 3
    assert "has no raster of confidence" in capsys.readouterr().err
