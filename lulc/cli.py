"""The command line. It starts in a moment: Spark, torch and the readers are imported by the verbs that need them."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lulc import __version__, errors

if TYPE_CHECKING:
    from lulc.conf import Run

STAGES = {
    "index": "list an archive's scenes in the scenes table",
    "tile": "cut scenes into chips on the tiling",
    "samples": "join chips with labels, split by spatial block",
    "train": "train a model on the samples and register it",
    "predict": "map the chips with the registered model (or a folder of image files)",
    "rasters": "write class rasters: COGs, STAC items, a mosaic index",
    "stats": "areas per class, region and period",
    "evaluate": "confusion matrix and accuracy on the samples held back",
    "publish": "the tables as Iceberg tables, for other engines",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 2 usage, 3 input, 4 too many bad inputs, 5 environment, 1 anything else."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if not hasattr(given, "verb"):
        parser.print_help()
        return 2
    try:
        result: int = given.verb(given)
        return result
    except KeyboardInterrupt:
        print("lulc: stopped; what is done stands, and the same command goes on from there", file=sys.stderr)
        return 130
    except Exception as error:
        if given.debug:
            traceback.print_exc()
        code, text = _explain(error)
        print(f"lulc: {text}", file=sys.stderr)
        return code


def _is_without_spark(error: Exception) -> bool:
    # py4j's own errors tell nothing of the JVM being gone but by what they leave out: a trace of Java's.
    if not any(Path(frame.filename).parent.name == "py4j" for frame in traceback.extract_tb(error.__traceback__)):
        return False
    kind = type(error).__name__
    return isinstance(error, ConnectionError) or kind == "Py4JNetworkError" or (kind == "Py4JError" and "Trace" not in str(error))


def _explain(error: Exception) -> tuple[int, str]:
    if isinstance(error, errors.LulcError):
        return error.exit_code, str(error)
    # An error of ours that was raised on an executor arrives as text inside Spark's.
    found = re.findall(r"lulc\.errors\.(\w+): (.*?)(?:\n\s*\n|\n\tat |\nDriver stacktrace|\Z)", str(error), re.DOTALL)
    if found:
        kind = getattr(errors, found[-1][0], errors.LulcError)
        return kind.exit_code, found[-1][1].strip()
    if _is_without_spark(error):
        text = "Spark has ended (killed, or out of memory: spark.memory): the same command goes on from what stands"
        return errors.SetupError.exit_code, f"{text}; --debug shows its log"
    lines = [line for line in str(error).splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    python = [line for line in lines if re.match(r"\w+(\.\w+)*(Error|Exception|Exit): ", line)]
    text = (python or lines or [""])[-1 if python else 0]
    return 1, f"{type(error).__name__}: {text[:600]}\nGive --debug to see where."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lulc",
        description="Maps land use and land cover from archives of scenes, and areas one can defend.",
        epilog="example: lulc demo\nexample: lulc run conf/zion.yaml --out out/zion",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lulc {__version__}")
    parser.set_defaults(debug=False)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")

    def add(name: str, does: str, verb: Callable[[Any], int], example: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(
            name, help=does, description=does[0].upper() + does[1:] + ".", epilog=f"example: {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        made.add_argument("--debug", action="store_true", help="show Spark's log and every traceback")
        made.add_argument("--json", action="store_true", help="print the result as JSON")
        made.set_defaults(verb=verb)
        return made

    made = add("init", "write a commented run file to start from", _init, "lulc init my.yaml")
    made.add_argument("path", type=Path, help="the file to write")
    made = add("demo", "map a scene archive made on the spot, offline, in a few minutes", _demo, "lulc demo --out out/demo")
    made.add_argument("--out", type=Path, default=Path("out/demo"), help="output folder (default %(default)s)")
    made.add_argument("--set", action="append", default=[], metavar="A.B=1", help="a setting over the demo's run file")

    made = add("run", "every stage of a run file, in one session", _run, "lulc run conf/zion.yaml --out out/zion")
    _stage_options(made)
    _stages(add)
    made = add(
        "plan", "what a run will read, write and cost; metadata only", _plan, "lulc plan conf/zion.yaml --geojson tiles.geojson"
    )
    _run_options(made)
    made.add_argument("--geojson", type=Path, help="write the tiles there")
    made = add("info", "what a scene, raster, table, model or output folder holds", _info, "lulc info out/zion/tables/samples")
    made.add_argument("path", help="a file, a folder, or a model such as models:/zion@champion")
    made.add_argument("--out", type=Path, help="output folder whose registry holds the model")
    made.add_argument("--png", type=Path, help="write a picture of a table of chips or samples there")
    made = add("report", "write the report of an output folder anew", _report, "lulc report conf/zion.yaml --out out/zion")
    _run_options(made)
    made.add_argument("--out", type=Path, required=True, help="output folder")
    _asking(add)
    add("doctor", "whether this machine can run it, and what would mend it", _doctor, "lulc doctor")
    return parser


def _stages(add: Callable[..., argparse.ArgumentParser]) -> None:
    for name, does in STAGES.items():
        example = f"lulc {name} conf/zion.yaml --out out/zion"
        if name == "index":
            example += "\nexample: lulc index my.yaml --out out --from earth-search --collection sentinel-2-c1-l2a --max-cloud 20"
        if name == "samples":
            example += "\nexample: lulc samples --dataset eurosat --root EuroSAT_MS --option bands=ms --out out/eurosat"
        if name == "stats":
            example += "\nexample: lulc stats --rasters '2021=worldcover/*2021*.tif' --regions countries.json --out out/wc"
        if name == "evaluate":
            example += "\nexample: lulc evaluate --reference points.gpkg --regions parks.gpkg --out out/zion"
        if name == "predict":
            example += "\nexample: lulc predict --model zion --input images --out out/zion"
        made = add(name, does, _run, example)
        _stage_options(made, optional=name in ("predict", "samples", "evaluate", "stats"))
        made.set_defaults(stage=name)
        if name == "predict":
            made.add_argument(
                "--model",
                help="registered model (name, name/version, name@alias or models:/ URI; a+b: the mean of two), with --input",
            )
            made.add_argument("--input", type=Path, help="folder of image files to map, each to a raster of the same name")
        if name == "index":
            _search_options(made)
        if name == "samples":
            _dataset_options(made)
        if name == "evaluate":
            _reference_options(made)
        if name == "stats":
            found = made.add_argument_group("class rasters made elsewhere, instead of a run file")
            found.add_argument(
                "--rasters", action="append", metavar="PERIOD=PATTERN", help="files of one period; may be repeated"
            )
            found.add_argument(
                "--regions", action="append", metavar="FILE", help="vector file of regions, a level; may be repeated"
            )


def _asking(add: Callable[..., argparse.ArgumentParser]) -> None:
    made = add("sql", "ask a run's tables in Spark SQL", _sql, 'lulc sql out/zion "SELECT class_name, area_m2 FROM class_areas"')
    made.add_argument("out", type=Path, help="output folder of a run")
    made.add_argument("query", help="the query; views are named like the tables")
    made.add_argument("--save", type=Path, metavar="FILE", help="write what it gives: .csv, .xlsx, .parquet, .gpkg or .geojson")
    made.add_argument("--bind", action="append", default=[], metavar="NAME=VALUE", help="value of :NAME in the query")
    made = add(
        "design", "draw a stratified random sample of a map's pixels to interpret", _draw,
        "lulc design points.gpkg out/zion/rasters/2000/*.tif --error 0.01",
    )  # fmt: skip
    made.add_argument("points", type=Path, help="file to write, .gpkg or .geojson")
    made.add_argument("rasters", nargs="+", type=Path, help="class rasters whose classes are the strata")
    made.add_argument("--points", dest="count", type=int, metavar="N", help="points in all")
    made.add_argument("--error", type=float, metavar="SE", help="or: standard error that the overall accuracy shall have")
    made.add_argument("--allocation", choices=("neyman", "proportional", "equal"), default="neyman", help="default %(default)s")
    made.add_argument("--least", type=int, default=30, metavar="N", help="points in every stratum at least (default %(default)s)")
    made.add_argument("--seed", type=int, default=0, help="another seed draws others (default %(default)s)")
    made = add("serve", "answer SQL over JDBC until stopped (Spark's Thrift server)", _serve, "lulc serve out/zion --port 10000")
    made.add_argument("out", type=Path, help="output folder of a run")
    made.add_argument("--port", type=int, default=10000, help="of this machine (default %(default)s)")
    made = add(
        "compare", "what each pixel of one class raster became in another", _compare, "lulc compare 2020.tif 2021.tif change.tif"
    )
    for name, does in (("before", "class raster"), ("after", "class raster of a later time"), ("change", "raster to write")):
        made.add_argument(name, type=Path, help=does)
    made = add(
        "tune", "compare trainings with other settings, or on spatial folds, run side by side", _tune,
        "lulc tune my.yaml --out out/my --over train.rate=0.001,0.003 --folds 5",
    )  # fmt: skip
    _run_options(made)
    made.add_argument("--out", type=Path, required=True, help="output folder")
    made.add_argument("--over", action="append", default=[], metavar="A.B=1,2", help="values to try of a setting under train")
    made.add_argument("--folds", type=int, help="hold back each of so many spatial folds once, and score on it")
    made = add("rate", "try learning rates in one short pass over the samples", _rate, "lulc rate my.yaml --out out/my")
    _run_options(made)
    made.add_argument("--out", type=Path, required=True, help="output folder that holds the samples; rates.png is written there")
    made = add("models", "the registered models, their versions and scores", _models, "lulc models out/zion")
    made.add_argument("out", type=Path, help="output folder whose registry is read (or MLFLOW_TRACKING_URI's)")


def _run_options(made: argparse.ArgumentParser, optional: bool = False) -> None:
    made.add_argument("run", type=Path, nargs="?" if optional else None, help="run file (YAML)")
    made.add_argument("--set", action="append", default=[], metavar="A.B=1", help="a setting over the run file; may be repeated")


def _stage_options(made: argparse.ArgumentParser, optional: bool = False) -> None:
    _run_options(made, optional)
    made.add_argument("--out", type=Path, required=True, help="output folder")
    made.add_argument("--bbox", metavar="XMIN,YMIN,XMAX,YMAX", help="only tiles that touch this box, in degrees")
    made.add_argument("--tiles", metavar="ID,ID…", help="only these tiles, such as 5070-30m-256/3_4")
    made.add_argument("--where", metavar="SQL", help='only scenes for which this holds, such as "cloud < 20"')
    made.add_argument(
        "--max-bad", metavar="N|P%", help="bad inputs allowed, a count or a share of the scenes (default: any number)"
    )
    made.add_argument("--retry-bad", action="store_true", help="read scenes again that the ledger holds as bad")


def _dataset_options(made: argparse.ArgumentParser) -> None:
    found = made.add_argument_group("a published dataset, instead of a run file")
    found.add_argument("--dataset", metavar="NAME", help="see `lulc info datasets`")
    found.add_argument("--root", type=Path, metavar="DIR", help="the folder that its archive was unpacked in")
    found.add_argument("--option", action="append", default=[], metavar="A=B", help="one of its options; may be repeated")
    found.add_argument("--legend", choices=("own", "common"), default="own", help="its own legend, or the common one")


def _reference_options(made: argparse.ArgumentParser) -> None:
    found = made.add_argument_group("points that people have interpreted, instead of a run file")
    found.add_argument("--reference", type=Path, metavar="POINTS", help="file of `lulc design`, its column `reference` filled in")
    found.add_argument("--map", nargs="+", type=Path, metavar="TIF", help="class rasters to judge (default: those of the design)")
    found.add_argument("--regions", type=Path, metavar="FILE", help="also by region: a vector file of them")


def _search_options(made: argparse.ArgumentParser) -> None:
    found = made.add_argument_group("scenes found in a catalogue (within --bbox), instead of those the run file names")
    found.add_argument(
        "--from", dest="catalogue", metavar="NAME|URL",
        help="a STAC API, or copernicus, earth-search, planetary-computer, usgs, linz",
    )  # fmt: skip
    found.add_argument("--collection", action="append", metavar="ID", help="a collection of it; may be repeated")
    found.add_argument("--time", metavar="DAY/DAY", help="days, such as 2023-01-01/2023-12-31 (default: the run's periods)")
    found.add_argument("--max-cloud", metavar="PERCENT", help="no scenes with more cloud than that")


def _read(given: argparse.Namespace) -> Run:
    from lulc.conf import laid, parse_run, read_run

    settings = list(given.set)
    if getattr(given, "max_bad", None) is not None:
        settings.append(f"max_bad='{given.max_bad}'")
    if getattr(given, "catalogue", None):
        asked = {"catalogue": given.catalogue, "collections": given.collection, "bbox": given.bbox, "time": given.time}
        asked |= {"max_cloud": given.max_cloud}
        settings.append(f"scenes={json.dumps([{'search': {k: v for k, v in asked.items() if v is not None}}])}")
    elif getattr(given, "collection", None) or getattr(given, "time", None) or getattr(given, "max_cloud", None):
        raise errors.UsageError("--collection, --time and --max-cloud narrow a search: say with --from which catalogue")
    from lulc import datasets

    if getattr(given, "rasters", None):
        maps = [dict(zip(("period", "path"), text.split("=", 1), strict=False)) for text in given.rasters]
        if any("path" not in one for one in maps) or not given.regions:
            raise errors.UsageError("--rasters PERIOD=PATTERN and --regions FILE go together")
        files = [{"path": path, "level": Path(path).stem} for path in given.regions]
        return parse_run(laid({"name": "maps", "maps": maps, "regions": files}, settings), Path.cwd(), "--rasters")
    if getattr(given, "dataset", None):
        if not given.root:
            raise errors.UsageError("--dataset NAME and --root DIR go together")
        options = dict(pair.partition("=")[::2] for pair in given.option)
        source = {"name": given.dataset, "root": str(given.root.resolve()), "options": options}
        legend = {"legend": "common"} if given.legend == "common" else {}
        raw = {"name": given.dataset, "datasets": [source], **legend}
        return datasets.complete(parse_run(laid(raw, settings), Path.cwd(), "--dataset"))
    if given.run is None:
        raise errors.UsageError("give a run file (RUN.yaml), or what takes its place: see --help")
    return datasets.complete(read_run(given.run, settings))


def _run(given: argparse.Namespace) -> int:
    if getattr(given, "stage", None) == "predict" and (given.model or given.input):
        return _map_folder(given)
    if getattr(given, "reference", None):
        return _judge(given)
    run = _read(given)
    from lulc.spark.run import carry_out, stages_of
    from lulc.spark.stage import Choice

    box = _box(given.bbox) if given.bbox else None
    choice = Choice(box, tuple(given.tiles.split(",")) if given.tiles else (), given.where, given.retry_bad)
    stage = getattr(given, "stage", None)
    outcomes = carry_out(run, given.out, [stage] if stage else stages_of(run), choice, given.debug)
    results = (
        [] if stage and not getattr(given, "rasters", None) else _finish(run, given.out.resolve(), any(o.done for o in outcomes))
    )
    if given.json:
        from dataclasses import asdict

        print(json.dumps({"stages": [asdict(o) for o in outcomes], "results": dict(results)}, indent=1))
    else:
        for name, place in results:
            print(f"{name:<11} {place}")
    return 0


def _box(text: str) -> tuple[float, float, float, float]:
    from lulc import extent

    extent.parse_box(text)
    xmin, ymin, xmax, ymax = (float(part) for part in text.split(","))
    return xmin, ymin, xmax, ymax


def _finish(run: Run, out: Path, changed: bool) -> list[tuple[str, str]]:
    # Pictures and report are made again only when a stage did something, or when one of them is gone.
    from lulc import report, track

    page, picture = out / "report.html", out / "map.png"
    if changed or not page.exists() or (any((out / "rasters").rglob("*.tif")) and not picture.exists()):
        report.write_report(run, out)
    tables = {"detect": ("detections", "detection_counts"), "multilabel": ("probabilities", "presence")}.get(
        run.task or "", ("class_areas",)
    )
    places = [("map", out / "rasters"), ("picture", picture), *(("statistics", out / "tables" / name) for name in tables)]
    return [
        *((name, str(place)) for name, place in places if place.exists()),
        ("report", str(page)),
        ("runs", track.ui_command(run, out)),
    ]


def _map_folder(given: argparse.Namespace) -> int:
    if not (given.model and given.input):
        raise errors.UsageError("--model and --input go together: lulc predict --model NAME --input FOLDER --out DIR")
    from lulc import images, track

    reference = track.resolve(given.model, given.out, os.environ.get("MLFLOW_TRACKING_URI"))
    rows = images.map_folder(reference, given.input, given.out)
    bad = [r for r in rows if r["status"] == "bad"]
    for row in bad:
        print(f"lulc: {row['key']}: {row['error']}", file=sys.stderr)
    if given.json:
        print(json.dumps([{k: v for k, v in r.items() if k != "finished"} for r in rows], indent=1))
    else:
        print(
            f"{len(rows) - len(bad)} of {len(rows)} files mapped by {reference.name} version {reference.version} into {given.out}"
        )
    if bad and given.max_bad is not None:
        limit = float(given.max_bad[:-1]) / 100 * len(rows) if given.max_bad.endswith("%") else int(given.max_bad)
        if len(bad) > limit:
            raise errors.TooManyBad(f"{len(bad)} bad files of {len(rows)}, and --max-bad is {given.max_bad}")
    return 3 if rows and len(bad) == len(rows) else 0


def _judge(given: argparse.Namespace) -> int:
    from lulc import reference
    from lulc.conf import RegionFile

    files = [RegionFile(str(given.regions))] if given.regions else []
    table, unanswered = reference.evaluate(given.reference, given.map or [], given.out, files)
    if given.json:
        print(json.dumps({"unanswered": unanswered, "estimates": table.to_pylist()}, indent=1))
        return 0
    frame = table.to_pandas().drop(columns="class_id").astype({"region_id": str, "class_name": str})
    frame = frame.replace({"region_id": {"None": "all"}, "class_name": {"None": ""}})
    print(frame.to_string(index=False, float_format=_plain, na_rep="–"))
    if unanswered:
        print(f"{unanswered} points have no reference yet and were left out")
    return 0


def _draw(given: argparse.Namespace) -> int:
    from lulc import design

    told = design.draw(given.rasters, given.points, given.count, given.error, given.allocation, given.least, seed=given.seed)
    if given.json:
        print(json.dumps(told, indent=1))
        return 0
    for stratum in told["strata"]:
        print(f"{stratum['points']:>6} points in {stratum['name']} ({_plain(stratum['area_m2'] / 1e6)} km²)")
    print(
        f"{told['points']:>6} points in {given.points}: fill in column `reference`, then lulc evaluate --reference {given.points}"
    )
    return 0


def _demo(given: argparse.Namespace) -> int:
    from lulc import demo
    from lulc.conf import read_run
    from lulc.spark.run import carry_out, stages_of
    from lulc.spark.stage import Choice

    made = demo.make_archive(given.out / "archive")
    run = read_run(made.run_file, given.set)
    carry_out(run, given.out, stages_of(run), Choice(), given.debug)
    out = given.out.resolve()
    results = _finish(run, out, True)
    scores = demo.score(out, made)
    if given.json:
        print(json.dumps({"results": dict(results), "scores": scores}, indent=1))
        return 0
    for name, place in results:
        print(f"{name:<11} {place}")
    print(f"{'accuracy':<11} " + ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))
    return 0


def _init(given: argparse.Namespace) -> int:
    if given.path.exists():
        raise errors.UsageError(f"{given.path} is there already: choose another name")
    given.path.write_text((Path(__file__).parent / "template.yaml").read_text())
    print(f"{given.path} written: set the paths in it, then `lulc plan {given.path}`")
    return 0


def _plan(given: argparse.Namespace) -> int:
    from lulc import plan

    found = plan.make(_read(given))
    if given.geojson:
        given.geojson.write_text(json.dumps(plan.geojson(found)))
    print(json.dumps(plan.summary(found), indent=1) if given.json else plan.describe(found))
    return 0


def _info(given: argparse.Namespace) -> int:
    from lulc import info

    found = info.look(given.path, given.out)
    if given.png:
        from lulc import contact, quicklook

        draw = contact.draw if found["kind"] == "table samples" else quicklook.draw
        given.png.write_bytes(draw(Path(given.path)))
    print(json.dumps(found, indent=1, default=str) if given.json else info.describe(found))
    return 0


def _report(given: argparse.Namespace) -> int:
    from lulc import report

    print(report.write_report(_read(given), given.out.resolve()))
    return 0


def _sql(given: argparse.Namespace) -> int:
    from lulc.spark import sql

    values = dict(pair.partition("=")[::2] for pair in given.bind)
    found = sql.ask(given.out, given.query, values, given.debug)
    shapes = [field.name for field in found.schema if sql.GEOMETRY in (field.metadata or {})]
    if given.save:
        from lulc import export

        export.save(found, given.save, shapes[0] if shapes else None)
        print(f"{found.num_rows} rows in {given.save}")
        return 0
    for name in shapes:
        import shapely

        text = shapely.to_wkt(shapely.from_wkb(found[name].to_pylist())).tolist()
        found = found.set_column(found.schema.get_field_index(name), name, [text])
    if given.json:
        print(json.dumps(found.to_pylist(), indent=1, default=str))
    else:
        print(found.to_pandas().to_string(index=False, max_colwidth=60, float_format=_plain))
    return 0


def _serve(given: argparse.Namespace) -> int:
    import signal
    import threading

    from lulc.spark import serve

    def stop(*_: object) -> None:
        raise KeyboardInterrupt  # a service is ended by SIGTERM as by Ctrl-C

    before = signal.signal(signal.SIGTERM, stop)
    try:
        serve.serve(given.out, given.port, threading.Event().wait, given.debug)
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _compare(given: argparse.Namespace) -> int:
    from lulc import compare

    rows = compare.write_changes(given.before, given.after, given.change)
    if given.json:
        print(json.dumps(rows, indent=1))
    else:
        import pandas as pd

        print(pd.DataFrame(rows).to_string(index=False, float_format=_plain) if rows else "the maps share no pixel with a class")
    return 0


def _tune(given: argparse.Namespace) -> int:
    import itertools

    import yaml

    from lulc.spark import tune
    from lulc.spark.run import opened
    from lulc.spark.stage import Choice

    if given.folds is not None and given.folds < 2:
        raise errors.UsageError(f"--folds {given.folds}: two or more")
    run, tried = _read(given), []
    for text in given.over:
        name, _, values = text.partition("=")
        parsed = yaml.safe_load(f"[{values}]")
        tried.append([f"{name}={json.dumps(v) if isinstance(v, list) else v}" for v in parsed])
    choices = []
    for settings in itertools.product(*tried):
        laid = argparse.Namespace(**(vars(given) | {"set": [*given.set, *settings]}))
        choices.append((" ".join(settings), _read(laid)))
    with opened(run, given.out, Choice(), given.debug) as request:
        table = tune.tune(request, choices, given.folds)
    found = tune.ranked(table)
    if given.json:
        print(json.dumps(found, indent=1))
        return 0
    for row in found:
        spread = "" if row["spread"] is None else f" ± {row['spread']:.4f} over {row['trials']} folds"
        score = "failed" if row["mean"] is None else f"{row['metric']} {row['mean']:.4f}{spread}"
        print(f"{row['settings'] or 'as it is':<40} {score}")
    return 0


def _rate(given: argparse.Namespace) -> int:
    from lulc import learner, rates, store

    run = _read(given)
    folder = store.table_folder(given.out.resolve(), "samples")
    job = learner.Job(run.train, run.make_legend(), folder, given.out.resolve(), run.task or "segment")
    learner.check(job, run.bands)
    found = rates.try_rates(job)
    chosen, picture = rates.suggest(found), rates.draw(found, given.out / "rates.png")
    if given.json:
        print(json.dumps({"rate": chosen, "tried": found, "picture": str(picture)}, indent=1))
    else:
        print(f"the loss falls fastest at a rate of {chosen:.1e}; see {picture}")
    return 0


def _models(given: argparse.Namespace) -> int:
    from lulc import track

    found = track.list_versions(given.out, os.environ.get("MLFLOW_TRACKING_URI"))
    if given.json:
        print(json.dumps(found, indent=1))
        return 0
    for row in found:
        alias = "".join(f" @{name}" for name in row["aliases"])
        scores = ", ".join(f"{name} {value:g}" for name, value in row["scores"].items())
        print(f"{row['name']}/{row['version']}{alias}  {row['task']}  {row['made']}  {scores}")
    if not found:
        print(f"no model is registered in {given.out}: `lulc train` makes one")
    return 0


def _plain(value: float) -> str:
    # Areas in m² are large: digits in threes are read, powers of ten are not.
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.6g}"


def _doctor(given: argparse.Namespace) -> int:
    from lulc import doctor

    checks = doctor.examine()
    print(json.dumps([c.__dict__ for c in checks], indent=1) if given.json else doctor.describe(checks))
    return 1 if any(c.state == "fails" for c in checks) else 0


if __name__ == "__main__":
    sys.exit(main())
