"""Verbs around a run: what trainings learn, and how good a map is."""

from __future__ import annotations

from pathlib import Path

from lulc.cli.options.shared import AddVerb, add_overlap, add_run_options, location


def add_training(add: AddVerb) -> None:
    """Add tune, review and rate."""
    verb = add(
        "tune",
        "compare trainings with different settings, or on spatial folds, side by side",
        "lulc tune my.yaml --out out/my --over train.rate=0.001,0.003 --folds 5",
    )
    add_run_options(verb)
    verb.add_argument("--out", type=location, required=True, help="output folder")
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
    add_run_options(verb)
    verb.add_argument("--out", type=location, required=True, help="output folder")
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
    add_run_options(verb)
    verb.add_argument(
        "--out",
        type=location,
        required=True,
        help="output folder that holds the samples; rates.png is written there",
    )


def add_accuracy(add: AddVerb) -> None:
    """Add design and compare."""
    verb = add(
        "design",
        "draw a stratified random sample of a map's pixels, with replacement, to interpret",
        "lulc design points.gpkg out/zion/rasters/2000/*/*.tif --error 0.01",
        "lulc design doubts.gpkg out/zion/rasters/2000/*/*.tif --by uncertainty --points 200",
    )
    verb.add_argument("points", type=Path, help="file to write, .gpkg or .geojson")
    verb.add_argument(
        "rasters", nargs="+", type=location, help="class rasters, whose classes are the strata"
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
    add_overlap(verb, "refuse", "refuse")
    verb = add(
        "compare",
        "compare two class rasters pixel by pixel: what each class became",
        "lulc compare 2020.tif 2021.tif change.tif",
    )
    verb.add_argument("before", type=location, help="class raster")
    verb.add_argument("after", type=location, help="class raster of a later time")
    verb.add_argument("change", type=location, help="raster to write")
