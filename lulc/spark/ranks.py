"""Training launched as ranks on the session's machines, with the epochs told as they end."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lulc import errors, progress
from lulc.errors import LulcError
from lulc.spark.context import StageContext

if TYPE_CHECKING:
    from lulc.training.fit import TrainResult
    from lulc.training.setup import TrainJob

_METRIC_LABELS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "miou": "mean IoU",
    "ap_macro": "mean AP",
    "ap50": "AP50",
    "recall30": "recall at IoU 0.3",
}


def launch(context: StageContext, job: TrainJob) -> TrainResult:
    """Train, and return what rank 0 does.

    Ranks are processes of this machine under a local master, else Spark tasks that run all at once.
    One rank on this machine's cores is this process: another takes as long to begin as a small
    training to end. The memory of a GPU is had back only when the process ends.

    Raises:
        LulcError: of the kind and with the message of the rank that failed.
    """
    from pyspark.ml.torch.distributor import TorchDistributor

    from lulc.models.device import choose_device
    from lulc.training.fit import fit

    cluster = context.spark().sparkContext
    is_local = re.fullmatch(r"local(\[.*\])?", cluster.master or "") is not None
    if is_local and job.train.ranks == 1 and choose_device().type == "cpu":
        with _epochs_told(job.folder):
            return fit(job)
    gpus_a_task = int(cluster.getConf().get("spark.task.resource.gpu.amount", "0") or 0)
    use_gpu = not is_local and gpus_a_task > 0
    distributor = TorchDistributor(job.train.ranks, local_mode=is_local, use_gpu=use_gpu)
    logging.getLogger("TorchDistributor").setLevel(logging.WARNING)
    # What ranks print is repeated in the error when they fail; until then it is noise.
    with (
        _epochs_told(job.folder),
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        try:
            result: TrainResult | None = distributor.run(fit, job)
        except Exception as error:
            raise _error_of_rank(str(error)) from error
    assert result is not None  # rank 0 always returns one
    return result


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
def _epochs_told(folder: Path) -> Iterator[None]:
    # Tells the user of every epoch that rank 0 writes to the log while the ranks run elsewhere.
    from lulc.training.fit import read_log

    ended = threading.Event()
    logged = len(read_log(folder))
    if logged:
        progress.say(f"training continues after epoch {logged}")

    def watch(logged: int) -> None:
        is_last = False
        while not is_last:
            is_last = ended.wait(1.0)
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
