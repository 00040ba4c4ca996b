"""Bare loops over the pixels of a run's chain: no Spark, no ledger, nothing that could be resumed.

They have the scenes, the labels, the regions and the network of a run that is done.
"""

from __future__ import annotations

import itertools
import time
from concurrent.futures import Executor
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
import torch
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.shutil import copy
from rasterio.windows import Window

from tests.benchmarks._part import SIDE, Part, chips_file, read_chips, standardise, warp
from tests.benchmarks.infer import load_bare
from tests.helpers.small_world import DAYS

_FILE = {"driver": "GTiff", "dtype": "uint8", "count": 1, "tiled": True}


def do_parts(pool: Executor, parts: list[Part]) -> list[dict[str, float]]:
    """Do all but the training, one process a part; return the seconds of each by stage."""
    return list(pool.map(_do, parts))


def _do(part: Part) -> dict[str, float]:
    torch.set_num_threads(1)
    seconds = {}
    for name, work in (
        ("tile", _tile),
        ("samples", _cut_samples),
        ("predict", _predict),
        ("rasters", _write_rasters),
        ("stats", _count),
    ):
        start = time.perf_counter()
        work(part)
        seconds[name] = time.perf_counter() - start
    return seconds


def _tile(part: Part) -> None:
    # The two clearest dates of each window, in the order in which an obvious script would.
    schema = pa.schema([("pixels", pa.binary()), ("valid", pa.binary())])
    options: Any = {"compression": "zstd", "compression_level": 1, "use_dictionary": False}
    with pq.ParquetWriter(chips_file(part), schema, **options) as writer:
        for row, col in itertools.product(range(part.rows), range(part.cols)):
            clear = {
                day: _read(part, f"S_{day}_quality", row, col, Resampling.nearest) == 1
                for day in DAYS
            }
            days = sorted(DAYS, key=lambda day: -clear[day].sum())[:2]
            names = [[f"S_{day}_{band}" for band in part.bands] for day in days]
            pixels = [
                _read(part, name, row, col, Resampling.bilinear)
                for of_day in names
                for name in of_day
            ]
            stack = np.stack(pixels).reshape(2, len(part.bands), SIDE, SIDE)
            valid = np.stack([clear[day] for day in days]) & (stack > 0).all(1)
            cells = {"pixels": [stack.tobytes()], "valid": [np.packbits(valid).tobytes()]}
            writer.write_table(pa.table(cells, schema))


def _read(part: Part, name: str, row: int, col: int, how: Resampling) -> np.ndarray:
    path = part.folder / "archive" / f"{name}.tif"
    return warp(path, part, row, col, how, None if how == Resampling.nearest else 0)


def _cut_samples(part: Part, side: int = 64) -> None:
    windows = itertools.product(range(part.rows), range(part.cols))
    schema = pa.schema([("pixels", pa.binary()), ("label", pa.binary())])
    with pq.ParquetWriter(part.folder / f"{part.name}.samples.parquet", schema) as writer:
        for (row, col), (pixels, _) in zip(windows, read_chips(part), strict=True):
            label = warp(part.folder / "labels.tif", part, row, col, Resampling.nearest, 255)
            starts = itertools.product(range(0, SIDE, side), repeat=2)
            cuts = [np.s_[..., y : y + side, x : x + side] for y, x in starts]
            kept = [cut for cut in cuts if (label[cut] != 255).any()]
            cells = {
                "pixels": [pixels[cut].tobytes() for cut in kept],
                "label": [label[cut].tobytes() for cut in kept],
            }
            writer.write_table(pa.table(cells, schema))


def _predict(part: Part) -> None:
    net = load_bare(part.model, False)
    found = np.zeros((2, part.rows, SIDE, part.cols, SIDE), np.uint8)
    windows = itertools.product(range(part.rows), range(part.cols))
    mixed = torch.autocast("cpu", torch.bfloat16, torch.cpu._is_avx512_bf16_supported())
    for (row, col), (pixels, valid) in zip(windows, read_chips(part), strict=True):
        if not valid.any():
            continue
        across, down = (_reach(valid.any((0, axis))) for axis in (1, 2))
        image = np.where(valid[0], pixels[0], pixels[1])[:, down, across]
        with torch.inference_mode():
            with mixed:
                logits = net(standardise(torch.from_numpy(image)[None]))
            share, position = logits.float().softmax(1).max(1)
        found[0, row, down, col, across] = position[0].to(torch.uint8).numpy() + 1
        found[1, row, down, col, across] = (share[0] * 100).to(torch.uint8).numpy()
    np.save(part.folder / f"{part.name}.npy", found.reshape(2, part.rows * SIDE, -1))


def _reach(holds: np.ndarray) -> slice:
    # From the first to the last that holds something, a multiple of what networks take.
    first, last = np.flatnonzero(holds)[[0, -1]]
    return slice(first // 32 * 32, -(-(last + 1) // 32) * 32)


def _write_rasters(part: Part) -> None:
    layers = np.load(part.folder / f"{part.name}.npy")
    for name, layer in zip(("classes", "confidence"), layers, strict=True):
        plain = part.folder / f"{part.name}.plain.tif"
        place = {"crs": part.crs, "transform": part.transform()}
        height, width = layer.shape
        with rasterio.open(plain, "w", **_FILE, **place, height=height, width=width) as file:
            file.write(layer, 1)
        path = part.folder / f"{part.name}.{name}.tif"
        how = "MODE" if name == "classes" else "AVERAGE"
        copy(plain, path, driver="COG", compress="DEFLATE", overview_resampling=how)


def _count(part: Part) -> None:
    # Pixels of each class in each zone, and by the class of the labels.
    zones = geopandas.read_file(part.folder / "regions.gpkg").to_crs(part.crs).geometry
    shapes = [(zone, number) for number, zone in enumerate(zones, 1)]
    with rasterio.open(part.folder / f"{part.name}.classes.tif") as file:
        for row, col in itertools.product(range(part.rows), range(part.cols)):
            window = Window(col * SIDE, row * SIDE, SIDE, SIDE)
            classes = file.read(1, window=window).astype(int)
            place = {"out_shape": (SIDE, SIDE), "transform": part.transform(row, col)}
            zone = rasterize(shapes, **place, dtype="uint8").astype(int)
            np.bincount((zone * 256 + classes).ravel())
            label = warp(part.folder / "labels.tif", part, row, col, Resampling.nearest, 255)
            np.bincount((label.astype(int) * 256 + classes).ravel())
