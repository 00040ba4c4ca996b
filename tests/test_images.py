"""A folder of image files: every image becomes a map of the same name and grid, or a row that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from lulc import cli, images, modelfiles, predict, store
from lulc.conf import Predict
from lulc.errors import InputError
from lulc.geo import Grid
from lulc.legend import NODATA
from tests import untrained
from tests.scenery import cut_short, write_raster
from tests.toy import LEGEND

pytestmark = pytest.mark.filterwarnings("ignore", category=NotGeoreferencedWarning)

GRID = Grid("EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5300000.0), 75, 130)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained.make_model(tmp_path_factory.mktemp("model"), scales=(1.0, 1.0), offsets=(0.0, 0.0))


def noise(height: int = 75, width: int = 130, bands: int = 2, seed: int = 0) -> np.ndarray:
    """Pixels (C, H, W) uint16 in blobs."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(untrained.MEAN, untrained.STD, (bands, height // 8 + 1, width // 8 + 1)).repeat(8, 1).repeat(8, 2)
    return (coarse[:, :height, :width] + rng.normal(0, 200, (bands, height, width))).clip(1, 9000).astype(np.uint16)


def expected(model: Path, image: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """The map of pixels (C, H, W) held in memory."""
    seen = np.ones(image.shape[1:], bool) if valid is None else valid
    plain = (1.0,) * len(image), (0.0,) * len(image)
    return predict.load(model)((image * seen)[None], seen[None], *plain, Predict())[0]


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)  # type: ignore[no-any-return]


def test_a_map_has_the_images_name_grid_and_the_legends_colours(model: Path, tmp_path: Path) -> None:
    image = noise()
    image[:, 20:40, 30:60] = 0
    image[0, 5, 5] = 0
    write_raster(tmp_path / "in" / "deep" / "a.tiff", image, GRID, nodata=0)
    (row,) = images.map_folder(model, tmp_path / "in", tmp_path / "out")
    assert (row["status"], row["path"]) == ("done", "deep/a.tif")
    assert row["checksum"] == store.checksum(tmp_path / "out" / "deep" / "a.tif")
    with rasterio.open(tmp_path / "out" / "deep" / "a.tif") as made:
        assert (made.crs, made.shape, tuple(made.transform)[:6]) == (GRID.crs, GRID.shape, GRID.transform)
        assert (made.dtypes, made.nodata) == (("uint8",), NODATA)
        assert {i: made.colormap(1)[i][:3] for i in LEGEND.ids} == {c.id: c.rgb for c in LEGEND.classes}
        assert {made.tags()[f"CLASS_{c.id}"] for c in LEGEND.classes} == {c.name for c in LEGEND.classes}
        classes = made.read(1)
    assert (classes == expected(model, image, (image != 0).all(0))).all()
    assert ((classes == NODATA) == (image == 0).any(0)).all()
    assert store.standing(tmp_path / "out", "images")["deep/a.tif"]["status"] == "done"


def test_an_image_larger_than_a_window_is_mapped_as_if_it_were_one(model: Path, tmp_path: Path) -> None:
    image = noise(1100, 1068)
    write_raster(tmp_path / "in" / "a.tif", image, Grid(GRID.crs, GRID.transform, 1100, 1068))
    images.map_folder(model, tmp_path / "in", tmp_path / "out")
    how = Predict(window=2048)
    whole, _ = predict.load(model)(image[None], np.ones((1, 1100, 1068), bool), (1.0, 1.0), (0.0, 0.0), how)
    assert (read(tmp_path / "out" / "a.tif") == whole).mean() > 0.999


def test_numbers_are_those_the_image_says_or_those_of_the_chips(tmp_path: Path) -> None:
    folder = untrained.make_model(tmp_path / "m", mean=(0.2, 0.2), std=(0.05, 0.05), scales=(1e-4,) * 2, offsets=(0.0,) * 2)
    image = noise()
    write_raster(tmp_path / "in" / "chip.tif", image, GRID)
    write_raster(tmp_path / "in" / "float.tif", (image * 1e-4).astype(np.float32), GRID)
    with rasterio.open(write_raster(tmp_path / "in" / "said.tif", image + 1000, GRID), "r+") as file:
        file.scales, file.offsets = (1e-4, 1e-4), (-0.1, -0.1)
    images.map_folder(folder, tmp_path / "in", tmp_path / "out")
    maps = [read(tmp_path / "out" / f"{name}.tif") for name in ("chip", "float", "said")]
    assert len(np.unique(maps[0])) == len(LEGEND.ids)
    assert all((m == maps[0]).mean() > 0.99 for m in maps)


def test_pictures_without_a_place_are_mapped_and_alpha_says_what_is_valid(tmp_path: Path) -> None:
    folder = untrained.make_model(tmp_path / "m", bands=("red", "green", "blue"), mean=(128.0,) * 3, std=(40.0,) * 3)
    picture = (noise(64, 96, 4) / 32).clip(1, 255).astype(np.uint8)
    picture[3] = 255
    picture[3, :, :30] = 0
    profile = {"driver": "PNG", "height": 64, "width": 96, "dtype": "uint8"}
    (tmp_path / "in").mkdir()
    with rasterio.open(tmp_path / "in" / "a.png", "w", **profile, count=4) as file:
        file.write(picture)
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    with rasterio.open(tmp_path / "in" / "b.jpg", "w", **(profile | {"driver": "JPEG", "QUALITY": 100}), count=3) as file:
        file.write(picture[:3])
    images.map_folder(folder, tmp_path / "in", tmp_path / "out")
    one, other = (read(tmp_path / "out" / f"{name}.tif") for name in "ab")
    assert ((one == NODATA) == (picture[3] == 0)).all()
    assert (other == expected(folder, picture[:3])).mean() > 0.8
    with rasterio.open(tmp_path / "out" / "a.tif") as made:
        assert made.crs is None


def _bad_images(folder: Path) -> dict[str, str]:
    """What the error of each file must say."""
    image = noise()
    write_raster(folder / "count.tif", image[:1], GRID)
    with rasterio.open(write_raster(folder / "order.tif", image, GRID), "r+") as file:
        file.descriptions = ("nir", "red")
    write_raster(folder / "coarse.tif", image, Grid(GRID.crs, (60.0, 0.0, 5e5, 0.0, -60.0, 5.3e6), 75, 130))
    write_raster(folder / "complex.tif", image.astype(np.complex64), GRID)
    cut_short(write_raster(folder / "cut.tif", noise(600, 600), Grid(GRID.crs, GRID.transform, 600, 600)), 0.7)
    write_raster(folder / "cut.jp2", noise(256, 256), Grid(GRID.crs, GRID.transform, 256, 256), driver="JP2OpenJPEG")
    (folder / "cut.jp2").rename(folder / "cut2.jp2")
    cut_short(folder / "cut2.jp2", 0.5)
    sparse: dict[str, Any] = {"driver": "GTiff", "width": 100_000, "height": 100_000, "count": 2, "dtype": "uint16"}
    with rasterio.open(folder / "huge.tif", "w", **sparse, tiled=True, sparse_ok=True):
        pass
    (folder / "other.tif").write_text(
        '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="UInt16" band="1"/></VRTDataset>'
    )
    (folder / "empty.png").write_bytes(b"")
    return {
        "count": "has 1 bands", "order": "in this order", "coarse": "pixels of 60", "complex": "complex64",
        "cut": "cannot be read", "cut2": "cannot be", "huge": "claims 37 GiB", "other": "opened as GTiff", "empty": "PNG",
    }  # fmt: skip


def test_what_cannot_be_mapped_is_a_row_and_the_rest_is_mapped(model: Path, tmp_path: Path) -> None:
    said = _bad_images(tmp_path / "in")
    write_raster(tmp_path / "in" / "good.tif", noise(), GRID)
    rows = {Path(r["key"]).stem: r for r in images.map_folder(model, tmp_path / "in", tmp_path / "out")}
    assert {name for name, r in rows.items() if r["status"] == "bad"} == said.keys()
    for name, text in said.items():
        assert text in rows[name]["error"]
        assert f"{name}." in rows[name]["error"]
    assert [p.name for p in (tmp_path / "out").glob("*.*")] == ["good.tif"]


def test_only_what_changed_is_mapped_again_and_no_old_map_stands_in(model: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "in" / "maps"
    for seed, name in enumerate("ab"):
        write_raster(folder / f"{name}.tif", noise(seed=seed), GRID)
    assert [r["status"] for r in images.map_folder(model, folder, out)] == ["done", "done"]
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("*.tif")}
    assert [r["status"] for r in images.map_folder(model, folder, out)] == ["done", "done"]
    assert {p.name: p.stat().st_mtime_ns for p in out.glob("*.tif")} == before
    cut_short(folder / "b.tif", 0.6)
    assert [r["status"] for r in images.map_folder(model, folder, out)] == ["done", "bad"]
    assert {p.name: p.stat().st_mtime_ns for p in out.glob("*.tif")} == {"a.tif": before["a.tif"]}


def test_folders_that_cannot_be_meant_are_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        images.map_folder(model, tmp_path / "empty", tmp_path / "out")
    write_raster(tmp_path / "in" / "a.tif", noise(), GRID)
    with pytest.raises(InputError, match="another --out"):
        images.map_folder(model, tmp_path / "in", tmp_path / "in")
    write_raster(tmp_path / "in" / "a.tiff", noise(), GRID)
    with pytest.raises(InputError, match=r"same map a\.tif"):
        images.map_folder(model, tmp_path / "in", tmp_path / "out")


def test_the_command_maps_a_folder_and_counts_what_is_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    untrained.make_model(modelfiles.local_folder(tmp_path / "out", "untrained"))
    write_raster(tmp_path / "in" / "a.tif", noise(), GRID)
    write_raster(tmp_path / "in" / "b.tif", noise(bands=3), GRID)
    command = ["predict", "--model", "untrained", "--input", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert cli.main(command) == 0
    found = capsys.readouterr()
    assert "1 of 2 files mapped by untrained version local" in found.out
    assert "b.tif cannot be mapped: it has 3 bands" in found.err
    assert cli.main([*command, "--max-bad", "0"]) == 4
    (tmp_path / "in" / "a.tif").unlink()
    assert cli.main(command) == 3
