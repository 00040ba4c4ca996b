"""Two maps of one place: what has become what, in pixels and true areas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from lulc.cli import main
from lulc.errors import InputError, UsageError
from lulc.geo.areas import pixel_areas
from lulc.geo.grid import Grid
from lulc.stats.change import NODATA_PAIR, write_changes
from tests.helpers.synthetic_scenes import write_raster

GRID = Grid("EPSG:4326", (0.001, 0.0, 10.0, 0.0, -0.001, 60.0), 700, 300)


def maps(folder: Path, grid: Grid = GRID) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    before, after = (rng.choice(np.array([0, 1, 7, 255], np.uint8), grid.shape) for _ in range(2))
    write_raster(folder / "a.tif", before, grid, nodata=255)
    write_raster(folder / "b.tif", after, grid, nodata=255)
    return before, after


def test_every_pair_has_its_pixels_and_true_area(tmp_path: Path) -> None:
    before, after = maps(tmp_path)
    rows = write_changes(tmp_path / "a.tif", tmp_path / "b.tif", tmp_path / "c.tif")
    areas = np.broadcast_to(pixel_areas(GRID), GRID.shape)
    assert {(r["from_id"], r["to_id"]) for r in rows} == {
        (a, b) for a in (0, 1, 7) for b in (0, 1, 7)
    }
    for row in rows:
        here = (before == row["from_id"]) & (after == row["to_id"])
        assert row["pixels"] == here.sum()
        assert row["area_m2"] == pytest.approx(areas[here].sum(), rel=1e-9)
    with rasterio.open(tmp_path / "c.tif") as made:
        known = (before != 255) & (after != 255)
        np.testing.assert_array_equal(
            made.read(1), np.where(known, before.astype(int) * 256 + after, NODATA_PAIR)
        )
        assert made.nodata == NODATA_PAIR


def test_the_second_map_is_taken_where_the_pixels_of_the_first_lie(tmp_path: Path) -> None:
    before, after = maps(tmp_path)
    shifted = GRID.window(100, 50, 400, 200)
    write_raster(tmp_path / "b.tif", after[100:500, 50:250], shifted, nodata=255)
    rows = write_changes(tmp_path / "a.tif", tmp_path / "b.tif", tmp_path / "c.tif")
    part = before[100:500, 50:250], after[100:500, 50:250]
    assert sum(r["pixels"] for r in rows) == np.logical_and(*(p != 255 for p in part)).sum()


def test_what_is_no_class_raster_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps(tmp_path)
    write_raster(tmp_path / "f.tif", np.full(GRID.shape, 0.5, "float32"), GRID)
    with pytest.raises(InputError, match=r"f\.tif holds 0\.5"):
        write_changes(tmp_path / "a.tif", tmp_path / "f.tif", tmp_path / "c.tif")
    assert not (tmp_path / "c.tif").exists()
    assert (
        main.main(
            ["compare", str(tmp_path / "a.tif"), str(tmp_path / "b.tif"), str(tmp_path / "c.tif")]
        )
        == 0
    )
    assert "area_m2" in capsys.readouterr().out


def test_a_map_is_not_replaced_by_its_changes(tmp_path: Path) -> None:
    maps(tmp_path)
    path = tmp_path / "a.tif"
    before = path.read_bytes()
    (tmp_path / "link.tif").symlink_to(path)
    for target in (path, tmp_path / "link.tif"):
        with pytest.raises(UsageError, match=r"\.tif is compared itself"):
            write_changes(path, path, target)
    assert path.read_bytes() == before
