"""python -m tests.benchmarks [--quick] [TOPIC…]: figures as ratios to a reference of that run."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

# Goals, so that a reader sees where a figure stands; nothing is judged by them here.
GOALS = {
    "tile.naive": "≥ 4",
    "tile.best": "≥ 1",
    "tile.exact": "≤ 1 DN",
    "tile.bytes": "≥ 1.5",
    "load.ceiling": "≥ 0.7",
    "load.stock": "≥ 3",
    "ddp.eff": "≥ 0.92",
    "load.stall": "≤ 1.03",
    "infer.spark": "≥ 0.95",
    "infer.opt": "≥ 4 with AMX",
    "infer.ceiling": "≥ 0.9 without",
    "infer.waste": "≤ 1.2",
    "infer.seam": "≥ 0.9999",
    "trees.predict": "≥ 0.9",
    "trees.agree": "= 1",
    "refine": "≥ 1.5",
    "zonal": "≥ 10",
    "zonal.many": "≥ 10",
    "zonal.next": "≤ 0.5",
    "samples.eurosat": "≥ 0.9",
    "samples.bigearthnet": "≥ 0.9",
    "cog.write": "≥ 3",
    "store": "≤ 1.25",
    "stats.plan": "≥ 10",
    "index.opened": "= 1",
    "index.memory": "≤ 1.3",
    "index.pages": "≤ 1",
    "chain": "≤ 1.5",
    "features.exact": "≤ 0.500001",
    "features.exact.demo": "≤ 0.500001",
    "features.value": "≤ 1e-6",
    "features.value.demo": "≤ 1e-6",
    "features.memory": "≤ 1.1",
    "cost.hours": "0.67–1.5",
    "cost.memory.index": "0.83–1.2",
    "cost.memory.tile": "0.83–1.2",
    "cost.memory.samples": "0.83–1.2",
    "cost.memory.train": "0.83–1.2",
    "cost.memory.predict": "0.83–1.2",
    "scale.area.tile": "3.8–4.2",
    "scale.area.predict": "3.8–4.2",
    "scale.memory.tile": "≤ 1.1",
    "scale.memory.predict": "≤ 1.1",
    "scale.cores.tile": "≥ 0.92",
    "scale.cores.predict": "≥ 0.92",
    "start.sql": "≤ 8",
    "store.idle": "≤ 60",
    "restart.redone": "≤ 1 wave",
    "blocks.redone": "≤ 1 wave",
    "blocks.start": "≤ 60 s",
    "restart.start": "≤ 60 s",
    "ledger.10": "≤ 20 s",
    "ledger.1000": "≤ 20 s",
    "plan.cpu": "≤ 60 s",
    "plan.rss": "≤ 1.5 GB",
    "plan.jvm": "≤ 2 GB",
    "plan.cpu.exponent": "≤ 1.05",
    "plan.rss.exponent": "≤ 1.05",
    "plan.windows.rss": "≤ 1 GB",
    "plan.task.read": "≤ 5 MB",
    "plan.task.held": "≤ 100 MB",
    "precision.boadella": "≥ -2 seeds",
    "precision.ucmerced": "≥ -2 seeds",
    "precision.gewata": "≥ -2 seeds",
}


def main() -> None:
    """Prints one line a figure, and everything once more as JSON."""
    topics = sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py"))
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("topics", nargs="*", choices=[*topics, []], help="which (default: all)")
    parser.add_argument(
        "--quick", action="store_true", help="small inputs: whether it runs, not how fast"
    )
    given = parser.parse_args()
    figures: dict[str, float] = {}
    for topic in given.topics or topics:
        for name, value in (
            importlib.import_module(f"tests.benchmarks.{topic}").measure(given.quick).items()
        ):
            figures[name] = value
            print(f"{name:<16} {value:10.4g}   goal {GOALS.get(name, '–')}", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
