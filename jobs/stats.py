"""spark-submit jobs/stats.py RUN.yaml --out DIR: the same as `lulc stats`."""

import sys

from lulc.cli.main import main

sys.exit(main(["stats", *sys.argv[1:]]))
