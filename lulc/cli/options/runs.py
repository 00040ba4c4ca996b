"""Verbs that make a map: init, demo, run, submit, and every stage."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from lulc.cli.options.shared import (
    AddVerb,
    add_overlap,
    add_run_options,
    add_settings,
    location,
    unit_of_band,
)
from lulc.stages import STAGES

_ON_A_RUN = ("index", "embed")
"""Stages whose own options go with a run file; those of others take its place."""


def add_start(add: AddVerb) -> None:
    """Add init, demo, run and submit."""
    verb = add("init", "write a commented run file to start from", "lulc init my.yaml")
    verb.add_argument("path", type=Path, help="the file to write")
    verb = add(
        "demo",
        "map a small invented archive of scenes, offline, in a few minutes",
        "lulc demo --out out/demo",
    )
    verb.add_argument(
        "--out",
        type=location,
        default=Path("out/demo"),
        help="output folder (default %(default)s)",
    )
    add_settings(verb, "of the demo's run file")
    verb = add(
        "run",
        "run all stages of a run file in one session",
        "lulc run conf/zion.yaml --out out/zion",
    )
    _add_stage_options(verb)
    verb = add(
        "submit",
        "run the stages of a run file on a cluster, one spark-submit each",
        "lulc submit conf/zion.yaml --on yarn --out s3://bucket/zion --dry-run",
    )
    _add_stage_options(verb)
    verb.add_argument(
        "--on",
        required=True,
        metavar="CLUSTER",
        help="a kind in conf/ (standalone, yarn, kubernetes), a properties file, or a master's "
        "address",
    )
    verb.add_argument(
        "--stages", metavar="A,B", help="only these stages (default: those of the run file)"
    )
    verb.add_argument("--dry-run", action="store_true", help="print the commands alone")


def add_stages(add: AddVerb) -> None:
    """Add a verb for every stage."""
    # Stage → an example, and the options, of what can take the place of a run file.
    alternatives: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
        "index": (
            "my.yaml --out out --from earth-search --collection sentinel-2-c1-l2a --max-cloud 20",
            _add_search_options,
        ),
        "samples": (
            "--dataset eurosat --root EuroSAT_MS --option bands=ms --out out/eurosat",
            _add_dataset_options,
        ),
        "predict": ("--model zion --input images --out out/zion", _add_folder_options),
        "embed": ("conf/zion.yaml --every 16 --out out/zion", _add_vector_options),
        "stats": (
            "--rasters '2021=worldcover/*2021*.tif' --regions countries.json --out out/wc",
            _add_raster_options,
        ),
        "evaluate": (
            "--reference points.gpkg --regions parks.gpkg --out out/zion",
            _add_reference_options,
        ),
    }
    for stage, summary in STAGES.items():
        examples = ["conf/zion.yaml --out out/zion"]
        if stage in alternatives:
            examples.append(alternatives[stage][0])
        verb = add(stage, summary, *(f"lulc {stage} {example}" for example in examples))
        _add_stage_options(verb, run_is_optional=stage in alternatives and stage not in _ON_A_RUN)
        if stage in alternatives:
            alternatives[stage][1](verb)


def _add_stage_options(verb: argparse.ArgumentParser, run_is_optional: bool = False) -> None:
    add_run_options(verb, run_is_optional)
    verb.add_argument("--out", type=location, required=True, help="output folder")
    verb.add_argument(
        "--bbox", metavar="XMIN,YMIN,XMAX,YMAX", help="only tiles that touch this box, in degrees"
    )
    verb.add_argument(
        "--tiles", metavar="ID,ID…", help="only these tiles, such as 5070-30m-256/3_4"
    )
    verb.add_argument(
        "--where", metavar="SQL", help='only scenes with this condition, such as "cloud < 20"'
    )
    verb.add_argument(
        "--max-bad",
        metavar="N|P%",
        help="bad inputs allowed, as a count or a share of the inputs (default: any number)",
    )
    verb.add_argument(
        "--retry-bad", action="store_true", help="read scenes again that could not be read before"
    )


def _add_search_options(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group(
        "a search of a catalogue (within --bbox), in place of the run file's scenes"
    )
    group.add_argument(
        "--from",
        dest="catalogue",
        metavar="NAME|URL|FILE",
        help="a STAC API, a .parquet of STAC items, or copernicus, earth-search, "
        "planetary-computer, usgs, linz",
    )
    group.add_argument(
        "--collection", action="append", metavar="ID", help="a collection; may be repeated"
    )
    group.add_argument(
        "--time",
        metavar="DAY/DAY",
        help="days, such as 2023-01-01/2023-12-31 (default: the run's periods)",
    )
    group.add_argument(
        "--max-cloud",
        type=float,
        metavar="PERCENT",
        help="only scenes with at most this cloud cover",
    )


def _add_dataset_options(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("a published dataset, in place of a run file")
    group.add_argument("--dataset", metavar="NAME", help="its name; see `lulc info datasets`")
    group.add_argument(
        "--root", type=location, metavar="DIR", help="folder of the unpacked archive"
    )
    group.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="A=B",
        help="an option of the dataset; may be repeated",
    )
    group.add_argument(
        "--legend",
        choices=("own", "common"),
        default="own",
        help="the dataset's own legend, or the common one (default %(default)s)",
    )


def _add_folder_options(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("image files, in place of a run's chips")
    group.add_argument(
        "--model",
        help="registered model (name, name/version, name@alias or models:/ URI; a+b is the mean of "
        "two), with --input",
    )
    group.add_argument(
        "--input",
        type=location,
        metavar="DIR",
        help="folder of image files; each is mapped to a raster of the same name",
    )
    group.add_argument(
        "--units",
        type=unit_of_band,
        action="append",
        default=[],
        metavar="BAND=UNIT",
        help="unit of a band in the image files, such as vv=sigma0, where it is not the model's; "
        "may be repeated",
    )


def _add_vector_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--every",
        type=int,
        metavar="N",
        help="a vector for every N-th pixel of a tile's rows and columns (default: one a tile)",
    )


def _add_raster_options(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("class rasters made elsewhere, in place of a run file")
    group.add_argument(
        "--rasters",
        action="append",
        metavar="PERIOD=PATTERN",
        help="files of one period; may be repeated",
    )
    group.add_argument(
        "--regions",
        action="append",
        metavar="FILE",
        help="vector file of regions, a level of its own; may be repeated",
    )


def _add_reference_options(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("points that people have interpreted, in place of a run file")
    group.add_argument(
        "--reference",
        type=location,
        metavar="POINTS",
        help="file of `lulc design`, with its column `reference` filled in",
    )
    group.add_argument(
        "--map",
        nargs="+",
        type=location,
        metavar="TIF",
        help="class rasters to evaluate (default: those of the design)",
    )
    group.add_argument(
        "--regions", type=location, metavar="FILE", help="vector file: estimates by region as well"
    )
    group.add_argument(
        "--period",
        metavar="NAME",
        help="period of these rasters (default: that of the run's own); estimates of other "
        "periods are kept",
    )
    add_overlap(group, None, "as in the design")
