"""spark-submit jobs/index.py RUN.yaml --out DIR: the same as `lulc index`."""

import sys

from lulc.cli.main import main

sys.exit(main(["index", *sys.argv[1:]]))
