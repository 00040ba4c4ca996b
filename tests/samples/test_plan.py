"""The plan of samples: as a plain loop over all windows gives it, however tasks are cut."""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lulc.config import LabelConf, SampleConf
from lulc.samples import dealing, from_chips, plan, splits, table, windows
from lulc.samples.splits import SPLITS
from lulc.tables import layout, store
from tests.samples.labelled_chips import LEGEND, TILING, run_here, some_counts, spec_of, write_run

PRINT = "f" * 16


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 16)), max_size=60), st.data())
def test_windows_are_dealt_to_equal_files_in_the_order_of_their_chips(
    chips: list[tuple[int, int]], data: Any
) -> None:
    a_file = data.draw(st.integers(1, 60))
    chosen = []
    for number, some in enumerate(itertools.batched(chips, 3)):
        ordered = sorted(
            (split, int.from_bytes(splits.rank(f"{number}/{n}", 0)), size)
            for n, (split, size) in enumerate(some)
        )
        columns = [np.array(column) for column in zip(*ordered, strict=True)]
        dtypes = {"splits": "i1", "ranks": "u8", "sizes": "i4"}
        row = {n: c.astype(d).tobytes() for (n, d), c in zip(dtypes.items(), columns, strict=True)}
        row["bytes"] = np.full(len(ordered), table.GROUP_BYTES // a_file, "i8").tobytes()
        chosen.append({"number": number, **row})
    expected = defaultdict(list)
    for row in chosen:
        columns = [np.frombuffer(row[name], d) for name, d in dtypes.items()]
        start = 0
        for split, rank, size in zip(*(c.tolist() for c in columns), strict=True):
            expected[SPLITS[split]] += [(rank, row["number"], start + n) for n in range(size)]
            start += size
    for order in (chosen, chosen[::-1]):
        keys = list(plan._deal(order, PRINT, windows.Weighing()))
        for name in SPLITS:
            files = [
                [
                    (task, row)
                    for task, a, b in zip(key["tasks"], key["starts"], key["stops"], strict=True)
                    for row in range(a, b)
                ]
                for key in keys
                if key["split"] == name
            ]
            whole = [(task, row) for _, task, row in sorted(expected[name])]
            assert files == [
                list(some) for some in (table.split_evenly(whole, len(files)) if whole else [])
            ]
            assert len(files) >= min(3, len(whole))
            assert all(len(file) <= a_file for file in files)


@pytest.mark.parametrize(
    "changes",
    [{"buffer": 50.0}, {"buffer": 0.0, "per_class": 9}, {"balance": "class"}, {"balance": "area"}],
)
def test_samples_are_those_of_a_plain_loop_however_tasks_are_cut(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    paths = [str(block.path) for block in write_run(tmp_path)]
    spec = spec_of(tmp_path, min_labelled=0.3, **changes)
    expected = plain_plan(spec, paths)
    assert len(expected) == len(SPLITS)

    for size, ordered in ((1, paths), (3, paths[::-1])):
        with patch.object(plan, "_MIN_TASKS", 1), patch.object(plan, "_MAX_FILES_A_TASK", size):
            keys, note = plan.plan_windows(spec, ordered, PRINT, run_here)
        assert ("beyond samples.per_class" in note) == ("per_class" in changes)
        rows = defaultdict(list)
        for key in pa.Table.from_pylist(keys).to_pylist():
            (row,) = windows.write_planned(key, spec)
            rows[key["split"]] += store.read_rows(tmp_path / str(row.path))
            (tmp_path / str(row.path)).unlink()
        for split, of_split in expected.items():
            found = {row["sample_id"]: row["weight"] for row in rows[split]}
            assert len(found) == len(rows[split])
            assert found == pytest.approx(of_split)
        for file in (tmp_path / layout.kept_folder("samples", PRINT)).rglob("*.parquet"):
            file.unlink()


def plain_plan(spec: from_chips.SampleSpec, paths: list[str]) -> dict[str, dict[str, float]]:
    """Split → id → weight of its samples, from a list of all windows."""
    conf = spec.samples
    rows = [r for p in paths for r in from_chips.scan_labels({"path": p, "windows": []}, spec)]
    labelled = [row for row in rows if sum(row["counts"])]

    def cell(row: dict[str, Any]) -> splits.SplitCell:
        return splits.split_cell(row["col"], row["row"], conf)

    counts: dict[Any, Any] = defaultdict(lambda: np.zeros(len(LEGEND.classes), np.int64))
    for row in labelled:
        counts[cell(row)] += row["counts"]
    split_of = splits.assign(counts, conf)
    fences = splits.find_fences(split_of, splits.pixel_metres(TILING, split_of, conf), conf)
    held = np.array([row["counts"] for row in labelled]) > 0
    most = conf.per_class or 10**9
    quotas = most / np.maximum(held.sum(0), 1)
    even = most * held.any(0).sum() / len(labelled)
    chosen = defaultdict(list)
    keys = defaultdict(list)
    for row in labelled:
        keys[row["path"]].append(from_chips.window_key(row, fences.get(cell(row), [])))
    scans = (from_chips.scan_labels({"path": p, "windows": keys[p]}, spec) for p in keys)
    for final in itertools.chain.from_iterable(scans):
        drawn = int.from_bytes(splits.rank(f"quota/{table.sample_id(final)}", conf.seed)) / 2**64
        enough = sum(final["counts"]) >= max(1, conf.min_labelled * conf.size**2)
        split = split_of[cell(final)]
        of_classes = quotas[np.array(final["counts"]) > 0].max()
        if enough and drawn < (of_classes if split == "train" else even):
            chosen[split].append(final)
    weights = {}
    for split, of_split in chosen.items():
        ids = [table.sample_id(row) for row in of_split]
        cells = [cell(row) for row in of_split]
        balance = conf.balance if split == "train" else "none"
        class_counts = np.array([row["counts"] for row in of_split])
        found = splits.balance_weights(class_counts, cells, balance)
        weights[split] = dict(zip(ids, found.tolist(), strict=True))
    return weights


def test_a_window_beyond_a_quota_is_left_out_by_its_id_alone(tmp_path: Path) -> None:
    conf = SampleConf(size=32, per_class=5)
    spec = from_chips.SampleSpec(tmp_path, "made", TILING, LEGEND, LabelConf(""), conf)
    rows = [
        {
            "tile_id": TILING.tile_id(n, 0),
            "period": "p",
            "col": n,
            "row": 0,
            "counts": [n % 2, 1, 0],
            "split": SPLITS.index("train"),
        }
        for n in range(2000)
    ]
    quotas = windows.Quotas((0.1, 0.02, 0.0), even=0.06)
    taken = [row["col"] for row in rows if windows._is_within(row, quotas, spec)]
    odd = sum(n % 2 for n in taken)
    assert 60 < odd < 140
    assert 5 < len(taken) - odd < 40
    other = dataclasses.replace(spec, samples=dataclasses.replace(conf, seed=1))
    assert taken != [row["col"] for row in rows if windows._is_within(row, quotas, other)]
    tested = [row["col"] for row in rows if windows._is_within(row | {"split": 2}, quotas, spec)]
    assert 40 < sum(n % 2 for n in tested) < 80
    assert 40 < sum(n % 2 == 0 for n in tested) < 80


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 19), st.integers(0, 10_000))
def test_blocks_are_dealt_as_numpy_would(blocks: int, classes: int, seed: int) -> None:
    counts = np.array(list(some_counts(blocks, classes, seed).values()))
    shares, needs = [0.7, 0.15, 0.15], [2.0, 1.0, 1.0]
    dealt = dealing.deal_blocks(counts, shares, needs)
    assert dealt.tolist() == plain_deal(counts.astype(float), np.array(shares), np.array(needs))


def plain_deal(pixels: np.ndarray, share: np.ndarray, need: np.ndarray) -> list[int]:
    """Each block's split, its costs in NumPy."""
    common, by_class = (pixels > 0).sum(0) >= 3, pixels.sum(0)

    def cost(held: np.ndarray, having: np.ndarray) -> np.ndarray:
        missing = ((having == 0) & common).sum(1)
        overall = np.abs(held.sum(1) - share * pixels.sum()) / max(pixels.sum(), 1)
        wanted = np.maximum(share[:, None] * by_class, 1e-9)
        return 10 * missing + overall + need * np.maximum(1 - held / wanted, 0).mean(1)

    held, having = np.zeros((3, pixels.shape[1])), np.zeros((3, pixels.shape[1]), int)
    assigned = np.full(len(pixels), -1)
    for _ in range(12):
        before = assigned.copy()
        for i, block in enumerate(pixels):
            has, old = (block > 0).astype(int), int(assigned[i])
            if old >= 0:
                held[old] -= block
                having[old] -= has
            gain = cost(held + block, having + has) - cost(held, having)
            new = int(gain.argmin())
            new = old if old >= 0 and gain[new] > gain[old] - 1e-12 else new
            held[new] += block
            having[new] += has
            assigned[i] = new
        if (before == assigned).all():
            break
    return assigned.tolist()
