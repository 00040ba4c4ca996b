"""Registered models: the store's address, and versions found and fetched as local folders.

MLflow is imported here and in `tracking`, which writes to the store.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Nothing about a run is sent to MLflow's makers unless the user says so; MLflow reads it as it is
# imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import mlflow.artifacts
import requests
from mlflow.exceptions import MlflowException

from lulc.config import Config
from lulc.errors import InputError, SetupError, UsageError
from lulc.location import STORES, Location, StorePath, parse_location
from lulc.models.contract import read_contract
from lulc.models.package import (
    CARD,
    CONTRACT,
    LOCAL,
    TREES,
    WEIGHTS,
    ModelRef,
    find_checksum,
    find_local,
    find_weights,
    join_models,
    model_checksum,
    place_model,
)
from lulc.paths import plain_link
from lulc.redact import first_line, redact_setting
from lulc.tables import layout

CHAMPION = "champion"
"""Alias of the version that maps where a run file names none."""

SET_SERVER = "set MLFLOW_TRACKING_URI, or tracking.uri, to the address of an MLflow server"

STORE_ERRORS = (MlflowException, requests.RequestException, OSError)
"""Errors of a store that cannot be reached, or refuses."""

ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND")
"""Codes of a store that has no such model or version."""

for _library in ("mlflow", "alembic", "sqlalchemy", "urllib3"):
    logging.getLogger(_library).setLevel(logging.ERROR)


def store_uri(uri: str | None, out: Location) -> str | None:
    """Return the tracking URI.

    Returns:
        `uri` where it is given, else MLFLOW_TRACKING_URI, else a SQLite file in the output folder;
        None where that is in an object store, which holds no database.
    """
    tracking_uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if tracking_uri or isinstance(out, StorePath):
        return tracking_uri
    return f"sqlite:///{store_folder(out) / layout.TRACKING_DATABASE}"


def store_folder(out: Path) -> Path:
    """Return a path to the output folder that MLflow and SQLAlchemy take for no more than that.

    They cut addresses at `?` and `#`, and decode `%`.
    """
    folder = out.resolve()
    return plain_link(folder) if re.search("[?#%]", str(folder)) else folder


def ui_command(config: Config, out: Location) -> str | None:
    """Return what shows the runs.

    Returns:
        The address of the tracking server, or else the shell command that starts MLflow's pages;
        without user names and passwords. None where nothing keeps them, or nothing was kept yet.
    """
    address = store_uri(config.tracking.uri, out)
    if address is None or is_absent_database(address):
        return None
    uri = redact_setting("uri", address)
    return uri if uri.startswith("http") else f"mlflow ui --backend-store-uri {shlex.quote(uri)}"


def find_version(config: Config, out: Location, fingerprint: str) -> ModelRef | None:
    """Find the newest version that was trained with a fingerprint and whose files can be had.

    Args:
        config: the run file, whose name is the model's and whose tracking.uri is the store's.
        out: the output folder, into which the version is fetched.
        fingerprint: fingerprint of the training.

    Returns:
        The version, None where there is none. Where the store cannot be reached: the model that an
        earlier run kept in the output folder, if it has this fingerprint.

    Raises:
        SetupError, UsageError: as `explain_absence` does.
    """
    uri = store_uri(config.tracking.uri, out)
    if uri is None:
        explain_absence(config, out)
        return _local_of(config, out, fingerprint)
    if is_absent_database(uri):
        return None
    try:
        with connect_store(uri, tries=1) as client:
            for version in _newest_first(client, config.name):
                if version.tags.get("fingerprint") == fingerprint:
                    with contextlib.suppress(InputError):
                        return fetch_version(client, version, uri, out)
    except STORE_ERRORS as error:
        explain_absence(config, out, error)
        return _local_of(config, out, fingerprint)
    return None


def explain_absence(config: Config, out: Location, error: Exception | None = None) -> str:
    """Return why a run has no tracking store, where it can do without.

    Args:
        config: the run file.
        out: the output folder.
        error: what the store's address gave; None where no store is set.

    Raises:
        SetupError: the store does not answer, and tracking.required is set.
        UsageError: none is set, and tracking.required is.
    """
    uri = store_uri(config.tracking.uri, out)
    if uri is None or error is None:
        text = f"no tracking server is set, and {out} can hold no database of runs"
        if config.tracking.required:
            raise UsageError(f"{text}, and tracking.required is set: {SET_SERVER}")
        return text
    text = _unreachable(uri, error)
    if config.tracking.required:
        raise SetupError(
            f"{text}, and tracking.required is set: start it and rerun the same command, or set "
            "tracking.uri"
        ) from error
    return text


def _local_of(config: Config, out: Location, fingerprint: str) -> ModelRef | None:
    local = find_local(out, config.name)
    if local is None:
        return None
    trained = read_contract(local.folder / CONTRACT).fingerprints.get("train")
    return local if trained == fingerprint else None


def resolve(model: str, out: Location, tracking_uri: str | None = None) -> ModelRef:
    """Find a model by its name and fetch it into OUT/models/<name>-<version>.

    Args:
        model: `models:/<name>/<version>`, `models:/<name>@<alias>`, or `<name>`: its champion, else
            its newest version, else the one kept locally; or the address of a model's folder in a
            store. Several, joined by `+`, map together.
        out: the output folder.
        tracking_uri: the store's address; None as `store_uri` says.

    Returns:
        The version, its files on this machine.

    Raises:
        UsageError: `model` has another form.
        InputError: there is no such model, or its files cannot be fetched.
        SetupError: the store cannot be reached.
    """
    return join_models([_resolve_one(name.strip(), out, tracking_uri) for name in model.split("+")])


def _resolve_one(model: str, out: Location, tracking_uri: str | None) -> ModelRef:
    if model.startswith(STORES):
        return _model_in_store(parse_location(model))
    match = re.fullmatch(r"(?:models:/)?([\w. -]+)(?:/(\d+)|@([\w-]+))?", model)
    if match is None:
        raise UsageError(
            f"model {model!r} is not models:/<name>/<version>, models:/<name>@<alias> or <name>"
        )
    name, number, alias = match.groups()
    uri = store_uri(tracking_uri, out)
    if uri is not None and not is_absent_database(uri):
        try:
            with connect_store(uri) as client:
                version = _choose_version(client, name, number, alias)
                if version is not None:
                    return fetch_version(client, version, uri, out)
        except STORE_ERRORS as error:
            fetched = out / "models" / f"{name}-{number}"
            if number and (checksum := find_checksum(fetched)):
                return ModelRef(name, number, fetched, checksum)
            if number or alias or not find_local(out, name):
                raise SetupError(f"{_unreachable(uri, error)} to fetch {model!r}") from error
    local = None if number or alias else find_local(out, name)
    if local is None:
        registry = redact_setting("uri", uri) if uri else f"{out} (no tracking server is set)"
        raise InputError(
            f"no model {model!r} is registered in {registry}: "
            "`lulc train` makes one, or give predict.model another"
        )
    return local


def _model_in_store(folder: Location) -> ModelRef:
    checksum = find_checksum(folder)
    if checksum is None:
        raise InputError(
            f"{folder} holds no {WEIGHTS} or {TREES} and {CONTRACT}: give a model's folder"
        )
    contract = read_contract(folder / CONTRACT)
    return ModelRef(contract.name, LOCAL, folder, checksum)


def list_versions(out: Location, tracking_uri: str | None = None) -> list[dict[str, Any]]:
    """List every version in the registry; where no registry is set, the models kept under OUT.

    Returns:
        Mappings of name, version (a number, or `local`), aliases, task, precision that it was
        trained in (empty where not recorded), scores by name, and `made`, when it was registered
        (UTC, ISO 8601): by model, oldest version first.

    Raises:
        SetupError: the store cannot be reached.
    """
    uri = store_uri(tracking_uri, out)
    if uri is None:
        return _list_local(out)
    if is_absent_database(uri):
        return []
    try:
        with connect_store(uri) as client:
            return [
                _describe_version(version, model.aliases)
                for model in client.search_registered_models()
                for version in reversed(_newest_first(client, model.name))
            ]
    except STORE_ERRORS as error:
        raise SetupError(_unreachable(uri, error)) from error


def _list_local(out: Location) -> list[dict[str, Any]]:
    models = []
    for file in (out / "models").glob(f"*-{LOCAL}/{CONTRACT}"):
        contract = read_contract(file)
        written_at = datetime.fromtimestamp(file.stat().st_mtime_ns / 1e9, UTC)
        entry: dict[str, Any] = {"name": contract.name, "version": LOCAL, "aliases": []}
        entry |= {"task": contract.task, "precision": contract.precision, "scores": {}}
        models.append(entry | {"made": written_at.isoformat(timespec="seconds")})
    return models


@contextlib.contextmanager
def connect_store(uri: str, tries: int = 3) -> Iterator[mlflow.MlflowClient]:
    """Connect to a store, trying for seconds, not minutes; the process's own store stays set.

    Args:
        uri: the store's address, of runs and of the registry.
        tries: how often a request is sent again before it fails; an environment variable of MLflow
            that the user has set counts instead.

    Yields:
        The client.
    """
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


def fetch_version(client: mlflow.MlflowClient, version: Any, uri: str, out: Location) -> ModelRef:
    """Fetch a version's files into OUT/models/<name>-<version>, unless they are there unchanged.

    Args:
        client: a client of the store.
        version: MLflow's record of the version, whose tag `checksum` is that of its files.
        uri: the store's address.
        out: the output folder.

    Returns:
        The version, its files as they were registered.

    Raises:
        InputError: the files cannot be fetched, or are not those that were registered.
    """
    registered = version.tags.get("checksum")
    folder = out / "models" / f"{version.name}-{version.version}"
    checksum = find_checksum(folder) if registered else None
    if checksum is None or checksum != registered:
        with tempfile.TemporaryDirectory() as temporary:
            _download(client, version, uri, Path(temporary))
            place_model(Path(temporary), folder)
        checksum = model_checksum(folder)
    return ModelRef(version.name, str(version.version), folder, checksum)


def _download(client: mlflow.MlflowClient, version: Any, uri: str, folder: Path) -> None:
    subject = f"model {version.name!r} version {version.version}"
    try:
        source = client.get_model_version_download_uri(version.name, version.version)

        def fetch(name: str) -> None:
            mlflow.artifacts.download_artifacts(
                f"{source}/{name}", dst_path=str(folder), tracking_uri=uri
            )

        fetch(f"artifacts/{CONTRACT}")
        fetch(f"artifacts/{find_weights(folder).name}")
        with contextlib.suppress(*STORE_ERRORS):  # of an earlier release: it has no card
            fetch(CARD)
        downloaded = model_checksum(folder)
    except STORE_ERRORS as error:
        raise InputError(
            f"{subject} has no {WEIGHTS} or {TREES} and {CONTRACT} that can be fetched "
            f"({first_line(error)}): give another version, or train it again with `lulc train`"
        ) from error
    registered = version.tags.get("checksum")
    if registered and downloaded != registered:
        raise InputError(
            f"{subject} is not what was registered: its files have checksum {downloaded[:12]}…, "
            f"the registry says {registered[:12]}…; take another version"
        )


def _newest_first(client: mlflow.MlflowClient, name: str) -> list[Any]:
    versions = client.search_model_versions(f"name='{name}'")
    return sorted(versions, key=lambda version: -int(version.version))


def _choose_version(
    client: mlflow.MlflowClient, name: str, number: str | None, alias: str | None
) -> Any:
    try:
        return (
            client.get_model_version(name, number)
            if number
            else client.get_model_version_by_alias(name, alias or CHAMPION)
        )
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
    return None if number or alias else next(iter(_newest_first(client, name)), None)


def _describe_version(version: Any, numbers_by_alias: dict[str, Any]) -> dict[str, Any]:
    number = str(version.version)
    registered = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    scores = {
        name.removeprefix("score."): float(value)
        for name, value in sorted(version.tags.items())
        if name.startswith("score.")
    }
    return {
        "name": version.name,
        "version": int(number),
        "aliases": sorted(a for a, aliased in numbers_by_alias.items() if str(aliased) == number),
        "task": version.tags.get("task", ""),
        "precision": version.tags.get("precision", ""),
        "made": registered.isoformat(timespec="seconds"),
        "scores": scores,
    }


def _unreachable(uri: str, error: Exception) -> str:
    address = redact_setting("uri", uri)
    return f"tracking store {address} cannot be reached ({first_line(error)})"


def is_absent_database(uri: str) -> bool:
    """Return whether a URI is that of a SQLite file that is not there.

    A client would create it, which takes seconds.
    """
    return uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists()
