"""Verbs that make maps and models: the stages, submit, demo, tune, review and rate.

Each function takes the parsed arguments of its verb, and returns the exit code.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lulc import errors
from lulc.cli import services
from lulc.cli.output import print_frame, print_json, print_results, print_run
from lulc.cli.run_of_arguments import config_from_arguments, selection_from_arguments
from lulc.location import Location, on_disk
from lulc.stages import STAGES, Selection, stages_of
from lulc.yaml12 import dump_yaml, parse_yaml

if TYPE_CHECKING:
    from lulc.config import Config
    from lulc.models.package import ModelRef
    from lulc.tables.ledger import LedgerRow

_RESULT_TABLES = {
    "detect": ("detections", "detection_counts"),
    "multilabel": ("probabilities", "presence"),
}

_SUSPECTS_SHOWN = 10
_SUSPECT_COLUMNS = [
    *("sample_id", "longitude", "latitude"),
    *("label", "answer", "labels", "probability", "score"),
]


def run_pipeline(args: argparse.Namespace) -> int:
    """Run all stages of a run file, or the one that the verb names.

    Returns:
        0; a stage with too many bad inputs raises TooManyBad.
    """
    from lulc.api.run import carry_out, finish

    config = config_from_arguments(args)
    selection = selection_from_arguments(args)
    is_stage = args.verb in STAGES
    stages = (args.verb,) if is_stage else stages_of(config)
    stage_results = carry_out(config, args.out, stages, selection, args.debug)
    results: list[tuple[str, str]] = []
    if not is_stage or getattr(args, "rasters", None):
        finish(config, args.out, any(result.done for result in stage_results))
        results = _list_results(config, args.out.resolve())
    print_run(stage_results, results, args.json)
    return 0


def run_prediction(args: argparse.Namespace) -> int:
    """Map the chips of a run, or with --model and --input a folder of image files.

    Returns:
        3 where no image file could be mapped, else 0.

    Raises:
        TooManyBad: more image files than --max-bad allows could not be mapped.
    """
    if not (args.model or args.input):
        if args.units:
            raise errors.UsageError("--units is for --input: a run file has `units` of its own")
        return run_pipeline(args)
    if not (args.model and args.input):
        raise errors.UsageError(
            "--model and --input go together: lulc predict --model NAME --input FOLDER --out DIR"
        )
    from lulc.inference.folder import map_folder
    from lulc.models import registry

    model = registry.resolve(args.model, args.out, os.environ.get("MLFLOW_TRACKING_URI"))
    rows = map_folder(model, args.input, args.out, dict(args.units))
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


def submit_run(args: argparse.Namespace) -> int:
    """Run the stages of a run file on a cluster, or print how.

    Returns:
        The exit code of the spark-submit that failed, else 0.
    """
    from lulc.api.run import finish
    from lulc.cli import submit

    config = config_from_arguments(args)
    code = submit.run_submissions(submit.make_submissions(config, args), args.dry_run)
    is_whole = not (code or args.dry_run or args.stages)
    if is_whole and _is_in_sight(args.out):
        finish(config, args.out, changed=True)
        print_results(_list_results(config, args.out.resolve()))
    return code


def _is_in_sight(out: Location) -> bool:
    # What a cluster has made may lie where this machine has no mount or no credentials.
    from lulc.tables import layout

    try:
        return (out / layout.TABLES).exists()
    except (OSError, errors.StoreError):
        return False


def run_demo(args: argparse.Namespace) -> int:
    """Make the demo archive, run it, and compare its map with the truth.

    At a terminal the map is then shown in a browser until Ctrl-C.

    Returns:
        0, whatever the accuracy.
    """
    from lulc.api.config import load_config
    from lulc.api.run import carry_out, finish
    from lulc.cli.demo import archive
    from lulc.runfile import parse_setting
    from lulc.tables.lease import hold

    folder = on_disk(args.out, "lulc demo --out")
    with hold(folder, "lulc demo"):
        demo = archive.make_archive(folder / "archive")
    config = load_config(demo.run_file, dict(map(parse_setting, args.set)))
    carry_out(config, args.out, stages_of(config), debug=args.debug)
    finish(config, args.out, changed=True)
    out = args.out.resolve()
    results = _list_results(config, out)
    scores = archive.score_map(out, demo)
    if args.json:
        print_json({"results": dict(results), "scores": scores})
        return 0
    accuracy = ", ".join(f"{name} {score:.4f}" for name, score in scores.items())
    services.end_demo(config, out, [("accuracy", accuracy), *results])
    return 0


def tune_training(args: argparse.Namespace) -> int:
    """Compare trainings with different settings, or on spatial folds."""
    from lulc.spark import tune
    from lulc.spark.pipeline import stage_context

    _check_folds(args.folds)
    config = config_from_arguments(args)
    candidates = []
    for settings in _combinations(args.over):
        arguments = argparse.Namespace(**(vars(args) | {"set": [*args.set, *settings]}))
        candidates.append((" ".join(settings), config_from_arguments(arguments)))
    with stage_context(config, args.out, Selection(), "tune", args.debug) as context:
        table = tune.tune(context, candidates, args.folds)
    trials = tune.rank_trials(table)
    if args.json:
        print_json(trials)
        return 0
    for trial in trials:
        print(f"{trial['settings'] or 'unchanged settings':<40} {_describe_score(trial)}")
    return 0


def review_labels(args: argparse.Namespace) -> int:
    """Rate a run's labels by models that did not learn them."""
    from lulc.spark.pipeline import stage_context
    from lulc.spark.review import most_frequent, review
    from lulc.stats.confusion import hardly_mapped
    from lulc.tables import layout

    _check_folds(args.folds)
    config = config_from_arguments(args)
    with stage_context(config, args.out, Selection(), "review", args.debug) as context:
        result = review(context, args.folds)
    doubted = sum(result.suspects["doubted"].to_pylist())
    scores, out = result.scores, args.out.resolve()
    frequent, share = most_frequent(scores)
    of_folds = [fold.overall_accuracy for fold in result.folds]
    summary = {
        "labels": scores.pixels,
        "accuracy": scores.overall_accuracy,
        "accuracy_of_folds": of_folds,
        "most_frequent": {"class": frequent, "share": share},
        "mean_iou": scores.mean_iou,
        "hardly_mapped": hardly_mapped(scores),
        "reviewed": result.suspects.num_rows,
        "doubted": doubted,
        "warning": result.warning,
        "suspects": str(out / layout.table("suspects")),
        "picture": str(result.picture),
    }
    if args.json:
        print_json(summary)
        return 0
    print_frame(result.suspects.slice(0, _SUSPECTS_SHOWN).select(_SUSPECT_COLUMNS).to_pandas())
    print(
        f"{doubted:,} of {result.suspects.num_rows:,} labels are doubted; held out of training, "
        f"models agree with {scores.overall_accuracy:.1%} of all labels "
        f"({', '.join(f'{accuracy:.1%}' for accuracy in of_folds)} by fold; class {frequent!r} "
        f"alone is {share:.1%})"
    )
    if summary["hardly_mapped"]:
        print(f"WARNING: hardly mapped: {', '.join(summary['hardly_mapped'])}")
    if result.warning:
        print(f"WARNING: {result.warning}")
    print_results([("suspects", summary["suspects"]), ("picture", summary["picture"])])
    return 0


def _check_folds(folds: int | None) -> None:
    if folds is not None and folds < 2:
        raise errors.UsageError(f"--folds {folds}: two or more")


def find_rate(args: argparse.Namespace) -> int:
    """Find the learning rate at which the loss falls fastest, and draw the curve."""
    from lulc.tables import store
    from lulc.training import lr_finder, setup

    config, out = config_from_arguments(args), args.out.resolve()
    samples = store.table_folder(out, "samples")
    task = config.task or "segment"
    legend = config.make_legend()
    job = setup.TrainJob(config.train, legend, samples, out, task, bands=config.bands)
    setup.check_job(job)
    curve = lr_finder.try_rates(job)
    rate, picture = lr_finder.suggest(curve), lr_finder.draw_rates(curve, args.out / "rates.png")
    if args.json:
        print_json({"rate": rate, "tried": curve, "picture": str(picture)})
    else:
        print(f"the loss falls fastest at a rate of {rate:.1e}; see {picture}")
    return 0


def _list_results(config: Config, out: Location) -> list[tuple[str, str]]:
    # (name, path or command) of what a user opens.
    from lulc.models import registry
    from lulc.tables import layout

    tables = _RESULT_TABLES.get(config.task or "", ("class_areas",))
    paths = [
        ("map", out / layout.RASTERS),
        ("picture", out / layout.MAP_PICTURE),
        ("polygons", out / layout.POLYGONS),
        *(("statistics", out / layout.table(name)) for name in tables),
    ]
    runs = registry.ui_command(config, out)
    # A run that only learns has none of the map's tables.
    queried = [n for n in (*tables, "accuracy", "samples") if (out / layout.table(n)).exists()]
    query = f"SELECT * FROM {queried[0]}" if queried else "SHOW TABLES"
    commands = [("tables", f'lulc sql {shlex.quote(str(out))} "{query}"')]
    found = [(name, str(path)) for name, path in paths if path.exists()]
    if config.maps or "map" in dict(found):
        commands.append(("explorer", f"lulc view {shlex.quote(str(out))}"))
    return [
        *found,
        ("report", str(out / layout.REPORT)),
        *([("runs", runs)] if runs else []),
        *commands,
    ]


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
    alternatives = []
    for text in texts:
        name, _, values = text.partition("=")
        parsed = parse_yaml(f"[{values}]", f"--over {text!r}")
        alternatives.append([f"{name}={_as_setting(value)}" for value in parsed])
    return itertools.product(*alternatives)


def _as_setting(value: Any) -> str:
    # Texts as they are where they are read as such; JSON, which is YAML too, else.
    is_plain = isinstance(value, str) and dump_yaml([value]) == f"- {value}\n"
    return value if is_plain else json.dumps(value)


def _describe_score(trial: dict[str, Any]) -> str:
    if trial["mean"] is None:
        return "failed"
    score = f"{trial['metric']} {trial['mean']:.4f}"
    if trial["spread"] is None:
        return score
    return f"{score} (standard deviation {trial['spread']:.4f} over {trial['trials']} folds)"
