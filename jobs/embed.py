"""Make vectors of tiles, of every n-th pixel, or of samples.

Reads:   table chips, without scenes table samples; the model of embed.model, else the champion
Writes:  table embeddings, a file a block or a file of samples; ledger rows
Unit:    a block of chips, or a file of samples; the model loaded once a worker
Memory:  up to 1.5 GB a core
Submit:  spark-submit jobs/embed.py RUN.yaml --out DIR; `lulc submit` adds the sizes
"""

import sys
from collections.abc import Sequence

from lulc.api.run import carry_out
from lulc.cli.main import command
from lulc.cli.options.parser import stage_arguments
from lulc.cli.output import print_run
from lulc.cli.run_of_arguments import config_from_arguments, selection_from_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage as `lulc embed` does, and return its exit code."""
    args = stage_arguments("embed", arguments)
    with command(args.debug) as outcome:
        config, selection = config_from_arguments(args), selection_from_arguments(args)
        results = carry_out(config, args.out, ["embed"], selection, args.debug)
        print_run(results, as_json=args.json)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
