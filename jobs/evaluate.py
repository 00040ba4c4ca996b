"""Compare the map with the held-out samples; with --reference, interpreted points.

Reads:   table samples, splits validation and test; table predictions
Writes:  tables accuracy and confusion; a ledger row of the stage
Unit:    a samples file
Memory:  up to 1.5 GB a core
Submit:  spark-submit jobs/evaluate.py RUN.yaml --out DIR; `lulc submit` adds the sizes
"""

import sys
from collections.abc import Sequence

from lulc.cli.accuracy import run_evaluation
from lulc.cli.main import command
from lulc.cli.options.parser import stage_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage as `lulc evaluate` does, and return its exit code."""
    args = stage_arguments("evaluate", arguments)
    with command(args.debug) as outcome:
        outcome.code = run_evaluation(args)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
