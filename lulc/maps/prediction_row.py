"""A row of the predictions table, and of the refined one: the classes of one tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lulc.geo.grid import Grid
from lulc.legend import NODATA
from lulc.maps.uncertainty import BANDS, measure_uncertainty
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
    spread: np.ndarray | None = None
    """(H, W) uint8 percent, 255 where there is no class, where it is kept: the standard deviation
    of the probability of the class over several models, or mirror images."""
    training_distance: float | None = None
    """From what the model learned from, in standard deviations; None where it is not known."""

    @property
    def valid_pixels(self) -> int:
        """Pixels that have a class."""
        return int(np.count_nonzero(self.classes != NODATA))

    def to_row(self) -> dict[str, Any]:
        """Return the row of the table, with the counts of classes and confidences."""
        pairs = _count_pairs(self.classes, self.confidence)
        counts = pairs.sum(1)
        return {
            "tile_id": self.tile_id,
            "period": self.period,
            "model": self.model,
            "legend": self.legend,
            "scene_ids": list(self.scene_ids),
            **arrays.grid_columns(self.grid),
            **arrays.array_columns("classes", self.classes, "raw"),
            **arrays.array_columns("confidence", self.confidence, "raw"),
            **_optional_array("probabilities", self.probabilities),
            **_optional_array("spread", self.spread),
            **self._uncertainty_columns(),
            "training_distance": self.training_distance,
            "class_ids": list(self.class_ids),
            "class_counts": [int(counts[class_id]) for class_id in self.class_ids],
            **arrays.array_columns("percent_counts", _of_ids(pairs, self.class_ids), "raw"),
            "nodata_count": int(counts[NODATA]),
        }

    def _uncertainty_columns(self) -> dict[str, Any]:
        # The means are over the pixels that have a class.
        has_class = self.classes != NODATA
        measured: dict[str, np.ndarray] = {}
        if self.probabilities is not None:
            measured = dict(zip(BANDS, measure_uncertainty(self.probabilities), strict=True))
        entropy, sums = measured.get("entropy"), None
        if entropy is not None:
            by_class = np.bincount(self.classes.ravel(), entropy.ravel(), 256)
            sums = [int(by_class[class_id]) for class_id in self.class_ids]
        if self.spread is not None:
            measured["spread"] = self.spread
        return (
            _optional_array("entropy", entropy)
            | {"entropy_sums": sums}
            | {
                f"mean_{name}": float(measured[name][has_class].mean()) / 100
                if name in measured and has_class.any()
                else None
                for name in (*BANDS, "spread")
            }
        )


def _optional_array(name: str, array: np.ndarray | None) -> dict[str, Any]:
    if array is None:
        return dict.fromkeys(f"{name}{suffix}" for suffix in ("", "_shape", "_dtype", "_codec"))
    return arrays.array_columns(name, array, "raw")


def count_percents(classes: np.ndarray, confidence: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Count the pixels of each class that are mapped with each percent of confidence.

    Args:
        classes: (H, W) uint8 legend ids, 255 where there is none.
        confidence: (H, W) uint8 percent, 255 where there is no class.
        ids: the K legend ids.

    Returns:
        (K, 101) uint32.
    """
    return _of_ids(_count_pairs(classes, confidence), ids)


def _of_ids(pairs: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    return np.ascontiguousarray(pairs[list(ids), :101], np.uint32)


def _count_pairs(classes: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    # (256, 256) pixels of each class id and percent.
    pairs = (classes.astype(np.intp) << 8 | confidence).ravel()
    return np.bincount(pairs, minlength=1 << 16).reshape(256, 256)
