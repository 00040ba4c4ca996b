"""spark-submit jobs/rasters.py RUN.yaml --out DIR: the same as `lulc rasters`."""

import sys

from lulc.cli.main import main

sys.exit(main(["rasters", *sys.argv[1:]]))
