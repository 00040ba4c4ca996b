"""A product is the same scene by every route: folder, copy, zip, tar, metadata file, STAC item."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rasterio
import shapely

from lulc.config import Archive
from lulc.raster.access import open_raster
from lulc.sources import registry
from lulc.sources.scene import Scene
from tests.helpers.synthetic_scenes import write_raster
from tests.sources import test_landsat as landsat
from tests.sources import test_sentinel2 as sentinel2

MASKS: list[dict[str, Any]] = [{}, {"mask": ("cloud", "snow", "water")}]


def read_one(path: Path, bands: tuple[str, ...], **archive: Any) -> Scene:
    conf = Archive(str(path), **archive)
    source = registry.source_of(conf)
    (item,) = source.items(conf)
    return source.read(item, conf, bands)


def facts(scene: Scene) -> dict[str, Any]:
    """All that a scene holds which does not tell the route by which it came."""
    bands = [replace(band, href="", index=1) for band in scene.bands]
    return {
        "time": scene.datetime,
        "crs": scene.crs,
        "cloud": scene.cloud,
        "gsd": scene.gsd_m,
        "bands": bands,
        "clear": scene.clear,
        "unmasked": dict(scene.properties).get("unmasked"),
        "platform": dict(scene.properties)["platform"],
    }


def assert_same(route: Path, scene: Scene, bands: tuple[str, ...], archive: dict[str, Any]) -> None:
    found = read_one(route, bands, **archive)
    assert facts(found) == facts(scene), route
    outlines = [shapely.from_wkb(each.footprint) for each in (found, scene)]
    # The corners of a curved outline are placed by its source.
    difference = outlines[0].symmetric_difference(outlines[1]).area
    assert difference < 1e-4 * outlines[1].area, route


def pack(folder: Path, out: Path) -> Iterator[Path]:
    """A folder as a zip and two tars, each in a folder of its own."""
    for suffix in (".zip", ".tar", ".tar.gz"):
        path = out / suffix[1:] / f"{folder.name}{suffix}"
        path.parent.mkdir(parents=True)
        files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        if suffix == ".zip":
            with zipfile.ZipFile(path, "w") as packed:
                for file in files:
                    packed.write(file, file.relative_to(folder.parent))
        else:
            with tarfile.open(path, "w:gz" if suffix.endswith("gz") else "w") as packed_tar:
                for file in files:
                    packed_tar.add(file, file.relative_to(folder.parent))
        yield path


def write_item(folder: Path, scene: Scene, assets: dict[str, Any], **properties: Any) -> Path:
    """A STAC item of files in its folder, with its scene's time, place and cloud cover."""
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": scene.scene_id,
        "geometry": shapely.geometry.mapping(shapely.from_wkb(scene.footprint)),
        "links": [],
        "assets": {
            key: {"type": "image/tiff; application=geotiff"} | fields
            for key, fields in assets.items()
        },
        "properties": {
            "datetime": scene.datetime and scene.datetime.isoformat(),
            "eo:cloud_cover": scene.cloud,
            "platform": dict(scene.properties)["platform"],
        }
        | properties,
    }
    path = folder / "item.json"
    path.write_text(json.dumps(item))
    return path


@pytest.mark.parametrize("archive", [*MASKS, {"clear": (4, 5)}])
def test_sentinel2(tmp_path: Path, archive: dict[str, Any]) -> None:
    root = sentinel2.make_product(tmp_path / "safe", "2A", "05.11", ("B02", "B8A"))
    offsets = [-1000] * 13
    main = sentinel2.main_xml("2A", "05.11", root.stem, offsets)
    (root / "MTD_MSIL2A.xml").write_text(main)
    bands = ("blue", "nir08")
    scene = read_one(root, bands, **archive)
    assert scene.clear
    routes = [root.parent, next(pack(root, tmp_path))]
    copy = tmp_path / "copy" / "renamed"
    shutil.copytree(root, copy)
    for path in sorted(copy.rglob("*.jp2")):
        with rasterio.open(path) as data:
            pixels, side = data.read(), round(data.res[0])
        path.unlink()
        write_raster(path.with_suffix(".tif"), pixels, sentinel2.grid(side))
    routes.append(copy)
    # As the Planetary Computer describes them: without scale and offset.
    assets: dict[str, Any] = {}
    for key, name in (("B02", "*B02_10m.tif"), ("B8A", "*B8A_20m.tif"), ("SCL", "*SCL_20m.tif")):
        file = next(copy.rglob(name))
        assets[key] = {"href": str(file.relative_to(copy.parent)), "roles": ["data"]}
    assets["B02"]["eo:bands"] = [{"name": "B02", "common_name": "blue"}]
    assets["B8A"]["eo:bands"] = [{"name": "B8A", "common_name": "nir08"}]
    routes.append(write_item(copy.parent, scene, assets, **{"s2:processing_baseline": "05.11"}))
    for route in routes:
        assert_same(route, scene, bands, archive)


@pytest.mark.parametrize("archive", [*MASKS, {"clear": (21824,)}])
@pytest.mark.parametrize(
    ("product", "sensor", "keys"),
    [
        (landsat.OLI9, "OLI_TIRS", landsat.OLI_KEYS),
        (landsat.TM5, "TM", landsat.TM_KEYS),
    ],
)
def test_landsat(
    tmp_path: Path, archive: dict[str, Any], product: str, sensor: str, keys: list[str]
) -> None:
    folder = landsat.make(tmp_path / "folder" / product, product, sensor, keys)
    bands = ("red", "swir22")
    scene = read_one(folder, bands, **archive)
    assert scene.clear
    mtls = [folder / f"{product}_MTL.{form}" for form in ("txt", "json", "xml")]
    renamed = tmp_path / "my scene"
    shutil.copytree(folder, renamed)
    red = "SR_B3" if sensor == "TM" else "SR_B4"
    files = {"red": red, "swir22": "SR_B7", "qa_pixel": "QA_PIXEL", "qa_radsat": "QA_RADSAT"}
    assets: dict[str, dict[str, Any]] = {
        key: {"href": f"{product}_{suffix}.TIF", "roles": ["data"]} for key, suffix in files.items()
    }
    for key in bands:
        assets[key]["eo:bands"] = [{"name": f"X_{files[key][3:]}", "common_name": key}]
    item_folder = tmp_path / "item"
    shutil.copytree(folder, item_folder)
    for path in item_folder.glob("*_MTL.*"):
        path.unlink()
    item = write_item(item_folder, scene, assets, **{"landsat:collection_number": "02"})
    for route in [*mtls, renamed, folder.parent, item, *pack(folder, tmp_path)]:
        assert_same(route, scene, bands, archive)


@pytest.mark.parametrize("archive", MASKS)
@pytest.mark.parametrize("family", ["reflectance", "vegetation", "albedo"])
def test_modis(tmp_path: Path, archive: dict[str, Any], family: str) -> None:
    pytest.importorskip("pyhdf.SD", reason="HDF4 is read with pyhdf: pip install 'lulc[hdf4]'")
    from tests.sources import test_modis as modis

    bands: tuple[str, ...]
    if family == "vegetation":
        path, fields = modis.make_mod13(tmp_path / "hdf")
        bands = ("ndvi", "nir08")
    elif family == "reflectance":
        reflectance = modis.numbers(1, -200, 16100)
        fields = {f"sur_refl_b0{n}": (reflectance, modis.REFLECTANCE) for n in (1, 2)} | {
            "sur_refl_state_500m": (modis.numbers(0, 0, 65535, "uint16"), modis.STATE)
        }
        path = modis.make(tmp_path / "hdf", modis.MOD09, {"G": fields})
        bands = ("red", "nir08")
    else:
        quality = {"units": "class-flag", "valid_range": (0, 254), "fill": 255}
        fields = {
            f"BRDF_Albedo_Band_Mandatory_Quality_Band{n}": (
                modis.numbers(n, 0, 2, "uint8"),
                quality,
            )
            for n in (1, 2)
        } | {
            f"Nadir_Reflectance_Band{n}": (modis.numbers(n, 0, 32766), modis.REFLECTANCE)
            for n in (1, 2)
        }
        path = modis.make(tmp_path / "hdf", modis.MCD43, {"G": fields})
        bands = ("red", "nir08")
    scene = read_one(path, bands, **archive)
    assert scene.clear
    # As the Planetary Computer keeps them: a COG a layer, named after it.
    (tmp_path / "cog").mkdir()
    assets = {}
    everything = read_one(path, tuple(fields), **archive).bands
    for band, layer in zip(everything, fields, strict=False):
        key = layer.replace(" ", "_")
        with open_raster(band.href) as data:
            profile = data.profile | {"tiled": False}
            with rasterio.open(tmp_path / "cog" / f"{key}.tif", "w", **profile) as copy:
                copy.write(data.read())
        record = {"scale": band.scale, "offset": 0.0} if band.scale != 1 else {}
        assets[key] = {"href": f"{key}.tif", "roles": ["data"], "raster:bands": [record]}
    item = write_item(tmp_path / "cog", scene, assets)
    renamed = shutil.copy(path, tmp_path / "renamed.HDF")
    for route in (path.parent, Path(renamed), item):
        assert_same(route, scene, bands, archive)
