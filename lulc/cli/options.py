"""What can be said on the command line, and the run that it asks for."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lulc.config import Config
from lulc import __version__, errors
from lulc.stages import STAGES


def make_parser() -> argparse.ArgumentParser:
    """What reads a command line: `verb` is the name of what is asked, not there where nothing is."""
    parser = argparse.ArgumentParser(
        prog="lulc",
        description="Maps land use and land cover from archives of scenes, and areas one can defend.",
        epilog="example: lulc demo\nexample: lulc run conf/zion.yaml --out out/zion",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lulc {__version__}")
    parser.set_defaults(debug=False)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")

    def add(name: str, does: str, *examples: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(
            name, help=does, description=does[0].upper() + does[1:] + ".", epilog="\n".join(f"example: {e}" for e in examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        made.add_argument(
            "--debug", action="store_true", help="show Spark's log and every traceback"
        )
        made.add_argument("--json", action="store_true", help="print the result as JSON")
        made.set_defaults(verb=name)
        return made

    made = add("init", "write a commented run file to start from", "lulc init my.yaml")
    made.add_argument("path", type=Path, help="the file to write")
    made = add(
        "demo",
        "map a scene archive made on the spot, offline, in a few minutes",
        "lulc demo --out out/demo",
    )
    made.add_argument(
        "--out", type=Path, default=Path("out/demo"), help="output folder (default %(default)s)"
    )
    made.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=1",
        help="a setting over the demo's run file",
    )

    made = add(
        "run", "every stage of a run file, in one session", "lulc run conf/zion.yaml --out out/zion"
    )
    _stage_options(made)
    _stages(add)
    made = add(
        "plan",
        "what a run will read, write and cost; metadata only",
        "lulc plan conf/zion.yaml --geojson tiles.geojson",
    )
    _run_options(made)
    made.add_argument("--geojson", type=Path, help="write the tiles there")
    made = add(
        "info",
        "what a scene, raster, table, model or output folder holds",
        "lulc info out/zion/tables/samples",
    )
    made.add_argument("path", help="a file, a folder, or a model such as models:/zion@champion")
    made.add_argument("--out", type=Path, help="output folder whose registry holds the model")
    made.add_argument(
        "--png", type=Path, help="write a picture of a table of chips or samples there"
    )
    made = add(
        "report",
        "write the report of an output folder anew",
        "lulc report conf/zion.yaml --out out/zion",
    )
    _run_options(made)
    made.add_argument("--out", type=Path, required=True, help="output folder")
    _asking(add)
    add("doctor", "whether this machine can run it, and what would mend it", "lulc doctor")
    return parser


def _stages(add: Callable[..., argparse.ArgumentParser]) -> None:
    more: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
        "index": (
            "my.yaml --out out --from earth-search --collection sentinel-2-c1-l2a --max-cloud 20",
            _search_options,
        ),
        "samples": (
            "--dataset eurosat --root EuroSAT_MS --option bands=ms --out out/eurosat",
            _dataset_options,
        ),
        "predict": ("--model zion --input images --out out/zion", _folder_options),
        "stats": (
            "--rasters '2021=worldcover/*2021*.tif' --regions countries.json --out out/wc",
            _raster_options,
        ),
        "evaluate": (
            "--reference points.gpkg --regions parks.gpkg --out out/zion",
            _reference_options,
        ),
    }
    for name, does in STAGES.items():
        examples = ["conf/zion.yaml --out out/zion"] + ([more[name][0]] if name in more else [])
        made = add(name, does, *(f"lulc {name} {example}" for example in examples))
        _stage_options(
            made, optional=name in more and name != "index"
        )  # a search takes the place of scenes alone
        if name in more:
            more[name][1](made)


def _asking(add: Callable[..., argparse.ArgumentParser]) -> None:
    made = add(
        "sql",
        "ask a run's tables in Spark SQL",
        'lulc sql out/zion "SELECT class_name, area_m2 FROM class_areas"',
    )
    made.add_argument("out", type=Path, help="output folder of a run")
    made.add_argument("query", help="the query; views are named like the tables")
    made.add_argument(
        "--save",
        type=Path,
        metavar="FILE",
        help="write what it gives: .csv, .xlsx, .parquet, .gpkg or .geojson",
    )
    made.add_argument(
        "--bind",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="value of :NAME in the query",
    )
    made = add(
        "design", "draw a stratified random sample of a map's pixels to interpret",
        "lulc design points.gpkg out/zion/rasters/2000/*.tif --error 0.01",
    )  # fmt: skip
    made.add_argument("points", type=Path, help="file to write, .gpkg or .geojson")
    made.add_argument(
        "rasters", nargs="+", type=Path, help="class rasters whose classes are the strata"
    )
    made.add_argument("--points", dest="count", type=int, metavar="N", help="points in all")
    made.add_argument(
        "--error",
        type=float,
        metavar="SE",
        help="or: standard error that the overall accuracy shall have",
    )
    made.add_argument(
        "--allocation",
        choices=("neyman", "proportional", "equal"),
        default="neyman",
        help="default %(default)s",
    )
    made.add_argument(
        "--least",
        type=int,
        default=30,
        metavar="N",
        help="points in every stratum at least (default %(default)s)",
    )
    made.add_argument(
        "--seed", type=int, default=0, help="another seed draws others (default %(default)s)"
    )
    made = add(
        "serve",
        "answer SQL over JDBC until stopped (Spark's Thrift server)",
        "lulc serve out/zion --port 10000",
    )
    made.add_argument("out", type=Path, help="output folder of a run")
    made.add_argument(
        "--port", type=int, default=10000, help="of this machine (default %(default)s)"
    )
    made = add(
        "compare",
        "what each pixel of one class raster became in another",
        "lulc compare 2020.tif 2021.tif change.tif",
    )
    for name, does in (
        ("before", "class raster"),
        ("after", "class raster of a later time"),
        ("change", "raster to write"),
    ):
        made.add_argument(name, type=Path, help=does)
    made = add(
        "tune", "compare trainings with other settings, or on spatial folds, run side by side",
        "lulc tune my.yaml --out out/my --over train.rate=0.001,0.003 --folds 5",
    )  # fmt: skip
    _run_options(made)
    made.add_argument("--out", type=Path, required=True, help="output folder")
    made.add_argument(
        "--over",
        action="append",
        default=[],
        metavar="A.B=1,2",
        help="values to try of a setting under train",
    )
    made.add_argument(
        "--folds", type=int, help="hold back each of so many spatial folds once, and score on it"
    )
    made = add(
        "rate",
        "try learning rates in one short pass over the samples",
        "lulc rate my.yaml --out out/my",
    )
    _run_options(made)
    made.add_argument(
        "--out",
        type=Path,
        required=True,
        help="output folder that holds the samples; rates.png is written there",
    )
    made = add("models", "the registered models, their versions and scores", "lulc models out/zion")
    made.add_argument(
        "out", type=Path, help="output folder whose registry is read (or MLFLOW_TRACKING_URI's)"
    )


def _run_options(made: argparse.ArgumentParser, optional: bool = False) -> None:
    made.add_argument("run", type=Path, nargs="?" if optional else None, help="run file (YAML)")
    made.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=1",
        help="a setting over the run file; may be repeated",
    )


def _stage_options(made: argparse.ArgumentParser, optional: bool = False) -> None:
    _run_options(made, optional)
    made.add_argument("--out", type=Path, required=True, help="output folder")
    made.add_argument(
        "--bbox", metavar="XMIN,YMIN,XMAX,YMAX", help="only tiles that touch this box, in degrees"
    )
    made.add_argument(
        "--tiles", metavar="ID,ID…", help="only these tiles, such as 5070-30m-256/3_4"
    )
    made.add_argument(
        "--where", metavar="SQL", help='only scenes for which this holds, such as "cloud < 20"'
    )
    made.add_argument(
        "--max-bad",
        metavar="N|P%",
        help="bad inputs allowed, a count or a share of the scenes (default: any number)",
    )
    made.add_argument(
        "--retry-bad", action="store_true", help="read scenes again that the ledger holds as bad"
    )


def _dataset_options(made: argparse.ArgumentParser) -> None:
    found = made.add_argument_group("a published dataset, instead of a run file")
    found.add_argument("--dataset", metavar="NAME", help="see `lulc info datasets`")
    found.add_argument(
        "--root", type=Path, metavar="DIR", help="the folder that its archive was unpacked in"
    )
    found.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="A=B",
        help="one of its options; may be repeated",
    )
    found.add_argument(
        "--legend",
        choices=("own", "common"),
        default="own",
        help="its own legend, or the common one",
    )


def _reference_options(made: argparse.ArgumentParser) -> None:
    found = made.add_argument_group("points that people have interpreted, instead of a run file")
    found.add_argument(
        "--reference",
        type=Path,
        metavar="POINTS",
        help="file of `lulc design`, its column `reference` filled in",
    )
    found.add_argument(
        "--map",
        nargs="+",
        type=Path,
        metavar="TIF",
        help="class rasters to judge (default: those of the design)",
    )
    found.add_argument(
        "--regions", type=Path, metavar="FILE", help="also by region: a vector file of them"
    )


def _folder_options(made: argparse.ArgumentParser) -> None:
    found = made.add_argument_group("image files, instead of a run's chips")
    found.add_argument(
        "--model",
        help="registered model (name, name/version, name@alias or models:/ URI; a+b: the mean of two), with --input",
    )
    found.add_argument(
        "--input", type=Path, help="folder of image files to map, each to a raster of the same name"
    )


def _raster_options(made: argparse.ArgumentParser) -> None:
    found = made.add_argument_group("class rasters made elsewhere, instead of a run file")
    found.add_argument(
        "--rasters",
        action="append",
        metavar="PERIOD=PATTERN",
        help="files of one period; may be repeated",
    )
    found.add_argument(
        "--regions",
        action="append",
        metavar="FILE",
        help="vector file of regions, a level; may be repeated",
    )


def _search_options(made: argparse.ArgumentParser) -> None:
    found = made.add_argument_group(
        "scenes found in a catalogue (within --bbox), instead of those the run file names"
    )
    found.add_argument(
        "--from", dest="catalogue", metavar="NAME|URL",
        help="a STAC API, or copernicus, earth-search, planetary-computer, usgs, linz",
    )  # fmt: skip
    found.add_argument(
        "--collection", action="append", metavar="ID", help="a collection of it; may be repeated"
    )
    found.add_argument(
        "--time",
        metavar="DAY/DAY",
        help="days, such as 2023-01-01/2023-12-31 (default: the run's periods)",
    )
    found.add_argument("--max-cloud", metavar="PERCENT", help="no scenes with more cloud than that")


def run_from_arguments(given: argparse.Namespace) -> Config:
    """The run of a run file and the settings over it, or of the options that take its place; UsageError where they clash."""
    from lulc import runfile
    from lulc.datasets import registry

    settings = list(given.set)
    if getattr(given, "max_bad", None) is not None:
        settings.append(f"max_bad='{given.max_bad}'")
    if getattr(given, "catalogue", None):
        asked = {
            "catalogue": given.catalogue,
            "collections": given.collection,
            "bbox": given.bbox,
            "time": given.time,
        }
        asked |= {"max_cloud": given.max_cloud}
        settings.append(
            f"scenes={json.dumps([{'search': {k: v for k, v in asked.items() if v is not None}}])}"
        )
    elif (
        getattr(given, "collection", None)
        or getattr(given, "time", None)
        or getattr(given, "max_cloud", None)
    ):
        raise errors.UsageError(
            "--collection, --time and --max-cloud narrow a search: say with --from which catalogue"
        )
    if getattr(given, "rasters", None):
        maps = [
            dict(zip(("period", "path"), text.split("=", 1), strict=False))
            for text in given.rasters
        ]
        if any("path" not in one for one in maps) or not given.regions:
            raise errors.UsageError("--rasters PERIOD=PATTERN and --regions FILE go together")
        files = [{"path": path, "level": Path(path).stem} for path in given.regions]
        return runfile.parse_run(
            runfile.apply_settings({"name": "maps", "maps": maps, "regions": files}, settings),
            Path.cwd(),
            "--rasters",
        )
    if getattr(given, "dataset", None):
        if not given.root:
            raise errors.UsageError("--dataset NAME and --root DIR go together")
        options = dict(pair.partition("=")[::2] for pair in given.option)
        source = {"name": given.dataset, "root": str(given.root.resolve()), "options": options}
        legend = {"legend": "common"} if given.legend == "common" else {}
        raw = {"name": given.dataset, "datasets": [source], **legend}
        return registry.complete_from_datasets(
            runfile.parse_run(runfile.apply_settings(raw, settings), Path.cwd(), "--dataset")
        )
    if given.run is None:
        raise errors.UsageError("give a run file (RUN.yaml), or what takes its place: see --help")
    return registry.complete_from_datasets(runfile.read_run(given.run, settings))
