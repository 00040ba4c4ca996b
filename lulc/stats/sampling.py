"""A stratified random sample of a map's pixels, for people to interpret: how much ground each stratum covers, and where to look.

Within a stratum a pixel is drawn with a chance in proportion to its true area, with replacement: on any grid, geographic or not,
the mean over its points is then an unbiased estimate of a share of its area.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio.transform
from rasterio.io import DatasetReader
from rasterio.windows import Window

if TYPE_CHECKING:
    import geopandas
from lulc.errors import InputError, UsageError
from lulc.geo.areas import pixel_areas
from lulc.geo.grid import WGS84, transformer
from lulc.raster import access, reader
from lulc.stats import class_rasters, estimators
from lulc.tables import files

_SIDE = 1024


@dataclass(frozen=True)
class RasterWindow:
    """A window (row, col, height, width) of a raster, and the m² of each class (256,) in it."""

    path: Path
    place: tuple[int, int, int, int]
    areas: np.ndarray


def scan_strata(rasters: Sequence[Path]) -> tuple[list[RasterWindow], dict[int, str]]:
    """The blocks of class rasters, and their classes' names by id. InputError for what is none, or where two overlap."""
    blocks: list[RasterWindow] = []
    names: dict[int, str] = {}
    boxes = []
    for path in rasters:
        with access.open_raster(str(path)) as source:
            names |= class_rasters.read_classes(source)[0]
            boxes.append((path, source.crs, source.bounds, max(source.res)))
            tops, lefts = range(0, source.height, _SIDE), range(0, source.width, _SIDE)
            for row, col in itertools.product(tops, lefts):
                place = (row, col, min(_SIDE, source.height - row), min(_SIDE, source.width - col))
                classes, areas = _read(source, place)
                found = np.bincount(classes.ravel(), weights=areas.ravel(), minlength=256)
                if found.any():
                    blocks.append(RasterWindow(path, place, found))
    for (one, crs, a, side), (other, crs2, b, _) in itertools.combinations(boxes, 2):
        wide, high = (
            min(a.right, b.right) - max(a.left, b.left),
            min(a.top, b.top) - max(a.bottom, b.bottom),
        )
        if crs == crs2 and min(wide, high) > side / 2:
            raise InputError(
                f"{one} and {other} overlap, and their ground would count twice: give one of them"
            )
    if not blocks:
        raise InputError(
            f"no pixel of {', '.join(map(str, rasters)) or 'no raster'} has a class: there is nothing to sample"
        )
    return blocks, names


def draw_sample(
    rasters: Sequence[Path],
    path: Path,
    points: int | None = None,
    error: float | None = None,
    allocation: str = "neyman",
    least: int = 30,
    accuracies: dict[int, float] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """What was drawn: strata with id, name, area_m2 and points. `path` (.gpkg or .geojson) gets the points, in random order.

    points: how many in all; or error: the standard error that the overall accuracy shall have. allocation: proportional, neyman
    or equal. accuracies: expected user's accuracy by class, 0.8 where not given. Beside the points a .design.json holds the
    strata, which `lulc evaluate --reference` needs. UsageError for what cannot be asked.
    """
    if (points is None) == (error is None):
        raise UsageError(
            "say how many points to draw (--points), or which standard error the overall accuracy shall have (--error)"
        )
    if path.suffix not in (".gpkg", ".geojson"):
        raise UsageError(f"{path}: points are written as .gpkg or .geojson")
    blocks, names = scan_strata(rasters)
    whole = np.sum([b.areas for b in blocks], axis=0)
    strata = np.flatnonzero(whole).tolist()
    weights = whole[strata] / whole.sum()
    expected = np.array([(accuracies or {}).get(s, 0.8) for s in strata])
    spreads = np.sqrt(expected * (1 - expected)).clip(1e-3)
    if points is None:
        assert error is not None
        points = max(estimators.points_for(weights, spreads, error), least * len(strata))
    if allocation == "equal":
        weights, spreads = np.full(len(strata), 1 / len(strata)), np.ones(len(strata))
    counts = estimators.allocate(
        weights, spreads if allocation == "neyman" else np.ones(len(strata)), points, least
    )
    found = _place(
        blocks, dict(zip(strata, counts.tolist(), strict=True)), np.random.default_rng(seed)
    )
    found["stratum"] = [names.get(s, str(s)) for s in found["stratum_id"]]
    found["reference"] = ""
    columns = ["point_id", "stratum_id", "stratum", "reference", "pixel_m", "geometry"]
    layer = re.sub(
        r"\W", "_", path.stem
    )  # the name that others give a layer when they write the file anew
    files.write_atomic(path, lambda beside: found[columns].to_file(beside, layer=layer))
    told = {
        "rasters": [str(r) for r in rasters], "allocation": allocation, "seed": seed, "points": int(points),
        "strata": [
            {"id": s, "name": names.get(s, str(s)), "area_m2": float(whole[s]), "points": int(n)}
            for s, n in zip(strata, counts, strict=True)
        ],
    }  # fmt: skip
    files.write_atomic(
        design_file(path), lambda beside: beside.write_text(json.dumps(told, indent=1))
    )
    return told


def design_file(path: Path) -> Path:
    """Where the design of a file of points lies."""
    return path.with_suffix(".design.json")


def _place(
    blocks: Sequence[RasterWindow], counts: dict[int, int], rng: np.random.Generator
) -> geopandas.GeoDataFrame:
    import geopandas

    # A stratum's ground laid out in one line, block after block: a place on it is a pixel, with a chance as large as its area.
    wanted: dict[int, list[tuple[int, float]]] = {}
    for stratum, count in counts.items():
        ends = np.cumsum([b.areas[stratum] for b in blocks])
        at = rng.random(count) * ends[-1]
        block = np.minimum(np.searchsorted(ends, at, side="right"), len(blocks) - 1)
        for number, place in zip(block.tolist(), at.tolist(), strict=True):
            wanted.setdefault(number, []).append(
                (stratum, place - float(ends[number] - blocks[number].areas[stratum]))
            )
    rows = []
    for number, asked in sorted(wanted.items()):
        path, place = blocks[number].path, blocks[number].place
        with access.open_raster(str(path)) as source:
            classes, areas = _read(source, place)
            grid = reader.grid_of(source).window(*place)
        for stratum in sorted({s for s, _ in asked}):
            inside = np.flatnonzero(classes.ravel() == stratum)
            ends = np.cumsum(areas.ravel()[inside])
            chosen = inside[
                np.minimum(
                    np.searchsorted(ends, [p for s, p in asked if s == stratum], side="right"),
                    len(inside) - 1,
                )
            ]
            y, x = np.divmod(chosen, classes.shape[1])
            lon, lat = transformer(grid.crs, WGS84).transform(
                *rasterio.transform.xy(grid.affine, y, x)
            )
            side = np.sqrt(areas.ravel()[chosen])
            rows += [
                (stratum, *at)
                for at in zip(np.atleast_1d(lon), np.atleast_1d(lat), side, strict=True)
            ]
    order = rng.permutation(len(rows))
    stratum_ids, lons, lats, sides = (np.array([rows[i][n] for i in order]) for n in range(4))
    columns = {
        "point_id": np.arange(1, len(rows) + 1),
        "stratum_id": stratum_ids.astype(int),
        "pixel_m": sides.round(2),
    }
    return geopandas.GeoDataFrame(columns, geometry=geopandas.points_from_xy(lons, lats), crs=WGS84)


def _read(source: DatasetReader, place: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Class ids (H, W) of a window, and the m² of each pixel, zero where there is no class."""
    row, col, height, width = place
    classes = source.read(1, window=Window(col, row, width, height))
    _, empty = class_rasters.read_classes(source)
    areas = np.broadcast_to(pixel_areas(reader.grid_of(source).window(*place)), classes.shape)
    return classes, np.where(classes == empty, 0.0, areas)
