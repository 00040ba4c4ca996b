"""spark-submit jobs/evaluate.py RUN.yaml --out DIR: the same as `lulc evaluate`."""

import sys

from lulc.cli.main import main

sys.exit(main(["evaluate", *sys.argv[1:]]))
