"""The embed stage: vectors with place and period, from a network or from bands, and SQL on them."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from lulc.api.config import load_config
from lulc.config import Archive, Config, EmbedConf
from lulc.errors import InputError, UsageError
from lulc.geo.grid import transformer
from lulc.inference.embeddings import EmbedSpec, embed_units
from lulc.models.contract import read_contract
from lulc.models.package import CONTRACT
from lulc.models.registry import resolve
from lulc.raster.reader import grid_of
from lulc.sources.embeddings import ALPHAEARTH_SCALE, read_alphaearth
from lulc.sources.registry import SOURCES
from lulc.spark.context import StageContext, StageResult
from lulc.spark.queries import rules, sql
from lulc.stages import Selection, stages_of
from lulc.tables import files, schemas, store
from lulc.tables.ledger import read_done
from tests.helpers.small_world import World
from tests.helpers.synthetic_embeddings import NORTH_UP, make_numbers, published, write_alphaearth


def run_stage(name: str, config: Config, out: Path, spark: Any) -> StageResult:
    context = StageContext(config, out, Selection(), lambda: spark)
    result: StageResult = getattr(importlib.import_module(f"lulc.spark.stages.{name}"), name)(
        context
    )
    return result


def vectors_of(table: pa.Table) -> np.ndarray:
    return np.array(table["embedding"].to_pylist(), "float32")


@pytest.fixture(scope="module")
def bands_run(tmp_path_factory: pytest.TempPathFactory, spark: Any) -> Path:
    """A run on an AlphaEarth-like file that is cut into chips and embedded at every 8th pixel."""
    folder = tmp_path_factory.mktemp("bands")
    write_alphaearth(folder / "aef", make_numbers())
    settings = {
        "name": "aef",
        "scenes": [{"path": "aef"}],
        "bands": ["e0..e63"],
        "tiling": {"crs": "EPSG:32633", "resolution": 10, "size": 64, "halo": 16, "block": 2},
        "periods": [{"name": "2023", "start": "2023-01-01", "end": "2023-12-31"}],
        "legend": {1: {"name": "water", "colour": "#0000ff"}},
        "embed": {"every": 8, "raster": True},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    config = load_config(folder / "run.yaml", {"predict.model": "none"})
    assert "embed" in stages_of(config)
    for stage in ("index", "tile", "embed"):
        assert not run_stage(stage, config, folder / "out", spark).bad
    return folder


def test_embedding_bands_become_points_with_their_published_values(bands_run: Path) -> None:
    blocks = files.list_tables(store.table_folder(bands_run / "out", "embeddings"))
    points = pd.concat([geopandas.read_parquet(file) for file in blocks])
    assert points.crs.to_authority() == ("OGC", "CRS84")
    assert set(points["period"]) == {"2023"}
    assert set(points["model"]) == {"bands"}
    x, y = transformer("EPSG:4326", NORTH_UP.crs).transform(points.geometry.x, points.geometry.y)
    cols, rows = (np.floor(axis).astype(int) for axis in ~NORTH_UP.affine @ (x, y))
    numbers = make_numbers()
    expected = published(numbers)[:, rows, cols]
    assert (numbers[0, rows, cols] != -128).all()
    found = np.stack(points["embedding"])
    np.testing.assert_allclose(found, expected.T, atol=1e-7)
    inside = (NORTH_UP.height // 8) * (NORTH_UP.width // 8)
    assert 0.9 * inside < len(points) <= inside


def test_the_raster_of_vectors_is_read_by_the_source_alphaearth(bands_run: Path) -> None:
    out = bands_run / "out"
    archive = Archive(str(out / "embeddings"), source="alphaearth", date="2023")
    units = []
    for item in SOURCES["alphaearth"].items(archive):
        scene = SOURCES["alphaearth"].read(item, archive, ())
        assert [band.name for band in scene.bands] == [f"e{number}" for number in range(64)]
        bands = read_alphaearth(item.path, range(1, 65), grid_of(item.path), "nearest")
        pixels = np.array([values for values, _ in bands])
        units.append(pixels[:, bands[0][1]] * ALPHAEARTH_SCALE)
    exact = vectors_of(store.read_table(out, "embeddings")).T
    exact /= np.linalg.norm(exact, axis=0)
    # Both hold the same vectors, each in its own order.
    written = np.concatenate(units, axis=1)
    assert written.shape == exact.shape
    assert np.abs(np.sort(written[0]) - np.sort(exact[0])).max() < 0.01


def test_cosine_finds_the_nearest_in_a_restricted_session(bands_run: Path, spark: Any) -> None:
    out = bands_run / "out"
    vectors = vectors_of(store.read_table(out, "embeddings"))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = np.sort(units @ units.T, axis=1)[:, -2].mean()
    sql.make_views(spark, out)
    rules.enforce(spark)
    restricted = spark.newSession()
    query = """
        SELECT avg(nearest) AS nearest FROM (
          SELECT max(cosine(a.embedding, b.embedding)) AS nearest
          FROM embeddings a JOIN embeddings b
          ON a.tile_id <> b.tile_id OR a.row <> b.row OR a.col <> b.col
          GROUP BY a.tile_id, a.row, a.col)"""
    # Spark would log what it cannot compile, and interpret it.
    restricted.conf.set("spark.sql.codegen.fallback", "false")
    restricted.conf.set("spark.sql.codegen.factoryMode", "CODEGEN_ONLY")
    for session in (restricted, spark):
        assert session.sql(query).collect()[0][0] == pytest.approx(expected, abs=1e-5)
    ones = "array(1.0, 2.0)"
    answers = restricted.sql(
        f"SELECT cosine({ones}, {ones}), cosine({ones}, array(-1, -2)), cosine({ones}, array(1)), "
        f"cosine({ones}, array(0, 0)), cosine({ones}, NULL), "
        f"cosine({ones}, array(1, double('NaN')))"
    ).collect()[0]
    assert answers[0] == pytest.approx(1)
    assert answers[1] == pytest.approx(-1)
    assert tuple(answers[2:]) == (None, None, None, None)


@pytest.fixture(scope="module")
def model_run(done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(done, tmp_path_factory.mktemp("model") / "out"))


def test_a_run_is_embedded_by_its_own_model_once(small: World, model_run: Path, spark: Any) -> None:
    config = load_config(small.run)
    assert "embed" not in stages_of(config)
    result = run_stage("embed", config, model_run, spark)
    chips = len(read_done(model_run, "tile"))
    assert (result.done + result.empty, result.skipped) == (chips, 0)
    table = store.read_table(model_run, "embeddings")
    assert set(schemas.EMBEDDINGS.names) <= set(table.column_names)
    assert table["embedding"].type.list_size == vectors_of(table).shape[1] > 100
    tiles = store.read_table(model_run, "chips", ["tile_id", "period", "clear"]).to_pylist()
    clear = {(row["tile_id"], row["period"]) for row in tiles if row["clear"] > 0}
    assert set(zip(*(table[c].to_pylist() for c in ("tile_id", "period")), strict=True)) == clear
    again = run_stage("embed", config, model_run, spark)
    assert (again.done, again.skipped) == (0, chips - result.empty)


def test_samples_have_a_vector_each_with_class_and_split(small: World, model_run: Path) -> None:
    config = load_config(small.run)
    model = resolve(config.name, model_run, config.tracking.uri)
    contract = read_contract(model.folder / CONTRACT)
    spec = EmbedSpec(model_run, EmbedConf(), model, contract)
    rows = read_done(model_run, "samples")
    keys = rows.table.select(["key", "path", "checksum", "fingerprint"]).to_pylist()
    made = list(embed_units(keys, spec, of_samples=True))
    assert [row.status for row in made] == ["done"] * len(keys)
    for row in made:
        assert row.path is not None
        table = geopandas.read_parquet(model_run / row.path)
        assert set(table["split"]) == {row.key.partition("/")[0]}
        assert table["sample_id"].is_unique
        assert table.geometry.is_valid.all()
    damaged = {**keys[0], "checksum": "other"}
    (bad,) = embed_units([damaged], spec, of_samples=True)
    assert bad.status == "bad"
    assert "run `lulc samples` again" in str(bad.error)


def test_what_cannot_be_embedded_is_told(small: World, tmp_path: Path, spark: Any) -> None:
    dataset = {"name": "x", "datasets": [{"name": "eurosat", "root": "."}], "embed": {"every": 4}}
    config = load_config(small.run, {"bands": ["e0", "e1"]})
    with pytest.raises(InputError, match="holds no chips"):
        run_stage("embed", config, tmp_path, spark)
    from lulc.runfile import parse_run

    with pytest.raises(UsageError, match="a sample has one vector"):
        run_stage("embed", parse_run({**dataset, "bands": ["e0"]}, tmp_path), tmp_path, spark)
