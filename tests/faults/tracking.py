"""An MLflow server that is stopped while a model is trained."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack

from tests.faults.bench import Bench, Line, half_written
from tests.faults.places import Place
from tests.helpers.tracking_server import tracking_server


def tracking_down(bench: Bench, place: Place) -> Generator[Line]:
    """The server is stopped in epoch 2; training goes on, and a later run logs the model.

    With `tracking.required` a run that finds it stopped ends at once.
    """
    bench.seed(place, "train")
    folder = bench.room / "server"
    folder.mkdir(parents=True)
    with ExitStack() as server:
        uri = server.enter_context(tracking_server(folder))
        running = bench.start(place, "train", "--set", f"tracking.uri={uri}")
        hit = running.wait_for(lambda: running.told(r"^epoch 2/"))
    ended = running.end()
    wrong = [] if hit else ["ended before the server was stopped"]
    if ended.code or "the model is kept in" not in ended.text:
        wrong.append(f"exit {ended.code}: {ended.text[-600:]}")
    asked = ("--set", f"tracking.uri={uri}")
    required = bench.carry_out(place, "train", *asked, "--set", "tracking.required=true")
    if required.code != 5 or uri not in required.last_line:
        wrong.append(f"required: exit {required.code}: {required.last_line}")
    epochs = place.stamps()
    with tracking_server(folder, int(uri.rpartition(":")[2])):
        rerun = bench.carry_out(place, "train", *asked)
    if rerun.code or "the model is kept in" in rerun.text:
        wrong.append(f"the server runs again: exit {rerun.code}: {rerun.text[-600:]}")
    again = sum(
        place.stamps().get(name) != stamp
        for name, stamp in epochs.items()
        if name.startswith("checkpoints/") and name.endswith("log.jsonl")
    )
    differences = bench.differences(place, ("train",))
    wrong += (*differences, *half_written(place))
    yield Line(
        "MLflow stopped", "train", place.store, f"{again} trainings", not differences, tuple(wrong)
    )
