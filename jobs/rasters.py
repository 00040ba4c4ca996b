"""Write class rasters as COGs, with confidence, STAC items and a mosaic index.

Reads:   table predictions; of task detect table boxes
Writes:  rasters/ and confidence/, of task detect table detections; ledger rows of rasters
Unit:    a group of rasters.group × rasters.group tiles in one period
Memory:  0.5 GB a core, and 5 bytes a pixel of a group
Submit:  spark-submit jobs/rasters.py RUN.yaml --out DIR; `lulc submit` adds the sizes
"""

import sys
from collections.abc import Sequence

from lulc.api.run import carry_out
from lulc.cli.main import command
from lulc.cli.options.parser import stage_arguments
from lulc.cli.output import print_run
from lulc.cli.run_of_arguments import config_from_arguments, selection_from_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage as `lulc rasters` does, and return its exit code."""
    args = stage_arguments("rasters", arguments)
    with command(args.debug) as outcome:
        config, selection = config_from_arguments(args), selection_from_arguments(args)
        results = carry_out(config, args.out, ["rasters"], selection, args.debug)
        print_run(results, as_json=args.json)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
