"""A trained model for code: chips, samples and images in, maps and tables out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import pyarrow as pa

from lulc.chips.chip import Chip
from lulc.config import PredictConf
from lulc.errors import InputError, UsageError
from lulc.geo.areas import pixel_side_m
from lulc.geo.grid import Grid
from lulc.inference.predictor import Predictor, load_all
from lulc.inference.windows import centre_square
from lulc.legend import Legend
from lulc.maps.class_map import ClassMap
from lulc.models.contract import Contract
from lulc.models.package import ModelRef
from lulc.raster.show import table_html
from lulc.samples.sample import Sample


class Image(Protocol):
    """What a model maps: a Chip, a Sample, or anything with these attributes."""

    @property
    def pixels(self) -> np.ndarray:
        """(T, C, H, W) DN."""

    @property
    def valid(self) -> np.ndarray:
        """(T, H, W) bool."""

    @property
    def bands(self) -> Sequence[str]:
        """Names of the C bands."""

    @property
    def scales(self) -> Sequence[float]:
        """One a band: physical value = DN * scale + offset."""

    @property
    def offsets(self) -> Sequence[float]:
        """One a band."""

    @property
    def datetimes(self) -> Sequence[datetime]:
        """One a date; none where they are not known."""

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
        """Map the class of every pixel, with `predict.flips` of the run that the model comes from.

        Args:
            image: a chip or a sample.

        Raises:
            UsageError: the model's task is for whole images or boxes.
            InputError: the image has other bands, or a chip other pixels, than the model was
                trained on.
        """
        self._check_kind("pixels", "segment")
        image = self._in_units_of_model(image)
        days = [time.timetuple().tm_yday for time in image.datetimes]
        classes, confidence = self.predictor.segment(
            image.pixels, image.valid, image.scales, image.offsets, self._settings, days=days
        )
        version = f"{self.reference.name}/{self.reference.version}"
        return ClassMap(image.grid, classes, confidence, (), version, legend=self.legend)

    def classify(self, image: Image) -> dict[str, float]:
        """Return the probability of every class by name.

        Args:
            image: a chip or a sample; of one larger than the model's samples the middle counts.

        Raises:
            UsageError: the model's task is for pixels or boxes.
            InputError: the image has other bands, or a chip other pixels, than the model was
                trained on, or nothing is valid in its middle.
        """
        if self.predictor.task.kind in ("pixels", "boxes"):
            raise self._wrong_kind("classify")
        image = self._in_units_of_model(image)
        pixels, valid = centre_square(image.pixels, image.valid, self.contract.size)
        squares = self.predictor.classify(
            pixels, valid, image.scales, image.offsets, self._settings
        )
        probabilities = squares[0, 0]
        if np.isnan(probabilities).any():
            raise InputError("no pixel in the middle of the image is valid")
        names = [land_class.name for land_class in self.legend.classes]
        return dict(zip(names, probabilities.tolist(), strict=True))

    def detect(self, image: Image) -> pa.Table:
        """Return the objects in an image, those with `predict.score` of the model's run or more.

        Args:
            image: a chip or a sample.

        Returns:
            A row for each: class_name, score, and left, top, right and bottom in pixels.

        Raises:
            UsageError: the model's task is not detect.
            InputError: the image has other bands, or a chip other pixels, than the model was
                trained on.
        """
        self._check_kind("boxes", "detect")
        image = self._in_units_of_model(image)
        boxes = self.predictor.detect(
            image.pixels, image.valid, image.scales, image.offsets, self._settings
        )
        boxes = boxes[boxes[:, 1] >= self._settings.score]
        names = self.legend.names
        columns = {"class_name": [names[int(box[0])] for box in boxes], "score": boxes[:, 1]}
        sides = ("left", "top", "right", "bottom")
        columns |= {side: boxes[:, 2 + n] for n, side in enumerate(sides)}
        return pa.table(columns)

    def _repr_html_(self) -> str:
        contract = self.contract
        return table_html(
            [
                ("model", f"{self.reference.name} version {self.reference.version}"),
                ("task", f"{contract.task}, by {contract.model}"),
                ("bands", ", ".join(contract.describe_bands())),
                ("pixel size", f"{contract.gsd_m:g} m"),
                ("classes", ", ".join(land_class.name for land_class in self.legend.classes)),
            ]
        )

    @property
    def _settings(self) -> PredictConf:
        return PredictConf(flips=self.contract.flips, score=self.contract.score)

    def _in_units_of_model(self, image: Image) -> Image:
        # Samples are mapped to be compared with their labels: in any pixel size, as in a training.
        side_m = self.contract.gsd_m
        if image.grid is not None and not isinstance(image, Sample):
            side_m = pixel_side_m(image.grid)
        if not isinstance(image, Chip | Sample):  # it is taken to be in the model's units
            self.contract.check(image.bands, side_m, "the image")
            return image
        self.contract.check(image.bands, side_m, "the image", image.units)
        return image.in_units(self.contract.units)

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
