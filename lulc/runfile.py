"""A run file (YAML) read into a Config; an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from lulc.bands import OBSERVATIONS
from lulc.config import Config
from lulc.errors import UsageError
from lulc.legend import COMMON

_RUN = TypeAdapter(Config)


def read_run(path: str | Path, settings: Iterable[str] = ()) -> Config:
    """The run file as a record, with `a.b=value` settings laid over it.

    UsageError says what is wrong, where, and what was meant.
    """
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise UsageError(
            f"run file {path} is not there: `lulc init {path}` writes one to start from"
        ) from error
    except yaml.YAMLError as error:
        raise UsageError(f"run file {path} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise UsageError(
            f"run file {path} must be a mapping of keys such as name, scenes, bands, legend"
        )
    return parse_run(apply_settings(raw, settings), path.parent, str(path))


def apply_settings(raw: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """The mapping with `a.b=value` settings laid over it."""
    for setting in settings:
        _apply_setting(raw, setting)
    return raw


def parse_run(raw: Mapping[str, Any], folder: Path, where: str = "run file") -> Config:
    """The record of a run given as a mapping; relative paths are taken from `folder`."""
    if raw.get("legend") == COMMON.name:
        raw = {
            **raw,
            "legend": {c.id: {"name": c.name, "colour": c.colour} for c in COMMON.classes},
        }
    try:
        config = _RUN.validate_python(raw)
    except ValidationError as error:
        raise UsageError(f"{where}: " + "; ".join(_explain(e) for e in error.errors())) from error
    lacks = [
        name
        for name in ("scenes", "bands", "legend")
        if not (config.datasets or config.maps) and not getattr(config, name)
    ]
    if lacks:
        raise UsageError(f"{where}: " + "; ".join(f"key {name!r} is missing" for name in lacks))
    if config.scenes and not config.bands:
        raise UsageError(
            f"{where}: say which bands of the scenes are mapped: key 'bands' is missing"
        )
    if len(set(config.bands)) != len(config.bands):
        raise UsageError(f"{where}: bands {list(config.bands)} names a band twice")
    if OBSERVATIONS in config.bands and config.composite is None:
        raise UsageError(
            f"{where}: band {OBSERVATIONS} is counted for a composite: add `composite: {{method: median}}`"
        )
    if config.samples.fold >= (config.samples.folds or 1):
        raise UsageError(
            f"{where}: samples.fold {config.samples.fold} is none of samples.folds {config.samples.folds}: count from 0"
        )
    unknown = set(config.composite.index or ()) - set(config.bands) if config.composite else set()
    if unknown:
        raise UsageError(
            f"{where}: composite.index has {', '.join(sorted(unknown))}, which bands {list(config.bands)} lack"
        )
    if config.labels and config.tiling.size % config.samples.size:
        raise UsageError(
            f"{where}: samples.size {config.samples.size} must divide tiling.size {config.tiling.size}"
        )
    if config.legend:
        config.make_legend()
    if config.labels and config.task not in (None, "segment", "change", "series"):
        raise UsageError(
            f"{where}: labels give a class a pixel, for tasks segment, change and series; {config.task} learns from datasets"
        )
    if not config.datasets:
        config = dataclasses.replace(config, task=config.task or "segment")
    return _resolve_paths(config, folder)


def _resolve_paths(config: Config, folder: Path) -> Config:
    def at(path: str) -> str:
        return path if "://" in path else str((folder / path).resolve())

    replace = dataclasses.replace
    changes: dict[str, Any] = {
        name: tuple(replace(x, path=at(x.path)) if x.path else x for x in getattr(config, name))
        for name in ("scenes", "layers", "regions", "maps")
    }
    changes["datasets"] = tuple(replace(d, root=at(d.root)) for d in config.datasets)
    if config.labels:
        changes["labels"] = replace(config.labels, path=at(config.labels.path))
    if config.train.weights and "." in Path(config.train.weights).name:
        changes["train"] = replace(config.train, weights=at(config.train.weights))
    if config.tiling.like:
        changes["tiling"] = replace(config.tiling, like=at(config.tiling.like))
    if config.publish:
        changes["publish"] = replace(config.publish, warehouse=at(config.publish.warehouse))
    if config.area and not re.fullmatch(r"[-\d.eE, ]+", config.area):
        changes["area"] = at(config.area)
    return replace(config, **changes)


def _apply_setting(raw: dict[str, Any], setting: str) -> None:
    key, equals, value = setting.partition("=")
    if not equals:
        raise UsageError(f"--set {setting!r} must be key=value, such as train.epochs=5")
    at: Any = raw
    *path, last = key.split(".")
    for part in path:
        at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
    parsed = yaml.safe_load(value)
    if isinstance(at, list):
        at[int(last)] = parsed
    else:
        at[last] = parsed


def _explain(error: Any) -> str:
    place = ".".join(str(p) for p in error["loc"])
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        *path, last = error["loc"]
        known = _fields_at(path)
        near = difflib.get_close_matches(str(last), known, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"unknown key {place!r}; {hint}"
    if error["type"] in ("missing", "missing_argument"):
        return f"key {place!r} is missing"
    shown = error.get("input")
    return f"{place}: {error['msg']} (found {shown!r})"


def _fields_at(path: Iterable[Any]) -> list[str]:
    at: Any = Config
    for part in path:
        if dataclasses.is_dataclass(at) and isinstance(part, str):
            at = typing.get_type_hints(at, include_extras=False).get(part, at)
        at = next((a for a in (at, *_arguments(at)) if dataclasses.is_dataclass(a)), at)
    return [f.name for f in dataclasses.fields(at)] if dataclasses.is_dataclass(at) else []


def _arguments(kind: Any) -> list[Any]:
    found = []
    for argument in typing.get_args(kind):
        found += [argument, *_arguments(argument)]
    return found
