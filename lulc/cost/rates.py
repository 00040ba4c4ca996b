"""What work costs a machine: CPU time by pixel, file and task; shipped, or measured there.

What `lulc plan --calibrate` measures is kept in the user's cache, not in an output location: it is
of the machine, whatever run it plans.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

from lulc.errors import InputError
from lulc.tables.files import write_atomic

DEFLATE, LZW, ZSTD, RAW, JP2 = "tif deflate", "tif lzw", "tif zstd", "tif", "jp2"
"""Names of the formats whose reading is measured."""


@dataclass(frozen=True)
class Rates:
    """CPU time of one core. Fields end in the unit: nanoseconds a pixel of one band, or seconds."""

    machine: str
    """The processor that they are of."""
    measured: str = ""
    """The day they were measured on; empty: they were shipped."""
    read_ns: Mapping[str, float] = field(default_factory=dict)
    """Format → to decode a pixel of a file."""
    warp_ns: float = 0.0
    """To resample a pixel that a scene covers, and to encode it."""
    place_ns: float = 0.0
    """To mosaic a pixel of a block, covered or not, a scene and band."""
    compose_ns: Mapping[str, float] = field(default_factory=dict)
    """Method → to composite a pixel of a date and band."""
    features_ns: Mapping[str, float] = field(default_factory=dict)
    """Statistic of dates, or scope of any other → to compute such a feature of a pixel and date."""
    chip_ns: float = 0.0
    """To store a pixel of a date and band as chips."""
    label_ns: float = 0.0
    """To read the label of a pixel of a tile."""
    sample_ns: float = 0.0
    """To cut and store a pixel of a date and band as samples."""
    train_ns: float = 0.0
    """To train on a pixel of a sample, all bands, by the network of `flops`."""
    predict_ns: float = 0.0
    """To map a pixel, all bands, by the network of `flops`."""
    flops: float = 1.0
    """Multiply-adds a pixel of the network that was measured."""
    map_ns: float = 0.0
    """To load a pixel of chips, a date and band, and store its class."""
    refine_ns: float = 0.0
    """To read a pixel of the predictions, refine and store it."""
    raster_ns: float = 0.0
    """To write a pixel of a class raster with its confidence."""
    polygons_ns: float = 0.0
    """To look for polygons at a pixel of a map."""
    polygon_ns: float = 0.0
    """To trace a polygon and write it to both files."""
    stats_ns: float = 0.0
    """To count a pixel of a map in regions."""
    open_s: float = 0.0
    """To open a file of a scene."""
    item_s: float = 0.0
    """To read an item of an archive and the headers of its files."""
    stage_s: Mapping[str, float] = field(default_factory=dict)
    """Stage → what it takes in the driver and its JVM however little it has to do."""
    task_s: float = 0.0
    """To start and end a Spark task, in the JVM and in Python."""
    session_s: float = 0.0
    """To start and stop a Spark session."""
    worker_s: float = 0.0
    """To start a Python worker."""
    tools_s: float = 0.0
    """To load in a worker what reads and warps rasters."""
    torch_s: float = 0.0
    """To load torch and a network in a worker."""

    @property
    def is_shipped(self) -> bool:
        """Whether they are those of another machine."""
        return not self.measured


SHIPPED = Rates(
    "an AMD EPYC core with AVX-512 and bfloat16",
    read_ns={DEFLATE: 7.0, LZW: 9.0, ZSTD: 4.0, RAW: 2.0, JP2: 500.0},
    warp_ns=8.5,
    place_ns=2.0,
    compose_ns={"median": 7.5, "medoid": 6.6, "geomedian": 155.0, "best": 3.9},
    features_ns={
        "p": 7.5,
        "mean": 11.5,
        "sd": 11.5,
        "mad": 22.0,
        "medoid": 9.5,
        "first": 10.0,
        "last": 10.0,
        "harmonic": 9.5,
        "phenology": 5.5,
        "image": 5.0,
        "window": 12.0,
        "terrain": 12.0,
    },
    chip_ns=8.0,
    label_ns=20.0,
    sample_ns=20.0,
    train_ns=3000.0,
    predict_ns=590.0,
    flops=95_000.0,
    map_ns=8.0,
    refine_ns=160.0,
    raster_ns=25.0,
    polygons_ns=60.0,
    polygon_ns=12_000.0,
    stats_ns=5.0,
    open_s=0.003,
    item_s=0.015,
    stage_s={
        "index": 3.0,
        "tile": 6.5,
        "samples": 2.0,
        "train": 8.0,
        "predict": 4.0,
        "refine": 0.5,
        "embed": 4.0,
        "rasters": 0.5,
        "polygons": 6.0,
        "stats": 10.0,
        "evaluate": 0.7,
        "publish": 8.0,
    },
    task_s=0.05,
    session_s=22.0,
    worker_s=1.3,
    tools_s=1.3,
    torch_s=5.5,
)


def cache_file() -> Path:
    """Return where the rates of this machine are kept: `lulc/rates.json` in the user's cache."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "lulc" / "rates.json"


def load_rates() -> Rates:
    """Return the rates of this machine: the kept ones, else those that are shipped.

    Raises:
        InputError: the kept ones cannot be read.
    """
    location = cache_file()
    if not location.exists():
        return SHIPPED
    try:
        saved = dict(json.loads(location.read_text("utf-8")))
        kept = {f.name: saved[f.name] for f in fields(Rates) if f.name in saved}
        are_sound = all(_is_like(kept[name], getattr(SHIPPED, name)) for name in kept)
        if not are_sound or kept.get("flops") == 0:
            raise ValueError
        return replace(SHIPPED, **kept)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{location} does not hold the figures of `lulc plan --calibrate`: delete it, or "
            "measure again"
        ) from error


def _is_like(saved: Any, shipped: Any) -> bool:
    # A text, a number of 0 or more, or such numbers by name, as the shipped one.
    if isinstance(shipped, Mapping):
        return isinstance(saved, Mapping) and all(_is_like(v, 1.0) for v in saved.values())
    if isinstance(shipped, str):
        return isinstance(saved, str)
    return isinstance(saved, int | float) and 0 <= saved < inf


def keep_rates(measured: Mapping[str, Any]) -> Rates:
    """Keep what was measured on this machine, over the shipped rates of all else; return all."""
    rates = replace(
        SHIPPED, machine=machine_name(), measured=f"{datetime.now(UTC):%Y-%m-%d}", **measured
    )
    text = json.dumps(asdict(rates), indent=1)
    write_atomic(cache_file(), lambda path: path.write_text(text, "utf-8"))
    return rates


def machine_name() -> str:
    """Return the name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
