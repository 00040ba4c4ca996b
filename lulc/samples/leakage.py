"""The leakage audit: labels of different splits are disjoint and at least `buffer` metres apart.

It looks at where labels lie, not at how the splits were made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from shapely.geometry.base import BaseGeometry

from lulc.config import SampleConf
from lulc.errors import InputError
from lulc.geo.antimeridian import narrow_bounds
from lulc.geo.grid import WGS84, transformer
from lulc.location import Location
from lulc.samples.splits import SPLITS, Metres, SplitCell, shorter_sides, split_cell
from lulc.tables import store

_REMEDY = (
    "the same ground would be learned and tested; rebuild the samples table with `lulc samples`"
)


@dataclass(frozen=True)
class AuditedSample:
    """A sample of the lattice, and where its labels lie."""

    sample_id: str
    split: str
    col: int
    row: int
    extent: np.ndarray | None = None
    """(2, size) first and last labelled column of each row, last < first in rows without a label;
    None: labels may lie anywhere in the sample."""


def extent_of(label: np.ndarray, nodata: int) -> np.ndarray:
    """Return where the labels of each row lie.

    Args:
        label: (size, size) class ids.
        nodata: the id of pixels without a label.

    Returns:
        (2, size) int16, the first and last labelled column; (size, -1) in rows without a label.
    """
    labelled = label != nodata
    size = label.shape[1]
    first = np.where(labelled.any(1), labelled.argmax(1), size)
    last = np.where(labelled.any(1), size - 1 - labelled[:, ::-1].argmax(1), -1)
    return np.stack([first, last]).astype(np.int16)


def audit(
    audited: Sequence[AuditedSample],
    metres: Mapping[SplitCell, Metres],
    samples: SampleConf,
) -> None:
    """Check that the splits of a lattice of samples are apart.

    A sample id occurs once; a window of the lattice is in one split; labels of different splits are
    at least the buffer apart, measured between the nearest edges of their pixels.

    Args:
        audited: the samples of all splits.
        metres: sides of a pixel on the ground at every spatial block.
        samples: size of a sample and the buffer.

    Raises:
        InputError: names two samples that leak.
    """
    _check_windows(audited)
    if samples.buffer and audited:
        _check_buffer(audited, metres, samples)


def _check_buffer(
    audited: Sequence[AuditedSample],
    metres: Mapping[SplitCell, Metres],
    samples: SampleConf,
) -> None:
    boxes = np.array([_box(sample, samples.size) for sample in audited])
    has_label = boxes[:, 2] > boxes[:, 0]
    splits = np.array([sample.split for sample in audited])
    shortest = np.min(np.array(list(metres.values())), axis=0)
    reach = np.append(-(samples.buffer / shortest), samples.buffer / shortest)
    for held_out in SPLITS[1:]:
        inner = np.flatnonzero((splits == held_out) & has_label)
        outer = np.flatnonzero((splits != held_out) & has_label)
        tree = shapely.STRtree(shapely.box(*boxes[inner].T))
        for i, j in tree.query(shapely.box(*(boxes[outer] + reach).T)).T:
            a, b = audited[int(inner[j])], audited[int(outer[i])]
            distance = _distance(a, b, metres, samples)
            if distance < samples.buffer:
                raise InputError(
                    f"samples {a.sample_id} ({a.split}) and {b.sample_id} ({b.split}) "
                    f"have labels {distance:.1f} m apart, "
                    f"nearer than samples.buffer {samples.buffer:g} m: {_REMEDY}"
                )


def _check_windows(audited: Sequence[AuditedSample]) -> None:
    splits: dict[str, str] = {}
    windows: dict[tuple[int, int], AuditedSample] = {}
    for sample in audited:
        if sample.sample_id in splits:
            raise InputError(
                f"sample {sample.sample_id} occurs twice, in {splits[sample.sample_id]} and "
                f"{sample.split}: {_REMEDY}"
            )
        splits[sample.sample_id] = sample.split
        first = windows.setdefault((sample.col, sample.row), sample)
        if first.split != sample.split:
            raise InputError(
                f"samples {first.sample_id} ({first.split}) and {sample.sample_id} "
                f"({sample.split}) share one window of the lattice: {_REMEDY}"
            )


def audit_ground(out: Location, buffer: float, published: Collection[str] = ()) -> dict[str, int]:
    """Check that no samples of different splits cover the same ground.

    It compares the footprints of all samples of the table that have one, whatever the dataset.
    Windows of the run's own chips may touch: their labels are kept apart, which `audit` checks.

    Args:
        out: the output location.
        buffer: least distance in metres.
        published: datasets that keep their publisher's split. Without a buffer their samples may
            overlap each other.

    Returns:
        Dataset → pairs of its samples that overlap across its published split.

    Raises:
        InputError: names two samples of different splits that overlap or are nearer than `buffer`.
    """
    overlaps = Counter[str]()
    table = _read_footprints(out)
    ids, splits = table["sample_id"].to_pylist(), table["split"].to_pylist()
    datasets, sources = table["dataset"].to_pylist(), table["source"].to_pylist()
    # A published example has its dataset as its source, a window of the run's own chips has not.
    of_chips = [source != dataset for source, dataset in zip(sources, datasets, strict=True)]
    footprints = shapely.from_wkb(table["footprint"].to_pylist())
    for a, b in _near_pairs(footprints, np.array(splits), buffer):
        if of_chips[a] and of_chips[b]:
            continue
        gap = _gap(footprints[a], footprints[b])
        if gap < 0 and not buffer and datasets[a] == datasets[b] in published:
            overlaps[datasets[a]] += 1
        elif gap < buffer or gap < 0:
            relation = (
                f"{max(gap, 0):.1f} m apart, nearer than samples.buffer {buffer:g} m"
                if buffer
                else "on the same ground"
            )
            raise InputError(
                f"samples {ids[a]} ({splits[a]}) and {ids[b]} ({splits[b]}) are {relation}: "
                f"{_REMEDY} after setting datasets.splits to blocks, or another buffer"
            )
    return dict(overlaps)


def _read_footprints(out: Location) -> pa.Table:
    folder = store.table_folder(out, "samples")
    dataset = store.open_dataset(folder)
    table = dataset.to_table(["sample_id", "split", "source", "dataset", "footprint"])
    return table.filter(pc.is_valid(table["footprint"]))


def _near_pairs(
    footprints: np.ndarray, splits: np.ndarray, buffer: float
) -> Iterator[tuple[int, int]]:
    # Pairs of samples whose boxes are nearer than the buffer, the first in a split held out, the
    # second in another one.
    for held_out in SPLITS[1:]:
        inner, outer = np.flatnonzero(splits == held_out), np.flatnonzero(splits != held_out)
        tree = shapely.STRtree(footprints[inner])
        for i, j in zip(*tree.query(_grown_boxes(footprints[outer], buffer)), strict=True):
            yield int(inner[j]), int(outer[i])


def is_near(footprints: np.ndarray, others: np.ndarray, buffer: float) -> np.ndarray:
    """Return which footprints overlap any of the others or are nearer to one than the buffer.

    Args:
        footprints: (N,) geometries in degrees (EPSG:4326), None where unknown.
        others: (M,) geometries in degrees.
        buffer: in metres.

    Returns:
        (N,) bool.
    """
    too_close = np.zeros(len(footprints), bool)
    located = np.flatnonzero(~shapely.is_missing(footprints))
    if located.size and len(others):
        boxes = _grown_boxes(footprints[located], buffer)
        for i, j in zip(*shapely.STRtree(others).query(boxes), strict=True):
            n = located[i]
            if not too_close[n]:
                gap = _gap(footprints[n], others[j])
                too_close[n] = gap < buffer or gap < 0
    return too_close


def _grown_boxes(footprints: np.ndarray, buffer: float) -> np.ndarray:
    # Boxes in degrees that hold all that is nearer than the buffer in metres.
    west, south, east, north = shapely.bounds(footprints).reshape(-1, 4).T
    along = buffer / 110_000
    latitude = np.minimum(np.maximum(abs(south), abs(north)) + along, 89.9)
    across = along / np.maximum(np.cos(np.radians(latitude)), 1e-3)
    # What is near beyond 180 lies at the other end.
    crosses = (west - across < -180) | (east + across > 180)
    west, east = np.where(crosses, -180, west), np.where(crosses, 180, east)
    return np.asarray(shapely.box(west - across, south - along, east + across, north + along))


def _gap(a: BaseGeometry, b: BaseGeometry) -> float:
    """Return the metres between two footprints in degrees, in a plane about the first.

    Below 0 where they overlap.
    """
    west, south, east, north = narrow_bounds(a)
    lon, lat = (west + east) / 2, (south + north) / 2
    forward = transformer(WGS84, f"+proj=aeqd +lat_0={lat:.6f} +lon_0={lon:.6f} +units=m").transform
    flat = [shapely.transform(s, lambda xy: np.column_stack(forward(*xy.T))) for s in (a, b)]
    distance = float(shapely.distance(*flat))
    if distance:
        return distance
    # Neighbours that touch share a seam as thin as the rounding of their corners. Two samples known
    # as points may be at one point.
    seam = 0.01 * min(shape.area for shape in flat)
    return -1.0 if shapely.intersection(*flat).area > seam or a.equals(b) else 0.0


def _labelled_rows(sample: AuditedSample, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Row, first and last labelled column, in pixels of the tiling, of each row with labels.
    first, last = (
        np.array([[0] * size, [size - 1] * size])
        if sample.extent is None
        else sample.extent.astype(np.int64)
    )
    labelled = last >= first
    return (
        sample.row * size + np.flatnonzero(labelled),
        sample.col * size + first[labelled],
        sample.col * size + last[labelled],
    )


def _box(sample: AuditedSample, size: int) -> tuple[int, int, int, int]:
    # Left, top, right, bottom of the labels in pixels of the tiling; empty without labels.
    rows, first, last = _labelled_rows(sample, size)
    if not rows.size:
        return 0, 0, 0, 0
    return int(first.min()), int(rows.min()), int(last.max()) + 1, int(rows.max()) + 1


def _distance(
    a: AuditedSample,
    b: AuditedSample,
    metres: Mapping[SplitCell, Metres],
    samples: SampleConf,
) -> float:
    # Metres between the nearest edges of labelled pixels.
    cell_a, cell_b = (split_cell(s.col, s.row, samples) for s in (a, b))
    side_x, side_y = shorter_sides(metres[cell_a], metres[cell_b])
    rows_a, first_a, last_a = _labelled_rows(a, samples.size)
    rows_b, first_b, last_b = _labelled_rows(b, samples.size)
    columns = np.maximum(first_b[None] - last_a[:, None], first_a[:, None] - last_b[None])
    gap_x = np.maximum(columns - 1, 0) * side_x
    gap_y = np.maximum(np.abs(rows_a[:, None] - rows_b[None]) - 1, 0) * side_y
    return float(np.hypot(gap_x, gap_y).min())
