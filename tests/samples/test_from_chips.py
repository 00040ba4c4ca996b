"""Samples: splits and shares, buffers pixel by pixel, the audit, equal files, each window once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from lulc.config import LabelConf, SampleConf
from lulc.errors import InputError, UsageError
from lulc.geo.grid import footprint
from lulc.geo.tiling import Tiling
from lulc.legend import NODATA
from lulc.runfile import parse_run
from lulc.samples import from_chips, leakage, plan, splits, table
from lulc.samples.leakage import AuditedSample, extent_of
from lulc.samples.splits import SPLITS
from lulc.spark.context import StageContext, StageResult
from lulc.spark.stages import samples as stages_samples
from lulc.stages import Selection
from lulc.tables import arrays, ledger, schemas, store
from tests.samples.labelled_chips import (
    COL,
    HALO,
    LEGEND,
    ROW,
    TILING,
    run_here,
    some_counts,
    spec_of,
    write_chips,
    write_labels,
    write_run,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@settings(max_examples=30, deadline=None)
@given(st.integers(9, 120), st.integers(1, 6), st.integers(0, 10_000))
def test_common_classes_are_in_every_split_and_the_shares_hold(
    blocks: int, classes: int, seed: int
) -> None:
    counts = some_counts(blocks, classes, seed)
    conf = SampleConf(seed=seed)
    found = splits.assign(counts, conf)
    assert set(found) == set(counts)
    assert found == splits.assign(dict(reversed(counts.items())), conf)
    all_pixels = np.stack(list(counts.values()))
    held = {
        name: np.sum([counts[b] for b in counts if found[b] == name], axis=0) for name in SPLITS
    }
    scarce = 0
    for k in np.flatnonzero((all_pixels > 0).sum(0) >= 3):
        scarce += sum(np.all(held[name] == 0) or held[name][k] == 0 for name in SPLITS)
    assert scarce == 0
    # One block can be off target; a few large ones may have to be where a rare class is.
    slack = (2 if blocks < 60 else 1) * all_pixels.sum(1).max() / all_pixels.sum() + 0.01
    for name, share in splits.split_shares(conf).items():
        assert abs(held[name].sum() / all_pixels.sum() - share) <= slack


def test_the_seed_decides_the_split() -> None:
    counts = some_counts(60, 3, 1)
    found = [splits.assign(counts, SampleConf(seed=seed)) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_a_split_without_a_share_gets_nothing() -> None:
    assert set(
        splits.assign(some_counts(20, 3, 0), SampleConf(validation=0.0, test=0.2)).values()
    ) == {"train", "test"}
    with pytest.raises(UsageError, match=r"0\.6.*0\.4"):
        splits.assign(some_counts(20, 3, 0), SampleConf(validation=0.6, test=0.4))


@settings(max_examples=20, deadline=None)
@given(st.integers(12, 80), st.integers(2, 5), st.integers(0, 10_000))
def test_every_block_is_tested_in_one_fold(blocks: int, folds: int, seed: int) -> None:
    counts = some_counts(blocks, 3, seed)
    confs = [SampleConf(folds=folds, fold=i, seed=seed) for i in range(folds)]
    dealt = [splits.assign(counts, conf) for conf in confs]
    tested = [block for found in dealt for block, name in found.items() if name == "test"]
    assert sorted(tested) == sorted(counts)
    for found in dealt:
        assert set(found) == set(counts)
        assert set(found.values()) == set(SPLITS)
    # Likewise what lies nowhere.
    loose = [splits.split_in_order(range(blocks), conf) for conf in confs]
    assert sorted(i for found in loose for i in found["test"]) == list(range(blocks))
    assert all(
        sorted(i for part in found.values() for i in part) == list(range(blocks)) for found in loose
    )


@given(st.integers(2, 40), st.integers(1, 5), st.integers(0, 10_000))
def test_weights_make_classes_or_ground_count_the_same(
    samples: int, classes: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    one = np.eye(classes)[rng.integers(classes, size=samples)] * rng.integers(1, 99, (samples, 1))
    weights = splits.balance_weights(one, range(samples), "class")
    held = [weights[one.argmax(1) == k].sum() for k in range(classes) if one[:, k].any()]
    np.testing.assert_allclose(held, held[0])
    blocks = rng.integers(5, size=samples).tolist()
    weights = splits.balance_weights(one, blocks, "area")
    np.testing.assert_allclose(
        [weights[np.array(blocks) == b].sum() for b in set(blocks)], samples / len(set(blocks))
    )
    assert weights.mean() == pytest.approx(1)
    np.testing.assert_array_equal(splits.balance_weights(one, blocks, "none"), 1)


def test_a_pixel_is_as_long_as_it_is_on_the_ground() -> None:
    conf = SampleConf(size=16, block=1)
    at_equator, far_north = splits.pixel_metres(
        Tiling("6933-10m-512", "EPSG:6933", 10.0, 512), [(0, 0), (0, -40_000)], conf
    ).values()
    # EPSG:6933 is true to scale at 30 degrees: larger on the
    # ground at the equator, smaller further north.
    assert at_equator[0] == pytest.approx(11.54, abs=0.05)
    assert at_equator[0] * at_equator[1] == pytest.approx(100, abs=0.2)
    assert far_north[0] < 7
    assert far_north[0] * far_north[1] == pytest.approx(100, abs=0.5)
    degrees = splits.pixel_metres(
        Tiling("deg", "EPSG:4326", 0.001, 64), [(0, -3_750)], conf
    )  # at 60 degrees north
    assert degrees[0, -3_750] == pytest.approx((55.8, 111.4), abs=0.1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([5.0, 60.0, 175.0, 400.0]), st.integers(1, 2))
def test_labels_of_different_splits_keep_the_buffer(seed: int, buffer: float, block: int) -> None:
    conf = SampleConf(size=16, block=block, buffer=buffer, seed=seed)
    rng = np.random.default_rng(seed)
    side = 6
    metres = dict.fromkeys([(c, r) for c in range(side) for r in range(side)], (10.0, 12.5))
    assigned = {b: str(rng.choice(SPLITS, p=[0.5, 0.25, 0.25])) for b in metres}
    around = splits.find_fences(assigned, metres, conf)
    owner = np.full((side * block * 16, side * block * 16), -1)
    places = []
    for row in range(side * block):
        for col in range(side * block):
            home = splits.split_cell(col, row, conf)
            kept = splits.outside_fences(col, row, around.get(home, []), conf)
            owner[row * 16 : row * 16 + 16, col * 16 : col * 16 + 16] = np.where(
                kept, SPLITS.index(assigned[home]), -1
            )
            extent = extent_of(np.where(kept, 1, NODATA), NODATA)
            places.append(AuditedSample(f"{col}_{row}", assigned[home], col, row, extent))
    rows, cols = (n.ravel() for n in np.indices(owner.shape))
    for split in range(1, 3):
        mine = np.flatnonzero(owner.ravel() == split)
        for other in np.flatnonzero((owner.ravel() != split) & (owner.ravel() >= 0))[
            :: 1 + seed % 37
        ]:
            if mine.size:
                gap_x = np.maximum(abs(cols[mine] - cols[other]) - 1, 0) * 10.0
                gap_y = np.maximum(abs(rows[mine] - rows[other]) - 1, 0) * 12.5
                assert np.hypot(gap_x, gap_y).min() >= buffer
    assert (owner == 2).sum() == sum(s == "test" for s in assigned.values()) * (16 * block) ** 2
    leakage.audit(places, metres, conf)


def test_the_audit_names_a_planted_leak() -> None:
    conf = SampleConf(size=16, block=1, buffer=100.0)
    metres = dict.fromkeys([(c, r) for c in range(9) for r in range(9)], (10.0, 10.0))
    label = np.full((16, 16), 1, np.uint8)
    label[:, 6:] = NODATA  # 10 px from the eastern side: 100 m
    places = [
        AuditedSample("a", "train", 0, 0, extent_of(label, NODATA)),
        AuditedSample("b", "test", 1, 0),
        AuditedSample("c", "train", 5, 5),
    ]
    leakage.audit(places, metres, conf)
    label[3, 6] = 1
    with pytest.raises(
        InputError, match=r"b \(test\) and a \(train\) have labels 90\.0 m apart.*100 m"
    ):
        leakage.audit(
            [AuditedSample("a", "train", 0, 0, extent_of(label, NODATA)), *places[1:]], metres, conf
        )
    with pytest.raises(InputError, match=r"d \(validation\) and b \(test\) have labels 0\.0 m"):
        leakage.audit([*places, AuditedSample("d", "validation", 2, 1)], metres, conf)
    with pytest.raises(InputError, match="sample c occurs twice"):
        leakage.audit([*places, AuditedSample("c", "test", 7, 7)], metres, conf)
    with pytest.raises(InputError, match="one window"):
        leakage.audit([*places, AuditedSample("e", "test", 5, 5)], metres, conf)


@pytest.fixture
def spec(tmp_path: Path) -> from_chips.SampleSpec:
    write_labels(tmp_path / "labels.tif", 4, 4)
    return spec_of(tmp_path, buffer=50.0)


def test_a_window_counts_what_its_sample_holds(spec: from_chips.SampleSpec) -> None:
    block = write_chips(spec.out, "all", (0, 0), 2, 7)
    rows = from_chips.scan_labels({"path": block.path, "windows": []}, spec)
    assert len(rows) == 4 * 4
    left, top = COL * 64, ROW * 64
    fence = splits.Fence(left + 32, top, left + 64, top + 32, (10.0, 10.0))
    places = [from_chips.window_key(row, [fence]) for row in rows]
    fenced = from_chips.scan_labels({"path": block.path, "windows": places}, spec)
    key = {"split": "train", "name": "00000", "fingerprint": "f" * 16, "windows": places[::-1]}
    (entry,) = from_chips.write_samples(key, spec)
    made = pq.read_table(spec.out / entry.path, columns=schemas.SAMPLES.names, partitioning=None)
    assert made.schema.equals(schemas.SAMPLES)
    assert made["sample_id"].to_pylist() == [table.sample_id(row) for row in reversed(rows)]
    by_id = {row["sample_id"]: row for row in made.to_pylist()}
    codes = rasterio.open(spec.labels.path).read(1)
    chip_rows = {row["tile_id"]: row for row in pq.read_table(spec.out / block.path).to_pylist()}
    for row, before in zip(fenced, rows, strict=True):
        sample = by_id[table.sample_id(row)]
        label = arrays.array_from(sample, "label")
        kept = splits.outside_fences(row["col"], row["row"], [fence], spec.samples)
        y, x = row["row"] * 32 - top, row["col"] * 32 - left
        seen = np.ones((32, 32), bool)
        if x % 64 == 0:
            seen[:, :16] = False  # no date has imagery there
        expected = np.where(kept & seen, codes[y : y + 32, x : x + 32], NODATA)
        np.testing.assert_array_equal(label, expected)
        assert (
            sample["class_counts"]
            == row["counts"]
            == [int((expected == i).sum()) for i in LEGEND.ids]
        )
        assert (
            sum(before["counts"]) + before["unobserved"]
            == (codes[y : y + 32, x : x + 32] != NODATA).sum()
        )
        np.testing.assert_array_equal(
            np.frombuffer(row["extent"], np.int16).reshape(2, 32), extent_of(label, NODATA)
        )
        chip = chip_rows[sample["tile_id"]]
        whole = arrays.array_from(chip, "pixels")
        at = (
            slice(None),
            slice(None),
            slice(HALO + y % 64, HALO + y % 64 + 32),
            slice(HALO + x % 64, HALO + x % 64 + 32),
        )
        np.testing.assert_array_equal(arrays.array_from(sample, "pixels"), whole[at])
        assert arrays.grid_from(sample).transform[2::3] == ((x + left) * 10, -(y + top) * 10)
        assert sample["clear"] == pytest.approx(seen.mean())


def test_a_file_that_stands_is_taken_over_not_written_again(spec: from_chips.SampleSpec) -> None:
    block = write_chips(spec.out, "all", (0, 0), 1, 7)
    rows = from_chips.scan_labels({"path": block.path, "windows": []}, spec)
    key = {
        "split": "test",
        "name": "00003",
        "fingerprint": "f" * 16,
        "windows": [from_chips.window_key(row, []) for row in rows],
    }
    (first,) = from_chips.write_samples(key, spec)
    before = (spec.out / first.path).stat()
    (second,) = from_chips.write_samples(key, spec)
    assert (spec.out / first.path).stat() == before
    assert first == dataclasses.replace(second, finished=first.finished)
    assert first.key == "test/00003"
    footer = json.loads(pq.read_schema(spec.out / first.path).metadata[b"lulc"])
    assert footer["fingerprint"] == "f" * 16
    bytes_ = (spec.out / first.path).read_bytes()
    (spec.out / first.path).unlink()
    from_chips.write_samples(key, spec)
    assert (spec.out / first.path).read_bytes() == bytes_


def elsewhere(path: Path) -> LabelConf:
    write_labels(path, 1, 1)
    with rasterio.open(path, "r+") as file:
        file.transform = Affine.translation(50_000, 0) @ file.transform
    return LabelConf(str(path))


def in_swapped_degrees(path: Path) -> LabelConf:
    lon, lat = footprint(TILING.grid(COL, ROW)).centroid.coords[0]
    shape = shapely.Point(lat, lon).buffer(0.1)
    geopandas.GeoDataFrame({"kind": [1]}, geometry=[shape], crs=4326).to_file(path)
    return LabelConf(str(path), column="kind")


@pytest.mark.parametrize(
    ("name", "make"), [("a.tif", elsewhere), ("a.geojson", in_swapped_degrees)]
)
def test_labels_that_meet_no_tile_are_told_with_both_places(
    spec: from_chips.SampleSpec, name: str, make: Callable[[Path], LabelConf]
) -> None:
    block = write_chips(spec.out, "all", (0, 0), 2, 7)
    spec = dataclasses.replace(spec, labels=make(spec.out / name))

    places = r"lie at longitude .*, the tiles at longitude 14\.9"
    with pytest.raises(InputError, match=rf"{name} give no pixel of 4 tiles a class.*{places}"):
        plan.plan_windows(spec, [block.path], "f" * 16, run_here)


def a_run(folder: Path, **settings: Any) -> Any:
    raw = {
        "name": "made",
        "scenes": [{"path": "."}],
        "bands": ["b", "g", "r"],
        "legend": {c.id: {"name": c.name, "colour": c.colour} for c in LEGEND.classes},
        "tiling": {"crs": TILING.crs, "resolution": 10, "size": 64, "halo": HALO, "block": 2},
        "periods": [{"name": "all"}, {"name": "later"}],
        "labels": {"path": "labels.tif"},
        "samples": {"size": 32, "block": 1, "buffer": 50, "validation": 0.2, "test": 0.2}
        | settings,
    }
    return parse_run(raw, folder)


def make_context(folder: Path, spark: Any, **settings: Any) -> StageContext:
    return StageContext(a_run(folder, **settings), folder, Selection(), spark)


def no_spark() -> Any:
    raise AssertionError("nothing is to be done, yet Spark was asked for")


def written(out: Path) -> dict[str, bytes]:
    folder = out / "tables" / "samples"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, spark: SparkSession
) -> tuple[Path, StageResult]:
    """A folder in which the stage has run on 4 x 4 tiles in two periods."""
    out = tmp_path_factory.mktemp("stage")
    ledger.append_ledger(out, write_run(out))
    return out, stages_samples.samples(make_context(out, lambda: spark))


def test_spark_writes_what_the_pure_verb_cuts_every_window_once(
    stage: tuple[Path, StageResult],
) -> None:
    out, result = stage
    run = a_run(out)
    spec = from_chips.SampleSpec(out, run.name, TILING, run.make_legend(), run.labels, run.samples)
    found = {
        row["sample_id"]: row | {"split": split}
        for split in SPLITS
        for row in read_split(out, split)
    }
    assert len(found) == sum(len(read_split(out, split)) for split in SPLITS)
    homes = {tuple(map(int, row["block"].split("_"))): row["split"] for row in found.values()}
    metres = splits.pixel_metres(TILING, homes, run.samples)
    around = splits.find_fences(homes, metres, run.samples)
    missed = 0
    for block in ledger.read_latest(out, "tile").values():
        windows = from_chips.scan_labels({"path": block.path, "windows": []}, spec)
        for group, chip in enumerate(pq.read_table(out / block.path).to_pylist()):
            mine = [w for w in windows if w["row_group"] == group and sum(w["counts"])]
            places = [
                from_chips.window_key(
                    w, around.get(splits.split_cell(w["col"], w["row"], run.samples), [])
                )
                for w in mine
            ]
            for row in from_chips.cut_samples(chip, places, spec):
                if sum(row["class_counts"]) == 0:
                    missed += 1
                    assert row["sample_id"] not in found
                else:
                    assert found.pop(row["sample_id"]) == row | {
                        "split": homes[tuple(map(int, row["block"].split("_")))]
                    }
    assert not found
    assert f"{missed} windows with too few" in result.note or not missed
    assert "pixels within the buffer left out" in result.note
    for split in SPLITS:
        sizes = [
            pq.read_metadata(path).num_rows
            for path in (out / "tables/samples" / f"split={split}").glob("*.parquet")
        ]
        assert len(sizes) >= 3
        assert max(sizes) - min(sizes) <= 1
        assert all(
            pq.read_metadata(p).num_row_groups == 1
            for p in (out / "tables/samples" / f"split={split}").glob("*.parquet")
        )


def read_split(out: Path, split: str) -> list[dict[str, Any]]:
    files = sorted((out / "tables/samples" / f"split={split}").glob("*.parquet"))
    return [row for file in files for row in store.read_rows(file, schemas.SAMPLES.names)]


def test_a_second_run_does_nothing_and_a_lost_file_is_made_alone(
    stage: tuple[Path, StageResult], spark: SparkSession
) -> None:
    out, first = stage
    before = written(out)
    assert first.done == len(before)
    again = stages_samples.samples(make_context(out, no_spark))
    assert (again.skipped, again.done) == (len(before), 0)
    lost = out / "tables" / "samples" / sorted(before)[1]
    lost.unlink()
    mended = stages_samples.samples(make_context(out, lambda: spark))
    assert (mended.skipped, mended.done) == (len(before) - 1, 1)
    assert written(out) == before


def test_another_seed_replaces_every_file(
    stage: tuple[Path, StageResult], spark: SparkSession
) -> None:
    out, _ = stage
    before = written(out)
    other = stages_samples.samples(make_context(out, lambda: spark, seed=1, buffer=0))
    after = written(out)
    assert not set(before) & set(after)
    assert other.done == len(after)
    assert stages_samples.samples(make_context(out, no_spark, seed=1, buffer=0)).skipped == len(
        after
    )


def test_nothing_to_learn_from_is_said_with_the_counts(
    stage: tuple[Path, StageResult], spark: SparkSession
) -> None:
    out, _ = stage
    with pytest.raises(
        InputError, match=r"no labelled pixel is left to train on: train 0 samples.*buffer"
    ):
        stages_samples.samples(make_context(out, lambda: spark, buffer=100_000))
    with pytest.raises(UsageError, match="add `labels:`"):
        stages_samples.samples(
            StageContext(dataclasses.replace(a_run(out), labels=None), out, Selection(), no_spark)
        )
