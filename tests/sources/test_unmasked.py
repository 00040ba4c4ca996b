"""A scene without the quality layer that the mask asks for is refused, or used and marked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from lulc.config import Archive, Config, Period
from lulc.errors import InputError
from lulc.geo.grid import Grid, footprint
from lulc.sources import registry
from lulc.sources.indexing.selection import select_scenes
from lulc.sources.items import make_reading, read_item
from lulc.sources.scene import Scene
from tests.helpers.synthetic_scenes import write_raster
from tests.sources import test_landsat as landsat
from tests.sources import test_modis as modis
from tests.sources import test_sentinel2 as sentinel2

GRID = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0), 32, 32)
ALL = "cloud shadow cirrus saturated"


def read_run(archive: Archive, *bands: str) -> tuple[list[Scene], dict[str, str], list[str]]:
    """Return the scenes of a run of one archive, the errors by key or id, and the notes."""
    source = registry.source_of(archive)
    config = Config("r", scenes=(archive,), bands=bands, periods=(Period("all"),))
    reading = make_reading(config, [source], bands)
    scenes, errors = [], {}
    for listed in source.items(archive):
        try:
            scenes.append(read_item(listed, 0, reading))
        except InputError as error:
            errors[listed.key] = str(error)
    allowed = {s.scene_id for s in scenes if archive.unmasked == "allow"}
    selected = select_scenes(scenes, allowed)
    return selected.scenes, errors | dict(selected.errors), selected.notes


def write_item(folder: Path, name: str, quality: str = "", **fields: Any) -> None:
    assets: dict[str, Any] = {
        "B04": {"href": f"{name}.tif", "eo:bands": [{"name": "B04", "common_name": "red"}]}
    }
    write_raster(folder / f"{name}.tif", np.full(GRID.shape, 9000, "uint16"), GRID)
    if quality:
        write_raster(folder / f"{name}_{quality}.tif", np.full(GRID.shape, 9, "uint16"), GRID)
        assets[quality] = {"href": f"{name}_{quality}.tif"}
    content = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": shapely.geometry.mapping(footprint(GRID)),
        "properties": {"datetime": "2020-08-12T10:00:00Z"} | fields.pop("properties", {}),
        "assets": assets,
        "links": [],
    }
    (folder / f"{name}.json").write_text(json.dumps(content | fields))


@pytest.mark.parametrize("quality", ["SCL", "qa_pixel"])
@pytest.mark.parametrize("names", ["ab", "ba"])
def test_the_one_item_without_a_layer_does_not_pass_as_clear(
    tmp_path: Path, quality: str, names: str
) -> None:
    masked, bare = names
    write_item(tmp_path, masked, quality)
    write_item(tmp_path, bare)
    scenes, errors, _ = read_run(Archive(str(tmp_path)), "red")
    assert [s.scene_id for s in scenes] == [masked]
    assert f"no quality layer, as others of its kind have ({masked})" in errors[bare]
    scenes, errors, notes = read_run(Archive(str(tmp_path), unmasked="allow"), "red")
    assert ({s.scene_id for s in scenes}, errors) == ({"a", "b"}, {})
    assert any(note.startswith("1 scenes are not masked for cloud") for note in notes)


def test_items_that_all_lack_a_layer_are_used_and_told(tmp_path: Path) -> None:
    write_item(tmp_path, "a")
    write_item(tmp_path, "S2A_30SUF_20190208_0_L2A", properties={"platform": "sentinel-2a"})
    scenes, errors, (note,) = read_run(Archive(str(tmp_path)), "red")
    assert [dict(scene.properties)["unmasked"] for scene in scenes] == [ALL, ALL]
    assert errors == {}
    assert note == (
        "2 scenes are not masked for cloud, shadow, cirrus, saturated: "
        "they have no quality layer that shows it"
    )
    scenes, errors, notes = read_run(Archive(str(tmp_path), mask=()), "red")
    assert (len(scenes), errors, notes) == (2, {}, [])
    assert not any("unmasked" in dict(scene.properties) for scene in scenes)


def test_a_mask_that_the_run_file_gives_asks_for_a_layer(tmp_path: Path) -> None:
    write_item(tmp_path, "a")
    scenes, errors, _ = read_run(Archive(str(tmp_path), mask=("cloud", "snow")), "red")
    assert scenes == []
    assert "no quality layer that shows cloud, snow" in errors["a.json"]
    for remedy in ("scenes.quality", "scenes.mask: []", "scenes.unmasked: allow"):
        assert remedy in errors["a.json"]
    allowed = Archive(str(tmp_path), mask=("cloud", "snow"), unmasked="allow")
    (scene,), errors, (note,) = read_run(allowed, "red")
    assert (dict(scene.properties)["unmasked"], errors) == ("cloud snow", {})
    assert note.startswith("1 scenes are not masked for cloud, snow")
    # Radar needs none.
    write_item(tmp_path, "a", properties={"sar:product_type": "RTC"})
    assert read_run(Archive(str(tmp_path), mask=("cloud", "snow")), "red")[2] == []


def test_files_are_masked_by_the_band_that_is_named(tmp_path: Path) -> None:
    for name in ("a_red", "a_qa", "b_red"):
        write_raster(tmp_path / f"{name}.tif", np.ones(GRID.shape, "uint8"), GRID)
    archive = {"path": str(tmp_path), "pattern": "{scene}_{band}.tif"}
    scenes, errors, _ = read_run(Archive(**archive, quality="qa", clear=(1,)), "red")
    assert [s.scene_id for s in scenes] == ["a"]
    assert "scene b has no quality band 'qa'; it has red" in errors["b"]
    scenes, errors, (note,) = read_run(
        Archive(**archive, quality="qa", clear=(1,), unmasked="allow"), "red"
    )
    assert [(s.scene_id, len(s.quality)) for s in scenes] == [("a", 1), ("b", 0)]
    assert note.startswith("1 scenes are not masked")
    # Without one all are told, and a mask is refused: no file says what its codes mean.
    assert read_run(Archive(**archive), "red")[2][0].startswith("2 scenes are not masked for")
    assert read_run(Archive(**archive, mask=()), "red")[2] == []
    _, errors, _ = read_run(Archive(**archive, mask=("cloud",)), "red")
    assert "no quality layer that shows cloud" in errors["a"]


@pytest.mark.parametrize(
    ("lost", "unmasked"), [("PIXEL", ALL), ("RADSAT", "saturated"), ("*", ALL)]
)
def test_landsat_without_its_layers(tmp_path: Path, lost: str, unmasked: str) -> None:
    product = "LC09_L2SP_010065_20220129_20220131_02_T1"
    landsat.make(tmp_path, product, "OLI_TIRS", ["4"])
    for file in tmp_path.glob(f"*_QA_{lost}.TIF"):
        file.unlink()
    scenes, (error,), _ = (part for part in read_run(Archive(str(tmp_path)), "red"))
    assert scenes == []
    _, errors, _ = read_run(Archive(str(tmp_path)), "red")
    assert "lacks LC09" in errors[error]
    assert "scenes.unmasked: allow" in errors[error]
    (scene,), errors, notes = read_run(Archive(str(tmp_path), unmasked="allow"), "red")
    assert (dict(scene.properties)["unmasked"], errors) == (unmasked, {})
    assert len(scene.quality) == (1 if unmasked == "saturated" else 0)
    assert notes[0].startswith(f"1 scenes are not masked for {unmasked.replace(' ', ', ')}")
    if lost != "RADSAT":
        (scene,), _, notes = read_run(Archive(str(tmp_path), mask=()), "red")
        assert (scene.quality, notes) == ((), [])


@pytest.mark.parametrize(("level", "baseline"), [("2A", "05.11"), ("1C", "02.14")])
def test_sentinel2_without_its_layers(tmp_path: Path, level: str, baseline: str) -> None:
    root = sentinel2.make_product(tmp_path, level, baseline, ("B04",))
    for file in root.rglob("*_SCL_*"):
        file.unlink()
    _, errors, _ = read_run(Archive(str(tmp_path)), "red")
    (error,) = errors.values()
    assert "scenes.unmasked: allow" in error
    (scene,), errors, _ = read_run(Archive(str(tmp_path), unmasked="allow"), "red")
    assert (dict(scene.properties)["unmasked"], scene.quality, errors) == (ALL, (), {})


def test_modis_without_its_layers(tmp_path: Path) -> None:
    fields = {"250m 16 days NDVI": (modis.numbers(0, -3000, 10300), modis.INDEX)}
    modis.make(tmp_path, modis.MOD13, {"MODIS_Grid_16DAY_250m_500m_VI": fields})
    _, errors, _ = read_run(Archive(str(tmp_path)), "ndvi")
    (error,) = errors.values()
    assert "no layer that shows cloud, shadow" in error
    assert "scenes.unmasked: allow" in error
    (scene,), errors, _ = read_run(Archive(str(tmp_path), unmasked="allow"), "ndvi")
    assert (dict(scene.properties)["unmasked"], scene.quality, errors) == (ALL, (), {})


def test_bits_that_a_type_has_lost_are_refused(tmp_path: Path) -> None:
    states = {
        "sur_refl_b01_1": (modis.numbers(0, 0, 100), modis.INDEX),
        "state_1km_1": (modis.numbers(0, 0, 100, "uint8"), {}),
    }
    modis.make(tmp_path, modis.MOD09, {"G": states})
    _, errors, _ = read_run(Archive(str(tmp_path)), "red")
    (error,) = errors.values()
    assert "is uint8, which does not hold bit 9 of its codes" in error


@pytest.mark.parametrize("clear", [(4, 5), (9,)])
def test_codes_alone_are_of_the_products_own_layer(tmp_path: Path, clear: tuple[int, ...]) -> None:
    write_item(tmp_path, "a", "SCL")
    write_item(tmp_path, "b")
    scenes, errors, _ = read_run(Archive(str(tmp_path), clear=clear), "red")
    assert [(s.scene_id, s.quality[0].name, s.clear[0].codes) for s in scenes] == [
        ("a", "quality", clear)
    ]
    assert "neither SCL nor QA_PIXEL" in errors["b.json"]
    write_raster(tmp_path / "tifs/c_20200812.tif", np.ones(GRID.shape, "uint16"), GRID)
    with pytest.raises(InputError, match=r"scenes\.clear are codes of a layer: name it"):
        registry.source_of(Archive(str(tmp_path / "tifs"), clear=clear))


@pytest.mark.parametrize("layer", ["SCL", "qa_pixel"])
def test_a_layer_of_codes_without_those_that_are_valid_is_refused(
    tmp_path: Path, layer: str
) -> None:
    # All of 0 to 9 but 0, clouds among them, would be valid.
    write_item(tmp_path, "a", layer)
    _, errors, _ = read_run(Archive(str(tmp_path), quality=layer), "red")
    assert f"scenes.quality '{layer}' holds codes: give scenes.clear" in errors["a.json"]
    write_item(tmp_path, "b", "valid_mask")
    scenes, _, _ = read_run(Archive(str(tmp_path), quality="valid_mask"), "red")
    assert [s.scene_id for s in scenes] == ["b"]


@pytest.mark.parametrize("suffix", [".geojson", ".JSON"])
def test_items_of_another_suffix_are_items(tmp_path: Path, suffix: str) -> None:
    write_item(tmp_path, "a", "SCL")
    (tmp_path / "a.json").rename(tmp_path / f"a{suffix}")
    archive = Archive(str(tmp_path))
    assert registry.source_of(archive).name == "stac"
    (scene,), _, _ = read_run(archive, "red")
    assert [band.name for band in scene.quality] == ["quality"]
