"""A program: plans samples from made-up label windows and prints what it took (JSON).

    python -m tests.benchmarks._windows WINDOWS FOLDER

What tasks tell the driver is made up, every window labelled; all else is as the stage does it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lulc.config import LabelConf, SampleConf
from lulc.geo.tiling import Tiling
from lulc.legend import LandClass, Legend
from lulc.samples import plan, windows
from lulc.samples.from_chips import SampleSpec
from lulc.samples.splits import SPLITS
from lulc.samples.windows import Row

SIDE = 64
"""Windows along the side of what one task has: 16 blocks of 16 tiles of 16 windows."""
CLASSES = 8
_WIDE = 64  # tasks side by side
_BYTES = 128 * 128 * (4 * 2 + 1)


def measure(count: int, folder: Path) -> dict[str, Any]:
    """Return CPU seconds and peak memory of planning."""
    tiling = Tiling("africa", "ESRI:102022", 10.0, 512)
    legend = Legend("made", tuple(LandClass(i, f"c{i}", "#000000") for i in range(CLASSES)))
    spec = SampleSpec(folder, "made", tiling, legend, LabelConf(""), SampleConf(balance="class"))
    paths = [f"tables/chips/{n}.parquet" for n in range(-(-count // 256))]
    folder.mkdir(exist_ok=True)
    start, clock = time.process_time(), time.monotonic()
    keys, note = plan.plan_windows(spec, paths, "f" * 16, _make_up)
    return {
        "windows": len(paths) * 256,
        "files": len(keys),
        "windows_cpu_s": time.process_time() - start,
        "windows_clock_s": time.monotonic() - clock,
        "windows_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "note": note[:60],
    }


def _make_up(work: Callable[[Row], list[Row]], keys: list[Row], *_: Any) -> list[Row]:
    # What tasks would tell of these keys.
    made: dict[str, Callable[..., Row | None]] = {
        "count_labels": _count,
        "choose_windows": _choose,
        "audit_windows": lambda **_: None,
    }
    make, settings = made[work.func.__name__], work.keywords  # type: ignore[attr-defined]
    rows = (make(key=key, **settings) for key in keys)
    return [row for row in rows if row is not None]


def _cells(number: int) -> np.ndarray:
    # Of 2 x 2 windows, by rows.
    row, col = np.indices((SIDE // 2, SIDE // 2)).reshape(2, -1)
    corner = np.array(divmod(number, _WIDE))[::-1] * SIDE // 2
    return (np.column_stack([col, row]) + corner).astype("i4")


def _count(key: Row, **_: Any) -> Row:
    rng, cells = np.random.default_rng(key["number"]), _cells(key["number"])
    counts = rng.integers(0, 8192, (len(cells), CLASSES)) * (rng.random((1, CLASSES)) < 0.7)
    return {
        "number": key["number"],
        "tiles": b"",
        "windows": SIDE**2,
        "labelled": SIDE**2,
        "unobserved": 0,
        "conflicts": 0,
        "cells": cells.tobytes(),
        "counts": counts.astype("u4").tobytes(),
        "holding": np.full(CLASSES, SIDE**2, "i8").tobytes(),
    }


def _choose(key: Row, kept_folder: Path, **_: Any) -> Row:
    number, cells = key["number"], _cells(key["number"])
    (west, north), (east, south) = cells.min(0).tolist(), cells.max(0).tolist()
    block = windows._read_blocks(kept_folder, west, north, east, south)
    split = np.zeros((SIDE // 2, SIDE // 2), np.int64)
    split[block["row"].to_numpy() - north, block["col"].to_numpy() - west] = block["split"]
    # A chip has 2 x 2 blocks, of 4 windows each.
    of_chip = split.reshape(SIDE // 4, 2, SIDE // 4, 2).swapaxes(1, 2).reshape(-1, 4)
    sizes = 4 * (of_chip[:, :, None] == np.arange(3)).sum(1)
    chip, of_split = np.nonzero(sizes)
    ranks = np.random.default_rng(number).integers(0, 2**63, len(sizes))[chip]
    order = np.lexsort((ranks, of_split))
    return {
        "number": number,
        "splits": of_split[order].astype("i1").tobytes(),
        "ranks": ranks[order].astype("u8").tobytes(),
        "sizes": sizes[chip, of_split][order].astype("i4").tobytes(),
        "bytes": np.full(len(order), _BYTES, "i8").tobytes(),
        "poor": 0,
        "beyond": 0,
        "pixels": 0,
        "classes": np.full((len(SPLITS), CLASSES), 1000, "i8").tobytes(),
        "shares": np.full(CLASSES, sizes[:, 0].sum() / CLASSES / windows.SHARE, "i8").tobytes(),
        "cells": b"",
        "training": b"",
        "bounds": [2 * west, 2 * north, 2 * east + 1, 2 * south + 1],
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), Path(sys.argv[2]))))
