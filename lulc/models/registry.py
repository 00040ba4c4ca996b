"""Registered models: found by name, version, alias or fingerprint, and fetched as local folders."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow.artifacts
import mlflow.pyfunc
import requests
from mlflow.exceptions import MlflowException

from lulc.config import Config
from lulc.errors import InputError, SetupError, UsageError
from lulc.models import contract
from lulc.models.package import (
    CONTRACT,
    WEIGHTS,
    ModelRef,
    find_local,
    is_whole,
    join_models,
    model_checksum,
    place_model,
)
from lulc.redact import first_line, redact_setting

CHAMPION = "champion"

_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND")

_Unreachable = (MlflowException, requests.RequestException, OSError)


def store_uri(uri: str | None, out: Path) -> str:
    """The tracking URI: the one given, else MLFLOW_TRACKING_URI, else a SQLite file in the output folder."""
    return (
        uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(out / 'mlflow.db').resolve()}"
    )


def ui_command(config: Config, out: Path) -> str:
    """The shell command that shows the runs, or the address of the server that does; user names and passwords left out."""
    uri = store_uri(config.tracking.uri, out)
    return (
        redact_setting("uri", uri)
        if uri.startswith("http")
        else f"mlflow ui --backend-store-uri {shlex.quote(redact_setting('uri', uri))}"
    )


def find_version(config: Config, out: Path, fingerprint: str) -> ModelRef | None:
    """The newest version trained with this fingerprint, its files at hand and whole; None where there is none.

    Where the store cannot be reached, the model that an earlier run kept locally, if its fingerprint is this one.
    """
    uri = store_uri(config.tracking.uri, out)
    if _unborn(uri):
        return None
    try:
        with _connected(uri, tries=1) as client:
            for version in _versions(client, config.name):
                if version.tags.get("fingerprint") == fingerprint:
                    with contextlib.suppress(InputError):
                        return _fetch(client, version, uri, out)
    except _Unreachable:
        found = find_local(out, config.name)
        return (
            found
            if found
            and contract.read_contract(found.folder / CONTRACT).fingerprints.get("train")
            == fingerprint
            else None
        )
    return None


def resolve(model: str, out: Path, tracking_uri: str | None = None) -> ModelRef:
    """The version that `models:/<name>/<version>`, `models:/<name>@<alias>` or a plain `<name>` (champion, else latest) means.

    Several, joined by `+`, map together. Files are fetched into OUT/models/<name>-<version>. A plain name without a registered
    version may be one kept locally. UsageError for another form, InputError when there is no such model, SetupError when the
    store cannot be reached.
    """
    return join_models([_resolve(part.strip(), out, tracking_uri) for part in model.split("+")])


def _resolve(model: str, out: Path, tracking_uri: str | None) -> ModelRef:
    match = re.fullmatch(r"(?:models:/)?([\w. -]+)(?:/(\d+)|@([\w-]+))?", model)
    if match is None:
        raise UsageError(
            f"model {model!r} is not models:/<name>/<version>, models:/<name>@<alias> or <name>"
        )
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
                return ModelRef(name, number, ready, model_checksum(ready))
            if number or alias or not find_local(out, name):
                raise SetupError(
                    f"tracking store {redact_setting('uri', uri)} cannot be reached ({first_line(error)}) to fetch {model!r}"
                ) from error
    found = None if number or alias else find_local(out, name)
    if found is None:
        raise InputError(
            f"no model {model!r} is registered in {redact_setting('uri', uri)}: "
            "`lulc train` makes one, or give predict.model another"
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
            found = [
                (m, v)
                for m in models
                for v in sorted(_versions(client, m.name), key=lambda v: int(v.version))
            ]
    except _Unreachable as error:
        raise SetupError(
            f"tracking store {redact_setting('uri', uri)} cannot be reached ({first_line(error)})"
        ) from error
    return [
        {
            "name": v.name,
            "version": int(v.version),
            "aliases": sorted(
                alias for alias, number in m.aliases.items() if str(number) == str(v.version)
            ),
            "task": v.tags.get("task", ""),
            "made": datetime.fromtimestamp(v.creation_timestamp / 1000, UTC).isoformat(
                timespec="seconds"
            ),
            "scores": {
                name[6:]: float(value)
                for name, value in sorted(v.tags.items())
                if name.startswith("score.")
            },
        }
        for m, v in found
    ]


def _versions(client: mlflow.MlflowClient, name: str) -> list[Any]:
    return sorted(client.search_model_versions(f"name='{name}'"), key=lambda v: -int(v.version))


def _choose(client: mlflow.MlflowClient, name: str, number: str | None, alias: str | None) -> Any:
    try:
        return (
            client.get_model_version(name, number)
            if number
            else client.get_model_version_by_alias(name, alias or CHAMPION)
        )
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
    return None if number or alias else next(iter(_versions(client, name)), None)


def _fetch(client: mlflow.MlflowClient, version: Any, uri: str, out: Path) -> ModelRef:
    """A version's two files in OUT/models/<name>-<version>, the same as those registered; InputError when they cannot be had."""
    wanted = version.tags.get("checksum")
    folder = out / "models" / f"{version.name}-{version.version}"
    if not (wanted and is_whole(folder) and model_checksum(folder) == wanted):
        with tempfile.TemporaryDirectory() as temporary:
            try:
                source = client.get_model_version_download_uri(version.name, version.version)
                for name in (WEIGHTS, CONTRACT):
                    mlflow.artifacts.download_artifacts(
                        f"{source}/artifacts/{name}", dst_path=temporary, tracking_uri=uri
                    )
                found = model_checksum(Path(temporary))
            except _Unreachable as error:
                what = f"model {version.name!r} version {version.version} has no {WEIGHTS} and {CONTRACT} that can be fetched"
                raise InputError(
                    f"{what} ({first_line(error)}): give another version, or make it anew with `lulc train`"
                ) from error
            if wanted and found != wanted:
                what = (
                    f"model {version.name!r} version {version.version} is not what was registered"
                )
                raise InputError(
                    f"{what}: its files have checksum {found[:12]}…, the registry says {wanted[:12]}…; take another version"
                )
            place_model(Path(temporary), folder)
    return ModelRef(version.name, str(version.version), folder, model_checksum(folder))


def _unborn(uri: str) -> bool:
    # Asking an SQLite store would make it, which takes seconds.
    return uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists()
