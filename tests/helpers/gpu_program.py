"""python -m tests.helpers.gpu_program MASTER OUT: what tasks see of a cluster's GPUs, as JSON.

OUT holds blocks of chips, which are mapped too.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from lulc.config import SessionConf
from lulc.models.gpus import own_gpu
from lulc.spark.context import StageContext
from lulc.spark.gpus import task_gpus
from lulc.spark.ranks import run_ranks
from lulc.spark.session import start_session
from lulc.spark.stages.predict import predict
from lulc.spark.workers import map_keys
from lulc.stages import Selection
from tests.helpers import short_jvms
from tests.helpers.synthetic_chips import make_run

VIEW = pa.schema(
    {
        "addresses": pa.list_(pa.string()),
        "gpu": pa.int64(),
        "variable": pa.string(),
        "start": pa.float64(),
        "stop": pa.float64(),
    }
)
UUIDS = ("7d2f", "aaaa")
"""Of the two GPUs, as torch would name them: Spark knows the second as GPU-aaaa."""


def view(key: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a Spark task sees, and from when to when it ran.

    Args:
        key: `meeting`, a folder in which tasks that run at once wait for each other, and `at_once`,
            how many they are.
    """
    start, meeting = time.time(), Path(key["meeting"])
    (meeting / str(key["number"])).touch()
    come = len(list(meeting.iterdir()))
    awaited = math.ceil(come / key["at_once"]) * key["at_once"]
    while len(list(meeting.iterdir())) < awaited and time.time() < start + 60:
        time.sleep(0.05)
    time.sleep(0.5)  # in which a task too many would start
    return [
        {
            "addresses": list(task_gpus().addresses),
            "gpu": own_gpu(UUIDS),
            "variable": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "start": start,
            "stop": time.time(),
        }
    ]


def view_of_ranks() -> list[str]:
    """Return the GPUs that each rank sees."""
    from torch import distributed

    distributed.init_process_group("gloo")
    seen: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(seen, os.environ["CUDA_VISIBLE_DEVICES"])
    distributed.destroy_process_group()
    return seen


def main(master: str, out: Path) -> None:
    """Print what ranks see, and tasks by the share of a GPU; and map the chips."""
    conf = {
        "spark.driver.host": "127.0.0.1",
        "spark.executor.extraJavaOptions": short_jvms.of_this_process(),
        "spark.executor.resource.gpu.amount": "2",
        "spark.task.resource.gpu.amount": "1",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.compress": "false",
        "spark.eventLog.dir": out.as_uri(),
    }
    spark = start_session(SessionConf(master=master, memory="600m", conf=conf))
    run = make_run(predict={"precision": "float32", "gpu": 0.5})
    context = StageContext(run, out, Selection(), lambda: spark)
    try:
        ranks = run_ranks(spark, 2, view_of_ranks)
        views = {}
        for share, at_once in ((1, 2), (0.5, 4), (0, 4)):
            meeting = out / f"meeting {share}"
            meeting.mkdir()
            keys = [
                {"number": number, "meeting": str(meeting), "at_once": at_once}
                for number in range(4)
            ]
            views[share] = map_keys(context, keys, view, VIEW, "gpus", share)
        mapped = predict(context)
    finally:
        spark.stop()
    print(json.dumps({"views": views, "ranks": ranks, "mapped": mapped.done}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
