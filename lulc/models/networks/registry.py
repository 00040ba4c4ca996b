"""The kinds of model that can be trained, by their names in a run file."""

from __future__ import annotations

from lulc.errors import UsageError
from lulc.models.networks.classifier import CLASSIFIER
from lulc.models.networks.detectors import FASTER_RCNN, FCOS, RETINANET
from lulc.models.networks.linear import LINEAR
from lulc.models.networks.model import Model
from lulc.models.networks.pixelseries import LTAE, TEMPCNN
from lulc.models.networks.segmenters import DEEPLAB, SEGFORMER, UPERNET
from lulc.models.networks.siamese import CONCATENATION, DIFFERENCE, EARLY
from lulc.models.networks.trees import BOOSTING, FOREST
from lulc.models.networks.unet import UNET
from lulc.models.networks.utae import UTAE

# The first one of a task is its default.
_ALL = (
    UNET,
    DEEPLAB,
    UPERNET,
    SEGFORMER,
    LINEAR,
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
    BOOSTING,
    FOREST,
)
MODELS: dict[str, Model] = {model.name: model for model in _ALL}


def choose_model(name: str | None, task: str) -> Model:
    """Choose the kind of model for a task.

    Returns:
        The one of that name, or the task's default where `name` is None.

    Raises:
        UsageError: there is none of that name for the task.
    """
    candidates = {model.name: model for model in _ALL if task in model.tasks}
    if name is None:
        return next(iter(candidates.values()))
    if name not in candidates:
        raise UsageError(
            f"train.model {name!r} is not for task {task}; choose one of: {', '.join(candidates)}"
        )
    return candidates[name]
