"""Where pixels are valid: nodata, masks of the file, and alpha wherever it stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp

from lulc.geo.grid import Grid
from lulc.raster import reader
from lulc.raster.access import ReadError, open_raster
from lulc.raster.pixels import data_bands
from lulc.raster.views import read_masked
from tests.helpers.synthetic_scenes import write_raster

GRID = Grid("EPSG:32633", (10.0, 0.0, 5e5, 0.0, -10.0, 5.3e6), 40, 48)
WHOLE = (slice(0, 40), slice(0, 48))
SEEN = np.arange(48) >= 20
GREY, ALPHA = ColorInterp.undefined, ColorInterp.alpha


def write_bands(
    path: Path,
    colours: list[ColorInterp],
    names: dict[int, str] | None = None,
    alpha: int | None = None,
    dtype: str = "uint16",
) -> str:
    """Bands of 7 with these colours, the one of number `alpha` 0 in the west."""
    pixels = np.full((len(colours), *GRID.shape), 7, dtype)
    if alpha is not None:
        pixels[alpha - 1] = 255 * SEEN
    write_raster(path, pixels, GRID, photometric="MINISBLACK")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = colours
        for number, name in (names or {}).items():
            file.set_band_description(number, name)
    return str(path)


def check_valid(path: str, indexes: list[int], expected: np.ndarray) -> None:
    """All ways to read a file agree on where its bands are valid."""
    wanted = np.broadcast_to(expected, GRID.shape)
    _, valid, _ = reader.read_whole(path, indexes)
    np.testing.assert_array_equal(valid, wanted)
    for _, band_valid in reader.read_bands(path, [(n, "nearest", None) for n in indexes], GRID):
        np.testing.assert_array_equal(band_valid, wanted)
    with open_raster(path) as file:
        _, window_valid = read_masked(file, indexes, WHOLE)
    for band_valid in window_valid:
        np.testing.assert_array_equal(band_valid, wanted)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_alpha_masks_the_others_wherever_it_stands(tmp_path: Path, count: int, dtype: str) -> None:
    for number in range(1, count + 1):
        colours = [ALPHA if n == number else GREY for n in range(1, count + 1)]
        path = write_bands(tmp_path / f"{number}.tif", colours, alpha=number, dtype=dtype)
        others = [n for n in range(1, count + 1) if n != number]
        assert reader.list_bands(path) == tuple(others)
        check_valid(path, others, SEEN)
        check_valid(path, others[:1], SEEN)


@pytest.mark.parametrize("count", [4, 5])
def test_a_band_that_is_asked_for_is_data_though_it_is_flagged_as_alpha(
    tmp_path: Path, count: int
) -> None:
    path = write_bands(tmp_path / "a.tif", [GREY] * (count - 1) + [ALPHA], alpha=count)
    check_valid(path, [1, count], np.ones(48, bool))
    check_valid(path, [count], np.ones(48, bool))
    check_valid(path, [1], SEEN)


@pytest.mark.parametrize("name", ["nir", "NIR", "B08", "near infrared"])
def test_a_band_that_is_named_otherwise_is_no_alpha(tmp_path: Path, name: str) -> None:
    path = write_bands(tmp_path / "a.tif", [GREY] * 3 + [ALPHA], {4: name}, alpha=4)
    assert reader.list_bands(path) == (1, 2, 3, 4)
    check_valid(path, [1, 2, 3], np.ones(48, bool))


@pytest.mark.parametrize("name", ["", "alpha", "Alpha channel", "Band 4", "mask"])
def test_a_name_that_says_nothing_else_leaves_it_alpha(tmp_path: Path, name: str) -> None:
    path = write_bands(tmp_path / "a.tif", [GREY] * 3 + [ALPHA], {4: name}, alpha=4)
    assert reader.list_bands(path) == (1, 2, 3)
    check_valid(path, [1, 2, 3], SEEN)


def test_mask_nodata_and_alpha_hold_together(tmp_path: Path) -> None:
    path = Path(write_bands(tmp_path / "a.tif", [GREY, ALPHA], alpha=2))
    rows = np.arange(40)[:, None] >= 10
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.broadcast_to(rows, GRID.shape))
    check_valid(str(path), [1], SEEN & rows)
    with rasterio.open(path, "r+") as file:
        file.nodata = 7
    check_valid(str(path), [1], np.zeros(48, bool))


def test_nodata_of_all_bands_at_once_is_heeded(tmp_path: Path) -> None:
    pixels = np.full((3, *GRID.shape), 7, "uint8")
    pixels[:, :, :20] = 0
    pixels[0] = np.where(SEEN, 7, 0)
    pixels[0, 5, 30] = 0  # 0 in one band alone is a value
    path = write_raster(tmp_path / "a.tif", pixels, GRID)
    with rasterio.open(path, "r+") as file:
        file.update_tags(NODATA_VALUES="0 0 0")
    check_valid(str(path), [1, 2, 3], SEEN)


def test_bands_of_unlike_types_are_not_read_at_once(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.zeros(GRID.shape, "complex64"), GRID)
    with pytest.raises(ReadError, match=r"a\.tif holds complex64"):
        reader.read_whole(str(path))


@given(seed=st.integers(0, 2**16), turns=st.integers(0, 3), flips=st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_raster_turned_or_upside_down_holds_the_same_pixels_at_the_same_places(
    tmp_path_factory: pytest.TempPathFactory, seed: int, turns: int, flips: bool
) -> None:
    folder = tmp_path_factory.mktemp("turned")
    pixels = np.random.default_rng(seed).integers(0, 9, GRID.shape).astype("uint8")
    stored, affine = pixels, GRID.affine
    for _ in range(turns):
        # The last column becomes the first row.
        affine = affine @ rasterio.Affine(0, -1, stored.shape[1], 1, 0, 0)
        stored = np.rot90(stored)
    if flips:
        affine = affine @ rasterio.Affine(1, 0, 0, 0, -1, stored.shape[0])
        stored = stored[::-1]
    turned = Grid(GRID.crs, tuple(affine)[:6], *stored.shape)
    path = str(write_raster(folder / "a.tif", stored, turned, nodata=0))
    found, valid = reader.read_band(path, 1, GRID, "nearest", None)
    np.testing.assert_array_equal(found, pixels)
    np.testing.assert_array_equal(valid, pixels != 0)
    part = GRID.window(3, 5, 20, 11)
    found, _ = reader.read_band(path, 1, part, "nearest", None)
    np.testing.assert_array_equal(found, pixels[3:23, 5:16])


@given(seed=st.integers(0, 2**16), form=st.sampled_from(["nodata", "mask", "alpha", "nan"]))
@settings(max_examples=20, deadline=None)
def test_no_data_is_the_same_in_every_form(
    tmp_path_factory: pytest.TempPathFactory, seed: int, form: str
) -> None:
    rng = np.random.default_rng(seed)
    pixels, valid = rng.integers(1, 9, GRID.shape), rng.random(GRID.shape) < 0.7
    path = tmp_path_factory.mktemp("form") / "a.tif"
    if form == "nodata":
        write_raster(path, np.where(valid, pixels, 250).astype("uint8"), GRID, nodata=250)
    elif form == "nan":
        write_raster(path, np.where(valid, pixels, np.nan).astype("float32"), GRID)
    elif form == "alpha":
        stack = np.stack([pixels, 255 * valid]).astype("uint8")
        write_raster(path, stack, GRID)
        with rasterio.open(path, "r+") as file:
            file.colorinterp = [GREY, ALPHA]
    else:
        write_raster(path, pixels.astype("uint8"), GRID)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
            file.write_mask(valid)
    found, seen, grid = reader.read_whole(str(path))
    assert (data_bands_of(path), grid) == ((1,), GRID)
    np.testing.assert_array_equal(seen, valid)
    np.testing.assert_array_equal(found[0], np.where(valid, pixels, 0))


def data_bands_of(path: Path) -> tuple[int, ...]:
    with open_raster(str(path)) as file:
        return data_bands(file)


@pytest.mark.parametrize("count", [1, 2])
def test_bands_of_a_file_that_has_no_others_are_data(tmp_path: Path, count: int) -> None:
    path = write_bands(tmp_path / "a.tif", [ALPHA] * count, alpha=1)
    pixels, valid, _ = reader.read_whole(path)
    assert pixels.shape == (count, *GRID.shape)
    assert valid.all()
    check_valid(path, list(range(1, count + 1)), np.ones(48, bool))
