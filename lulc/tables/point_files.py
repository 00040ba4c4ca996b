"""Files of points read: where each point lies, and what its columns say, as texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from lulc.errors import InputError
from lulc.geo.grid import WGS84
from lulc.location import parse_location
from lulc.tables.csv_files import read_csv_records, read_csv_rows
from lulc.tables.files import open_parquet
from lulc.tables.geoparquet import read_geo
from lulc.tables.vector_files import Layer, find_layer, read_features, texts_of

_CSV = (".csv", ".csv.gz")
_PARQUET = (".parquet", ".geoparquet")
_POINT = 0  # shapely's number of the type


@dataclass(frozen=True)
class PointFile:
    """A file of points, found but not read."""

    use: str
    """What the file is given as, such as `labels`, for messages."""
    path: str
    """The file."""
    columns: tuple[str, ...]
    """Names of its columns, without the geometry."""
    layer: Layer | None
    """Its layer; None of a table without geometries."""


@dataclass(frozen=True, eq=False)
class PointRecords:
    """The points of a file, each of a MultiPoint one of its own."""

    x: np.ndarray
    """(N,) in the CRS."""
    y: np.ndarray
    """(N,) in the CRS."""
    crs: str
    columns: dict[str, list[str]]
    """Column → text of each of the N points; a day as 2018-06-30, a missing value is empty."""
    without_place: int
    """Records that are no point of the N: without coordinates, or of another geometry."""


def is_point_table(path: str) -> bool:
    """Return whether a file is a table without geometries: CSV, or Parquet that is not GeoParquet.

    Raises:
        InputError: the file is damaged or not there.
    """
    if path.lower().endswith(_PARQUET):
        return not _has_geometries(path)
    return path.lower().endswith(_CSV)


def find_point_file(path: str, use: str, columns: Sequence[str] = ()) -> PointFile:
    """Find the points of a file: its only layer with geometries, or a table without them.

    Args:
        path: CSV, Parquet, or any vector file that `find_layer` finds a layer of.
        use: what the file is given as, such as `labels`, for messages.
        columns: columns that it must have.

    Raises:
        InputError: the file cannot be read, or a column is missing.
    """
    if not is_point_table(path):
        layer = find_layer(path, use, columns=columns)
        return PointFile(use, path, layer.columns, layer)
    if path.lower().endswith(_CSV):
        _, header = next(read_csv_rows(parse_location(path)), (1, []))
        names = tuple(name for name in header if name)
    else:
        with open_parquet(path) as file:
            names = tuple(file.schema_arrow.names)
    missing = [name for name in columns if name not in names]
    if missing:
        raise InputError(
            f"{use} {path} has no column {', '.join(map(repr, missing))}: "
            f"it has {', '.join(names) or 'none'}"
        )
    return PointFile(use, path, names, None)


def read_point_file(
    file: PointFile, columns: Sequence[str], place: tuple[str, str] | None
) -> PointRecords:
    """Read the points of a file.

    Args:
        file: of `find_point_file`.
        columns: the columns that are read.
        place: columns with longitude and latitude in degrees; None: the geometries are read.

    Raises:
        InputError: the file is damaged, or a coordinate is no number.
    """
    if place is None:
        assert file.layer is not None
        return _read_geometries(file.layer, columns)
    names = [*dict.fromkeys((*columns, *place))]
    values = _read_columns(file, names)
    lon, lat = (numbers_of(values[name], f"{file.use} {file.path}", name) for name in place)
    # GPS devices and surveys write numbers that are no degrees where they have no fix.
    has_place = (np.abs(lon) <= 360) & (np.abs(lat) <= 90)
    if has_place.size and not has_place.any():
        raise InputError(
            f"{file.use} {file.path}: columns {place[0]!r} and {place[1]!r} hold no degrees, "
            f"such as {values[place[0]][0]}, {values[place[1]][0]}: name columns with longitude "
            "and latitude, or give a file that says its CRS, such as a GeoPackage"
        )
    kept = np.flatnonzero(has_place)
    texts = {name: _day_texts(values[name][kept]) for name in columns}
    return PointRecords(lon[kept], lat[kept], WGS84, texts, len(lon) - len(kept))


def numbers_of(values: Sequence[str] | np.ndarray, description: str, column: str) -> np.ndarray:
    """Return a column as numbers (N,) float64, nan where it is empty.

    Args:
        values: texts or numbers.
        description: the file, for messages.
        column: name of the column, for messages.

    Raises:
        InputError: a value is no number.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        return values.astype(np.float64)
    texts = texts_of(np.asarray(values, object))
    try:
        return np.array([text or "nan" for text in texts], np.float64)
    except ValueError:
        wrong = next(text for text in texts if text and not _is_number(text))
    raise InputError(
        f"{description}: {wrong!r} of column {column!r} is no number: write it as 12.5, or nothing"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _has_geometries(path: str) -> bool:
    with open_parquet(path) as file:
        return bool(read_geo(file))


def _read_geometries(layer: Layer, columns: Sequence[str]) -> PointRecords:
    features = read_features(layer, columns)
    pieces, owners = shapely.get_parts(features.geometries, return_index=True)
    is_point = (shapely.get_type_id(pieces) == _POINT) & ~shapely.is_empty(pieces)
    x, y = shapely.get_coordinates(pieces[is_point]).T
    owners = owners[is_point]
    texts = {name: _day_texts(features.columns[name][owners]) for name in columns}
    without_place = len(features.geometries) - len(np.unique(owners))
    return PointRecords(x, y, layer.crs, texts, without_place)


def _read_columns(file: PointFile, names: Sequence[str]) -> dict[str, np.ndarray]:
    if file.layer is not None:
        return read_features(file.layer, names).columns
    if file.path.lower().endswith(_CSV):
        records = read_csv_records(parse_location(file.path), names)
        rows = [[record[name] for name in names] for _, record in records]
        table = np.array(rows, object).reshape(-1, len(names))
        return dict(zip(names, table.T, strict=True))
    with open_parquet(file.path) as parquet:
        frame = parquet.read(columns=list(names)).to_pandas()
    return {name: frame[name].to_numpy() for name in names}


def _day_texts(values: np.ndarray) -> list[str]:
    if values.dtype.kind == "M":
        days = np.datetime_as_string(values, unit="D").astype(object)
        days[np.isnat(values)] = None
        values = days
    return texts_of(values)
