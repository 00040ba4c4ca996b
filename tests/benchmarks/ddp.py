"""How much of two processes' work two ranks keep, one gradient between them; and how much of that under Spark."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks._rank import make_job
from tests.benchmarks.load import write_scenes

BATCH = 8


def measure(quick: bool) -> dict[str, float]:
    """ddp.eff: samples a second of two ranks ÷ those of two trainings that run at once and know nothing of each other.

    One thread each, as many samples a step and process, reading and augmentation included. ddp.spark: of two ranks that Spark
    launches as tasks of a barrier ÷ those of two that are launched by hand.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scenes(folder / "samples" / "split=train", 32)
        found, under_spark = [], []
        for number in range(1 if quick else 3):
            together = _train(folder, f"t{number}", 2, 2 * BATCH)
            apart = _train(folder, f"a{number}", 1, BATCH)
            # Ranks share the samples of an epoch, the others see all of them each.
            found.append(statistics.mean(apart) / (2 * statistics.mean(together)))
            under_spark.append(statistics.mean(together) / _train_under_spark(folder, f"s{number}"))
    return {"ddp.eff": statistics.median(found), "ddp.spark": statistics.median(under_spark)}


def _train_under_spark(folder: Path, name: str) -> float:
    from pyspark.ml.torch.distributor import TorchDistributor

    from lulc.conf import Spark
    from lulc.spark import session
    from lulc.train import fit

    spark = session.start(Spark(master="local[2]", memory="1g"))
    try:
        result = TorchDistributor(2, local_mode=False, use_gpu=False).run(
            fit, make_job(folder / "samples", folder / name, 2 * BATCH)
        )
    finally:
        spark.stop()
    return float(result.history[-1]["seconds"])


def _train(folder: Path, name: str, ranks: int, batch: int) -> list[float]:
    """Seconds of an epoch, told by each of two processes: two ranks of one training, or two trainings of one."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    running = []
    for number in range(2):
        told = {
            "RANK": str(number),
            "WORLD_SIZE": "2",
            "LOCAL_RANK": str(number),
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": port,
        }
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | (told if ranks == 2 else {})
        kept = folder / (name if ranks == 2 else f"{name}{number}")
        command = [sys.executable, "-m", "tests.benchmarks._rank", str(folder / "samples"), str(kept), str(batch)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
    said = [process.communicate()[0] for process in running]
    assert all(process.returncode == 0 for process in running)
    return [float(text.split()[-1]) for text in said]
