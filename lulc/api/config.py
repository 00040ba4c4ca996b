"""A run's settings from a run file, a mapping or a Config."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lulc import runfile
from lulc.config import Config
from lulc.datasets.registry import complete_from_datasets
from lulc.errors import InputError
from lulc.redact import redact_setting
from lulc.tables import layout
from lulc.tables.files import Location, write_atomic

type RunSource = str | Path | Mapping[str, Any] | Config
"""The path of a run file, its content as a mapping, or a Config."""


def load_config(source: RunSource, settings: Mapping[str, Any] | None = None) -> Config:
    """Return the settings of a run, complete with what its datasets say.

    Args:
        source: the path of a run file; a mapping of its keys, whose relative paths are relative to
            the current folder; or a Config.
        settings: values by dotted name that replace those of `source`, such as
            `{"train.epochs": 5}`.

    Raises:
        UsageError: a key is unknown or its value is wrong; names the key and what is accepted.

    Examples:
        >>> import lulc
        >>> config = lulc.load_config("conf/zion.yaml", {"train.epochs": 5})
        >>> config.name, config.train.epochs
        ('zion', 5)
    """
    texts = [f"{name}={json.dumps(value)}" for name, value in (settings or {}).items()]
    if isinstance(source, str | Path):
        return complete_from_datasets(runfile.read_run(source, texts))
    raw = _plain(source) if isinstance(source, Config) else dict(source)
    config = runfile.parse_run(runfile.apply_settings(raw, texts), Path.cwd(), "the run")
    return complete_from_datasets(config)


def save_config(config: Config, out: Location) -> None:
    """Write the settings of a run into its output folder, without secrets."""
    text = json.dumps(redact_setting("", _plain(config)), indent=1)
    location = out / layout.CONFIG
    if not location.exists() or location.read_text() != text:
        write_atomic(location, lambda path: path.write_text(text))


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
    return runfile.parse_run(json.loads(location.read_text()), out, str(location))


def _plain(config: Config) -> dict[str, Any]:
    # Mappings, lists and texts alone; keys that a run file may leave out are left out where None.
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return {key: value for key, value in plain.items() if value is not None}
