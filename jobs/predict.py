"""Map the chips by the registered model; with --model and --input a folder of images.

Reads:   table chips; the model of predict.model, else the run's champion
Writes:  table predictions (multilabel: probabilities, detect: boxes), a file a block; ledger rows
Unit:    a block of chips, the model loaded once a worker
Memory:  up to 1.5 GB a core
Submit:  spark-submit jobs/predict.py RUN.yaml --out DIR; `lulc submit` adds the sizes
"""

import sys
from collections.abc import Sequence

from lulc.cli.main import command
from lulc.cli.options.parser import stage_arguments
from lulc.cli.run import run_prediction


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage as `lulc predict` does, and return its exit code."""
    args = stage_arguments("predict", arguments)
    with command(args.debug) as outcome:
        outcome.code = run_prediction(args)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
