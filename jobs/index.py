"""List the scenes of the run's archives and layers; their headers are read, no pixel.

Reads:   the archives' listings, or the answer of a search, and the headers of the scenes' files
Writes:  table scenes; ledger rows of items that cannot be read
Unit:    32 items of an archive
Memory:  0.5 GB a core
Submit:  spark-submit jobs/index.py RUN.yaml --out DIR; `lulc submit` adds the sizes
"""

import sys
from collections.abc import Sequence

from lulc.api.run import carry_out
from lulc.cli.main import command
from lulc.cli.options.parser import stage_arguments
from lulc.cli.output import print_run
from lulc.cli.run_of_arguments import config_from_arguments, selection_from_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage as `lulc index` does, and return its exit code."""
    args = stage_arguments("index", arguments)
    with command(args.debug) as outcome:
        config, selection = config_from_arguments(args), selection_from_arguments(args)
        results = carry_out(config, args.out, ["index"], selection, args.debug)
        print_run(results, as_json=args.json)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
