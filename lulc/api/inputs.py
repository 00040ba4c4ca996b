"""The inputs that a run file names, looked for before anything starts.

Scenes and maps are left to the stage that lists them, which is the first.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from lulc.config import Config
from lulc.errors import InputError
from lulc.location import STORES, StorePath, check_location, is_address, parse_location
from lulc.raster.address import split_archive
from lulc.redact import redact_url


def find_missing(config: Config, stages: Collection[str]) -> dict[str, str]:
    """Return what is said of each input that stages will read and that is not there, by its key.

    Nothing is opened.

    Args:
        config: the run.
        stages: names of `lulc.stages.STAGES`.

    Raises:
        SetupError: a store cannot be reached.
    """
    return {
        key: f"{redact_url(path)} is not there, which stage {stage} reads"
        for key, path, stage in _named_inputs(config)
        if stage in stages and not _is_there(path)
    }


def check_inputs(config: Config, stages: Collection[str]) -> None:
    """Check that what stages will read is there.

    Args:
        config: the run.
        stages: names of `lulc.stages.STAGES`.

    Raises:
        InputError: an input is not there; names every such one with its key.
        SetupError: a store cannot be reached.
    """
    missing = find_missing(config, stages)
    if missing:
        lines = "".join(f"\n  {key}: {text}" for key, text in missing.items())
        raise InputError(
            f"inputs that the run file names are missing:{lines}\n"
            "nothing was started: correct the paths, or put the files there"
        )


def check_stores(config: Config) -> None:
    """Check that the stores in which a run's scenes and datasets lie may be listed.

    Raises:
        SetupError: a store cannot be reached; names it.
    """
    paths = [*(a.path for a in config.scenes if a.path), *(d.root for d in config.datasets)]
    stores = [store_path for p in paths if isinstance(store_path := parse_location(p), StorePath)]
    for folder in {store_path.root: store_path for store_path in stores}.values():
        check_location(folder)


def _named_inputs(config: Config) -> Iterator[tuple[str, str, str]]:
    # (key, path, the first stage that reads it)
    if config.tiling.like:
        yield "tiling.like", config.tiling.like, "index"
    if config.area and not re.fullmatch(r"[-\d.eE, ]+", config.area):
        yield "area", config.area, "index"
    for number, layer in enumerate(config.layers):
        yield f"layers.{number}.path", layer.path, "tile"
    if config.labels:
        yield "labels.path", config.labels.path, "samples"
    for number, dataset in enumerate(config.datasets):
        yield f"datasets.{number}.root", dataset.root, "samples"
    weights = config.train.weights
    # Those without a suffix are the name of published ones.
    if weights and "." in PurePosixPath(weights).name:
        yield "train.weights", weights, "train"
    if config.predict.model and config.predict.model.startswith(STORES):
        for model in config.predict.model.split("+"):
            yield "predict.model", model.strip(), "predict"
    for name, path in (config.refine.layers if config.refine else {}).items():
        yield f"refine.layers.{name}", path, "refine"
    for number, entry in enumerate(config.maps):
        if entry.within:
            yield f"maps.{number}.within", entry.within, "refine"
    for number, regions in enumerate(config.regions):
        yield f"regions.{number}.path", regions.path, "stats"


def _is_there(path: str) -> bool:
    if is_address(path) and not path.startswith(STORES):
        return True  # on the web, where only opening tells
    archive, _ = split_archive(path)
    with contextlib.suppress(OSError):  # the stage tells what it may not read
        return parse_location(archive).exists()
    return True
