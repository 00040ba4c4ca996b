"""Registered models for code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lulc.errors import extras_named
from lulc.location import Location, parse_location

if TYPE_CHECKING:
    from lulc.inference.trained_model import TrainedModel


@extras_named()
def load_model(model: str, out: str | Location, tracking_uri: str | None = None) -> TrainedModel:
    """Find a registered model and return it, ready to map.

    Args:
        model: `models:/<name>/<version>`, `models:/<name>@<alias>`, or `<name>`: its champion, else
            its newest version. Several, joined by `+`, map together.
        out: an output folder, whose registry is used and where the model's files are kept.
        tracking_uri: the address of another MLflow store; MLFLOW_TRACKING_URI by default.

    Raises:
        InputError: there is no such model.
        SetupError: the store cannot be reached.
    """
    from lulc.inference.trained_model import open_model
    from lulc.models.registry import resolve

    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return open_model(resolve(model, parse_location(out).resolve(), uri))
