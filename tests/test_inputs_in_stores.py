"""What a run reads is the same from a store as from this machine's disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import torch
from safetensors.torch import save_file
from torch import nn

import lulc
from lulc.config import Archive, DatasetConf, LabelConf, LayerConf, MapFiles, RegionFile
from lulc.datasets import registry
from lulc.datasets.listing import items_fingerprint, list_items
from lulc.errors import InputError, SetupError, StoreError
from lulc.legend import LandClass, Legend
from lulc.location import Location, StorePath
from lulc.models.networks.pretrained import load_weights
from lulc.raster import reader
from lulc.raster.access import ReadError, open_raster
from lulc.raster.stores import read_afresh, shown_name
from lulc.runfile import read_run
from lulc.samples.labels import read_labels
from lulc.sources import items
from lulc.sources.area import read_area
from lulc.sources.header import href_identity
from lulc.sources.href import resolve_href
from lulc.sources.layers import read_layer
from lulc.sources.product import open_tree
from lulc.sources.registry import source_of
from lulc.sources.scene import Scene
from lulc.stats import class_rasters
from lulc.stats.regions import read_regions
from lulc.tables.csv_files import read_csv_rows
from lulc.tables.files import identities_below, write_atomic
from tests.helpers.faulty_proxy import Faults
from tests.helpers.object_stores import SCHEMES, store_of
from tests.helpers.small_world import GRID, make_world
from tests.helpers.synthetic_scenes import write_raster
from tests.sources.test_modis import make_mod13

LEGEND = Legend(
    "three", tuple(LandClass(i, n, "#000000") for i, n in ((1, "a"), (2, "b"), (3, "c")))
)


_FAULTS: list[Faults] = []


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of everything that a run may read."""
    folder = tmp_path_factory.mktemp("inputs")
    world = make_world(folder)
    regions = geopandas.read_file(folder / "regions.gpkg")
    regions["class"] = [1, 2]
    for name in ("regions.gpkg", "regions.shp", "regions.geojson"):
        regions.to_file(folder / name)
    regions.to_parquet(folder / "regions.parquet")
    shutil.make_archive(str(folder / "zipped"), "zip", folder, "regions.geojson")
    (folder / "codes.csv").write_text("id,class\n1,a\n")
    _write_items(folder)
    make_mod13(folder / "modis")
    for number in range(3):
        write_raster(
            folder / f"chips/{number}.tif",
            world.truth[:64, :64] + number,
            GRID.window(0, 0, 64, 64),
        )
        write_raster(
            folder / f"masks/{number}.tif", world.truth[:64, :64], GRID.window(0, 0, 64, 64)
        )
    write_raster(folder / "maps/2024.tif", world.truth, GRID, nodata=255)
    names = "".join(f"<Category>{name}</Category>" for name in ("", "water", "trees", "crops"))
    (folder / "maps/2024.tif.aux.xml").write_text(
        f"<PAMDataset><PAMRasterBand band='1'><CategoryNames>{names}</CategoryNames>"
        "</PAMRasterBand></PAMDataset>"
    )
    with rasterio.open(
        folder / "placeless.tif", "w", driver="GTiff", width=9, height=9, count=1, dtype="uint8"
    ) as image:
        image.write(np.ones((1, 9, 9), "uint8"))
    (folder / "placeless.tif.aux.xml").write_text(
        "<PAMDataset><SRS>EPSG:32633</SRS><GeoTransform>5e5,10,0,5e6,0,-10</GeoTransform>"
        "</PAMDataset>"
    )
    write_raster(folder / "masked/x.tif", world.truth, GRID)
    (folder / "masked/x.tif.msk").write_bytes(b"mask")
    return folder


def _write_items(folder: Path) -> None:
    day, stac = "2024-06-01T10:00:00Z", folder / "stac"
    shutil.copytree(folder / "archive", stac / "item one")
    west, south, east, north = (14.0, 47.0, 16.0, 48.5)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "one",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": day},
        "links": [],
        "assets": {
            name: {"href": f"./S_20240601_{name}.tif", "type": "image/tiff"}
            for name in ("red", "nir")
        },
    }
    (stac / "item one" / "item.json").write_text(json.dumps(item))
    catalogue = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "all",
        "description": "all",
        "links": [{"rel": "item", "href": "item%20one/item.json"}],
    }
    (stac / "catalog.json").write_text(json.dumps(catalogue))


@pytest.fixture(scope="module", params=SCHEMES)
def bucket(request: pytest.FixtureRequest, disk: Path) -> Iterator[StorePath]:
    """The same in a folder of a bucket, whose name has a blank."""
    with (
        store_of(request.param) as (root, environment, faults),
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        folder = StorePath(root, "in puts")
        for path in disk.rglob("*"):
            if path.is_file():
                (folder / path.relative_to(disk).as_posix()).put(path)
        _FAULTS.append(faults)
        yield folder


def _scenes(archive: Archive, bands: tuple[str, ...] = ()) -> list[Scene]:
    source = source_of(archive)
    reading = items.Reading((archive,), (source.name,), bands)
    return [items.read_item(item, 0, reading) for item in items.list_items(source, archive)]


def _without_place(scene: Scene, root: Location) -> Scene:
    bands = tuple(replace(b, href=b.href.removeprefix(str(root))) for b in scene.bands)
    return replace(scene, bands=bands, fingerprint="")


def _archive(root: Location) -> list[Scene]:
    pattern = "{scene}_{date}_{band}.tif"
    return _scenes(Archive(str(root / "archive"), pattern=pattern, mask=()), ("red", "nir"))


def _files(root: Location) -> list[Scene]:
    return _scenes(Archive(str(root / "archive"), mask=(), unmasked="allow"))


def _items(root: Location) -> list[Scene]:
    return _scenes(Archive(str(root / "stac/item one"), unmasked="allow"))


def _catalogue(root: Location) -> list[Scene]:
    return _scenes(Archive(str(root / "stac/catalog.json"), unmasked="allow"))


def _modis(root: Location) -> list[Scene]:
    scenes = _scenes(Archive(str(root / "modis"), unmasked="allow"))
    for band in scenes[0].bands[:2]:
        assert reader.read_whole(band.href)[1].any()
    return scenes


def _layer(root: Location) -> list[Scene]:
    return [read_layer(LayerConf(band="labels", path=str(root / "labels.tif")))]


@pytest.mark.parametrize("read", [_archive, _files, _items, _catalogue, _modis, _layer])
def test_scenes_are_the_same(
    disk: Path, bucket: StorePath, read: Callable[[Location], list[Scene]]
) -> None:
    local, distant = read(disk), read(bucket)
    assert local and [_without_place(s, bucket) for s in distant] == [
        _without_place(s, disk) for s in local
    ]
    assert all(band.href.startswith(str(bucket)) for s in distant for band in s.bands)
    assert [s.fingerprint for s in read(bucket)] == [s.fingerprint for s in distant]


@pytest.mark.parametrize(
    "name", ["regions.gpkg", "regions.shp", "regions.geojson", "regions.parquet", "zipped.zip"]
)
def test_vector_files_are_the_same(disk: Path, bucket: StorePath, name: str) -> None:
    grid = GRID.window(100, 100, 128, 128)
    local, distant = (
        (
            read_regions([RegionFile(str(root / name), id="id", level="half")]).table,
            read_area(str(root / name)),
            read_labels(LabelConf(str(root / name), column="class"), LEGEND, grid),
        )
        for root in (disk, bucket)
    )
    assert distant[0].equals(local[0]) and distant[1] == local[1]
    np.testing.assert_array_equal(distant[2], local[2])
    assert (local[2] != 255).any()


def test_class_rasters_are_the_same_with_the_names_beside_them(
    disk: Path, bucket: StorePath
) -> None:
    local, distant = (
        class_rasters.scan_rasters([MapFiles(str(root / "maps/*.tif"), "2024")])
        for root in (disk, bucket)
    )
    assert distant.names == local.names == ((1, "water"), (2, "trees"), (3, "crops"))
    grid = GRID.window(3, 5, 64, 64)
    np.testing.assert_array_equal(
        *(read_labels(LabelConf(str(root / "labels.tif")), LEGEND, grid) for root in (disk, bucket))
    )
    for root in (disk, bucket):
        with pytest.raises(ReadError, match=r"x\.tif\.msk masks it"):
            reader.read_band(str(root / "masked/x.tif"), 1, grid, "nearest", None)


def test_the_place_of_an_image_is_read_from_beside_it(disk: Path, bucket: StorePath) -> None:
    grids, names = [], []
    for root in (disk, bucket):
        with open_raster(str(root / "placeless.tif")) as image:
            grids.append(reader.find_grid(image))
            names.append(shown_name(image))
    assert grids[0] is not None and grids[1] == grids[0]
    assert names == [str(root / "placeless.tif") for root in (disk, bucket)]


def test_maps_are_compared_sampled_and_judged_in_a_store(
    disk: Path, bucket: StorePath, tmp_path: Path
) -> None:
    tables = []
    for root, out in ((disk, tmp_path), (bucket, bucket / "out")):
        before, after, points = root / "maps/2024.tif", root / "labels.tif", out / "points.geojson"
        changes = lulc.compare_maps(str(before), str(after), str(out / "change.tif"))
        lulc.draw_sample(str(before), str(points), count=120, seed=4)
        found = json.loads(points.read_text())
        for feature in found["features"]:
            feature["properties"]["reference"] = feature["properties"]["stratum"]
        write_atomic(points, lambda path, found=found: path.write_text(json.dumps(found)))
        areas = lulc.estimate_areas(str(points), maps=str(before))
        tables.append((changes, areas, found))
    (changes, areas, found), (distant_changes, distant_areas, distant_found) = tables
    assert distant_changes.equals(changes) and distant_areas.equals(areas)
    assert distant_found == found and len(found["features"]) == 120


def test_datasets_are_the_same(disk: Path, bucket: StorePath) -> None:
    options = {
        "task": "segment",
        "images": "chips/{item}.tif",
        "masks": "masks/{item}.tif",
        "classes": "none=0, water=1, trees=2, crops=3",
        "bands": "red",
        "gsd_m": "10",
    }
    read = registry.find_dataset("images").read
    of_roots = []
    for root in (disk, bucket):
        dataset = DatasetConf("images", str(root), options=options)
        listed = list_items(dataset).items
        assert items_fingerprint(dataset, listed) == items_fingerprint(dataset, listed)
        chosen = registry.options_of(dataset)
        of_roots.append((listed, [read(root, item, chosen, ("red",)) for item in listed]))
    (local, examples), (distant, same) = of_roots
    assert distant == local and len(local) == 3
    for one, other in zip(examples, same, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.label, other.label)


def test_small_files_are_the_same(disk: Path, bucket: StorePath) -> None:
    run, local = read_run(bucket / "run.yaml"), read_run(disk / "run.yaml")
    assert run.scenes[0].path == str(bucket / "archive")
    assert run.labels and local.labels and run.labels.path == str(bucket / "labels.tif")
    assert list(read_csv_rows(bucket / "codes.csv")) == list(read_csv_rows(disk / "codes.csv"))


def test_weights_are_read_from_a_store(bucket: StorePath, tmp_path: Path) -> None:
    net = nn.Sequential()
    net.add_module("encoder", nn.Sequential(nn.Conv2d(2, 3, 1)))
    with torch.no_grad():
        net.encoder[0].weight.fill_(7)
    save_file(net.encoder.state_dict(), tmp_path / "w.safetensors")
    (bucket / "w.safetensors").put(tmp_path / "w.safetensors")
    with torch.no_grad():
        net.encoder[0].weight.fill_(0)
    load_weights(net, str(bucket / "w.safetensors"), "any", ("a", "b"))
    assert (net.encoder[0].weight == 7).all()


def test_an_object_that_was_replaced_is_read_anew(bucket: StorePath, tmp_path: Path) -> None:
    place, grid = bucket / "replaced/x.tif", GRID.window(0, 0, 64, 64)
    seen, known = [], []
    for number in (1, 2):
        read_afresh(f"work {number}")
        place.put(write_raster(tmp_path / "x.tif", np.full((64, 64), number, "uint8"), grid))
        seen.append(int(reader.read_band(str(place), 1, grid, "nearest", None)[0].max()))
        known.append((href_identity(str(place)), identities_below(place.parent)))
    assert seen == [1, 2]
    assert known[0][0] != known[1][0] and known[0][1] != known[1][1]


@pytest.mark.parametrize(
    "read",
    [
        _archive,
        _items,
        lambda root: read_regions([RegionFile(str(root / "regions.gpkg"), id="id")]),
        lambda root: list(read_csv_rows(root / "codes.csv")),
        lambda root: open_tree(str(root / "archive")),
        lambda root: list_items(DatasetConf("pastis", str(root))),
    ],
)
def test_a_token_that_expired_is_no_sign_of_bad_input(
    bucket: StorePath, read: Callable[[Location], object]
) -> None:
    faults = _FAULTS[-1]
    read_afresh("with a token that expired")
    faults.kind, faults.each = "expired", 1
    try:
        with pytest.raises(StoreError, match=r"400 Bad Request|the token has expired"):
            read(bucket)
    finally:
        faults.each = 0


def test_what_is_not_there_is_named(bucket: StorePath) -> None:
    root = bucket.root
    with pytest.raises(InputError, match=rf"archive {root}/none is not there"):
        source_of(Archive(f"{root}/none"))
    with pytest.raises((InputError, SetupError), match="there is no bucket nobucket"):
        source_of(Archive(f"{root.replace('//', '//no')}/none"))
    with pytest.raises(InputError, match=rf"regions {root}/none\.gpkg is not there"):
        read_regions([RegionFile(f"{root}/none.gpkg", id="id", level="x")])
    with pytest.raises(InputError, match="leads out of the archive"):
        resolve_href("../../run.yaml", bucket / "bad", bucket / "bad")
