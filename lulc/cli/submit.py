"""A run on a cluster: one spark-submit a stage, each with the memory, cores and GPUs it needs.

What a kind of cluster sets lies in `conf/KIND.properties`, which operators copy and edit; what a
stage needs is added here. A setting in that file, or under `spark.conf` in the run file, stands.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lulc import progress
from lulc.cli import spark_submit
from lulc.cli.cluster import ADDRESSES, EXECUTOR_GPUS, Cluster, open_cluster
from lulc.config import Config
from lulc.cost.memory import parse_memory, stage_memory
from lulc.cost.plan import make_plan
from lulc.errors import LulcError, UsageError
from lulc.location import Location
from lulc.redact import first_line, redact_setting, redact_text
from lulc.runfile import parse_setting
from lulc.spark import java
from lulc.stages import STAGES, stages_of

_GPU_STAGES = ("train", "predict", "embed")
_TASK_GPUS = "spark.task.resource.gpu.amount"
_JVM_OVERHEAD = 384 * 2**20  # Spark's own least overhead, for the JVM alone
_STEP = 64 * 2**20
_MARGIN = 1.2  # a container that takes more than it asked for is killed


@dataclass(frozen=True)
class Submission:
    """One spark-submit."""

    stage: str
    note: str
    """What it asks for, in words."""
    command: tuple[str, ...]
    driver: spark_submit.Driver

    def to_text(self) -> str:
        """Return the command for a shell, `***` in place of secrets."""
        return " \\\n  ".join(shlex.quote(_redact_argument(argument)) for argument in self.command)


def make_submissions(config: Config, args: argparse.Namespace) -> Iterator[Submission]:
    """Yield the spark-submit of every stage of a run, in order.

    Args:
        config: the run.
        args: arguments of `lulc submit`.

    Raises:
        UsageError: there is no such cluster or stage, or no master is named.
    """
    cluster = open_cluster(args.on)
    # The session sets what the run file says, over what spark-submit was given; a master of the
    # run file is for where none is given.
    run_settings = {"spark.master": config.spark.master} if config.spark.master else {}
    cluster = replace(cluster, settings={**run_settings, **cluster.settings, **config.spark.conf})
    if "spark.master" not in cluster.settings:
        address = ADDRESSES.get(cluster.file.stem)
        raise UsageError(
            f"{cluster.file} names no spark.master: set it there or in the run file"
            + (f", or give its address (--on {address})" if address else "")
        )
    stages = tuple(args.stages.split(",")) if args.stages else stages_of(config)
    unknown = sorted(set(stages) - set(STAGES))
    if unknown:
        raise UsageError(f"--stages {', '.join(unknown)}: known are {', '.join(STAGES)}")
    memory, origin = _find_memory(config, args.out)
    program = str(_spark_home() / "bin" / "spark-submit")
    driver: spark_submit.Driver = "here"
    if cluster.is_driver_elsewhere:
        driver = "pod" if cluster.settings["spark.master"].startswith("k8s://") else "yarn"
    if driver == "pod" and isinstance(args.run, Path):
        progress.say(
            f"warning: the driver is a pod, which is not sent {args.run}: have this file under the "
            "same path in the image or a volume, or put it into a store and give its address"
        )
    options = [f"--properties-file={cluster.file}", *_driver_options(cluster, args)]
    for stage in stages:
        sizes, note = _size_stage(stage, memory[stage], cluster, config)
        added = [f"--conf={name}={value}" for name, value in sizes.items()]
        job = [f"{cluster.jobs}/{stage}.py", *_job_arguments(args, cluster)]
        command = (program, *options, *added, *job)
        yield Submission(stage, note + origin, command, driver)


def run_submissions(submissions: Iterator[Submission], is_dry: bool) -> int:
    """Print every command, and run it unless it is dry; a failed one is the last.

    Returns:
        The exit code of the last command that was run.
    """
    environment = {**os.environ, **java.PRIVATE, "SPARK_HOME": str(_spark_home())}
    if not is_dry:
        environment["JAVA_HOME"] = str(java.find_home())
    for submission in submissions:
        print(f"# {submission.stage}: {submission.note}\n{submission.to_text()}", flush=True)
        if is_dry:
            continue
        code = spark_submit.run_to_end(submission.command, environment, submission.driver)
        if code:
            print(
                f"lulc: stage {submission.stage} ended with {code}; finished work is kept; "
                "the same command goes on",
                file=sys.stderr,
            )
            return code
    return 0


def _find_memory(config: Config, out: Location) -> tuple[dict[str, int], str]:
    # Bytes that a task of each stage takes, and a remark where they are not planned.
    if not config.scenes:
        return stage_memory(config), ""
    try:
        return make_plan(config, out).memory, ""
    except (LulcError, OSError) as error:
        # The cluster may have credentials and mounts that this machine lacks.
        cause = first_line(error)
        remark = f"; no plan can be made here, so values of 4 bytes are taken ({cause})"
        return stage_memory(config), remark


def _driver_options(cluster: Cluster, args: argparse.Namespace) -> list[str]:
    # Options of spark-submit that are the same for all stages.
    options = [f"--conf=spark.master={cluster.settings['spark.master']}"]
    if cluster.takes_files and isinstance(args.run, Path):
        # The option takes the place of the setting.
        files = [str(args.run.resolve()), *filter(None, [cluster.settings.get("spark.files")])]
        options.append(f"--files={','.join(files)}")
    if cluster.is_driver_elsewhere:
        return options
    settings = cluster.settings
    if "spark.pyspark.python" not in settings and "PYSPARK_PYTHON" not in os.environ:
        options.append(f"--conf=spark.pyspark.python={sys.executable}")
    if "spark.pyspark.driver.python" not in settings:
        options.append(f"--conf=spark.pyspark.driver.python={sys.executable}")
    if not args.debug and "spark.driver.extraJavaOptions" not in settings:
        from lulc.spark.session import quiet_settings

        options += [f"--conf={name}={value}" for name, value in quiet_settings().items()]
    return options


def _size_stage(
    stage: str, task_bytes: int, cluster: Cluster, config: Config
) -> tuple[dict[str, str], str]:
    # The settings that a stage adds to those that are given, and what they are in words.
    settings = cluster.settings
    sizes: dict[str, str] = {}
    cores, gpus = cluster.cores, cluster.gpus if stage in _GPU_STAGES else 0
    if stage == "train":
        # Its ranks start together: executors that come and go would leave them waiting.
        cores = min(config.train.ranks, gpus or cores)
        sizes["spark.dynamicAllocation.enabled"] = "false"
        sizes["spark.executor.instances"] = str(math.ceil(config.train.ranks / cores))
    sizes["spark.executor.cores"] = str(cores)
    if gpus:
        sizes |= _share_gpus(stage, gpus, cores, config.predict.gpu)
    elif cluster.gpus and _TASK_GPUS not in settings:
        # Spark takes no amount for tasks, not even 0, where executors have none.
        sizes[EXECUTOR_GPUS] = "0"
    heap = settings.get("spark.executor.memory", config.spark.memory)
    beside_heap = cores * task_bytes * _MARGIN + max(_JVM_OVERHEAD, parse_memory(heap) // 10)
    overhead = f"{math.ceil(beside_heap / _STEP) * _STEP // 2**20}m"
    memory_settings = {"spark.driver.memory": config.spark.memory, "spark.executor.memory": heap}
    memory_settings["spark.executor.memoryOverhead"] = overhead
    sizes |= {name: value for name, value in memory_settings.items() if name not in settings}
    if not cluster.has_image:
        sizes |= _add_jars(settings.get("spark.jars.packages"), stage == "publish")
    tasks = "1 task" if cores == 1 else f"{cores} tasks"
    note = f"{tasks} an executor, {task_bytes / 2**20:,.0f} MiB each beside a JVM of {heap}"
    return sizes, note + (f", {gpus} GPUs" if gpus else "")


def _add_jars(packages: str | None, publishes: bool) -> dict[str, str]:
    from lulc.spark.session import ICEBERG, jar_settings

    extra = ICEBERG if publishes else ()
    if packages is None:
        return jar_settings(extra)
    return {"spark.jars.packages": ",".join((packages, *extra))} if extra else {}


def _share_gpus(stage: str, gpus: int, cores: int, task_share: float | None) -> dict[str, str]:
    # A rank trains on a whole GPU. Spark gives whole GPUs, or shares of at most one half.
    share = 1.0 if stage == "train" else gpus / cores
    if stage == "predict" and task_share is not None:
        share = task_share
    return {
        EXECUTOR_GPUS: str(gpus),
        _TASK_GPUS: f"{share if share <= 0.5 else math.ceil(share):g}",
    }


def _job_arguments(args: argparse.Namespace, cluster: Cluster) -> list[str]:
    # A driver elsewhere finds a run file that was sent along in its working folder.
    is_sent = cluster.takes_files and isinstance(args.run, Path)
    arguments = [args.run.name if is_sent else str(args.run), f"--out={args.out}"]
    arguments += [f"--set={setting}" for setting in args.set]
    for option in ("bbox", "tiles", "where", "max_bad"):
        value = getattr(args, option)
        if value is not None:
            arguments.append(f"--{option.replace('_', '-')}={value}")
    switches = {"--retry-bad": args.retry_bad, "--debug": args.debug}
    return arguments + [switch for switch, is_on in switches.items() if is_on]


def _spark_home() -> Path:
    # The Spark of this environment: that of the machine may be of another release.
    spec = importlib.util.find_spec("pyspark")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def _redact_argument(argument: str) -> str:
    # Of `--conf=name=value` and `--set=name=value` the value is shown as that of a setting.
    match = re.fullmatch(r"--(conf|set)=([^=]+)=(.*)", argument, re.DOTALL)
    if match is None:
        return redact_text(argument)
    option, name, text = match.groups()
    if option == "set":
        # A mapping's secrets have names of their own.
        value = parse_setting(f"{name}={text}")[1]
        redacted = redact_setting(name, value)
        text = text if redacted == value else json.dumps(redacted, default=str)
    return f"--{option}={name}={redact_setting(name, text)}"
