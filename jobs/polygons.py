"""Make polygons of the classes of the run's maps, or of maps made elsewhere.

Reads:   class rasters and their confidence
Writes:  table polygons, polygons.gpkg, ledger row of polygons
Unit:    a block of 2048 × 2048 pixels in one period
Memory:  0.7 GB a core; the patch that most blocks share on one
Submit:  spark-submit jobs/polygons.py RUN.yaml --out DIR; `lulc submit` adds the sizes
"""

import sys
from collections.abc import Sequence

from lulc.api.run import carry_out
from lulc.cli.main import command
from lulc.cli.options.parser import stage_arguments
from lulc.cli.output import print_run
from lulc.cli.run_of_arguments import config_from_arguments, selection_from_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage as `lulc polygons` does, and return its exit code."""
    args = stage_arguments("polygons", arguments)
    with command(args.debug) as outcome:
        config, selection = config_from_arguments(args), selection_from_arguments(args)
        results = carry_out(config, args.out, ["polygons"], selection, args.debug)
        print_run(results, as_json=args.json)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
