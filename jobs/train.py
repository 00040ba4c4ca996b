"""Train a model on the samples and register it as the champion.

Reads:   table samples, splits train, validation and test
Writes:  a version in the MLflow registry, models/, checkpoints/; a ledger row of the model
Unit:    the training: train.ranks processes that start together, a barrier task each
Memory:  up to 1.5 GB a rank, and train.cache (1 GB)
Submit:  spark-submit jobs/train.py RUN.yaml --out DIR; `lulc submit` adds the sizes
"""

import sys
from collections.abc import Sequence

from lulc.api.run import carry_out
from lulc.cli.main import command
from lulc.cli.options.parser import stage_arguments
from lulc.cli.output import print_run
from lulc.cli.run_of_arguments import config_from_arguments, selection_from_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage as `lulc train` does, and return its exit code."""
    args = stage_arguments("train", arguments)
    with command(args.debug) as outcome:
        config, selection = config_from_arguments(args), selection_from_arguments(args)
        results = carry_out(config, args.out, ["train"], selection, args.debug)
        print_run(results, as_json=args.json)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
