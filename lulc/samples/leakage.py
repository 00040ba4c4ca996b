"""The leakage audit: no ground is both learned and tested, nor nearer to it than the buffer. It sees only where labels lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds
import shapely
from shapely.geometry.base import BaseGeometry

from lulc.config import SampleConf
from lulc.errors import InputError
from lulc.geo.grid import WGS84, transformer
from lulc.samples.splits import SPLITS, Metres, SplitCell, least, split_cell
from lulc.tables import store

_REMEDY = (
    "the same ground would be learned and tested; rebuild the samples table with `lulc samples`"
)


@dataclass(frozen=True)
class Place:
    """Where a sample's labels lie.

    extent: (2, size) first and last labelled column of each row (last < first where there is none); None: it may be anywhere.
    """

    sample_id: str
    split: str
    col: int
    row: int
    extent: np.ndarray | None = None


def extent_of(label: np.ndarray, nodata: int) -> np.ndarray:
    """(2, size) int16: the first and last labelled column of each row of a label; (size, -1) in rows without a label."""
    labelled = label != nodata
    size = label.shape[1]
    first = np.where(labelled.any(1), labelled.argmax(1), size)
    last = np.where(labelled.any(1), size - 1 - labelled[:, ::-1].argmax(1), -1)
    return np.stack([first, last]).astype(np.int16)


def audit(places: Sequence[Place], metres: Mapping[SplitCell, Metres], conf: SampleConf) -> None:
    """Nothing when the splits are apart; else InputError naming a pair of samples that leak.

    A sample id stands once; a place of the lattice in one split; labels of different splits are at least the buffer apart,
    measured between the nearest edges of their pixels. What `assign` and `fences` decided is not looked at.
    """
    seen: dict[str, str] = {}
    homes: dict[SplitCell, Place] = {}
    for place in places:
        if place.sample_id in seen:
            raise InputError(
                f"sample {place.sample_id} stands twice, in {seen[place.sample_id]} and {place.split}: {_REMEDY}"
            )
        seen[place.sample_id] = place.split
        first = homes.setdefault((place.col, place.row), place)
        if first.split != place.split:
            raise InputError(
                f"samples {first.sample_id} ({first.split}) and {place.sample_id} ({place.split}) are one place: {_REMEDY}"
            )
    if not conf.buffer or not places:
        return
    boxes = np.array([_box(p, conf.size) for p in places])
    names = np.array([p.split for p in places])
    shortest = np.min(np.array(list(metres.values())), axis=0)
    for held_out in SPLITS[1:]:
        other = np.flatnonzero((names != held_out) & (boxes[:, 2] > boxes[:, 0]))
        mine = np.flatnonzero((names == held_out) & (boxes[:, 2] > boxes[:, 0]))
        reach = np.append(-(conf.buffer / shortest), conf.buffer / shortest)
        tree = shapely.STRtree(shapely.box(*boxes[mine].T))
        for a, b in tree.query(shapely.box(*(boxes[other] + reach).T)).T:
            one, two = places[int(mine[b])], places[int(other[a])]
            apart = _distance(one, two, metres, conf)
            if apart < conf.buffer:
                raise InputError(
                    f"samples {one.sample_id} ({one.split}) and {two.sample_id} ({two.split}) have labels {apart:.1f} m apart, "
                    f"nearer than samples.buffer {conf.buffer:g} m: {_REMEDY}"
                )


def audit_ground(out: Path, buffer: float, published: Collection[str] = ()) -> dict[str, int]:
    """InputError names two samples of different splits that lie on the same ground, or nearer than `buffer` metres.

    It sees all samples of the table that say where they lie, whatever the dataset. Without a buffer, a dataset whose publisher
    split it (`published`) keeps its split: what comes back is how many pairs of samples on the same ground each of these has.
    """
    leaks = Counter[str]()
    found = ds.dataset(store.table_folder(out, "samples"), format="parquet", partitioning="hive")
    table = found.to_table(["sample_id", "split", "tile_id", "source", "dataset", "footprint"])
    table = table.filter(pc.is_valid(table["footprint"]))
    ids, names = table["sample_id"].to_pylist(), np.array(table["split"].to_pylist())
    # Windows of the run's own chips keep their labels, not their outlines, apart: `audit` sees to them.
    names_of = table["dataset"].to_pylist()
    own = np.array(
        [
            source != name
            for source, name in zip(table["source"].to_pylist(), names_of, strict=True)
        ],
        bool,
    )
    shapes = shapely.from_wkb(table["footprint"].to_pylist())
    for held_out in SPLITS[1:]:
        mine, other = np.flatnonzero(names == held_out), np.flatnonzero(names != held_out)
        tree = shapely.STRtree(shapes[mine])
        for a, b in zip(*tree.query(_grown(shapes[other], buffer)), strict=True):
            one, two = int(mine[b]), int(other[a])
            if own[one] and own[two]:
                continue
            apart = _gap(shapes[one], shapes[two])
            if apart < 0 and not buffer and names_of[one] == names_of[two] in published:
                leaks[names_of[one]] += 1
            elif apart < buffer or apart < 0:
                how = (
                    f"{max(apart, 0):.1f} m apart, nearer than samples.buffer {buffer:g} m"
                    if buffer
                    else "on the same ground"
                )
                raise InputError(
                    f"samples {ids[one]} ({names[one]}) and {ids[two]} ({names[two]}) are {how}: {_REMEDY} after setting "
                    "datasets.splits to blocks, or another buffer"
                )
    return dict(leaks)


def near(shapes: np.ndarray, others: np.ndarray, buffer: float) -> np.ndarray:
    """(N,) bool: which outlines (EPSG:4326, None where unknown) share ground with any of the others, or lie within `buffer` m."""
    found = np.zeros(len(shapes), bool)
    known = np.flatnonzero(~shapely.is_missing(shapes))
    if known.size and len(others):
        for a, b in zip(*shapely.STRtree(others).query(_grown(shapes[known], buffer)), strict=True):
            at = known[a]
            if not found[at]:
                apart = _gap(shapes[at], others[b])
                found[at] = apart < buffer or apart < 0
    return found


def _grown(shapes: np.ndarray, buffer: float) -> np.ndarray:
    west, south, east, north = shapely.bounds(shapes).reshape(-1, 4).T
    along = buffer / 110_000
    across = along / np.maximum(
        np.cos(np.radians(np.minimum(np.maximum(abs(south), abs(north)) + along, 89.9))), 1e-3
    )
    return np.asarray(shapely.box(west - across, south - along, east + across, north + along))


def _gap(one: BaseGeometry, two: BaseGeometry) -> float:
    """Metres between two outlines in degrees, in a plane about the first; below 0 where they share ground."""
    lon, lat = one.centroid.coords[0]
    forward = transformer(WGS84, f"+proj=aeqd +lat_0={lat:.6f} +lon_0={lon:.6f} +units=m").transform
    flat = [shapely.transform(s, lambda xy: np.column_stack(forward(*xy.T))) for s in (one, two)]
    apart = float(shapely.distance(*flat))
    if apart:
        return apart
    # Neighbours that touch share a seam as thin as the rounding of their corners; places known as points may be one point.
    seam = 0.01 * min(shape.area for shape in flat)
    return -1.0 if shapely.intersection(*flat).area > seam or one.equals(two) else 0.0


def _rows(place: Place, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Row, first and last labelled column, in pixels of the lattice.
    first, last = (
        np.array([[0] * size, [size - 1] * size])
        if place.extent is None
        else place.extent.astype(np.int64)
    )
    has = last >= first
    return (
        place.row * size + np.flatnonzero(has),
        place.col * size + first[has],
        place.col * size + last[has],
    )


def _box(place: Place, size: int) -> tuple[int, int, int, int]:
    rows, first, last = _rows(place, size)
    if not rows.size:
        return 0, 0, 0, 0
    return int(first.min()), int(rows.min()), int(last.max()) + 1, int(rows.max()) + 1


def _distance(a: Place, b: Place, metres: Mapping[SplitCell, Metres], conf: SampleConf) -> float:
    pair = least(metres[split_cell(a.col, a.row, conf)], metres[split_cell(b.col, b.row, conf)])
    (rows_a, first_a, last_a), (rows_b, first_b, last_b) = _rows(a, conf.size), _rows(b, conf.size)
    gap_x = (
        np.maximum(
            np.maximum(first_b[None] - last_a[:, None], first_a[:, None] - last_b[None]) - 1, 0
        )
        * pair[0]
    )
    gap_y = np.maximum(np.abs(rows_a[:, None] - rows_b[None]) - 1, 0) * pair[1]
    return float(np.hypot(gap_x, gap_y).min())
