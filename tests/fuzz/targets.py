"""What is damaged: small sound inputs of every form, each with the command that reads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import rasterio
import shapely
import yaml

import lulc
from lulc import runfile
from lulc.chips import blocks, cut, extent, plan
from lulc.cli.main import main
from lulc.geo.grid import Grid
from lulc.inference.folder import map_folder
from lulc.sources.items import (
    READ_ITEM,
    ListedItem,
    make_reading,
    read_items,
    scenes_of_rows,
)
from lulc.sources.registry import source_of
from lulc.sources.scene import scenes_to_table
from lulc.sources.scenes_table import columns_of
from tests.fuzz import mutations
from tests.fuzz.mutations import Mutate
from tests.helpers import synthetic_archives
from tests.helpers.synthetic_scenes import texture, write_raster
from tests.helpers.untrained_model import make_model
from tests.inference.test_rows import reference
from tests.sources import test_landsat as landsat
from tests.sources import test_modis as modis
from tests.sources import test_sentinel2 as sentinel2
from tests.sources import test_sources as stac

GRID = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0), 64, 64)
_SQUARE = shapely.box(500_000, 5_299_360, 500_640, 5_300_000)


@dataclass(frozen=True)
class Target:
    """A form of input."""

    name: str
    make: Callable[[Path], Path]
    """Writes sound inputs into an empty folder and returns the file to damage."""
    use: Callable[[], int]
    """Reads them as a user does, in their folder: prints what came of it, returns the exit code."""
    mutations: tuple[Mutate, ...]
    notices_loss: bool = True
    """Whether a file of this form that lost its end cannot pass for a whole one."""


def _digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


# --- class rasters, regions, points ---------------------------------------------------------------


def _class_map(path: Path, seed: int = 0) -> Path:
    ids = np.random.default_rng(seed).integers(1, 4, GRID.shape).astype("uint8")
    ids[:9] = 255
    write_raster(path, ids, GRID, nodata=255)
    with rasterio.open(path, "r+") as file:
        file.update_tags(CLASS_1="water", CLASS_2="trees", CLASS_3="crops")
    return path


def _regions(path: Path) -> Path:
    halves = [
        shapely.box(500_000, 5_299_360, 500_300, 5_300_000),
        shapely.MultiPolygon([shapely.box(500_300, 5_299_400, 500_600, 5_299_900)]),
    ]
    frame = geopandas.GeoDataFrame({"id": ["w", "e"]}, geometry=halves, crs=GRID.crs)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    return path


def _make_compared(folder: Path) -> Path:
    _class_map(folder / "before.tif", 1)
    return _class_map(folder / "after.tif", 2)


def _compare() -> int:
    return main(["compare", "before.tif", "after.tif", "change.tif", "--json"])


def _make_areas(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        _class_map(folder / "map.tif")
        return _regions(folder / f"regions{suffix}")

    return make


def _take_areas() -> int:
    (path,) = Path().glob("regions*")
    print(json.dumps(lulc.class_areas({"2020": "map.tif"}, path).to_pylist()))
    return 0


def _make_points(damaged: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / f"points{damaged}"
        points = folder / ("points.gpkg" if damaged == ".gpkg" else "points.geojson")
        lulc.draw_sample(_class_map(folder / "map.tif"), points, count=100, min_points=20)
        frame = geopandas.read_file(points)
        frame["reference"] = frame["stratum_id"].astype(str)
        frame.to_file(points)
        return path

    return make


def _evaluate() -> int:
    (points,) = (path for path in Path().glob("points.*") if ".design" not in path.suffixes)
    return main(["evaluate", "--reference", points.name, "--out", "out", "--json"])


# --- scenes ---------------------------------------------------------------------------------------


def _write_run(folder: Path, band: str, resolution: float = 60, **archive: object) -> None:
    settings = {
        "name": "fuzz",
        "scenes": [{"path": "archive"} | archive],
        "bands": [band],
        "tiling": {
            "crs": "EPSG:6933",
            "resolution": resolution,
            "size": 32,
            "halo": 0,
            "block": 1,
        },
        "periods": [{"name": "all", "start": "1990-01-01", "end": "2030-01-01"}],
        "legend": {1: {"name": "water", "colour": "#0000ff"}},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))


def _cut_chips() -> int:
    # What `lulc index` and `lulc tile` do, without Spark: bad items and scenes are told.
    config = runfile.read_run("run.yaml")
    archive = config.scenes[0]
    source = source_of(archive)
    items = [ListedItem(0, item.path, item.key, item.text) for item in source.items(archive)]
    reading = make_reading(config, [source], config.bands)
    rows = list(read_items(items, reading))
    bad = [f"{row['key']}: {row['error']}" for row in rows if row["error"] is not None]
    scenes = scenes_of_rows(pa.Table.from_pylist(rows, READ_ITEM))
    arrays: list[np.ndarray] = []
    if scenes:
        spec = blocks.make_chip_spec(config, [band for s in scenes for band in s.bands])
        outlines = [shapely.from_wkb(scene.footprint) for scene in scenes]
        cells = list(extent.find_cells(outlines, spec.tiling, 1, None))[:4]
        table = columns_of(scenes_to_table(scenes).to_batches())
        by_id = sorted(scenes, key=lambda scene: scene.scene_id)
        pairs = np.indices((len(table.outlines), len(cells))).reshape(2, -1)
        planned = plan.plan_blocks(
            config, spec, table, plan.Reach(cells, *pairs), np.ones(len(scenes), bool), {}
        )
        for block in planned.blocks.to_pylist():
            mine = [by_id[row] for row in blocks.rows_of(block)]
            made = cut.cut_block(mine, spec, block["col"], block["row"], block["period"])
            bad += [f"{name}: {error}" for name, error in made.unreadable.items()]
            arrays += [array for chip in made.chips for array in (chip.pixels, chip.valid)]
    for line in bad:
        print(f"bad {line}")
    print(f"{len(arrays)} arrays", _digest(*arrays))
    return 0


def _make_tiff_scene(folder: Path) -> Path:
    _write_run(folder, "red", bands={"b1": "red"})
    path = folder / "archive" / "scene_20200101.tif"
    return write_raster(path, texture(GRID), GRID, nodata=0)


def _make_jp2_scene(folder: Path) -> Path:
    _write_run(folder, "B02")
    product = sentinel2.make_product(folder / "archive", "2A", "05.11", ("B02",))
    return next(product.rglob("*B02_10m.jp2"))


def _make_safe(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        _write_run(folder, "B02")
        product = sentinel2.make_product(folder / "archive", "2A", "05.11", ("B02",))
        return next(product.rglob(name))

    return make


def _make_landsat(form: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        _write_run(folder, "red")
        product = landsat.make(folder / "archive", landsat.OLI9, "OLI_TIRS", ["4"])
        for path in product.glob("*_MTL.*"):
            if path.suffix != form:
                path.unlink()
        return next(product.glob(f"*_MTL{form}"))

    return make


def _make_hdf4(folder: Path) -> Path:
    _write_run(folder, "ndvi", 20_000)
    return modis.make_mod13(folder / "archive")[0]


def _make_stac(folder: Path) -> Path:
    _write_run(folder, "red")
    archive = folder / "archive"
    archive.mkdir()
    stac.raster(archive / "red.tif")
    band = {"data_type": "uint16", "scale": 0.0001, "offset": 0, "nodata": 0}
    asset = {
        "href": "red.tif",
        "eo:bands": [{"name": "red", "common_name": "red"}],
        "raster:bands": [band],
        "roles": ["data"],
    }
    return stac.write_item(archive, stac.item("s", {"red": asset}, stac.DATED))


# --- run files, data sets, images to map ----------------------------------------------------------


def _make_run_file(folder: Path) -> Path:
    _make_tiff_scene(folder)
    _regions(folder / "regions.gpkg")
    settings = yaml.safe_load((folder / "run.yaml").read_text())
    settings |= {
        "regions": [{"path": "regions.gpkg", "id": "id"}],
        "dates": 2,
        "train": {"epochs": 3, "rate": 0.001},
        "spark": {"memory": "1g"},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    return folder / "run.yaml"


def _plan() -> int:
    return main(["plan", "run.yaml", "--json"])


def _make_table(folder: Path) -> Path:
    for name in "abcdef":
        pixels = np.random.default_rng(ord(name)).integers(0, 255, (3, 16, 16)).astype("uint8")
        synthetic_archives.write_picture(folder / "images" / f"{name}.png", pixels)
    rows = [
        f"{name}.png,{label}" for name, label in zip("abcdef", ["water", "NA"] * 3, strict=True)
    ]
    path = folder / "images" / "labels.csv"
    path.write_text("item,class\n" + "\n".join(rows) + "\n")
    options = {
        "task": "multilabel",
        "images": "{item}.png",
        "table": "labels.csv",
        "classes": "water,NA",
    }
    settings = {
        "name": "fuzz",
        "bands": ["red", "green", "blue"],
        "legend": {
            1: {"name": "water", "colour": "#0000ff"},
            2: {"name": "NA", "colour": "#00ff00"},
        },
        "datasets": [{"name": "images", "root": "images", "options": options}],
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    return path


def _make_image(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        bands = ("red", "green", "blue")
        make_model(folder / "model", bands=bands, gsd_m=10.0)
        pixels = np.stack([texture(GRID, seed, 250, "uint8") for seed in range(3)])
        path = folder / "images" / f"picture{suffix}"
        if suffix == ".tif":
            return write_raster(path, pixels, GRID)
        synthetic_archives.write_picture(path, pixels)
        return path

    return make


def _map_images() -> int:
    # What `lulc predict --input` does, the model taken from its folder.
    for row in map_folder(
        reference(Path("model")), Path("images").resolve(), Path("maps").resolve()
    ):
        if row.status == "bad":
            print(f"bad {row.key}: {row.error}")
        else:
            with rasterio.open(Path("maps") / str(row.path)) as file:
                print(row.key, _digest(file.read()))
    return 0


def _info(name: str) -> Callable[[], int]:
    return lambda: main(["info", name, "--json"])


TARGETS = (
    Target("class raster", _make_compared, _compare, mutations.BINARY),
    Target("regions.gpkg", _make_areas(".gpkg"), _take_areas, mutations.BINARY),
    Target("regions.geojson", _make_areas(".geojson"), _take_areas, mutations.JSON),
    Target("regions.parquet", _make_areas(".parquet"), _take_areas, mutations.BINARY),
    Target("points.geojson", _make_points(".geojson"), _evaluate, mutations.JSON),
    Target("points.gpkg", _make_points(".gpkg"), _evaluate, mutations.BINARY),
    Target("points.design.json", _make_points(".design.json"), _evaluate, mutations.JSON),
    Target("scene.tif", _make_tiff_scene, _cut_chips, mutations.BINARY),
    Target("scene.jp2", _make_jp2_scene, _cut_chips, mutations.BINARY),
    Target("scene.hdf", _make_hdf4, _cut_chips, mutations.BINARY),
    Target("SAFE product", _make_safe("MTD_MSIL2A.xml"), _cut_chips, mutations.XML),
    Target("SAFE granule", _make_safe("MTD_TL.xml"), _cut_chips, mutations.XML),
    Target("MTL.txt", _make_landsat(".txt"), _cut_chips, mutations.LINES, notices_loss=False),
    Target("MTL.json", _make_landsat(".json"), _cut_chips, mutations.JSON),
    Target("MTL.xml", _make_landsat(".xml"), _cut_chips, mutations.XML),
    Target("STAC item", _make_stac, _cut_chips, mutations.JSON),
    Target("run.yaml", _make_run_file, _plan, mutations.LINES, notices_loss=False),
    Target("labels.csv", _make_table, _plan, mutations.LINES, notices_loss=False),
    Target("image.png", _make_image(".png"), _map_images, mutations.BINARY),
    Target("image.tif", _make_image(".tif"), _map_images, mutations.BINARY),
    Target("info of a table", _make_areas(".parquet"), _info("regions.parquet"), mutations.BINARY),
    Target(
        "info of a raster", lambda f: _class_map(f / "map.tif"), _info("map.tif"), mutations.BINARY
    ),
)
