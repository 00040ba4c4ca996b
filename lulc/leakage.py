"""The leakage audit: no ground is both learned and tested, nor nearer to it than the buffer. It sees only where labels lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from lulc.conf import Samples
from lulc.errors import InputError
from lulc.splits import SPLITS, Block, Metres, block_of, least

_REMEDY = "the same ground would be learned and tested; rebuild the samples table with `lulc samples`"


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


def audit(places: Sequence[Place], metres: Mapping[Block, Metres], conf: Samples) -> None:
    """Nothing when the splits are apart; else InputError naming a pair of samples that leak.

    A sample id stands once; a place of the lattice in one split; labels of different splits are at least the buffer apart,
    measured between the nearest edges of their pixels. What `assign` and `fences` decided is not looked at.
    """
    seen: dict[str, str] = {}
    homes: dict[Block, Place] = {}
    for place in places:
        if place.sample_id in seen:
            raise InputError(f"sample {place.sample_id} stands twice, in {seen[place.sample_id]} and {place.split}: {_REMEDY}")
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


def _rows(place: Place, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Row, first and last labelled column, in pixels of the lattice.
    first, last = np.array([[0] * size, [size - 1] * size]) if place.extent is None else place.extent.astype(np.int64)
    has = last >= first
    return place.row * size + np.flatnonzero(has), place.col * size + first[has], place.col * size + last[has]


def _box(place: Place, size: int) -> tuple[int, int, int, int]:
    rows, first, last = _rows(place, size)
    if not rows.size:
        return 0, 0, 0, 0
    return int(first.min()), int(rows.min()), int(last.max()) + 1, int(rows.max()) + 1


def _distance(a: Place, b: Place, metres: Mapping[Block, Metres], conf: Samples) -> float:
    pair = least(metres[block_of(a.col, a.row, conf)], metres[block_of(b.col, b.row, conf)])
    (rows_a, first_a, last_a), (rows_b, first_b, last_b) = _rows(a, conf.size), _rows(b, conf.size)
    gap_x = np.maximum(np.maximum(first_b[None] - last_a[:, None], first_a[:, None] - last_b[None]) - 1, 0) * pair[0]
    gap_y = np.maximum(np.abs(rows_a[:, None] - rows_b[None]) - 1, 0) * pair[1]
    return float(np.hypot(gap_x, gap_y).min())
