"""OpenAerialMap: answers of its metadata API kept as JSON, images with alpha, and plain chips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely

from lulc.config import Archive
from lulc.errors import InputError
from lulc.geo.grid import Grid, footprint, parse_crs
from lulc.raster import reader
from lulc.sources import registry
from lulc.sources.scene import Scene
from tests.helpers.synthetic_scenes import cut_short

# A drone's image of 5 cm pixels.
GRID = Grid("EPSG:32737", (0.05, 0.0, 530_000.0, 0.0, -0.05, 9_250_000.0), 96, 128)
HOST = "https://oin-hotosm-temp.s3.amazonaws.com/573a17d4/0"


def write_image(path: Path, grid: Grid = GRID, bands: int = 4) -> np.ndarray:
    stack = np.random.default_rng(0).integers(1, 256, (bands, *grid.shape), "uint8")
    stack[3:] = 255
    stack[3:, :, :30] = 0
    form = {
        "driver": "GTiff",
        "photometric": "RGB",
        "tiled": True,
        "blockxsize": 32,
        "blockysize": 32,
    }
    place = {"crs": grid.crs, "transform": grid.affine, "height": grid.height, "width": grid.width}
    with rasterio.open(
        path,
        "w",
        count=bands,
        dtype="uint8",
        **form,
        **place,
        **({"alpha": "YES"} if bands == 4 else {}),
    ) as file:
        file.write(stack)
    return stack


def make_record(name: str, grid: Grid = GRID, **rest: Any) -> dict[str, Any]:
    # As of 2024, GET /meta; contact and user left out.
    outline = footprint(grid)
    return {
        "_id": f"id-{name}",
        "uuid": f"{HOST}/{name}.tif",
        "__v": 0,
        "title": "Carretera _ Puente Rio Chico",
        "projection": parse_crs(grid.crs).to_wkt("WKT1_GDAL"),
        "bbox": list(outline.bounds),
        "footprint": outline.wkt,
        "gsd": 1.8570457238770968e-07,
        "file_size": 47649982,
        "acquisition_start": "2016-04-27T05:00:00.000Z",
        "acquisition_end": "2016-04-28T17:00:03.000Z",
        "platform": "uav",
        "provider": "someone",
        "properties": {
            "tms": f"http://tiles.openaerialmap.org/{name}/{{z}}/{{x}}/{{y}}.png",
            "sensor": "Canon",
        },
        "uploaded_at": "2016-05-16T00:00:00.000Z",
        "meta_uri": f"{HOST}/{name}_meta.json",
        "geojson": {"bbox": list(outline.bounds)} | shapely.geometry.mapping(outline),
        **rest,
    }


def write_answer(path: Path, *records: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(
            {
                "meta": {"provided_by": "OpenAerialMap", "page": 1, "limit": 10, "found": 2},
                "results": records,
            }
        )
    )
    return path


def read_all(archive: Archive, bands: tuple[str, ...] = ()) -> list[Scene]:
    source = registry.source_of(archive)
    assert source.name == "openaerialmap"
    return [source.read(item, archive, bands) for item in source.items(archive)]


def test_an_answer_with_its_images_beside_it(tmp_path: Path) -> None:
    stacks = {name: write_image(tmp_path / f"{name}.tif") for name in ("a", "b")}
    path = write_answer(tmp_path / "meta.json", make_record("b"), make_record("a"))
    for place in (path, tmp_path):
        assert [s.scene_id for s in read_all(Archive(str(place)), ("red",))] == ["id-b", "id-a"]
    for scene in read_all(Archive(str(path))):
        name = scene.scene_id[-1]
        assert (scene.source, scene.crs, scene.datetime and scene.datetime.isoformat()) == (
            "openaerialmap", "EPSG:32737", "2016-04-27T23:00:01.500000+00:00",
        )  # fmt: skip
        assert scene.gsd_m == pytest.approx(0.05, rel=1e-3)
        assert dict(scene.properties) == {
            "platform": "uav",
            "unmasked": "cloud shadow cirrus saturated",
        }
        assert {b.name: (Path(b.href).name, b.index) for b in scene.bands} == {
            band: (f"{name}.tif", i) for i, band in enumerate(("red", "green", "blue"), 1)
        }
        for band in scene.bands:
            found, valid = reader.read_band(band.href, band.index, GRID, "nearest", band.nodata)
            np.testing.assert_array_equal(valid, stacks[name][3] == 255)
            np.testing.assert_array_equal(found, np.where(valid, stacks[name][band.index - 1], 0))


def test_alpha_is_heeded_on_a_coarser_grid(tmp_path: Path) -> None:
    stack = write_image(tmp_path / "a.tif")
    coarse = Grid(GRID.crs, (0.8, 0.0, 530_000.0, 0.0, -0.8, 9_250_000.0), 6, 8)
    _, valid = reader.read_band(str(tmp_path / "a.tif"), 1, coarse, "average", None)
    clear = (stack[3] == 255).reshape(6, 16, 8, 16).mean((1, 3))
    assert valid[clear == 1].all() and not valid[clear == 0].any()


def test_single_records_and_pictures_without_alpha(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", bands=3)
    (tmp_path / "a_meta.json").write_text(json.dumps(make_record("a", geojson=None)))
    (scene,) = read_all(Archive(str(tmp_path / "a_meta.json")), ("blue", "red"))
    assert [(b.name, b.index) for b in scene.bands] == [("blue", 3), ("red", 1)]
    assert reader.read_band(scene.bands[0].href, 3, GRID, "nearest", None)[1].all()


FAR = Grid("EPSG:32737", (0.05, 0.0, 430_000.0, 0.0, -0.05, 9_250_000.0), 96, 128)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"acquisition_start": None}, "datetime"),
        ({"geojson": shapely.geometry.mapping(footprint(FAR))}, "one of them is wrong"),
        ({"uuid": "../a.tif"}, "leads out"),
        ({"uuid": "http://127.0.0.1/other.tif"}, "private address"),
        ({"uuid": "file:///etc/passwd"}, "leads out"),
        ({"uuid": None}, r"none|None"),
        ({"bbox": [1], "geojson": None}, "must be xmin"),
        ({"geojson": 7}, "not a valid"),
    ],
)
def test_records_that_cannot_be_true_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "in"
    path = write_answer(folder / "meta.json", make_record("a", **change))
    write_image(folder / "a.tif")
    with pytest.raises(InputError, match=message):
        read_all(Archive(str(path)), ("red",))


def test_damage_is_an_item_that_fails(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif")
    write_answer(tmp_path / "one.json", make_record("a"), make_record("gone", uuid="gone.tif"))
    cut_short(write_answer(tmp_path / "two.json", make_record("a")))
    archive = Archive(str(tmp_path))
    source = registry.source_of(archive)
    good, gone, broken = source.items(archive)
    assert source.read(good, archive, ("red",)).scene_id == "id-a"
    with pytest.raises(InputError, match=r"gone\.tif"):
        source.read(gone, archive, ("red",))
    with pytest.raises(InputError, match=r"two\.json is not JSON"):
        source.read(broken, archive, ("red",))
    with pytest.raises(InputError, match=r"no band nir.*red"):
        source.read(good, archive, ("nir",))
    cut_short(tmp_path / "a.tif", 0.001)
    with pytest.raises(InputError, match=r"a\.tif"):
        source.read(good, archive, ("red",))


CHIPS = Path(__file__).parents[3] / "shared" / "data" / "oam_buildings" / "chips"


@pytest.mark.skipif(not CHIPS.exists(), reason="../shared/data/oam_buildings is not there")
def test_real_chips_equal_a_direct_read() -> None:
    archive = Archive(str(CHIPS))
    source = registry.source_of(archive)
    listed = list(source.items(archive))
    assert (source.name, len(listed)) == ("geotiff", 95)
    for item in listed[::19]:
        scene = source.read(item, archive, ("red", "green", "blue"))
        assert scene.datetime is None
        with rasterio.open(item.path) as file:
            direct = file.read()
        for band, values in zip(scene.bands, direct, strict=True):
            found, valid = reader.read_band(
                band.href, band.index, reader.grid_of(band.href), "nearest", band.nodata
            )
            assert valid.all()
            np.testing.assert_array_equal(found, values)
