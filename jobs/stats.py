"""Take areas by class, region and period, and what became what between periods.

Reads:   table predictions and class rasters, the files of regions; with --rasters those files
Writes:  tables regions, class_areas, transitions and landscape; a ledger row of the stage
Unit:    the tiles of a predictions file, or a block of a class raster, with the regions over them
Memory:  up to 1.5 GB a core
Submit:  spark-submit jobs/stats.py RUN.yaml --out DIR; `lulc submit` adds the sizes
"""

import sys
from collections.abc import Sequence

from lulc.cli.main import command
from lulc.cli.options.parser import stage_arguments
from lulc.cli.run import run_pipeline


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage as `lulc stats` does, and return its exit code."""
    args = stage_arguments("stats", arguments)
    with command(args.debug) as outcome:
        outcome.code = run_pipeline(args)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
