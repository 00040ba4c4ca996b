"""start: from a command to its first answer, of queries and of runs with nothing to do."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

from lulc.spark import java
from tests.benchmarks._counted import count
from tests.helpers.small_world import SCRIPTS, clean_run, environment

_BARE = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[2]").getOrCreate()
print(spark.sql("select 1").collect(), flush=True)
"""
_QUERY = "SELECT class_name, sum(area_m2) FROM class_areas GROUP BY class_name"


def measure(quick: bool) -> dict[str, float]:
    """Figures by name, medians, of a small finished run on the local disk.

    start.sql: seconds from `lulc sql` to its answer; start.run: from `lulc run`, everything up to
    date, to its end. start.bare: to the answer of a bare session that is asked `select 1`.
    start.sql.ratio: `lulc sql` ÷ bare, in turns; start.sql.cpu and so on: CPU seconds of all cores,
    which other work changes little.
    """
    with tempfile.TemporaryDirectory() as folder:
        world, out = clean_run(Path(folder))
        lulc = SCRIPTS / "lulc"
        commands = {
            "sql": (lulc, "sql", out, _QUERY),
            "bare": (sys.executable, "-c", _BARE),
            "run": (lulc, "run", world.run, "--out", out),
        }
        variables = environment() | {"JAVA_HOME": str(java.find_home())}
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
        for _ in range(1 if quick else 7):
            for name, command in commands.items():
                taken[name].append(count(command, variables))
    print(json.dumps(taken), flush=True)
    figures = {}
    for name, times in taken.items():
        clock = "seconds" if name == "run" else "answer_s"
        figures[f"start.{name}"] = statistics.median(took[clock] for took in times)
        figures[f"start.{name}.cpu"] = statistics.median(took["cpu_s"] for took in times)
    return figures | {"start.sql.ratio": figures["start.sql"] / figures["start.bare"]}
