"""How much of two processes' speed two ranks with one gradient keep, by hand and under Spark."""

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
    """Samples a second of two ranks, as ratios by name.

    ddp.eff: ÷ those of two independent processes that train at the same time. One thread each, as
    many samples a step and process, reading and augmentation included; the same two processes in
    turns of a quarter of a minute, since the speed of a shared machine changes within minutes.
    ddp.spark: of two ranks launched by Spark as barrier tasks ÷ two ranks launched by hand.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scenes(folder / "samples" / "split=train", 32)
        rank_seconds = [
            json.loads(text) for text in _start(folder, "turns", "turns", str(2 if quick else 9))
        ]
        together, apart = (
            [statistics.mean(pair) for pair in zip(*seconds, strict=True)]
            for seconds in zip(*rank_seconds, strict=True)
        )
        efficiency = statistics.median(a / t for t, a in zip(together, apart, strict=True))
        under_spark = []
        for number in range(1 if quick else 3):
            by_hand = statistics.mean(float(text) for text in _start(folder, f"t{number}", "fit"))
            under_spark.append(by_hand / _train_under_spark(folder, f"s{number}"))
    return {"ddp.eff": efficiency, "ddp.spark": statistics.median(under_spark)}


def _train_under_spark(folder: Path, name: str) -> float:
    from pyspark.ml.torch.distributor import TorchDistributor

    from lulc.config import SessionConf
    from lulc.spark import session
    from lulc.training.fit import fit

    spark = session.start_session(SessionConf(master="local[2]", memory="1g"))
    try:
        result = TorchDistributor(2, local_mode=False, use_gpu=False).run(
            fit, make_job(folder / "samples", folder / name)
        )
    finally:
        spark.stop()
    assert result
    return float(result.history[-1]["seconds"])


def _start(folder: Path, name: str, *asked: str) -> list[str]:
    """Run two ranks that keep their results in a folder; the last line that each prints."""
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
        variables = {
            "RANK": str(number),
            "WORLD_SIZE": "2",
            "LOCAL_RANK": str(number),
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": port,
        }
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
        running.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        )
    outputs = [process.communicate()[0] for process in running]
    assert all(process.returncode == 0 for process in running)
    return [text.splitlines()[-1] for text in outputs]
