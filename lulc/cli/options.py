"""The command line's arguments, and the Config that they describe."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lulc import __version__, errors
from lulc.cli.output import TEXT_FORMATS
from lulc.location import Location, is_address, parse_location
from lulc.stages import STAGES, Selection

if TYPE_CHECKING:
    from lulc.config import Config

_ON_A_RUN = ("index", "embed")
"""Stages whose own options go with a run file; those of others take its place."""

AddVerb = Callable[..., argparse.ArgumentParser]
"""add(name, help, *examples): add a verb, and return its parser."""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line.

    Returns:
        The parser; its result has the verb's name in `verb`, no `verb` where none is given.
    """
    parser = argparse.ArgumentParser(
        prog="lulc",
        description="Map land use and land cover from archives of scenes, and measure areas with "
        "their accuracy.",
        epilog="example: lulc demo\nexample: lulc run conf/zion.yaml --out out/zion",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lulc {__version__}")
    parser.set_defaults(debug=False)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")

    def add(name: str, summary: str, *examples: str) -> argparse.ArgumentParser:
        verb = verbs.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog="\n".join(f"example: {example}" for example in examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add_argument(
            "--debug", action="store_true", help="show Spark's log and full tracebacks"
        )
        verb.add_argument("--json", action="store_true", help="print the result as JSON")
        verb.set_defaults(verb=name)
        return verb

    _add_start(add)
    _add_stages(add)
    _add_inspection(add)
    _add_queries(add)
    _add_accuracy(add)
    _add_training(add)
    _add_doctor(add)
    return parser


def stage_arguments(stage: str, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of a program that runs one stage; they are those of `lulc STAGE`.

    Args:
        stage: the stage's name.
        arguments: without the stage; the program's own where None.
    """
    own_arguments = sys.argv[1:] if arguments is None else arguments
    return make_parser().parse_args([stage, *own_arguments])


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


def _location(text: str) -> Location:
    try:
        return parse_location(text)
    except errors.UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of cores: give 1 or more")
    return int(text)


def _price(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text} is no price: give a number, 0 or more")


def _unit_of_band(text: str) -> tuple[str, str]:
    band, equals, unit = text.partition("=")
    if not (band and equals and unit):
        raise argparse.ArgumentTypeError(f"{text!r}: write BAND=UNIT, such as vv=sigma0")
    return band, unit


def _add_start(add: AddVerb) -> None:
    verb = add("init", "write a commented run file to start from", "lulc init my.yaml")
    verb.add_argument("path", type=Path, help="the file to write")
    verb = add(
        "demo",
        "map a small invented archive of scenes, offline, in a few minutes",
        "lulc demo --out out/demo",
    )
    verb.add_argument(
        "--out",
        type=_location,
        default=Path("out/demo"),
        help="output folder (default %(default)s)",
    )
    _add_settings(verb, "of the demo's run file")
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


def _add_stages(add: AddVerb) -> None:
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


def _add_inspection(add: AddVerb) -> None:
    verb = add(
        "plan",
        "show what a run will read, write and cost, from metadata alone",
        "lulc plan conf/zion.yaml --geojson tiles.geojson",
        "lulc plan my.yaml --out out/my --cores 64 --price 0.04 --calibrate",
    )
    _add_run_options(verb)
    verb.add_argument(
        "--out", type=_location, help="output folder, whose scenes and samples are used if there"
    )
    verb.add_argument(
        "--cores",
        type=_positive,
        metavar="N",
        help="cores that work at once (default: this machine's)",
    )
    verb.add_argument(
        "--price", type=_price, metavar="X", help="price of an hour of one core, in any currency"
    )
    verb.add_argument(
        "--calibrate",
        action="store_true",
        help="measure first what this machine takes for a pixel, in under a minute; later plans of "
        "any run use it",
    )
    verb.add_argument("--geojson", type=Path, metavar="FILE", help="write the tiles to this file")
    verb = add(
        "info",
        "show what a scene, raster, table, model or output folder holds",
        "lulc info out/zion/tables/samples",
    )
    verb.add_argument("path", help="a file, a folder, or a model such as models:/zion@champion")
    verb.add_argument("--out", type=_location, help="output folder whose registry holds the model")
    verb.add_argument(
        "--png", type=Path, metavar="FILE", help="draw a table of chips or samples to this file"
    )
    verb = add(
        "report",
        "write the report of an output folder again",
        "lulc report conf/zion.yaml --out out/zion",
    )
    _add_run_options(verb)
    verb.add_argument("--out", type=_location, required=True, help="output folder")
    verb = add(
        "view",
        "show a run's maps and regions in a browser",
        "lulc view out/zion",
        "lulc view out/zion --export site",
    )
    verb.add_argument("out", type=_location, help="output folder of a run")
    verb.add_argument(
        "--port",
        type=int,
        default=8620,
        help="port of this machine, 0 any that is free (default %(default)s)",
    )
    verb.add_argument(
        "--export",
        type=_location,
        metavar="FOLDER",
        help="write the page to a folder instead, for any web server or object store",
    )
    verb.add_argument(
        "--true-colours",
        action="store_true",
        help="let the run's chips be seen below its maps: they need the bands red, green and blue",
    )
    verb = add(
        "models", "list registered models, their versions and scores", "lulc models out/zion"
    )
    verb.add_argument(
        "out",
        type=_location,
        help="output folder whose registry is read (or MLFLOW_TRACKING_URI's)",
    )


def _add_queries(add: AddVerb) -> None:
    verb = add(
        "sql",
        "query a run's tables in Spark SQL; without a query, in a shell",
        'lulc sql out/zion "SELECT class_name, area_m2 FROM class_areas"',
    )
    verb.add_argument("out", type=_location, help="output folder of a run")
    verb.add_argument(
        "queries",
        nargs="*",
        metavar="query",
        help="a statement, or several with semicolons; views have the names of the tables. Without "
        "one, a terminal gets a shell, and standard input is read elsewhere",
    )
    verb.add_argument(
        "-f", "--file", type=Path, metavar="FILE", help="statements of a file, - standard input"
    )
    verb.add_argument(
        "--format",
        choices=(*TEXT_FORMATS, "parquet"),
        default="table",
        help="how rows are printed (default %(default)s)",
    )
    verb.add_argument(
        "--save",
        type=_location,
        metavar="FILE",
        help="write the result to a .csv, .xlsx, .parquet, .gpkg or .geojson file",
    )
    verb.add_argument(
        "--bind",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="value of :NAME in the query; may be repeated",
    )
    verb.add_argument(
        "--limit",
        type=int,
        default=1000,
        metavar="N",
        help="print the first N rows, 0 all (default %(default)s); --save writes all",
    )
    verb.add_argument(
        "--unsafe",
        action="store_true",
        help="allow what is refused by default: to read other files, to write, to call Java, to "
        "change settings",
    )
    verb = add(
        "serve",
        "answer SQL over JDBC until stopped (Spark's Thrift server)",
        "lulc serve out/zion --port 10000",
    )
    verb.add_argument("out", type=_location, help="output folder of a run")
    verb.add_argument(
        "--port", type=int, default=10000, help="port of this machine (default %(default)s)"
    )
    verb.add_argument(
        "--host",
        default="127.0.0.1",
        help="interface to listen on (default %(default)s); others need --keystore",
    )
    verb.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds the token that clients give as password; default: LULC_SERVE_TOKEN in the "
        "environment, else a new one, shown once on the terminal",
    )
    verb.add_argument(
        "--keystore",
        type=Path,
        metavar="FILE",
        help="PKCS #12 file with key and certificate for TLS; its password is "
        "LULC_KEYSTORE_PASSWORD in the environment",
    )


def _add_accuracy(add: AddVerb) -> None:
    verb = add(
        "design",
        "draw a stratified random sample of a map's pixels, with replacement, to interpret",
        "lulc design points.gpkg out/zion/rasters/2000/*/*.tif --error 0.01",
        "lulc design doubts.gpkg out/zion/rasters/2000/*/*.tif --by uncertainty --points 200",
    )
    verb.add_argument("points", type=Path, help="file to write, .gpkg or .geojson")
    verb.add_argument(
        "rasters", nargs="+", type=_location, help="class rasters, whose classes are the strata"
    )
    verb.add_argument("--points", dest="count", type=int, metavar="N", help="number of points")
    verb.add_argument(
        "--by",
        choices=("area", "uncertainty"),
        default="area",
        help="uncertainty: points where the map is least confident, to learn from; areas and "
        "accuracies cannot be estimated from these (default %(default)s)",
    )
    verb.add_argument(
        "--error",
        type=float,
        metavar="SE",
        help="in place of --points: standard error of the overall accuracy to reach",
    )
    verb.add_argument(
        "--allocation",
        choices=("neyman", "proportional", "equal"),
        help="how points are allocated to strata (default neyman)",
    )
    verb.add_argument(
        "--least",
        type=int,
        metavar="N",
        help="least number of points in a stratum (default 30)",
    )
    verb.add_argument(
        "--seed", type=int, default=0, help="seed of the random draw (default %(default)s)"
    )
    _add_overlap(verb, "refuse", "refuse")
    verb = add(
        "compare",
        "compare two class rasters pixel by pixel: what each class became",
        "lulc compare 2020.tif 2021.tif change.tif",
    )
    verb.add_argument("before", type=_location, help="class raster")
    verb.add_argument("after", type=_location, help="class raster of a later time")
    verb.add_argument("change", type=_location, help="raster to write")


def _add_doctor(add: AddVerb) -> None:
    verb = add(
        "doctor",
        "check whether this machine, or a cluster, can run lulc, and how to fix it",
        "lulc doctor",
        "lulc doctor --cluster spark://HOST:7077 --out s3://bucket/zion",
    )
    verb.add_argument(
        "--cluster",
        nargs="?",
        const="",
        metavar="CLUSTER",
        help="look at every executor of a cluster, named as for `lulc submit --on`",
    )
    verb.add_argument(
        "--out",
        type=_location,
        help="with --cluster: a location that every executor writes and reads",
    )


def _add_training(add: AddVerb) -> None:
    verb = add(
        "tune",
        "compare trainings with different settings, or on spatial folds, side by side",
        "lulc tune my.yaml --out out/my --over train.rate=0.001,0.003 --folds 5",
    )
    _add_run_options(verb)
    verb.add_argument("--out", type=_location, required=True, help="output folder")
    verb.add_argument(
        "--over",
        action="append",
        default=[],
        metavar="A.B=1,2",
        help="values of a setting under train to compare; may be repeated",
    )
    verb.add_argument(
        "--folds", type=int, metavar="N", help="train N times, each time tested on another fold"
    )
    verb = add(
        "review",
        "find labels that are likely wrong, by models that did not learn them",
        "lulc review my.yaml --out out/my --folds 5",
    )
    _add_run_options(verb)
    verb.add_argument("--out", type=_location, required=True, help="output folder")
    verb.add_argument(
        "--folds",
        type=int,
        default=5,
        metavar="N",
        help="train N times, each time without another fold, whose labels are reviewed "
        "(default %(default)s)",
    )
    verb = add(
        "rate",
        "try learning rates in one short pass over the samples",
        "lulc rate my.yaml --out out/my",
    )
    _add_run_options(verb)
    verb.add_argument(
        "--out",
        type=_location,
        required=True,
        help="output folder that holds the samples; rates.png is written there",
    )


def _add_settings(verb: argparse.ArgumentParser, origin: str) -> None:
    verb.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=1",
        help=f"replace a setting {origin}; may be repeated",
    )


def _add_run_options(verb: argparse.ArgumentParser, run_is_optional: bool = False) -> None:
    count = "?" if run_is_optional else None
    verb.add_argument("run", type=_location, nargs=count, help="run file (YAML)")
    _add_settings(verb, "of the run file")


def _add_stage_options(verb: argparse.ArgumentParser, run_is_optional: bool = False) -> None:
    _add_run_options(verb, run_is_optional)
    verb.add_argument("--out", type=_location, required=True, help="output folder")
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
        "--root", type=_location, metavar="DIR", help="folder of the unpacked archive"
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
        type=_location,
        metavar="DIR",
        help="folder of image files; each is mapped to a raster of the same name",
    )
    group.add_argument(
        "--units",
        type=_unit_of_band,
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
        type=_location,
        metavar="POINTS",
        help="file of `lulc design`, with its column `reference` filled in",
    )
    group.add_argument(
        "--map",
        nargs="+",
        type=_location,
        metavar="TIF",
        help="class rasters to evaluate (default: those of the design)",
    )
    group.add_argument(
        "--regions", type=_location, metavar="FILE", help="vector file: estimates by region as well"
    )
    group.add_argument(
        "--period",
        metavar="NAME",
        help="period of these rasters (default: that of the run's own); estimates of other "
        "periods are kept",
    )
    _add_overlap(group, None, "as in the design")


def _add_overlap(
    verb: argparse.ArgumentParser | argparse._ArgumentGroup, default: str | None, meaning: str
) -> None:
    verb.add_argument(
        "--overlap",
        choices=("refuse", "first"),
        default=default,
        help="class rasters that overlap: refuse them, or take the first by name "
        f"(default {meaning})",
    )
