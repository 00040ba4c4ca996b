"""GeoTIFF files as scenes: which bands are data, and where a file lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from lulc.config import Archive
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.raster import reader
from lulc.sources.registry import SOURCES
from lulc.sources.scene import Scene
from tests.helpers.synthetic_scenes import write_raster

GRID = Grid("EPSG:32633", (10.0, 0.0, 5e5, 0.0, -10.0, 5.3e6), 32, 40)
SEEN = np.broadcast_to(np.arange(40) >= 16, GRID.shape)
COLOURS = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]


def write_scene(folder: Path, last: list[str]) -> Path:
    """Red, green, blue and further bands, all 0 in the west; the last is flagged as alpha."""
    pixels = np.broadcast_to(np.where(SEEN, 200, 0), (3 + len(last), *GRID.shape))
    pixels = pixels.astype("uint8")
    pixels[:3] += 1
    path = write_raster(folder / "scene_20200101.tif", pixels, GRID, photometric="RGB")
    with rasterio.open(path, "r+") as file:
        undefined = [ColorInterp.undefined] * (len(last) - 1)
        file.colorinterp = [*COLOURS, *undefined, ColorInterp.alpha]
        for number, name in enumerate(last, 4):
            file.set_band_description(number, name)
    return path


def read_scene(folder: Path, wanted: tuple[str, ...] = (), **settings: Any) -> Scene:
    archive = Archive(str(folder), source="geotiff", **settings)
    (entry,) = SOURCES["geotiff"].items(archive)
    return SOURCES["geotiff"].read(entry, archive, wanted)


def valid_share(scene: Scene) -> float:
    requests = [(band.index, "nearest", band.nodata) for band in scene.bands]
    arrays = reader.read_bands(scene.bands[0].href, requests, GRID)
    return float(np.logical_and.reduce([valid for _, valid in arrays]).mean())


def test_alpha_is_no_band_of_a_scene_and_masks_it(tmp_path: Path) -> None:
    for last in ([""], ["", ""], ["nir", "Alpha"], ["nir", "alpha channel"]):
        write_scene(tmp_path, last)
        scene = read_scene(tmp_path)
        assert len(scene.bands) == 2 + len(last)
        assert valid_share(scene) == SEEN.mean()


@pytest.mark.parametrize("bands", [{"4": "nir"}, {"alpha": "nir"}])
def test_a_band_that_the_run_names_is_data_though_it_is_flagged_as_alpha(
    tmp_path: Path, bands: dict[str, str]
) -> None:
    write_scene(tmp_path, [""])
    scene = read_scene(tmp_path, ("red", "nir"), bands=bands)
    assert [(band.name, band.index) for band in scene.bands] == [("red", 1), ("nir", 4)]
    assert valid_share(scene) == 1


def test_a_band_that_the_file_names_is_data_though_it_is_flagged_as_alpha(tmp_path: Path) -> None:
    write_scene(tmp_path, ["nir"])
    assert [band.name for band in read_scene(tmp_path).bands] == ["red", "green", "blue", "nir"]
    assert valid_share(read_scene(tmp_path, ("red", "green"))) == 1


def test_a_scene_that_does_not_say_where_it_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scene_20200101.tif"
    shape = {"count": 1, "height": 32, "width": 40, "dtype": "uint16", "driver": "GTiff"}
    with rasterio.open(path, "w", crs="EPSG:32633", **shape) as file:
        file.write(np.ones((1, 32, 40), "uint16"))
    with pytest.raises(InputError, match=r"scene_20200101\.tif has a CRS but no transform"):
        read_scene(tmp_path)


def test_a_scene_with_a_mask_beside_it_is_refused(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "scene_20200101.tif", np.ones(GRID.shape, "uint16"), GRID)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(SEEN)
    with pytest.raises(InputError, match=r"scene_20200101\.tif\.msk masks it"):
        read_scene(tmp_path)


def test_a_scene_keeps_the_definition_of_its_crs(tmp_path: Path) -> None:
    crs = "+proj=tmerc +lon_0=15 +k=0.9996 +x_0=500000 +a=6378388 +rf=297 +units=m"
    grid = Grid(crs, GRID.transform, *GRID.shape)
    write_raster(tmp_path / "scene_20200101.tif", np.ones(GRID.shape, "uint16"), grid)
    assert "ED50" not in read_scene(tmp_path).crs
    assert not read_scene(tmp_path).crs.startswith("EPSG")
