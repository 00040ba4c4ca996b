"""Cut the scenes into chips on the tiling, several dates or a composite a chip.

Reads:   table scenes; of the scenes' files the windows that a block needs
Writes:  table chips, a file a block; ledger rows of blocks and of scenes that cannot be read
Unit:    a block of tiles in one period
Memory:  0.5 GB a core, and 1.5 × (1 + dates) × the block's pixels: `lulc plan` says it
Submit:  spark-submit jobs/tile.py RUN.yaml --out DIR; `lulc submit` adds the sizes
"""

import sys
from collections.abc import Sequence

from lulc.api.run import carry_out
from lulc.cli.main import command
from lulc.cli.options.parser import stage_arguments
from lulc.cli.output import print_run
from lulc.cli.run_of_arguments import config_from_arguments, selection_from_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage as `lulc tile` does, and return its exit code."""
    args = stage_arguments("tile", arguments)
    with command(args.debug) as outcome:
        config, selection = config_from_arguments(args), selection_from_arguments(args)
        results = carry_out(config, args.out, ["tile"], selection, args.debug)
        print_run(results, as_json=args.json)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
