"""MLflow, and no other module imports it: runs, pictures, the registry of models, and models as plain folders of two files."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import shlex
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

# Nothing about a run leaves for MLflow's makers unless the user says so; set before MLflow reads it.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow.artifacts
import mlflow.pyfunc
import numpy as np
import requests
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import Schema, TensorSpec

import lulc
from lulc import contract, progress
from lulc.conf import Run
from lulc.errors import InputError, SetupError, UsageError
from lulc.modelfiles import CONTRACT, DESCRIBED, WEIGHTS, ModelRef, checksum, find_local, is_whole, join, local_folder, place
from lulc.provenance import clean, explain, find_commit, settings

CHAMPION = "champion"

_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND")
_PACKAGES = ("torch", "segmentation-models-pytorch", "safetensors", "numpy", "mlflow")

_Unreachable = (MlflowException, requests.RequestException, OSError)

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


def store_uri(uri: str | None, out: Path) -> str:
    """The tracking URI: the one given, else MLFLOW_TRACKING_URI, else a SQLite file in the output folder."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(out / 'mlflow.db').resolve()}"


def ui_command(run: Run, out: Path) -> str:
    """The shell command that shows the runs, or the address of the server that does; user names and passwords left out."""
    uri = store_uri(run.tracking.uri, out)
    return clean("uri", uri) if uri.startswith("http") else f"mlflow ui --backend-store-uri {shlex.quote(clean('uri', uri))}"


def reachable(run: Run, out: Path) -> bool:
    """Whether the tracking server answers; when it does not, the user is told, or SetupError where tracking.required says so."""
    uri = store_uri(run.tracking.uri, out)
    try:
        with _connected(uri, tries=1) as client:
            client.search_experiments(max_results=1)
    except _Unreachable as error:
        text = f"tracking store {clean('uri', uri)} cannot be reached ({explain(error)})"
        if run.tracking.required:
            raise SetupError(f"{text}, and tracking.required asks for it: start it, or set tracking.uri") from error
        progress.say(f"warning: {text}; training goes on, and the model is kept in {local_folder(out, run.name)}")
        return False
    return True


def log(run: Run, out: Path, training: Training) -> ModelRef:
    """The registered version, now the champion; settings, metrics, pictures and fingerprints are logged beside it.

    Where the store cannot be reached the user is told and the model is kept in OUT/models/<name>-local; SetupError if it is
    required.
    """
    uri = store_uri(run.tracking.uri, out)
    try:
        with _connected(uri) as client:
            found = _register(client, run, out, training)
        shutil.rmtree(local_folder(out, run.name), ignore_errors=True)
        return found
    except _Unreachable as error:
        text = f"the run could not be logged to {clean('uri', uri)} ({explain(error)})"
        if run.tracking.required:
            raise SetupError(f"{text}, and tracking.required asks for it; nothing is lost: run again when it answers") from error
        folder = local_folder(out, run.name)
        progress.say(f"warning: {text}; the model is kept in {folder}, and logged by the next run that reaches it")
        place(training.folder, folder)
        return ModelRef(run.name, "local", folder, checksum(folder))


def find_version(run: Run, out: Path, fingerprint: str) -> ModelRef | None:
    """The newest version trained with this fingerprint, its files at hand and whole; None where there is none.

    Where the store cannot be reached, the model that an earlier run kept locally, if its fingerprint is this one.
    """
    uri = store_uri(run.tracking.uri, out)
    if _unborn(uri):
        return None
    try:
        with _connected(uri, tries=1) as client:
            for version in _versions(client, run.name):
                if version.tags.get("fingerprint") == fingerprint:
                    with contextlib.suppress(InputError):
                        return _fetch(client, version, uri, out)
    except _Unreachable:
        found = find_local(out, run.name)
        return found if found and contract.read(found.folder / CONTRACT).fingerprints.get("train") == fingerprint else None
    return None


def resolve(model: str, out: Path, tracking_uri: str | None = None) -> ModelRef:
    """The version that `models:/<name>/<version>`, `models:/<name>@<alias>` or a plain `<name>` (champion, else latest) means.

    Several, joined by `+`, map together. Files are fetched into OUT/models/<name>-<version>. A plain name without a registered
    version may be one kept locally. UsageError for another form, InputError when there is no such model, SetupError when the
    store cannot be reached.
    """
    return join([_resolve(part.strip(), out, tracking_uri) for part in model.split("+")])


def _resolve(model: str, out: Path, tracking_uri: str | None) -> ModelRef:
    match = re.fullmatch(r"(?:models:/)?([\w. -]+)(?:/(\d+)|@([\w-]+))?", model)
    if match is None:
        raise UsageError(f"model {model!r} is not models:/<name>/<version>, models:/<name>@<alias> or <name>")
    name, number, alias = match.groups()
    uri = store_uri(tracking_uri, out)
    if not _unborn(uri):
        try:
            with _connected(uri) as client:
                version = _choose(client, name, number, alias)
                if version is not None:
                    return _fetch(client, version, uri, out)
        except _Unreachable as error:
            ready = out / "models" / f"{name}-{number}"
            if number and is_whole(ready):
                return ModelRef(name, number, ready, checksum(ready))
            if number or alias or not find_local(out, name):
                raise SetupError(
                    f"tracking store {clean('uri', uri)} cannot be reached ({explain(error)}) to fetch {model!r}"
                ) from error
    found = None if number or alias else find_local(out, name)
    if found is None:
        raise InputError(
            f"no model {model!r} is registered in {clean('uri', uri)}: `lulc train` makes one, or give predict.model another"
        )
    return found


@contextlib.contextmanager
def _connected(uri: str, tries: int = 3) -> Iterator[mlflow.MlflowClient]:
    """A client of one store, patient for seconds, not minutes; the process's own choice of store stays as it is."""
    settings = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(tries),
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_UV_AUTO_DETECT": "false",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update({name: before[name] or value for name, value in settings.items()})
    try:
        yield mlflow.MlflowClient(uri, uri)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _register(client: mlflow.MlflowClient, run: Run, out: Path, training: Training) -> ModelRef:
    made = client.create_run(_experiment(client, run, out), run_name=run.name, tags=_tags(run, training))
    run_id = made.info.run_id
    try:
        metrics = [
            Metric(_metric_name(name), value, entry["finished"], entry["epoch"])
            for entry in training.history
            for name, value in entry["metrics"].items()
            if not math.isnan(value)
        ]
        client.log_batch(run_id, metrics, [Param(name, value) for name, value in settings(run).items()])
        for picture in training.pictures:
            client.log_artifact(run_id, str(picture), "pictures")
        with tempfile.TemporaryDirectory() as folder:
            _save(training.folder, Path(folder) / "model")
            place(training.folder, Path(folder) / "described")
            shutil.copyfile(Path(folder) / "described" / DESCRIBED, Path(folder) / "model" / DESCRIBED)
            client.log_artifacts(run_id, str(Path(folder) / "model"), "model")
        with contextlib.suppress(MlflowException):  # it stands already
            client.create_registered_model(run.name)
        tags = {
            "fingerprint": training.fingerprints["train"],
            "checksum": checksum(training.folder),
            "best_epoch": str(training.best),
            "task": run.task or "",
        }
        tags |= {f"score.{name}": f"{value:.4g}" for name, value in _headline(training)}
        version = client.create_model_version(run.name, f"{made.info.artifact_uri}/model", run_id, tags=tags)
        client.set_registered_model_alias(run.name, CHAMPION, version.version)
    except BaseException:
        with contextlib.suppress(*_Unreachable):
            client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
    return _fetch(client, version, store_uri(run.tracking.uri, out), out)


def log_trials(run: Run, out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Nothing; a run of the experiment has each trial as a child, with its settings and scores, and the mean of their scores.

    Where the store cannot be reached the user is told; SetupError if it is required.
    """
    uri = store_uri(run.tracking.uri, out)
    known = [row["score"] for row in rows if row["score"] is not None]
    try:
        with _connected(uri) as client:
            where = _experiment(client, run, out)
            parent = client.create_run(where, run_name=f"{run.name} trials", tags={"mlflow.source.name": "lulc"}).info.run_id
            for row in rows:
                fold = "" if row["fold"] is None else f"fold {row['fold']}"
                name = " ".join(part for part in (row["settings"], fold) if part) or "as it is"
                child = client.create_run(where, run_name=name, tags={"mlflow.parentRunId": parent}).info.run_id
                params = [Param("fold", str(row["fold"]))] if fold else []
                params += [Param(*pair.partition("=")[::2]) for pair in row["settings"].split()]
                now = int(datetime.now(UTC).timestamp() * 1000)
                metrics = [Metric(_metric_name(n), v, now, 0) for n, v in row["metrics"] or () if not math.isnan(v)]
                client.log_batch(child, metrics, params)
                client.set_terminated(child, "FAILED" if row["error"] else "FINISHED")
            if known:
                mean = sum(known) / len(known)
                client.log_metric(parent, f"mean_{rows[0]['metric']}", mean)
                client.log_metric(parent, f"spread_{rows[0]['metric']}", float(np.std(known, ddof=1)) if len(known) > 1 else 0.0)
            client.set_terminated(parent)
    except _Unreachable as error:
        text = f"the trials could not be logged to {clean('uri', uri)} ({explain(error)})"
        if run.tracking.required:
            raise SetupError(f"{text}, and tracking.required asks for it: run again when it answers, nothing is lost") from error
        progress.say(f"warning: {text}")


def _metric_name(name: str) -> str:
    # What MLflow takes: classes may be called anything.
    return re.sub(r"[^\w\-. /]", "_", name)


def _headline(training: Training) -> list[tuple[str, float]]:
    # What a list of models tells: the scores of all classes together.
    best = training.history[training.best - 1]["metrics"]
    return [(name, value) for name, value in best.items() if "/" not in name and name not in ("loss", "rate")]


def list_versions(out: Path, tracking_uri: str | None = None) -> list[dict[str, Any]]:
    """A mapping for every version in the registry: name, version, aliases, task, scores by name, when it was made (UTC).

    SetupError when the store cannot be reached.
    """
    uri = store_uri(tracking_uri, out)
    if _unborn(uri):
        return []
    try:
        with _connected(uri) as client:
            models = client.search_registered_models()
            found = [(m, v) for m in models for v in sorted(_versions(client, m.name), key=lambda v: int(v.version))]
    except _Unreachable as error:
        raise SetupError(f"tracking store {clean('uri', uri)} cannot be reached ({explain(error)})") from error
    return [
        {
            "name": v.name,
            "version": int(v.version),
            "aliases": sorted(alias for alias, number in m.aliases.items() if str(number) == str(v.version)),
            "task": v.tags.get("task", ""),
            "made": datetime.fromtimestamp(v.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
            "scores": {name[6:]: float(value) for name, value in sorted(v.tags.items()) if name.startswith("score.")},
        }
        for m, v in found
    ]


def _experiment(client: mlflow.MlflowClient, run: Run, out: Path) -> str:
    name = run.tracking.experiment or run.name
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    own = store_uri(run.tracking.uri, out) == store_uri(None, out) and "MLFLOW_TRACKING_URI" not in os.environ
    return str(client.create_experiment(name, (out / "mlartifacts").resolve().as_uri() if own else None))


def _save(folder: Path, path: Path) -> None:
    """An MLflow model folder: a script instead of a pickle, the two files, and a signature.

    Physical values (N, T, C, H, W), NaN where not valid → legend ids (N, H, W).
    """
    made = contract.read(folder / CONTRACT)
    inputs = TensorSpec(np.dtype("float32"), (-1, -1, len(made.bands), -1, -1))
    outputs = TensorSpec(np.dtype("uint8"), (-1, -1, -1))
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # it asks for an example of the input
        mlflow.pyfunc.save_model(
            str(path),
            python_model=str(Path(lulc.__file__).with_name("pyfunc.py")),
            artifacts={"weights": str(folder / WEIGHTS), "contract": str(folder / CONTRACT)},
            signature=ModelSignature(Schema([inputs]), Schema([outputs])),
            pip_requirements=[f"{name}=={installed(name)}" for name in _PACKAGES],
        )


def _tags(run: Run, training: Training) -> dict[str, str]:
    tags = {
        "mlflow.source.name": "lulc",
        "lulc.version": lulc.__version__,
        "legend": ", ".join(c.name for c in run.legend.values()),
    }
    tags |= {f"fingerprint.{name}": value for name, value in training.fingerprints.items()}
    commit = find_commit()
    return tags | ({"mlflow.source.git.commit": commit} if commit else {})


def _versions(client: mlflow.MlflowClient, name: str) -> list[Any]:
    return sorted(client.search_model_versions(f"name='{name}'"), key=lambda v: -int(v.version))


def _choose(client: mlflow.MlflowClient, name: str, number: str | None, alias: str | None) -> Any:
    try:
        return client.get_model_version(name, number) if number else client.get_model_version_by_alias(name, alias or CHAMPION)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
    return None if number or alias else next(iter(_versions(client, name)), None)


def _fetch(client: mlflow.MlflowClient, version: Any, uri: str, out: Path) -> ModelRef:
    """A version's two files in OUT/models/<name>-<version>, the same as those registered; InputError when they cannot be had."""
    wanted = version.tags.get("checksum")
    folder = out / "models" / f"{version.name}-{version.version}"
    if not (wanted and is_whole(folder) and checksum(folder) == wanted):
        with tempfile.TemporaryDirectory() as temporary:
            try:
                source = client.get_model_version_download_uri(version.name, version.version)
                for name in (WEIGHTS, CONTRACT):
                    mlflow.artifacts.download_artifacts(f"{source}/artifacts/{name}", dst_path=temporary, tracking_uri=uri)
                found = checksum(Path(temporary))
            except _Unreachable as error:
                what = f"model {version.name!r} version {version.version} has no {WEIGHTS} and {CONTRACT} that can be fetched"
                raise InputError(f"{what} ({explain(error)}): give another version, or make it anew with `lulc train`") from error
            if wanted and found != wanted:
                what = f"model {version.name!r} version {version.version} is not what was registered"
                raise InputError(
                    f"{what}: its files have checksum {found[:12]}…, the registry says {wanted[:12]}…; take another version"
                )
            place(Path(temporary), folder)
    return ModelRef(version.name, str(version.version), folder, checksum(folder))


def _unborn(uri: str) -> bool:
    # Asking an SQLite store would make it, which takes seconds.
    return uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists()
