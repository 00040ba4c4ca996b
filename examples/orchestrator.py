"""The stages of a run as tasks of an orchestrator, with retries.

    python examples/orchestrator.py run.yaml out/my

In Airflow `carry_out` is the callable of a PythonOperator, one for each stage, chained in order; in
Dagster or Prefect it is an op or task. A stage does only what is missing, so a task may be retried
at any time, and a schedule may start all of them whenever new scenes may have come.
"""

from __future__ import annotations

import sys
import time

import lulc

RETRIES, PAUSE_S = 2, 30.0


def carry_out(stage: str, run_file: str, out: str) -> str:
    """Bring one stage up to date and return a line on it; the task of an orchestrator."""
    (result,) = lulc.run(run_file, out, stages=stage).results
    return f"{stage}: {result.done} done, {result.skipped} up to date, {result.bad} bad"


def with_retries(stage: str, run_file: str, out: str) -> str:
    """Carry out a stage; try again after what may pass, not after wrong input."""
    for attempt in range(RETRIES + 1):
        try:
            return carry_out(stage, run_file, out)
        except (lulc.errors.UsageError, lulc.errors.InputError, lulc.errors.TooManyBad):
            raise
        except Exception as error:
            if attempt == RETRIES:
                raise
            print(f"{stage} failed ({error}); again in {PAUSE_S:g} s")
            time.sleep(PAUSE_S)
    raise AssertionError("unreachable")


def main(run_file: str, out: str) -> None:
    """Carry out all stages that the run file needs, each as a task of its own."""
    for stage in lulc.stages_of(lulc.load_config(run_file)):
        print(with_retries(stage, run_file, out))


if __name__ == "__main__":
    main(*sys.argv[1:])
