"""lulc index, and what it took: python -m tests.benchmarks._index RUN OUT."""

from __future__ import annotations

import json
import resource
import sys

from lulc.cli.main import main

if __name__ == "__main__":
    code = main(["index", sys.argv[1], "--out", sys.argv[2]])
    used = resource.getrusage(resource.RUSAGE_SELF)
    took = {"code": code, "MB": used.ru_maxrss / 1024, "CPU s": used.ru_utime + used.ru_stime}
    print(json.dumps(took), flush=True)
