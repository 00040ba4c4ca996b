"""A bare training loop on the samples of a run, in memory."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch.nn import functional

from lulc.config import Config
from lulc.models.contract import read_contract
from lulc.models.device import autocast
from lulc.models.package import CONTRACT
from lulc.tables.arrays import array_from
from tests.benchmarks._part import Part, standardise
from tests.benchmarks.infer import build_net

_SPLITS = ("train", "validation")


def train(samples: Path, part: Part, config: Config, threads: int) -> float:
    """Train as many steps on a run's samples, and return the seconds that it took."""
    torch.set_num_threads(threads)
    start = time.perf_counter()
    (images, labels), (held_out, _) = (_read_samples(samples / f"split={s}") for s in _SPLITS)
    net = build_net(read_contract(part.model / CONTRACT)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, fused=True)
    mixed = autocast(config.train.precision, torch.device("cpu"))  # the run's own type
    for _ in range(config.train.epochs):
        net.train()
        for chosen in torch.randperm(len(images)).split(config.train.batch):
            with mixed:
                logits = net(standardise(torch.from_numpy(images[chosen.numpy()])))
            loss = functional.cross_entropy(logits.float(), labels[chosen], ignore_index=255)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.inference_mode(), mixed:
            for first in range(0, len(held_out), config.train.batch):
                some = held_out[first : first + config.train.batch]
                net(standardise(torch.from_numpy(some))).argmax(1)
    return time.perf_counter() - start


def _read_samples(folder: Path) -> tuple[np.ndarray, torch.Tensor]:
    # Images (N, C, H, W) uint16 of the first date, and classes (N, H, W) from 0; 255: none.
    rows = [
        row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    images = np.stack([array_from(row, "pixels")[0] for row in rows])
    labels = np.stack([array_from(row, "label") for row in rows])
    positions = np.where(labels == 255, 255, labels - 1)
    return images, torch.from_numpy(positions).long()
