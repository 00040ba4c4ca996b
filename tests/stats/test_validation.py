"""Maps against held-out samples: the tables equal a plain comparison of the two arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lulc.errors import InputError
from lulc.geo.tiling import Tiling
from lulc.legend import NODATA, LandClass, Legend
from lulc.runfile import parse_run
from lulc.spark.context import StageContext
from lulc.spark.stages.evaluate import evaluate
from lulc.stages import Selection
from lulc.stats import confusion as stats_confusion
from lulc.stats import validation
from lulc.stats.confusion import summarise
from lulc.tables import ledger, schemas, store
from lulc.tables.arrays import array_columns, grid_columns
from lulc.tables.files import write_atomic

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LEGEND = Legend("made", tuple(LandClass(i, f"class {i}", "#000000") for i in (1, 2, 5)))
TILING = Tiling("32633-10m-64", "EPSG:32633", 10.0, 64)
COL, ROW, BLOCK, SIZE = 780, -9376, 2, 32
IDS = np.array([1, 2, 5, NODATA], np.uint8)


def write_maps(out: Path) -> dict[tuple[int, int], np.ndarray]:
    """The classes of 4 x 2 tiles as predictions of two blocks; the last tile has none."""
    rng = np.random.default_rng(1)
    maps = {
        (COL + c, ROW + r): rng.choice(IDS, (64, 64), p=[0.5, 0.3, 0.15, 0.05])
        for r in range(2)
        for c in range(4)
    }
    for first in (COL, COL + 2):
        rows = []
        for (col, row), classes in maps.items():
            if first <= col < first + 2 and (col, row) != (COL + 3, ROW + 1):
                says = {
                    "tile_id": TILING.tile_id(col, row),
                    "period": "all",
                    "model": "unet/3",
                    "legend": "made",
                }
                arrays = array_columns("classes", classes, "delta")
                rows.append(says | grid_columns(TILING.grid(col, row)) | arrays)
        path = f"tables/predictions/all.{first}_{ROW}.{first:016x}.parquet"
        store.write_rows(out / path, rows, schemas.PREDICTIONS, {})
        key = f"all/{TILING.name}/{first}_{ROW}"
        ledger.append_ledger(out, [ledger.LedgerRow("predict", key, f"{first:016x}", path=path)])
    maps[COL + 3, ROW + 1][:] = NODATA
    return maps


def write_samples(out: Path) -> dict[str, list[tuple[int, int, np.ndarray]]]:
    """Every window of the 4 x 2 tiles in random order: two files of test, one of validation."""
    rng = np.random.default_rng(2)
    windows = [
        (int(n) % 8, int(n) // 8, rng.choice(IDS, (SIZE, SIZE))) for n in rng.permutation(32)
    ]
    files = {
        "test/00000": windows[:12],
        "test/00001": windows[12:20],
        "validation/00000": windows[20:],
        "train/00000": windows[:3],
    }
    for key, found in files.items():
        rows = []
        for x, y, label in found:
            grid = TILING.grid(COL, ROW).window(y * SIZE, x * SIZE, SIZE, SIZE)
            says = {
                "sample_id": f"{x}_{y}",
                "tile_id": TILING.tile_id(COL + x // 2, ROW + y // 2),
                "period": "all",
            }
            rows.append(says | grid_columns(grid) | array_columns("label", label, "delta"))
        split, number = key.split("/")
        path = out / f"tables/samples/split={split}/{number}.0.parquet"
        table = pa.Table.from_pylist(rows, schemas.SAMPLES)
        write_atomic(path, lambda beside, table=table: pq.write_table(table, beside))
        ledger.append_ledger(
            out, [ledger.LedgerRow("samples", key, "0", path=str(path.relative_to(out)))]
        )
    ledger.append_ledger(out, [ledger.LedgerRow("samples", ledger.STAGE_KEY, "0")])
    return {"test": windows[:20], "validation": windows[20:]}


def make_context(out: Path, spark: Any) -> StageContext:
    raw = {
        "name": "made",
        "scenes": [{"path": "."}],
        "bands": ["b"],
        "legend": {c.id: {"name": c.name, "colour": c.colour} for c in LEGEND.classes},
        "tiling": {"crs": TILING.crs, "resolution": 10, "size": 64, "block": BLOCK},
        "samples": {"size": SIZE},
    }
    return StageContext(parse_run(raw, out), out, Selection(), spark)


def no_spark() -> Any:
    raise AssertionError("nothing is to be done, yet Spark was asked for")


def test_the_tables_hold_what_a_plain_comparison_gives(tmp_path: Path, spark: SparkSession) -> None:
    with pytest.raises(InputError, match="lulc samples"):
        evaluate(make_context(tmp_path, no_spark))
    windows = write_samples(tmp_path)
    with pytest.raises(InputError, match="lulc predict"):
        evaluate(make_context(tmp_path, no_spark))
    maps = write_maps(tmp_path)
    result = evaluate(make_context(tmp_path, lambda: spark))
    confusion = store.read_table(tmp_path, "confusion").to_pylist()
    accuracy = store.read_table(tmp_path, "accuracy").to_pylist()
    for split, found in windows.items():
        labels = np.stack([label for _, _, label in found])
        classes = np.stack([crop(maps, x, y) for x, y, _ in found])
        expected = stats_confusion.confusion(labels, classes, LEGEND)
        rows = [row for row in confusion if row["split"] == split]
        assert {(r["period"], r["model"]) for r in rows} == {("all", "unet/3")}
        matrix = np.zeros_like(expected)
        for row in rows:
            matrix[
                LEGEND.ids.index(row["label_id"]), (*LEGEND.ids, NODATA).index(row["map_id"])
            ] = row["pixels"]
        np.testing.assert_array_equal(matrix, expected)
        summary = summarise(expected, LEGEND)
        (whole,) = [row for row in accuracy if row["split"] == split and row["class_id"] is None]
        assert (whole["overall_accuracy"], whole["iou"]) == (
            summary.overall_accuracy,
            summary.mean_iou,
        )
        assert [r["f1"] for r in accuracy if r["split"] == split and r["class_id"]] == [
            c.f1 for c in summary.classes
        ]
        if split == "test":
            figures = (
                f"accuracy {summary.overall_accuracy:.3f}, mean IoU {summary.mean_iou:.3f} "
                f"on {summary.pixels:,} test pixels"
            )
            assert result.note.startswith(figures)
    again = evaluate(make_context(tmp_path, no_spark))
    assert (again.skipped, again.done, again.note) == (1, 0, result.note)


def crop(maps: dict[tuple[int, int], np.ndarray], x: int, y: int) -> np.ndarray:
    classes = maps[COL + x // 2, ROW + y // 2]
    return classes[y % 2 * SIZE : y % 2 * SIZE + SIZE, x % 2 * SIZE : x % 2 * SIZE + SIZE]


def test_scores_without_pixels_are_null() -> None:
    matrices = {("all", "m/1", "test"): np.array([[3, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]])}
    rows = validation.accuracy_table(matrices, LEGEND).to_pylist()
    assert [row["iou"] for row in rows] == [0.75, 0.75, None, None]
    assert rows[2]["users_accuracy"] is None
    assert (
        validation.format_accuracy(validation.accuracy_table({}, LEGEND))
        == "no test pixels to compare with"
    )


def test_classes_labelled_and_hardly_mapped_are_named() -> None:
    found = np.array([[950, 0, 0, 0], [40, 1, 0, 0], [9, 0, 0, 0]])
    matrices = {("all", "m/1", "test"): found, ("all", "m/1", "validation"): found[:, ::-1]}
    table = validation.accuracy_table(matrices, LEGEND)
    assert validation.format_accuracy(table) == (
        "accuracy 0.951, mean IoU 0.325 on 1,000 test pixels, "
        "WARNING: hardly mapped class 2 (4.1% of the labels, IoU 0.024)"
    )


def test_classes_that_no_test_pixel_checks_are_named() -> None:
    found = np.array([[90, 10, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    note = validation.format_accuracy(
        validation.accuracy_table({("all", "m/1", "test"): found}, LEGEND)
    )
    names = ", ".join(c.name for c in LEGEND.classes[1:])
    assert note.endswith(f"on 100 test pixels, not checked for lack of test pixels: {names}")


def test_a_map_on_another_grid_is_refused(tmp_path: Path) -> None:
    write_maps(tmp_path)
    path = f"tables/predictions/all.{COL}_{ROW}.{COL:016x}.parquet"
    maps = validation.Maps(
        tmp_path, TILING, BLOCK, LEGEND, {f"all/{TILING.name}/{COL}_{ROW}": path}
    )
    moved = TILING.grid(COL, ROW).window(0, 40, SIZE, SIZE)  # reaches over the tile's edge
    label = array_columns("label", np.ones((SIZE, SIZE), np.uint8), "delta")
    row = {"tile_id": TILING.tile_id(COL, ROW), "period": "all"} | grid_columns(moved) | label
    pq.write_table(pa.Table.from_pylist([row], schemas.SAMPLES), tmp_path / "moved.parquet")
    with pytest.raises(InputError, match=r"780_-9376.*another grid"):
        validation.compare({"split": "test", "path": "moved.parquet"}, maps)
