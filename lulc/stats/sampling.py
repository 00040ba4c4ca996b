"""A stratified random sample of a map's pixels, for interpretation.

Within a stratum a pixel is drawn with a probability proportional to its true area, with
replacement. On any grid, geographic or not, the mean over a stratum's points is then an unbiased
estimate of a share of its area.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import geopandas
from lulc.config import Overlap
from lulc.errors import InputError, UsageError
from lulc.geo.areas import pixel_areas
from lulc.geo.grid import WGS84, transformer
from lulc.legend import NODATA
from lulc.location import Location
from lulc.paths import for_pyogrio
from lulc.raster import classes
from lulc.raster.views import pixel_centres
from lulc.stats import estimators
from lulc.stats.class_rasters import join_legends
from lulc.stats.mosaic import Mosaic, make_mosaic, read_block
from lulc.tables import files

_SIDE = 1024
_EXPECTED_ACCURACY = 0.8
_ALLOCATIONS = ("neyman", "proportional", "equal")

type Offsets = tuple[int, int, int, int]
"""First row, first column, height and width of a window, in pixels."""

type ReadStrata = Callable[[Mosaic, int, Offsets], tuple[np.ndarray, np.ndarray]]
"""read(mosaic, number of a raster, window): (H, W) uint8 strata, and m² of each pixel that count
for its stratum."""


@dataclass(frozen=True)
class RasterWindow:
    """A window of a class raster, with the area of each class that the raster owns in it.

    Attributes:
        raster: number of the raster in its mosaic.
        offsets: first row, first column, height and width in pixels.
        areas: (256,) m² by class id, or other stratum.
    """

    raster: int
    offsets: Offsets
    areas: np.ndarray


def scan_strata(mosaic: Mosaic, read: ReadStrata | None = None) -> list[RasterWindow]:
    """Measure the strata of class rasters, window by window.

    Args:
        mosaic: the map.
        read: reader of the strata; that of the classes by default.

    Returns:
        The windows that have a class.

    Raises:
        InputError: two rasters overlap that may not, or no pixel has a class.
    """
    windows = []
    for number, raster in enumerate(mosaic.rasters):
        tops, lefts = (range(0, size, _SIDE) for size in raster.grid.shape)
        for row, col in itertools.product(tops, lefts):
            height, width = (
                min(_SIDE, size - start)
                for size, start in zip(raster.grid.shape, (row, col), strict=True)
            )
            offsets = (row, col, height, width)
            ids, pixel_m2 = (read or read_class_areas)(mosaic, number, offsets)
            areas = np.bincount(ids.ravel(), weights=pixel_m2.ravel(), minlength=256)
            if areas.any():
                windows.append(RasterWindow(number, offsets, areas))
    if not windows:
        paths = ", ".join(raster.path for raster in mosaic.rasters)
        raise InputError(f"no pixel of {paths or 'no raster'} has a class: nothing to sample")
    return windows


def draw_sample(
    rasters: Sequence[Location],
    path: Location,
    points: int | None = None,
    error: float | None = None,
    allocation: str = "neyman",
    min_points: int = 30,
    accuracies: dict[int, float] | None = None,
    seed: int = 0,
    overlap: Overlap = "refuse",
) -> dict[str, Any]:
    """Draw a stratified random sample of points, with the map's classes as strata.

    Writes the points in random order to `path`, and the design to `design_file(path)`, which
    `lulc evaluate --reference` needs.

    Args:
        rasters: class rasters.
        path: file of the points, .gpkg or .geojson.
        points: number of points; or give `error`.
        error: standard error, 0–1, that the overall accuracy shall have; or give `points`.
        allocation: `proportional` to area, `neyman` (area times the standard deviation of the
            expected accuracy), or `equal`.
        min_points: smallest number of points of a class.
        accuracies: expected user's accuracy, 0–1, by class id; 0.8 for the others.
        seed: seed of the random numbers.
        overlap: where two rasters have classes at one place, refuse them or take the first by name.

    Returns:
        The design: rasters, overlap, allocation, seed, points, and strata with id, name, area_m2
        and points.

    Raises:
        UsageError: neither or both of `points` and `error` are given, a number is out of its range,
            `allocation` is none of these, there is no raster, or `path` has another suffix or is
            there already.
        InputError: a raster is not a class raster, two overlap that may not or name their classes
            differently, or `points` is too small for `min_points`.
    """
    if (points is None) == (error is None):
        raise UsageError(
            "say how many points to draw (--points), or which standard error the overall accuracy "
            "shall have (--error): one of the two"
        )
    if allocation not in _ALLOCATIONS:
        raise UsageError(f"allocation {allocation!r} is none of {', '.join(_ALLOCATIONS)}")
    check_request(path, rasters, seed)
    _check_numbers(error, accuracies or {})
    scanned = [classes.scan_raster(str(raster.resolve())) for raster in rasters]
    names, mosaic = join_legends(scanned), make_mosaic(scanned, overlap)
    windows = scan_strata(mosaic)
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
    sample = draw_points(
        mosaic, windows, dict(zip(strata, counts, strict=True)), np.random.default_rng(seed)
    )
    sample["stratum"] = [names.get(s, str(s)) for s in sample["stratum_id"]]
    design: dict[str, Any] = {
        "rasters": [raster.path for raster in mosaic.rasters],
        "overlap": overlap,
        "allocation": allocation,
        "seed": seed,
        "points": int(points),
        "strata": [
            {"id": s, "name": names.get(s, str(s)), "area_m2": float(areas[s]), "points": count}
            for s, count in zip(strata, counts, strict=True)
        ],
    }
    columns = ["point_id", "stratum_id", "stratum", "reference", "pixel_m", "geometry"]
    write_sample(path, sample[columns], design)
    return design


def check_request(path: Location, rasters: Sequence[Location], seed: int) -> None:
    """Check what points are drawn from, and where they are written.

    Raises:
        UsageError: there is no raster, the file has another suffix than .gpkg and .geojson or is
            there already, or the seed is negative.
    """
    if path.exists():
        raise UsageError(
            f"{path} is there already, and what people filled in would be lost: choose another "
            "name, or remove it"
        )
    if path.suffix not in (".gpkg", ".geojson"):
        raise UsageError(f"{path}: points are written as .gpkg or .geojson")
    if not rasters:
        raise UsageError("points are drawn from class rasters: give at least one")
    if seed < 0:
        raise UsageError(f"seed {seed} must be 0 or more")


def _check_numbers(error: float | None, accuracies: dict[int, float]) -> None:
    if error is not None and not 0 < error < 1:
        raise UsageError(f"standard error {error} must lie between 0 and 1")
    for class_id, accuracy in accuracies.items():
        if not 0 <= accuracy <= 1:
            raise UsageError(f"expected accuracy {accuracy} of class {class_id} is not from 0 to 1")


def design_file(path: Location) -> Location:
    """Return the path of the sample design that belongs to a file of points."""
    return path.with_suffix(".design.json")


def write_sample(path: Location, sample: geopandas.GeoDataFrame, design: dict[str, Any]) -> None:
    """Write points, and beside them how they were drawn.

    Args:
        path: file of the points; the design is written to `design_file(path)`.
        sample: the points.
        design: plain values.
    """
    # The name that other programs give the layer when they write the file anew.
    layer = re.sub(r"\W", "_", path.stem)

    def write(location: Path) -> None:
        with for_pyogrio(location) as target:
            sample.to_file(target, layer=layer)

    files.write_atomic(path, write)
    files.write_atomic(
        design_file(path), lambda temporary: temporary.write_text(json.dumps(design, indent=1))
    )


def draw_points(
    mosaic: Mosaic,
    windows: Sequence[RasterWindow],
    counts: dict[int, int],
    rng: np.random.Generator,
    read: ReadStrata | None = None,
) -> geopandas.GeoDataFrame:
    """Draw points at the centres of pixels, each with a probability proportional to its area.

    Args:
        mosaic: the map.
        windows: of `scan_strata`.
        counts: number of points by stratum.
        rng: random numbers.
        read: the reader of the strata that the windows were scanned with.

    Returns:
        In random order: point_id from 1, stratum_id, reference (empty), pixel_m (side of the pixel
        in m) and geometry in EPSG:4326.
    """
    import geopandas

    rows = []
    for number, draws in sorted(_draw_offsets(windows, counts, rng).items()):
        rows += _locate_points(mosaic, windows[number], draws, read or read_class_areas)
    order = rng.permutation(len(rows))
    stratum_ids, lons, lats, sides = (np.array([rows[i][n] for i in order]) for n in range(4))
    columns = {
        "point_id": np.arange(1, len(rows) + 1),
        "stratum_id": stratum_ids.astype(int),
        "reference": "",
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
    mosaic: Mosaic, window: RasterWindow, draws: Sequence[tuple[int, float]], read: ReadStrata
) -> list[tuple[int, float, float, float]]:
    # (stratum, longitude, latitude, pixel side in m) of the points drawn in a window.
    ids, pixel_m2 = read(mosaic, window.raster, window.offsets)
    grid = mosaic.rasters[window.raster].grid.window(*window.offsets)
    rows = []
    for stratum in sorted({stratum for stratum, _ in draws}):
        pixels = np.flatnonzero(ids.ravel() == stratum)
        ends = np.cumsum(pixel_m2.ravel()[pixels])
        offsets = [m2 for drawn_stratum, m2 in draws if drawn_stratum == stratum]
        ranks = np.minimum(np.searchsorted(ends, offsets, side="right"), len(pixels) - 1)
        y, x = np.divmod(pixels[ranks], ids.shape[1])
        lon, lat = transformer(grid.crs, WGS84).transform(*pixel_centres(grid, y, x))
        # A raster may count longitudes beyond 180.
        lon = np.atleast_1d(lon)
        lon = np.where(np.abs(lon) > 180, (lon + 180) % 360 - 180, lon)
        sides = np.sqrt(pixel_m2.ravel()[pixels[ranks]])
        rows += [(stratum, *point) for point in zip(lon, np.atleast_1d(lat), sides, strict=True)]
    return rows


def read_class_areas(
    mosaic: Mosaic, number: int, offsets: Offsets
) -> tuple[np.ndarray, np.ndarray]:
    """Read the classes that a raster owns in a window.

    Returns:
        (H, W) uint8 class ids, and the m² of each pixel, zero where there is no class.

    Raises:
        InputError: two rasters overlap that may not.
    """
    block = read_block(mosaic, number, offsets)
    if block.shared:
        raise block.shared[0].error()
    ids = block.ids
    grid = mosaic.rasters[number].grid.window(*offsets)
    areas = np.broadcast_to(pixel_areas(grid), ids.shape)
    return ids, np.where(ids == NODATA, 0.0, areas)
