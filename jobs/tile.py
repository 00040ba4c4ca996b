"""spark-submit jobs/tile.py RUN.yaml --out DIR: the same as `lulc tile`."""

import sys

from lulc.cli.main import main

sys.exit(main(["tile", *sys.argv[1:]]))
