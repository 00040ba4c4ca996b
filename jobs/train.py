"""spark-submit jobs/train.py RUN.yaml --out DIR: the same as `lulc train`."""

import sys

from lulc.cli.main import main

sys.exit(main(["train", *sys.argv[1:]]))
