"""python -m tests.fuzz [--rounds N] [--seed N] [TARGET…]: damages every input N times."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import torch

from tests.fuzz.targets import TARGETS
from tests.fuzz.trial import prepare, try_mutation


def main() -> int:
    """Print every input that was not held as it must be; the exit code is 1 if there was one."""
    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*names, []], help="which (default: all)")
    parser.add_argument("--rounds", type=int, default=50, help="how often (default 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the damage (default 0)")
    given = parser.parse_args()
    torch.set_num_threads(1)  # a process forked from one with threads may not start any
    chosen = [target for target in TARGETS if not given.targets or target.name in given.targets]
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sound = {t.name: prepare(t, root / t.name / "sound") for t in chosen}
        for number in range(given.rounds):
            for target in chosen:
                rng = random.Random(f"{given.seed} {target.name} {number}")
                path, _ = sound[target.name]
                mutation = rng.choice(target.mutations)(path.read_bytes(), rng)
                folder_of_trial = root / target.name / "trial"
                found = try_mutation(target, sound[target.name], mutation, folder_of_trial)
                if found:
                    faults += 1
                    *reasons, told = found
                    print(f"{target.name} #{number}: {mutation.name}: {'; '.join(reasons)}")
                    print("    " + told.replace("\n", "\n    "), flush=True)
        print(f"{given.rounds * len(chosen)} inputs, {faults} not held")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
