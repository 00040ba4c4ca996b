"""A run file (YAML) read into a Config; errors name the key and what is accepted."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lulc.bands import OBSERVATIONS
from lulc.config import Config, PublishConf, RefineConf, Search
from lulc.errors import UsageError
from lulc.legend import COMMON
from lulc.location import Location, StorePath, is_address, parse_location
from lulc.rules import parse_rule
from lulc.yaml12 import parse_yaml

_RUN = TypeAdapter(Config)
_LABEL_TASKS = ("segment", "change", "series")
_WANTED = {
    "tuple_type": "give a list, as in [a, b]",
    "dict_type": "give a mapping, as in {a: b}",
    "dataclass_type": "give a mapping of its keys, as in {key: value}",
}
"""What is asked for in the place of pydantic's words, by its type of error."""


def read_run(path: str | Location, settings: Iterable[str] = ()) -> Config:
    """Read a run file.

    Args:
        path: the YAML file; relative paths in it are relative to its folder.
        settings: `a.b=value` settings that replace those of the file.

    Returns:
        The checked Config.

    Raises:
        UsageError: the file is missing or wrong; the message has the key and what is accepted.
    """
    raw = apply_settings(read_mapping(path), settings)
    return parse_run(raw, parse_location(path).parent, str(path))


def read_mapping(path: str | Location) -> dict[str, Any]:
    """Return the keys and values of a run file as they are.

    Raises:
        UsageError: the file is missing or is not a mapping in YAML.
    """
    try:
        raw = parse_yaml(parse_location(path).read_bytes(), f"run file {path}")
    except FileNotFoundError as error:
        if isinstance(parse_location(path), StorePath):
            raise UsageError(f"run file {path}: {error.strerror}") from error
        raise UsageError(
            f"run file {path} is not there: `lulc init {path}` writes one to start from"
        ) from error
    except OSError as error:
        raise UsageError(f"run file {path} cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise UsageError(
            f"run file {path} must be a mapping of keys such as name, scenes, bands, legend"
        )
    return raw


def apply_settings(raw: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Apply `a.b=value` settings to the mapping of a run file, in place.

    Returns:
        The same mapping.

    Raises:
        UsageError: a setting without `=`, or one whose name leads nowhere.
    """
    for setting in settings:
        set_value(raw, *parse_setting(setting))
    return raw


def parse_setting(setting: str) -> tuple[str, Any]:
    """Return the name and the value of a setting such as `train.epochs=5`.

    Raises:
        UsageError: it has no `=`.

    Examples:
        >>> parse_setting("train.augment=[flip, noise]")
        ('train.augment', ['flip', 'noise'])
    """
    name, equals, text = setting.partition("=")
    if not equals:
        raise UsageError(f"--set {setting!r} must be key=value, such as train.epochs=5")
    return name, parse_yaml(text, f"--set {setting!r}")


def set_value(raw: dict[str, Any], name: str, value: Any) -> None:
    """Set a value in the mapping of a run file, in place.

    Args:
        raw: the run file's keys and values.
        name: the key's name with dots, and numbers for entries of lists and ids of mappings:
            `datasets.0.root`, `legend.3.name`.
        value: what it is set to.

    Raises:
        UsageError: there is no such key to set.

    Examples:
        >>> raw = {"datasets": [{"root": "a"}]}
        >>> set_value(raw, "datasets.0.root", "b")
        >>> raw
        {'datasets': [{'root': 'b'}]}
    """
    parent: Any = raw
    *path, last = name.split(".")
    try:
        for part in path:
            key = int(part) if isinstance(parent, list) else _key_in(parent, part)
            # A section that is null, as a saved run file has it, is one that is not there.
            if isinstance(parent, dict) and parent.get(key) is None:
                parent[key] = {}
            parent = parent[key]
        parent[int(last) if isinstance(parent, list) else _key_in(parent, last)] = value
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise UsageError(
            f"setting {name!r} leads nowhere in this run file: entries of lists are numbered "
            "from 0, as in datasets.0.root"
        ) from error


def _key_in(mapping: Mapping[Any, Any], text: str) -> int | str:
    # Keys that are all numbers, such as ids of classes, are numbers in a run file.
    is_number = text.isdecimal() and str(int(text)) == text
    return int(text) if is_number and not any(isinstance(key, str) for key in mapping) else text


def parse_run(raw: Mapping[str, Any], folder: Location, where: str = "run file") -> Config:
    """Check the mapping of a run file.

    Args:
        raw: the run file's keys and values.
        folder: folder that relative paths start from.
        where: name of the mapping's origin, for messages.

    Returns:
        The Config, its paths absolute.

    Raises:
        UsageError: a key is unknown, missing or wrong, or keys contradict each other.
    """
    if raw.get("legend") == COMMON.name:
        classes = {c.id: {"name": c.name, "colour": c.colour} for c in COMMON.classes}
        raw = {**raw, "legend": classes}
    try:
        config = _RUN.validate_python(raw)
    except ValidationError as error:
        raise UsageError(f"{where}: " + "; ".join(_explain(e) for e in error.errors())) from error
    try:
        fault = _find_fault(config) or _find_fault_of_features(config)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    if fault:
        raise UsageError(f"{where}: {fault}")
    computed = [f.name for f in config.features if f.name not in config.bands]
    config = dataclasses.replace(config, bands=(*config.bands, *computed))
    if config.legend:
        try:
            config.make_legend()
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error
    if config.labels and config.task not in (None, *_LABEL_TASKS):
        raise UsageError(
            f"{where}: labels give a class a pixel, for tasks segment, change and series; "
            f"{config.task} learns from datasets"
        )
    if not config.datasets:
        config = dataclasses.replace(config, task=config.task or "segment")
    config = _resolve_paths(config, folder)
    _check_answers(config, where)
    return config


def _check_answers(config: Config, where: str) -> None:
    # One would take the place of the other, and its scenes would count for those of both.
    searches: dict[str, Search] = {}
    for archive in config.scenes:
        search, path = archive.search, archive.path
        if search and path and searches.setdefault(path, search) != search:
            raise UsageError(
                f"{where}: two searches keep their answers in scenes.path {path}: give each its own"
            )


def _find_fault(config: Config) -> str | None:
    # The first contradiction between keys.
    bands, samples = config.bands, config.samples
    required = () if config.datasets or config.maps else ("scenes", "bands", "legend")
    missing = [name for name in required if not getattr(config, name)]
    if missing:
        return "; ".join(f"key {name!r} is missing" for name in missing)
    if config.scenes and not bands:
        return "say which bands of the scenes are mapped: key 'bands' is missing"
    if len(set(bands)) != len(bands):
        return f"bands {list(bands)} names a band twice"
    names = [period.name for period in config.periods]
    if len(set(names)) != len(names):
        return f"periods {names} names a period twice: each is a map of its own name"
    if OBSERVATIONS in bands and config.composite is None:
        return (
            f"band {OBSERVATIONS} is counted for a composite: add `composite: {{method: median}}`"
        )
    if samples.fold >= (samples.folds or 1):
        return f"samples.fold {samples.fold} is none of samples.folds {samples.folds}: count from 0"
    if config.composite and config.composite.interval and any(a.timeless for a in config.scenes):
        return "scenes.timeless has no place in the intervals of composite.interval: leave one out"
    index = config.composite.index or () if config.composite else ()
    unknown = sorted(set(index) - set(bands))
    if unknown:
        return f"composite.index has {', '.join(unknown)}, which bands {list(bands)} lack"
    if config.labels and config.tiling.size % samples.size:
        return f"samples.size {samples.size} must divide tiling.size {config.tiling.size}"
    predict = config.predict
    if config.rasters.uncertainty and not (predict.probabilities or predict.spread):
        return "rasters.uncertainty is of probabilities: set predict.probabilities to true"
    if predict.combine == "vote" and config.task in ("multilabel", "detect"):
        return f"predict.combine: vote is for one class a pixel or image, not for {config.task}"
    if predict.spread and config.task in ("classify", "multilabel", "detect"):
        return f"predict.spread is of a class a pixel, and task {config.task} gives none"
    if predict.spread and not (predict.flips or "+" in (predict.model or "")):
        return "predict.spread is of several models or mirror images: set predict.flips, or a+b"
    if config.maps and not config.refine and any(entry.within for entry in config.maps):
        return "maps.within is for maps that are refined: give refine, such as {combine: first}"
    if config.rasters.polygons and (fault := _find_fault_of_layers(config)):
        return fault
    if config.refine and (fault := _find_fault_of_refine(config, config.refine)):
        return fault
    if config.publish:
        return _find_fault_of_publication(config.publish)
    return None


def _find_fault_of_layers(config: Config) -> str | None:
    # Each period is a layer of a GeoPackage, which is a table of SQLite.
    periods = [*(entry.name for entry in config.periods), *(entry.period for entry in config.maps)]
    tables = {period.lower(): period for period in periods}
    for period in periods:
        if period.lower().startswith(("gpkg", "sqlite_")):
            return f"rasters.polygons: no layer may be called {period}: rename the period"
        if (other := tables[period.lower()]) != period:
            return (
                f"rasters.polygons: periods {period} and {other} differ in capitals alone, and "
                "layers of a GeoPackage may not: rename one"
            )
    return None


def _find_fault_of_refine(config: Config, refine: RefineConf) -> str | None:
    # Raises UsageError for what is no rule.
    if config.maps and (fault := _find_fault_of_maps(config)):
        return fault
    if refine.combine and not config.maps:
        return "refine.combine is of maps; models are joined by predict.model, such as a+b"
    if refine.smooth and not config.predict.probabilities:
        return "refine.smooth is of probabilities: set predict.probabilities to true"
    if refine.transitions and len(config.periods) < 2:
        return "refine.transitions are between periods: give two or more"
    names = [entry.name for entry in config.legend.values()]
    pairs = refine.transitions.forbidden if refine.transitions else ()
    unknown = sorted({name for pair in pairs for name in pair} - set(names))
    for rule in refine.rules:
        parse_rule(rule, names, refine.layers)
    if unknown:
        return f"refine.transitions.forbidden has {', '.join(unknown)}, which legend {names} lacks"
    return None


def _find_fault_of_maps(config: Config) -> str | None:
    # Of maps that are refined.
    if not config.legend:
        return "refine names classes of maps by the legend: key 'legend' is missing"
    if not config.regions:
        return "areas of maps made elsewhere are taken by region: key 'regions' is missing"
    names = [period.name for period in config.periods]
    others = sorted({entry.period for entry in config.maps} - set(names))
    if others:
        return (
            f"maps have periods {', '.join(others)}, and periods are {names}: refine takes them in "
            "the order of periods, give them there"
        )
    without = sorted(set(names) - {entry.period for entry in config.maps})
    if without:
        return (
            f"periods {', '.join(without)} have no map: give theirs under maps, or leave them out "
            "of periods"
        )
    known = {entry.accuracy is None for entry in config.maps}
    if len(known) > 1:
        return "maps.accuracy is given for some: give it for all maps, or for none"
    return None


def _find_fault_of_features(config: Config) -> str | None:
    # Raises UsageError for what is no feature.
    features, halo = config.features, config.tiling.halo
    others = [band for band in config.given_bands if not re.fullmatch(r"[\w-]+", band)]
    if others:
        return f"bands {others} are none of scenes: name features under tiling.features"
    if features and config.datasets:
        return (
            "tiling.features are made of the run's scenes, and samples of datasets have none: "
            "leave one of the two out"
        )
    starts = [period.start for period in config.periods]
    for feature in features:
        if feature.scope == "dates" and config.composite is None:
            return (
                f"tiling.features {feature.name} is over the dates of a composite: add "
                "`composite: {method: median}`"
            )
        if feature.radius > halo:
            return (
                f"tiling.features {feature.name} takes {feature.radius} pixels around each, and "
                f"tiling.halo is {halo}: make it {-(-feature.radius // 16) * 16} or more"
            )
        if feature.is_of_days and None in starts:
            return (
                f"tiling.features {feature.name} counts days from the year that a period starts "
                "in: give periods a start"
            )
    return None


def _find_fault_of_publication(publish: PublishConf) -> str | None:
    if not (publish.warehouse or publish.tiles):
        return "publish names no place: give publish.warehouse for tables, publish.tiles for maps"
    for name, place in (("warehouse", publish.warehouse), ("tiles", publish.tiles)):
        # HDFS is known to Spark alone, which writes tables there.
        if place and not (name == "warehouse" and place.startswith("hdfs://")):
            try:
                parse_location(place)
            except UsageError as error:
                return f"publish.{name} {error}"
    if not (publish.warehouse and is_address(publish.warehouse)):
        return None
    if publish.catalog.get("type", "hadoop") == "hadoop":
        # It takes a table's new state by renaming a file, which is no single step in a store.
        return (
            f"publish.warehouse {publish.warehouse} is in a store, where a catalogue of "
            "files alone is not safe: give publish.catalog its type (rest, glue, jdbc, hive), and "
            "spark.conf its JARs"
        )
    return None


def _resolve_paths(config: Config, folder: Location) -> Config:
    def absolute(path: str) -> str:
        if path.startswith(("http://", "https://")):
            return path
        location = parse_location(path)
        return str((location if location.is_absolute() else folder / path).resolve())

    replace = dataclasses.replace
    changes: dict[str, Any] = {
        key: tuple(
            replace(entry, path=absolute(entry.path)) if entry.path else entry
            for entry in getattr(config, key)
        )
        for key in ("scenes", "layers", "regions", "maps")
    }
    changes["scenes"] = tuple(
        replace(entry, search=replace(entry.search, catalogue=absolute(entry.search.catalogue)))
        if entry.search and entry.search.is_of_table
        else entry
        for entry in changes["scenes"]
    )
    changes["datasets"] = tuple(replace(d, root=absolute(d.root)) for d in config.datasets)
    if config.labels:
        changes["labels"] = replace(config.labels, path=absolute(config.labels.path))
    # Weights without a suffix are the name of published ones.
    if config.train.weights and "." in PurePosixPath(config.train.weights).name:
        changes["train"] = replace(config.train, weights=absolute(config.train.weights))
    changes["maps"] = tuple(
        replace(entry, within=absolute(entry.within)) if entry.within else entry
        for entry in changes["maps"]
    )
    if config.refine:
        layers = {name: absolute(path) for name, path in config.refine.layers.items()}
        changes["refine"] = replace(config.refine, layers=layers)
    if config.about.texts:
        changes["about"] = replace(config.about, texts=absolute(config.about.texts))
    if config.tiling.like:
        changes["tiling"] = replace(config.tiling, like=absolute(config.tiling.like))
    if config.publish:
        places = {"warehouse": config.publish.warehouse, "tiles": config.publish.tiles}
        changes["publish"] = replace(
            config.publish,
            **{
                name: absolute(place) if place and not is_address(place) else place
                for name, place in places.items()
            },
        )
    is_box = config.area and re.fullmatch(r"[-\d.eE, ]+", config.area)
    if config.area and not is_box:
        changes["area"] = absolute(config.area)
    return replace(config, **changes)


def _explain(error: Any) -> str:
    # One error of pydantic's, in the words of a run file.
    key = ".".join(str(name) for name in error["loc"])
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        *path, last = error["loc"]
        fields = _fields_at(path)
        nearest = difflib.get_close_matches(str(last), fields, 1, 0.5)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known here: {', '.join(fields)}"
        return f"unknown key {key!r}; {hint}"
    if error["type"] in ("missing", "missing_argument"):
        return f"key {key!r} is missing"
    value = error.get("input")
    if error["type"] == "string_type" and isinstance(value, int | float):
        return f"{key}: {value!r} is no text as it stands: write it in quotes, '{value}'"
    expected = _WANTED.get(error["type"], error["msg"])
    return f"{key}: {expected} (found {value!r})"


def _fields_at(path: Iterable[Any]) -> list[str]:
    # Names of the fields of the record under a path of keys.
    record: Any = Config
    for key in path:
        if dataclasses.is_dataclass(record) and isinstance(key, str):
            record = typing.get_type_hints(record, include_extras=False).get(key, record)
        types = (record, *_type_arguments(record))
        record = next((kind for kind in types if dataclasses.is_dataclass(kind)), record)
    if not dataclasses.is_dataclass(record):
        return []
    return [field.name for field in dataclasses.fields(record)]


def _type_arguments(kind: Any) -> list[Any]:
    # Types in a type such as tuple[Archive, ...], at any depth.
    arguments = []
    for argument in typing.get_args(kind):
        arguments += [argument, *_type_arguments(argument)]
    return arguments
