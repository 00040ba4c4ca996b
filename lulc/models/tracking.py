"""MLflow, and no other module imports it: runs, pictures, the registry of models, and models as plain folders of two files."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow.artifacts
import mlflow.pyfunc
import numpy as np
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import Schema, TensorSpec

import lulc
from lulc import progress
from lulc.config import Config
from lulc.errors import SetupError
from lulc.models import contract
from lulc.models.package import (
    CONTRACT,
    DESCRIBED,
    WEIGHTS,
    ModelRef,
    local_folder,
    model_checksum,
    place_model,
)
from lulc.models.registry import CHAMPION, _connected, _fetch, _Unreachable, store_uri
from lulc.redact import first_line, redact_setting


def flatten_settings(config: Config) -> dict[str, str]:
    """Every setting of a run file by its dotted name; secrets are left out of the values."""
    found: dict[str, str] = {}

    def flatten(name: str, value: Any) -> None:
        if isinstance(value, Mapping | tuple | list) and value:
            for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
                flatten(f"{name}.{key}" if name else str(key), part)
        else:
            found[re.sub(r"[^\w\-. /]", "_", name)[:250]] = redact_setting(
                name, "" if value in ((), [], {}) else str(value)
            )[:6000]

    flatten("", dataclasses.asdict(config))
    return found


def find_commit() -> str | None:
    """The git commit of the code that runs, None where it is installed without its history."""
    place = Path(lulc.__file__).parents[1]
    if not (place / ".git").exists():
        return None
    said = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=place, capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or None


# Nothing about a run leaves for MLflow's makers unless the user says so; set before MLflow reads it.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
_PACKAGES = ("torch", "segmentation-models-pytorch", "safetensors", "numpy", "mlflow")

for _name in ("mlflow", "alembic", "sqlalchemy", "urllib3"):
    logging.getLogger(_name).setLevel(logging.ERROR)


@dataclass(frozen=True)
class Training:
    """What is logged of a training: fingerprints by table or stage, a mapping an epoch, the best epoch (from 1), the folder with
    the best weights and the contract, and pictures."""

    fingerprints: Mapping[str, str]
    history: Sequence[Mapping[str, Any]]
    best: int
    folder: Path
    pictures: Sequence[Path] = ()


def reachable(config: Config, out: Path) -> bool:
    """Whether the tracking server answers; when it does not, the user is told, or SetupError where tracking.required says so."""
    uri = store_uri(config.tracking.uri, out)
    try:
        with _connected(uri, tries=1) as client:
            client.search_experiments(max_results=1)
    except _Unreachable as error:
        text = (
            f"tracking store {redact_setting('uri', uri)} cannot be reached ({first_line(error)})"
        )
        if config.tracking.required:
            raise SetupError(
                f"{text}, and tracking.required asks for it: start it, or set tracking.uri"
            ) from error
        progress.say(
            f"warning: {text}; training goes on, and the model is kept in {local_folder(out, config.name)}"
        )
        return False
    return True


def log_training(config: Config, out: Path, training: Training) -> ModelRef:
    """The registered version, now the champion; settings, metrics, pictures and fingerprints are logged beside it.

    Where the store cannot be reached the user is told and the model is kept in OUT/models/<name>-local; SetupError if it is
    required.
    """
    uri = store_uri(config.tracking.uri, out)
    try:
        with _connected(uri) as client:
            found = _register(client, config, out, training)
        shutil.rmtree(local_folder(out, config.name), ignore_errors=True)
        return found
    except _Unreachable as error:
        text = f"the run could not be logged to {redact_setting('uri', uri)} ({first_line(error)})"
        if config.tracking.required:
            raise SetupError(
                f"{text}, and tracking.required asks for it; nothing is lost: run again when it answers"
            ) from error
        folder = local_folder(out, config.name)
        progress.say(
            f"warning: {text}; the model is kept in {folder}, and logged by the next run that reaches it"
        )
        place_model(training.folder, folder)
        return ModelRef(config.name, "local", folder, model_checksum(folder))


def _register(
    client: mlflow.MlflowClient, config: Config, out: Path, training: Training
) -> ModelRef:
    made = client.create_run(
        _experiment(client, config, out), run_name=config.name, tags=_tags(config, training)
    )
    run_id = made.info.run_id
    try:
        metrics = [
            Metric(_metric_name(name), value, entry["finished"], entry["epoch"])
            for entry in training.history
            for name, value in entry["metrics"].items()
            if not math.isnan(value)
        ]
        client.log_batch(
            run_id,
            metrics,
            [Param(name, value) for name, value in flatten_settings(config).items()],
        )
        for picture in training.pictures:
            client.log_artifact(run_id, str(picture), "pictures")
        with tempfile.TemporaryDirectory() as folder:
            _save(training.folder, Path(folder) / "model")
            place_model(training.folder, Path(folder) / "described")
            shutil.copyfile(
                Path(folder) / "described" / DESCRIBED, Path(folder) / "model" / DESCRIBED
            )
            client.log_artifacts(run_id, str(Path(folder) / "model"), "model")
        with contextlib.suppress(MlflowException):  # it stands already
            client.create_registered_model(config.name)
        tags = {
            "fingerprint": training.fingerprints["train"],
            "checksum": model_checksum(training.folder),
            "best_epoch": str(training.best),
            "task": config.task or "",
        }
        tags |= {f"score.{name}": f"{value:.4g}" for name, value in _headline(training)}
        version = client.create_model_version(
            config.name, f"{made.info.artifact_uri}/model", run_id, tags=tags
        )
        client.set_registered_model_alias(config.name, CHAMPION, version.version)
    except BaseException:
        with contextlib.suppress(*_Unreachable):
            client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
    return _fetch(client, version, store_uri(config.tracking.uri, out), out)


def log_trials(config: Config, out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Nothing; a run of the experiment has each trial as a child, with its settings and scores, and the mean of their scores.

    Where the store cannot be reached the user is told; SetupError if it is required.
    """
    uri = store_uri(config.tracking.uri, out)
    known = [row["score"] for row in rows if row["score"] is not None]
    try:
        with _connected(uri) as client:
            where = _experiment(client, config, out)
            parent = client.create_run(
                where, run_name=f"{config.name} trials", tags={"mlflow.source.name": "lulc"}
            ).info.run_id
            for row in rows:
                fold = "" if row["fold"] is None else f"fold {row['fold']}"
                name = " ".join(part for part in (row["settings"], fold) if part) or "as it is"
                child = client.create_run(
                    where, run_name=name, tags={"mlflow.parentRunId": parent}
                ).info.run_id
                params = [Param("fold", str(row["fold"]))] if fold else []
                params += [Param(*pair.partition("=")[::2]) for pair in row["settings"].split()]
                now = int(datetime.now(UTC).timestamp() * 1000)
                metrics = [
                    Metric(_metric_name(n), v, now, 0)
                    for n, v in row["metrics"] or ()
                    if not math.isnan(v)
                ]
                client.log_batch(child, metrics, params)
                client.set_terminated(child, "FAILED" if row["error"] else "FINISHED")
            if known:
                mean = sum(known) / len(known)
                client.log_metric(parent, f"mean_{rows[0]['metric']}", mean)
                client.log_metric(
                    parent,
                    f"spread_{rows[0]['metric']}",
                    float(np.std(known, ddof=1)) if len(known) > 1 else 0.0,
                )
            client.set_terminated(parent)
    except _Unreachable as error:
        text = (
            f"the trials could not be logged to {redact_setting('uri', uri)} ({first_line(error)})"
        )
        if config.tracking.required:
            raise SetupError(
                f"{text}, and tracking.required asks for it: run again when it answers, nothing is lost"
            ) from error
        progress.say(f"warning: {text}")


def _metric_name(name: str) -> str:
    # What MLflow takes: classes may be called anything.
    return re.sub(r"[^\w\-. /]", "_", name)


def _headline(training: Training) -> list[tuple[str, float]]:
    # What a list of models tells: the scores of all classes together.
    best = training.history[training.best - 1]["metrics"]
    return [
        (name, value)
        for name, value in best.items()
        if "/" not in name and name not in ("loss", "rate")
    ]


def _experiment(client: mlflow.MlflowClient, config: Config, out: Path) -> str:
    name = config.tracking.experiment or config.name
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    own = (
        store_uri(config.tracking.uri, out) == store_uri(None, out)
        and "MLFLOW_TRACKING_URI" not in os.environ
    )
    return str(
        client.create_experiment(name, (out / "mlartifacts").resolve().as_uri() if own else None)
    )


def _save(folder: Path, path: Path) -> None:
    """An MLflow model folder: a script instead of a pickle, the two files, and a signature.

    Physical values (N, T, C, H, W), NaN where not valid → legend ids (N, H, W).
    """
    made = contract.read_contract(folder / CONTRACT)
    inputs = TensorSpec(np.dtype("float32"), (-1, -1, len(made.bands), -1, -1))
    outputs = TensorSpec(np.dtype("uint8"), (-1, -1, -1))
    with warnings.catch_warnings(
        action="ignore", category=UserWarning
    ):  # it asks for an example of the input
        mlflow.pyfunc.save_model(
            str(path),
            python_model=str(Path(lulc.__file__).parent / "inference" / "pyfunc.py"),
            artifacts={"weights": str(folder / WEIGHTS), "contract": str(folder / CONTRACT)},
            signature=ModelSignature(Schema([inputs]), Schema([outputs])),
            pip_requirements=[f"{name}=={installed(name)}" for name in _PACKAGES],
        )


def _tags(config: Config, training: Training) -> dict[str, str]:
    tags = {
        "mlflow.source.name": "lulc",
        "lulc.version": lulc.__version__,
        "legend": ", ".join(c.name for c in config.legend.values()),
    }
    tags |= {f"fingerprint.{name}": value for name, value in training.fingerprints.items()}
    commit = find_commit()
    return tags | ({"mlflow.source.git.commit": commit} if commit else {})
