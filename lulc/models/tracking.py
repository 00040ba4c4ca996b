"""Trainings and trials logged to the tracking store: runs, pictures, and models registered."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Nothing about a run is sent to MLflow's makers unless the user says so; MLflow reads it as it is
# imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import mlflow.pyfunc
import numpy as np
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import Schema, TensorSpec

import lulc
from lulc import progress
from lulc.config import Config
from lulc.errors import SetupError
from lulc.location import Location
from lulc.models.contract import TREE_MODELS, read_contract
from lulc.models.package import (
    CARD,
    CONTRACT,
    LOCAL,
    MLM_ITEM,
    ModelRef,
    local_folder,
    model_checksum,
    place_model,
    weights_name,
)
from lulc.models.registry import (
    ABSENT,
    CHAMPION,
    SET_SERVER,
    STORE_ERRORS,
    connect_store,
    explain_absence,
    fetch_version,
    is_absent_database,
    store_folder,
    store_uri,
)
from lulc.redact import first_line, redact_setting
from lulc.stats.confusion import hardly_mapped, summarise
from lulc.tables import files, layout

if TYPE_CHECKING:
    from lulc.models.networks.trained_parts import WeightCount

_PACKAGES = ("torch", "segmentation-models-pytorch", "safetensors", "numpy", "mlflow")
_PACKAGES_OF_TREES = (*_PACKAGES, "lightgbm")

# Characters that MLflow takes in no name of a parameter or metric; classes may be called anything.
_NOT_IN_NAMES = re.compile(r"[^\w\-. /]")


@dataclass(frozen=True)
class Training:
    """What is logged of a training."""

    fingerprints: Mapping[str, str]
    """Fingerprints by table or stage."""
    history: Sequence[Mapping[str, Any]]
    """A mapping an epoch: `epoch`, `finished` (ms since 1970) and `metrics` by name."""
    best_epoch: int
    """Number of the best epoch, from 1."""
    folder: Location
    """The folder with the best weights and the contract."""
    pictures: Sequence[Location] = ()
    """Files of pictures."""
    weight_count: WeightCount | None = None
    """Of the network; None of trees."""
    tables: Sequence[Location] = ()
    """Files of tables."""


def reachable(config: Config, out: Location) -> bool:
    """Return whether the tracking store answers; warn the user where it does not.

    Raises:
        SetupError, UsageError: as `lulc.models.registry.explain_absence` does.
    """
    uri, folder = store_uri(config.tracking.uri, out), local_folder(out, config.name)
    if uri is None:
        text = explain_absence(config, out)
        progress.say(
            f"warning: {text}: the model is kept in {folder}; to register models, {SET_SERVER}"
        )
        return False
    try:
        with connect_store(uri, tries=1) as client:
            client.search_experiments(max_results=1)
    except STORE_ERRORS as error:
        text = explain_absence(config, out, error)
        progress.say(f"warning: {text}; training goes on, and the model is kept in {folder}")
        return False
    return True


def log_training(config: Config, out: Location, training: Training) -> ModelRef:
    """Log a training as a run and register its model as the champion.

    Settings, metrics, pictures and fingerprints are logged with it.

    Args:
        config: the run file.
        out: the output folder.
        training: what is logged.

    Returns:
        The registered version. Where the store cannot be reached the user is warned, and it is the
        model kept in OUT/models/<name>-local.

    Raises:
        SetupError: the store cannot be reached, and tracking.required is set.
    """
    uri = store_uri(config.tracking.uri, out)
    folder = local_folder(out, config.name)
    if uri is None:
        return _keep(config, training, folder)
    try:
        with connect_store(uri) as client:
            version = _log_and_register(client, config, out, training)
            model = fetch_version(client, version, uri, out)
        files.remove_folder(folder)
        return model
    except STORE_ERRORS as error:
        text = f"the run could not be logged to {redact_setting('uri', uri)} ({first_line(error)})"
        if config.tracking.required:
            raise SetupError(
                f"{text}, and tracking.required is set; nothing is lost: "
                "run again when the store answers"
            ) from error
        progress.say(
            f"warning: {text}; the model is kept in {folder}, "
            "and the next run that reaches the store logs it"
        )
        return _keep(config, training, folder)


def _keep(config: Config, training: Training, folder: Location) -> ModelRef:
    place_model(training.folder, folder)
    return ModelRef(config.name, LOCAL, folder, model_checksum(folder))


def log_trials(config: Config, out: Location, rows: Sequence[Mapping[str, Any]]) -> None:
    """Log trials as one run, each trial as a child run with its settings and scores.

    The parent run has the mean and the spread (sample standard deviation) of the scores. Where the
    store cannot be reached the user is warned.

    Args:
        config: the run file.
        out: the output folder.
        rows: rows of the trials table.

    Raises:
        SetupError: the store cannot be reached, and tracking.required is set.
    """
    uri = store_uri(config.tracking.uri, out)
    if uri is None:
        return
    try:
        with connect_store(uri) as client:
            experiment = _experiment_id(client, config, out)
            tags = {"mlflow.source.name": "lulc"}
            parent = client.create_run(experiment, run_name=f"{config.name} trials", tags=tags)
            for row in rows:
                _log_trial(client, parent.info, row)
            _log_mean_and_spread(client, parent.info.run_id, rows)
            client.set_terminated(parent.info.run_id)
    except STORE_ERRORS as error:
        _warn_not_logged(config, f"the trials could not be logged to {_shown(uri)}", error)


def tag_hardly_mapped(
    config: Config, out: Location, name: str, version: str, names: Sequence[str]
) -> None:
    """Tag a version, and its run, with the classes that it hardly maps on the test split.

    Nothing is done of a model that is not registered: one kept on disk, or several that map
    together. Where the store cannot be reached the user is warned.

    Args:
        config: the run file.
        out: the output folder.
        name: of the model.
        version: its number.
        names: of the classes that are labelled and hardly mapped.

    Raises:
        SetupError: the store cannot be reached, and tracking.required is set.
    """
    uri = store_uri(config.tracking.uri, out)
    if uri is None or not version.isdecimal() or is_absent_database(uri):
        return
    key, value = _hardly_mapped_tag("test", names)
    try:
        with connect_store(uri) as client:
            try:
                run_id = client.get_model_version(name, version).run_id
            except MlflowException as error:
                if error.error_code in ABSENT:
                    return
                raise
            client.set_model_version_tag(name, version, key, value)
            if run_id:
                client.set_tag(run_id, key, value)
    except STORE_ERRORS as error:
        text = f"{name} version {version} could not be tagged in {_shown(uri)}"
        _warn_not_logged(config, text, error)


def _hardly_mapped_tag(split: str, names: Sequence[str]) -> tuple[str, str]:
    return f"hardly_mapped.{split}", ", ".join(names) or "none"


def _shown(uri: str) -> Any:
    return redact_setting("uri", uri)


def _warn_not_logged(config: Config, text: str, error: Exception) -> None:
    text = f"{text} ({first_line(error)})"
    if config.tracking.required:
        raise SetupError(
            f"{text}, and tracking.required is set: "
            "run again when the store answers, nothing is lost"
        ) from error
    progress.say(f"warning: {text}")


def flatten_settings(config: Config) -> dict[str, str]:
    """Return every setting of a run file by its dotted name.

    Returns:
        Names and values as MLflow takes them, secrets left out of the values.
    """
    settings: dict[str, str] = {}
    for name, value in _leaves("", dataclasses.asdict(config)):
        text = "" if value in ((), [], {}) else str(value)
        # At most as long as MLflow keeps.
        settings[_NOT_IN_NAMES.sub("_", name)[:250]] = redact_setting(name, text)[:6000]
    return settings


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping | tuple | list) and value:
        for key, child in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _leaves(f"{name}.{key}" if name else str(key), child)
    else:
        yield name, value


def find_commit() -> str | None:
    """Return the git commit of the code that runs, None where it is installed without history."""
    root = Path(lulc.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "rev-parse", "HEAD"]
    git = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return git.stdout.strip() or None


def _log_and_register(
    client: mlflow.MlflowClient, config: Config, out: Location, training: Training
) -> Any:
    """Log a run, marked as failed where an error ends it, and return the version it registers."""
    experiment = _experiment_id(client, config, out)
    tags = _run_tags(config, training)
    run = client.create_run(experiment, run_name=config.name, tags=tags)
    run_id = run.info.run_id
    try:
        _log_history(client, run_id, config, training)
        _log_model(client, run_id, training.folder)
        version = _register_champion(client, run, config, training)
    except BaseException:
        with contextlib.suppress(*STORE_ERRORS):
            client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
    return version


def _log_history(
    client: mlflow.MlflowClient, run_id: str, config: Config, training: Training
) -> None:
    metrics = [
        Metric(_metric_name(name), value, epoch["finished"], epoch["epoch"])
        for epoch in training.history
        for name, value in epoch["metrics"].items()
        if not math.isnan(value)
    ]
    settings = flatten_settings(config) | {
        "precision": _precision_of(training),
    }
    if count := training.weight_count:
        settings |= {"trained_weights": str(count.trained), "network_weights": str(count.all)}
    client.log_batch(run_id, metrics, [Param(name, value) for name, value in settings.items()])
    for folder, artifacts in (("pictures", training.pictures), ("tables", training.tables)):
        for artifact in artifacts:
            with files.local_copy(artifact) as path:
                client.log_artifact(run_id, str(path), folder)


def _log_model(client: mlflow.MlflowClient, run_id: str, folder: Location) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        saved, described = Path(temporary) / "model", Path(temporary) / "described"
        place_model(folder, described)
        _save_pyfunc(described, saved)
        shutil.copyfile(described / MLM_ITEM, saved / MLM_ITEM)
        if (described / CARD).exists():
            shutil.copyfile(described / CARD, saved / CARD)
        client.log_artifacts(run_id, str(saved), "model")


def _register_champion(
    client: mlflow.MlflowClient, run: Run, config: Config, training: Training
) -> Any:
    with contextlib.suppress(MlflowException):  # it exists already
        client.create_registered_model(config.name)
    tags = {
        "fingerprint": training.fingerprints["train"],
        "checksum": model_checksum(training.folder),
        "best_epoch": str(training.best_epoch),
        "task": config.task or "",
        "precision": _precision_of(training),
        "units": _units_of(training),
    }
    tags |= {f"score.{name}": f"{value:.4g}" for name, value in _overall_scores(training)}
    tags |= _quality_tags(config, training)
    source = f"{run.info.artifact_uri}/model"
    version = client.create_model_version(config.name, source, run.info.run_id, tags=tags)
    client.set_registered_model_alias(config.name, CHAMPION, version.version)
    return version


def _log_trial(client: mlflow.MlflowClient, parent: Any, row: Mapping[str, Any]) -> None:
    fold = "" if row["fold"] is None else f"fold {row['fold']}"
    name = " ".join(text for text in (row["settings"], fold) if text) or "as it is"
    tags = {"mlflow.parentRunId": parent.run_id}
    run_id = client.create_run(parent.experiment_id, run_name=name, tags=tags).info.run_id
    params = [Param("fold", str(row["fold"]))] if fold else []
    for setting in row["settings"].split():
        key, _, value = setting.partition("=")
        params.append(Param(key, value))
    now = int(datetime.now(UTC).timestamp() * 1000)
    metrics = [
        Metric(_metric_name(metric), value, now, 0)
        for metric, value in row["metrics"] or ()
        if not math.isnan(value)
    ]
    client.log_batch(run_id, metrics, params)
    client.set_terminated(run_id, "FAILED" if row["error"] else "FINISHED")


def _log_mean_and_spread(
    client: mlflow.MlflowClient, run_id: str, rows: Sequence[Mapping[str, Any]]
) -> None:
    scores = [row["score"] for row in rows if row["score"] is not None]
    if not scores:
        return
    metric = rows[0]["metric"]
    spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    client.log_metric(run_id, f"mean_{metric}", sum(scores) / len(scores))
    client.log_metric(run_id, f"spread_{metric}", spread)


def _metric_name(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name)


def _precision_of(training: Training) -> str:
    # That it was trained in, which `train.precision: auto` does not tell.
    return read_contract(training.folder / CONTRACT).precision


def _overall_scores(training: Training) -> list[tuple[str, float]]:
    # Scores of all classes together, for a list of models.
    metrics = training.history[training.best_epoch - 1]["metrics"]
    return [
        (name, value)
        for name, value in metrics.items()
        if "/" not in name and name not in ("loss", "rate")
    ]


def _experiment_id(client: mlflow.MlflowClient, config: Config, out: Location) -> str:
    name = config.tracking.experiment or config.name
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    # The output folder's own database keeps its artifacts beside it; a server decides for itself.
    is_own_database = (
        store_uri(config.tracking.uri, out) == store_uri(None, out)
        and "MLFLOW_TRACKING_URI" not in os.environ
    )
    artifacts = None
    if is_own_database and isinstance(out, Path):
        artifacts = (store_folder(out) / layout.TRACKING_ARTIFACTS).as_uri()
    return str(client.create_experiment(name, artifacts))


def _save_pyfunc(folder: Path, path: Path) -> None:
    """Write an MLflow model folder: a script instead of a pickle, the two files, and a signature.

    Physical values (N, T, C, H, W), NaN where not valid → legend ids (N, H, W).
    """
    contract = read_contract(folder / CONTRACT)
    packages = _PACKAGES_OF_TREES if contract.model in TREE_MODELS else _PACKAGES
    inputs = TensorSpec(np.dtype("float32"), (-1, -1, len(contract.bands), -1, -1))
    outputs = TensorSpec(np.dtype("uint8"), (-1, -1, -1))
    # MLflow warns that there is no example of the input.
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        mlflow.pyfunc.save_model(
            str(path),
            python_model=str(Path(lulc.__file__).parent / "inference" / "pyfunc.py"),
            artifacts={
                name: (folder / file).resolve().as_uri()
                for name, file in (("weights", weights_name(contract)), ("contract", CONTRACT))
            },
            signature=ModelSignature(Schema([inputs]), Schema([outputs])),
            pip_requirements=[f"{name}=={installed_version(name)}" for name in packages],
        )


def _units_of(training: Training) -> str:
    contract = read_contract(training.folder / CONTRACT)
    return ", ".join(contract.describe_bands()) if contract.units else ""


def _run_tags(config: Config, training: Training) -> dict[str, str]:
    tags = {
        "mlflow.source.name": "lulc",
        "lulc.version": lulc.__version__,
        "legend": ", ".join(land_class.name for land_class in config.legend.values()),
        "units": _units_of(training),
    }
    tags |= {f"fingerprint.{name}": value for name, value in training.fingerprints.items()}
    tags |= _quality_tags(config, training)
    if commit := find_commit():
        tags["mlflow.source.git.commit"] = commit
    return tags


def _quality_tags(config: Config, training: Training) -> dict[str, str]:
    # The classes hardly mapped on the validation split, where there is one.
    matrix = training.history[training.best_epoch - 1].get("matrix")
    if not matrix:
        return {}
    names = hardly_mapped(summarise(np.array(matrix), config.make_legend()))
    return dict([_hardly_mapped_tag("validation", names)])
