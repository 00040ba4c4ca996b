"""Labels on a Grid, read from a class raster on any grid or from polygons with a class column."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial

import numpy as np
import shapely
from affine import Affine

from lulc.config import LabelConf, Period
from lulc.errors import InputError, UsageError
from lulc.geo.grid import (
    WGS84,
    Grid,
    footprint,
    map_coordinates,
    project,
    transformer,
    turn_of,
)
from lulc.geo.reproject import check_sides, reproject_polygons
from lulc.guard import read_guard
from lulc.legend import NODATA, Crosswalk, Legend, name_key
from lulc.raster import reader
from lulc.raster.classes import ClassRaster, scan_raster
from lulc.raster.vector import rasterize
from lulc.samples.class_columns import check_crosswalk, column_classes
from lulc.samples.points import bounds_of_points, read_points
from lulc.tables.point_files import is_point_table
from lulc.tables.vector_files import (
    Bounds,
    Layer,
    find_layer,
    first_types,
    polygons_of,
    read_features,
    texts_of,
)
from lulc.tables.vector_identity import vector_identity
from lulc.tables.vector_windows import windows_on

_COARSE = 2.0
"""From this many label pixels along a side of the grid's pixel, the majority decides, not the
nearest."""
_VOTES = 8
"""Along a side, at most: 64 points of a pixel vote for its majority."""
_CACHED_BYTES = 64 << 20
"""Up to this size a process caches a vector file; of a larger one it reads a window at a time."""
_POINTS_REMEDY = (
    "; where they are points, add `points: {}` under labels, or `points: {date: COLUMN}` where "
    "they have a date"
)
_POLYGON = 3  # shapely's number of the type


def check_labels(labels: LabelConf, legend: Legend, periods: Sequence[Period]) -> None:
    """Check that labels can be read and that their classes are known, before work is put into them.

    Points are read, polygons up to 64 MiB, and of a larger file and of a raster the header alone.

    Args:
        labels: the file, and what its codes mean.
        legend: the classes.
        periods: of the run.

    Raises:
        InputError: the file cannot be read, or a class is not known.
        UsageError: the crosswalk leads to an id that is not in the legend.
    """
    check_crosswalk(labels, legend)
    with read_guard(f"labels {labels.path}"):
        if labels.points is not None:
            read_points(labels, legend, WGS84, periods)
        elif labels.column is None:
            _check_names(labels, legend, dict(_scan(labels.path).names))
        elif int(str(vector_identity(labels.path)[1])) <= _CACHED_BYTES:
            features = read_features(_find_layer(labels.path, labels.column), [labels.column])
            column_classes(texts_of(features.columns[labels.column]), labels.column, labels, legend)
        else:
            _find_layer(labels.path, labels.column)


def read_labels(labels: LabelConf, legend: Legend, grid: Grid) -> np.ndarray:
    """Return the label (H, W) alone; see `read_labels_counting`."""
    return read_labels_counting(labels, legend, grid)[0]


def read_labels_counting(labels: LabelConf, legend: Legend, grid: Grid) -> tuple[np.ndarray, int]:
    """Read the label of a grid, and count the pixels without one because polygons contradict.

    A class raster is sampled at the nearest pixel; where the grid's pixels span two or more of the
    raster's, the majority of the labelled ones decides. Polygons (`labels.column` set) label the
    pixels whose centres they cover; where polygons of different classes overlap there is no label.

    Args:
        labels: the raster or vector file, and what its codes mean.
        legend: the classes of the label.
        grid: on which the label is wanted.

    Returns:
        (H, W) uint8 legend ids, 255 without a label; and the number of contradicted pixels.

    Raises:
        InputError: a code is neither in the legend nor in the crosswalk nor ignored.
        UsageError: the crosswalk leads to an id that is not in the legend.
    """
    check_crosswalk(labels, legend)
    with read_guard(f"labels {labels.path}"):
        if labels.column is not None:
            return _draw_polygons(labels, legend, grid)
        return _read_raster(labels, legend, grid), 0


def _read_raster(labels: LabelConf, legend: Legend, grid: Grid) -> np.ndarray:
    header = _scan(labels.path)
    _check_names(labels, legend, dict(header.names))
    span = _span(header.grid, grid)
    votes = min(math.ceil(span), _VOTES) if span >= _COARSE else 1
    transform = tuple((grid.affine @ Affine.scale(1 / votes))[:6])
    fine = Grid(grid.crs, transform, grid.height * votes, grid.width * votes)
    values, valid = reader.read_band(labels.path, header.band, fine, "nearest", labels.nodata)
    codes = values[valid]
    if codes.dtype.kind == "f":
        fractions = codes[codes != np.rint(codes)]
        if fractions.size:
            raise InputError(
                f"labels {labels.path} hold {fractions[0]}: a class raster holds whole numbers"
            )
        codes = codes.astype(np.int64)
    crosswalk = {_code(code): class_id for code, class_id in labels.crosswalk.items()}
    ignored = tuple(_code(code) for code in labels.ignore)
    ids = np.full(fine.shape, NODATA, np.uint8)
    try:
        ids[valid] = Crosswalk(legend, crosswalk, ignored).apply(codes)
    except InputError as error:
        raise InputError(f"labels {labels.path}: {error}") from error
    return ids if votes == 1 else _majority(ids, votes, legend)


@lru_cache(maxsize=16)
def _scan(path: str) -> ClassRaster:
    return scan_raster(path)


def _check_names(labels: LabelConf, legend: Legend, names: Mapping[int, str]) -> None:
    # A code that the crosswalk leaves as it is may not have the name of another class.
    ids = {name_key(entry.name): entry.id for entry in legend.classes}
    mapped_codes = {_code(code) for code in (*labels.crosswalk, *labels.ignore)}
    for code, name in names.items():
        class_id = ids.get(name_key(name), code)
        if class_id != code and code in legend.ids and code not in mapped_codes:
            raise InputError(
                f"labels {labels.path} name code {code} {name!r}, which is class {class_id} of "
                f"legend {legend.name!r}, where {code} is {legend.names[code]!r}: say which class "
                f"is meant in labels.crosswalk ({{{code}: {class_id}}})"
            )


def _code(text: int | str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(
            f"label code {text!r} is no number: "
            "a class raster has number codes; set labels.column for polygons"
        ) from error


def _span(label_grid: Grid, grid: Grid) -> float:
    # How many sides of label pixels a pixel at the middle of the grid spans (square root of its
    # area in label pixels).
    col, row = grid.width / 2, grid.height / 2
    corners = [grid.affine @ corner for corner in ((col, row), (col + 1, row), (col, row + 1))]
    x, y = transformer(grid.crs, label_grid.crs).transform(*np.transpose(corners))
    if not np.isfinite([x, y]).all():
        return 1.0
    turn = turn_of(label_grid.crs)
    x = x if turn is None else np.unwrap(x, period=turn)
    to_pixels = ~label_grid.affine
    (x0, y0), (x1, y1), (x2, y2) = (to_pixels @ corner for corner in zip(x, y, strict=True))
    return math.sqrt(abs((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)))


def _majority(ids: np.ndarray, votes: int, legend: Legend) -> np.ndarray:
    # The class with most votes, the first in the legend on a tie; points without a label do not
    # vote.
    height, width = (n // votes for n in ids.shape)
    majority = np.full((height, width), NODATA, np.uint8)
    highest = np.zeros((height, width), np.int64)
    for class_id in legend.ids:
        count = (ids == class_id).reshape(height, votes, width, votes).sum((1, 3))
        majority[count > highest] = class_id
        highest = np.maximum(highest, count)
    return majority


def _draw_polygons(labels: LabelConf, legend: Legend, grid: Grid) -> tuple[np.ndarray, int]:
    ids = np.full(grid.shape, NODATA, np.uint8)
    polygons, classes = _polygons_on(labels, legend, grid)
    claims = np.zeros(grid.shape, np.uint8)
    for class_id in np.unique(classes[classes != NODATA]):
        of_class = polygons[classes == class_id]
        covered = rasterize(of_class, np.zeros(grid.shape, np.uint8), grid).astype(bool)
        ids[covered] = class_id
        claims += covered
    ids[claims > 1] = NODATA
    return ids, int((claims > 1).sum())


def _polygons_on(labels: LabelConf, legend: Legend, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return the polygons near a grid, in its CRS, and their class ids."""
    column = str(labels.column)
    layer = _find_layer(labels.path, column)
    identity = vector_identity(labels.path)
    load = partial(_load, layer, column, str(identity))
    cached = load(None) if int(str(identity[1])) <= _CACHED_BYTES else None
    polygons, classes = [np.empty(0, object)], [np.empty(0, np.uint8)]
    for bounds, shift in windows_on(grid.pad(2), layer):
        pieces, values = _clip(*(cached or load(bounds)), bounds)
        polygons.append(map_coordinates(pieces, lambda x, y, shift=shift: (x + shift, y)))
        classes.append(column_classes(texts_of(values), column, labels, legend))
    in_grid_crs = reproject_polygons(np.concatenate(polygons), layer.crs, grid.crs)
    return in_grid_crs, np.concatenate(classes)


def _clip(shapes: np.ndarray, values: np.ndarray, bounds: Bounds) -> tuple[np.ndarray, np.ndarray]:
    # The polygons within bounds, clipped to them, and the value of each.
    left, bottom, right, top = bounds
    xmin, ymin, xmax, ymax = shapely.bounds(shapes).T
    in_bounds = (xmin <= right) & (xmax >= left) & (ymin <= top) & (ymax >= bottom)
    clipped = shapely.clip_by_rect(shapes[in_bounds], *bounds)
    # A collection may hold a MultiPolygon.
    pieces, owners = shapely.get_parts(clipped, return_index=True)
    polygons, parents = shapely.get_parts(pieces, return_index=True)
    areal = shapely.get_type_id(polygons) == _POLYGON
    return polygons[areal], values[in_bounds][owners[parents[areal]]]


@lru_cache(maxsize=16)
def _find_layer(path: str, column: str) -> Layer:
    if is_point_table(path):
        raise InputError(
            f"labels {path} hold no polygon: it is a table without geometries{_POINTS_REMEDY}"
        )
    layer = find_layer(path, "labels", columns=[column])
    if re.search("Point|LineString", layer.geometry):
        raise InputError(
            f"labels {path} hold no polygon: layer {layer.name!r} is of type {layer.geometry}"
            f"{_POINTS_REMEDY if 'Point' in layer.geometry else ''}"
        )
    return layer


@lru_cache(maxsize=4)
def _load(
    layer: Layer, column: str, _identity: str, window: Bounds | None
) -> tuple[np.ndarray, np.ndarray]:
    # Polygons, made valid where they cross themselves, and the column's values. The file's identity
    # is only there for the cache.
    features = read_features(layer, [column], window)
    shapes = polygons_of(features.geometries)
    areal = ~shapely.is_missing(shapes)
    if window is None and not areal.any():
        raise InputError(f"labels {layer.path} hold no polygon")
    check_sides(shapes[areal], layer.crs, f"a polygon of labels {layer.path}")
    polygons = shapely.make_valid(shapes[areal], method="structure", keep_collapsed=False)
    return polygons, features.columns[column][areal]


def explain_types(labels: LabelConf) -> str:
    """Return what to say of labels without effect whose file holds no polygon; else nothing."""
    if labels.column is None or labels.points is not None:
        return ""
    types = first_types(_find_layer(labels.path, labels.column))
    if not types or any("Polygon" in name or name == "GeometryCollection" for name in types):
        return ""
    remedy = _POINTS_REMEDY if any("Point" in name for name in types) else ""
    return f"; its features are no polygons, but {', '.join(sorted(types))}{remedy}"


def bounds_of_labels(labels: LabelConf) -> Bounds | None:
    """Return (west, south, east, north) of labels in degrees; None of a layer without a feature."""
    if labels.points is not None:
        return bounds_of_points(labels)
    if labels.column is None:
        outline = footprint(reader.grid_of(labels.path))
    elif (layer := _find_layer(labels.path, labels.column)).bounds is None:
        return None
    else:
        outline = project(shapely.box(*layer.bounds), layer.crs, WGS84)
    west, south, east, north = outline.bounds
    return west, south, east, north
