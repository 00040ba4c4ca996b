"""Scenes searched and read from a faulty object store become the same chips as from disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import shapely
import yaml

from lulc.geo import grid
from lulc.runfile import read_run
from lulc.spark.context import StageContext
from lulc.spark.stages.index import index
from lulc.spark.stages.tile import tile
from lulc.stages import Selection
from lulc.tables import store
from tests.helpers import small_world as world
from tests.helpers.object_stores import faulty_store, fill_bucket, store_variables
from tests.helpers.synthetic_scenes import UTM33, texture, write_raster
from tests.sources.test_search import stac_api

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def make_item(name: str, day: int, folder: str) -> dict[str, Any]:
    outline = shapely.geometry.mapping(grid.footprint(UTM33))
    assets = {
        b: {"href": f"{folder}/{name}_{b}.tif", "type": "image/tiff; application=geotiff"}
        for b in ("red", "nir")
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": "c",
        "geometry": outline,
        "links": [],
        "bbox": list(grid.footprint(UTM33).bounds),
        "properties": {"datetime": f"2024-06-{day:02}T10:00:00Z"},
        "assets": assets,
    }


def test_a_search_is_tiled_from_the_store_and_replayed_without_the_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spark: SparkSession
) -> None:
    files = {}
    for number, name in enumerate(("a", "b")):
        for band in ("red", "nir"):
            path = write_raster(
                tmp_path / "local" / f"{name}_{band}.tif",
                texture(UTM33, 2 * number + len(band)),
                UTM33,
                nodata=0,
            )
            files[path.name] = path.read_bytes()
        (tmp_path / "local" / f"{name}.json").write_text(
            json.dumps(make_item(name, number + 1, "."))
        )
    run: dict[str, Any] = {
        "name": "found",
        "bands": ["red", "nir"],
        "tiling": {"crs": "EPSG:3035", "resolution": 10, "size": 128, "halo": 16, "block": 4},
        "periods": [{"name": "june", "start": "2024-06-01", "end": "2024-06-30"}],
        "composite": {"method": "medoid"},
        "samples": {"size": 64},
        "legend": {1: {"name": "any", "colour": "#000000"}},
        "spark": {"memory": "1g"},
    }
    (tmp_path / "local.yaml").write_text(yaml.safe_dump(run | {"scenes": [{"path": "local"}]}))
    local, out = tmp_path / "out_local", tmp_path / "out"
    context = StageContext(read_run(tmp_path / "local.yaml"), local, Selection(), lambda: spark)
    index(context)
    tile(context)
    with faulty_store() as (place, faults):
        fill_bucket(place, files)
        for name, value in store_variables(place).items():
            monkeypatch.setenv(name, value)
        faults.each = 10
        with stac_api(
            tmp_path, [make_item(n, i + 1, "s3://bucket") for i, n in enumerate(("a", "b"))]
        ) as url:
            search = {"catalogue": url, "collections": ["c"], "bbox": "0,0,90,90"}
            (tmp_path / "search.yaml").write_text(
                yaml.safe_dump(run | {"scenes": [{"search": search}]})
            )
            ran = world.lulc("index", tmp_path / "search.yaml", "--out", out)
            assert ran.returncode == 0, ran.stderr
        # The catalogue is gone: what it answered is kept.
        again = world.lulc("index", tmp_path / "search.yaml", "--out", out)
        assert again.returncode == 0, again.stderr
        assert "nothing to do" in again.stderr
        ran = world.lulc("tile", tmp_path / "search.yaml", "--out", out)
        assert ran.returncode == 0, ran.stderr
        assert faults.failed
    found, clean = (
        [
            (c["tile_id"], c["scene_ids"], c["pixels"], c["valid"])
            for c in store.read_table(o, "chips").sort_by("tile_id").to_pylist()
        ]
        for o in (out, local)
    )
    assert clean
    assert found == clean
