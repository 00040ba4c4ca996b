"""LINZ's static catalogue of aerial images, read as STAC in EPSG:2193: RGB, infrared, old scans."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.enums import ColorInterp

from lulc.config import Archive, Search
from lulc.errors import InputError
from lulc.geo.grid import Grid, footprint, same_crs
from lulc.raster import reader
from lulc.runfile import parse_run
from lulc.sources import registry
from lulc.sources.catalogues.answers import read_answer
from lulc.sources.catalogues.search import find_scenes
from tests.helpers.faulty_proxy import serve

# Tiles of 480 m by 720 m, each with its own pixels of 5 m.
GRID = Grid("EPSG:2193", (5.0, 0.0, 1_760_000.0, 0.0, -5.0, 5_920_000.0), 144, 96)
RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def write_image(path: Path, grid: Grid, colours: tuple[ColorInterp, ...], seed: int) -> np.ndarray:
    # As published: a COG's layout with alpha as the last band (linz/imagery, docs/tiff-
    # specification.md, Band Configuration).
    stack = np.random.default_rng(seed).integers(0, 256, (len(colours), *grid.shape), "uint8")
    stack[-1] = 255
    stack[-1, :20] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": grid.crs, "transform": grid.affine, "height": grid.height, "width": grid.width}
    form = {"driver": "GTiff", "tiled": True, "blockxsize": 16, "blockysize": 16} | (
        {"alpha": "YES"} if len(colours) == 2 else {}
    )
    with rasterio.open(path, "w", count=len(stack), dtype="uint8", **form, **place) as file:
        file.write(stack)
        file.colorinterp = colours
    return stack


def make_item(path: Path, grid: Grid, year: int, collection: str) -> dict[str, Any]:
    # linz/topo-imagery, scripts/stac/imagery/item.py.
    outline = footprint(grid)
    path.with_suffix(".json").write_text(
        json.dumps(
            {
                "type": "Feature",
                "stac_version": "1.0.0",
                "id": path.stem,
                "stac_extensions": [],
                "links": [
                    {"rel": "self", "href": f"./{path.stem}.json"},
                    {"rel": "collection", "href": "./collection.json"},
                ],
                "assets": {
                    "visual": {"href": f"./{path.name}", "type": "image/tiff; application=geotiff"}
                },
                "properties": {
                    "start_datetime": f"{year}-01-15T11:00:00Z",
                    "end_datetime": f"{year}-02-16T11:00:00Z",
                    "datetime": None,
                },
                "geometry": shapely.geometry.mapping(outline),
                "bbox": list(outline.bounds),
                "collection": collection,
            }
        )
    )
    return {"rel": "item", "href": f"./{path.stem}.json", "type": "application/geo+json"}


def make_collection(
    root: Path, slug: str, product: str, year: int, colours: tuple[ColorInterp, ...]
) -> dict[str, Any]:
    folder = root / "auckland" / slug / product / "2193"
    links, boxes = [], []
    for col in range(3):
        grid = GRID.window(0, 96 * col, 144, 96)
        path = folder / f"BA32_5000_{col:04d}.tiff"
        write_image(path, grid, colours, col)
        links.append(make_item(path, grid, year, f"01{slug}{product}"))
        boxes.append(footprint(grid).bounds)
    bounds = shapely.union_all([shapely.box(*b) for b in boxes]).bounds
    content = {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": f"01{slug}{product}",
        "title": f"{slug} {year}",
        "linz:slug": slug,
        "links": [
            {
                "rel": "root",
                "href": "https://nz-imagery.s3.ap-southeast-2.amazonaws.com/catalog.json",
            },
            *links,
        ],
        "extent": {
            "spatial": {"bbox": [bounds]},
            "temporal": {"interval": [[f"{year}-01-15T11:00:00Z", f"{year}-02-16T11:00:00Z"]]},
        },
    }
    (folder / "collection.json").write_text(json.dumps(content))
    return {"rel": "child", "href": f"./auckland/{slug}/{product}/2193/collection.json"}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("linz")
    links = [
        make_collection(root, "auckland_2022_5m", "rgb", 2022, (*RGB, ColorInterp.alpha)),
        make_collection(
            root, "auckland_2022_5m", "rgbnir", 2022, (*RGB, ColorInterp.nir, ColorInterp.alpha)
        ),
        make_collection(
            root, "auckland_sn348_1944_5m", "rgb", 1944, (ColorInterp.gray, ColorInterp.alpha)
        ),
    ]
    content = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "linz-imagery",
        "links": [{"rel": "self", "href": "./catalog.json"}, *links],
    }
    (root / "catalog.json").write_text(json.dumps(content))
    return root / "catalog.json"


@pytest.fixture
def url(catalogue: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with serve(functools.partial(Quiet, directory=str(catalogue.parent))) as place:
        yield f"http://{place}/catalog.json"


def ask(url: str, out: Path, *collections: str, **rest: Any) -> list[str]:
    raw = {
        "name": "t",
        "scenes": [{"path": "."}],
        "bands": ["red"],
        "legend": {1: {"name": "a", "colour": "#000000"}},
    }
    found = find_scenes(
        Archive(search=Search(url, collections, **rest)), parse_run(raw, Path()), out
    )
    return [
        f["assets"]["visual"]["href"].rpartition("/auckland/")[2]
        for f in (json.loads(text) for _, text, _ in sorted(read_answer(Path(found.path))))
        if "assets" in f
    ]


def middle_of(col: int) -> str:
    x, y = footprint(GRID.window(60, 96 * col + 40, 10, 10)).centroid.coords[0]
    return f"{x - 1e-4},{y - 1e-4},{x + 1e-4},{y + 1e-4}"


def test_a_static_catalogue_is_searched_by_its_links(url: str, tmp_path: Path) -> None:
    rgb = "auckland_2022_5m/rgb/2193"
    assert ask(url, tmp_path, "*_2022_*/rgb/2193/*", bbox=middle_of(1)) == [
        f"{rgb}/BA32_5000_0001.tiff"
    ]
    assert ask(
        url, tmp_path, "auckland_2022_5m", bbox=middle_of(2), time="2022-02-01/2022-02-02"
    ) == [
        f"{rgb}/BA32_5000_0002.tiff",
        "auckland_2022_5m/rgbnir/2193/BA32_5000_0002.tiff",
    ]
    assert len(ask(url, tmp_path, "*1944*")) == 3
    assert ask(url, tmp_path, "01auckland_2022_5mrgb") == [
        f"{rgb}/BA32_5000_000{n}.tiff" for n in range(3)
    ]
    for nothing in (
        {"time": "2021-01-01/2021-12-31"},
        {"bbox": "-176.9,-44.2,-176.0,-43.6"},
        {"max_cloud": 5},
    ):
        with pytest.raises(InputError, match="no scene"):
            ask(url, tmp_path, "*2022*", **nothing)


def test_a_broken_file_of_a_catalogue_is_named(url: str, catalogue: Path, tmp_path: Path) -> None:
    path = next(catalogue.parent.rglob("rgbnir/2193/BA32_5000_0001.json"))
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    try:
        with pytest.raises(
            InputError, match=r"rgbnir/2193/BA32_5000_0001\.json of the catalogue cannot be read"
        ):
            ask(url, tmp_path, "*rgbnir*")
    finally:
        path.write_bytes(whole)


def test_an_item_without_assets_is_kept_to_fail_when_it_is_read(
    url: str, catalogue: Path, tmp_path: Path
) -> None:
    path = next(catalogue.parent.rglob("rgbnir/2193/BA32_5000_0001.json"))
    whole = path.read_bytes()
    item = json.loads(whole)
    path.write_text(json.dumps({key: item[key] for key in item if key != "assets"}))
    try:
        others = ask(url, tmp_path, "*rgbnir*")
        (saved,) = (tmp_path / "searches").iterdir()
        assert len(list(read_answer(saved))) == len(others) + 1
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("product", "bands", "mapped", "expected"),
    [
        ("auckland_2022_5m/rgb", ("red", "green", "blue"), {}, (1, 2, 3)),
        ("auckland_2022_5m/rgbnir", ("nir", "red"), {}, (4, 1)),
        ("auckland_sn348_1944_5m/rgb", ("pan",), {"b1": "pan"}, (1,)),
    ],
)
def test_a_copy_on_disk_is_read_as_stac(
    catalogue: Path,
    product: str,
    bands: tuple[str, ...],
    mapped: dict[str, str],
    expected: tuple[int, ...],
) -> None:
    archive = Archive(str(catalogue), bands=mapped)
    source = registry.source_of(archive)
    assert source.name == "stac"
    listed = [i for i in source.items(archive) if f"{product}/" in i.path]
    assert len(listed) == 3
    scene = source.read(listed[1], archive, bands)
    assert (scene.crs, tuple(b.index for b in scene.bands)) == ("EPSG:2193", expected)
    assert scene.gsd_m == pytest.approx(5, rel=1e-3)
    assert shapely.from_wkb(scene.footprint).bounds == pytest.approx(
        footprint(GRID.window(0, 96, 144, 96)).bounds
    )
    with rasterio.open(scene.bands[0].href) as file:
        direct, alpha = file.read(list(expected)), file.read(file.count)
    grid = reader.grid_of(scene.bands[0].href)
    for band, values in zip(scene.bands, direct, strict=True):
        found, valid = reader.read_band(band.href, band.index, grid, "nearest", band.nodata)
        np.testing.assert_array_equal(valid, alpha == 255)
        np.testing.assert_array_equal(found, np.where(valid, values, 0))


def test_alpha_is_no_band(catalogue: Path) -> None:
    archive = Archive(str(next(catalogue.parent.rglob("rgbnir/2193/BA32_5000_0000.json"))))
    source = registry.source_of(archive)
    assert {b.name for b in source.read(next(source.items(archive)), archive, ()).bands} == {
        "red",
        "green",
        "blue",
        "nir",
    }
    files = Archive(str(next(catalogue.parent.rglob("rgbnir/2193/BA32_5000_0000.tiff"))))
    geotiff = registry.source_of(files)
    assert [b.name for b in geotiff.read(next(geotiff.items(files)), files, ()).bands] == [
        "red",
        "green",
        "blue",
        "nir",
    ]


LINZ = Path(__file__).parents[3] / "shared" / "data" / "linz"


@pytest.mark.skipif(not LINZ.exists(), reason="../shared/data/linz is not there")
def test_the_sample_image_is_read_whole() -> None:
    archive = Archive(str(LINZ / "input_aerial.tif"))
    source = registry.source_of(archive)
    scene = source.read(next(source.items(archive)), archive, ("red", "green", "blue"))
    assert same_crs(scene.crs, "EPSG:2193")
    with rasterio.open(LINZ / "input_aerial.tif") as file:
        direct = file.read()
    for band, values in zip(scene.bands, direct, strict=True):
        found, valid = reader.read_band(
            band.href, band.index, reader.grid_of(band.href), "nearest", band.nodata
        )
        np.testing.assert_array_equal(valid, values != 255)
        np.testing.assert_array_equal(found, np.where(valid, values, 0))


@pytest.mark.skipif(not LINZ.exists(), reason="../shared/data/linz is not there")
def test_the_sample_collection_lists_its_item() -> None:
    archive = Archive(str(LINZ / "collection_TRIMMED.json"), source="stac")
    (item,) = registry.source_of(archive).items(archive)
    assert Path(item.path).name == "BX18_500_054089.json"
    with pytest.raises(InputError, match=r"BX18_500_054089\.tiff"):
        registry.source_of(archive).read(item, archive, ("red",))
