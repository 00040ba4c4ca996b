"""From a chip to the map of its image, and from the map to the chip's rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lulc.inference.blocks import InferenceSpec
from lulc.chips.chip import Chip
from lulc.config import PredictConf
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.inference.image_maps import (
    BoxMap,
    ImageMap,
    PixelLayers,
    PixelMap,
    SquareMap,
    make_box_map,
    make_pixel_map,
    make_square_map,
)
from lulc.inference.predictor import Predictor
from lulc.inference.rows import BoxRow, ProbabilityRow, TableRow
from lulc.inference.windows import Area
from lulc.legend import NODATA, Legend
from lulc.maps.prediction_row import PredictionRow
from lulc.models.package import ModelRef


@dataclass(frozen=True, eq=False)
class MappedChip:
    """A chip whose image is mapped."""

    chip: Chip
    """Without its pixels."""
    area: Area
    """Rows and columns of its core in the image."""
    training_distance: float | None
    """See `PredictionRow`."""


def start_map(chip: Chip, predictor: Predictor, spec: InferenceSpec) -> ImageMap:
    """Make the empty map of a chip by itself.

    Args:
        chip: the chip.
        predictor: of the model.
        spec: how it is mapped.

    Returns:
        The map, of the kind of the model's task.

    Raises:
        InputError: the squares that the model classifies do not fill the tile.
    """
    kind, contract, settings = predictor.task.kind, predictor.contract, spec.settings
    days = [time.timetuple().tm_yday for time in chip.datetimes] if kind == "pixels" else ()
    image = predictor.prepare(chip.pixels, chip.valid, chip.scales, chip.offsets, days)
    if kind == "pixels":
        layers = make_layers(settings, contract.legend, chip.grid.shape)
        return make_pixel_map(image, contract, settings.window, chip.core, *layers)
    if kind == "boxes":
        area = _widened_core(chip)
        return make_box_map(image, contract, settings.window, area, settings.overlap)
    side = chip.grid.height - 2 * chip.halo
    if side % contract.size:
        raise InputError(
            f"tiles of {side} pixels are no multiple of the {contract.size} pixels that model "
            f"{spec.model.name} classifies at once: set tiling.size to a multiple of "
            f"{contract.size}"
        )
    return make_square_map(image, contract, chip.core)


def rows_of_chip(
    mapped: MappedChip, filled: ImageMap, predictor: Predictor, spec: InferenceSpec
) -> Sequence[TableRow]:
    """Read the rows of a chip from the map of an image that it lies in.

    Args:
        mapped: the chip.
        filled: the map.
        predictor: of the model.
        spec: how it was mapped.

    Returns:
        One PredictionRow, a ProbabilityRow for every class and square, or a BoxRow for every box.
    """
    model, settings, chip = spec.model, spec.settings, mapped.chip
    if isinstance(filled, PixelMap):
        layers = filled.cut(mapped.area)
        return [_make_prediction_row(mapped, model, predictor.contract.legend, layers)]
    if isinstance(filled, BoxMap):
        return _box_rows(chip, filled.boxes(), predictor, model, settings)
    assert isinstance(filled, SquareMap)
    return _square_rows(mapped, filled.probabilities, predictor, model, settings)


def make_layers(
    settings: PredictConf, legend: Legend, shape: tuple[int, ...]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Make the arrays for the percentages of all classes, and for the spread.

    Args:
        settings: of the prediction.
        legend: of the model.
        shape: (H, W).

    Returns:
        (K, H, W) and (H, W) uint8, filled with 255; None where the settings do not ask for them.
    """
    percents = (len(legend.classes), *shape)
    return (
        np.full(percents, NODATA, np.uint8) if settings.probabilities else None,
        np.full(shape, NODATA, np.uint8) if settings.spread else None,
    )


def _make_prediction_row(
    mapped: MappedChip,
    model: ModelRef,
    legend: Legend,
    layers: PixelLayers,
    grid: Grid | None = None,
) -> PredictionRow:
    # Of the grid, that of the chip's core where not given.
    chip = mapped.chip
    return PredictionRow(
        **_header(chip, model),
        legend=model.name,
        scene_ids=chip.scene_ids,
        grid=grid or chip.grid.pad(-chip.halo),
        class_ids=legend.ids,
        classes=layers.classes,
        confidence=layers.confidence,
        probabilities=layers.percents,
        spread=layers.spread,
        training_distance=mapped.training_distance,
    )


def _header(chip: Chip, model: ModelRef) -> dict[str, str]:
    version = f"{model.name}/{model.version}"
    return {"tile_id": chip.tile_id, "period": chip.period, "model": version}


def _square_rows(
    mapped: MappedChip,
    probabilities: np.ndarray,
    predictor: Predictor,
    model: ModelRef,
    settings: PredictConf,
) -> Sequence[PredictionRow | ProbabilityRow]:
    chip, legend, size = mapped.chip, predictor.contract.legend, predictor.contract.size
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
    layers = PixelLayers(classes, confidence, percents)
    return [_make_prediction_row(mapped, model, legend, layers, grid)]


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


def _box_rows(
    chip: Chip, boxes: np.ndarray, predictor: Predictor, model: ModelRef, settings: PredictConf
) -> list[BoxRow]:
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
