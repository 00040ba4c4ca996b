"""spark-submit jobs/publish.py RUN.yaml --out DIR: the same as `lulc publish`."""

import sys

from lulc.cli.main import main

sys.exit(main(["publish", *sys.argv[1:]]))
