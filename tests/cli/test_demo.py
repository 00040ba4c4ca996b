"""The demo landscape and archive: the same for a seed, consistent between scenes, a fair test."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely

from lulc.cli.demo import hydrology, scenery
from lulc.cli.demo.archive import _CRS, Demo, make_archive, score_map
from lulc.cli.demo.scenery import CLASSES, make_landscape
from lulc.errors import InputError
from lulc.geo.grid import footprint
from lulc.legend import NODATA
from lulc.raster import reader
from lulc.runfile import read_run
from lulc.sources import registry
from lulc.sources.scene import Scene

SHAPE = (384, 640)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return make_archive(tmp_path_factory.mktemp("demo"), 0, SHAPE)


@pytest.fixture(scope="module")
def scenes(made: Demo) -> list[Scene]:
    config = read_run(made.run_file)
    (archive,) = config.scenes
    source = registry.source_of(archive)
    return [source.read(i, archive, config.bands) for i in source.items(archive)]


def read_truth(made: Demo) -> np.ndarray:
    with rasterio.open(made.truth) as file:
        return file.read(1)


def on_ground(made: Demo, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Reflectance (C, H, W) of a scene on the truth's grid, and where it is clear."""
    with rasterio.open(made.truth) as file:
        grid = reader.grid_of(file)
    (quality,), (test,) = scene.quality, scene.clear
    codes, clear = reader.read_band(quality.href, quality.index, grid, "nearest", None)
    clear &= test.passes(codes)
    seen = []
    for band in scene.bands[:-1]:
        values, valid = reader.read_band(band.href, band.index, grid, "bilinear", band.nodata)
        seen.append(values * band.scale + band.offset)
        clear &= valid
    return np.stack(seen), clear


def test_a_landscape_is_a_function_of_its_seed() -> None:
    one, two, other = (make_landscape((128, 192), seed) for seed in (3, 3, 4))
    assert (one.cover == two.cover).all()
    assert (one.reflectance(2) == two.reflectance(2)).all()
    assert (one.cover != other.cover).any()


def test_water_runs_downhill_and_every_drop_leaves() -> None:
    rng = np.random.default_rng(0)
    height = rng.random((24, 31))
    level, down, order = hydrology.flood(height)
    assert (level >= height).all()
    assert sorted(order) == list(range(height.size))
    inner = down >= 0
    assert (level.ravel()[down[inner]] <= level.ravel()[inner]).all()
    place = np.argsort(order)
    assert (place[down[inner]] < place[inner]).all()


def test_reflectance_is_physical(made: Demo, scenes: list[Scene]) -> None:
    land = make_landscape((128, 192), 0)
    for season in range(scenery.SEASONS):
        seen = land.reflectance(season)
        assert seen.shape == (len(scenery.BANDS), 128, 192)
        assert seen.min() > 0
        assert seen.max() < 1
    values, clear = on_ground(made, scenes[1])
    assert values[:, clear].min() > -0.05
    assert np.median(values[:, clear]) < 0.4


def test_the_archive_is_a_function_of_its_seed(made: Demo, tmp_path: Path) -> None:
    again = make_archive(tmp_path, 0, SHAPE)
    names = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert len(names) == 4 + 8 * 8
    assert all(
        (tmp_path / n).read_bytes() == (made.run_file.parent / n).read_bytes() for n in names
    )
    stamp = again.truth.stat().st_mtime_ns
    assert make_archive(tmp_path, 0, SHAPE) == again
    assert again.truth.stat().st_mtime_ns == stamp


def test_two_zones_four_dates_and_the_offset_trap(scenes: list[Scene]) -> None:
    assert {s.crs for s in scenes} == {"EPSG:32632", "EPSG:32633"}
    days = {s.datetime.date() for s in scenes if s.datetime}
    assert (len(scenes), len(days)) == (8, 4)
    for crs in ("EPSG:32632", "EPSG:32633"):
        assert {s.bands[0].offset for s in scenes if s.crs == crs} == {0.0, -0.1}
    for day in days:
        # The two scenes of a day have different offsets: mosaicked as
        # raw numbers they would not fit.
        assert (
            len({s.bands[0].offset for s in scenes if s.datetime and s.datetime.date() == day}) == 2
        )
    west, east = scenes[-1], scenes[0]
    assert shapely.from_wkb(west.footprint).intersects(shapely.from_wkb(east.footprint))
    assert all(b.scale == 0.0001 for s in scenes for b in s.bands[:-1])
    assert all(s.quality and s.clear for s in scenes)


def test_scenes_agree_where_they_overlap(made: Demo, scenes: list[Scene]) -> None:
    for day in {s.datetime for s in scenes}:
        (one, clear_one), (two, clear_two) = (
            on_ground(made, s) for s in scenes if s.datetime == day
        )
        both = clear_one & clear_two
        assert both.mean() > 0.02
        difference = (one - two)[:, both]
        assert np.abs(np.median(difference)) < 0.002
        assert np.abs(difference).mean() < 0.02
        for band in (0, 3):
            assert np.corrcoef(one[band][both], two[band][both])[0, 1] > 0.9


def test_truth_is_what_the_scenes_show(made: Demo, scenes: list[Scene]) -> None:
    truth = read_truth(made)
    assert set(np.unique(truth)) == set(CLASSES.ids)
    seen, clear = on_ground(made, next(s for s in scenes if "2024-07" in s.scene_id))
    water, forest = (seen[3][clear & (truth == c)].mean() for c in (1, 2))
    assert water < 0.08
    assert forest > 0.15


def test_clouds_and_shadows_corrupt_what_the_quality_band_names(scenes: list[Scene]) -> None:
    for scene in scenes:
        with (
            rasterio.open(scene.bands[0].href) as file,
            rasterio.open(scene.quality[0].href) as quality,
        ):
            blue, codes = file.read(1).astype(float), quality.read(1)
        blue = np.where(blue > 0, blue * 0.0001 + scene.bands[0].offset, np.nan)
        assert ((codes == 0) == np.isnan(blue)).all()
        assert (codes == 0).any()
        clear = np.median(blue[codes == 4])
        if (codes == 9).sum() > 200:
            assert np.median(blue[codes == 9]) > 2 * clear
        assert scene.cloud == pytest.approx(100 * (codes == 9).mean(), abs=0.1)


def test_labels_are_the_truth_with_large_squares_left_out(made: Demo) -> None:
    truth = read_truth(made)
    with rasterio.open(made.labels) as file:
        labels = file.read(1)
    kept = labels == NODATA
    assert 0.05 < kept.mean() < 0.7
    assert (labels[~kept] == truth[~kept]).all()
    for square in (
        kept[r : r + 64, c : c + 64]
        for r in range(0, kept.shape[0], 64)
        for c in range(0, kept.shape[1], 64)
    ):
        assert square.all() or not square.any()


def test_regions_partition_a_part_of_the_land(made: Demo) -> None:
    config = read_run(made.run_file)
    content = json.loads(Path(config.regions[0].path).read_text())
    shapes = [shapely.geometry.shape(f["geometry"]) for f in content["features"]]
    whole = shapely.union_all(shapes)
    assert sum(s.area for s in shapes) == pytest.approx(whole.area, rel=1e-4)
    with rasterio.open(made.truth) as file:
        assert whole.within(footprint(reader.grid_of(file)))


def test_score_counts_pixels(made: Demo, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no map"):
        score_map(tmp_path, made)
    truth = read_truth(made)
    with rasterio.open(made.truth) as file:
        profile, grid = file.profile, reader.grid_of(file)
    wrong = truth.copy()
    wrong[:40] = np.where(truth[:40] == 1, 2, 1)
    wrong[:, 100:120] = NODATA
    # Two rasters side by side, the second reaching over the landscape's edge.
    for name, start, stop in (("west", 0, 96), ("east", 96, truth.shape[1] + 32)):
        part = np.full((truth.shape[0], stop - start), NODATA, np.uint8)
        part[:, : truth.shape[1] - start] = wrong[:, start:stop]
        window = grid.window(0, start, *part.shape)
        (tmp_path / "rasters").mkdir(exist_ok=True)
        shape = {
            "driver": "GTiff",
            "count": 1,
            "dtype": "uint8",
            "height": part.shape[0],
            "width": part.shape[1],
        }
        with rasterio.open(
            tmp_path / "rasters" / f"{name}.tif",
            "w",
            crs=profile["crs"],
            transform=window.affine,
            **shape,
        ) as file:
            file.write(part, 1)
    found = score_map(tmp_path, made)
    assert found["share of pixels that were clear"] == pytest.approx(1 - 20 / truth.shape[1])
    assert found["on clear pixels"] == pytest.approx(1 - 40 / truth.shape[0])


def test_the_run_file_is_valid(made: Demo) -> None:
    config = read_run(made.run_file)
    assert config.bands == scenery.BANDS
    assert replace(config.make_legend(), name="demo") == CLASSES
    assert config.tiling.crs == _CRS
