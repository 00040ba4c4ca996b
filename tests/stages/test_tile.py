"""The tile stage: Spark equals the pure verb; bad scenes are left out; only gaps are redone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lulc import config, runfile
from lulc.chips import blocks
from lulc.chips.chip import Chip
from lulc.chips.cut import cut_block
from lulc.chips.mosaic import ChipSpec
from lulc.errors import InputError, SetupError, UsageError
from lulc.geo.grid import Grid
from lulc.sources import scene
from lulc.sources.scene import Scene
from lulc.spark.context import StageContext
from lulc.spark.stages.tile import tile
from lulc.stages import Selection
from lulc.tables import ledger, store
from tests.helpers.synthetic_scenes import UTM33, cut_short, make_scene, texture

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BANDS = ("red", "nir")


def _run(**changes: Any) -> config.Config:
    raw: dict[str, Any] = {
        "name": "t",
        "scenes": [{"path": "archive"}],
        "bands": BANDS,
        "legend": {1: {"name": "a", "colour": "#000000"}},
        "tiling": {"crs": "EPSG:3035", "resolution": 10, "size": 64, "halo": 16, "block": 2},
        "samples": {"size": 64},
        "periods": [{"name": "june", "start": "2024-06-01", "end": "2024-06-30"}],
        "dates": 2,
        "area": "15.016,47.836,15.028,47.844",
    }
    return runfile.parse_run(raw | changes, Path("/nowhere"))


def _archive(folder: Path) -> list[Scene]:
    # Two dates of one place in two UTM zones, a scene of July by the sun at 15° E, and one that
    # lies elsewhere.
    zone32 = Grid("EPSG:32632", (10.0, 0.0, 948400.0, 0.0, -10.0, 5317000.0), 300, 330)
    elsewhere = UTM33.window(9000, 9000, 100, 100)
    made = []
    for number, (name, grid, day) in enumerate(
        (
            ("a", UTM33, "2024-06-01T10:00"),
            ("b", zone32, "2024-06-30T22:40"),
            ("c", UTM33, "2024-06-30T23:10"),
            ("d", elsewhere, "2024-06-05"),
        )
    ):
        layers = {band: texture(grid, 10 * number + i) for i, band in enumerate(BANDS)}
        for pixels in layers.values():
            pixels[:, :40] = 0
        made.append(make_scene(folder, name, layers, grid, day))
    return made


def _spec(run: config.Config, scenes: list[Scene]) -> ChipSpec:
    return blocks.make_chip_spec(run, [band for scene in scenes for band in scene.bands])


def _chips(out: Path) -> dict[str, Chip]:
    paths = [out / row.path for row in ledger.read_latest(out, "tile").values() if row.path]
    return {row["tile_id"]: Chip.from_row(row) for path in paths for row in store.read_rows(path)}


def test_stage_equals_the_pure_verb_leaves_bad_scenes_out_and_redoes_what_changed(
    tmp_path: Path, spark: SparkSession
) -> None:
    archive, out = _archive(tmp_path / "archive"), tmp_path / "out"
    store.write_table(out, "scenes", scene.scenes_to_table(archive))
    context = StageContext(_run(), out, Selection(), lambda: spark)
    first = tile(context)
    assert (first.skipped, first.bad) == (0, 0)
    assert first.done > 1
    assert first.note.endswith("1 scenes reach no tile; 1 scenes are in no period")

    # The same chips, byte for byte, as the pure verb makes of the same scenes.
    spec = _spec(context.config, archive)
    made = _chips(out)
    june = [s for s in archive if s.scene_id in "ab"]
    cells = {tuple(n // 2 * 2 for n in spec.tiling.parse(tile_id)) for tile_id in made}
    pure = {
        chip.tile_id: chip for cell in cells for chip in cut_block(june, spec, *cell, "june").chips
    }
    assert made.keys() == pure.keys()
    assert all(made[i].to_row() == pure[i].to_row() for i in pure)
    assert {i for chip in made.values() for i in chip.scene_ids} == {"a", "b"}
    assert any(len(chip.datetimes) == 2 for chip in made.values())

    # Nothing to do: Spark is not even asked for.
    again = tile(replace(context, spark=lambda: pytest.fail("Spark was started")))
    assert (again.skipped, again.done) == (first.done + first.empty, 0)

    # A deleted file alone is redone; one whose ledger row was
    # lost with the driver is recorded again.
    files = sorted((out / "tables/chips").glob("*/*.parquet"))
    data = {file.name: file.read_bytes() for file in files}
    files[0].unlink()
    assert tile(context).done == 1
    assert {file.name: file.read_bytes() for file in files} == data
    for file in store.table_folder(out, "ledger").glob("*.parquet"):
        file.unlink()
    adopted = tile(context)
    assert (adopted.done, adopted.bad) == (0, 0)
    recorded = ledger.read_latest(out, "tile").values()
    assert {out / row.path for row in recorded if row.path} == set(files)

    # A scene cut short: some blocks could still be read from it, but it goes out of all of them.
    cut_short(Path(archive[0].bands[1].href), 0.6)
    harmed = [replace(archive[0], fingerprint="a-2"), *archive[1:]]
    store.write_table(out, "scenes", scene.scenes_to_table(harmed))
    without = tile(context)
    assert without.bad == 1
    row = ledger.read_latest(out, "tile")["scene:a"]
    assert (row.status, row.fingerprint) == ("bad", "a-2")
    assert "a_nir.tif band 1" in row.error
    left = _chips(out)
    assert {i for chip in left.values() for i in chip.scene_ids} == {"b"}
    assert (
        len(list((out / "tables/chips").glob("*/*.parquet")))
        == without.done + without.skipped - without.empty
    )
    assert (tile(context).skipped, tile(context).bad) == (without.done + without.empty, 1)

    # Mended, and read again.
    for band, pixels in zip(BANDS, (texture(UTM33, 0), texture(UTM33, 1)), strict=True):
        pixels[:, :40] = 0
        make_scene(tmp_path / "archive", "a", {band: pixels})
    mended = tile(replace(context, selection=Selection(retry_bad=True)))
    assert mended.bad == 0
    assert tile(context).bad == 0
    assert {i for chip in _chips(out).values() for i in chip.scene_ids} == {"a", "b"}

    # A part of the run, and a condition on the scenes.
    part = tile(
        replace(context, selection=Selection(tiles=(next(iter(pure)),), where="scene_id <> 'b'"))
    )
    assert part.done == 1
    with pytest.raises(InputError, match="no scene is left"):
        tile(replace(context, selection=Selection(where="scene_id = 'c'")))


def test_a_condition_that_fails_on_a_scene_is_refused(tmp_path: Path, spark: SparkSession) -> None:
    out = tmp_path / "out"
    store.write_table(out, "scenes", scene.scenes_to_table(_archive(tmp_path / "archive")))
    selection = Selection(where="int(scene_id) > 3")
    with pytest.raises(UsageError, match=r"fails on the values of a scene.*CAST_INVALID_INPUT"):
        tile(StageContext(_run(), out, selection, lambda: spark))


def test_no_scenes_is_an_error_that_names_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lulc index"):
        tile(StageContext(_run(), tmp_path, Selection(), lambda: pytest.fail("Spark was started")))


def test_a_block_of_another_scenes_table_is_refused_before_a_pixel_is_read(tmp_path: Path) -> None:
    archive, out = _archive(tmp_path / "archive"), tmp_path / "out"
    shutil.rmtree(tmp_path / "archive")
    store.write_table(out, "scenes", scene.scenes_to_table(archive))
    run = _run()
    spec = _spec(run, archive)
    recipe = blocks.fingerprint_recipe(spec, run.periods[0])
    found = blocks.fingerprint_scenes(recipe, (0, 0), archive[:2])
    key = {"period": "june", "col": 0, "row": 0, "starts": [0], "stops": [2]}
    key["fingerprint"] = "planned"
    message = rf"planned as planned and is {found} on [\s\S]* scenes table"
    with pytest.raises(SetupError, match=message):
        blocks.tile_block(key, out, spec, run.periods)
