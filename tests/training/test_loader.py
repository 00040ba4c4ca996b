"""Each epoch yields every sample once, in equal steps, in seeded order; pickles never open."""

from __future__ import annotations

import itertools
import pickle
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lulc.errors import InputError
from lulc.tables import schemas
from lulc.tables.arrays import array_columns, array_from, pack, unpack
from lulc.training import loader
from lulc.training._petastorm import PICKLED_SCHEMA, make_batch_reader, make_reader


def _row(number: int, side: int = 16, bands: Sequence[str] = ("red", "nir")) -> dict[str, object]:
    rng = np.random.default_rng(number)
    image = rng.integers(0, 65535, (2, len(bands), side, side), np.uint16)
    arrays = array_columns("pixels", image, "delta")
    arrays |= array_columns("label", rng.integers(0, 4, (side, side), np.uint8), "raw")
    arrays |= {"valid": pack(rng.random((2, side, side)) > 0.2), "bands": list(bands)}
    arrays |= {"scales": [0.5] * len(bands), "offsets": [-1.0] * len(bands)}
    return dict.fromkeys(schemas.SAMPLES.names) | {"sample_id": f"s{number}"} | arrays


def _write(folder: Path, files: Sequence[Sequence[int]]) -> Path:
    """A samples folder: one file an entry, holding row groups of these sizes."""
    numbers = itertools.count()
    folder.mkdir(parents=True, exist_ok=True)
    for name, sizes in enumerate(files):
        with pq.ParquetWriter(folder / f"{name}.parquet", schemas.SAMPLES) as writer:
            for size in sizes:
                writer.write_table(
                    pa.Table.from_pylist(
                        [_row(next(numbers)) for _ in range(size)], schemas.SAMPLES
                    )
                )
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """29 samples in uneven row groups, several in one file."""
    return _write(tmp_path_factory.mktemp("samples") / "split=train", [[7], [1, 5, 2], [4], [6, 4]])


def _ids(plan: loader.EpochPlan, rank: int, epoch: int, seed: int = 3) -> list[tuple[str, ...]]:
    return [batch.sample_ids for batch in loader.batches(plan, rank, epoch, seed)]


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_every_sample_comes_once_an_epoch_in_equal_steps(folder: Path, ranks: int) -> None:
    plan = loader.plan_epoch(folder, ranks, 8)
    assert plan.rows == 29
    for epoch in range(2):
        found = [_ids(plan, rank, epoch) for rank in range(ranks)]
        assert {len(f) for f in found} == {plan.steps}
        sizes = [{len(b) for b in f} for f in found]
        assert all(min(s) > 0 and max(s) - min(s) <= 1 for s in sizes)
        everything = [i for f in found for b in f for i in b]
        assert sorted(everything) == sorted(f"s{i}" for i in range(29))


def test_the_order_depends_on_seed_epoch_and_ranks_alone(folder: Path) -> None:
    plan = loader.plan_epoch(folder, 2, 8)
    assert _ids(plan, 0, 0) == _ids(loader.plan_epoch(sorted(folder.glob("*.parquet")), 2, 8), 0, 0)
    assert _ids(plan, 0, 0) != _ids(plan, 0, 1)
    assert _ids(plan, 0, 0) != _ids(plan, 0, 0, seed=4)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_a_step_has_the_same_samples_whatever_the_ranks(folder: Path, ranks: int) -> None:
    plan, alone = loader.plan_epoch(folder, ranks, 8), loader.plan_epoch(folder, 1, 8)
    steps = zip(*(loader.rank_steps(plan, rank, 1, 3) for rank in range(ranks)), strict=True)
    found = [
        [(lane, batch.sample_ids) for part in parts for lane, batch in part] for parts in steps
    ]
    assert len(found) == plan.steps
    assert sorted(i for step in found for _, ids in step for i in ids) == sorted(
        f"s{i}" for i in range(29)
    )
    if alone.lanes % ranks == 0:
        assert found == [
            [(lane, batch.sample_ids) for lane, batch in part]
            for part in loader.rank_steps(alone, 0, 1, 3)
        ]


def test_unshuffled_batches_keep_the_order_of_the_files(folder: Path) -> None:
    found = [
        i
        for batch in loader.batches(loader.plan_epoch(folder, 1, 8), 0, 5, 1, shuffle=False)
        for i in batch.sample_ids
    ]
    assert found == [f"s{i}" for i in range(29)]


def test_batches_hold_what_pyarrow_reads(folder: Path) -> None:
    plan = loader.plan_epoch(folder, 1, 5)
    assert plan.layout.bands == ("red", "nir")
    assert (plan.layout.scales, plan.layout.offsets) == ((0.5, 0.5), (-1.0, -1.0))
    rows = {r["sample_id"]: r for r in pq.read_table(folder, partitioning=None).to_pylist()}
    for batch in loader.batches(plan, 0, 0, 0):
        for i, sample_id in enumerate(batch.sample_ids):
            row = rows.pop(sample_id)
            np.testing.assert_array_equal(batch.pixels[i], array_from(row, "pixels"))
            np.testing.assert_array_equal(batch.label[i], array_from(row, "label"))
            np.testing.assert_array_equal(batch.valid[i], unpack(row["valid"], (2, 16, 16)))
        assert (batch.pixels.dtype, batch.valid.dtype, batch.label.dtype) == (
            np.uint16,
            np.bool_,
            np.uint8,
        )
    assert not rows


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    ranks=st.integers(1, 12),
    batch=st.integers(1, 64),
    seed=st.integers(0, 99),
)
def test_any_row_groups_are_shared_out_whole(
    sizes: list[int], ranks: int, batch: int, seed: int
) -> None:
    ranks = min(ranks, len(sizes), batch)
    layout = loader.Layout(
        "segment",
        (),
        (),
        (),
        loader.StoredArray((), "uint8", "raw"),
        loader.StoredArray((), "uint8", "raw"),
    )
    plan = loader.EpochPlan(
        tuple(loader.RowGroup(f"{i}", 0, n) for i, n in enumerate(sizes)), layout, ranks, batch
    )
    seen: list[tuple[str, int]] = []
    shares = []
    for rank in range(ranks):
        groups, slots, rows = loader.arrange(plan, rank, 0, seed, shuffle=True)
        seen += [(groups[s].path, r) for s, r in zip(slots.tolist(), rows.tolist(), strict=True)]
        shares.append(len(slots))
        assert 1 <= plan.steps <= len(slots)
        # Few row groups are open at any place of the order: three
        # would mean that the mixing is unbounded.
        spans = [np.flatnonzero(slots == s)[[0, -1]] for s in range(len(groups))]
        assert (
            max(sum(first <= at <= last for first, last in spans) for at in range(len(slots))) <= 3
        )
    assert sorted(seen) == sorted((str(i), r) for i, n in enumerate(sizes) for r in range(n))
    assert max(shares) - min(shares) <= 1
    assert -(-max(shares) // plan.steps) * ranks <= batch + 2 * ranks


def test_neighbouring_row_groups_mix(tmp_path: Path) -> None:
    plan = loader.plan_epoch(_write(tmp_path, [[20], [20], [20]]), 1, 10)
    mixed = [{int(i[1:]) // 20 for i in batch} for batch in _ids(plan, 0, 0)]
    assert sum(len(m) > 1 for m in mixed) >= 3


def test_more_ranks_than_row_groups_or_batch_is_refused_with_the_numbers(folder: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"8 ranks cannot share the 29 samples in 7 row groups .* "
        r"set train\.ranks to 7 or less",
    ):
        loader.plan_epoch(folder, 8, 16)
    with pytest.raises(InputError, match=r"set train\.ranks to 2 or less"):
        loader.plan_epoch(folder, 3, 2)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sample"):
        loader.plan_epoch(tmp_path, 1, 4)


@pytest.mark.parametrize("change", [{"side": 32}, {"bands": ("red", "swir16")}])
@pytest.mark.parametrize("apart", [True, False])
def test_samples_of_another_layout_are_refused(
    tmp_path: Path, change: dict[str, object], apart: bool
) -> None:
    rows = [_row(0), _row(1, **change)]  # type: ignore[arg-type]
    for name, part in enumerate([rows[:1], rows[1:]] if apart else [rows]):
        pq.write_table(pa.Table.from_pylist(part, schemas.SAMPLES), tmp_path / f"{name}.parquet")
    with pytest.raises(InputError, match="rebuild"):
        list(loader.batches(loader.plan_epoch(tmp_path, 1, 1), 0, 0, 0))


def test_what_is_kept_is_not_read_again_and_changes_nothing(tmp_path: Path) -> None:
    folder = _write(tmp_path, [[7], [1, 5, 2], [4], [6, 4]])
    plan = loader.plan_epoch(folder, 1, 8)
    read = [list(loader.rank_steps(plan, 0, epoch, 3)) for epoch in range(3)]
    kept = loader.SampleCache(1 << 20)
    again = [list(loader.rank_steps(plan, 0, 0, 3, kept))]
    for path in folder.glob("*.parquet"):
        path.unlink()
    again += [list(loader.rank_steps(plan, 0, epoch, 3, kept)) for epoch in (1, 2)]
    for one, other in zip(read, again, strict=True):
        for parts, same in zip(one, other, strict=True):
            for (lane, batch), (lane_again, batch_again) in zip(parts, same, strict=True):
                assert (lane, batch.sample_ids) == (lane_again, batch_again.sample_ids)
                for name in ("pixels", "valid", "days", "label", "weight"):
                    np.testing.assert_array_equal(getattr(batch, name), getattr(batch_again, name))


def test_no_more_is_kept_than_there_is_room_for(folder: Path) -> None:
    plan = loader.plan_epoch(folder, 1, 8)
    whole = {
        group: next(
            loader.batches(replace(plan, groups=(group,), batch=99), 0, 0, 0, shuffle=False)
        )
        for group in plan.groups
    }
    size = {
        group: sum(v.nbytes for v in vars(b).values() if isinstance(v, np.ndarray))
        for group, b in whole.items()
    }
    for share in (0, 0.3, 0.6):
        room = int(share * sum(size.values()))
        kept = loader.SampleCache(room)
        for epoch in range(3):
            ids = [
                i
                for batch in loader.batches(plan, 0, epoch, 3, cache=kept)
                for i in batch.sample_ids
            ]
            assert sorted(ids) == sorted(f"s{i}" for i in range(29))
        held = sum(size[group] for group in plan.groups if kept.find(group))
        assert held <= room
        # What is left over has no room for any of the others.
        assert all(size[group] > room - held for group in plan.groups if not kept.find(group))


def test_a_value_of_the_wrong_length_is_refused(tmp_path: Path) -> None:
    row = _row(0)
    row["pixels"] = bytes(row["pixels"])[:-2]  # type: ignore[call-overload]
    pq.write_table(pa.Table.from_pylist([row], schemas.SAMPLES), tmp_path / "0.parquet")
    with pytest.raises(InputError, match="a value of pixels has not the 2048 bytes"):
        list(loader.batches(loader.plan_epoch(tmp_path, 1, 1), 0, 0, 0))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path, [[3], [3]]) / "1.parquet"
    damaged = bytearray(path.read_bytes())
    damaged[8:2000] = bytes(1992)
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"1\.parquet, row group 0, cannot be read"):
        list(loader.batches(loader.plan_epoch(tmp_path, 1, 2), 0, 0, 0))


def test_a_stream_left_early_leaves_no_thread(folder: Path) -> None:
    before = threading.active_count()
    batches = loader.batches(loader.plan_epoch(folder, 1, 2), 0, 0, 0)
    next(batches)
    batches.close()
    assert threading.active_count() == before


class _Trap:
    opened = False

    def __reduce__(self) -> tuple[object, ...]:
        return setattr, (_Trap, "opened", True)


@pytest.mark.parametrize("place", ["file", "_common_metadata"])
def test_a_pickled_schema_is_refused_before_it_is_opened(tmp_path: Path, place: str) -> None:
    key = {PICKLED_SCHEMA: pickle.dumps(_Trap())}
    schema = schemas.SAMPLES.with_metadata(key)
    table = pa.Table.from_pylist([_row(0)], schema if place == "file" else schemas.SAMPLES)
    pq.write_table(table, tmp_path / "0.parquet")
    if place != "file":
        pq.write_metadata(schema, tmp_path / place)
    else:
        with pytest.raises(InputError, match="pickled schema"):
            loader.plan_epoch(tmp_path, 1, 1)
    for read in (make_batch_reader, make_reader):
        with pytest.raises(InputError, match="pickled schema"):
            read(f"file://{tmp_path}")
    assert not _Trap.opened


@pytest.mark.parametrize("pool", ["dummy", "thread"])
def test_patched_petastorm_reads_what_pyarrow_reads(folder: Path, pool: str) -> None:
    files = sorted(folder.glob("*.parquet"))
    names = ["sample_id", "pixels$", "label$", "scales"]
    reader = make_batch_reader(
        [f"file://{f}" for f in files],
        schema_fields=names,
        reader_pool_type=pool,
        workers_count=1,
        shuffle_row_groups=False,
    )
    found = list(reader)
    reader.stop()
    reader.join()
    groups = [
        g
        for f in files
        for g in (
            pq.ParquetFile(f).read_row_group(i) for i in range(pq.ParquetFile(f).num_row_groups)
        )
    ]
    assert len(found) == len(groups) == 7
    for batch, table in zip(found, groups, strict=True):
        assert batch.sample_id.tolist() == table["sample_id"].to_pylist()
        assert batch.pixels.tolist() == table["pixels"].to_pylist()
        assert batch.scales.tolist() == table["scales"].to_pylist()


def test_the_patch_leaves_no_trace_in_pyarrow_and_numpy() -> None:
    assert pq.ParquetDataset.__module__.startswith("pyarrow")
    assert not {"pyarrow.filesystem", "pyarrow.hdfs"} & set(sys.modules)
    assert not hasattr(pa, "localfs")
    assert not hasattr(np, "unicode_")
