"""Verbs that make maps and models: the stages, demo, tune and rate.

Each function takes the parsed arguments of its verb, and returns the exit code.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lulc import errors
from lulc.cli import options
from lulc.cli.output import print_json
from lulc.stages import STAGES, stages_of

if TYPE_CHECKING:
    from lulc.config import Config
    from lulc.models.package import ModelRef
    from lulc.tables.ledger import LedgerRow

_RESULT_TABLES = {
    "detect": ("detections", "detection_counts"),
    "multilabel": ("probabilities", "presence"),
}


def run_pipeline(args: argparse.Namespace) -> int:
    """Run all stages of a run file, or the one that the verb names.

    Returns:
        0; a stage with too many bad inputs raises TooManyBad.
    """
    config = options.config_from_arguments(args)
    from lulc.spark.context import Selection
    from lulc.spark.pipeline import run_stages

    selection = Selection(
        options.read_bbox(args.bbox) if args.bbox else None,
        tuple(args.tiles.split(",")) if args.tiles else (),
        args.where,
        args.retry_bad,
    )
    single_stage = args.verb in STAGES
    stages = [args.verb] if single_stage else stages_of(config)
    stage_results = run_stages(config, args.out, stages, selection, args.debug)
    results: list[tuple[str, str]] = []
    if not single_stage or getattr(args, "rasters", None):
        changed = any(result.done for result in stage_results)
        results = _finish(config, args.out.resolve(), changed)
    if args.json:
        stage_rows = [asdict(result) for result in stage_results]
        print_json({"stages": stage_rows, "results": dict(results)})
    else:
        _print_results(results)
    return 0


def run_prediction(args: argparse.Namespace) -> int:
    """Map the chips of a run, or with --model and --input a folder of image files.

    Returns:
        3 where no image file could be mapped, else 0.

    Raises:
        TooManyBad: more image files than --max-bad allows could not be mapped.
    """
    if not (args.model or args.input):
        return run_pipeline(args)
    if not (args.model and args.input):
        raise errors.UsageError(
            "--model and --input go together: lulc predict --model NAME --input FOLDER --out DIR"
        )
    from lulc.inference.folder import map_folder
    from lulc.models import registry

    model = registry.resolve(args.model, args.out, os.environ.get("MLFLOW_TRACKING_URI"))
    rows = map_folder(model, args.input, args.out)
    bad_rows = [row for row in rows if row.status == "bad"]
    for row in bad_rows:
        print(f"lulc: {row.key}: {row.error}", file=sys.stderr)
    _print_mapped_files(args, model, rows, len(bad_rows))
    if bad_rows and args.max_bad is not None:
        from lulc.config import allowed_bad

        if len(bad_rows) > allowed_bad(args.max_bad, len(rows)):
            raise errors.TooManyBad(
                f"{len(bad_rows)} bad files of {len(rows)}, and --max-bad is {args.max_bad}"
            )
    return 3 if rows and len(bad_rows) == len(rows) else 0


def run_demo(args: argparse.Namespace) -> int:
    """Make the demo archive, run it, and compare its map with the truth.

    Returns:
        0, whatever the accuracy.
    """
    from lulc.cli.demo import archive
    from lulc.runfile import read_run
    from lulc.spark.context import Selection
    from lulc.spark.pipeline import run_stages

    demo = archive.make_archive(args.out / "archive")
    config = read_run(demo.run_file, args.set)
    run_stages(config, args.out, stages_of(config), Selection(), args.debug)
    out = args.out.resolve()
    results = _finish(config, out, changed=True)
    scores = archive.score_map(out, demo)
    if args.json:
        print_json({"results": dict(results), "scores": scores})
        return 0
    accuracy = ", ".join(f"{name} {score:.4f}" for name, score in scores.items())
    _print_results([*results, ("accuracy", accuracy)])
    return 0


def tune_training(args: argparse.Namespace) -> int:
    """Compare trainings with different settings, or on spatial folds."""
    from lulc.spark import tune
    from lulc.spark.context import Selection
    from lulc.spark.pipeline import stage_context

    if args.folds is not None and args.folds < 2:
        raise errors.UsageError(f"--folds {args.folds}: two or more")
    config = options.config_from_arguments(args)
    candidates = []
    for settings in _combinations(args.over):
        arguments = argparse.Namespace(**(vars(args) | {"set": [*args.set, *settings]}))
        candidates.append((" ".join(settings), options.config_from_arguments(arguments)))
    with stage_context(config, args.out, Selection(), args.debug) as context:
        table = tune.tune(context, candidates, args.folds)
    trials = tune.rank_trials(table)
    if args.json:
        print_json(trials)
        return 0
    for trial in trials:
        print(f"{trial['settings'] or 'unchanged settings':<40} {_describe_score(trial)}")
    return 0


def find_rate(args: argparse.Namespace) -> int:
    """Find the learning rate at which the loss falls fastest, and draw the curve."""
    from lulc.tables import store
    from lulc.training import lr_finder, setup

    config, out = options.config_from_arguments(args), args.out.resolve()
    samples = store.table_folder(out, "samples")
    task = config.task or "segment"
    job = setup.TrainJob(config.train, config.make_legend(), samples, out, task)
    setup.check_job(job, config.bands)
    curve = lr_finder.try_rates(job)
    rate, picture = lr_finder.suggest(curve), lr_finder.draw_rates(curve, args.out / "rates.png")
    if args.json:
        print_json({"rate": rate, "tried": curve, "picture": str(picture)})
    else:
        print(f"the loss falls fastest at a rate of {rate:.1e}; see {picture}")
    return 0


def _finish(config: Config, out: Path, changed: bool) -> list[tuple[str, str]]:
    # The report and its map are written again only when a stage did something, or when one of them
    # is missing. Returns (name, path or command) of what a user opens.
    from lulc.models import registry
    from lulc.report import html

    page, picture = out / "report.html", out / "map.png"
    has_rasters = any((out / "rasters").rglob("*.tif"))
    if changed or not page.exists() or (has_rasters and not picture.exists()):
        html.write_report(config, out)
    tables = _RESULT_TABLES.get(config.task or "", ("class_areas",))
    paths = [
        ("map", out / "rasters"),
        ("picture", picture),
        *(("statistics", out / "tables" / table) for table in tables),
    ]
    return [
        *((name, str(path)) for name, path in paths if path.exists()),
        ("report", str(page)),
        ("runs", registry.ui_command(config, out)),
    ]


def _print_results(results: list[tuple[str, str]]) -> None:
    for name, text in results:
        print(f"{name:<11} {text}")


def _print_mapped_files(
    args: argparse.Namespace, model: ModelRef, rows: list[LedgerRow], bad_count: int
) -> None:
    if args.json:
        fields = [row.to_row() for row in rows]
        print_json([{k: v for k, v in row.items() if k != "finished"} for row in fields])
        return
    mapped = f"{len(rows) - bad_count} of {len(rows)} files mapped"
    print(f"{mapped} by {model.name} version {model.version} into {args.out}")


def _combinations(texts: list[str]) -> Iterator[tuple[str, ...]]:
    # Texts such as `train.rate=0.001,0.003` → every combination of single `name=value` settings.
    import yaml

    alternatives = []
    for text in texts:
        name, _, values = text.partition("=")
        # A list is written as JSON, which is YAML too.
        parsed = (
            json.dumps(v) if isinstance(v, list) else v for v in yaml.safe_load(f"[{values}]")
        )
        alternatives.append([f"{name}={value}" for value in parsed])
    return itertools.product(*alternatives)


def _describe_score(trial: dict[str, Any]) -> str:
    if trial["mean"] is None:
        return "failed"
    score = f"{trial['metric']} {trial['mean']:.4f}"
    if trial["spread"] is None:
        return score
    return f"{score} ± {trial['spread']:.4f} over {trial['trials']} folds"
