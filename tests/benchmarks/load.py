"""How fast samples reach a training, against a memory map, plain petastorm and a fixed batch."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from lulc.models.device import reused_memory
from lulc.models.networks.registry import MODELS
from lulc.tables import schemas
from lulc.tables.arrays import array_columns, pack
from lulc.training import loader
from lulc.training._petastorm import make_reader

BATCH, GROUP, SHAPE = 16, 128, (1, 6, 128, 128)
_OPTIONS = {"compression": "zstd", "compression_level": 1, "use_dictionary": False}


def measure(quick: bool) -> dict[str, float]:
    """load.ceiling, load.stock and load.stall of PERFORMANCE.md, for 3 layers and for a U-Net.

    Samples are read as in a training: decoded in the first epoch, cached from then on. first:
    nothing cached, as in the first epoch or without room in train.cache. load.stall.map: how long a
    bare memory map stalls the same 3 layers.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = [_scene(seed) for seed in range(4 if quick else 16)]
        image, valid, label = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        _write_samples(folder / "samples", image, valid, label)
        plan = loader.plan_epoch(folder / "samples", 1, BATCH)
        maps = [_map(folder / f"{i}.raw", a) for i, a in enumerate((image, valid, label))]
        kept = loader.SampleCache(1 << 30)
        first = partial(loader.batches, plan, 0, seed=0)
        ours = partial(first, cache=kept)
        mapped = partial(_mapped, maps, plan)
        stock = _stock(folder / "stock", image[:256], valid[:256], label[:256])
        rounds, few = 3 if quick else 7, 10 if quick else 200
        usual = MODELS["unet"].build(SHAPE[1], 9, encoder="resnet18")
        return {
            "load.ceiling": _ratio(partial(_drain, ours), partial(_drain, mapped), rounds),
            "load.ceiling.first": _ratio(partial(_drain, first), partial(_drain, mapped), rounds),
            "load.stock": _ratio(partial(_drain, ours), stock, 3),
            "load.stock.first": _ratio(partial(_drain, first), stock, 3),
            "load.stall": _stall(ours, _small(), few),
            "load.stall.first": _stall(first, _small(), few),
            "load.stall.map": _stall(mapped, _small(), few),
            "load.stall.unet": _stall(ours, usual, 2 if quick else 8),
        }


def _ratio(ours: Callable[[int], float], reference: Callable[[int], float], rounds: int) -> float:
    """Median rate of ours over that of the reference, run in turns after one round to warm up."""
    found = [(ours(e), reference(e)) for e in range(rounds + 1)][1:]
    return statistics.median(a for a, _ in found) / statistics.median(b for _, b in found)


def _drain(epochs: Callable[[int], Iterator[loader.SampleBatch]], epoch: int) -> float:
    """Samples a second in an epoch."""
    count, start = 0, time.perf_counter()
    for batch in epochs(epoch):
        count += len(batch.label)
    return count / (time.perf_counter() - start)


def _scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A row group of samples with a scene's texture: smooth over tens of pixels, with noise."""
    rng, count = np.random.default_rng(seed), GROUP
    _, bands, height, width = SHAPE
    coarse = rng.normal(2000, 600, (count, bands, height // 16, width // 16)).astype(np.float32)
    image = coarse.repeat(16, 2).repeat(16, 3)
    for axis in (2, 3):
        image = sum(np.roll(image, s, axis) for s in range(-8, 8)) / 16  # type: ignore[assignment]
    image += rng.normal(0, 15, image.shape).astype(np.float32)
    label = (image[:, 0] // 500).clip(0, 8).astype(np.uint8)
    valid = np.ones((count, 1, height, width), bool)
    valid[::7, :, :40] = False
    return np.clip(image, 0, 65535).astype(np.uint16)[:, None], valid, label


def write_scenes(folder: Path, group: int) -> None:
    """A scene's samples, in row groups of so many."""
    _write_samples(folder, *_scene(0), group)


def _write_samples(
    folder: Path, image: np.ndarray, valid: np.ndarray, label: np.ndarray, group: int = GROUP
) -> None:
    folder.mkdir(parents=True)
    bands = {
        "bands": [f"b{i}" for i in range(SHAPE[1])],
        "scales": [1e-4] * SHAPE[1],
        "offsets": [0.0] * SHAPE[1],
    }
    for start in range(0, len(image), GROUP):
        rows = [
            dict.fromkeys(schemas.SAMPLES.names)
            | {"sample_id": f"{i}", "valid": pack(valid[i]), "weight": 1.0}
            | bands
            | array_columns("pixels", image[i], "delta")
            | array_columns("label", label[i], "raw")
            for i in range(start, start + GROUP)
        ]
        table = pa.Table.from_pylist(rows, schemas.SAMPLES)
        pq.write_table(table, folder / f"{start:06d}.parquet", row_group_size=group, **_OPTIONS)


def _map(path: Path, array: np.ndarray) -> np.ndarray:
    array.tofile(path)
    return np.memmap(path, array.dtype, "r", shape=array.shape)


def _mapped(
    maps: list[np.ndarray], plan: loader.EpochPlan, epoch: int
) -> Iterator[loader.SampleBatch]:
    """The reference of load.ceiling: the same samples in shuffled blocks from a memory map."""
    rng = np.random.default_rng(epoch)
    blocks = rng.permutation(plan.rows // GROUP)[:, None] * GROUP + np.arange(GROUP)
    order = np.concatenate([rng.permutation(block) for block in blocks])
    for part in np.array_split(order, plan.steps):
        pixels, valid, label = (m[part] for m in maps)
        yield loader.SampleBatch(
            pixels, valid, np.zeros((len(part), 1), np.int64), label, np.ones(len(part)), ()
        )


def _stock(
    folder: Path, image: np.ndarray, valid: np.ndarray, label: np.ndarray
) -> Callable[[int], float]:
    """The reference of load.stock: petastorm's make_reader, NdarrayCodec and torch loader."""
    from petastorm import reader as module
    from petastorm.codecs import NdarrayCodec
    from petastorm.etl import dataset_metadata
    from petastorm.pytorch import DataLoader
    from petastorm.unischema import Unischema, UnischemaField

    arrays = {"pixels": image, "valid": valid.view(np.uint8), "label": label}
    schema = Unischema(
        "s",
        [
            UnischemaField(n, a.dtype.type, a.shape[1:], NdarrayCodec(), False)
            for n, a in arrays.items()
        ],
    )
    folder.mkdir()
    for start in range(0, len(image), GROUP):
        columns = {
            n: [
                bytes(schema.fields[n].codec.encode(schema.fields[n], x))
                for x in a[start : start + GROUP]
            ]
            for n, a in arrays.items()
        }
        pq.write_table(
            pa.table(columns),
            folder / f"{start:06d}.parquet",
            compression="snappy",
            use_dictionary=False,
        )
    # petastorm would unpickle the schema from the dataset; here
    # it is given the one it was written with.
    dataset_metadata.get_schema_from_dataset_url = lambda *_, **__: schema
    module.infer_or_load_unischema = lambda _: schema

    def run(epoch: int) -> float:
        count, start = 0, time.perf_counter()
        reader = make_reader(f"file://{folder}", workers_count=2, seed=epoch + 1)
        for batch in DataLoader(reader, BATCH, shuffling_queue_capacity=2 * GROUP):
            count += len(batch["label"])
        reader.stop()
        reader.join()
        return count / (time.perf_counter() - start)

    return run


def _small() -> nn.Module:
    layers = [
        nn.Conv2d(6, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(32, 9, 1),
        nn.Upsample(scale_factor=4),
    ]
    return nn.Sequential(*layers)


@reused_memory()
def _stall(
    epochs: Callable[[int], Iterator[loader.SampleBatch]], net: nn.Module, steps: int
) -> float:
    """Time of a training step on these epochs ÷ on one batch repeated; medians, in turns."""
    optimizer = torch.optim.SGD(net.parameters(), 1e-3)

    def step(batch: loader.SampleBatch) -> None:
        image = torch.from_numpy(batch.pixels)[:, 0].float().mul_(1e-4)
        loss = nn.functional.cross_entropy(net(image), torch.from_numpy(batch.label).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    fed = (batch for epoch in range(1000) for batch in epochs(epoch))
    constant = next(fed)
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * steps):
        start = time.perf_counter()
        for _ in range(4):
            step(next(fed) if number % 2 else constant)
        times[bool(number % 2)].append(time.perf_counter() - start)
    return statistics.median(times[True]) / statistics.median(times[False])
