"""samples: items a second into a samples table, against a bare loop that reads the same files."""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from PIL import Image

from lulc.config import DatasetConf
from lulc.datasets import registry
from lulc.datasets.dataset import ExampleItem
from lulc.datasets.listing import list_items
from lulc.samples import from_datasets
from tests.helpers.synthetic_archives import write_raster


def measure(quick: bool) -> dict[str, float]:
    """Items a second, ours ÷ bare: EuroSAT (JPEG, 64 px), BigEarthNet (12 GeoTIFFs, 120 px)."""
    counts = {"eurosat": 200, "bigearthnet": 40} if quick else {"eurosat": 8000, "bigearthnet": 600}
    found = {}
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for name, count in counts.items():
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder) / name
                size = {"eurosat": _write_eurosat, "bigearthnet": _write_bigearthnet}[name](
                    root, count
                )
                found[f"samples.{name}"] = _compare(pool, root, name, size, 1 if quick else 3)
    return found


def _compare(pool: Any, root: Path, name: str, size: int, rounds: int) -> float:
    conf = DatasetConf(name, str(root))
    options = registry.options_of(conf)
    description = registry.find_dataset(name).describe(options)
    codes = tuple((i, i) for i in description.legend.ids)
    items = list_items(conf).items
    ratios = []
    for number in range(rounds + 1):
        out = root.parent / f"out{number}"
        spec = from_datasets.DatasetSpec(
            out, name, conf, description.encoding, size, 1, description.legend, codes
        )
        keys = from_datasets.file_keys(
            "train",
            items,
            [1.0] * len(items),
            spec,
            from_datasets.read_example(spec, items[0]),
            "f" * 16,
        )
        start = time.perf_counter()
        rows = pool.map(partial(from_datasets.write_examples, spec=spec), keys, 1)
        ours = time.perf_counter() - start
        assert {row.status for made in rows for row in made} == {"done"}
        start = time.perf_counter()
        pool.map(partial(_read_bare, root), [items[i::8] for i in range(8)], 1)
        ratios.append((time.perf_counter() - start) / ours)
    return statistics.median(ratios[1:])  # the first imports and fills caches


def _read_bare(root: Path, items: list[ExampleItem]) -> int:
    pixels = 0
    for item in items:
        place = root / item.files[0]
        for file in sorted(place.glob("*.tif")) if place.is_dir() else [place]:
            with rasterio.open(file) as data:
                pixels += data.read().size
    return pixels


def _write_eurosat(root: Path, count: int) -> int:
    rng = np.random.default_rng(0)
    for number in range(count):
        name = ("Forest", "River")[number % 2]
        (root / name).mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(20, 220, (16, 16, 3), np.uint8)
        Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(
            root / name / f"{name}_{number}.jpg", quality=90
        )
    return 64


def _write_bigearthnet(root: Path, count: int) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        tile = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
        patch = f"{tile}_{number // 100:02d}_{number % 100:02d}"
        for code in (
            "B01",
            "B02",
            "B03",
            "B04",
            "B05",
            "B06",
            "B07",
            "B08",
            "B8A",
            "B09",
            "B11",
            "B12",
        ):
            side = (
                120
                if code in ("B02", "B03", "B04", "B08")
                else 20
                if code in ("B01", "B09")
                else 60
            )
            smooth = np.kron(rng.integers(200, 4000, (side // 10, side // 10)), np.ones((10, 10)))
            array = (smooth + rng.normal(0, 60, (side, side))).clip(0).astype(np.uint16)
            write_raster(
                root / f"BigEarthNet-S2/{tile}/{patch}/{patch}_{code}.tif", array, 1200 / side
            )
        rows.append(
            {
                "patch_id": patch,
                "labels": ["Pastures"],
                "split": "train",
                "s1_name": "S1A_IW_GRDH_1SDV_x_33UUP_1_1",
                "country": "Austria",
                "contains_seasonal_snow": False,
                "contains_cloud_or_shadow": False,
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), root / "metadata.parquet")
    return 120
