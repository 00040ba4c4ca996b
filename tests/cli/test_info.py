"""What info tells of scenes as archives deliver them, and of what is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from lulc.api.config import saved_config
from lulc.cli import main
from lulc.cli.info import describe_path
from lulc.errors import InputError
from lulc.geo import grid
from lulc.stages import stages_of
from lulc.tables.ledger import STAGE_KEY, LedgerRow, append_ledger
from tests.helpers.synthetic_scenes import write_raster
from tests.sources import test_landsat as landsat
from tests.sources import test_sentinel2 as sentinel2


def test_a_sentinel2_product_by_folder_zip_and_metadata(tmp_path: Path) -> None:
    root = sentinel2.make_product(tmp_path / "a", "2A", "05.11", ("B02", "B04"))
    packed = shutil.make_archive(str(tmp_path / "renamed"), "zip", tmp_path / "a")
    places = (root, root.parent, root / "MTD_MSIL2A.xml", root / "manifest.safe", packed)
    facts = [describe_path(str(place)) for place in places]
    for each in facts:
        assert each["id"] == sentinel2.product_name("2A", "05.11")
        assert (each["kind"], each["source"], each["level"]) == ("scene", "sentinel2", "2A")
        assert each["bands"] == [
            "blue (uint16, ×0.0001 -0.0999, surface_reflectance)",
            "red (uint16, ×0.0001 -0.0997, surface_reflectance)",
        ]
        assert [text.split()[0] for text in each["masked by"]] == ["quality"]
        assert "not masked" not in each
    # What a run would refuse is told.
    for path in root.rglob("*_SCL_*"):
        path.unlink()
    bare = describe_path(str(root))
    assert "masked by" not in bare
    assert bare["not masked"] == ["cloud", "shadow", "cirrus", "saturated"]


def test_a_landsat_product_by_folder_tar_and_mtl(tmp_path: Path) -> None:
    folder = landsat.make(tmp_path / "a", landsat.TM5, "TM", landsat.TM_KEYS)
    packed = shutil.make_archive(str(tmp_path / "renamed"), "gztar", folder)
    mtls = [folder / f"{landsat.TM5}_MTL.{form}" for form in ("txt", "json", "xml")]
    for place in (folder, packed, *mtls):
        facts = describe_path(str(place))
        assert (facts["kind"], facts["source"], facts["id"]) == ("scene", "landsat", landsat.TM5)
        assert (facts["platform"], facts["not masked"]) == ("landsat-5", ["cirrus"])
        assert len(facts["masked by"]) == 2


def test_points_and_polygons_tell_their_columns_and_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    survey = tmp_path / "survey.csv"
    survey.write_text("crop,longitude,latitude\nmaize,10,50\nrice,11,51\nmaize,12,50\n,13,50\n")
    facts = describe_path(str(survey))
    assert facts == {
        "kind": "table (CSV)",
        "rows": 4,
        "columns": ["crop", "longitude", "latitude"],
        "values of crop": {"maize": 2, "rice": 1, "(empty)": 1},
        "values of latitude": {"50": 3, "51": 1},
    }
    shapes = [shapely.box(10, 50, 11, 51), shapely.box(12, 50, 13, 51), None]
    frame = geopandas.GeoDataFrame({"id": [1, 2, 3], "level": "park"}, geometry=shapes, crs=4326)
    for name in ("parks.gpkg", "parks.json"):
        frame.to_file(tmp_path / name, driver="GPKG" if name.endswith("gpkg") else "GeoJSON")
        facts = describe_path(str(tmp_path / name))
        assert (facts["kind"], facts["features"], facts["crs"]) == ("vector file", 3, "EPSG:4326")
        assert facts["geometries"] == {"Polygon": 2, "none": 1}
        assert facts["bounds"] == (10, 50, 13, 51)
        assert facts["values of level"] == {"park": 3}
        assert "values of id" not in facts
    assert main.main(["info", str(survey)]) == 0
    assert "maize: 2, rice: 1, (empty): 1" in capsys.readouterr().out


def test_datasets_tell_the_units_of_their_bands() -> None:
    facts = describe_path("datasets")
    for name, radar in {
        "bigearthnet": "vv, vh: sigma0_db",
        "sen12ms": "vv, vh: sigma0_db",
        "pastis": "vv, vh: sigma0_db",
        "spacenet": "hh, hv, vh, vv: backscatter_db",
        "multisenge": "vv, vh: sigma0)",
    }.items():
        assert radar in facts[name]
    assert "coastal … swir22: toa_reflectance" in facts["sen12ms"]
    assert "coastal … swir22: surface_reflectance" in facts["bigearthnet"]


def test_a_modis_file(tmp_path: Path) -> None:
    pytest.importorskip("pyhdf.SD", reason="HDF4 is read with pyhdf: pip install 'lulc[hdf4]'")
    from tests.sources import test_modis as modis

    path, _ = modis.make_mod13(tmp_path)
    facts = describe_path(str(path))
    assert (facts["source"], facts["level"], facts["tile"]) == ("modis", "MOD13Q1", "h12v11")
    assert facts["bands"] == [
        "ndvi (int16, ×0.0001 +0, index)",
        "nir08 (int16, ×0.0001 +0, surface_reflectance)",
    ]


def test_stac_items_and_collections(tmp_path: Path) -> None:
    write_raster(tmp_path / "red.tif", np.ones(landsat.GRID.shape, "uint16"), landsat.GRID)
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "s",
        "geometry": shapely.geometry.mapping(grid.footprint(landsat.GRID)),
        "properties": {"datetime": "2024-06-08T10:11:12Z"},
        "assets": {"red": {"href": "red.tif"}},
    }
    (tmp_path / "s.json").write_text(json.dumps(item))
    (tmp_path / "bad.json").write_text(json.dumps(item | {"id": "bad", "assets": {}}))
    facts = describe_path(str(tmp_path / "s.json"))
    assert (facts["kind"], facts["source"], facts["id"]) == ("scene", "stac", "s")
    links = [{"rel": "item", "href": f"./{name}.json"} for name in ("s", "bad")]
    collection = {"type": "Collection", "stac_version": "1.0.0", "links": links}
    (tmp_path / "collection.json").write_text(json.dumps(collection))
    facts = describe_path(str(tmp_path / "collection.json"))
    assert (facts["kind"], facts["scenes"]) == ("scenes", ["s"])
    assert "has no band that can be read" in facts["bad scenes"]["bad.json"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", "", "found 1 .txt; accepted are"),
        ("data.json", "{}", "found 1 .json; accepted are"),
        ("empty/.keep", "", "found "),
        ("scene.zip.001", "", "found 1 .001; .*"),
        ("a.tif", "", "cannot be opened as GTiff"),
        (
            "MTL.txt",
            "GROUP = A",
            "is of source landsat, but holds no scene:.*MTL.txt is not a valid",
        ),
        ("a.hdf", "", "is of source modis, but holds no scene:.*a.hdf is not a sound HDF4"),
    ],
)
def test_anything_else_is_an_error_that_names_it(
    tmp_path: Path, name: str, content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    place = path.parent if name.endswith(".keep") else path
    with pytest.raises(InputError, match=rf"(?s){place.name}.*{message}"):
        describe_path(str(place))
    assert main.main(["info", str(place)]) == 3
    assert place.name in capsys.readouterr().err


def test_tables_of_several_kinds_are_not_taken_for_one(done: Path) -> None:
    assert describe_path(str(done / "tables")) == describe_path(str(done))
    assert describe_path(str(done / "tables/class_areas"))["kind"] == "table class_areas"


def test_any_parquet_file_is_told(done: Path, tmp_path: Path) -> None:
    items = describe_path(str(done / "rasters/items.parquet"))
    assert items["kind"] == "table of STAC items (stac-geoparquet)"
    assert items["rows"] == len(list((done / "rasters").rglob("*.tif")))
    assert {"id", "geometry", "assets"} <= set(items["columns"])
    (areas,) = (done / "tables/class_areas").glob("*.parquet")
    assert describe_path(str(areas)) == describe_path(str(areas.parent))
    pq.write_table(pa.table({"place": ["a", "b"], "class_counts": [1, 2]}), tmp_path / "x.parquet")
    facts = describe_path(str(tmp_path / "x.parquet"))
    assert (facts["kind"], facts["rows"]) == ("Parquet table that lulc did not make", 2)


def test_a_run_is_held_against_its_plan(done: Path) -> None:
    facts = describe_path(str(done))
    assert "not finished" not in facts
    assert {name for name in facts if name.startswith("plan of ")} == {
        f"plan of {stage}" for stage in stages_of(saved_config(done))
    }
    files = len(list((done / "tables/chips").rglob("*.parquet")))
    assert f"took {files:,}, " in facts["plan of tile"]["files"]
    assert set(facts["plan of predict"]) == {"files", "bytes", "seconds"}


def test_stages_that_are_not_finished_are_named(done: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes((done / "config.yaml").read_bytes())
    append_ledger(tmp_path, [LedgerRow("index", STAGE_KEY, "a"), LedgerRow("tile", "0_0", "b")])
    unfinished = describe_path(str(tmp_path))["not finished"]
    assert unfinished == [stage for stage in stages_of(saved_config(done)) if stage != "index"]


def test_an_output_folder_in_which_nothing_is_done_is_one(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: a\n")
    facts = describe_path(str(tmp_path))
    assert (facts["kind"], facts["ledger by"]) == ("output folder", "nothing is done yet")
