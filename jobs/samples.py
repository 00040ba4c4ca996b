"""spark-submit jobs/samples.py RUN.yaml --out DIR: the same as `lulc samples`."""

import sys

from lulc.cli.main import main

sys.exit(main(["samples", *sys.argv[1:]]))
