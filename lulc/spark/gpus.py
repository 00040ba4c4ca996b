"""The GPUs that Spark reserves: which a task has, and how a stage or a training asks for them."""

from __future__ import annotations

from pyspark import TaskContext
from pyspark.resource import ResourceProfile, ResourceProfileBuilder, TaskResourceRequests
from pyspark.sql import SparkSession

from lulc.errors import UsageError
from lulc.models.gpus import TaskGpus

_EXECUTOR_GPUS = "spark.executor.resource.gpu.amount"
_TASK_GPUS = "spark.task.resource.gpu.amount"


def task_gpus() -> TaskGpus:
    """Return the number of the Spark task that this is, and the GPUs that are reserved for it."""
    task = TaskContext.get()
    if task is None:
        return TaskGpus(0)
    reserved = (task.resources() or {}).get("gpu")
    return TaskGpus(task.partitionId(), tuple(reserved.addresses) if reserved else ())


def is_local(spark: SparkSession) -> bool:
    """Return whether the session's tasks run in this machine's own processes."""
    master = spark.sparkContext.master or ""
    return master == "local" or master.startswith("local[")


def gpu_profile(spark: SparkSession, share: float | None) -> ResourceProfile | None:
    """Return the profile of a stage each of whose tasks has a share of a GPU.

    Args:
        spark: the session.
        share: of a GPU, 0 to 1; None for what the session's settings say.

    Returns:
        The profile; None where the session's settings say the same, and where the master is local,
        which reserves no GPUs.

    Raises:
        UsageError: a share is asked for of executors without GPUs.
    """
    if share is None or is_local(spark) or share == _amount(spark, _TASK_GPUS):
        return None
    if share and not executors_have_gpus(spark):
        raise UsageError(
            f"a task is to have {share:g} of a GPU (predict.gpu), but Spark knows of none on the "
            f"executors: set {_EXECUTOR_GPUS} and spark.executor.resource.gpu.discoveryScript, or "
            "leave predict.gpu out"
        )
    task = TaskResourceRequests().cpus(int(_amount(spark, "spark.task.cpus", "1")))
    if share:
        task = task.resource("gpu", share)
    profile: ResourceProfile = ResourceProfileBuilder().require(task).build
    return profile


def task_has_gpu(spark: SparkSession, share: float | None) -> bool:
    """Return whether Spark reserves a GPU, or a share, for the tasks of a stage.

    Args:
        spark: the session.
        share: as `gpu_profile` takes it.
    """
    return not is_local(spark) and bool(_amount(spark, _TASK_GPUS) if share is None else share)


def executors_have_gpus(spark: SparkSession) -> bool:
    """Return whether Spark knows of GPUs on the session's executors."""
    return _amount(spark, _EXECUTOR_GPUS) > 0


def ranks_have_gpus(spark: SparkSession) -> bool:
    """Return whether Spark reserves a GPU for every rank of a training.

    Raises:
        UsageError: it reserves a part of one, or several.
    """
    amount = _amount(spark, _TASK_GPUS)
    if amount not in (0, 1):
        raise UsageError(
            f"{_TASK_GPUS}={amount:g}, but a rank trains on one whole GPU: set it to 1; "
            "predict.gpu is the share of a task of predict, and other stages reserve none"
        )
    return amount == 1


def _amount(spark: SparkSession, name: str, default: str = "0") -> float:
    return float(spark.sparkContext.getConf().get(name, default))
