"""Which windows of chips become samples: labels scanned, blocks split, leakage audited.

Windows stay with the tasks (see `lulc.samples.windows`): the driver holds sums by spatial block and
by chip, as arrays.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import shapely

from lulc.errors import InputError
from lulc.geo.grid import WGS84, project
from lulc.location import Location
from lulc.samples import splits, table, windows
from lulc.samples.from_chips import SampleSpec
from lulc.samples.labels import bounds_of_labels, explain_types
from lulc.samples.points import LabelPoints, count_beyond, read_points, write_points
from lulc.samples.splits import SPLITS
from lulc.samples.windows import Row, Weighing
from lulc.tables import layout

type RunTasks = Callable[[Callable[[Row], list[Row]], list[Row], pa.Schema, str], list[Row]]
"""Returns the rows of a schema that some work gives for every key; the text labels the progress
bar."""

_MAX_FILES_A_TASK = 16
_MIN_TASKS = 256


@dataclass(frozen=True)
class _Losses:
    """What labels and windows do not become samples."""

    unlabelled_windows: int
    poor_windows: int
    windows_beyond: int
    buffer_pixels: int
    unobserved_pixels: int
    conflicting_pixels: int

    def notes(self) -> list[str]:
        texts = {
            "windows without a label": self.unlabelled_windows,
            "windows with too few": self.poor_windows,
            "windows beyond samples.per_class": self.windows_beyond,
            "pixels within the buffer": self.buffer_pixels,
            "pixels without imagery": self.unobserved_pixels,
            "pixels of contradicting labels": self.conflicting_pixels,
        }
        return [f"{count:,} {text} left out" for text, count in texts.items() if count]


@dataclass(frozen=True, eq=False)
class _Blocks:
    """The spatial blocks with a label."""

    cells: np.ndarray
    """(N, 2) column and row."""
    split: np.ndarray
    """(N,) position in SPLITS."""


def plan_windows(
    spec: SampleSpec, paths: Sequence[str], fingerprint: str, run: RunTasks
) -> tuple[list[Row], str]:
    """Choose the windows that become samples, and deal them to files.

    Labels within the buffer of another split's block are dropped.

    Args:
        spec: labels, legend, tiling and settings of the samples.
        paths: chips files, relative to the output location; near ones follow one another.
        fingerprint: of the samples table.
        run: runs tasks, here or on workers.

    Returns:
        Keys of `windows.write_planned`; and a note for the user on what each split has and what was
        left out.

    Raises:
        InputError: no label is left to train on, or splits leak.
    """
    kept_folder = spec.out / layout.kept_folder("samples", fingerprint)
    spec, points, point_notes = _keep_points(spec, kept_folder)
    size = max(1, min(_MAX_FILES_A_TASK, len(paths) // _MIN_TASKS))
    dealt = enumerate(itertools.batched(paths, size))
    keys = [{"number": number, "paths": list(some)} for number, some in dealt]
    count = partial(windows.count_labels, spec=spec, kept_folder=kept_folder)
    counted = run(count, keys, windows.COUNTED, "labels")
    totals = {name: _total(counted, name) for name in ("windows", "labelled", "unobserved")}
    conflicts = _total(counted, "conflicts")
    if not totals["labelled"] + totals["unobserved"] + conflicts:
        raise InputError(_explain_no_label(spec, counted))
    if points is not None:
        point_notes += _notes_beyond(points, counted, spec)
    blocks, pixels = _split_blocks(counted, spec)
    windows.write_blocks(kept_folder, blocks.cells, blocks.split)
    quotas = _quotas(counted, spec)
    numbers = [{"number": row["number"]} for row in counted if row["labelled"]]
    del counted
    choose = partial(windows.choose_windows, spec=spec, kept_folder=kept_folder, quotas=quotas)
    chosen = run(choose, numbers, windows.CHOSEN, "samples")
    losses = _Losses(
        unlabelled_windows=totals["windows"] - totals["labelled"],
        poor_windows=_total(chosen, "poor"),
        windows_beyond=_total(chosen, "beyond"),
        buffer_pixels=pixels - _total(chosen, "pixels"),
        unobserved_pixels=totals["unobserved"],
        conflicting_pixels=conflicts,
    )
    note = _describe(chosen, [*point_notes, *losses.notes()], spec)
    audit = partial(windows.audit_windows, spec=spec, kept_folder=kept_folder)
    run(audit, _near(chosen, spec), windows.NOTHING, "audit")
    weighing = _weigh(chosen, blocks, spec, kept_folder)
    return list(_deal(chosen, fingerprint, weighing)), note


def _keep_points(
    spec: SampleSpec, kept_folder: Location
) -> tuple[SampleSpec, LabelPoints | None, list[str]]:
    # The labels' points read once for all tasks, and what is to be told of them.
    if spec.labels.points is None:
        return spec, None, []
    points, notes = read_points(spec.labels, spec.legend, spec.tiling.crs, spec.periods)
    spec = windows.with_points(spec, kept_folder)
    assert spec.points is not None
    write_points(spec.points, points)
    return spec, points, notes


def _notes_beyond(points: LabelPoints, counted: Sequence[Row], spec: SampleSpec) -> list[str]:
    tiles = np.unique(_arrays(counted, "tiles", "i4", 3), axis=0)
    count = count_beyond(points, spec.tiling, spec.periods, tiles)
    return [f"{count:,} points outside the tiles of their period left out"] if count else []


def _total(rows: Sequence[Row], name: str) -> int:
    return sum(row[name] for row in rows)


def _arrays(rows: Sequence[Row], name: str, dtype: str, width: int = 0) -> np.ndarray:
    # The arrays of all rows one after the other; (N, width), or (N,) without a width.
    arrays = [np.frombuffer(row[name], dtype) for row in rows]
    joined = np.concatenate([np.zeros(0, dtype), *arrays])
    return joined.reshape(-1, width) if width else joined


def _split_blocks(counted: Sequence[Row], spec: SampleSpec) -> tuple[_Blocks, int]:
    # The blocks with their splits, and all labelled pixels.
    cells = _arrays(counted, "cells", "i4", 2)
    counts = _arrays(counted, "counts", "u4", len(spec.legend.classes))
    order = np.lexsort(cells.T)
    cells = cells[order]
    first = np.flatnonzero(np.append(True, (np.diff(cells, axis=0) != 0).any(1))[: len(cells)])
    if len(first) < len(cells):  # a block that lies in the files of several tasks
        counts = np.add.reduceat(counts[order], first, dtype=np.int64)
        cells = cells[first]
    else:
        counts = counts[order]
    names = (f"{col}_{row}" for col, row in zip(*cells.T, strict=True))
    split = splits.assign_blocks(names, counts, spec.samples)
    return _Blocks(cells, split), int(counts.sum(dtype=np.int64))


def _quotas(counted: Sequence[Row], spec: SampleSpec) -> windows.Quotas | None:
    # The shares of the windows that are wanted; None where all are.
    if spec.samples.per_class is None:
        return None
    holding = _arrays(counted, "holding", "i8", len(spec.legend.classes)).sum(0)
    by_class = spec.samples.per_class / np.maximum(holding, 1)
    most = spec.samples.per_class * np.count_nonzero(holding)
    return windows.Quotas(tuple(by_class.tolist()), most / max(_total(counted, "labelled"), 1))


def _near(chosen: Sequence[Row], spec: SampleSpec) -> list[Row]:
    # Keys of `audit_windows`: each task that has windows, and those that may lie near to it.
    having = [row for row in chosen if row["bounds"]]
    if not having:
        return []
    left, top, right, bottom = np.array([row["bounds"] for row in having]).T
    boxes = shapely.box(left, top, right + 1, bottom + 1)
    corners = np.column_stack([left, top, right, bottom]).reshape(-1, 2) // spec.samples.block
    cells = [(int(col), int(row)) for col, row in np.unique(corners, axis=0)]
    metres = splits.pixel_metres(spec.tiling, cells, spec.samples)
    # One block more, as a pixel may be a little shorter between the corners.
    x, y = (n + 1 for n in splits.reach(metres.values(), spec.samples))
    step_x, step_y = x * spec.samples.block, y * spec.samples.block
    grown = shapely.box(left - step_x, top - step_y, right + 1 + step_x, bottom + 1 + step_y)
    neighbours: list[list[int]] = [[] for _ in having]
    for task, other in shapely.STRtree(boxes).query(grown).T.tolist():
        if task != other:
            neighbours[task].append(having[other]["number"])
    return [
        {"number": row["number"], "near": sorted(others)}
        for row, others in zip(having, neighbours, strict=True)
    ]


def _weigh(
    chosen: Sequence[Row], blocks: _Blocks, spec: SampleSpec, kept_folder: Location
) -> Weighing:
    # How training samples are weighted, so that the mean weight is 1.
    count = int((_arrays(chosen, "sizes", "i4") * (_arrays(chosen, "splits", "i1") == 0)).sum())
    if spec.samples.balance == "class":
        shares = _arrays(chosen, "shares", "i8", len(spec.legend.classes)).astype(object).sum(0)
        means = np.array([int(share) * windows.SHARE / count for share in shares])
        occurs = means > 0
        inverse = np.divide(1, means, out=np.zeros_like(means), where=occurs)
        return Weighing(by_class=tuple((inverse / occurs.sum()).tolist()))
    if spec.samples.balance == "area":
        cells, training = _arrays(chosen, "cells", "i4", 2), _arrays(chosen, "training", "i4")
        samples_of = np.zeros(len(blocks.cells), np.int32)
        np.add.at(samples_of, _find(blocks.cells, cells), training)
        windows.write_blocks(kept_folder, blocks.cells, blocks.split, samples_of)
        return Weighing(samples_a_block=count / np.count_nonzero(samples_of))
    return Weighing()


def _find(cells: np.ndarray, subset: np.ndarray) -> np.ndarray:
    # Positions of cells among others, which are in order of row and column.
    def code(of: np.ndarray) -> np.ndarray:
        col, row = of.T.astype(np.int64)
        return np.asarray((row << 32) + col)

    return np.searchsorted(code(cells), code(subset))


def _deal(chosen: Sequence[Row], fingerprint: str, weighing: Weighing) -> Iterator[Row]:
    """Yield the keys of files of each split, whose windows differ in number by one at most.

    Chips come in an order drawn from the seed, so that a chip is read for one file or two.
    """
    chips = [len(row["splits"]) for row in chosen]
    split, sizes = _arrays(chosen, "splits", "i1"), _arrays(chosen, "sizes", "i4").astype(np.int64)
    ranks, bytes_ = _arrays(chosen, "ranks", "u8"), _arrays(chosen, "bytes", "i8")
    task = np.repeat([row["number"] for row in chosen], chips).astype(np.int64)
    ends = np.cumsum(sizes)
    before_task = np.repeat([0, *np.cumsum([_total_size(row) for row in chosen])][:-1], chips)
    starts = ends - sizes - before_task  # in the task's own file
    same = {"fingerprint": fingerprint, "weighing": json.dumps(asdict(weighing))}
    for number, name in enumerate(SPLITS):
        in_split = np.flatnonzero(split == number)
        in_split = in_split[np.lexsort((starts[in_split], task[in_split], ranks[in_split]))]
        total = int(sizes[in_split].sum())
        if not total:
            continue
        limit = max(1, table.GROUP_BYTES // int(bytes_[in_split[0]]))
        count = max(-(-total // limit), min(table.MIN_FILES, total))
        bounds = np.arange(count + 1) * total // count
        chip_ends = np.cumsum(sizes[in_split])
        # Chips are cut where a file ends within one.
        cuts = np.union1d(np.append(0, chip_ends), bounds)
        of_chip = np.searchsorted(chip_ends, cuts[:-1], "right")
        offset = starts[in_split][of_chip] - (chip_ends - sizes[in_split])[of_chip]
        columns = task[in_split][of_chip], cuts[:-1] + offset, cuts[1:] + offset
        first = np.searchsorted(cuts, bounds)
        for file, (a, b) in enumerate(itertools.pairwise(first.tolist())):
            pieces = {n: c[a:b] for n, c in zip(("tasks", "starts", "stops"), columns, strict=True)}
            yield {"split": name, "name": f"{file:05d}", **same, **pieces}


def _total_size(row: Row) -> int:
    return int(np.frombuffer(row["sizes"], "i4").sum())


def _explain_no_label(spec: SampleSpec, counted: Sequence[Row]) -> str:
    tiles = np.unique(_arrays(counted, "tiles", "i4", 3)[:, :2], axis=0).tolist()
    corners = [spec.tiling.grid(col, row).bounds for col, row in tiles]
    tiles_box = shapely.box(*shapely.total_bounds(shapely.box(*np.transpose(corners))))
    of_tiles = project(tiles_box, spec.tiling.crs, WGS84).bounds
    of_labels = bounds_of_labels(spec.labels)
    remedy = "give labels of the same place, or correct the CRS that their file says"
    if spec.labels.points and of_labels:
        west, south, east, north = of_labels
        if shapely.box(south, west, north, east).intersects(shapely.box(*of_tiles)):
            remedy = "their longitudes and latitudes are swapped: swap the two"
    return (
        f"labels {spec.labels.path} give no pixel of {len(tiles)} tiles a class: they lie at "
        f"{_degrees(of_labels)}, the tiles at {_degrees(of_tiles)}; {remedy}"
        f"{explain_types(spec.labels)}"
    )


def _degrees(bounds: tuple[float, float, float, float] | None) -> str:
    if bounds is None:
        return "no place"
    west, south, east, north = bounds
    return f"longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"


def _describe(chosen: Sequence[Row], losses: Sequence[str], spec: SampleSpec) -> str:
    names = [c.name for c in spec.legend.classes]
    shape = (-1, len(SPLITS), len(names))
    pixels = _arrays(chosen, "classes", "i8").reshape(shape).sum(0)
    sizes, split = _arrays(chosen, "sizes", "i4"), _arrays(chosen, "splits", "i1")
    notes = []
    for number, name in enumerate(SPLITS):
        pairs = zip(names, pixels[number].tolist(), strict=True)
        classes = ", ".join(f"{class_name} {count:,}" for class_name, count in pairs if count)
        samples = int(sizes[split == number].sum())
        notes.append(f"{name} {samples:,} samples ({classes or 'no label'})")
    text = "; ".join([*notes, *losses])
    training = pixels[SPLITS.index("train")]
    if not training.any():
        raise InputError(
            f"no labelled pixel is left to train on: {text}; "
            "check labels, samples.min_labelled, samples.buffer and samples.per_class"
        )
    absent = [name for name, count in zip(names, training, strict=True) if not count]
    return text + (f"; WARNING: no training label of {', '.join(absent)}" if absent else "")
