"""Samples from the run's own labels: windows of chips, each with its label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from lulc.config import LabelConf, Period, SampleConf
from lulc.geo.batches import footprints
from lulc.geo.grid import Grid
from lulc.geo.tiling import Tiling
from lulc.legend import NODATA, Legend
from lulc.location import Location
from lulc.samples import splits, table
from lulc.samples.labels import read_labels_counting
from lulc.samples.leakage import extent_of
from lulc.samples.points import draw_points, load_points
from lulc.samples.splits import Fence
from lulc.samples.table import SampleRow, count_classes, sample_id
from lulc.tables import arrays, store
from lulc.tables.encoding import Encoding, known_units, recode
from lulc.tables.files import open_parquet
from lulc.tables.ledger import LedgerRow, row_of_file

LABEL_SCAN = pa.schema(
    [
        # Of the chips file, relative to the output location.
        pa.field("path", pa.string()),
        pa.field("row_group", pa.int32()),
        pa.field("tile_id", pa.string()),
        pa.field("period", pa.string()),
        # Of the lattice of samples.
        pa.field("col", pa.int32()),
        pa.field("row", pa.int32()),
        # Labelled pixels, parallel to the legend.
        pa.field("counts", pa.list_(pa.int64())),
        # Labelled pixels left out because no date is valid there.
        pa.field("unobserved", pa.int64()),
        # Pixels of the whole tile left out because polygons or points contradict.
        pa.field("conflicts", pa.int64()),
        # Size of a sample's arrays.
        pa.field("bytes", pa.int64()),
        # leakage.extent_of the label; null where there is no fence.
        pa.field("extent", pa.binary()),
    ]
)
"""What scanning the labels tells of each window of the chips."""


@dataclass(frozen=True)
class SampleSpec:
    """What samples are made from and how; the same for every worker."""

    out: Location
    dataset: str
    """Name of the run, the samples' dataset."""
    tiling: Tiling
    legend: Legend
    labels: LabelConf
    samples: SampleConf
    encoding: Encoding | None = None
    """Of the table, where it is not the chips'."""
    task: str = "segment"
    periods: tuple[Period, ...] = (Period("all"),)
    points: Location | None = None
    """The labels' points, as `points.write_points` left them; None where they are no points."""


class _Window(NamedTuple):
    """A sample's window in a tile."""

    col: int
    """Of the lattice of samples."""
    row: int
    y: int
    """First row of pixels in the tile's core."""
    x: int
    """First column of pixels in the tile's core."""


@dataclass(frozen=True, eq=False)
class _TileLabel:
    """Label of a tile's core."""

    label: np.ndarray
    """(H, W) uint8 legend ids, 255 without a label and where no date is valid."""
    unobserved: np.ndarray
    """(H, W) bool: labelled, but no date is valid."""
    conflicts: int
    """Pixels left out because polygons or points contradict."""


def scan_labels(key: Mapping[str, Any], spec: SampleSpec) -> list[dict[str, Any]]:
    """Return what the windows of a chips file hold.

    Args:
        key: `path` of the chips file, and `windows`, made by `window_key`; no windows: all of the
            file, without fences.
        spec: labels, and size of a sample.

    Returns:
        A LABEL_SCAN row for every window.
    """
    path = spec.out / key["path"]
    fences_of = {(w["row_group"], w["col"], w["row"]): _fences(w) for w in key["windows"]}
    groups: Sequence[int] = sorted({group for group, _, _ in fences_of})
    rows = []
    if not groups:
        with store.table_guard(path):
            groups = range(open_parquet(path).metadata.num_row_groups)
    chips = store.read_rows(path, _LABEL_COLUMNS, groups)
    for group, chip in zip(groups, chips, strict=True):
        tile = _label_tile(chip, spec)
        for window in _windows(chip["tile_id"], tile.label.shape, spec):
            window_id = (group, window.col, window.row)
            if not fences_of or window_id in fences_of:
                row = _scan_window(chip, tile, window, fences_of.get(window_id, []), spec)
                rows.append({"path": key["path"], "row_group": group, **row})
    return rows


def _scan_window(
    chip: Mapping[str, Any],
    tile: _TileLabel,
    window: _Window,
    fences: Sequence[Fence],
    spec: SampleSpec,
) -> dict[str, Any]:
    size = spec.samples.size
    label = _window_label(tile, window, fences, spec)
    unobserved = tile.unobserved[window.y : window.y + size, window.x : window.x + size]
    return {
        "tile_id": chip["tile_id"],
        "period": chip["period"],
        "col": window.col,
        "row": window.row,
        "counts": count_classes(label, "segment", spec.legend),
        "unobserved": int(unobserved.sum()),
        "conflicts": tile.conflicts,
        "bytes": _sample_bytes(chip, size),
        "extent": extent_of(label, NODATA).tobytes() if fences else None,
    }


def _sample_bytes(chip: Mapping[str, Any], size: int) -> int:
    dates, bands, _, _ = chip["pixels_shape"]
    pixel_bytes = dates * bands * np.dtype(chip["pixels_dtype"]).itemsize
    label_bytes = 1
    return int(size * size * (pixel_bytes + label_bytes) + dates * size * size // 8)


def write_samples(key: Mapping[str, Any], spec: SampleSpec) -> list[LedgerRow]:
    """Write one samples file, unless it is there already.

    Args:
        key: `split`, `name` and `fingerprint` of the file, and its `windows` in their order, made
            by `window_key`.
        spec: what samples are made from.

    Returns:
        The file's ledger row.
    """
    location = spec.out / table.file_path(key["split"], key["name"], key["fingerprint"])
    if location.is_file():
        footer = store.read_footer(location)
    else:
        rows = _cut_windows(key["windows"], spec)
        footer = table.publish_rows(spec.out, key, rows, spec.legend)
    return [row_of_file(spec.out, footer)]


def _cut_windows(windows: Sequence[Mapping[str, Any]], spec: SampleSpec) -> list[dict[str, Any]]:
    # Rows in the order of the windows; each chip is read once.
    positions_of: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, window in enumerate(windows):
        positions_of[window["path"]][window["row_group"]].append(position)
    rows: dict[int, dict[str, Any]] = {}
    for path, by_group in positions_of.items():
        chips = store.read_rows(spec.out / path, row_groups=list(by_group))
        for positions, chip in zip(by_group.values(), chips, strict=True):
            chip_rows = cut_samples(chip, [windows[position] for position in positions], spec)
            rows |= zip(positions, chip_rows, strict=True)
    return [rows[position] for position in sorted(rows)]


def cut_samples(
    chip: Mapping[str, Any], windows: Sequence[Mapping[str, Any]], spec: SampleSpec
) -> list[dict[str, Any]]:
    """Cut samples out of a chip.

    Args:
        chip: a row of the chips table.
        windows: of the chip, made by `window_key`.
        spec: labels, and size and encoding of the samples.

    Returns:
        A row of the samples table for every window: pixels (T, C, size, size), label (size, size).
    """
    tile = _label_tile(chip, spec)
    encoding = spec.encoding or chip_encoding(chip)
    pixels = recode(arrays.array_from(chip, "pixels"), chip_encoding(chip), encoding)
    valid, grid = _valid_of(chip), arrays.grid_from(chip)
    size = spec.samples.size
    corners = {
        (window.col, window.row): window
        for window in _windows(chip["tile_id"], tile.label.shape, spec)
    }
    in_chip = [corners[key["col"], key["row"]] for key in windows]
    grids = [grid.window(w.y + chip["halo"], w.x + chip["halo"], size, size) for w in in_chip]
    rows = []
    for key, window, window_grid, outline in zip(
        windows, in_chip, grids, footprints(grids), strict=True
    ):
        label = _window_label(tile, window, _fences(key), spec)
        top, left = window.y + chip["halo"], window.x + chip["halo"]
        area = np.s_[..., top : top + size, left : left + size]
        block = splits.split_cell(window.col, window.row, spec.samples)
        sample = SampleRow(
            sample_id=sample_id({**chip, **key}),
            tile_id=chip["tile_id"],
            period=chip["period"],
            source=chip["source"],
            scene_ids=chip["scene_ids"],
            datetimes=chip["datetimes"],
            georeference=arrays.grid_columns(window_grid, outline),
            encoding=encoding,
            pixels=pixels[area],
            valid=valid[area],
            label=label,
            dataset=spec.dataset,
            task=spec.task,
            legend=spec.legend,
            block="{}_{}".format(*block),
            class_counts=count_classes(label, "segment", spec.legend),
            weight=key["weight"],
        )
        rows.append(sample.to_row())
    return rows


def chip_encoding(chip: Mapping[str, Any]) -> Encoding:
    """Return the encoding of a row of the chips table."""
    return Encoding(
        tuple(chip["bands"]),
        chip["pixels_dtype"],
        tuple(chip["scales"]),
        tuple(chip["offsets"]),
        known_units(chip),
    )


def _label_tile(chip: Mapping[str, Any], spec: SampleSpec) -> _TileLabel:
    halo = chip["halo"]
    core = arrays.grid_from(chip).pad(-halo)
    label, conflicts = _read_label(chip, core, spec)
    observed = _valid_of(chip).any(0)[halo : halo + core.height, halo : halo + core.width]
    unobserved = (label != NODATA) & ~observed
    return _TileLabel(np.where(observed, label, NODATA).astype(np.uint8), unobserved, conflicts)


def _read_label(chip: Mapping[str, Any], core: Grid, spec: SampleSpec) -> tuple[np.ndarray, int]:
    if spec.labels.points is None:
        return read_labels_counting(spec.labels, spec.legend, core)
    assert spec.points is not None
    period = next(period for period in spec.periods if period.name == chip["period"])
    cell = spec.tiling.parse(chip["tile_id"])
    radius = spec.labels.points.radius
    return draw_points(load_points(spec.points), period, spec.tiling, cell, radius)


def window_key(row: Mapping[str, Any], fences: Iterable[Fence]) -> dict[str, Any]:
    """Return a window as it is sent to workers.

    Args:
        row: a LABEL_SCAN row; its `weight`, 1 where it has none.
        fences: of the window's block.
    """
    return {
        "path": row["path"],
        "row_group": row["row_group"],
        "col": row["col"],
        "row": row["row"],
        "weight": row.get("weight", 1.0),
        "fences": [
            [float(n) for n in (f.left, f.top, f.right, f.bottom, *f.metres)] for f in fences
        ],
    }


def _fences(window: Mapping[str, Any]) -> list[Fence]:
    return [
        Fence(int(left), int(top), int(right), int(bottom), (metres_x, metres_y))
        for left, top, right, bottom, metres_x, metres_y in window["fences"]
    ]


_LABEL_COLUMNS = (
    "tile_id",
    "period",
    "crs",
    "transform",
    "height",
    "width",
    "halo",
    "pixels_shape",
    "pixels_dtype",
    "valid",
)
"""The columns of a chip that its labels need: all but the pixels."""


def _valid_of(chip: Mapping[str, Any]) -> np.ndarray:
    dates, _, height, width = chip["pixels_shape"]
    return np.asarray(arrays.unpack(chip["valid"], (dates, height, width)))


def _windows(tile_id: str, shape: tuple[int, ...], spec: SampleSpec) -> Iterator[_Window]:
    # The windows of a tile whose core has this shape, by rows.
    size = spec.samples.size
    tile_col, tile_row = spec.tiling.parse(tile_id)
    rows, cols = shape[0] // size, shape[1] // size
    for row in range(rows):
        for col in range(cols):
            yield _Window(tile_col * cols + col, tile_row * rows + row, row * size, col * size)


def _window_label(
    tile: _TileLabel, window: _Window, fences: Sequence[Fence], spec: SampleSpec
) -> np.ndarray:
    # (size, size) uint8: the tile's label in the window, without what is too near to a fence.
    size = spec.samples.size
    label = tile.label[window.y : window.y + size, window.x : window.x + size]
    if not fences:
        return label
    outside = splits.outside_fences(window.col, window.row, fences, spec.samples)
    return np.where(outside, label, NODATA).astype(np.uint8)
