"""The model card says what contract and training hold, under Hugging Face's headings."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import yaml

from lulc.legend import LandClass, Legend
from lulc.models.card import CardFacts, make_card
from lulc.models.contract import Contract

LEGEND = Legend(
    "valley",
    (
        LandClass(1, "water", "#0000ff"),
        LandClass(5, "wood | <scrub>", "#00ff00"),
        LandClass(9, "sand", "#ffff00"),
    ),
)
HEADINGS = [
    "Model Details", "Uses", "Bias, Risks, and Limitations",
    "How to Get Started with the Model", "Training Details", "Evaluation",
    "Technical Specifications",
]  # fmt: skip


NONE = np.zeros((0,), np.int64)


def make_contract(**changes: Any) -> Contract:
    given: dict[str, Any] = {
        "name": "valley",
        "task": "segment",
        "model": "unet",
        "architecture": {"encoder": "resnet18", "depth": 4},
        "bands": ("red", "nir"),
        "mean": (0.125, 0.25),
        "std": (0.5, 0.75),
        "legend": LEGEND,
        "gsd_m": 10.0,
        "units": ("toa_reflectance", ""),
        "precision": "bfloat16",
        "fingerprints": {"train": "f1"},
        "gsd_range_m": (10.0, 20.0),
    }
    return Contract(**given | changes)


def make_facts(**changes: Any) -> CardFacts:
    given: dict[str, Any] = {
        "data": ("labels of the run valley (labels.tif), periods 2024",),
        "datasets": (),
        "days": "2024-04-14 to 2024-09-02",
        "samples": 1234,
        "counts": (7000.0, 2000.0, 1000.0),
        "split": "spatial blocks of 2 × 2 samples; fold 1 of 5 is the test split.",
        "metrics": {"loss": 0.5, "miou": 0.625, "iou/water": 0.875, "test_miou": 0.5625},
        "matrix": np.array([[90, 10, 0, 0], [5, 45, 0, 0], [30, 0, 1, 0]]),
        "test_matrix": np.array([[60, 40, 0, 0], [0, 50, 0, 0], [0, 0, 8, 0]]),
    }
    return CardFacts(**given | changes)


def split_card(card: str) -> tuple[dict[str, Any], str]:
    _, header, body = card.split("---\n", 2)
    return yaml.safe_load(header), body


def test_the_card_tells_of_data_classes_and_scores() -> None:
    header, body = split_card(make_card(make_contract(), make_facts()))
    assert header["library_name"] == "lulc"
    assert header["pipeline_tag"] == "image-segmentation"
    assert header["metrics"] == ["miou"]
    (result,) = header["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "miou", "value": 0.625}]
    assert re.findall(r"^## (.*)$", body, re.MULTILINE) == HEADINGS
    for told in (
        "unet, neural network (PyTorch)",
        "| 5 | wood \\| &lt;scrub> | 2,000 | 20.0 % |",
        "| red | toa_reflectance | 0.125 | 0.5 |",
        "| nir | not known | 0.25 | 0.75 |",
        "| water | 100 | 0.720 | 0.900 | 0.800 | 0.667 |",
        "Hardly mapped on validation (1 % of the labels or more, and IoU below 0.1): sand.",
        "**Hardly mapped: sand.** Areas of these are no result.",
        "2024-04-14 to 2024-09-02",
        "fold 1 of 5",
        "**Training regime:** bfloat16",
        "**miou:** 0.6250",
        "**miou:** 0.5625",
        "**miou:** mean of the IoU of all classes",
        "**IoU:** what is the class and mapped so",
        "On the test split of 158 labels, which neither training nor",
        "| water | 100 | 1.000 | 0.600 | 0.750 | 0.600 |",
        "On the validation split of 181 labels",
        "Pixels from 8 to 25 m are accepted",
        "not stated",
    ):
        assert told in body, told


@pytest.mark.parametrize(
    ("licence", "found"),
    [
        ("CC-BY-4.0", {"license": "cc-by-4.0"}),
        (
            "Open Government Licence",
            {"license": "other", "license_name": "Open Government Licence"},
        ),
        (None, {}),
    ],
)
def test_the_licence_is_the_one_that_was_stated(licence: str | None, found: dict[str, str]) -> None:
    header, body = split_card(make_card(make_contract(), make_facts(licence=licence)))
    assert {key: text for key, text in header.items() if key.startswith("license")} == found
    assert (licence or "not stated") in body


def test_trees_and_detectors_have_cards_too() -> None:
    trees = make_contract(model="boosting", architecture={"count": 20}, precision="")
    _, body = split_card(make_card(trees, make_facts()))
    assert "boosting, trees (LightGBM)" in body
    detector = make_contract(task="detect", model="fasterrcnn")
    facts = make_facts(metrics={"ap50": 0.5}, matrix=NONE, test_matrix=NONE, datasets=("dota",))
    header, body = split_card(make_card(detector, facts))
    assert (header["pipeline_tag"], header["datasets"]) == ("object-detection", ["dota"])
    assert "labelled boxes" in body
    assert "**ap50:** 0.5000" in body


def test_a_model_without_validation_says_so() -> None:
    facts = make_facts(metrics={"loss": 0.5}, matrix=NONE, test_matrix=NONE)
    header, body = split_card(make_card(make_contract(), facts))
    assert "model-index" not in header
    assert "No validation split: the model was not evaluated" in body
