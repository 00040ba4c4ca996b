"""trees.*: mapping by trees against LightGBM's own `predict`, and against the default U-Net."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lightgbm
import numpy as np
import torch

from lulc.inference.predictor import load, use_one_core
from lulc.legend import COMMON
from lulc.models.contract import Contract, write_contract
from lulc.models.networks import trees
from lulc.models.package import CONTRACT, TREES
from lulc.models.tasks.task import Scaling
from tests.benchmarks.infer import BANDS, KINDS, _scene, learn

MEAN, STD = 2000.0, 700.0
ONES, ZEROS = (1.0,) * len(BANDS), (0.0,) * len(BANDS)


def measure(quick: bool) -> dict[str, float]:
    """Figures of one core.

    trees.predict: time of LightGBM on a plain array ÷ time of `Predictor.segment` on the image.
    trees.mpix: pixels a second by `Predictor.segment`, in millions.
    trees.unet: time of the default U-Net ÷ that of trees on the same image.
    trees.agree: share of pixels of the same class by both ways.
    """
    use_one_core()
    side, rounds = (256, 1) if quick else (1024, 3)
    pixels, label = _scene(side, 0)
    # The very numbers that `segment` has: LightGBM's thresholds may lie 1e-35 from 0, so that of
    # a pixel that is the mean any rounding decides.
    gain, shift = Scaling(ONES, ZEROS, (MEAN,) * len(BANDS), (STD,) * len(BANDS)).factors()
    planes = torch.from_numpy(pixels.reshape(len(BANDS), -1).astype(np.float32))
    standard = torch.addcmul(shift[:, None], planes, gain[:, None])
    table = np.ascontiguousarray(standard.numpy().T)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = _grow(table[::8], label.ravel()[::8], 10 if quick else 100)
        contract = Contract(
            "bench",
            "segment",
            "boosting",
            {},
            BANDS,
            (MEAN,) * len(BANDS),
            (STD,) * len(BANDS),
            COMMON,
            10.0,
            multiple=1,
        )
        write_contract(contract, folder / CONTRACT)
        (folder / TREES).write_bytes(text)
        ours = load(folder)
        network = load(learn(folder / "unet", 1))
    booster = lightgbm.Booster(model_str=text.decode())
    image = (pixels[None], np.ones((1, side, side), bool), ONES, ZEROS)
    classes, _ = ours.segment(*image)
    bare = booster.predict(table, num_threads=1)
    ids = COMMON.to_id()[np.asarray(bare).argmax(1).astype(np.uint8)]
    bare_s = _seconds(lambda: booster.predict(table, num_threads=1), rounds)
    ours_s = _seconds(lambda: ours.segment(*image), rounds)
    return {
        "trees.predict": bare_s / ours_s,
        "trees.mpix": side**2 / ours_s / 1e6,
        "trees.unet": _seconds(lambda: network.segment(*image), rounds) / ours_s,
        "trees.agree": float((classes.ravel() == ids).mean()),
    }


def _grow(table: np.ndarray, label: np.ndarray, rounds: int) -> bytes:
    params = {"objective": "multiclass", "num_class": KINDS, "num_leaves": 31, "verbosity": -1}
    rows = lightgbm.Dataset(table, label, feature_name=list(BANDS))
    return trees.write_trees(lightgbm.train(params, rows, rounds))


def _seconds(work: Callable[[], object], rounds: int) -> float:
    # CPU time, the best round: other work on the machine disturbs little.
    work()
    taken = []
    with torch.inference_mode():
        for _ in range(rounds):
            start = time.process_time()
            work()
            taken.append(time.process_time() - start)
    return min(taken)
