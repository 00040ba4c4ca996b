"""A small run with labels, as stage tile leaves it: what stage samples begins with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from lulc.chips import chip
from lulc.chips.chip import Chip
from lulc.config import LabelConf, SampleConf
from lulc.geo.tiling import Tiling
from lulc.legend import NODATA, LandClass, Legend
from lulc.samples import splits
from lulc.samples.from_chips import SampleSpec
from lulc.samples.plan import Row
from lulc.tables.ledger import LedgerRow

LEGEND = Legend("three", tuple(LandClass(i, f"class {i}", "#000000") for i in (1, 2, 5)))
TILING = Tiling("32633-10m-64", "EPSG:32633", 10.0, 64)
COL, ROW = 780, -9376  # the first tile: around 15 degrees east, 54 north
HALO, DATES, BANDS = 16, 2, 3


def write_run(out: Path) -> list[LedgerRow]:
    """Write labels of 4 x 4 tiles and their chips in two periods; return the blocks' rows."""
    write_labels(out / "labels.tif", 4, 4)
    return [
        write_chips(out, period, (col, row), 2, seed)
        for seed, period in enumerate(("all", "later"))
        for col in (0, 2)
        for row in (0, 2)
    ]


def spec_of(out: Path, **changes: Any) -> SampleSpec:
    """Return how samples of 32 x 32 pixels are cut from such a run, split tile by tile.

    Args:
        out: the run's output folder.
        changes: of SampleConf.
    """
    conf = SampleConf(size=32, block=1, **changes)
    return SampleSpec(out, "made", TILING, LEGEND, LabelConf(str(out / "labels.tif")), conf)


def write_chips(out: Path, period: str, place: tuple[int, int], span: int, seed: int) -> LedgerRow:
    """Write a block of random chips, and return its ledger row.

    The first 16 columns of each tile have no imagery.

    Args:
        out: the output folder.
        period: the chips' period.
        place: column and row of the block's first tile, from COL and ROW on.
        span: tiles along a side of the block.
        seed: of the random pixels.
    """
    rng = np.random.default_rng(seed)
    chips = []
    for col, row in [
        (COL + place[0] + i, ROW + place[1] + j) for j in range(span) for i in range(span)
    ]:
        grid = TILING.grid(col, row, HALO)
        valid = np.ones((DATES, *grid.shape), bool)
        valid[0, :, ::3] = False
        valid[:, :, HALO : HALO + 16] = False
        array = np.where(
            valid[:, None], rng.integers(0, 9000, (DATES, BANDS, *grid.shape)), 0
        ).astype(np.uint16)
        dates = tuple(datetime(2020, 1, day, tzinfo=UTC) for day in (1, 2))
        says = (
            TILING.tile_id(col, row),
            period,
            "made",
            ("s",),
            dates,
            grid,
            HALO,
            ("b", "g", "r"),
        )
        chips.append(
            Chip(
                *says,
                scales=(1e-4,) * BANDS,
                offsets=(0.0,) * BANDS,
                pixels=array,
                valid=valid,
                clear=0.75,
            )
        )
    block = f"{COL + place[0]}_{ROW + place[1]}"
    path = f"tables/chips/{period}.{block}.{seed:016x}.parquet"
    entry = LedgerRow("tile", f"{period}/{TILING.name}/{block}", f"{seed:016x}", path=path)
    chip.write_chips(
        out / path,
        chips,
        {name: value for name, value in entry.to_row().items() if name != "finished"},
    )
    return entry


def write_labels(path: Path, cols: int, rows: int) -> np.ndarray:
    """Write labels over `cols` x `rows` tiles from the first one on, some of them missing."""
    rng = np.random.default_rng(3)
    blocks = rng.choice(
        np.array([1, 2, 5, NODATA], np.uint8), (rows * 8, cols * 8), p=[0.5, 0.2, 0.2, 0.1]
    )
    codes = np.kron(blocks, np.ones((8, 8), np.uint8))
    codes[:32, :32] = NODATA
    profile = {
        "height": codes.shape[0],
        "width": codes.shape[1],
        "count": 1,
        "dtype": "uint8",
        "nodata": NODATA,
    }
    transform = Affine(*TILING.grid(COL, ROW).transform)
    with rasterio.open(
        path, "w", driver="GTiff", crs=TILING.crs, transform=transform, **profile
    ) as file:
        file.write(codes, 1)
    return codes


def some_counts(blocks: int, classes: int, seed: int) -> dict[splits.SplitCell, np.ndarray]:
    """Return random counts of pixels by class of blocks in nine columns."""
    rng = np.random.default_rng(seed)
    mixture = rng.dirichlet(np.ones(classes) * 0.5)
    return {
        (i % 9, i // 9): rng.multinomial(rng.integers(1, 65536), rng.dirichlet(mixture * 4 + 1e-3))
        for i in range(blocks)
    }


def run_here(work: Callable[[Row], list[Row]], keys: list[Row], *_: Any) -> list[Row]:
    """Do in this process what Spark's tasks do."""
    return [row for key in keys for row in work(key)]
