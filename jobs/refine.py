"""Make the map of the predictions, or of `maps`, by the steps of the run file, exact across tiles.

Reads:   table predictions, or rasters of `maps`, as far as the steps look; layers of rules
Writes:  table refined, ledger rows of refine
Unit:    a block of tiling.block × tiling.block tiles in one period; with transitions in all
Memory:  0.5 GB a core, and 16 bytes a pixel of a block, with probabilities one a class more
Submit:  spark-submit jobs/refine.py RUN.yaml --out DIR; `lulc submit` adds the sizes
"""

import sys
from collections.abc import Sequence

from lulc.api.run import carry_out
from lulc.cli.main import command
from lulc.cli.options.parser import stage_arguments
from lulc.cli.output import print_run
from lulc.cli.run_of_arguments import config_from_arguments, selection_from_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage as `lulc refine` does, and return its exit code."""
    args = stage_arguments("refine", arguments)
    with command(args.debug) as outcome:
        config, selection = config_from_arguments(args), selection_from_arguments(args)
        results = carry_out(config, args.out, ["refine"], selection, args.debug)
        print_run(results, as_json=args.json)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
