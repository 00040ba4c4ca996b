"""infer.opt of every other task: the predictor against an eager float32 loop, on one core."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from lulc import config
from lulc.inference.predictor import Predictor, load, use_one_core
from lulc.legend import COMMON
from lulc.models.contract import Contract, write_contract
from lulc.models.networks.registry import choose_model
from lulc.models.package import CONTRACT, WEIGHTS
from lulc.models.tasks.registry import TASKS
from lulc.models.tasks.task import Batch

BANDS = ("blue", "green", "red", "nir")
SIDE, SQUARE = 512, 64
DATES = {"change": 2, "series": 8}


def measure(quick: bool) -> dict[str, float]:
    """infer.opt.<task>: pixels per second of processor time, ours ÷ eager float32.

    Windows of 512 pixels; to classify, squares of 64, 32 at once. Networks are the tasks' defaults,
    untrained: their speed does not depend on their weights.
    """
    return {
        f"infer.opt.{task}": _measure(task, 1 if quick else 5)
        for task in TASKS
        if task != "segment"
    }


def _measure(task: str, rounds: int) -> float:
    use_one_core()
    with tempfile.TemporaryDirectory() as name:
        net = _write_model(Path(name), task)
        predictor = load(Path(name))
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 9000, (DATES.get(task, 1), len(BANDS), SIDE, SIDE)).astype(np.uint16)
    days = np.arange(DATES.get(task, 1)) * 30 + 1
    ours, theirs = [], []
    for number in range(rounds + 1):
        start = time.process_time()
        _work(predictor, pixels, days)
        middle = time.process_time()
        _loop(net, predictor, pixels, days)
        if number:
            ours.append(middle - start)
            theirs.append(time.process_time() - middle)
    return statistics.median(theirs) / statistics.median(ours)


def _write_model(folder: Path, task: str) -> nn.Module:
    model = choose_model(None, task)
    mean, std = ((value,) * len(BANDS) for value in (2000.0, 700.0))
    contract = Contract(
        "bench",
        task,
        model.name,
        {"encoder": "resnet18"},
        BANDS,
        mean,
        std,
        COMMON,
        10.0,
        size=SQUARE,
    )
    torch.manual_seed(0)
    net = model.build(len(BANDS), len(COMMON.classes), **contract.architecture).eval()
    save_file(
        {name: value.contiguous() for name, value in net.state_dict().items()}, folder / WEIGHTS
    )
    write_contract(contract, folder / CONTRACT)
    return net


def _work(predictor: Predictor, pixels: np.ndarray, days: np.ndarray) -> None:
    given = (
        pixels,
        np.ones((len(pixels), SIDE, SIDE), bool),
        (1.0,) * len(BANDS),
        (0.0,) * len(BANDS),
        config.PredictConf(window=SIDE),
    )
    does: dict[str, Callable[[], object]] = {
        "pixels": lambda: predictor.segment(*given, days=days.tolist()),
        "boxes": lambda: predictor.detect(*given),
    }
    does.get(predictor.task.kind, lambda: predictor.classify(*given))()


@torch.inference_mode()
def _loop(net: nn.Module, predictor: Predictor, pixels: np.ndarray, days: np.ndarray) -> None:
    # As a plain script does it: standardise the pixels, call the network, take the classes.
    task, ready = predictor.task, ((torch.from_numpy(pixels).float() - 2000) / 700)[None]
    if task.kind in ("image", "tags"):
        squares = (
            ready[0].unfold(-2, SQUARE, SQUARE).unfold(-2, SQUARE, SQUARE).permute(2, 3, 0, 1, 4, 5)
        )
        ready = squares.reshape(-1, len(pixels), len(BANDS), SQUARE, SQUARE)
    for part in torch.split(ready, 32):
        count, dates = part.shape[:2]
        valid, part_days = (
            torch.ones(count, dates, *part.shape[-2:], dtype=torch.bool),
            torch.from_numpy(days).expand(count, dates),
        )
        samples = Batch(part, valid, part_days, torch.zeros(count), torch.ones(count))
        task.forward(net, task.inputs(samples)).argmax(1)
