"""Training launched as ranks on the session's machines, with the epochs told as they end."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import SparkSession

from lulc import errors, progress
from lulc.errors import LulcError
from lulc.location import Location
from lulc.spark.carried import carry
from lulc.spark.context import StageContext
from lulc.spark.gpus import executors_have_gpus, is_local, ranks_have_gpus

if TYPE_CHECKING:
    from lulc.training.fit import TrainResult
    from lulc.training.setup import TrainJob

_TRAINING = "LULC_TRAINING"
_GLANCE_S, _GLANCE_IN_STORE_S = 1.0, 10.0

_METRIC_LABELS = {
    "loss": "training loss",
    "validation_loss": "validation loss",
    "accuracy": "accuracy",
    "miou": "mean IoU",
    "ap_macro": "mean AP",
    "ap50": "AP50",
    "recall30": "recall at IoU 0.3",
}


def launch(context: StageContext, job: TrainJob) -> TrainResult:
    """Train, and return what rank 0 does.

    One rank on this machine's cores is this process: another takes as long to begin as a small
    training to end. The memory of a GPU is had back only when the process ends.

    Raises:
        LulcError: of the kind and with the message of the rank that failed.
        UsageError: Spark reserves a part of a GPU for a rank, or several.
    """
    from lulc.models.device import choose_device
    from lulc.training.fit import fit

    spark, ranks = context.spark(), job.ranks
    with _epochs_told(job.folder):
        on_cores = job.model.is_trees or choose_device().type == "cpu"
        if is_local(spark) and ranks == 1 and on_cores:
            return fit(job)
        result: TrainResult | None = run_ranks(spark, ranks, fit, job)
    assert result is not None  # rank 0 always returns one
    return result


def run_ranks(spark: SparkSession, ranks: int, work: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in ranks that run all at once, and return what rank 0 gives.

    Ranks are processes of this machine under a local master, else Spark tasks; each sees just the
    GPU that Spark reserves for it, and none where Spark reserves none.

    Args:
        spark: the session.
        ranks: how many.
        work: a module's function, called in each with torchrun's environment.
        arguments: of the function.

    Raises:
        LulcError: of the kind and with the message of the rank that failed.
        UsageError: Spark reserves a part of a GPU for a rank, or several.
    """
    from pyspark.ml.torch.distributor import TorchDistributor

    local = is_local(spark)
    use_gpu = not local and ranks_have_gpus(spark)
    if not (local or use_gpu) and executors_have_gpus(spark):
        progress.say(
            "training uses the executors' processors: set spark.task.resource.gpu.amount=1 to "
            "train on their GPUs"
        )
    distributor = TorchDistributor(ranks, local_mode=local, use_gpu=use_gpu)
    logging.getLogger("TorchDistributor").setLevel(logging.WARNING)
    # What ranks print is repeated in the error when they fail; until then it is noise.
    with (
        _own_workers(spark),
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        try:
            return distributor.run(carry(partial(work, *arguments)))
        except Exception as error:
            raise _error_of_rank(str(error)) from error


@contextlib.contextmanager
def _own_workers(spark: SparkSession) -> Iterator[None]:
    # Spark starts Python workers of their own for tasks with another environment. The workers of
    # ranks keep the CUDA_VISIBLE_DEVICES of their first task: later tasks, of this training or of
    # predict, would see that GPU alone, or none.
    environment = spark.sparkContext.environment
    environment[_TRAINING] = uuid.uuid4().hex
    try:
        yield
    finally:
        del environment[_TRAINING]


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Return the metrics that a user looks at, by their usual names."""
    return ", ".join(
        f"{label} {metrics[name]:.3f}" for name, label in _METRIC_LABELS.items() if name in metrics
    )


def _error_of_rank(text: str) -> LulcError:
    for name, message in re.findall(r"lulc\.errors\.(\w+): (.*)", text):
        kind: type[LulcError] = getattr(errors, name, LulcError)
        return kind(message)
    tail = "\n  ".join(text.strip().splitlines()[-15:])
    return LulcError(
        "training failed; a rerun continues after the last complete epoch. "
        f"The ranks' last lines:\n  {tail}"
    )


@contextlib.contextmanager
def _epochs_told(folder: Location) -> Iterator[None]:
    # Tells the user of every epoch that rank 0 writes to the log while the ranks run elsewhere.
    from lulc.training.fit import read_log

    ended = threading.Event()
    logged = len(read_log(folder))
    if logged:
        progress.say(f"training continues after epoch {logged}")

    def watch(logged: int) -> None:
        is_last = False
        while not is_last:
            is_last = ended.wait(_GLANCE_S if isinstance(folder, Path) else _GLANCE_IN_STORE_S)
            for entry in read_log(folder)[logged:]:
                metrics = format_metrics(entry["metrics"])
                epoch = f"epoch {entry['epoch']}/{entry['epochs']}"
                progress.say(f"{epoch} {metrics} ({entry['seconds']:.0f} s)")
                logged += 1

    watcher = threading.Thread(target=watch, args=(logged,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
