"""The stages of a run, in order, and which of them a run file asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lulc.errors import UsageError

if TYPE_CHECKING:
    from lulc.config import Config

STAGES = {
    "index": "list an archive's scenes in the scenes table",
    "tile": "cut scenes into chips on the tiling",
    "samples": "join chips with labels, split by spatial block",
    "train": "train a model on the samples and register it",
    "predict": "map the chips with the registered model (or a folder of image files)",
    "rasters": "write class rasters: COGs, STAC items, a mosaic index",
    "stats": "areas per class, region and period",
    "evaluate": "confusion matrix and accuracy on the held-out samples",
    "publish": "publish the tables as Iceberg tables for other engines",
}
"""Stage → what it does, in the order in which a run carries them out."""

_LEARNING = ("samples", "train", "evaluate")


def stages_of(config: Config) -> tuple[str, ...]:
    """The stages a run file asks for.

    Those that learn only where it has labels or datasets, training only where it names no model, those that map only where it has
    scenes, evaluation only where its own labels are; any number of classes a square make tables, and no raster; publication
    only where it says where to.
    """
    if config.maps:
        return ("stats", "publish") if config.publish else ("stats",)
    learns = config.labels is not None or bool(config.datasets)
    if not learns and config.predict.model is None:
        raise UsageError(
            "the run file has no labels or datasets to learn from, nor predict.model to map with: give one of them"
        )
    left_out = set(_LEARNING) if not learns else {"train"} if config.predict.model else set()
    left_out |= set() if config.scenes else set(STAGES) - {"samples", "train", "publish"}
    left_out |= set() if config.publish else {"publish"}
    left_out |= set() if config.labels or not config.datasets else {"evaluate"}
    left_out |= {"rasters"} if config.task == "multilabel" else set()
    return tuple(s for s in STAGES if s not in left_out)
