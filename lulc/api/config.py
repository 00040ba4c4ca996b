"""A run's settings from a run file, a mapping or a Config."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lulc import runfile
from lulc.config import Config
from lulc.datasets.registry import complete_from_datasets
from lulc.errors import InputError, UsageError
from lulc.geo.grid import parse_crs
from lulc.location import Location, StorePath, parse_location
from lulc.redact import redact_setting
from lulc.tables import layout
from lulc.tables.files import write_atomic
from lulc.yaml12 import dump_yaml

type RunSource = str | Location | Mapping[str, Any] | Config
"""The path or address of a run file, its content as a mapping, or a Config."""


def load_config(
    source: RunSource, settings: Mapping[str, Any] | None = None, origin: str = "the run"
) -> Config:
    """Return the settings of a run, complete with what its datasets say.

    Args:
        source: the path or address of a run file; a mapping of its keys, whose relative paths are
            relative to the current folder; or a Config. It is not changed.
        settings: values by dotted name that replace those of `source`, such as
            `{"train.epochs": 5}` or `{"datasets.0.root": "EuroSAT"}`.
        origin: what messages call a `source` that has no path.

    Raises:
        UsageError: a key is unknown or its value is wrong; names the key and what is accepted.

    Examples:
        >>> import lulc
        >>> scene = {"path": "archive", "pattern": "{scene}_{date}_{band}.tif"}
        >>> legend = {1: {"name": "water", "colour": "#419bdf"}}
        >>> source = {"name": "lakes", "scenes": [scene], "bands": ["nir"], "legend": legend}
        >>> config = lulc.load_config(source, {"train.epochs": 5})
        >>> config.name, config.train.epochs, config.train.batch
        ('lakes', 5, 16)
    """
    if isinstance(source, str | Path | StorePath):
        raw, folder, origin = (
            runfile.read_mapping(source),
            parse_location(source).parent,
            str(source),
        )
    else:
        raw, folder = _plain(source), Path.cwd()
    for name, value in (settings or {}).items():
        runfile.set_value(raw, name, _plain(value))
    config = runfile.parse_run(raw, folder, origin)
    try:
        parse_crs(config.tiling.crs)
    except InputError as error:
        raise UsageError(f"{origin}: tiling.crs: {error}") from error
    return complete_from_datasets(config)


def save_config(config: Config, out: Location) -> bool:
    """Write the settings of a run into its output folder as a run file, without secrets.

    Returns:
        Whether the folder held none before.
    """
    settings = dataclasses.asdict(config)
    # Names of classes are the user's words, and none is a secret.
    settings = {**redact_setting("", settings), "legend": settings["legend"]}
    text = dump_yaml(settings)
    location = out / layout.CONFIG
    saved = None
    with contextlib.suppress(FileNotFoundError):
        saved = location.read_text("utf-8")
    if saved != text:
        write_atomic(location, lambda path: path.write_text(text, "utf-8"))
    return saved is None


def saved_config(out: Location) -> Config:
    """Return the settings that a run was last carried out with.

    Raises:
        InputError: the folder has none.
    """
    location = out / layout.CONFIG
    if not location.exists():
        raise InputError(
            f"{out} holds no {layout.CONFIG}: give the run file, lulc.open_run({str(out)!r}, RUN)"
        )
    return runfile.parse_run(runfile.read_mapping(location), out, str(location))


def _plain(value: Any) -> Any:
    # A copy as a run file would hold it: mappings, lists, and texts for paths.
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value
