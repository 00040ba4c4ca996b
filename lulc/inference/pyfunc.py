"""The script that MLflow keeps beside a model's weights and runs to load it: a model from code, no pickle written or read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class Mapper(PythonModel):
    """Images of physical values, (N, T, C, H, W) float32 with NaN where not valid → maps, (N, H, W) uint8 legend ids."""

    def load_context(self, context: PythonModelContext) -> None:
        """Nothing; the predictor stands when it returns."""
        from lulc.inference import predictor

        self.predictor = predictor.load(Path(context.artifacts["contract"]).parent)

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> np.ndarray:  # noqa: ARG002
        """The maps, 255 where no date is valid."""
        valid = np.isfinite(model_input).all(axis=2)
        pixels = np.where(valid[:, :, None], model_input, 0).astype(np.float32)
        bands = model_input.shape[2]
        scales, offsets = (1.0,) * bands, (0.0,) * bands
        return np.stack(
            [self.predictor(p, v, scales, offsets)[0] for p, v in zip(pixels, valid, strict=True)]
        )


mlflow.models.set_model(Mapper())
