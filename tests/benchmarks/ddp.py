"""How much of two processes' work two ranks keep, one gradient between them; and how much of that under Spark."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks._rank import make_job
from tests.benchmarks.load import write_scenes


def measure(quick: bool) -> dict[str, float]:
    """ddp.eff: samples a second of two ranks ÷ those of two processes that learn at once and know nothing of each other.

    One thread each, as many samples a step and process, reading and augmentation included; the same two processes in turns, a
    quarter of a minute each: minutes apart, a machine that others share is another machine. ddp.spark: of two ranks that Spark
    launches as tasks of a barrier ÷ those of two that are launched by hand.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scenes(folder / "samples" / "split=train", 32)
        told = [
            json.loads(text) for text in _start(folder, "turns", "turns", str(2 if quick else 9))
        ]
        together, apart = (
            [statistics.mean(pair) for pair in zip(*seconds, strict=True)]
            for seconds in zip(*told, strict=True)
        )
        efficiency = statistics.median(a / t for t, a in zip(together, apart, strict=True))
        under_spark = []
        for number in range(1 if quick else 3):
            by_hand = statistics.mean(float(text) for text in _start(folder, f"t{number}", "fit"))
            under_spark.append(by_hand / _train_under_spark(folder, f"s{number}"))
    return {"ddp.eff": efficiency, "ddp.spark": statistics.median(under_spark)}


def _train_under_spark(folder: Path, name: str) -> float:
    from pyspark.ml.torch.distributor import TorchDistributor

    from lulc.config import SparkConf
    from lulc.spark import session
    from lulc.training.fit import fit

    spark = session.start_session(SparkConf(master="local[2]", memory="1g"))
    try:
        result = TorchDistributor(2, local_mode=False, use_gpu=False).run(
            fit, make_job(folder / "samples", folder / name)
        )
    finally:
        spark.stop()
    return float(result.history[-1]["seconds"])


def _start(folder: Path, name: str, *asked: str) -> list[str]:
    """The last line that each of two ranks prints which keep what they learn in a folder of that name."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    running = []
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks._rank",
        asked[0],
        str(folder / "samples"),
        str(folder / name),
        *asked[1:],
    ]
    for number in range(2):
        told = {
            "RANK": str(number),
            "WORLD_SIZE": "2",
            "LOCAL_RANK": str(number),
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": port,
        }
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | told
        running.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        )
    said = [process.communicate()[0] for process in running]
    assert all(process.returncode == 0 for process in running)
    return [text.splitlines()[-1] for text in said]
