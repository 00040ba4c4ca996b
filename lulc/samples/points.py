"""Labels from points: each gives its class to the pixel it lies in, in the periods of its date.

The driver reads a points file once, and leaves what is used of it as a table for the tasks:
classes, days, and places in the tiling's CRS.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lulc.config import LabelConf, Period, PointConf
from lulc.errors import InputError
from lulc.geo.grid import WGS84, transform_points, turn_of
from lulc.geo.tiling import Tiling
from lulc.guard import read_guard
from lulc.legend import NODATA, Legend
from lulc.location import Location, parse_location
from lulc.samples.class_columns import check_crosswalk, column_classes
from lulc.tables.files import open_parquet, write_atomic
from lulc.tables.point_files import (
    PointFile,
    PointRecords,
    find_point_file,
    numbers_of,
    read_point_file,
)
from lulc.tables.store import table_guard

_OPEN = (np.iinfo(np.int32).min, np.iinfo(np.int32).max)
"""First and last day of what has no date."""
_DAY = re.compile(r"(\d{4})(?:-(\d\d?)(?:-(\d\d?)(?:[T ]\d\d?:\d\d.*)?)?)?")
_LUCAS_DAY = re.compile(r"(\d\d?)/(\d\d?)/(\d{4}|\d\d)")
_LUCAS_COLUMNS = (
    ("th_long", "th_lat", "lc1", "survey_date"),
    ("point_long", "point_lat", "survey_lc1", "survey_date"),
)
"""Longitude and latitude of the theoretical point, land cover and day: of the surveys of 2009 to
2018 and their harmonised table (doi:10.1038/s41597-020-00675-z), and of 2022. Names are in capitals
in some. The class is seen at the theoretical point; the GPS says where the surveyor stood."""
_LUCAS_SIDE = "th_ew"
"""In the first surveys the longitude has no sign: E or W is told here."""
_MAX_REACH = 100
"""Most pixels of a point's radius; the time that it takes grows with the square."""

_POINTS = pa.schema(
    [
        pa.field("x", pa.float64()),
        pa.field("y", pa.float64()),
        pa.field("class_id", pa.uint8()),
        pa.field("first", pa.int32()),
        pa.field("last", pa.int32()),
    ]
)


@dataclass(frozen=True, eq=False)
class LabelPoints:
    """Points with a class, from south to north."""

    x: np.ndarray
    """(N,) float64 in the tiling's CRS."""
    y: np.ndarray
    """(N,) float64 in the tiling's CRS."""
    class_id: np.ndarray
    """(N,) uint8."""
    first: np.ndarray
    """(N,) int32 days since 1970 from which on the class holds."""
    last: np.ndarray
    """(N,) int32 days since 1970, the last included."""

    def __len__(self) -> int:
        return len(self.x)

    def select(self, chosen: np.ndarray | slice) -> LabelPoints:
        """Return the points that a mask, positions or a slice choose."""
        return LabelPoints(*(getattr(self, name)[chosen] for name in _POINTS.names))


@dataclass(frozen=True)
class _Columns:
    """The columns of a points file that are read."""

    place: tuple[str, str] | None
    """Longitude and latitude; None where the file has geometries."""
    label: str
    dates: tuple[str, ...]
    side: str | None = None
    is_lucas: bool = False

    @property
    def names(self) -> list[str]:
        return [self.label, *self.dates, *([self.side] if self.side else [])]


def read_points(
    labels: LabelConf, legend: Legend, crs: str, periods: Sequence[Period]
) -> tuple[LabelPoints, list[str]]:
    """Read the points of a labels file that have a class in a period.

    Args:
        labels: the file, and how its points are read.
        legend: the classes.
        crs: CRS in which their places are wanted.
        periods: of the run.

    Returns:
        The points; and notes for the user on what is left out and what was left unsaid.

    Raises:
        InputError: the file cannot be read, a column is missing, a value is no class, number or
            day, or no point is left.
        UsageError: the crosswalk leads to an id that is not in the legend.
    """
    conf = labels.points
    assert conf is not None
    check_crosswalk(labels, legend)
    with read_guard(f"labels {labels.path}"):
        file, columns = _find_columns(labels, conf)
        quality = [conf.quality] if conf.quality else []
        records = read_point_file(file, [*columns.names, *quality], columns.place)
        class_ids = column_classes(records.columns[columns.label], columns.label, labels, legend)
        first, last = _read_days(records, columns, labels.path)
        x, y = transform_points(_signed(records, columns, labels.path), records.y, records.crs, crs)
        good = _is_good(records, conf, labels.path)
    if not len(x):
        raise InputError(
            f"labels {labels.path} hold no point ({records.without_place:,} records without): give "
            "a file with points"
        )
    points = LabelPoints(x, y, class_ids, first, last)
    has_class = class_ids != NODATA
    on_earth = np.isfinite(x) & np.isfinite(y)
    dated = np.zeros(len(x), bool)
    for period in periods:
        dated |= _share_a_day(points, period)
    used = has_class & on_earth & good & dated
    losses = {
        "without a place": records.without_place + int((~on_earth).sum()),
        "without a class": int((on_earth & ~has_class).sum()),
        "of too low quality": int((on_earth & has_class & ~good).sum()),
        "with a date in no period": int((on_earth & has_class & good & ~dated).sum()),
    }
    notes = [f"{count:,} points {text} left out" for text, count in losses.items() if count]
    if not used.any():
        raise InputError(
            f"labels {labels.path} give no point a class in a period ({'; '.join(notes)}): "
            "correct labels.column, labels.points or periods"
        )
    undated = int((used & (first == _OPEN[0]) & (last == _OPEN[1])).sum())
    if undated and (columns.dates or len(periods) > 1):
        notes.append(f"{undated:,} points without a date count for every period")
    chosen = np.flatnonzero(used)
    return points.select(chosen[np.argsort(y[chosen], kind="stable")]), notes


def _find_columns(labels: LabelConf, conf: PointConf) -> tuple[PointFile, _Columns]:
    named = [name for name in (labels.column, conf.quality, *conf.date_columns) if name]
    file = find_point_file(labels.path, "labels", named)
    if conf.layout == "lucas":
        return file, _lucas_columns(file, labels, conf)
    if file.layer and conf.names_place:
        raise InputError(
            f"labels {labels.path} have geometries, and labels.points names columns "
            f"{conf.longitude!r} and {conf.latitude!r}: leave longitude and latitude out, or give "
            "a CSV or Parquet file without geometries"
        )
    place = None if file.layer else (conf.longitude, conf.latitude)
    missing = [name for name in place or () if name not in file.columns]
    if missing:
        raise InputError(
            f"labels {labels.path} have no column {' or '.join(map(repr, missing))}, but "
            f"{', '.join(file.columns)}: say which hold degrees in labels.points "
            "(longitude, latitude)"
        )
    return file, _Columns(place, str(labels.column), conf.date_columns)


def _lucas_columns(file: PointFile, labels: LabelConf, conf: PointConf) -> _Columns:
    written = {name.lower(): name for name in file.columns}
    for lon, lat, label, day in _LUCAS_COLUMNS:
        if {lon, lat, label, day} <= set(written):
            return _Columns(
                (written[lon], written[lat]),
                labels.column or written[label],
                conf.date_columns or (written[day],),
                written.get(_LUCAS_SIDE),
                is_lucas=True,
            )
    accepted = " or ".join(", ".join(names) for names in _LUCAS_COLUMNS)
    raise InputError(
        f"labels {file.path} are not laid out as LUCAS, which has the columns {accepted}: it has "
        f"{', '.join(file.columns)}; name its columns in labels.points instead"
    )


def _signed(records: PointRecords, columns: _Columns, path: str) -> np.ndarray:
    if columns.side is None:
        return records.x
    sides = [text.upper() for text in records.columns[columns.side]]
    unknown = sorted(set(sides) - {"E", "W", ""})
    if unknown:
        raise InputError(
            f"labels {path}: {unknown[0]!r} of column {columns.side!r} is no side of Greenwich: "
            "write E, W, or nothing where the longitude has its sign"
        )
    is_west = np.array([side == "W" for side in sides], bool)
    return np.where(is_west, -np.abs(records.x), records.x)


def _is_good(records: PointRecords, conf: PointConf, path: str) -> np.ndarray:
    if conf.quality is None:
        return np.ones(len(records.x), bool)
    numbers = numbers_of(records.columns[conf.quality], f"labels {path}", conf.quality)
    return np.asarray((numbers > 0) & (numbers >= conf.min_quality))


def _read_days(
    records: PointRecords, columns: _Columns, path: str
) -> tuple[np.ndarray, np.ndarray]:
    # First and last day of each point.
    first = np.full(len(records.x), _OPEN[0], np.int32)
    last = np.full(len(records.x), _OPEN[1], np.int32)
    if not columns.dates:
        return first, last
    days_of = {
        (name, text): _parse_day(text, name, path, columns.is_lucas)
        for name in columns.dates
        for text in set(records.columns[name])
    }
    spans = [[days_of[name, text] for text in records.columns[name]] for name in columns.dates]
    first[:] = [start for start, _ in spans[0]]
    last[:] = [end for _, end in spans[-1]]
    if (first > last).any():
        wrong = int(np.flatnonzero(first > last)[0])
        texts = [records.columns[name][wrong] for name in columns.dates]
        raise InputError(
            f"labels {path}: a point has the span {' to '.join(texts)}, which ends before it "
            f"begins (columns {', '.join(columns.dates)}): swap the two in labels.points.date, or "
            "correct the point"
        )
    return first, last


def _parse_day(text: str, column: str, path: str, is_lucas: bool) -> tuple[int, int]:
    # Days since 1970, the first and last of a day, month or year. In surveys of unknown origin
    # 04/03/2018 may be a day of March or of April; LUCAS writes the day first.
    if not text:
        return _OPEN
    try:
        if match := _DAY.fullmatch(text):
            year, month, day = match.groups()
        elif is_lucas and (match := _LUCAS_DAY.fullmatch(text)):
            day, month, year = match.groups()
            year = year if len(year) == 4 else f"20{year}"
        else:
            raise ValueError(text)
        unit = "-".join([year, *(part.zfill(2) for part in (month, day) if part)])
        start = np.datetime64(unit)
        days = start.astype("datetime64[D]"), (start + 1).astype("datetime64[D]")
    except ValueError as error:
        raise InputError(
            f"labels {path}: {text!r} of column {column!r} is no day: write 2018-06-30, 2018-06 or "
            "2018, or nothing"
        ) from error
    return int(days[0].astype(int)), int(days[1].astype(int)) - 1


def _share_a_day(points: LabelPoints, period: Period) -> np.ndarray:
    start, end = (day and int(np.datetime64(day).astype(int)) for day in (period.start, period.end))
    shares = np.ones(len(points), bool)
    if start is not None:
        shares &= points.last >= start
    if end is not None:
        shares &= points.first <= end
    return shares


def bounds_of_points(labels: LabelConf) -> tuple[float, float, float, float] | None:
    """Return (west, south, east, north) in degrees of all points of a labels file, if any."""
    lon, lat = _read_places(labels, WGS84)
    on_earth = np.isfinite(lon) & np.isfinite(lat)
    if not on_earth.any():
        return None
    lon, lat = lon[on_earth], lat[on_earth]
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def count_windows(labels: LabelConf, tiling: Tiling, size: int) -> int:
    """Return how many windows of a tiling, `size` pixels a side, hold a point of a labels file."""
    x, y = _read_places(labels, tiling.crs)
    on_earth = np.isfinite(x) & np.isfinite(y)
    col = np.floor((x[on_earth] - tiling.x0) / tiling.resolution / size)
    row = np.floor((tiling.y0 - y[on_earth]) / tiling.pixel_height / size)
    return len(np.unique(np.stack([col, row]), axis=1).T)


def _read_places(labels: LabelConf, crs: str) -> tuple[np.ndarray, np.ndarray]:
    assert labels.points is not None
    with read_guard(f"labels {labels.path}"):
        file, columns = _find_columns(labels, labels.points)
        side = [columns.side] if columns.side else []
        records = read_point_file(file, side, columns.place)
        return transform_points(_signed(records, columns, labels.path), records.y, records.crs, crs)


def write_points(location: Location, points: LabelPoints) -> None:
    """Write points for the tasks."""
    columns = [getattr(points, name) for name in _POINTS.names]
    table = pa.table(columns, schema=_POINTS)
    write_atomic(location, lambda path: pq.write_table(table, path, compression="zstd"))


def load_points(location: Location) -> LabelPoints:
    """Return the points that `write_points` wrote; a process reads them once."""
    return _load(str(location))


@lru_cache(maxsize=2)
def _load(path: str) -> LabelPoints:
    with table_guard(parse_location(path)):
        table = open_parquet(path).read()
    return LabelPoints(*(table.column(name).to_numpy() for name in _POINTS.names))


def draw_points(
    points: LabelPoints, period: Period, tiling: Tiling, cell: tuple[int, int], radius: float
) -> tuple[np.ndarray, int]:
    """Draw the points of a period into a tile.

    A point on the edge of two tiles lies in the one to its right or below, as a point on the edge
    of two pixels does.

    Args:
        points: in the tiling's CRS.
        period: the period; points that share no day with it are not drawn.
        tiling: of the tile.
        cell: column and row of the tile.
        radius: metres around a point within which pixels have its class too.

    Returns:
        (size, size) uint8 legend ids, 255 without a label; and the number of pixels without one
        because points contradict.

    Raises:
        InputError: the radius is of too many pixels.
    """
    size = tiling.size
    sides = tiling.grid(*cell).resolution_m if radius else (1.0, 1.0)
    # At a pole a pixel may have no width, or none that is known.
    is_short = [radius <= _MAX_REACH * side for side in sides]
    reach_x, reach_y = (
        math.ceil(radius / side) if short else _MAX_REACH
        for side, short in zip(sides, is_short, strict=True)
    )
    x, y, class_ids = _near(points, period, tiling, cell, max(reach_x, reach_y) + 1)
    if len(x) and not all(is_short):
        raise InputError(
            f"labels.points.radius {radius:g} m is over {_MAX_REACH} pixels, which are "
            f"{sides[0]:g} x {sides[1]:g} m in tile {tiling.tile_id(*cell)}: give a smaller one, "
            "or polygons instead of points"
        )
    # Whole pixels are counted from the tiling's corner, the same for every tile.
    col, row = np.floor(x), np.floor(y)
    cols, rows, owners = [col], [row], [np.arange(len(x))]
    for dy in range(-reach_y, reach_y + 1):
        for dx in range(-reach_x, reach_x + 1):
            gap_x, gap_y = col + dx + 0.5 - x, row + dy + 0.5 - y
            near = np.flatnonzero(np.hypot(gap_x * sides[0], gap_y * sides[1]) <= radius)
            cols.append(col[near] + dx)
            rows.append(row[near] + dy)
            owners.append(near)
    all_cols = np.concatenate(cols).astype(np.int64) - cell[0] * size
    all_rows = np.concatenate(rows).astype(np.int64) - cell[1] * size
    inside = (all_rows >= 0) & (all_rows < size) & (all_cols >= 0) & (all_cols < size)
    pixels = all_rows[inside] * size + all_cols[inside]
    claims = np.unique(np.stack([pixels, class_ids[np.concatenate(owners)[inside]]]), axis=1)
    claimed, index, counts = np.unique(claims[0], return_index=True, return_counts=True)
    ids = np.full(size * size, NODATA, np.uint8)
    ids[claimed] = np.where(counts > 1, NODATA, claims[1][index])
    return ids.reshape(size, size), int((counts > 1).sum())


def _near(
    points: LabelPoints, period: Period, tiling: Tiling, cell: tuple[int, int], margin: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Column and row in pixels of the tiling, and class, of a period's points near a tile.
    left, top = cell[0] * tiling.size - margin, cell[1] * tiling.size - margin
    right, bottom = left + tiling.size + 2 * margin, top + tiling.size + 2 * margin
    south, north = (tiling.y0 - row * tiling.pixel_height for row in (bottom, top))
    points = points.select(slice(*np.searchsorted(points.y, (south, north))))
    points = points.select(_share_a_day(points, period))
    found = [np.empty((3, 0))]
    for x, y in _positions(points, tiling, (left, right)):
        near = (x >= left) & (x < right)
        found.append(np.stack([x[near], y[near], points.class_id[near]]))
    columns, rows, class_ids = np.concatenate(found, axis=1)
    return columns, rows, class_ids.astype(np.uint8)


def _positions(
    points: LabelPoints, tiling: Tiling, columns: tuple[float, float]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    # Column and row of points in pixels of the tiling, at every whole turn round the Earth that
    # leads between two columns.
    x = (points.x - tiling.x0) / tiling.resolution
    y = (tiling.y0 - points.y) / tiling.pixel_height
    turn = turn_of(tiling.crs)
    if turn is None or not len(x):
        yield x, y
        return
    width = turn / tiling.resolution
    lowest, highest = float(x.min()), float(x.max())
    for k in range(
        math.ceil((columns[0] - highest) / width), math.floor((columns[1] - lowest) / width) + 1
    ):
        yield x + k * width, y


def count_beyond(
    points: LabelPoints, tiling: Tiling, periods: Sequence[Period], tiles: np.ndarray
) -> int:
    """Return how many points lie in no tile that has a chip in a period of theirs.

    Args:
        points: in the tiling's CRS.
        tiling: of the tiles.
        periods: of the run.
        tiles: (M, 3) of the chips: column, row and position in the periods.
    """
    cols = float(tiles[:, 0].min()) * tiling.size, float(tiles[:, 0].max() + 1) * tiling.size
    shares = [_share_a_day(points, period) for period in periods]
    wanted = [_codes(*tiles[tiles[:, 2] == number, :2].T) for number in range(len(periods))]
    has_chip = np.zeros(len(points), bool)
    for x, y in _positions(points, tiling, cols):
        cells = _codes(*(np.floor(n).astype(np.int64) // tiling.size for n in (x, y)))
        for share, codes in zip(shares, wanted, strict=True):
            has_chip |= share & np.isin(cells, codes)
    return int((~has_chip).sum())


def _codes(col: np.ndarray, row: np.ndarray) -> np.ndarray:
    return (row.astype(np.int64) << 32) + col.astype(np.int64)
