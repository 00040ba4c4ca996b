"""Features in chips: equal to numpy's on the chip's own dates, whatever tiles and strips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lulc.bands import OBSERVATIONS, Band
from lulc.chips import features, mosaic
from lulc.chips.blocks import fingerprint_recipe, make_chip_spec
from lulc.chips.chip import Chip, join_chips
from lulc.chips.composites import make_intervals
from lulc.chips.cut import cut_block
from lulc.chips.features import add_features, run_encoding
from lulc.config import Config, ExpressionConf
from lulc.errors import InputError
from lulc.features.expression import evaluate
from lulc.legend import COMMON
from lulc.models.contract import Contract
from lulc.runfile import parse_run
from lulc.sources.scene import LAYER, Scene
from lulc.tables.encoding import Encoding
from tests.helpers.synthetic_scenes import UTM33, make_scene, texture, write_raster

DAYS = (1, 40, 100, 170, 200, 290)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Scene]:
    """Six cloudy dates of red and nir, and heights."""
    folder, made = tmp_path_factory.mktemp("features"), []
    for n, day in enumerate(DAYS):
        quality = (texture(UTM33, 50 + n) % 3 > 0).astype(np.uint8)
        bands = {"red": texture(UTM33, 2 * n), "nir": texture(UTM33, 2 * n + 1, 6000)}
        moment = f"{np.datetime64('2023-12-31') + day}T10:00"
        scene = make_scene(folder / str(n), f"s{n}", bands | {"quality": quality}, day=moment)
        made.append(reflectance(scene))
    heights = write_raster(folder / "dem.tif", texture(UTM33, 99), UTM33)
    dem = Band("elevation", str(heights))
    layer = Scene("layer:elevation", LAYER, None, UTM33.crs, made[0].footprint, (dem,))
    return [*made, layer]


def reflectance(scene: Scene) -> Scene:
    return replace(
        scene,
        bands=tuple(
            replace(band, scale=1e-4, offset=-0.01) if band.kind == "continuous" else band
            for band in scene.bands
        ),
    )


def config_of(entries: list[str], size: int = 64, **changes: Any) -> Config:
    raw = {
        "name": "f",
        "scenes": [{"path": "x"}],
        "bands": ["red", "nir", OBSERVATIONS, "elevation"],
        "layers": [{"path": "e.tif", "band": "elevation"}],
        "legend": {1: {"name": "a", "colour": "#000000"}},
        "composite": {"method": "median"},
        "periods": [{"name": "y", "start": "2024-01-01", "end": "2024-12-31"}],
        "tiling": {
            "crs": UTM33.crs, "resolution": 10, "size": size, "halo": 16, "block": 2,
            "features": entries, "expressions": {"rvi": {"formula": "nir / red"}},
        },
    }  # fmt: skip
    return parse_run(raw | changes, Path("/"))


def chips_of(config: Config, scenes: list[Scene], blocks: int | None = None) -> dict[str, Chip]:
    """Chips by tile id, of all blocks or of the middle ones alone."""
    spec = make_chip_spec(config, [band for scene in scenes for band in scene.bands])
    (period,) = config.periods
    intervals = make_intervals(period, config.composite)
    cells = {(col - col % 2, row - row % 2) for col, row in spec.tiling.cells(UTM33.bounds)}
    chosen = sorted(cells)[len(cells) // 2 :][:blocks] if blocks else sorted(cells)
    made = [cut_block(scenes, spec, *cell, "y", intervals, 2024) for cell in chosen]
    assert not any(cut.unreadable for cut in made)
    return {chip.tile_id: chip for cut in made for chip in cut.chips}


def values_of(chip: Chip, band: str) -> np.ndarray:
    """Physical values (T, H, W) of a band."""
    n = chip.bands.index(band)
    return chip.pixels[:, n] * chip.scales[n] + chip.offsets[n]


def half_step(chip: Chip, band: str) -> float:
    n = chip.bands.index(band)
    return 1e-6 if chip.pixels.dtype.kind == "f" else chip.scales[n] * (0.5 + 1e-6)


OVER_DATES = ["ndvi:p10", "ndvi:p90", "red:mad", "nir:mean", "nir:sd", "day:first", "day:last",
              "red:first", "ndvi:last", "red:medoid", "nir:medoid"]  # fmt: skip


@pytest.mark.parametrize("size", [64, 96])
def test_features_over_dates_are_numpys_of_the_clear_dates(
    scenes: list[Scene], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(OVER_DATES, size)
    plain = config_of([], size, composite=None, dates=6, bands=["red", "nir"])
    single, whole = chips_of(plain, scenes, blocks=1), chips_of(config, scenes, blocks=1)
    assert whole.keys() == single.keys()
    for tile_id, chip in whole.items():
        dates = single[tile_id]
        red, nir, seen = values_of(dates, "red"), values_of(dates, "nir"), dates.valid
        stack = np.ma.array([red, nir, (nir - red) / (nir + red)], mask=[~seen] * 3).filled(np.nan)
        red, nir, ndvi = stack
        day = np.array(DAYS)[:, None, None] * np.where(seen, 1, np.nan)
        first = np.where(seen, np.arange(6)[:, None, None], 9).min(0)
        last = np.where(seen, np.arange(6)[:, None, None], -1).max(0)
        with np.errstate(all="ignore"), np.testing.suppress_warnings() as sup:
            sup.filter(RuntimeWarning)
            expected = {
                "ndvi:p10": np.nanpercentile(ndvi, 10, 0),
                "ndvi:p90": np.nanpercentile(ndvi, 90, 0),
                "red:mad": np.nanmedian(np.abs(red - np.nanmedian(red, 0)), 0),
                "nir:mean": np.nanmean(nir, 0),
                "nir:sd": np.nanstd(nir, 0),
                "day:first": np.nanmin(day, 0),
                "day:last": np.nanmax(day, 0),
            }
        is_seen = seen.any(0)
        at = np.where(is_seen, first, 0)[None], np.where(is_seen, last, 0)[None]
        expected["red:first"] = np.take_along_axis(red, at[0], 0)[0]
        expected["ndvi:last"] = np.take_along_axis(ndvi, at[1], 0)[0]
        np.testing.assert_array_equal(chip.valid[0], is_seen)
        for band, right in expected.items():
            found = values_of(chip, band)[0][is_seen]
            assert np.abs(found - right[is_seen]).max() <= half_step(chip, band), band
        assert not chip.pixels[0][:, ~is_seen].any()
        medoid = np.stack([values_of(chip, "red:medoid")[0], values_of(chip, "nir:medoid")[0]])
        distances = np.linalg.norm(stack[:2, :, None] - stack[:2, None], axis=0)
        sums = np.where(seen, np.nansum(distances, 1), np.inf)
        best = np.where(is_seen, sums.argmin(0), 0)
        right = np.take_along_axis(stack[:2], best[None, None], 1)[:, 0]
        np.testing.assert_allclose(medoid[:, is_seen], right[:, is_seen], atol=1e-4)
    monkeypatch.setattr(mosaic, "STRIP_BYTES", 1 << 17)
    monkeypatch.setattr(features, "CHUNK_BYTES", 1 << 14)
    for tile_id, chip in chips_of(config, scenes, blocks=1).items():
        np.testing.assert_array_equal(chip.pixels, whole[tile_id].pixels)


def test_texture_and_terrain_do_not_depend_on_tiles_and_clouds(scenes: list[Scene]) -> None:
    entries = ["red:mean21", "ndvi:sd7", "ndvi", "elevation:slope", "elevation:aspect",
               "elevation:tpi21", "elevation:sd3"]  # fmt: skip
    joined = [
        join_chips(list(chips_of(config_of(entries, size), scenes).values())) for size in (32, 64)
    ]
    (small, small_valid, small_grid), (large, large_valid, large_grid) = joined
    row = round((large_grid.transform[5] - small_grid.transform[5]) / 10)
    col = round((small_grid.transform[2] - large_grid.transform[2]) / 10)
    height, width = small_grid.shape
    area = np.s_[..., row : row + height, col : col + width]
    assert (row, col) >= (0, 0)
    np.testing.assert_array_equal(large_valid[area], small_valid)
    np.testing.assert_array_equal(large[area], small)
    # Terrain is of the layer, not of what clouds leave of it.
    clear = chips_of(config_of(entries[3:], 64), [scenes[0], scenes[-1]])
    single = {"composite": None, "dates": 6, "bands": ["red", "nir", "elevation"]}
    cloudy = chips_of(config_of(entries[3:], 64, **single), scenes)
    for tile_id, chip in clear.items():
        both = chip.valid[0] & cloudy[tile_id].valid[0]
        for band in ("elevation:slope", "elevation:aspect:sin", "elevation:tpi21"):
            np.testing.assert_array_equal(
                values_of(chip, band)[0][both],
                values_of(cloudy[tile_id], band)[0][both],
            )


def test_a_series_has_the_features_of_every_interval_and_fills_gaps(scenes: list[Scene]) -> None:
    entries = ["ndvi:mean", "red:sd3"]
    series = {"method": "median", "interval": 61}
    by_interval = chips_of(config_of(entries, composite=series), scenes)
    filled = chips_of(config_of(entries, composite={**series, "fill": "linear"}), scenes)
    for tile_id, chip in by_interval.items():
        assert chip.pixels.shape[:2] == (6, 6)
        # Nothing was seen in the last interval; the filled one is that of the fifth.
        assert not chip.valid[-1].any()
        assert not chip.pixels[-1].any()
        of_last = filled[tile_id]
        seen = chip.valid[4]
        ndvi = chip.bands.index("ndvi:mean")
        np.testing.assert_array_equal(of_last.pixels[-1, ndvi][seen], chip.pixels[4, ndvi][seen])
        assert of_last.pixels[-1, chip.bands.index("red:sd3")][seen].any()


def test_values_of_numbers_in_single_precision_are_double() -> None:
    encoding = Encoding(("red",), "float32", (0.0001,), (-0.1,))
    numbers = np.array([1.0, 3333.0, 65_535.0], np.float32)
    values = features.to_values(numbers, "red", encoding)
    assert values.tolist() == [number * 0.0001 - 0.1 for number in (1.0, 3333.0, 65_535.0)]


def test_numbers_hold_the_range_of_each_feature() -> None:
    config = config_of(["ndvi", "red:mean7", "red:sd7", "ndvi:harmonic:1:cos1", "day:first"])
    bands = [Band("red", "", scale=1e-4, offset=-0.1), Band("nir", "", scale=1e-4, offset=-0.1),
             Band("elevation", "")]  # fmt: skip
    encoding = run_encoding(config, bands)
    assert (encoding.dtype, encoding.bands) == ("uint16", config.bands)
    steps = dict(
        zip(encoding.bands, zip(encoding.scales, encoding.offsets, strict=True), strict=True)
    )
    assert steps["red:mean7"] == pytest.approx(steps["red"])
    assert steps["ndvi"] == pytest.approx((2 / 65535, -1))
    assert steps["ndvi:harmonic:1:cos1"] == pytest.approx((2 / 65535, -1))
    assert steps["red:sd7"] == pytest.approx((0.5e-4, 0))
    assert steps["day:first"][0] < 0.06
    eight = run_encoding(config, [replace(band, dtype="uint8", scale=1.0) for band in bands])
    assert eight.dtype == "uint16"
    assert eight.scales[0] == 1.0
    # A formula without a range, as no whole numbers are known to hold it.
    assert run_encoding(config_of(["rvi"]), bands).dtype == "float32"
    assert run_encoding(config_of([]), bands).bands == config_of([]).bands


def test_what_was_measured_keeps_its_unit_and_an_index_is_one() -> None:
    config = config_of(["red:p10", "red:sd", "ndvi", "day:first"])
    bands = [Band(name, "", scale=1e-4, unit="surface_reflectance") for name in ("red", "nir")]
    encoding = run_encoding(config, [*bands, Band("elevation", "")])
    units = dict(zip(encoding.bands, encoding.units, strict=True))
    assert [units[feature.name] for feature in config.features] == [
        "surface_reflectance", "surface_reflectance", "index", ""
    ]  # fmt: skip
    assert run_encoding(config, [*map(_without_unit, bands), Band("elevation", "")]).units == (
        *[""] * 6, "index", ""
    )  # fmt: skip
    kelvin = [replace(band, unit="kelvin") for band in bands]
    with pytest.raises(InputError, match="is of reflectance, and band nir is kelvin"):
        run_encoding(config_of(["evi2"]), [*kelvin, Band("elevation", "")])


def test_a_spread_or_a_mean_of_decibels_is_no_linear_value_converted() -> None:
    measured = ["red:p10", "red:last", "red:medoid"]
    summed = ["red:mean", "red:mad", "red:mean3", "red:harmonic:1:cos1", "red:phenology:amplitude"]
    config = config_of([*measured, *summed, "rvi", "red:phenology:peak"])
    units = {}
    for unit in ("sigma0_db", "sigma0"):
        bands = [Band(name, "", dtype="float32", unit=unit) for name in ("red", "nir")]
        encoding = run_encoding(config, [*bands, Band("elevation", "", dtype="float32")])
        units[unit] = encoding.units[encoding.bands.index("red:p10") :]
    assert units["sigma0_db"] == (*["sigma0_db"] * 3, *["db"] * 6, "")
    assert units["sigma0"] == (*["sigma0"] * 8, "", "")
    # A model of the one maps no scenes of the other by them.
    for name, decibels, linear in zip(summed, *(u[3:8] for u in units.values()), strict=True):
        with pytest.raises(InputError, match="in sigma0; model 'untrained' was trained on db"):
            contract_of(name, decibels).check((name,), 10.0, "it", (linear,))
    contract_of("red:p10", "sigma0_db").check(("red:p10",), 10.0, "it", ("sigma0",))


def test_a_model_maps_no_band_of_its_names_by_another_formula() -> None:
    plain, both = config_of([]).tiling, ("wet", "wet:p10")
    runs = [
        replace(config_of([]), tiling=replace(plain, features=both, expressions={"wet": named}))
        for named in map(ExpressionConf, ("red-nir", "red - nir", "nir"))
    ]
    learned = replace(contract_of("wet", ""), formulas=runs[0].formulas)
    assert learned.formulas == {"wet": "red - nir", "wet:p10": "red - nir"}
    learned.check_formulas(runs[1].formulas)
    with pytest.raises(InputError, match=r"computes wet by nir; .* learned from red - nir"):
        learned.check_formulas(runs[2].formulas)
    contract_of("wet", "").check_formulas(runs[2].formulas)  # of an earlier version


def contract_of(band: str, unit: str) -> Contract:
    plain = {"mean": (0.0,), "std": (1.0,), "legend": COMMON, "gsd_m": 10.0}
    return Contract("untrained", "segment", "linear", {}, (band,), **plain, units=(unit,))


def _without_unit(band: Band) -> Band:
    return replace(band, unit="")


def test_an_index_of_reflectance_is_not_made_of_bare_numbers() -> None:
    config = config_of(["evi2"])
    bare = Encoding(("red", "nir", OBSERVATIONS, "elevation"), "uint16", (1.0,) * 4, (0.0,) * 4)
    with pytest.raises(InputError, match=r"scenes\.scale"):
        add_features(bare, config.features, config.bands)
    scaled = replace(bare, scales=(1e-4, 1e-4, 1.0, 1.0))
    assert add_features(scaled, config.features, config.bands).bands[-1] == "evi2"


def test_a_date_without_an_index_is_left_out_and_division_by_zero_is_no_value(
    tmp_path: Path,
) -> None:
    made = []
    for n, (red, nir) in enumerate([(100, 300), (100, 100), (200, 300)]):
        bands = {
            "red": np.full(UTM33.shape, red, np.uint16),
            "nir": np.full(UTM33.shape, nir, np.uint16),
        }
        scene = make_scene(tmp_path / str(n), f"s{n}", bands, day=f"2024-0{n + 1}-01T10:00")
        made.append(replace(scene, bands=tuple(
            replace(band, scale=1e-4, offset=-0.01) for band in scene.bands
        )))  # fmt: skip
    config = config_of(["ndvi:mean", "ndvi:p0"], bands=["red", "nir"], layers=[])
    chip = next(iter(chips_of(config, made).values()))
    at = np.unravel_index(chip.valid[0].argmax(), chip.valid[0].shape)
    right = [evaluate("(nir - red) / (nir + red)", {"red": np.array(r), "nir": np.array(n)})
             for r, n in ((0.0, 0.02), (0.01, 0.02))]  # fmt: skip
    assert values_of(chip, "ndvi:mean")[0][at] == pytest.approx(np.mean(right), abs=4e-5)
    assert values_of(chip, "ndvi:p0")[0][at] == pytest.approx(min(right), abs=4e-5)


def test_features_and_the_first_year_are_part_of_the_fingerprint(scenes: list[Scene]) -> None:
    bands = [band for scene in scenes for band in scene.bands]
    recipes = set()
    for entries, start in [
        ([], "2024-01-01"), (["ndvi"], "2024-01-01"), (["ndvi", "red:p10"], "2024-01-01"),
        (["day:first"], "2024-01-01"), (["day:first"], "2023-01-01"),
    ]:  # fmt: skip
        config = config_of(entries, periods=[{"name": "y", "start": start}])
        recipes.add(fingerprint_recipe(make_chip_spec(config, bands), config.periods[0]))
    assert len(recipes) == 5


def test_a_number_that_float32_does_not_hold_is_0() -> None:
    encoding = Encoding(("x",), "float32", (1.0,), (0.0,))
    values = np.array([1e300, -np.inf, np.nan, 3e38, 2.5])
    found = features.to_numbers(values, "x", encoding)
    np.testing.assert_array_equal(found, np.array([0, 0, 0, 3e38, 2.5], np.float32))
