"""A run of an earlier release, whose files lie in one folder, is read and gone on with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pystac
import pytest
import rasterio

import lulc
from lulc.runfile import read_run
from lulc.spark import pipeline
from lulc.spark.context import StageContext
from lulc.spark.queries import sql
from lulc.stages import Selection
from lulc.tables import files, layout, ledger, schemas, store
from tests.helpers import small_world as world
from tests.helpers.small_world import World

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

UNRECORDED = 3


@pytest.fixture
def flat(done: Path, tmp_path: Path) -> Path:
    """A copy of the clean run as it was laid out before; some chips are not in its ledger."""
    return _lay_flat(done, tmp_path / "out")


def _lay_flat(done: Path, out: Path) -> Path:
    shutil.copytree(done, out)
    places: dict[str, str] = {}
    for name in ("chips", "predictions"):
        for file in sorted((out / layout.table(name)).rglob("*.parquet")):
            place = file.relative_to(out).as_posix()
            places[place] = layout.without_sector(place)
            footer = store.read_footer(file) | {"path": places[place]}
            rows = list(store.read_rows(file))
            store.write_rows(out / places[place], rows, schemas.ALL[name], footer)
            file.unlink()
    for kind in ("rasters", "confidence"):
        for file in sorted((out / kind / "2024").glob("*/*")):
            place = file.relative_to(out)
            places[str(place)] = str(place.parents[1] / place.name)
            file.rename(out / places[str(place)])
    rows = ledger.read_ledger(out).to_pylist()
    for row in rows:
        if row["path"] in places:
            row["path"] = places[row["path"]]
            row["checksum"] = files.checksum(out / row["path"])
    chips = [row for row in rows if row["stage"] == "tile" and row["path"]]
    seals = [row for row in rows if row["stage"] == "tile" and row["key"] == ledger.STAGE_KEY]
    lost = [*chips[:UNRECORDED], *seals]
    kept = [row for row in rows if row not in lost]
    folder = store.table_folder(out, "ledger")
    shutil.rmtree(folder)
    folder.mkdir()
    for number in sorted({row["number"] for row in kept}):
        of_file = [row for row in kept if row["number"] == number]
        table = pa.Table.from_pylist(of_file, schemas.LEDGER)
        pq.write_table(table, out / layout.ledger_file(number))
    return out


def test_an_older_run_is_gone_on_with_and_nothing_is_made_again(
    flat: Path, done: Path, small: World, spark: SparkSession
) -> None:
    context = StageContext(read_run(small.run), flat, Selection(), lambda: spark)

    def count(stage: str) -> int:
        return pipeline.run_stage(stage, context).done

    before = world.files(flat, "**/*.tif") | world.files(flat, "tables/[cp]*s/*.parquet")
    # Chips that a killed driver did not record are taken up where they lie.
    assert [count(stage) for stage in ("tile", "predict", "rasters")] == [0, 0, 0]
    assert world.files(flat, "**/*.tif") | world.files(flat, "tables/[cp]*s/*.parquet") == before
    assert set(ledger.read_done(flat, "tile").column("path")) == {
        name for name in before if name.startswith("tables/chips")
    }

    # What is made anew lies in a folder of its sector, beside the others.
    first = min(ledger.read_done(flat, "predict").values(), key=lambda row: row.key)
    (flat / str(first.path)).unlink()
    assert count("predict") == 1
    place = ledger.read_done(flat, "predict")[first.key].path
    assert place == layout.block_file(
        "predictions", layout.parse_block_key(first.key), first.fingerprint
    )
    assert place != first.path
    assert sql.read_view(spark, flat, "predictions").count() == (
        store.read_table(done, "predictions", ["tile_id"]).num_rows
    )
    for stage, table in (("stats", "class_areas"), ("evaluate", "accuracy")):
        (flat / layout.table_file(table)).unlink()
        assert count(stage) == 1
        assert store.read_table(flat, table).equals(store.read_table(done, table))

    # A raster of a period lies beside the others of it.
    rasters = set((flat / "rasters/2024").glob("*.tif"))
    min(rasters).unlink()
    assert count("rasters") == 1
    assert set((flat / "rasters").rglob("*.tif")) == rasters
    collection = pystac.Collection.from_file(flat / layout.COLLECTION)
    assert all(Path(str(item.get_self_href())).exists() for item in collection.get_items())
    expected = lulc.open_run(done).map("2024").classes
    with rasterio.open(flat / "rasters/2024/mosaic.vrt") as mosaic:
        assert (mosaic.read(1) == expected).all()
    assert (lulc.open_run(flat).map("2024").classes == expected).all()
