"""The run, and the part of it, that a command line describes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lulc import errors
from lulc.location import is_address
from lulc.stages import Selection

if TYPE_CHECKING:
    from lulc.config import Config


def config_from_arguments(args: argparse.Namespace) -> Config:
    """Return the run that a command line describes.

    Args:
        args: parsed arguments with a run file, or with the options that replace it (--dataset,
            --rasters), and settings on top.

    Raises:
        UsageError: the run file is wrong, missing, or options contradict each other.
    """
    from lulc.api.config import load_config
    from lulc.runfile import parse_setting

    settings = dict(map(parse_setting, args.set)) | _option_settings(args)
    replaced = [name for name in ("rasters", "dataset") if getattr(args, name, None)]
    if replaced and args.run is not None:
        raise errors.UsageError(
            f"a run file ({args.run}) and --{replaced[0]} exclude each other: give one of them"
        )
    if getattr(args, "rasters", None):
        return load_config(_rasters_run(args), settings, "--rasters")
    if getattr(args, "dataset", None):
        return load_config(_dataset_run(args), settings, "--dataset")
    if args.run is None:
        raise errors.UsageError("give a run file (RUN.yaml), or what takes its place: see --help")
    return load_config(args.run, settings)


def selection_from_arguments(args: argparse.Namespace) -> Selection:
    """Return the part of a run that a command line chooses.

    Raises:
        UsageError: --bbox is not a valid box.
    """
    return Selection(
        _read_bbox(args.bbox) if args.bbox else None,
        tuple(args.tiles.split(",")) if args.tiles else (),
        args.where,
        args.retry_bad,
    )


def _read_bbox(text: str) -> tuple[float, float, float, float]:
    from lulc.sources import area

    area.parse_box(text)
    xmin, ymin, xmax, ymax = (float(number) for number in text.split(","))
    return xmin, ymin, xmax, ymax


def _absolute_table(catalogue: str) -> str:
    # A table that is named here lies where the command is given, not beside the run file.
    is_path = catalogue.endswith((".parquet", ".geoparquet")) and not is_address(catalogue)
    return str(Path(catalogue).absolute()) if is_path else catalogue


def _option_settings(args: argparse.Namespace) -> dict[str, Any]:
    # Settings of a run file that options stand for.
    settings: dict[str, Any] = {}
    if getattr(args, "max_bad", None) is not None:
        settings["max_bad"] = args.max_bad
    if getattr(args, "every", None) is not None:
        settings["embed.every"] = args.every
    filters = {name: getattr(args, name, None) for name in ("collection", "time", "max_cloud")}
    if getattr(args, "catalogue", None):
        search = {
            "catalogue": _absolute_table(args.catalogue),
            "collections": args.collection,
            "bbox": args.bbox,
            "time": args.time,
            "max_cloud": args.max_cloud,
        }
        search = {name: entry for name, entry in search.items() if entry is not None}
        settings["scenes"] = [{"search": search}]
    elif any(filter_ is not None for filter_ in filters.values()):
        raise errors.UsageError(
            "--collection, --time and --max-cloud are for a search: add --from with its catalogue"
        )
    return settings


def _rasters_run(args: argparse.Namespace) -> dict[str, Any]:
    # The run file of --rasters and --regions.
    from lulc.stats.regions import level_of_file

    maps = [
        dict(zip(("period", "path"), text.split("=", 1), strict=False)) for text in args.rasters
    ]
    if not args.regions:
        raise errors.UsageError("--rasters PERIOD=PATTERN and --regions FILE go together")
    unnamed = [entry["period"] for entry in maps if "path" not in entry]
    if unnamed:
        raise errors.UsageError(
            f"--rasters {unnamed[0]} names no period: give --rasters '2020={unnamed[0]}'"
        )
    regions = [{"path": path, "level": level_of_file(path)} for path in args.regions]
    return {"name": "maps", "maps": maps, "regions": regions}


def _dataset_run(args: argparse.Namespace) -> dict[str, Any]:
    # The run file of --dataset and --root.
    if not args.root:
        raise errors.UsageError("--dataset NAME and --root DIR go together")
    options = dict(pair.partition("=")[::2] for pair in args.option)
    dataset = {"name": args.dataset, "root": str(args.root.resolve()), "options": options}
    legend = {"legend": "common"} if args.legend == "common" else {}
    return {"name": args.dataset, "datasets": [dataset], **legend}
