"""The model card: what a model is, how it was trained, what it is good for, in Markdown.

Headings are those of Hugging Face's model cards, with their YAML header. All of it comes from the
contract and the training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import lulc
from lulc.models.contract import TREE_MODELS, Contract
from lulc.stats.confusion import LABELLED_SHARE, MAPPED_IOU, Scores, hardly_mapped, summarise
from lulc.wording import counted, per_cent
from lulc.yaml12 import dump_yaml

_PIPELINES = {"detect": "object-detection"} | dict.fromkeys(
    ("classify", "multilabel"), "image-classification"
)
_SEGMENTATION = "image-segmentation"
_LICENCES = frozenset(
    {
        "apache-2.0", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0",
        "cc-by-sa-4.0", "cc0-1.0", "etalab-2.0", "gpl-3.0", "mit", "odbl", "odc-by",
    }
)  # fmt: skip
"""Licences that Hugging Face knows by these names; any other is `other`."""

_TASKS = {
    "segment": "gives each pixel a class",
    "series": "gives each pixel a class, from a series of dates",
    "change": "gives each pixel a class of change between two dates",
    "classify": "gives an image one class",
    "multilabel": "gives an image the classes that are in it",
    "detect": "finds objects and their outlines",
}
_SCORE_COLUMNS = ("user's accuracy", "producer's accuracy", "F1", "IoU")
_MEANINGS = {
    "accuracy": "share of the labels that the model answers rightly",
    "miou": "mean of the IoU of all classes, each counting the same",
    "f1": "the harmonic mean of user's and producer's accuracy, over all classes",
    "boundary_f1": "F1 of the borders between classes, near to which they may lie",
    "ece": "how far confidence is from the share that is right, on average: 0 is best",
    "ece_raw": "the same before calibration",
    "validation_loss": "what training makes small, on labels that it does not learn from",
    "ap": "average precision, over all demands on how well an outline fits",
    "ap50": "average precision, where outlines fit by half (IoU of 0.5)",
    "recall": "share of the objects that are found, where outlines fit by half",
    "recall30": "share of the objects that are found, where outlines fit by 0.3",
    "ap_macro": "average precision, the mean over the classes",
    "ap_micro": "average precision over all pairs of image and class",
    "user's accuracy": "of what is mapped as the class, the share that is the class",
    "producer's accuracy": "of what is the class, the share that is mapped so",
    "F1": "the harmonic mean of these two",
    "IoU": "what is the class and mapped so, as a share of what is either; 1 is best",
}
"""Scores in words."""
_COUNTED = {"classify": "images", "multilabel": "images", "detect": "boxes"}


@dataclass(frozen=True)
class CardFacts:
    """What a model card tells besides the contract."""

    data: tuple[str, ...]
    """What was learned from: a line each, with publication and licence of published datasets."""
    datasets: tuple[str, ...]
    """Names of published datasets."""
    days: str
    """First and last day of the imagery, empty where it has no dates."""
    samples: int
    """Number of training samples."""
    counts: tuple[float, ...]
    """Labelled pixels, images or boxes of every class in the training split."""
    split: str
    """How validation and test were kept apart from training."""
    metrics: Mapping[str, float]
    """Of the best epoch, by name; those of the test split begin with `test_`."""
    matrix: np.ndarray
    """(K, K + 1) confusion matrix of the validation split; empty without one."""
    test_matrix: np.ndarray
    """That of the test split."""
    licence: str | None = None
    attributions: tuple[str, ...] = ()
    start: str = ""
    """The weights that training began with, with their licence; empty of random ones."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of the training by name."""


def make_card(contract: Contract, facts: CardFacts) -> str:
    """Return a model's card.

    Args:
        contract: of the model.
        facts: of its training.
    """
    scores = summarise(facts.matrix, contract.legend) if facts.matrix.size else None
    vanished = hardly_mapped(scores) if scores else []
    parts = [
        f"---\n{dump_yaml(_header(contract, facts))}---\n",
        f"# Model Card for {contract.name}\n",
        _summary(contract),
        *_details(contract, facts),
        *_uses(contract, vanished),
        *_how_to(contract),
        *_training(contract, facts),
        *_evaluation(contract, facts, scores, vanished),
        *_technical(contract),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _header(contract: Contract, facts: CardFacts) -> dict[str, Any]:
    header: dict[str, Any] = {
        "library_name": "lulc",
        "pipeline_tag": _PIPELINES.get(contract.task, _SEGMENTATION),
        "tags": ["land-cover", "remote-sensing", contract.model, contract.task],
    }
    if facts.licence:
        name = facts.licence.lower()
        is_known = name in _LICENCES
        header |= (
            {"license": name}
            if is_known
            else {
                "license": "other",
                "license_name": facts.licence,
            }
        )
    if facts.datasets:
        header["datasets"] = list(facts.datasets)
    scores = {name: value for name, value in _overall(facts.metrics) if not math.isnan(value)}
    if scores:
        header["metrics"] = list(scores)
        header["model-index"] = [
            {
                "name": contract.name,
                "results": [
                    {
                        "task": {"type": header["pipeline_tag"]},
                        "dataset": {"name": "; ".join(facts.data), "type": "validation"},
                        "metrics": [
                            {"type": name, "value": round(value, 4)}
                            for name, value in scores.items()
                        ],
                    }
                ],
            }
        ]
    return header


def _overall(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    # Scores of all classes on the validation split.
    left_out = ("loss", "rate")
    return [
        (name, value)
        for name, value in metrics.items()
        if "/" not in name and name not in left_out and not name.startswith("test_")
    ]


def _summary(contract: Contract) -> str:
    classes = counted(len(contract.legend.classes), "class", "classes")
    bands = counted(len(contract.bands), "band")
    return (
        f"A model of lulc that {_TASKS[contract.task]}: {classes} of land cover from {bands}, in "
        f"pixels of {contract.gsd_m:g} m.\n"
    )


def _details(contract: Contract, facts: CardFacts) -> list[str]:
    kind = "trees (LightGBM)" if contract.model in TREE_MODELS else "neural network (PyTorch)"
    architecture = ", ".join(f"{name} {value}" for name, value in contract.architecture.items())
    return [
        "## Model Details\n",
        "### Model Description\n",
        _list(
            {
                "Model type": f"{contract.model}, {kind}",
                "Architecture": architecture,
                "Task": contract.task,
                "License": facts.licence or "not stated (`about.licence` of the run file)",
                "Attributions": " ".join(facts.attributions),
                "Finetuned from model": facts.start,
                "Made with": f"lulc {lulc.__version__}",
            }
        ),
    ]


def _uses(contract: Contract, vanished: Sequence[str]) -> list[str]:
    smallest, largest = contract.gsd_range_m or (contract.gsd_m, contract.gsd_m)
    limits = [
        f"Pixels from {0.8 * smallest:g} to {1.25 * largest:g} m are accepted, others refused.",
        "Other bands, another order of bands, or bands of another quantity are refused.",
        "Ground, seasons and sensors that are not in the training data may be mapped wrongly: "
        "draw points there and estimate the accuracy (`lulc design`, `lulc evaluate "
        "--reference`) before areas are reported.",
        "Confidence is what the model says of itself, calibrated on the validation split "
        f"(temperature {contract.temperature:.3g}).",
    ]
    if vanished:
        limits.insert(0, f"**Hardly mapped: {', '.join(vanished)}.** Areas of these are no result.")
    return [
        "## Uses\n",
        "### Direct Use\n",
        "Maps of land cover and their areas, of ground that is like the training data below.\n",
        "### Out-of-Scope Use\n",
        "Decisions on single parcels or objects, and areas reported without an accuracy "
        "assessment of the map.\n",
        "## Bias, Risks, and Limitations\n",
        "\n".join(f"- {limit}" for limit in limits) + "\n",
    ]


def _how_to(contract: Contract) -> list[str]:
    return [
        "## How to Get Started with the Model\n",
        "In a run file, `predict: {model: " + contract.name + "}`; of image files\n",
        f"```sh\nlulc predict --input IMAGES --model {contract.name} --out OUT\n```\n",
        f'or in Python\n\n```python\nimport lulc\n\nmodel = lulc.load_model("{contract.name}", '
        'out="OUT")\n```\n',
    ]


def _training(contract: Contract, facts: CardFacts) -> list[str]:
    unit = _COUNTED.get(contract.task, "pixels")
    counts = facts.counts or (math.nan,) * len(contract.legend.classes)
    total = sum(counts)
    classes = [
        (str(entry.id), entry.name, _count(count), per_cent(count / total) if total else "")
        for entry, count in zip(contract.legend.classes, counts, strict=True)
    ]
    bands = [
        (band, unit_name or "not known", f"{mean:.4g}", f"{std:.4g}")
        for band, unit_name, mean, std in zip(
            contract.bands,
            contract.units or ("",) * len(contract.bands),
            contract.mean,
            contract.std,
            strict=True,
        )
    ]
    return [
        "## Training Details\n",
        "### Training Data\n",
        "\n".join(f"- {line}" for line in facts.data) + "\n",
        _list(
            {
                "Days of the imagery": facts.days,
                "Samples": f"{facts.samples:,} of {contract.size} × {contract.size} pixels",
                "Pixel side": _sides(contract),
                "Split": facts.split,
            }
        ),
        _table(("class id", "class", f"labelled {unit}", "share"), classes),
        _table(("band", "unit", "mean", "standard deviation"), bands),
        "### Training Procedure\n",
        "#### Training Hyperparameters\n",
        _list(
            {"Training regime": contract.precision or "precision not recorded", **facts.settings}
        ),
    ]


def _sides(contract: Contract) -> str:
    smallest, largest = contract.gsd_range_m or (contract.gsd_m, contract.gsd_m)
    if smallest == largest:
        return f"{contract.gsd_m:g} m"
    return f"{smallest:g} to {largest:g} m, median {contract.gsd_m:g} m"


def _evaluation(
    contract: Contract, facts: CardFacts, scores: Scores | None, vanished: Sequence[str]
) -> list[str]:
    validated = dict(_overall(facts.metrics))
    tested = {
        name.removeprefix("test_"): value
        for name, value in facts.metrics.items()
        if name.startswith("test_") and "/" not in name
    }
    parts = ["## Evaluation\n", "### Testing Data, Factors & Metrics\n", f"{facts.split}\n"]
    if not validated and scores is None and not tested:
        return [*parts, "### Results\n", "No validation split: the model was not evaluated.\n"]
    names = dict.fromkeys([*tested, *validated])
    columns = _SCORE_COLUMNS if scores is not None else ()
    parts.append(_list({name: _MEANINGS.get(name, "") for name in (*names, *columns)}))
    parts.append("### Results\n")
    test_scores = summarise(facts.test_matrix, contract.legend) if facts.test_matrix.size else None
    if tested:
        subject = f"{_size(test_scores)}, which neither training nor the choice of the epoch saw"
        parts += _results(f"On the test split{subject}:\n", tested, test_scores)
    else:
        parts.append("There is no test split, or it was not scored.\n")
    subject = f"{_size(scores)}, by which the best epoch was chosen"
    parts += _results(f"On the validation split{subject}:\n", validated, scores)
    if scores is not None:
        rule = f"{100 * LABELLED_SHARE:g} % of the labels or more, and IoU below {MAPPED_IOU:g}"
        parts.append(f"Hardly mapped on validation ({rule}): {', '.join(vanished) or 'none'}.\n")
    return parts


def _size(scores: Scores | None) -> str:
    return "" if scores is None else f" of {counted(scores.pixels, 'label')}"


def _results(title: str, metrics: Mapping[str, float], scores: Scores | None) -> list[str]:
    parts = [title, _list({name: f"{value:.4f}" for name, value in metrics.items()})]
    if scores is None:
        return parts
    rows = [
        (entry.name, f"{entry.pixels:,}", *map(_score, _scores_of(entry)))
        for entry in scores.classes
    ]
    return [*parts, _table(("class", "labelled", *_SCORE_COLUMNS), rows)]


def _scores_of(entry: Any) -> tuple[float, ...]:
    return entry.users_accuracy, entry.producers_accuracy, entry.f1, entry.iou


def _technical(contract: Contract) -> list[str]:
    prints = {f"Fingerprint of {name}": text for name, text in contract.fingerprints.items()}
    multiple = f"heights and widths are multiples of {contract.multiple}"
    if contract.window:
        multiple = f"windows of {contract.window} × {contract.window} pixels, as in training"
    return [
        "## Technical Specifications\n",
        _list({"Input": f"physical values; {multiple}", "Contract": "contract.json"} | prints),
    ]


def _count(number: float) -> str:
    return "not known" if math.isnan(number) else f"{number:,.0f}"


def _score(share: float) -> str:
    return "–" if math.isnan(share) else f"{share:.3f}"


def _list(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- **{name}:** {text}" for name, text in facts.items() if text) + "\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    # A name such as <forest> would be taken for a tag of HTML, and vanish.
    return text.replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
