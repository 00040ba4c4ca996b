"""Labels reviewed: each held against a model that did not learn it, one fold a Spark task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lulc.errors import UsageError
from lulc.legend import Legend
from lulc.location import Location
from lulc.spark.context import StageContext
from lulc.spark.folds import deal_fold, fold_folder, make_job
from lulc.spark.workers import map_keys
from lulc.stats.confusion import Scores, summarise
from lulc.stats.label_quality import class_thresholds, rate_labels
from lulc.tables import files, layout, schemas, store

if TYPE_CHECKING:
    from lulc.training.setup import TrainJob

_FOLDER = "review"
_EVIDENCE = "evidence.parquet"
_LEAST_AGREEMENT = 0.5  # share of labels below which models know too little of the classes
_PLACE = ("sample_id", "dataset", "tile_id", "period", "footprint", "xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Review:
    """What a review found."""

    suspects: pa.Table
    """The labels, the most doubtful first (`schemas.SUSPECTS`)."""
    scores: Scores
    """Of all folds together: agreement of labels with models that did not learn them."""
    picture: Location
    """The most doubtful, with label and answer."""
    folds: tuple[Scores, ...] = ()
    """Of each fold: agreement of its labels with the model that did not learn them."""

    @property
    def warning(self) -> str:
        """Why the suspects are not to be trusted; empty where they may be."""
        agreement = self.scores.overall_accuracy
        weak = [fold for fold, scores in enumerate(self.folds) if _knows_no_more(scores)]
        if agreement < _LEAST_AGREEMENT or _knows_no_more(self.scores):
            models = "models agree"
        elif weak:
            numbers = ", ".join(map(str, weak))
            agreement = min(self.folds[fold].overall_accuracy for fold in weak)
            models = (
                f"the models without folds {numbers}, whose suspects are not to be trusted, agree"
            )
        else:
            return ""
        frequent, share = most_frequent(self.scores)
        return (
            f"{models} with only {agreement:.1%} of labels that they did not learn (class "
            f"{frequent!r} alone is {share:.1%} of all): they know too little of the classes to "
            "tell which labels are wrong. Train on more labels or longer (train.epochs, "
            "train.repeats), or choose another model (train.model, train.encoder, train.weights)"
        )


def most_frequent(scores: Scores) -> tuple[str, float]:
    """Return the class that most labels have, and their share, which it would be right of."""
    largest = max(scores.classes, key=lambda entry: entry.pixels)
    return largest.name, largest.pixels / max(scores.pixels, 1)


def _knows_no_more(scores: Scores) -> bool:
    # Than the frequent class alone. Of labels of one class nothing is known.
    _, share = most_frequent(scores)
    return share < 1 and scores.overall_accuracy <= share


def review(context: StageContext, folds: int) -> Review:
    """Train on each of some spatial folds without it, and rate its labels by what the model says.

    A fold of before with the same settings and samples is not trained again.

    Args:
        context: the run.
        folds: how many folds.

    Returns:
        The review, whose table and picture are also written.

    Raises:
        UsageError: the run's task gives no class to a pixel or an image.
        InputError: there is nothing to learn from.
    """
    from lulc.models.tasks.registry import TASKS
    from lulc.report.suspects import draw_suspects
    from lulc.training.label_evidence import EVIDENCE

    config, out, legend = context.config, context.out, context.config.make_legend()
    task = TASKS[config.task or "segment"]
    if task.kind not in ("pixels", "image"):
        raise UsageError(
            f"labels of task {task.name} cannot be reviewed: only those of one class a pixel or an "
            "image"
        )
    jobs, places = [], []
    for fold in range(folds):
        of_fold = deal_fold(context, fold, folds)
        jobs.append(make_job(of_fold, config.train, out / _FOLDER))
        places.append(_read_places(of_fold.out))
    keys = [{"fold": fold} for fold in range(folds)]
    schema = EVIDENCE.append(pa.field("fold", pa.int32()))
    rows = map_keys(context, keys, partial(_review_fold, jobs=jobs), schema, "folds", gpu=None)
    evidence = pa.Table.from_pylist(rows, schema)
    suspects = _join_places(_rate(evidence, legend), pa.concat_tables(places))
    store.write_table(out, "suspects", suspects)
    picture = out / layout.SUSPECTS_PICTURE
    samples = [store.table_folder(fold_folder(out, n, folds), "samples") for n in range(folds)]
    png = draw_suspects(suspects, samples, legend)
    files.write_atomic(picture, lambda path: path.write_bytes(png))
    for folder in (out / _FOLDER).iterdir():
        if folder not in [job.folder for job in jobs]:
            files.remove_folder(folder)
    of_folds = [evidence.filter(pc.equal(evidence["fold"], fold)) for fold in range(folds)]
    scores, *by_fold = (
        summarise(_confusion(table, legend), legend) for table in (evidence, *of_folds)
    )
    return Review(suspects, scores, picture, tuple(by_fold))


def _review_fold(key: Mapping[str, Any], jobs: Sequence[TrainJob]) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    job = jobs[key["fold"]]
    path = job.folder / _EVIDENCE
    if not files.exists(path):
        table = _train_and_ask(job)
        files.write_atomic(path, lambda temporary: pq.write_table(table, temporary))
        for other in job.folder.iterdir():
            if other.name != path.name:
                files.remove(other)
    with store.table_guard(path), files.open_parquet(path) as file:
        rows: list[dict[str, Any]] = file.read().to_pylist()
    return [row | {"fold": key["fold"]} for row in rows]


def _train_and_ask(job: TrainJob) -> pa.Table:
    from lulc.inference.predictor import use_one_core
    from lulc.training import fit
    from lulc.training.label_evidence import collect_evidence

    use_one_core()  # folds share the machine's
    return collect_evidence(job, fit.fit(job), "test")


def _read_places(out: Location) -> pa.Table:
    # Where the samples lie that a fold holds out.
    dataset = store.open_dataset(store.table_folder(out, "samples"))
    return dataset.to_table(columns=list(_PLACE), filter=pc.field("split") == "test")


def _rate(evidence: pa.Table, legend: Legend) -> pa.Table:
    # The labels with their ratings, the most doubtful first.
    count, index = len(legend.classes), legend.to_index()
    probabilities = np.array(evidence["probabilities"].to_pylist(), float).reshape(-1, count)
    labels = index[evidence["class_id"].to_numpy()].astype(int)
    weights = evidence["labels"].to_numpy()
    quality = rate_labels(probabilities, labels, class_thresholds(probabilities, labels, weights))
    sample_ids = evidence["sample_id"].to_numpy(zero_copy_only=False)
    order = np.lexsort((sample_ids, quality.margin, quality.score))
    names = np.array([entry.name for entry in legend.classes])
    ids = np.array(legend.ids, np.int32)
    columns = {
        "sample_id": evidence["sample_id"],
        "fold": evidence["fold"],
        "label_id": ids[labels],
        "label": names[labels],
        "answer_id": ids[quality.answer],
        "answer": names[quality.answer],
        "labels": evidence["labels"],
        "probability": quality.probability,
        "margin": quality.margin,
        "score": quality.score,
        "doubted": quality.doubted,
    }
    return pa.table(columns).take(order)


def _join_places(rated: pa.Table, places: pa.Table) -> pa.Table:
    # In the order of the ratings.
    middle = {
        "longitude": pc.divide(pc.add(places["xmin"], places["xmax"]), 2.0),
        "latitude": pc.divide(pc.add(places["ymin"], places["ymax"]), 2.0),
    }
    for name, column in middle.items():
        places = places.append_column(name, column)
    position = {sample_id: n for n, sample_id in enumerate(places["sample_id"].to_pylist())}
    rows = places.take([position[sample_id] for sample_id in rated["sample_id"].to_pylist()])
    columns = [
        rated[name] if name in rated.column_names else rows[name] for name in schemas.SUSPECTS.names
    ]
    return pa.table(columns, schemas.SUSPECTS.names).cast(schemas.SUSPECTS)


def _confusion(evidence: pa.Table, legend: Legend) -> np.ndarray:
    # (K, K + 1) labels by class and answer; every label has an answer.
    count = len(legend.classes)
    matrix = np.zeros((count, count + 1), np.int64)
    answers = np.array(evidence["answers"].to_pylist(), np.int64).reshape(-1, count)
    np.add.at(matrix[:, :-1], legend.to_index()[evidence["class_id"].to_numpy()], answers)
    return matrix
