"""Which windows of chips become samples: labels scanned, blocks split, leakage audited."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from lulc.errors import InputError
from lulc.geo.grid import WGS84, project
from lulc.samples import leakage, splits
from lulc.samples.from_chips import SampleSpec, deal_windows, window_key
from lulc.samples.labels import bounds_of_labels
from lulc.samples.leakage import AuditedSample
from lulc.samples.splits import SPLITS, Fence, SplitCell
from lulc.samples.table import sample_id

type Row = dict[str, Any]
type Scan = Callable[[list[Row], str], list[Row]]
"""Returns the LABEL_SCAN rows of keys (see `scan_labels`); the text labels the progress bar."""


@dataclass(frozen=True)
class _Losses:
    """What labels and windows do not become samples."""

    unlabelled_windows: int
    poor_windows: int
    buffer_pixels: int
    unobserved_pixels: int
    conflicting_pixels: int

    def notes(self) -> list[str]:
        texts = {
            "windows without a label": self.unlabelled_windows,
            "windows with too few": self.poor_windows,
            "pixels within the buffer": self.buffer_pixels,
            "pixels without imagery": self.unobserved_pixels,
            "pixels of contradicting polygons": self.conflicting_pixels,
        }
        return [f"{count:,} {text} left out" for text, count in texts.items() if count]


def plan_windows(spec: SampleSpec, paths: Sequence[str], scan: Scan) -> tuple[list[Row], str]:
    """Choose the windows that become samples, and their splits.

    Labels within the buffer of another split's block are dropped.

    Args:
        spec: labels, legend, tiling and settings of the samples.
        paths: chips files, relative to the output location.
        scan: scans labels, here or on workers.

    Returns:
        LABEL_SCAN rows with `split`, `fences` and, of the training split, `weight`; and a note for
        the user on what each split has and what was left out.

    Raises:
        InputError: no label is left to train on, or splits leak.
    """
    samples = spec.samples
    rows = scan([{"path": path, "windows": []} for path in paths], "labels")
    labelled = [row for row in rows if sum(row["counts"])]
    if not any(sum(row["counts"]) + row["unobserved"] + row["conflicts"] for row in rows):
        raise InputError(_explain_no_label(spec, rows))
    split_of = splits.assign(_counts_by_block(labelled, spec), samples)
    metres = splits.pixel_metres(spec.tiling, split_of, samples)
    fences_of = splits.find_fences(split_of, metres, samples)
    fenced = _scan_fenced(labelled, fences_of, spec, scan)
    final = [fenced.get(_window_id(row), row) for row in labelled]
    min_pixels = max(1, samples.min_labelled * samples.size**2)
    windows = []
    for row in final:
        if sum(row["counts"]) >= min_pixels:
            block = _block(row, spec)
            windows.append({**row, "split": split_of[block], "fences": fences_of.get(block, [])})
    leakage.audit([_audited(row, samples.size) for row in windows], metres, samples)
    _weigh_training(windows, spec)
    conflicts = {(row["path"], row["row_group"]): row["conflicts"] for row in rows}
    losses = _Losses(
        unlabelled_windows=len(rows) - len(labelled),
        poor_windows=len(labelled) - len(windows),
        buffer_pixels=_labelled_pixels(labelled) - _labelled_pixels(final),
        unobserved_pixels=sum(row["unobserved"] for row in rows),
        conflicting_pixels=sum(conflicts.values()),
    )
    return windows, _describe(windows, losses, spec)


def window_files(windows: Sequence[Row], spec: SampleSpec, fingerprint: str) -> list[Row]:
    """Deal windows to samples files.

    Args:
        windows: as `plan_windows` returns them.
        spec: size and seed of the samples.
        fingerprint: of the samples table.

    Returns:
        Keys of `write_samples`.
    """
    keys = []
    for split in SPLITS:
        of_split = [row for row in windows if row["split"] == split]
        for number, rows in enumerate(deal_windows(of_split, spec.samples)):
            key = {"split": split, "name": f"{number:05d}", "fingerprint": fingerprint}
            keys.append({**key, "windows": [window_key(row, row["fences"]) for row in rows]})
    return keys


def _counts_by_block(labelled: Sequence[Row], spec: SampleSpec) -> dict[SplitCell, np.ndarray]:
    classes = len(spec.legend.classes)
    counts: dict[SplitCell, np.ndarray] = defaultdict(lambda: np.zeros(classes, np.int64))
    for row in labelled:
        counts[_block(row, spec)] += row["counts"]
    return counts


def _scan_fenced(
    labelled: Sequence[Row],
    fences_of: Mapping[SplitCell, list[Fence]],
    spec: SampleSpec,
    scan: Scan,
) -> dict[tuple[str, int, int, int], Row]:
    # What windows near another split hold once their labels keep off its blocks.
    windows_of = defaultdict(list)
    for row in labelled:
        fences = fences_of.get(_block(row, spec))
        if fences:
            windows_of[row["path"]].append(window_key(row, fences))
    keys = [{"path": path, "windows": windows} for path, windows in windows_of.items()]
    return {_window_id(row): row for row in scan(keys, "buffer")}


def _explain_no_label(spec: SampleSpec, rows: Sequence[Row]) -> str:
    tiles = {spec.tiling.parse(row["tile_id"]) for row in rows}
    corners = [spec.tiling.grid(*tile).bounds for tile in tiles]
    tiles_box = shapely.box(*shapely.total_bounds(shapely.box(*np.transpose(corners))))
    of_tiles = project(tiles_box, spec.tiling.crs, WGS84).bounds
    of_labels = bounds_of_labels(spec.labels)
    return (
        f"labels {spec.labels.path} give no pixel of {len(tiles)} tiles a class: they lie at "
        f"{_degrees(of_labels)}, the tiles at {_degrees(of_tiles)}; give labels of the same place, "
        "or correct the CRS that their file says"
    )


def _degrees(bounds: tuple[float, float, float, float] | None) -> str:
    if bounds is None:
        return "no place"
    west, south, east, north = bounds
    return f"longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"


def _weigh_training(windows: Sequence[Row], spec: SampleSpec) -> None:
    training = [row for row in windows if row["split"] == "train"]
    counts = np.array([row["counts"] for row in training])
    blocks = [_block(row, spec) for row in training]
    weights = splits.balance_weights(counts, blocks, spec.samples.balance).tolist()
    for row, weight in zip(training, weights, strict=True):
        row["weight"] = weight


def _block(row: Mapping[str, Any], spec: SampleSpec) -> SplitCell:
    return splits.split_cell(row["col"], row["row"], spec.samples)


def _window_id(row: Mapping[str, Any]) -> tuple[str, int, int, int]:
    return row["path"], row["row_group"], row["col"], row["row"]


def _labelled_pixels(rows: Sequence[Row]) -> int:
    return sum(sum(row["counts"]) for row in rows)


def _audited(row: Mapping[str, Any], size: int) -> AuditedSample:
    extent = None
    if row["extent"] is not None:
        extent = np.frombuffer(row["extent"], np.int16).reshape(2, size)
    return AuditedSample(sample_id(row), row["split"], row["col"], row["row"], extent)


def _describe(windows: Sequence[Row], losses: _Losses, spec: SampleSpec) -> str:
    names = [c.name for c in spec.legend.classes]
    counts = {split: np.zeros(len(names), np.int64) for split in SPLITS}
    for row in windows:
        counts[row["split"]] += row["counts"]
    samples_of = Counter(row["split"] for row in windows)
    notes = []
    for split in SPLITS:
        pairs = zip(names, counts[split], strict=True)
        classes = ", ".join(f"{name} {count:,}" for name, count in pairs if count)
        notes.append(f"{split} {samples_of[split]:,} samples ({classes or 'no label'})")
    text = "; ".join([*notes, *losses.notes()])
    if not counts["train"].any():
        raise InputError(
            f"no labelled pixel is left to train on: {text}; "
            "check labels, samples.min_labelled and samples.buffer"
        )
    absent = [name for name, count in zip(names, counts["train"], strict=True) if not count]
    return text + (f"; WARNING: no training label of {', '.join(absent)}" if absent else "")
