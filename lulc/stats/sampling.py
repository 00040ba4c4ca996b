"""A stratified random sample of a map's pixels, for interpretation.

Within a stratum a pixel is drawn with a probability proportional to its true area, with
replacement. On any grid, geographic or not, the mean over a stratum's points is then an unbiased
estimate of a share of its area.
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

if TYPE_CHECKING:
    import geopandas
from lulc.errors import InputError, UsageError
from lulc.geo.areas import pixel_areas
from lulc.geo.grid import WGS84, transformer
from lulc.paths import for_pyogrio
from lulc.raster import reader
from lulc.raster.access import OpenRaster, open_raster
from lulc.raster.views import pixel_centres, read_window
from lulc.stats import class_rasters, estimators
from lulc.tables import files

_SIDE = 1024
_EXPECTED_ACCURACY = 0.8
_ALLOCATIONS = ("neyman", "proportional", "equal")


@dataclass(frozen=True)
class RasterWindow:
    """A window of a class raster, with the area of each class in it.

    Attributes:
        path: the raster's file.
        offsets: first row, first column, height and width in pixels.
        areas: (256,) m² by class id.
    """

    path: Path
    offsets: tuple[int, int, int, int]
    areas: np.ndarray


def scan_strata(rasters: Sequence[Path]) -> tuple[list[RasterWindow], dict[int, str]]:
    """Measure the classes of class rasters, window by window.

    Returns:
        The windows that have a class, and the class names by id.

    Raises:
        InputError: a file is not a class raster, two overlap, or no pixel has a class.
    """
    windows: list[RasterWindow] = []
    names: dict[int, str] = {}
    extents: list[_Extent] = []
    for path in rasters:
        with open_raster(str(path)) as source:
            names |= class_rasters.read_classes(source)[0]
            extents.append(_Extent(path, source.crs, source.bounds, max(source.res)))
            windows += _scan_windows(path, source)
    for first, second in itertools.combinations(extents, 2):
        if first.overlaps(second):
            raise InputError(
                f"{first.path} and {second.path} overlap, and the area they share would be "
                "counted twice: give one of them"
            )
    if not windows:
        raise InputError(
            f"no pixel of {', '.join(map(str, rasters)) or 'no raster'} has a class: "
            "there is nothing to sample"
        )
    return windows, names


@dataclass(frozen=True)
class _Extent:
    # bounds: left, bottom, right and top in units of the CRS; resolution: a pixel's longer side.
    path: Path
    crs: Any
    bounds: Any
    resolution: float

    def overlaps(self, other: _Extent) -> bool:
        """Return whether the two share more than half a pixel, in one CRS."""
        a, b = self.bounds, other.bounds
        width = min(a.right, b.right) - max(a.left, b.left)
        height = min(a.top, b.top) - max(a.bottom, b.bottom)
        return bool(self.crs == other.crs and min(width, height) > self.resolution / 2)


def _scan_windows(path: Path, source: OpenRaster) -> list[RasterWindow]:
    windows = []
    tops, lefts = range(0, source.height, _SIDE), range(0, source.width, _SIDE)
    for row, col in itertools.product(tops, lefts):
        offsets = (row, col, min(_SIDE, source.height - row), min(_SIDE, source.width - col))
        classes, pixel_m2 = _read_class_areas(source, offsets)
        areas = np.bincount(classes.ravel(), weights=pixel_m2.ravel(), minlength=256)
        if areas.any():
            windows.append(RasterWindow(path, offsets, areas))
    return windows


def draw_sample(
    rasters: Sequence[Path],
    path: Path,
    points: int | None = None,
    error: float | None = None,
    allocation: str = "neyman",
    min_points: int = 30,
    accuracies: dict[int, float] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Draw a stratified random sample of points, with the map's classes as strata.

    Writes the points in random order to `path`, and the design to `design_file(path)`, which
    `lulc evaluate --reference` needs.

    Args:
        rasters: class rasters (one band of uint8) that do not overlap.
        path: file of the points, .gpkg or .geojson.
        points: number of points; or give `error`.
        error: standard error, 0–1, that the overall accuracy shall have; or give `points`.
        allocation: `proportional` to area, `neyman` (area times the standard deviation of the
            expected accuracy), or `equal`.
        min_points: smallest number of points of a class.
        accuracies: expected user's accuracy, 0–1, by class id; 0.8 for the others.
        seed: seed of the random numbers.

    Returns:
        The design: rasters, allocation, seed, points, and strata with id, name, area_m2 and points.

    Raises:
        UsageError: neither or both of `points` and `error` are given, `allocation` is none of
            these, or `path` has another suffix.
        InputError: a raster is not a class raster, or `points` is too small for `min_points`.
    """
    if (points is None) == (error is None):
        raise UsageError(
            "say how many points to draw (--points), or which standard error the overall accuracy "
            "shall have (--error)"
        )
    if allocation not in _ALLOCATIONS:
        raise UsageError(f"allocation {allocation!r} is none of {', '.join(_ALLOCATIONS)}")
    if path.suffix not in (".gpkg", ".geojson"):
        raise UsageError(f"{path}: points are written as .gpkg or .geojson")
    windows, names = scan_strata(rasters)
    areas = np.sum([window.areas for window in windows], axis=0)
    strata = np.flatnonzero(areas).tolist()
    weights = areas[strata] / areas.sum()
    expected = np.array([(accuracies or {}).get(s, _EXPECTED_ACCURACY) for s in strata])
    spreads = np.sqrt(expected * (1 - expected)).clip(1e-3)
    if points is None:
        assert error is not None
        points = max(estimators.points_for(weights, spreads, error), min_points * len(strata))
    if allocation == "equal":
        weights = np.full(len(strata), 1 / len(strata))
    if allocation != "neyman":
        spreads = np.ones(len(strata))
    counts = estimators.allocate(weights, spreads, points, min_points).tolist()
    sample = _draw_points(
        windows, dict(zip(strata, counts, strict=True)), np.random.default_rng(seed)
    )
    _write_points(path, sample, names)
    design = {
        "rasters": [str(raster) for raster in rasters],
        "allocation": allocation,
        "seed": seed,
        "points": int(points),
        "strata": [
            {"id": s, "name": names.get(s, str(s)), "area_m2": float(areas[s]), "points": count}
            for s, count in zip(strata, counts, strict=True)
        ],
    }
    files.write_atomic(
        design_file(path), lambda temporary: temporary.write_text(json.dumps(design, indent=1))
    )
    return design


def design_file(path: Path) -> Path:
    """Return the path of the sample design that belongs to a file of points."""
    return path.with_suffix(".design.json")


def _write_points(path: Path, sample: geopandas.GeoDataFrame, names: dict[int, str]) -> None:
    sample["stratum"] = [names.get(s, str(s)) for s in sample["stratum_id"]]
    sample["reference"] = ""
    columns = ["point_id", "stratum_id", "stratum", "reference", "pixel_m", "geometry"]
    # The name that other programs give the layer when they write the file anew.
    layer = re.sub(r"\W", "_", path.stem)

    def write(location: Path) -> None:
        with for_pyogrio(location) as target:
            sample[columns].to_file(target, layer=layer)

    files.write_atomic(path, write)


def _draw_points(
    windows: Sequence[RasterWindow], counts: dict[int, int], rng: np.random.Generator
) -> geopandas.GeoDataFrame:
    # Points of every stratum at the centres of pixels, in random order.
    import geopandas

    rows = []
    for number, draws in sorted(_draw_offsets(windows, counts, rng).items()):
        rows += _locate_points(windows[number], draws)
    order = rng.permutation(len(rows))
    stratum_ids, lons, lats, sides = (np.array([rows[i][n] for i in order]) for n in range(4))
    columns = {
        "point_id": np.arange(1, len(rows) + 1),
        "stratum_id": stratum_ids.astype(int),
        "pixel_m": sides.round(2),
    }
    return geopandas.GeoDataFrame(columns, geometry=geopandas.points_from_xy(lons, lats), crs=WGS84)


def _draw_offsets(
    windows: Sequence[RasterWindow], counts: dict[int, int], rng: np.random.Generator
) -> dict[int, list[tuple[int, float]]]:
    # window number → (stratum, m² into the stratum's area in that window) of every point. The
    # stratum's area is one line, window after window and pixel after pixel: a number drawn evenly
    # along it falls on a pixel with a probability proportional to the pixel's area.
    draws: dict[int, list[tuple[int, float]]] = {}
    for stratum, count in counts.items():
        ends = np.cumsum([window.areas[stratum] for window in windows])
        drawn_m2 = rng.random(count) * ends[-1]
        numbers = np.minimum(np.searchsorted(ends, drawn_m2, side="right"), len(windows) - 1)
        for number, m2 in zip(numbers.tolist(), drawn_m2.tolist(), strict=True):
            start = float(ends[number] - windows[number].areas[stratum])
            draws.setdefault(number, []).append((stratum, m2 - start))
    return draws


def _locate_points(
    window: RasterWindow, draws: Sequence[tuple[int, float]]
) -> list[tuple[int, float, float, float]]:
    # (stratum, longitude, latitude, pixel side in m) of the points drawn in a window.
    with open_raster(str(window.path)) as source:
        classes, pixel_m2 = _read_class_areas(source, window.offsets)
        grid = reader.grid_of(source).window(*window.offsets)
    rows = []
    for stratum in sorted({stratum for stratum, _ in draws}):
        pixels = np.flatnonzero(classes.ravel() == stratum)
        ends = np.cumsum(pixel_m2.ravel()[pixels])
        offsets = [m2 for drawn_stratum, m2 in draws if drawn_stratum == stratum]
        ranks = np.minimum(np.searchsorted(ends, offsets, side="right"), len(pixels) - 1)
        y, x = np.divmod(pixels[ranks], classes.shape[1])
        lon, lat = transformer(grid.crs, WGS84).transform(*pixel_centres(grid, y, x))
        sides = np.sqrt(pixel_m2.ravel()[pixels[ranks]])
        rows += [
            (stratum, *point)
            for point in zip(np.atleast_1d(lon), np.atleast_1d(lat), sides, strict=True)
        ]
    return rows


def _read_class_areas(
    source: OpenRaster, offsets: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    # Class ids (H, W) of a window, and the m² of each pixel, zero where there is no class.
    row, col, height, width = offsets
    classes = read_window(source, np.s_[row : row + height, col : col + width])
    _, nodata = class_rasters.read_classes(source)
    areas = np.broadcast_to(pixel_areas(reader.grid_of(source).window(*offsets)), classes.shape)
    return classes, np.where(classes == nodata, 0.0, areas)
