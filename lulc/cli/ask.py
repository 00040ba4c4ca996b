"""Verbs that ask or show: init, plan, info, report, models and doctor.

Each function takes the parsed arguments of its verb, and returns the exit code.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from lulc import errors
from lulc.cli.output import print_json
from lulc.cli.run_of_arguments import config_from_arguments


def write_template(args: argparse.Namespace) -> int:
    """Write a commented run file to start from.

    Raises:
        UsageError: the file exists.
    """
    if args.path.exists():
        raise errors.UsageError(f"{args.path} is there already: choose another name")
    args.path.write_text((Path(__file__).parent / "template.yaml").read_text())
    print(f"{args.path} written: set the paths in it, then `lulc plan {args.path}`")
    return 0


def show_plan(args: argparse.Namespace) -> int:
    """Show what a run will read, write and cost; first measure this machine if asked to."""
    import json

    from lulc.cli import plan
    from lulc.cost.plan import make_plan
    from lulc.tables import files

    config = config_from_arguments(args)
    if args.calibrate:
        from lulc.cost.calibrate import calibrate

        calibrate(config)
    run_plan = make_plan(config, args.out, args.cores or os.cpu_count() or 1)
    if args.geojson:
        content = json.dumps(plan.geojson(run_plan))
        files.write_atomic(args.geojson, lambda path: path.write_text(content))
    if args.json:
        print_json(plan.summary(run_plan, args.price))
    else:
        print(plan.format_plan(run_plan, args.price))
    return 0


def show_info(args: argparse.Namespace) -> int:
    """Show what a scene, raster, table, model or output folder holds."""
    from lulc.cli import info

    facts = info.describe_path(args.path, args.out)
    if args.png:
        from lulc.report import chips, samples

        draw = samples.draw_samples if facts["kind"] == "table samples" else chips.draw_chips
        args.png.write_bytes(draw(Path(args.path)))
    if args.json:
        print_json(facts)
    else:
        print(info.format_info(facts))
    return 0


def renew_report(args: argparse.Namespace) -> int:
    """Write the report of an output folder again."""
    from lulc.report import html

    print(html.write_report(config_from_arguments(args), args.out.resolve()))
    return 0


def list_models(args: argparse.Namespace) -> int:
    """List the registered models, their versions and scores."""
    from lulc.models import registry

    versions = registry.list_versions(args.out, os.environ.get("MLFLOW_TRACKING_URI"))
    if args.json:
        print_json(versions)
        return 0
    for row in versions:
        aliases = "".join(f" @{name}" for name in row["aliases"])
        scores = ", ".join(f"{name} {score:g}" for name, score in row["scores"].items())
        facts = (row["task"], row["precision"], row["made"], scores)
        print(f"{row['name']}/{row['version']}{aliases}", *filter(None, facts), sep="  ")
    if not versions:
        print(f"no model is registered in {args.out}: `lulc train` makes one")
    return 0


def check_machine(args: argparse.Namespace) -> int:
    """Check whether this machine, or with --cluster every executor of a cluster, can run lulc.

    Returns:
        1 where a component that every run needs fails, else 0.
    """
    from lulc.cli import doctor

    if args.cluster is not None:
        return _check_cluster(args)
    if args.out is not None:
        raise errors.UsageError("--out goes with --cluster: executors write and read it")

    checks = doctor.run_checks()
    if args.json:
        print_json([check.to_row() for check in checks])
    else:
        print(doctor.format_checks(checks))
    return 1 if any(check.state == "fails" for check in checks) else 0


def _check_cluster(args: argparse.Namespace) -> int:
    from lulc.cli import node_checks

    checks = node_checks.check_nodes(args.cluster, args.out)
    if args.json:
        print_json([check.to_row() | {"failures": check.failures} for check in checks])
    else:
        print(node_checks.format_node_checks(checks))
    return 1 if any(check.failures for check in checks) else 0
