"""Which scenes are one date of a chip: the solar day decides, not UTC's, nor order, nor names."""

from __future__ import annotations

import itertools
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from lulc.bands import Band
from lulc.chips.chip import Chip
from lulc.chips.cut import cut_block
from lulc.chips.mosaic import ChipSpec
from lulc.config import CompositeConf, Period
from lulc.geo.grid import Grid, centre_longitude
from lulc.geo.tiling import Tiling
from lulc.sources.scene import Clear, Scene
from lulc.tables.encoding import Encoding
from tests.helpers.periods import is_in_period
from tests.helpers.synthetic_scenes import make_scene, write_raster

RED = Encoding(("red",), "uint16", (1.0,), (0.0,))
SIDE = 64


def grid_at(lon: float) -> Grid:
    """Return a grid of 10 m pixels at a longitude, 6° south."""
    zone = int((lon + 180) // 6) + 1
    east = 500_000 + (lon - (zone * 6 - 183)) * 110_000
    transform = (10.0, 0.0, round(east, -1), 0.0, -10.0, 9_300_000.0)
    return Grid(f"EPSG:{32700 + zone}", transform, SIDE, SIDE)


def chip_of(scenes: list[Scene], grid: Grid, dates: int, **spec: object) -> Chip:
    """Return the one chip that lies exactly on a grid."""
    left, top = grid.transform[2], grid.transform[5]
    tiling = Tiling("t", grid.crs, 10.0, SIDE, left, top, None, grid.shape)
    wanted = ChipSpec(tiling, RED, dates=dates, halo=0, span=1, **spec)  # type: ignore[arg-type]
    cut = cut_block(scenes, wanted, 0, 0, "p")
    assert not cut.unreadable
    (chip,) = cut.chips
    return chip


def half(folder: Path, name: str, time: str, north: bool, grid: Grid, value: int = 1000) -> Scene:
    pixels = np.zeros(grid.shape, np.uint16)
    pixels[: SIDE // 2 if north else SIDE] = value
    pixels[: 0 if north else SIDE // 2] = 0
    return make_scene(folder, name, {"red": pixels}, grid, time)


@pytest.mark.parametrize(
    ("lon", "first", "second"),
    [
        (159.0, "2020-01-10T23:59:50", "2020-01-11T00:00:05"),
        (-172.0, "2020-01-10T23:59:50", "2020-01-11T00:00:05"),
        (179.5, "2019-12-31T23:55", "2020-01-01T00:03"),
    ],
)
@pytest.mark.parametrize("composite", [None, CompositeConf()])
def test_a_pass_over_midnight_utc_is_one_date(
    tmp_path: Path, lon: float, first: str, second: str, composite: CompositeConf | None
) -> None:
    grid = grid_at(lon)
    scenes = [
        half(tmp_path, "n", first, True, grid),
        half(tmp_path, "s", second, False, grid),
    ]
    for order in itertools.permutations(scenes):
        chip = chip_of(list(order), grid, 1, composite=composite)
        assert chip.valid[0].all()
        assert set(chip.scene_ids) == {"n", "s"}


def test_two_days_of_one_utc_day_are_two_dates(tmp_path: Path) -> None:
    # In local time at 159° E: the tenth at 10:36, the eleventh at 10:26.
    grid = grid_at(159.0)
    scenes = [
        half(tmp_path, "a", "2020-01-10T00:00:10", True, grid),
        half(tmp_path, "b", "2020-01-10T23:50", False, grid),
    ]
    chip = chip_of(scenes, grid, 2)
    assert [valid.mean() for valid in chip.valid] == [0.5, 0.5]
    assert [time.hour for time in chip.datetimes] == [0, 23]


def test_platforms_and_levels_of_one_day_are_dates_of_their_own(tmp_path: Path) -> None:
    grid, time = grid_at(15.0), "2020-01-10T10:00"
    red = {"red": np.full(grid.shape, 1000, np.uint16)}
    forms = [("sentinel-2a", "L2A"), ("sentinel-2b", "L2A"), ("sentinel-2a", "L1C")]
    scenes = [
        make_scene(
            tmp_path,
            f"s{n}",
            red,
            grid,
            time,
            properties=(("platform", platform), ("level", level)),
        )
        for n, (platform, level) in enumerate(forms)
    ]
    assert chip_of(scenes, grid, 4).valid.any((1, 2)).sum() == 3
    # The same said in other words, by another source, is one date.
    other = make_scene(
        tmp_path, "again", red, grid, time, source="stac",
        properties=(("platform", "Sentinel-2A"), ("level", "2A")),
    )  # fmt: skip
    assert chip_of([*scenes, other], grid, 4).valid.any((1, 2)).sum() == 3


@pytest.mark.parametrize("lon", [-179.0, -120.0, 0.0, 120.0, 179.0])
def test_a_day_without_a_time_is_that_day_everywhere(tmp_path: Path, lon: float) -> None:
    grid = grid_at(lon)
    scene = half(tmp_path, "a", "2020-01-01T00:00", True, grid)
    year, before = (Period(str(y), date(y, 1, 1), date(y, 12, 31)) for y in (2020, 2019))
    assert is_in_period(scene, year, centre_longitude(grid))
    assert not is_in_period(scene, before, centre_longitude(grid))


def test_periods_are_in_solar_days(tmp_path: Path) -> None:
    grid = grid_at(159.0)
    scene = half(tmp_path, "a", "2019-12-31T23:59", True, grid)
    assert is_in_period(scene, Period("2020", date(2020, 1, 1)), 159.0)
    assert is_in_period(scene, Period("2019", None, date(2019, 12, 31)), 0.0)


def test_the_newest_processing_wins_whatever_its_id(tmp_path: Path) -> None:
    grid, time = grid_at(15.0), "2020-01-10T10:00"
    for newest, older in (("a", "b"), ("b", "a")):
        scenes = [
            make_scene(
                tmp_path / newest, name, {"red": np.full(grid.shape, value, np.uint16)}, grid, time,
                properties=(("processing_baseline", baseline),),
            )
            for name, value, baseline in ((newest, 2000, "05.00"), (older, 1000, "02.11"))
        ]  # fmt: skip
        chip = chip_of(scenes, grid, 1)
        assert chip.scene_ids == (newest,)
        assert (chip.pixels == 2000).all()


QUALITY = Clear("quality", (0,), first_bit=3, bits=1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint16", "uint8"])
def test_bits_are_read_from_any_type_that_keeps_them(tmp_path: Path, dtype: str) -> None:
    grid = grid_at(15.0)
    codes = np.zeros(grid.shape, dtype)
    codes[:, 32:] = 8 + 32  # bits 3 and 5
    if dtype == "int16":
        codes[:16] += np.int16(-32768)  # bit 15
    if dtype.startswith("float"):
        codes[:, 60:] = np.nan
    scene = make_scene(tmp_path, "a", {"red": np.full(grid.shape, 9, np.uint16)}, grid)
    path = write_raster(tmp_path / "qa.tif", codes, grid)
    quality = Band("quality", str(path), dtype=dtype, kind="quality")
    masked = Scene(**vars(scene) | {"bands": (*scene.bands, quality), "clear": (QUALITY,)})
    chip = chip_of([masked], grid, 1)
    assert chip.valid[0, :, :32].all()
    assert not chip.valid[0, :, 32:].any()


@pytest.mark.parametrize("value", [0.5, -1.25, 3e8, 1e30])
def test_numbers_that_are_no_codes_make_a_bad_scene(tmp_path: Path, value: float) -> None:
    grid = grid_at(15.0)
    good = make_scene(tmp_path, "good", {"red": np.full(grid.shape, 9, np.uint16)}, grid)
    codes = np.zeros(grid.shape, "float32")
    codes[5, 5] = value
    path = write_raster(tmp_path / "qa.tif", codes, grid)
    quality = Band("quality", str(path), dtype="float32", kind="quality")
    bad = Scene(**vars(good) | {
        "scene_id": "bad", "bands": (*good.bands, quality), "clear": (QUALITY,)
    })  # fmt: skip
    tiling = Tiling("t", grid.crs, 10.0, SIDE, grid.transform[2], grid.transform[5])
    cut = cut_block([bad, good], ChipSpec(tiling, RED, halo=0, span=1), 0, 0, "p")
    assert cut.unreadable.keys() == {"bad"}
    assert "qa.tif holds float32 numbers that are no codes" in cut.unreadable["bad"]
    assert [chip.scene_ids for chip in cut.chips] == [("good",)]


def test_a_quality_layer_of_another_grid_masks_where_it_lies(tmp_path: Path) -> None:
    # Coarser, in another CRS, and over the west alone: where it says nothing, nothing is valid.
    grid = grid_at(15.0)
    scene = make_scene(tmp_path, "a", {"red": np.full(grid.shape, 9, np.uint16)}, grid)
    xmin, _, _, ymax = grid.bounds
    coarse = Grid(grid.crs, (40.0, 0.0, xmin, 0.0, -40.0, ymax), 16, 8)
    path = write_raster(tmp_path / "qa.tif", np.zeros(coarse.shape, "uint8"), coarse)
    quality = Band("quality", str(path), dtype="uint8", kind="quality")
    masked = Scene(**vars(scene) | {"bands": (*scene.bands, quality), "clear": (QUALITY,)})
    chip = chip_of([masked], grid, 1)
    assert chip.valid[0, :, :32].all()
    assert not chip.valid[0, :, 32:].any()
