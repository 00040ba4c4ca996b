"""infer.*: the predict job and its network against bare references, wasted pixels, and seams."""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from lulc import config, runfile
from lulc.chips import chip
from lulc.chips.chip import Chip
from lulc.chips.tiling import make_tiling
from lulc.inference import windows
from lulc.inference.blocks import InferenceSpec, map_blocks
from lulc.inference.folded_norms import fold_norms
from lulc.inference.predictor import load, use_one_core
from lulc.legend import COMMON
from lulc.models import package
from lulc.models.contract import Contract, read_contract, write_contract
from lulc.models.networks.registry import MODELS
from lulc.models.package import CONTRACT, LOCAL, WEIGHTS, ModelRef
from lulc.tables import arrays, files, layout, ledger, store

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
KINDS = len(COMMON.classes)
RUN: dict[str, Any] = {
    "name": "bench",
    "scenes": [{"path": "archive"}],
    "bands": BANDS,
    "legend": {c.id: {"name": c.name, "colour": c.colour} for c in COMMON.classes},
    "periods": [{"name": "p"}],
    "spark": {"master": "local[2,3]", "memory": "1g"},
}


def measure(quick: bool) -> dict[str, float]:
    """The figures of PERFORMANCE.md; infer.agree: share of pixels classed as by eager float32.

    infer.ceiling: the time of the network's convolutions alone, one by one in our type, ÷ ours.
    """
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        folder = learn(out / layout.model_folder("bench", LOCAL), 40 if quick else 400)
        opt, ceiling, agree = _opt(folder, 1 if quick else 5)
        return {
            "infer.spark": _spark(out, folder, quick),
            "infer.opt": opt,
            "infer.ceiling": ceiling,
            "infer.agree": agree,
            "infer.waste": _waste(out, folder),
            "infer.seam": _seam(out, folder, 1024 if quick else 2048),
        }


def _scene(side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (C, H, W) uint16 with a sensor's noise, and their class (H, W) in fields."""
    rng = np.random.default_rng(seed)
    score = np.zeros((KINDS, side, side), np.float32)
    for step in (64, 16, 4):
        coarse = torch.from_numpy(
            rng.normal(0, step**0.5, (1, KINDS, side // step + 2, side // step + 2)).astype(
                np.float32
            )
        )
        score += functional.interpolate(coarse, size=(side, side), mode="bilinear")[0].numpy()
    label = score.argmax(0)
    spectra = np.random.default_rng(1).normal(2000, 600, (KINDS, len(BANDS)))
    return (spectra[label].transpose(2, 0, 1) + rng.normal(0, 500, (len(BANDS), side, side))).clip(
        1, 9000
    ).astype(np.uint16), label


def learn(folder: Path, steps: int) -> Path:
    """A model folder with the default U-Net, lightly trained on a scene."""
    plain: dict[str, Any] = {
        "mean": (2000.0,) * len(BANDS),
        "std": (700.0,) * len(BANDS),
        "legend": COMMON,
        "gsd_m": 10.0,
    }
    contract = Contract("bench", "segment", "unet", {"encoder": "resnet18"}, BANDS, **plain)
    torch.manual_seed(0)
    net = build_net(contract).train()
    image, label = (torch.from_numpy(x) for x in _scene(1024, 0))
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / steps)
        places = torch.randint(1024 - 64, (8, 2)).tolist()
        ready = (
            torch.stack([image[:, y : y + 64, x : x + 64] for y, x in places]).float() - 2000
        ) / 700
        loss = functional.cross_entropy(
            net(ready), torch.stack([label[y : y + 64, x : x + 64] for y, x in places])
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder.mkdir(parents=True)
    save_file(net.state_dict(), folder / WEIGHTS)
    write_contract(contract, folder / CONTRACT)
    return folder


def build_net(contract: Contract) -> nn.Module:
    """Return the U-Net of a contract, with random weights."""
    bands, kinds = len(contract.bands), len(contract.legend.classes)
    return MODELS["unet"].build(bands, kinds, **contract.architecture)


@lru_cache(maxsize=2)
def load_bare(folder: Path, eager: bool) -> nn.Module:
    """The network as built, or with our memory layout and folded norms."""
    use_one_core()
    contract = read_contract(folder / CONTRACT)
    net = build_net(contract).eval()
    net.load_state_dict(load_file(folder / WEIGHTS))
    if eager:
        return net
    folded = fold_norms(net, len(contract.bands), contract.multiple)
    return folded.to(memory_format=torch.channels_last)


def _forward(folder: Path, image: np.ndarray, eager: bool) -> np.ndarray:
    """Classes (H, W) of pixels (C, H, W) by a bare script, in float32 (eager) or in our dtype."""
    net = load_bare(folder, eager)
    with torch.inference_mode():
        ready = (torch.from_numpy(image).float()[None] - 2000) / 700
        if not eager:
            ready = ready.contiguous(memory_format=torch.channels_last)
        with torch.autocast(
            "cpu", torch.bfloat16, enabled=not eager and torch.cpu._is_avx512_bf16_supported()
        ):
            return net(ready).argmax(1)[0].to(torch.uint8).numpy()


def _opt(folder: Path, rounds: int) -> tuple[float, float, float]:
    """Eager float32 ÷ ours on one core by processor time, the ceiling, share of equal classes."""
    predictor, how = load(folder), config.PredictConf()
    image, _ = _scene(1024, 5)
    valid, plain = np.ones((1, 1024, 1024), bool), ((1.0,) * len(BANDS), (0.0,) * len(BANDS))
    with _convolutions(predictor.net) as calls:
        predictor.segment(image[None], valid, *plain, how)
    times = []
    for number in range(rounds + 1):
        start = time.process_time()
        theirs = np.concatenate(
            [_forward(folder, image[:, row : row + 512], True) for row in (0, 512)]
        )
        middle = time.process_time()
        ours, _ = predictor.segment(image[None], valid, *plain, how)
        end = time.process_time()
        alone = sum(map(_time_convolution, calls, calls.values()))
        if number:
            times.append((middle - start, end - middle, alone))
    # Where the reference's two halves meet neither is wrong.
    away = np.r_[0:448, 576:1024]
    agree = float((COMMON.to_id()[theirs] == ours)[away].mean())
    eager, whole, floor = map(statistics.median, zip(*times, strict=True))
    return eager / whole, floor / whole, agree


@contextmanager
def _convolutions(net: nn.Module) -> Iterator[Counter[tuple[nn.Conv2d, torch.Size]]]:
    """Count how often each convolution meets each shape of input while the context lasts."""
    calls: Counter[tuple[nn.Conv2d, torch.Size]] = Counter()
    hooks = [
        module.register_forward_pre_hook(lambda m, inputs: calls.update([(m, inputs[0].shape)]))
        for module in net.modules()
        if isinstance(module, nn.Conv2d)
    ]
    yield calls
    for hook in hooks:
        hook.remove()


def _time_convolution(call: tuple[nn.Conv2d, torch.Size], times: int) -> float:
    """Processor seconds of a convolution that is computed some times, in our type and layout."""
    module, shape = call
    dtype = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    alone = copy.deepcopy(module).to(dtype)
    image = torch.rand(shape).to(dtype, memory_format=torch.channels_last)
    with torch.inference_mode():
        alone(image)
        start = time.process_time()
        for _ in range(times):
            alone(image)
        return time.process_time() - start


def write_blocks(out: Path, run: config.Config, side: int, count: int = 1) -> list[dict[str, str]]:
    """Return the keys of `count` times the blocks of one scene, their chips written and noted."""
    tiling, halo, span = make_tiling(run), run.tiling.halo, run.tiling.block
    image, _ = _scene(side, 7)
    around = np.pad(image, [(0, 0), (halo, halo), (halo, halo)])
    seen = np.pad(np.ones((side, side), bool), halo)
    cells = side // tiling.size
    keys = []
    for number in range(count):
        for first in ((c, r) for r in range(0, cells, span) for c in range(0, cells, span)):
            made = []
            for col, row in (
                (first[0] + i, first[1] + j)
                for j in range(min(span, cells))
                for i in range(min(span, cells))
            ):
                area = np.s_[..., row * tiling.size :, col * tiling.size :]
                wide = tiling.size + 2 * halo
                shift = number * cells // span * span
                place: dict[str, Any] = {
                    "tile_id": tiling.tile_id(col + shift, row),
                    "grid": tiling.grid(col + shift, row, halo),
                }
                rest: dict[str, Any] = {
                    "period": "p",
                    "source": "s",
                    "scene_ids": ("s",),
                    "datetimes": (),
                    "halo": halo,
                    "bands": BANDS,
                    "clear": 1.0,
                }
                pixels: dict[str, Any] = {
                    "pixels": around[area][None, :, :wide, :wide],
                    "valid": seen[area][None, :wide, :wide],
                }
                made.append(
                    Chip(
                        **place,
                        **rest,
                        **pixels,
                        scales=(1.0,) * len(BANDS),
                        offsets=(0.0,) * len(BANDS),
                    )
                )
            tile_id = tiling.tile_id(first[0] + shift, first[1])
            path = f"tables/chips/p.{tile_id.rpartition('/')[2]}.f.parquet"
            chip.write_chips(out / path, made, {})
            keys.append(
                {
                    "key": f"p/{tile_id}",
                    "path": path,
                    "checksum": files.checksum(out / path),
                    "fingerprint": tile_id,
                }
            )
    rows = [
        ledger.LedgerRow("tile", k["key"], k["fingerprint"], path=k["path"], checksum=k["checksum"])
        for k in keys
    ]
    ledger.append_ledger(out, rows)
    return keys


def _spec(out: Path, folder: Path) -> InferenceSpec:
    return InferenceSpec(
        out,
        ModelRef("bench", "local", folder, package.model_checksum(folder)),
        config.PredictConf(),
    )


def _waste(out: Path, folder: Path) -> float:
    """Pixels that the network is given ÷ pixels written, for a whole block of default tiles."""
    (key,) = write_blocks(out / "waste", runfile.parse_run(RUN, out), 2048)
    computed: list[int] = []

    def count(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        computed.append(given[0].shape[-1] * given[0].shape[-2])

    counted = load(folder).net.register_forward_pre_hook(count)
    try:
        written = sum(classes.size for _, classes in _map(key, out / "waste", folder))
    finally:
        counted.remove()
    return sum(computed) / written


def _map(key: dict[str, str], out: Path, folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The tile ids of a block, with the classes that the model gives them."""
    (row,) = map_blocks([key], _spec(out, folder))
    for tile in store.read_rows(out / str(row.path)):
        yield tile["tile_id"], arrays.array_from(tile, "classes")


def _seam(out: Path, folder: Path, side: int) -> float:
    """Share of pixels equal between blocks of 2 x 2 default tiles and one forward of the scene."""
    run = runfile.parse_run(RUN | {"tiling": {"block": 1 if side == 1024 else 2}}, out)
    tiling, halo, place = make_tiling(run), run.tiling.halo, out / "seam"
    found = np.empty((side, side), np.uint8)
    for key in write_blocks(place, run, side):
        for tile_id, classes in _map(key, place, folder):
            col, line = (n * tiling.size for n in tiling.parse(tile_id))
            found[line : line + tiling.size, col : col + tiling.size] = classes
    image = np.pad(_scene(side, 7)[0], [(0, 0), (halo, halo), (halo, halo)])[None]
    plain, how = ((1.0,) * len(BANDS), (0.0,) * len(BANDS)), config.PredictConf(window=8192)
    whole, _ = load(folder).segment(image, image[:, 0] > 0, *plain, how)
    return float((found == whole[halo:-halo, halo:-halo]).mean())


def _spark(out: Path, folder: Path, quick: bool) -> float:
    """Pixels a second that the job gives its networks ÷ two bare processes on the same chips."""
    from lulc.spark import session
    from lulc.spark.context import StageContext
    from lulc.spark.stages.predict import predict as stage
    from lulc.stages import Selection

    config = runfile.parse_run(RUN | ({"tiling": {"block": 2}} if quick else {}), out)
    span = config.tiling.block * config.tiling.size
    blocks = 2 if quick else 12
    write_blocks(out, config, span, blocks)
    computed = blocks * _waste_of(config) * span * span
    spark = session.start_session(config.spark)
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    try:
        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            for number in range(2 if quick else 4):
                for name, rate in (("ours", _job), ("bare", _processes)):
                    # Spark ends workers that were idle for a minute: the measured
                    # workers must not start cold.
                    spark.sparkContext.range(0, 2, 1, 2).mapPartitions(
                        partial(_warm, folder)
                    ).collect()
                    start = time.perf_counter()
                    done = rate(
                        stage,
                        StageContext(config, out, Selection(), lambda: spark),
                        pool,
                        folder,
                        computed,
                    )
                    if number:  # the first round warms up
                        rates[name].append(done / (time.perf_counter() - start))
    finally:
        spark.stop()
    return statistics.median(rates["ours"]) / statistics.median(rates["bare"])


def _warm(folder: Path, _: Any) -> list[int]:
    time.sleep(0.5)  # so that each of the two workers gets a part
    load(folder)
    return []


def _waste_of(run: config.Config) -> float:
    span, halo = run.tiling.block * run.tiling.size, run.tiling.halo
    found = list(
        windows.axis_windows(slice(halo, halo + span), span + 2 * halo, run.predict.window, 32)
    )
    return (sum(w.stop - w.start for w, _ in found) / span) ** 2


def _job(stage: Any, context: Any, _pool: Any, _folder: Path, computed: float) -> float:
    for file in (context.out / layout.table("predictions")).rglob("*.parquet"):
        file.unlink()
    result = stage(context)
    assert result.done and not result.bad
    return computed


def _processes(_stage: Any, _task: Any, pool: Any, folder: Path, computed: float) -> float:
    side = 1088
    count = max(1, round(computed / 2 / side**2))
    list(pool.map(run_bare, [folder] * 2, [count] * 2))
    return 2.0 * count * side**2


def run_bare(folder: Path, count: int) -> None:
    """Map so many images of 1088 x 1088 pixels by a bare script on one core, in our dtype."""
    image, _ = _cached(1088)
    for _ in range(count):
        _forward(folder, image, False)


@lru_cache(maxsize=1)
def _cached(side: int) -> tuple[np.ndarray, np.ndarray]:
    return _scene(side, 9)
