"""The command line. It starts in a moment: Spark, torch and the readers are imported by the verbs that need them."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lulc.config import Config
from lulc import errors
from lulc.cli import options
from lulc.stages import STAGES


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 2 usage, 3 input, 4 too many bad inputs, 5 environment, 1 anything else."""
    parser = options.make_parser()
    given = parser.parse_args(arguments)
    if not hasattr(given, "verb"):
        parser.print_help()
        return 2
    try:
        return _VERBS[given.verb](given)
    except KeyboardInterrupt:
        print(
            "lulc: stopped; what is done stands, and the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    except Exception as error:
        if given.debug:
            traceback.print_exc()
        code, text = errors.explain(error)
        print(f"lulc: {text}", file=sys.stderr)
        return code


def _run(given: argparse.Namespace) -> int:
    config = options.run_from_arguments(given)
    from lulc.spark.incremental import Selection
    from lulc.spark.pipeline import run_stages
    from lulc.stages import stages_of

    box = _box(given.bbox) if given.bbox else None
    choice = Selection(
        box, tuple(given.tiles.split(",")) if given.tiles else (), given.where, given.retry_bad
    )
    stage = given.verb if given.verb in STAGES else None
    outcomes = run_stages(
        config, given.out, [stage] if stage else stages_of(config), choice, given.debug
    )
    results = (
        []
        if stage and not getattr(given, "rasters", None)
        else _finish(config, given.out.resolve(), any(o.done for o in outcomes))
    )
    if given.json:
        from dataclasses import asdict

        print(
            json.dumps(
                {"stages": [asdict(o) for o in outcomes], "results": dict(results)}, indent=1
            )
        )
    else:
        for name, place in results:
            print(f"{name:<11} {place}")
    return 0


def _box(text: str) -> tuple[float, float, float, float]:
    from lulc.sources import area

    area.parse_box(text)
    xmin, ymin, xmax, ymax = (float(part) for part in text.split(","))
    return xmin, ymin, xmax, ymax


def _finish(config: Config, out: Path, changed: bool) -> list[tuple[str, str]]:
    # Pictures and report are made again only when a stage did something, or when one of them is gone.
    from lulc.models import registry
    from lulc.report import html

    page, picture = out / "report.html", out / "map.png"
    if (
        changed
        or not page.exists()
        or (any((out / "rasters").rglob("*.tif")) and not picture.exists())
    ):
        html.write_report(config, out)
    tables = {
        "detect": ("detections", "detection_counts"),
        "multilabel": ("probabilities", "presence"),
    }.get(config.task or "", ("class_areas",))
    places = [
        ("map", out / "rasters"),
        ("picture", picture),
        *(("statistics", out / "tables" / name) for name in tables),
    ]
    return [
        *((name, str(place)) for name, place in places if place.exists()),
        ("report", str(page)),
        ("runs", registry.ui_command(config, out)),
    ]


def _map_folder(given: argparse.Namespace) -> int:
    if not (given.model and given.input):
        raise errors.UsageError(
            "--model and --input go together: lulc predict --model NAME --input FOLDER --out DIR"
        )
    from lulc.inference.folder import map_folder
    from lulc.models import registry

    reference = registry.resolve(given.model, given.out, os.environ.get("MLFLOW_TRACKING_URI"))
    rows = map_folder(reference, given.input, given.out)
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
        limit = (
            float(given.max_bad[:-1]) / 100 * len(rows)
            if given.max_bad.endswith("%")
            else int(given.max_bad)
        )
        if len(bad) > limit:
            raise errors.TooManyBad(
                f"{len(bad)} bad files of {len(rows)}, and --max-bad is {given.max_bad}"
            )
    return 3 if rows and len(bad) == len(rows) else 0


def _judge(given: argparse.Namespace) -> int:
    from lulc.config import RegionFile
    from lulc.stats import area_estimation

    files = [RegionFile(str(given.regions))] if given.regions else []
    table, unanswered = area_estimation.estimate_areas(
        given.reference, given.map or [], given.out, files
    )
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
    from lulc.stats import sampling

    told = sampling.draw_sample(
        given.rasters,
        given.points,
        given.count,
        given.error,
        given.allocation,
        given.least,
        seed=given.seed,
    )
    if given.json:
        print(json.dumps(told, indent=1))
        return 0
    for stratum in told["strata"]:
        print(
            f"{stratum['points']:>6} points in {stratum['name']} ({_plain(stratum['area_m2'] / 1e6)} km²)"
        )
    print(
        f"{told['points']:>6} points in {given.points}: fill in column `reference`, then lulc evaluate --reference {given.points}"
    )
    return 0


def _demo(given: argparse.Namespace) -> int:
    from lulc.cli.demo import archive
    from lulc.runfile import read_run
    from lulc.spark.incremental import Selection
    from lulc.spark.pipeline import run_stages
    from lulc.stages import stages_of

    made = archive.make_archive(given.out / "archive")
    config = read_run(made.run_file, given.set)
    run_stages(config, given.out, stages_of(config), Selection(), given.debug)
    out = given.out.resolve()
    results = _finish(config, out, True)
    scores = archive.score_map(out, made)
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
    from lulc.cli import plan

    found = plan.make_plan(options.run_from_arguments(given))
    if given.geojson:
        given.geojson.write_text(json.dumps(plan.geojson(found)))
    print(json.dumps(plan.summary(found), indent=1) if given.json else plan.format_plan(found))
    return 0


def _info(given: argparse.Namespace) -> int:
    from lulc.cli import info

    found = info.look(given.path, given.out)
    if given.png:
        from lulc.report import chips, samples

        draw = samples.draw_samples if found["kind"] == "table samples" else chips.draw_chips
        given.png.write_bytes(draw(Path(given.path)))
    print(json.dumps(found, indent=1, default=str) if given.json else info.format_info(found))
    return 0


def _report(given: argparse.Namespace) -> int:
    from lulc.report import html

    print(html.write_report(options.run_from_arguments(given), given.out.resolve()))
    return 0


def _sql(given: argparse.Namespace) -> int:
    from lulc.spark import sql

    values = dict(pair.partition("=")[::2] for pair in given.bind)
    found = sql.ask(given.out, given.query, values, given.debug)
    shapes = [field.name for field in found.schema if sql.GEOMETRY in (field.metadata or {})]
    if given.save:
        from lulc.tables import export

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
    from lulc.stats import change

    rows = change.write_changes(given.before, given.after, given.change)
    if given.json:
        print(json.dumps(rows, indent=1))
    else:
        import pandas as pd

        print(
            pd.DataFrame(rows).to_string(index=False, float_format=_plain)
            if rows
            else "the maps share no pixel with a class"
        )
    return 0


def _tune(given: argparse.Namespace) -> int:
    import itertools

    import yaml

    from lulc.spark import tune
    from lulc.spark.incremental import Selection
    from lulc.spark.pipeline import stage_context

    if given.folds is not None and given.folds < 2:
        raise errors.UsageError(f"--folds {given.folds}: two or more")
    config, tried = options.run_from_arguments(given), []
    for text in given.over:
        name, _, values = text.partition("=")
        parsed = yaml.safe_load(f"[{values}]")
        tried.append([f"{name}={json.dumps(v) if isinstance(v, list) else v}" for v in parsed])
    choices = []
    for settings in itertools.product(*tried):
        laid = argparse.Namespace(**(vars(given) | {"set": [*given.set, *settings]}))
        choices.append((" ".join(settings), options.run_from_arguments(laid)))
    with stage_context(config, given.out, Selection(), given.debug) as context:
        table = tune.tune(context, choices, given.folds)
    found = tune.ranked(table)
    if given.json:
        print(json.dumps(found, indent=1))
        return 0
    for row in found:
        spread = (
            "" if row["spread"] is None else f" ± {row['spread']:.4f} over {row['trials']} folds"
        )
        score = "failed" if row["mean"] is None else f"{row['metric']} {row['mean']:.4f}{spread}"
        print(f"{row['settings'] or 'as it is':<40} {score}")
    return 0


def _rate(given: argparse.Namespace) -> int:
    from lulc.tables import store
    from lulc.training import lr_finder, setup

    config = options.run_from_arguments(given)
    folder = store.table_folder(given.out.resolve(), "samples")
    job = setup.TrainJob(
        config.train, config.make_legend(), folder, given.out.resolve(), config.task or "segment"
    )
    setup.check_job(job, config.bands)
    found = lr_finder.try_rates(job)
    chosen, picture = lr_finder.suggest(found), lr_finder.draw_rates(found, given.out / "rates.png")
    if given.json:
        print(json.dumps({"rate": chosen, "tried": found, "picture": str(picture)}, indent=1))
    else:
        print(f"the loss falls fastest at a rate of {chosen:.1e}; see {picture}")
    return 0


def _models(given: argparse.Namespace) -> int:
    from lulc.models import registry

    found = registry.list_versions(given.out, os.environ.get("MLFLOW_TRACKING_URI"))
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
    from lulc.cli import doctor

    checks = doctor.examine()
    print(
        json.dumps([c.__dict__ for c in checks], indent=1)
        if given.json
        else doctor.format_checks(checks)
    )
    return 1 if any(c.state == "fails" for c in checks) else 0


def _predict(given: argparse.Namespace) -> int:
    return _map_folder(given) if given.model or given.input else _run(given)


def _evaluate(given: argparse.Namespace) -> int:
    return _judge(given) if given.reference else _run(given)


_VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    **dict.fromkeys(("run", *STAGES), _run),
    "predict": _predict,
    "evaluate": _evaluate,
    "init": _init,
    "demo": _demo,
    "plan": _plan,
    "info": _info,
    "report": _report,
    "sql": _sql,
    "design": _draw,
    "serve": _serve,
    "compare": _compare,
    "tune": _tune,
    "rate": _rate,
    "models": _models,
    "doctor": _doctor,
}


if __name__ == "__main__":
    sys.exit(main())
