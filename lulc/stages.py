"""The stages of a run, in order, which of them a run file needs, and a part of a run to work on."""

from __future__ import annotations

from dataclasses import dataclass
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
    "refine": "make the map of the predictions: smooth, clean, rules, consistent periods",
    "embed": "make vectors of tiles, pixels or samples",
    "rasters": "write class rasters: COGs, STAC items, a mosaic index",
    "polygons": "make polygons of the classes: GeoParquet and GeoPackage",
    "stats": "areas per class, region and period",
    "evaluate": "confusion matrix and accuracy on the held-out samples",
    "publish": "publish tables as Iceberg tables for other engines, maps as PMTiles for web maps",
}
"""Stage → what it does, in the order in which a run executes them."""

OUTPUT_VERSIONS = {
    "index": "0.2.0",
    "tiling": "0.2.0",
    "tile": "0.2.0",
    "samples": "0.2.0",
    "train": "0.2.0",
    "predict": "0.2.0",
    "refine": "0.2.0",
    "embed": "0.2.0",
    "rasters": "0.2.0",
    "polygons": "0.2.0",
    "stats": "0.2.0",
    "evaluate": "0.2.0",
    "publish": "0.2.0",
}
"""Stage, or name of a tiling → the release in which what it writes of the same input was last
changed. Fingerprints hold it: raised, all that the stage made is made again, and all that follows.
A release that changes nothing of it leaves it as it is."""

_LEARNING = {"samples", "train", "evaluate"}
_WITHOUT_SCENES = {"samples", "train", "embed", "publish"}  # stages that can run without scenes


def mapping_stage(config: Config) -> str:
    """Return the stage whose blocks are a run's map: `refine` if it is asked for, or `predict`."""
    return "refine" if config.refine else "predict"


@dataclass(frozen=True)
class Selection:
    """The part of a run to work on; the whole run by default."""

    bbox: tuple[float, float, float, float] | None = None
    """West, south, east, north in degrees."""
    tiles: tuple[str, ...] = ()
    """Tile ids."""
    where: str | None = None
    """A SQL condition on the scenes table."""
    retry_bad: bool = False
    """Read inputs again that the ledger holds as bad."""

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self.bbox is None and not self.tiles and self.where is None


def stages_of(config: Config) -> tuple[str, ...]:
    """Return the stages that a run file needs, in order.

    - samples, train and evaluate: with labels or datasets; train only if no model is named;
      evaluate only with the run's own labels, or without datasets
    - index, tile, predict, rasters, stats and evaluate: with scenes
    - rasters: not for task multilabel, whose result is tables alone
    - polygons: where the rasters section asks for them
    - refine: with a refine section
    - embed: with an embed section
    - publish: with a publish section
    - for maps made elsewhere: polygons, stats and publish, and with a refine section refine and
      rasters

    Raises:
        UsageError: the run file neither learns a model nor names one, or refines, or asks for
            polygons of, what is no class map.
    """
    if config.refine and config.task in ("multilabel", "detect"):
        raise UsageError(f"refine is for class maps, not for task {config.task}")
    if config.rasters.polygons and config.task in ("multilabel", "detect"):
        raise UsageError(f"rasters.polygons is for class maps, not for task {config.task}")
    if config.maps:
        asked = {
            "refine": config.refine,
            "rasters": config.refine,
            "polygons": config.rasters.polygons,
            "stats": True,
            "publish": config.publish,
        }
        return tuple(stage for stage, is_asked in asked.items() if is_asked)
    learns = config.labels is not None or bool(config.datasets)
    if not learns and config.predict.model is None:
        raise UsageError(
            "the run file has no labels or datasets to learn from, nor predict.model to map with: "
            "give one of them"
        )
    skipped: set[str] = set()
    if not learns:
        skipped |= _LEARNING
    elif config.predict.model:
        skipped.add("train")
    if not config.scenes:
        skipped |= set(STAGES) - _WITHOUT_SCENES
    if not config.refine:
        skipped.add("refine")
    if not config.rasters.polygons:
        skipped.add("polygons")
    if not config.embed:
        skipped.add("embed")
    if not config.publish:
        skipped.add("publish")
    if config.datasets and not config.labels:
        skipped.add("evaluate")
    if config.task == "multilabel":
        skipped.add("rasters")
    return tuple(stage for stage in STAGES if stage not in skipped)
