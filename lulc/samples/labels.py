"""Truth on a Grid: legend ids read from a class raster on any grid, or from polygons with a class column."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pyogrio
import shapely
from affine import Affine
from rasterio.features import rasterize

from lulc.config import LabelConf
from lulc.errors import InputError, UsageError
from lulc.geo.grid import Grid, map_coordinates, same_crs, transformer
from lulc.legend import NODATA, Crosswalk, Legend
from lulc.raster import reader
from lulc.tables import files

_COARSE = 2.0  # from this many label pixels a side of the grid's pixel, the majority decides, not the nearest
_VOTES = 8  # a side, at most: 64 places of a pixel are asked for its majority
_KEPT = (
    64 << 20
)  # bytes of a vector file that a process keeps whole; of a larger one only a window is read


def read_labels(labels: LabelConf, legend: Legend, grid: Grid) -> np.ndarray:
    """(H, W) uint8 legend ids, 255 where there is no label; see `read_labels_counting`."""
    return read_labels_counting(labels, legend, grid)[0]


def read_labels_counting(labels: LabelConf, legend: Legend, grid: Grid) -> tuple[np.ndarray, int]:
    """(H, W) uint8 legend ids, 255 where there is no label; and the number of pixels left out because polygons contradict.

    A class raster is sampled at the nearest pixel; where the grid's pixels span two or more of the raster's, the majority of the
    labelled ones decides. Polygons (`labels.column` set) own the pixels whose centres they cover; where polygons of different
    classes overlap there is no label. InputError for a code that is neither in the legend nor in the crosswalk nor ignored.
    """
    strange = {k: v for k, v in labels.crosswalk.items() if v not in legend.ids}
    if strange:
        raise UsageError(
            f"labels.crosswalk {strange} leads to ids that the legend lacks: it has {list(legend.ids)}"
        )
    if labels.column is not None:
        return _draw_polygons(labels, legend, grid)
    return _read_raster(labels, legend, grid), 0


def _read_raster(labels: LabelConf, legend: Legend, grid: Grid) -> np.ndarray:
    span = _span(_grid_of(labels.path), grid)
    votes = min(math.ceil(span), _VOTES) if span >= _COARSE else 1
    fine = Grid(
        grid.crs,
        tuple((grid.affine @ Affine.scale(1 / votes))[:6]),
        grid.height * votes,
        grid.width * votes,
    )
    codes, valid = reader.read_band(labels.path, 1, fine, "nearest", labels.nodata)
    found = codes[valid]
    if found.dtype.kind == "f":
        if (found != np.rint(found)).any():
            raise InputError(
                f"labels {labels.path} hold {found[found != np.rint(found)][0]}: a class raster holds whole numbers"
            )
        found = found.astype(np.int64)
    ids = np.full(fine.shape, NODATA, np.uint8)
    try:
        ids[valid] = Crosswalk(legend, _codes(labels), tuple(map(_code, labels.ignore))).apply(
            found
        )
    except InputError as error:
        raise InputError(f"labels {labels.path}: {error}") from error
    return ids if votes == 1 else _majority(ids, votes, legend)


@lru_cache(maxsize=16)
def _grid_of(path: str) -> Grid:
    return reader.grid_of(path)


def _code(text: int | str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(
            f"label code {text!r} is no number: a class raster has number codes; set labels.column for polygons"
        ) from error


def _codes(labels: LabelConf) -> dict[int, int]:
    return {_code(k): v for k, v in labels.crosswalk.items()}


def _span(source: Grid, grid: Grid) -> float:
    # Sides of label pixels that a pixel at the middle of the grid spans (square root of its area in label pixels).
    col, row = grid.width / 2, grid.height / 2
    x, y = zip(
        *(grid.affine @ p for p in ((col, row), (col + 1, row), (col, row + 1))), strict=True
    )
    x, y = transformer(grid.crs, source.crs).transform(x, y)
    if not np.isfinite([x, y]).all():
        return 1.0
    (x0, y0), (x1, y1), (x2, y2) = (~source.affine @ p for p in zip(x, y, strict=True))
    return math.sqrt(abs((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)))


def _majority(ids: np.ndarray, votes: int, legend: Legend) -> np.ndarray:
    # The class with most votes, the first in the legend on a tie; places without a label do not vote.
    height, width = (n // votes for n in ids.shape)
    out, most = np.full((height, width), NODATA, np.uint8), np.zeros((height, width), np.int64)
    for id_ in legend.ids:
        count = (ids == id_).reshape(height, votes, width, votes).sum((1, 3))
        out[count > most] = id_
        most = np.maximum(most, count)
    return out


def _draw_polygons(labels: LabelConf, legend: Legend, grid: Grid) -> tuple[np.ndarray, int]:
    ids = np.full(grid.shape, NODATA, np.uint8)
    layer, crs = _find_layer(labels.path, str(labels.column))
    around = transformer(grid.crs, crs).transform_bounds(*grid.pad(2).bounds, densify_pts=21)
    if not np.isfinite(around).all():
        return ids, 0
    stamp = files.file_identity(labels.path)
    window = None if int(str(stamp[1])) <= _KEPT else around
    shapes, values = _load(labels.path, layer, str(labels.column), str(stamp), window)
    xmin, ymin, xmax, ymax = shapely.bounds(shapes).T
    near = (xmin <= around[2]) & (xmax >= around[0]) & (ymin <= around[3]) & (ymax >= around[1])
    classes = _classes(values[near], labels, legend)
    # Sides straight in the file's CRS bend in the grid's: only the part near the grid is kept, with a vertex every few pixels.
    parts, owner = shapely.get_parts(shapely.clip_by_rect(shapes[near], *around), return_index=True)
    areal = np.isin(shapely.get_type_id(parts), (3, 6))
    parts, classes = parts[areal], classes[owner[areal]]
    if not same_crs(crs, grid.crs):
        step = max(around[2] - around[0], around[3] - around[1]) * 4 / max(grid.shape)
        parts = map_coordinates(
            shapely.segmentize(parts, step), transformer(crs, grid.crs).transform
        )
    claims = np.zeros(grid.shape, np.uint8)
    for id_ in np.unique(classes[classes != NODATA]):
        mine = rasterize(
            parts[classes == id_], grid.shape, transform=grid.affine, dtype="uint8"
        ).astype(bool)
        ids[mine] = id_
        claims += mine
    ids[claims > 1] = NODATA
    return ids, int((claims > 1).sum())


@lru_cache(maxsize=16)
def _find_layer(path: str, column: str) -> tuple[str, str]:
    # Name and CRS of the one layer that has the column.
    try:
        infos = [pyogrio.read_info(path, layer=name) for name in pyogrio.list_layers(path)[:, 0]]
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise InputError(f"labels {path} cannot be read as a vector file: {error}") from error
    found = [i for i in infos if column in i["fields"]]
    if len(found) != 1:
        columns = {i["layer_name"]: list(i["fields"]) for i in infos}
        raise InputError(
            f"labels.column {column!r} must be in one layer of {path}; its layers and their columns are {columns}"
        )
    if not found[0]["crs"]:
        raise InputError(
            f"labels {path} says no CRS: write one into the file (for example `ogr2ogr -a_srs EPSG:4326`)"
        )
    return found[0]["layer_name"], found[0]["crs"]


@lru_cache(maxsize=4)
def _load(
    path: str, layer: str, column: str, _stamp: str, window: tuple[float, ...] | None
) -> tuple[np.ndarray, np.ndarray]:
    # Polygons, mended where they cross themselves, and the column's values.
    _, _, wkb, fields = pyogrio.raw.read(path, layer=layer, columns=[column], bbox=window)
    shapes = shapely.from_wkb(wkb)
    areal = np.isin(shapely.get_type_id(shapes), (3, 6))
    if window is None and not areal.any():
        raise InputError(f"labels {path} hold no polygon in layer {layer!r}")
    return shapely.make_valid(shapes[areal], method="structure", keep_collapsed=False), fields[0][
        areal
    ]


def _classes(values: np.ndarray, labels: LabelConf, legend: Legend) -> np.ndarray:
    # (N,) uint8 ids: by crosswalk, then id, then the class's name; null and ignored values have no class.
    known = {c.name.casefold(): c.id for c in legend.classes} | {str(i): i for i in legend.ids}
    known |= {str(k).casefold(): v for k, v in labels.crosswalk.items()}
    known |= {str(k).casefold(): NODATA for k in labels.ignore} | {"": NODATA}
    texts = [_text(v) for v in values]
    unknown = sorted(set(texts) - set(known))
    if unknown:
        raise InputError(
            f"labels {labels.path}: values {unknown} of column {labels.column!r} have no class in legend {legend.name!r} "
            f"(classes {[f'{c.id} {c.name}' for c in legend.classes]}): add them to labels.crosswalk or to labels.ignore"
        )
    return np.array([known[t] for t in texts], np.uint8)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(
        value, float | np.floating
    ):  # whole numbers of a column with nulls, which read as NaN
        return "" if np.isnan(value) else f"{float(value):.15g}"
    return str(value).strip().casefold()
