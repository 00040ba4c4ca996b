"""Predictions of one chip as rows of the table that the model's task fills.

Tables `predictions` (a class a pixel or square), `probabilities` (a row a class and square) and
`boxes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lulc.inference.predictor import Predictor
    from lulc.inference.windows import Area
from lulc.chips.chip import Chip
from lulc.config import PredictConf
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.legend import NODATA, Legend
from lulc.models.package import ModelRef
from lulc.tables import arrays


@dataclass(frozen=True, eq=False)
class PredictionRow:
    """A row of the predictions table: the classes of one tile."""

    tile_id: str
    period: str
    model: str
    """`<name>/<version>`."""
    legend: str
    scene_ids: tuple[str, ...]
    grid: Grid
    """Of the tile's core; its pixels are the squares where those were classified."""
    class_ids: tuple[int, ...]
    """Of the legend."""
    classes: np.ndarray
    """(H, W) uint8 legend ids, 255 where there is none."""
    confidence: np.ndarray
    """(H, W) uint8 percent, 255 where there is no class."""
    probabilities: np.ndarray | None = None
    """(K, H, W) uint8 percent of all classes, where they are kept."""

    @property
    def valid_pixels(self) -> int:
        """Pixels that have a class."""
        return int(np.count_nonzero(self.classes != NODATA))

    def to_row(self) -> dict[str, Any]:
        """Return the row of the table, with the counts of classes and confidences."""
        counts = np.bincount(self.classes.ravel(), minlength=256)
        percent_counts = count_percents(self.classes, self.confidence, self.class_ids)
        return {
            "tile_id": self.tile_id,
            "period": self.period,
            "model": self.model,
            "legend": self.legend,
            "scene_ids": list(self.scene_ids),
            **arrays.grid_columns(self.grid),
            **arrays.array_columns("classes", self.classes, "raw"),
            **arrays.array_columns("confidence", self.confidence, "raw"),
            **self._probability_columns(),
            "class_ids": list(self.class_ids),
            "class_counts": [int(counts[class_id]) for class_id in self.class_ids],
            **arrays.array_columns("percent_counts", percent_counts, "raw"),
            "nodata_count": int(counts[NODATA]),
        }

    def _probability_columns(self) -> dict[str, Any]:
        if self.probabilities is None:
            suffixes = ("", "_shape", "_dtype", "_codec")
            return dict.fromkeys(f"probabilities{suffix}" for suffix in suffixes)
        return arrays.array_columns("probabilities", self.probabilities, "raw")


@dataclass(frozen=True)
class ProbabilityRow:
    """A row of the probabilities table: how likely one class is in one square."""

    tile_id: str
    period: str
    model: str
    grid: Grid
    """Of the square, as one pixel."""
    class_id: int
    class_name: str
    probability: float
    """0 to 1."""

    def to_row(self) -> dict[str, Any]:
        """Return the row of the table."""
        columns = {name: value for name, value in vars(self).items() if name != "grid"}
        return columns | arrays.grid_columns(self.grid)


@dataclass(frozen=True)
class BoxRow:
    """A row of the boxes table: one box of one tile, in pixels of the whole tiling."""

    tile_id: str
    period: str
    model: str
    class_id: int
    class_name: str
    score: float
    """0 to 1."""
    left: float
    top: float
    right: float
    bottom: float

    def to_row(self) -> dict[str, Any]:
        """Return the row of the table."""
        return asdict(self)


type TableRow = PredictionRow | ProbabilityRow | BoxRow
"""A row of the table that a task fills."""


def predict_chip(
    chip: Chip, predictor: Predictor, model: ModelRef, settings: PredictConf
) -> Sequence[TableRow]:
    """Map a chip by itself.

    Args:
        chip: the chip.
        predictor: of the model.
        model: the version that is named in the rows.
        settings: of the prediction.

    Returns:
        One PredictionRow, a ProbabilityRow for every class and square, or a BoxRow for every box.

    Raises:
        InputError: the squares that the model classifies do not fill the tile.
    """
    kind = predictor.task.kind
    if kind == "pixels":
        return [_segment(chip, predictor, model, settings)]
    if kind == "boxes":
        return _detect(chip, predictor, model, settings)
    return _classify(chip, predictor, model, settings)


def make_percents(
    settings: PredictConf, legend: Legend, shape: tuple[int, ...]
) -> np.ndarray | None:
    """Make the array for the percentages of all classes.

    Args:
        settings: of the prediction.
        legend: of the model.
        shape: (H, W).

    Returns:
        (K, H, W) uint8, filled with 255; None where the settings have no probabilities.
    """
    if not settings.probabilities:
        return None
    return np.full((len(legend.classes), *shape), NODATA, np.uint8)


def make_prediction_row(
    chip: Chip,
    model: ModelRef,
    legend: Legend,
    classes: np.ndarray,
    confidence: np.ndarray,
    percents: np.ndarray | None,
    grid: Grid | None = None,
) -> PredictionRow:
    """Make the row of a chip's classes.

    Args:
        chip: the chip.
        model: the version that is named in the row.
        legend: of the model.
        classes: (H, W) uint8 legend ids, 255 where there is none.
        confidence: (H, W) uint8 percent, 255 where there is no class.
        percents: (K, H, W) uint8 percent of all classes, where they are kept.
        grid: of the classes; the grid of the chip's core where not given.

    Returns:
        The row.
    """
    return PredictionRow(
        **_header(chip, model),
        legend=model.name,
        scene_ids=chip.scene_ids,
        grid=grid or chip.grid.pad(-chip.halo),
        class_ids=legend.ids,
        classes=classes,
        confidence=confidence,
        probabilities=percents,
    )


def count_percents(classes: np.ndarray, confidence: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Count the pixels of each class that are mapped with each percent of confidence.

    Args:
        classes: (H, W) uint8 legend ids, 255 where there is none.
        confidence: (H, W) uint8 percent, 255 where there is no class.
        ids: the K legend ids.

    Returns:
        (K, 101) uint32.
    """
    pairs = classes.ravel().astype(np.int64) * 256 + confidence.ravel()
    counts = np.bincount(pairs, minlength=1 << 16)
    return np.ascontiguousarray(counts.reshape(256, 256)[list(ids), :101], np.uint32)


def _header(chip: Chip, model: ModelRef) -> dict[str, str]:
    version = f"{model.name}/{model.version}"
    return {"tile_id": chip.tile_id, "period": chip.period, "model": version}


def _segment(
    chip: Chip, predictor: Predictor, model: ModelRef, settings: PredictConf
) -> PredictionRow:
    legend, core = predictor.contract.legend, chip.core
    days = [time.timetuple().tm_yday for time in chip.datetimes]
    percents = make_percents(settings, legend, chip.grid.shape)
    classes, confidence = predictor.segment(
        chip.pixels, chip.valid, chip.scales, chip.offsets, settings, core, days, percents
    )
    core_percents = None if percents is None else percents[:, *core]
    return make_prediction_row(chip, model, legend, classes[core], confidence[core], core_percents)


def _classify(
    chip: Chip, predictor: Predictor, model: ModelRef, settings: PredictConf
) -> Sequence[PredictionRow | ProbabilityRow]:
    legend, size = predictor.contract.legend, predictor.contract.size
    side = chip.grid.height - 2 * chip.halo
    if side % size:
        raise InputError(
            f"tiles of {side} pixels are no multiple of the {size} pixels that model {model.name} "
            f"classifies at once: set tiling.size to a multiple of {size}"
        )
    probabilities = predictor.classify(
        chip.pixels, chip.valid, chip.scales, chip.offsets, settings, chip.core
    )
    grid = chip.grid.pad(-chip.halo).coarsen(size)
    if predictor.task.kind == "tags":
        return _probability_rows(chip, grid, probabilities, model, legend)
    empty = np.isnan(probabilities).any(2)
    filled = np.where(empty[..., None], 0, probabilities)
    classes = np.where(empty, NODATA, legend.to_id()[filled.argmax(2)]).astype(np.uint8)
    confidence = np.where(empty, NODATA, (filled.max(2) * 100).round()).astype(np.uint8)
    percents = None
    if settings.probabilities:
        rounded = (filled.transpose(2, 0, 1) * 100).round()
        percents = np.where(empty, NODATA, rounded).astype(np.uint8)
    return [make_prediction_row(chip, model, legend, classes, confidence, percents, grid)]


def _probability_rows(
    chip: Chip, grid: Grid, probabilities: np.ndarray, model: ModelRef, legend: Legend
) -> list[ProbabilityRow]:
    header = _header(chip, model)
    rows = []
    for row, col in np.argwhere(~np.isnan(probabilities).any(2)).tolist():
        square = grid.window(row, col, 1, 1)
        class_probabilities = probabilities[row, col].tolist()
        for land_class, probability in zip(legend.classes, class_probabilities, strict=True):
            rows.append(
                ProbabilityRow(
                    **header,
                    grid=square,
                    class_id=land_class.id,
                    class_name=land_class.name,
                    probability=probability,
                )
            )
    return rows


def _detect(
    chip: Chip, predictor: Predictor, model: ModelRef, settings: PredictConf
) -> list[BoxRow]:
    area = _widened_core(chip)
    boxes = predictor.detect(chip.pixels, chip.valid, chip.scales, chip.offsets, settings, area)
    header = _header(chip, model)
    names = {land_class.id: land_class.name for land_class in predictor.contract.legend.classes}
    col, row = (int(number) for number in chip.tile_id.rpartition("/")[2].split("_"))
    side = chip.grid.height - 2 * chip.halo
    # In pixels of the whole tiling, the boxes of all tiles can be merged.
    x, y = col * side - chip.halo, row * side - chip.halo
    rows = []
    for number, score, left, top, right, bottom in boxes[boxes[:, 1] >= settings.score].tolist():
        rows.append(
            BoxRow(
                **header,
                class_id=int(number),
                class_name=names[int(number)],
                score=score,
                left=left + x,
                top=top + y,
                right=right + x,
                bottom=bottom + y,
            )
        )
    return rows


def _widened_core(chip: Chip) -> Area:
    # Neighbouring tiles put the centre of one object at slightly different places: boxes just
    # outside the core are kept, too, and merged later.
    rows, cols = chip.core
    margin = chip.halo // 2
    return (
        slice(rows.start - margin, rows.stop + margin),
        slice(cols.start - margin, cols.stop + margin),
    )
