"""What the best weights of a training say of the labels of a split that it did not learn from."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional

from lulc.legend import NODATA
from lulc.models.device import reused_memory
from lulc.training import loader
from lulc.training.fit import TrainResult, load_best
from lulc.training.scoring import forward
from lulc.training.setup import TrainJob

EVIDENCE = pa.schema(
    [
        pa.field("sample_id", pa.string()),
        pa.field("class_id", pa.int32()),  # of the label
        pa.field("labels", pa.int64()),  # how many labels the row is of: pixels, or an image
        pa.field("probabilities", pa.list_(pa.float64())),  # of the K classes, their mean
        pa.field("answers", pa.list_(pa.int64())),  # (K,) labels by the class that is likeliest
    ]
)


@reused_memory()
def collect_evidence(job: TrainJob, result: TrainResult, split: str) -> pa.Table:
    """Return the calibrated probabilities of every sample of a split, by class of its labels.

    Args:
        job: a training whose task gives a class to a pixel or an image.
        result: of the training.
        split: a split that it did not learn from.

    Returns:
        A row for every sample and class that it has labels of (EVIDENCE).
    """
    state = load_best(job, result)
    plan = loader.plan_epoch(job.samples / f"split={split}", 1, job.train.batch)
    tables = [EVIDENCE.empty_table()]
    for batch in loader.batches(plan, 0, 0, 0, shuffle=False):
        samples, output = forward(state, batch)
        probabilities = job.task.probabilities(output / result.temperature)
        for sample_id, image, label in zip(
            batch.sample_ids, probabilities, samples.label, strict=True
        ):
            tables.append(_rows_of(sample_id, image, label, job.legend.ids))
    return pa.concat_tables(tables)


def _rows_of(
    sample_id: str, probabilities: Tensor, label: Tensor, ids: tuple[int, ...]
) -> pa.Table:
    # probabilities: (K, …), label: (…).
    flat, flat_label = probabilities.flatten(1) if label.ndim else probabilities[:, None], label
    labelled = flat_label.flatten() != NODATA
    flat, positions = flat[:, labelled], flat_label.flatten()[labelled].long()
    # (M, K) each: the class of the label, and the likeliest.
    of_label, likeliest = (
        functional.one_hot(classes, len(ids)).double() for classes in (positions, flat.argmax(0))
    )
    counts = of_label.sum(0)
    occurs = torch.nonzero(counts).flatten().cpu().numpy()
    means = (of_label.T @ flat.T.double() / counts.clamp(min=1)[:, None]).cpu().numpy()
    answers = (of_label.T @ likeliest).cpu().numpy().astype(np.int64)
    columns = [
        [sample_id] * len(occurs),
        [ids[k] for k in occurs],
        counts.cpu().numpy()[occurs].astype(np.int64),
        means[occurs].tolist(),
        answers[occurs].tolist(),
    ]
    return pa.Table.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, EVIDENCE, strict=True)], schema=EVIDENCE
    )
