"""Which of the GPUs in view a process computes on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lulc.models.device import choose_device, gpus_in_view
from lulc.models.gpus import TaskGpus, find_gpu, own_gpu, work_as_task

FOUR = ("11aa", "22bb", "33cc", "44dd")


@pytest.mark.parametrize(
    ("address", "uuids", "visible", "expected"),
    [
        ("2", FOUR, None, 2),
        # CUDA numbers those that it may see anew, in the order of the variable.
        ("2", FOUR[:2], "2,3", 0),
        ("3", FOUR[:2], "2, 3", 1),
        ("0", FOUR[:2], "1,0", 1),
        # What the variable does not list by this name is a number of its places.
        ("1", FOUR[:2], "GPU-11aa,GPU-22bb", 1),
        ("0", FOUR[:2], "2,3", 0),
        # A container sees one of the machine's eight.
        ("6", FOUR[:1], None, 0),
        ("6", FOUR[:1], "0", 0),
        # UUIDs, whole or shortened, as nvidia-smi or as torch writes them.
        ("GPU-33cc", FOUR, None, 2),
        ("GPU-33CC", FOUR, None, 2),
        ("GPU-22bb", FOUR[:2], "GPU-11aa,GPU-22", 1),
        ("GPU-44", FOUR, "0,1,2,3", 3),
        ("GPU-ffff", FOUR, None, None),
    ],
)
def test_an_address_is_found_among_the_gpus_in_view(
    address: str, uuids: tuple[str, ...], visible: str | None, expected: int | None
) -> None:
    assert find_gpu(address, uuids, visible) == expected


@given(st.permutations(range(8)), st.integers(1, 8), st.booleans())
def test_different_addresses_are_different_gpus(
    order: list[int], count: int, by_name: bool
) -> None:
    seen = order[:count]
    names = [f"GPU-{number:04}" for number in range(8)] if by_name else [str(n) for n in range(8)]
    uuids = [f"{number:04}" for number in seen]
    visible = ",".join(names[number] for number in seen)
    found = [find_gpu(names[number], uuids, visible) for number in seen]
    assert found == list(range(count))


def test_without_reserved_gpus_tasks_and_ranks_take_those_in_view_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("RANK", "5")
    assert own_gpu(FOUR) == 1
    with work_as_task(TaskGpus(7)):
        assert own_gpu(FOUR) == 3
    with work_as_task(TaskGpus(7, ("GPU-22bb",))):
        assert own_gpu(FOUR) == 1
    with work_as_task(TaskGpus(6, ("GPU-of-another-machine",))):
        assert own_gpu(FOUR) == 2
    assert own_gpu(FOUR) == 1


def test_where_torch_sees_no_gpu_the_processor_computes_whatever_spark_reserves() -> None:
    if torch.cuda.is_available():
        assert choose_device().index < len(gpus_in_view())
        return
    with work_as_task(TaskGpus(0, ("0",))):
        assert own_gpu(()) is None
        assert choose_device() == torch.device("cpu")
