"""spark-submit jobs/predict.py RUN.yaml --out DIR: the same as `lulc predict`."""

import sys

from lulc.cli.main import main

sys.exit(main(["predict", *sys.argv[1:]]))
