"""Verbs about the accuracy of maps: design, evaluate and compare.

Each function takes the parsed arguments of its verb, and returns the exit code.
"""

from __future__ import annotations

import argparse

from lulc.cli.output import format_number, print_frame, print_json
from lulc.cli.run import run_pipeline
from lulc.errors import UsageError


def run_evaluation(args: argparse.Namespace) -> int:
    """Evaluate a run's map on its test samples, or with --reference on interpreted points."""
    return _estimate_areas(args) if args.reference else run_pipeline(args)


def draw_points(args: argparse.Namespace) -> int:
    """Draw a stratified random sample of a map's pixels to interpret, or its least known ones."""
    from lulc.stats.sampling import draw_sample

    if args.by == "uncertainty":
        return _draw_uncertain(args)
    sample = draw_sample(
        args.rasters,
        args.points,
        args.count,
        args.error,
        args.allocation or "neyman",
        30 if args.least is None else args.least,
        seed=args.seed,
        overlap=args.overlap,
    )
    if args.json:
        print_json(sample)
        return 0
    for stratum in sample["strata"]:
        area = format_number(stratum["area_m2"] / 1e6)
        print(f"{stratum['points']:>6} points in {stratum['name']} ({area} km²)")
    print(
        f"{sample['points']:>6} points in {args.points}: fill in column `reference`, "
        f"then lulc evaluate --reference {args.points}"
    )
    return 0


def _draw_uncertain(args: argparse.Namespace) -> int:
    from lulc.stats.uncertain_points import draw_uncertain

    ignored = [name for name in ("error", "allocation", "least") if getattr(args, name) is not None]
    if ignored or args.count is None:
        raise UsageError(
            "points drawn by uncertainty are no sample of the whole map: --by uncertainty goes "
            "with --points N, and without --error, --allocation and --least"
        )
    design = draw_uncertain(args.rasters, args.points, args.count, args.seed, args.overlap)
    if args.json:
        print_json(design)
        return 0
    area = format_number(design["area_m2"] / 1e6)
    print(
        f"{design['points']:>6} points in {args.points}, where confidence is "
        f"{design['confidence']:.2f} or less ({area} km²): fill in column `reference` and learn "
        "from them; areas are not estimated from these"
    )
    return 0


def compare_maps(args: argparse.Namespace) -> int:
    """Compare two class rasters pixel by pixel."""
    from lulc.stats.change import write_changes

    rows = write_changes(args.before, args.after, args.change)
    if args.json:
        print_json(rows)
    elif rows:
        import pandas as pd

        print_frame(pd.DataFrame(rows))
    else:
        print("the maps have no pixel in common where both have a class")
    return 0


def _estimate_areas(args: argparse.Namespace) -> int:
    # Accuracies and areas with their intervals, from points that people have interpreted.
    from lulc.config import RegionFile
    from lulc.stats.area_estimation import estimate_areas

    ignored = [name for name in ("run", "set", "bbox", "tiles", "where") if getattr(args, name)]
    if ignored:
        raise UsageError(
            "points are evaluated as a whole and without a run file: --reference goes without "
            + ", ".join("RUN.yaml" if name == "run" else f"--{name}" for name in ignored)
        )
    region_files = [RegionFile(str(args.regions))] if args.regions else []
    table, unanswered = estimate_areas(
        args.reference, args.map or [], args.out, region_files, args.overlap, args.period
    )
    if args.json:
        print_json({"unanswered": unanswered, "estimates": table.to_pylist()})
        return 0
    frame = (
        table.to_pandas()
        .drop(columns=["class_id", "period"])
        .astype({"region_id": str, "class_name": str})
    )
    frame = frame.replace({"region_id": {"None": "all"}, "class_name": {"None": ""}})
    print_frame(frame, na_rep="–")
    if unanswered:
        print(f"{unanswered} points have no reference yet and were left out")
    return 0
