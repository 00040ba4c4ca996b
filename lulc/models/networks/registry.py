"""The kinds of network that can be trained, by the name a run file gives."""

from __future__ import annotations

from lulc.errors import UsageError
from lulc.models.networks.classifier import CLASSIFIER
from lulc.models.networks.detectors import FASTER_RCNN, FCOS, RETINANET
from lulc.models.networks.model import Model
from lulc.models.networks.pixelseries import LTAE, TEMPCNN
from lulc.models.networks.segmenters import DEEPLAB, SEGFORMER, UPERNET
from lulc.models.networks.siamese import CONCATENATION, DIFFERENCE, EARLY
from lulc.models.networks.unet import UNET
from lulc.models.networks.utae import UTAE

# The first of those that serve a task is the one that is taken when the run file names none.
_ALL = (
    UNET,
    DEEPLAB,
    UPERNET,
    SEGFORMER,
    CLASSIFIER,
    DIFFERENCE,
    CONCATENATION,
    EARLY,
    UTAE,
    LTAE,
    TEMPCNN,
    FCOS,
    RETINANET,
    FASTER_RCNN,
)
MODELS: dict[str, Model] = {model.name: model for model in _ALL}


def choose_model(name: str | None, task: str) -> Model:
    """The model of that name, or the first that serves the task; UsageError where there is none, or it serves another task."""
    able = [model for model in MODELS.values() if task in model.tasks]
    if name is None:
        return able[0]
    if name not in {model.name for model in able}:
        raise UsageError(
            f"train.model {name!r} is none for task {task}: {', '.join(model.name for model in able)} are"
        )
    return MODELS[name]
