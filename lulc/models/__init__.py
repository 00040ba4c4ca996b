"""The kinds of network that can be trained, by the name a run file gives."""

from lulc.models.model import Model
from lulc.models.unet import UNET

MODELS: dict[str, Model] = {model.name: model for model in (UNET,)}

__all__ = ["MODELS", "Model"]
