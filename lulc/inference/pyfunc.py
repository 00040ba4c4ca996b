"""The script that MLflow keeps beside a model's weights and runs to load it.

A model from code: no pickle is written or read. A copy of this file lies beside every registered
model and must work with later releases: all that it calls keeps its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class Mapper(PythonModel):
    """A model of images of physical values that returns maps."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the predictor."""
        from lulc.inference import predictor

        self.predictor = predictor.load(Path(context.artifacts["contract"]).parent)

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> np.ndarray:
        """Map images.

        Args:
            context: not used.
            model_input: (N, T, C, H, W) float32 physical values, NaN where not valid.
            params: not used.

        Returns:
            (N, H, W) uint8 legend ids, 255 where no date is valid.
        """
        valid = np.isfinite(model_input).all(axis=2)
        pixels = np.where(valid[:, :, None], model_input, 0).astype(np.float32)
        bands = model_input.shape[2]
        scales, offsets = (1.0,) * bands, (0.0,) * bands
        maps = []
        for image, image_valid in zip(pixels, valid, strict=True):
            classes, _ = self.predictor.segment(image, image_valid, scales, offsets)
            maps.append(classes)
        return np.stack(maps)


mlflow.models.set_model(Mapper())
