"""Which bands of an image file a model gets: by name, else in the order of its training data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp

from lulc.geo.grid import Grid
from lulc.inference.folder import map_folder
from lulc.models.contract import read_contract
from tests.helpers import untrained_model as untrained
from tests.helpers.synthetic_scenes import write_raster
from tests.inference.test_rows import reference

GRID = Grid("EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5300000.0), 48, 40)
MODEL = ("red", "nir08")
FILES = ("coastal", "blue", "green", "red", "nir08")


def picture(name: str) -> np.ndarray:
    """(H, W) uint16, of every band another."""
    return (
        np.random.default_rng(len(name) + 7 * ord(name[0]))
        .integers(500, 3500, GRID.shape)
        .astype("uint16")
    )


def write_image(path: Path, bands: Sequence[str], names: Sequence[str] = ()) -> None:
    write_raster(path, np.stack([picture(band) for band in bands]), GRID)
    with rasterio.open(path, "r+") as file:
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
        if bands[-1] == "opaque":
            file.colorinterp = [*[ColorInterp.undefined] * (len(bands) - 1), ColorInterp.alpha]


def map_images(
    model: Path, folder: Path, out: Path
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The maps by name, and the errors."""
    rows = map_folder(reference(model), folder, out)
    made = {}
    for row in rows:
        if row.status == "done":
            with rasterio.open(out / str(row.path)) as file:
                made[row.key] = file.read(1)
    return made, {row.key: str(row.error) for row in rows if row.status == "bad"}


def test_a_file_of_all_bands_is_the_map_of_the_model_s_own(tmp_path: Path) -> None:
    model = untrained.make_model(tmp_path / "model", bands=MODEL, file_bands=(FILES,))
    folder = tmp_path / "in"
    write_image(folder / "own.tif", MODEL)
    write_image(folder / "all.tif", FILES)
    write_image(folder / "alpha.tif", (*MODEL, "opaque"))
    write_image(folder / "all_alpha.tif", (*FILES, "opaque"))
    write_image(folder / "four.tif", FILES[:4])
    made, errors = map_images(model, folder, tmp_path / "out")
    assert len(np.unique(made["own.tif"])) > 1
    assert (made["all.tif"] == made["own.tif"]).all()
    assert (made["alpha.tif"] == made["own.tif"]).all()
    assert (made["all_alpha.tif"] == made["own.tif"]).all()
    assert set(errors) == {"four.tif"}
    assert "it has 4 bands; model 'untrained' takes 2: red, nir08" in errors["four.tif"]


@pytest.mark.parametrize("known", [True, False])
def test_names_tell_whatever_the_order(known: bool, tmp_path: Path) -> None:
    model = untrained.make_model(
        tmp_path / "model", bands=MODEL, file_bands=(FILES,) if known else ()
    )
    write_image(tmp_path / "in/own.tif", MODEL)
    rng = np.random.default_rng(0)
    for number in range(5):
        order = rng.permutation(FILES).tolist()
        write_image(tmp_path / f"in/{number}.tif", order, order)
    made, errors = map_images(model, tmp_path / "in", tmp_path / "out")
    assert (len(made), errors) == (6, {})
    assert all((each == made["own.tif"]).all() for each in made.values())


def test_what_cannot_be_told_is_not_guessed(tmp_path: Path) -> None:
    model = untrained.make_model(tmp_path / "model", bands=MODEL, file_bands=(FILES, FILES[::-1]))
    folder = tmp_path / "in"
    write_image(folder / "either.tif", FILES)
    write_image(folder / "lacks.tif", FILES, ("a", "b", "c", "red", "e"))
    write_image(folder / "twice.tif", FILES, ("a", "red", "nir08", "red", "e"))
    made, errors = map_images(model, folder, tmp_path / "out")
    assert not made
    assert (
        "may be coastal, blue, green, red, nir08 or nir08, red, green, blue, coastal: name them"
        in errors["either.tif"]
    )
    assert "none or several named nir08; model" in errors["lacks.tif"]
    assert "none or several named red; model" in errors["twice.tif"]


def test_the_order_of_files_survives_the_contract(tmp_path: Path) -> None:
    model = untrained.make_model(tmp_path / "model", bands=MODEL, file_bands=(FILES, MODEL))
    assert read_contract(model / "contract.json").file_bands == (FILES, MODEL)


def test_bands_of_each_date_are_found(tmp_path: Path) -> None:
    changes = {
        "task": "change",
        "model": "siamese-difference",
        "architecture": {"encoder": "resnet18", "depth": 3},
    }
    model = untrained.make_model(tmp_path / "model", bands=MODEL, file_bands=(FILES,), **changes)
    later = [band + "'" for band in FILES]
    folder = tmp_path / "in"
    write_image(folder / "own.tif", (*MODEL, *(later[FILES.index(band)] for band in MODEL)))
    write_image(folder / "all.tif", (*FILES, *later))
    write_image(folder / "named.tif", (*FILES[::-1], *later[::-1]), FILES[::-1] * 2)
    write_image(folder / "one.tif", FILES)
    made, errors = map_images(model, folder, tmp_path / "out")
    assert set(errors) == {"one.tif"}
    assert (made["all.tif"] == made["own.tif"]).all()
    assert (made["named.tif"] == made["own.tif"]).all()


def write_alpha(path: Path, bands: Sequence[str], alpha: int, names: Sequence[str] = ()) -> None:
    """Bands, the one of number `alpha` flagged as alpha; one named `opaque` is 0 in the west."""
    layers = [
        255 * (np.indices(GRID.shape)[1] >= 20) if band == "opaque" else picture(band)
        for band in bands
    ]
    write_raster(path, np.stack(layers).astype("uint16"), GRID, photometric="MINISBLACK")
    with rasterio.open(path, "r+") as file:
        colours = [ColorInterp.undefined] * len(bands)
        colours[alpha - 1] = ColorInterp.alpha
        file.colorinterp = colours
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)


def test_alpha_that_is_not_the_model_s_has_no_class_where_it_is_0(tmp_path: Path) -> None:
    model = untrained.make_model(tmp_path / "model", bands=MODEL, file_bands=(FILES,))
    folder = tmp_path / "in"
    write_image(folder / "own.tif", MODEL)
    write_alpha(folder / "last.tif", (*MODEL, "opaque"), 3)
    write_alpha(folder / "sixth.tif", (*FILES, "opaque"), 6)
    write_alpha(folder / "first.tif", ("opaque", *FILES), 1)
    made, errors = map_images(model, folder, tmp_path / "out")
    assert errors == {}
    for name in ("last.tif", "sixth.tif", "first.tif"):
        assert (made[name][:, :20] == 255).all()
        assert (made[name][:, 20:] != 255).all()


def test_a_band_of_the_model_is_data_though_it_is_flagged_as_alpha(tmp_path: Path) -> None:
    model = untrained.make_model(tmp_path / "model", bands=MODEL)
    folder = tmp_path / "in"
    write_image(folder / "own.tif", MODEL)
    write_alpha(folder / "flagged.tif", MODEL, 2)
    order = ("nir08", "opaque", "red")
    write_alpha(folder / "named.tif", order, 1, order)
    made, errors = map_images(model, folder, tmp_path / "out")
    assert errors == {}
    assert (made["flagged.tif"] == made["own.tif"]).all()
    assert (made["named.tif"] == made["own.tif"]).all()


def test_an_image_says_where_it_lies_in_full_or_not_at_all(tmp_path: Path) -> None:
    model = untrained.make_model(tmp_path / "model", bands=MODEL)
    folder = tmp_path / "in #1"
    write_image(folder / "own.tif", MODEL)
    layers = np.stack([picture(band) for band in MODEL])
    plain = {"count": 2, "height": GRID.height, "width": GRID.width, "dtype": "uint16"}
    for name, place in {
        "half.tif": {"crs": GRID.crs},
        "nowhere?.tif": {},
        "masked.tif": {"crs": GRID.crs, "transform": GRID.affine},
        "world.tif": {"crs": GRID.crs},
        "no_crs.tif": {},
    }.items():
        with rasterio.open(folder / name, "w", driver="GTiff", **plain, **place) as file:
            file.write(layers)
    for name in ("world", "no_crs"):
        (folder / f"{name}.tfw").write_text("10\n0\n0\n-10\n500005\n5299995\n")
    (folder / "masked.tif.msk").write_bytes((folder / "own.tif").read_bytes())
    made, errors = map_images(model, folder, tmp_path / "out #1")
    assert set(errors) == {"half.tif", "masked.tif"}
    assert "half.tif has a CRS but no transform" in errors["half.tif"]
    assert "masked.tif.msk masks it" in errors["masked.tif"]
    assert all((each == made["own.tif"]).all() for each in made.values())
    for name in ("own.tif", "world.tif", "no_crs.tif"):
        with rasterio.open(tmp_path / "out #1" / name) as file:
            assert file.transform == GRID.affine
            assert (file.crs is None) == (name == "no_crs.tif")


def test_a_picture_that_is_stored_turned_is_not_mapped(tmp_path: Path) -> None:
    model = untrained.make_model(tmp_path / "model", bands=("red", "green", "blue"))
    (tmp_path / "in").mkdir()
    plain = Image.fromarray(np.full((48, 40, 3), 90, "uint8"))
    tags = Image.Exif()
    plain.save(tmp_path / "in/upright.jpg")
    tags[0x0112] = 6
    plain.save(tmp_path / "in/turned.jpg", exif=tags)
    made, errors = map_images(model, tmp_path / "in", tmp_path / "out")
    assert set(made) == {"upright.tif"}
    assert "turned.jpg is stored turned (EXIF orientation 6)" in errors["turned.tif"]
