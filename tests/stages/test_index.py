"""The index stage: it reads what the sources read, faults are rows, a rerun does nothing."""

from __future__ import annotations

import gc
import importlib
import json
import os
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from lulc.config import Archive, Config, LayerConf
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.runfile import parse_run
from lulc.sources import registry
from lulc.sources.items import ListedItem, Reading, read_items
from lulc.sources.layers import read_layer
from lulc.sources.scene import scenes_from_table, scenes_to_table
from lulc.spark.context import StageContext
from lulc.spark.stages.index import index
from lulc.spark.workers import map_keys
from lulc.stages import Selection
from lulc.tables import ledger, store
from tests.helpers.synthetic_scenes import cut_short, write_raster

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

GRID = Grid("EPSG:32633", (20.0, 0.0, 500_000.0, 0.0, -20.0, 5_300_000.0), 32, 48)


def make_archive(folder: Path, days: int = 4) -> Path:
    for day in range(1, days + 1):
        for band in ("red", "nir"):
            write_raster(
                folder / f"S_2024060{day}_{band}.tif",
                np.full(GRID.shape, day, "uint16"),
                GRID,
                nodata=0,
            )
    return folder


def make_run(
    *archives: Archive, bands: tuple[str, ...] = ("red", "nir"), layers: tuple[LayerConf, ...] = ()
) -> Config:
    raw = {
        "name": "test",
        "scenes": [{"path": "."}],
        "bands": list(bands),
        "legend": {1: {"name": "a", "colour": "#000000"}},
    }
    return replace(parse_run(raw, Path()), scenes=archives, layers=layers)


def archive_of(folder: Path) -> Archive:
    return Archive(str(folder), pattern="{scene}_{date}_{band}.tif")


def refuse() -> SparkSession:
    raise AssertionError("nothing is to do: no session may be started")


def test_the_wrapper_gives_what_the_source_reads(tmp_path: Path, spark: SparkSession) -> None:
    archive = archive_of(make_archive(tmp_path / "in"))
    dem = LayerConf(
        str(write_raster(tmp_path / "dem.tif", np.ones((10, 10), "int16"), GRID)), "elevation"
    )
    run, out = make_run(archive, bands=("red", "elevation"), layers=(dem,)), tmp_path / "out"
    result = index(StageContext(run, out, Selection(), lambda: spark))
    assert (result.done, result.bad, result.skipped) == (5, 0, 0)
    source = registry.source_of(archive)
    expected = [source.read(i, archive, ("red",)) for i in source.items(archive)] + [
        read_layer(dem)
    ]
    assert store.read_table(out, "scenes").sort_by("scene_id").equals(scenes_to_table(expected))
    again = index(StageContext(run, out, Selection(where="cloud < 5"), refuse))
    assert (again.skipped, again.done, again.bad) == (5, 0, 0)


def test_the_table_is_geoparquet(tmp_path: Path, spark: SparkSession) -> None:
    out = tmp_path / "out"
    index(
        StageContext(
            make_run(archive_of(make_archive(tmp_path / "in", 2))), out, Selection(), lambda: spark
        )
    )
    (path,) = (out / "tables" / "scenes").glob("*.parquet")
    geo = json.loads(pq.read_metadata(path).metadata[b"geo"])
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "footprint")
    found = geopandas.read_parquet(path)
    assert found.crs == "OGC:CRS84"
    assert geo["columns"]["footprint"]["bbox"] == pytest.approx(list(found.total_bounds))
    assert list(found.geometry.to_wkb()) == [
        s.footprint for s in scenes_from_table(store.read_table(out, "scenes"))
    ]
    assert shapely.is_valid(found.geometry.to_numpy()).all()


def test_bad_scenes_are_rows_until_they_are_mended(tmp_path: Path, spark: SparkSession) -> None:
    folder, out = make_archive(tmp_path / "in"), tmp_path / "out"
    whole = (folder / "S_20240602_nir.tif").read_bytes()
    cut_short(folder / "S_20240602_nir.tif", 0.01)
    (folder / "S_20240603_nir.tif").unlink()
    context = StageContext(make_run(archive_of(folder)), out, Selection(), lambda: spark)
    result = index(context)
    assert (result.done, result.bad) == (2, 2)
    rows = ledger.read_latest(out, "index")
    assert rows["S_20240602"].status == "bad"
    assert "S_20240602_nir.tif" in str(rows["S_20240602"].error)
    assert "no band nir; it has red" in str(rows["S_20240603"].error)
    rerun = index(replace(context, spark=refuse))
    assert (rerun.skipped, rerun.bad) == (2, 2)
    assert index(replace(context, selection=Selection(retry_bad=True))).bad == 2
    (folder / "S_20240602_nir.tif").write_bytes(whole)
    mended = index(context)
    assert (mended.done, mended.skipped, mended.bad) == (1, 2, 1)
    assert [k for k, r in ledger.read_latest(out, "index").items() if r.status == "bad"] == [
        "S_20240603"
    ]


def test_the_ledger_has_the_seconds_of_reading(
    tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("lulc.spark.stages.index")
    list_run = module.list_run

    def list_slowly(*arguments: Any) -> Any:
        time.sleep(0.3)
        return list_run(*arguments)

    monkeypatch.setattr(module, "list_run", list_slowly)
    archive, out = archive_of(make_archive(tmp_path / "in", 1)), tmp_path / "out"
    index(StageContext(make_run(archive), out, Selection(), lambda: spark))
    seconds = ledger.read_latest(out, "index")["tables/scenes/part-0.parquet"].seconds
    assert seconds is not None and seconds > 0.3


def test_a_changed_file_is_indexed_again(tmp_path: Path, spark: SparkSession) -> None:
    folder, out = make_archive(tmp_path / "in", 2), tmp_path / "out"
    context = StageContext(make_run(archive_of(folder)), out, Selection(), lambda: spark)
    index(context)
    before = {s.scene_id: s.fingerprint for s in scenes_from_table(store.read_table(out, "scenes"))}
    path = folder / "S_20240601_red.tif"
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))
    changed = index(context)
    assert (changed.done, changed.skipped) == (1, 1)
    after = {s.scene_id: s.fingerprint for s in scenes_from_table(store.read_table(out, "scenes"))}
    assert after["S_20240601"] != before["S_20240601"]
    assert after["S_20240602"] == before["S_20240602"]


def test_items_that_did_not_change_are_not_opened_and_the_table_is_that_of_a_fresh_index(
    tmp_path: Path, spark: SparkSession
) -> None:
    folder = make_archive(tmp_path / "in", 6)
    context = StageContext(
        make_run(archive_of(folder)), tmp_path / "out", Selection(), lambda: spark
    )
    index(context)
    for band in ("red", "nir"):
        (folder / f"S_20240601_{band}.tif").rename(folder / f"S_20240607_{band}.tif")
    cut_short(folder / "S_20240602_red.tif", 0.01)
    index(replace(context, out=tmp_path / "fresh"))
    # Whoever opened one of those that did not change would find nothing in it.
    for day in (3, 4, 5, 6):
        for path in folder.glob(f"S_2024060{day}_*.tif"):
            stat = path.stat()
            path.write_bytes(bytes(stat.st_size))
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    result = index(context)
    assert (result.done, result.skipped, result.bad) == (1, 4, 1)
    assert "1 new, 1 changed and 1 gone items; no other was opened" in result.note
    assert store.read_table(context.out, "scenes") == store.read_table(tmp_path / "fresh", "scenes")
    assert index(replace(context, spark=refuse)).skipped == 5
    (folder / "S_20240603_red.tif").unlink()
    (folder / "S_20240603_nir.tif").unlink()
    # To leave one out no file is opened.
    left_out = index(replace(context, spark=refuse))
    assert (left_out.done, left_out.skipped) == (0, 4)


def test_the_same_scene_twice_counts_once_and_another_of_its_name_is_bad(
    tmp_path: Path, spark: SparkSession
) -> None:
    folder = make_archive(tmp_path / "in", 2)
    other = make_archive(tmp_path / "other", 1)
    os.utime(other / "S_20240601_red.tif", ns=(0, 0))
    result = index(
        StageContext(
            make_run(*map(archive_of, (folder, folder, other))),
            tmp_path / "out",
            Selection(),
            lambda: spark,
        )
    )
    assert (result.done, result.bad) == (2, 1)
    assert "2 repeated" in result.note
    row = ledger.read_latest(tmp_path / "out", "index")["S_20240601"]
    assert row.status == "bad"
    assert str(other / "S_20240601_red.tif") in row.error
    kept = scenes_from_table(store.read_table(tmp_path / "out", "scenes"))[0]
    assert kept.bands[0].href == str(folder / "S_20240601_red.tif")


def test_no_scene_at_all_is_an_input_error(tmp_path: Path, spark: SparkSession) -> None:
    folder, out = make_archive(tmp_path / "in", 1), tmp_path / "out"
    with pytest.raises(
        InputError, match=r"(?s)none of 1 items.*S_20240601: .*no band swir16; it has"
    ):
        index(
            StageContext(
                make_run(archive_of(folder), bands=("swir16",)), out, Selection(), lambda: spark
            )
        )
    assert ledger.read_latest(out, "index")["S_20240601"].status == "bad"
    with pytest.raises(InputError, match=r"no scenes in .*scenes\.pattern"):
        index(
            StageContext(
                make_run(Archive(str(folder), pattern="x{band}.tif")), out, Selection(), refuse
            )
        )


def test_read_items_keeps_order_and_goes_on_after_a_fault(tmp_path: Path) -> None:
    archive = Archive(str(make_archive(tmp_path, 1)))
    cut_short(tmp_path / "S_20240601_nir.tif", 0.01)
    items = list(registry.SOURCES["geotiff"].items(archive))
    listed = [ListedItem(0, item.path, item.key, item.text) for item in items]
    rows = read_items(listed, Reading((archive,), ("geotiff",), ("b1",)))
    assert [(r["key"], r["error"] is None) for r in rows] == [
        ("S_20240601_nir", False),
        ("S_20240601_red", True),
    ]


LEFT: list[weakref.ref[Any]] = []


class Knot:
    """Something that only the garbage collector frees."""

    def __init__(self) -> None:
        self.me = self


def leave_garbage(_: dict[str, Any]) -> list[dict[str, Any]]:
    import torch  # noqa: F401 - many objects that stay

    found = {
        "earlier": len(LEFT),
        "alive": sum(ref() is not None for ref in LEFT),
        "frozen": gc.get_freeze_count(),
    }
    LEFT.append(weakref.ref(Knot()))
    return [found]


def test_workers_do_not_go_through_all_modules_after_every_task_and_still_collect_garbage(
    spark: SparkSession,
) -> None:
    context = StageContext(make_run(), Path(), Selection(), lambda: spark)
    schema = pa.schema([(name, pa.int64()) for name in ("earlier", "alive", "frozen")])
    rows = map_keys(context, [{"key": i} for i in range(8)], leave_garbage, schema, "test")
    later = [row for row in rows if row["earlier"]]
    assert len(later) >= 6  # of eight on two workers
    assert all(row["frozen"] > 50_000 and row["alive"] == 0 for row in later)
