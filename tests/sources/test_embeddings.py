"""AlphaEarth and TESSERA as their publishers lay them out: to the published values, wherever."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from lulc.chips.chip import Chip, choose_encoding
from lulc.chips.cut import cut_block
from lulc.chips.mosaic import ChipSpec
from lulc.config import Archive
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.geo.tiling import Tiling
from lulc.sources.registry import SOURCES, source_of
from lulc.sources.scene import Scene, scenes_from_table, scenes_to_table
from tests.helpers.synthetic_embeddings import (
    AXES,
    NORTH_UP,
    make_numbers,
    published,
    write_alphaearth,
)
from tests.helpers.synthetic_scenes import write_raster

TILING = Tiling("t", "EPSG:32633", 10.0, 64, 5e5, 5.3e6)


def read_all(folder: Path, bands: tuple[str, ...] = (), **settings: str) -> list[Scene]:
    archive = Archive(str(folder), **settings)  # type: ignore[arg-type]
    source = source_of(archive)
    scenes = [source.read(item, archive, bands) for item in source.items(archive)]
    return scenes_from_table(scenes_to_table(scenes))


def cut(scenes: list[Scene], bands: tuple[str, ...], tiling: Tiling = TILING) -> Chip:
    found = cut_block(
        scenes, ChipSpec(tiling, choose_encoding(scenes, bands), halo=0, span=1), 0, 0, "2023"
    )
    assert not found.unreadable
    return found.chips[0]


def values_of(chip: Chip) -> np.ndarray:
    scales, offsets = (np.array(n)[:, None, None] for n in (chip.scales, chip.offsets))
    return chip.pixels[0] * scales + offsets


def test_a_south_up_alphaearth_file_is_read_to_the_published_values(tmp_path: Path) -> None:
    numbers = make_numbers()
    write_alphaearth(tmp_path, numbers)
    (scene,) = read_all(tmp_path)
    assert scene.source == "alphaearth"
    assert tuple(band.name for band in scene.bands) == AXES
    assert scene.datetime == datetime(2023, 7, 2, 12, tzinfo=UTC)
    assert scene.gsd_m == pytest.approx(10, abs=0.01)
    chip = cut([scene], AXES)
    assert chip.pixels.dtype == np.int16
    expected, valid = published(numbers)[:, :64, :64], numbers[0, :64, :64] != -128
    np.testing.assert_array_equal(chip.valid[0], valid)
    np.testing.assert_allclose(values_of(chip)[:, valid], expected[:, valid], rtol=1e-12, atol=0)


def test_alphaearth_is_interpolated_by_its_values_not_by_its_numbers(tmp_path: Path) -> None:
    numbers = make_numbers()
    write_alphaearth(tmp_path / "int8", numbers)
    values = published(numbers).astype("float32")
    path = tmp_path / "float/scene_2023-07-02.tif"
    write_raster(path, np.where(numbers == -128, np.nan, values), NORTH_UP)
    names = dict.fromkeys(AXES)
    bands = {f"b{number + 1}": name for number, name in enumerate(names)}
    archive = Archive(str(path.parent), source="geotiff", mask=(), bands=bands)
    (item,) = SOURCES["geotiff"].items(archive)
    wanted = ("e0", "e63")
    tiling = Tiling("t", "EPSG:6933", 7.0, 64, *_corner())
    exact = cut([SOURCES["geotiff"].read(item, archive, wanted)], wanted, tiling)
    chip = cut(read_all(tmp_path / "int8", wanted), wanted, tiling)
    np.testing.assert_array_equal(chip.valid, exact.valid)
    assert exact.valid.mean() > 0.9
    assert np.abs(values_of(chip) - values_of(exact)).max() < 1 / 127.5**2 / 3


def _corner() -> tuple[float, float]:
    from lulc.geo.grid import transformer

    return transformer("EPSG:32633", "EPSG:6933").transform(5e5 + 150, 5.3e6 - 200)


def test_what_is_no_published_alphaearth_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "2023/33N/x-0000000000-0000000000.tiff"
    write_raster(path, np.zeros((64, *NORTH_UP.shape), "float32"), NORTH_UP)
    with pytest.raises(InputError, match=r"float32.*scenes\.source geotiff"):
        read_all(tmp_path)
    file = write_alphaearth(tmp_path / "a", make_numbers())
    file = file.rename(tmp_path / "a/loose.tiff")
    with pytest.raises(InputError, match=r"no folder of a year.*scenes\.date"):
        read_all(file.parent, source="alphaearth")
    (scene,) = read_all(file.parent, ("e7",), source="alphaearth", date="2019")
    assert scene.datetime is not None
    assert scene.datetime.year == 2019
    with pytest.raises(InputError, match=r"no band e64.*A00 to A63"):
        read_all(file.parent, ("e64",), source="alphaearth", date="2019")


GRID_NAME = "grid_15.05_47.85"


def write_tessera(folder: Path, per_channel: bool = False) -> tuple[np.ndarray, Path]:
    """A tile of 128 channels; returns values (128, H, W), nan without data, and its folder."""
    rng = np.random.default_rng(1)
    numbers = rng.integers(-128, 128, (*NORTH_UP.shape, 128)).astype("int8")
    shape = numbers.shape if per_channel else NORTH_UP.shape
    scales = rng.uniform(0.001, 0.3, shape).astype("float32")
    scales[:7] = np.nan
    tile = folder / "global_0.1_degree_representation/2024" / GRID_NAME
    tile.mkdir(parents=True)
    np.save(tile / f"{GRID_NAME}.npy", numbers)
    np.save(tile / f"{GRID_NAME}_scales.npy", scales)
    landmask = folder / f"global_0.1_degree_tiff_all/{GRID_NAME}.tiff"
    write_raster(landmask, np.ones(NORTH_UP.shape, "uint8"), NORTH_UP)
    values = numbers * (scales if per_channel else scales[..., None])
    return values.transpose(2, 0, 1), tile


@pytest.mark.parametrize("per_channel", [False, True])
def test_tessera_numbers_and_scales_are_read_as_values(tmp_path: Path, per_channel: bool) -> None:
    values, _ = write_tessera(tmp_path, per_channel)
    (scene,) = read_all(tmp_path)
    assert (scene.source, len(scene.bands)) == ("tessera", 128)
    assert scene.datetime is not None
    assert scene.datetime.year == 2024
    bands = tuple(f"e{number}" for number in range(128))
    chip = cut([scene], bands)
    valid = np.isfinite(values[0, :64, :64])
    np.testing.assert_array_equal(chip.valid[0], valid)
    np.testing.assert_array_equal(values_of(chip)[:, valid], values[:, :64, :64][:, valid])


def test_both_forms_of_a_tessera_tile_are_read_alike(tmp_path: Path) -> None:
    values, _ = write_tessera(tmp_path / "npy")
    path = tmp_path / f"tiff/2024/{GRID_NAME}/{GRID_NAME}_2024.tiff"
    write_raster(path, values, NORTH_UP)
    tiling = Tiling("t", "EPSG:6933", 7.0, 64, *_corner())
    wanted = ("e0", "e127")
    chips = [cut(read_all(tmp_path / form, wanted), wanted, tiling) for form in ("npy", "tiff")]
    np.testing.assert_array_equal(chips[0].valid, chips[1].valid)
    np.testing.assert_allclose(chips[0].pixels, chips[1].pixels, atol=1e-5)


def test_a_damaged_tessera_tile_is_refused_by_name(tmp_path: Path) -> None:
    _, tile = write_tessera(tmp_path)
    scales = tile / f"{GRID_NAME}_scales.npy"
    content = scales.read_bytes()
    np.save(scales, np.ones((3, 4), "float32"))
    with pytest.raises(InputError, match="not of one tile"):
        read_all(tmp_path)
    np.save(scales, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"holds object.*fetch the tile anew"):
        read_all(tmp_path)
    scales.write_bytes(content)
    (scene,) = read_all(tmp_path, ("e0",))
    scales.write_bytes(content[:2000])
    found = cut_block(
        [scene], ChipSpec(TILING, choose_encoding([scene], ("e0",)), halo=0, span=1), 0, 0, "2024"
    )
    assert "is cut short" in found.unreadable[scene.scene_id]
    scales.unlink()
    with pytest.raises(InputError, match="scales"):
        read_all(tmp_path)


def test_a_tile_is_read_again_when_one_of_its_three_files_changes(tmp_path: Path) -> None:
    _, tile = write_tessera(tmp_path)
    (first,) = read_all(tmp_path, ("e0",))
    landmask = next(tmp_path.glob("global_0.1_degree_tiff_all/*.tiff"))
    moved = Grid(
        NORTH_UP.crs, tuple(NORTH_UP.affine @ Affine.translation(1, 0))[:6], *NORTH_UP.shape
    )
    write_raster(landmask, np.ones(NORTH_UP.shape, "uint8"), moved)
    (second,) = read_all(tmp_path, ("e0",))
    np.save(tile / f"{GRID_NAME}_scales.npy", np.ones(NORTH_UP.shape, "float32"))
    (third,) = read_all(tmp_path, ("e0",))
    assert len({first.fingerprint, second.fingerprint, third.fingerprint}) == 3


def test_a_zarr_store_of_tessera_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "v1/utm33").mkdir(parents=True)
    (tmp_path / "v1/utm33/zarr.json").write_text("{}")
    with pytest.raises(InputError, match=r"Zarr store, which is not read.*geotessera download"):
        read_all(tmp_path, source="tessera")


def test_bands_of_a_run_may_be_given_as_a_range() -> None:
    from lulc.config import Config

    config = Config("x", bands=("red", "e0..e63"))  # type: ignore[arg-type]
    assert config.bands == ("red", *AXES)
