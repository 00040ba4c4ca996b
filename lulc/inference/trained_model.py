"""A trained model for code: chips, samples and images in, maps and tables out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from lulc.errors import UsageError
from lulc.geo.grid import Grid
from lulc.inference.class_map import ClassMap
from lulc.inference.predictor import Predictor, load_all
from lulc.legend import Legend
from lulc.models.contract import Contract
from lulc.models.package import ModelRef

_PIXELS = "EPSG:6933"  # of an image without georeference: pixels as metres


class Image(Protocol):
    """What a model maps: a Chip, a Sample, or anything with these attributes."""

    @property
    def pixels(self) -> np.ndarray:
        """(T, C, H, W) DN."""

    @property
    def valid(self) -> np.ndarray:
        """(T, H, W) bool."""

    @property
    def scales(self) -> Sequence[float]:
        """One a band: physical value = DN * scale + offset."""

    @property
    def offsets(self) -> Sequence[float]:
        """One a band."""

    @property
    def grid(self) -> Grid | None:
        """Where the pixels lie; None where that is not known."""


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A registered model, ready to map."""

    reference: ModelRef
    predictor: Predictor

    @property
    def contract(self) -> Contract:
        """What the model expects of its input, and what its output means."""
        return self.predictor.contract

    @property
    def legend(self) -> Legend:
        """The classes of the model's maps."""
        return self.contract.legend

    def segment(self, image: Image) -> ClassMap:
        """Map the class of every pixel.

        Args:
            image: a chip or a sample.

        Raises:
            UsageError: the model's task is for whole images or boxes.
        """
        self._check_kind("pixels", "segment")
        classes, confidence = self.predictor.segment(
            image.pixels, image.valid, image.scales, image.offsets
        )
        grid = image.grid or Grid(_PIXELS, (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), *classes.shape)
        label = f"{self.reference.name}/{self.reference.version}"
        return ClassMap(grid, classes, confidence, (), label, legend=self.legend)

    def classify(self, image: Image) -> dict[str, float]:
        """Return the probability of every class by name, of an image as large as a sample.

        Args:
            image: a chip or a sample.

        Raises:
            UsageError: the model's task is for pixels or boxes.
        """
        if self.predictor.task.kind in ("pixels", "boxes"):
            raise self._wrong_kind("classify")
        probabilities = self.predictor.classify(
            image.pixels, image.valid, image.scales, image.offsets
        )
        names = [land_class.name for land_class in self.legend.classes]
        return dict(zip(names, probabilities[0, 0].tolist(), strict=True))

    def detect(self, image: Image) -> pa.Table:
        """Return the objects in an image.

        Args:
            image: a chip or a sample.

        Returns:
            A row for each: class_name, score, and left, top, right and bottom in pixels.

        Raises:
            UsageError: the model's task is not detect.
        """
        self._check_kind("boxes", "detect")
        boxes = self.predictor.detect(image.pixels, image.valid, image.scales, image.offsets)
        name_of = {c.id: c.name for c in self.legend.classes}
        names = [name_of[int(box[0])] for box in boxes]
        columns = {"class_name": names, "score": boxes[:, 1]}
        sides = ("left", "top", "right", "bottom")
        columns |= {side: boxes[:, 2 + n] for n, side in enumerate(sides)}
        return pa.table(columns)

    def _repr_html_(self) -> str:
        contract = self.contract
        rows = {
            "model": f"{self.reference.name} version {self.reference.version}",
            "task": f"{contract.task}, by {contract.model}",
            "bands": ", ".join(contract.bands),
            "pixel size": f"{contract.gsd_m:g} m",
            "classes": ", ".join(land_class.name for land_class in self.legend.classes),
        }
        cells = "".join(f"<tr><th>{name}</th><td>{text}</td></tr>" for name, text in rows.items())
        return f"<table>{cells}</table>"

    def _check_kind(self, kind: str, verb: str) -> None:
        if self.predictor.task.kind != kind:
            raise self._wrong_kind(verb)

    def _wrong_kind(self, verb: str) -> UsageError:
        verbs = {"pixels": "segment", "boxes": "detect"}
        suitable = verbs.get(self.predictor.task.kind, "classify")
        return UsageError(
            f"model {self.reference.name} is for task {self.contract.task}: "
            f"use {suitable}() in place of {verb}()"
        )


def open_model(reference: ModelRef) -> TrainedModel:
    """Return a model that was found in the registry, ready to map."""
    return TrainedModel(reference, load_all(reference.folders))
