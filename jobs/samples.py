"""Join chips with labels, and add published datasets; splits are by spatial block.

Reads:   table chips and the run's labels; the files of the run's datasets
Writes:  table samples, a folder a split; ledger rows of files and of items that cannot be read
Unit:    a samples file
Memory:  up to 1.5 GB a core
Submit:  spark-submit jobs/samples.py RUN.yaml --out DIR; `lulc submit` adds the sizes
"""

import sys
from collections.abc import Sequence

from lulc.api.run import carry_out
from lulc.cli.main import command
from lulc.cli.options.parser import stage_arguments
from lulc.cli.output import print_run
from lulc.cli.run_of_arguments import config_from_arguments, selection_from_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage as `lulc samples` does, and return its exit code."""
    args = stage_arguments("samples", arguments)
    with command(args.debug) as outcome:
        config, selection = config_from_arguments(args), selection_from_arguments(args)
        results = carry_out(config, args.out, ["samples"], selection, args.debug)
        print_run(results, as_json=args.json)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
