"""Publish the tables without pixels as Iceberg tables, a snapshot a run, and maps as tiles.

Reads:   every table of the output folder but chips, samples, predictions and intersections; rasters
Writes:  <publish.namespace>.<table> in publish.warehouse, <map>.pmtiles in publish.tiles, ledger
Unit:    a table, a map
Memory:  spark.executor.memory: no Python worker runs
Submit:  spark-submit jobs/publish.py RUN.yaml --out DIR; `lulc submit` adds the sizes
"""

import sys
from collections.abc import Sequence

from lulc.api.run import carry_out
from lulc.cli.main import command
from lulc.cli.options.parser import stage_arguments
from lulc.cli.output import print_run
from lulc.cli.run_of_arguments import config_from_arguments, selection_from_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage as `lulc publish` does, and return its exit code."""
    args = stage_arguments("publish", arguments)
    with command(args.debug) as outcome:
        config, selection = config_from_arguments(args), selection_from_arguments(args)
        results = carry_out(config, args.out, ["publish"], selection, args.debug)
        print_run(results, as_json=args.json)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
