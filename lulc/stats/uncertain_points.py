"""Points to interpret where a map knows least: new labels, and no sample to estimate from.

They show the model what it lacks. They are not of the whole map, so that no share or accuracy can
be estimated from them: `lulc.stats.interpreted_points` refuses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lulc.config import Overlap
from lulc.errors import InputError, UsageError
from lulc.legend import NODATA
from lulc.location import Location, parse_location
from lulc.raster import classes
from lulc.stats.class_rasters import join_legends
from lulc.stats.mosaic import Mosaic, make_mosaic
from lulc.stats.sampling import (
    Offsets,
    check_request,
    draw_points,
    read_class_areas,
    scan_strata,
    write_sample,
)
from lulc.tables import layout

UNCERTAINTY = "uncertainty"
"""Says in the design, and of each point in the column `drawn_by`, how it was drawn."""

_LEAST_SHARE = 0.05
"""Share of the map's area, the least confident, that points are drawn from."""


def draw_uncertain(
    rasters: Sequence[Location],
    path: Location,
    points: int,
    seed: int = 0,
    overlap: Overlap = "refuse",
) -> dict[str, Any]:
    """Draw points from the twentieth of a map's area with the least confidence.

    There a pixel is drawn with a probability proportional to its true area, so that the points lie
    apart; one that is drawn twice is one point.

    Args:
        rasters: class rasters of a run, whose rasters of confidence lie where the run wrote them.
        path: file of the points, .gpkg or .geojson.
        points: number of points, or a few less where a pixel is drawn twice.
        seed: seed of the random numbers.
        overlap: where two rasters have classes at one place, refuse them or take the first by name.

    Returns:
        The design: rasters, overlap, seed, points, `by`, and `confidence`, 0–1, the highest of the
        pixels that points are drawn from, which have `area_m2`.

    Raises:
        UsageError: `points` is below 1, there is no raster, or `path` has another suffix or is
            there already.
        InputError: a raster is not a class raster or has none of confidence, two overlap that may
            not or name their classes differently.
    """
    check_request(path, rasters, seed)
    if points < 1:
        raise UsageError(f"{points} points: give 1 or more")
    scanned = [classes.scan_raster(str(raster.resolve())) for raster in rasters]
    join_legends(scanned)
    mosaic = make_mosaic(scanned, overlap)
    windows = scan_strata(mosaic, _read_confidence)
    areas = np.sum([window.areas for window in windows], axis=0)
    shares = np.cumsum(areas) / areas.sum()
    highest = int(np.searchsorted(shares, _LEAST_SHARE))
    least = areas[: highest + 1]
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(points, least / least.sum()).tolist()
    counts = {percent: count for percent, count in enumerate(drawn) if count}
    sample = draw_points(mosaic, windows, counts, rng, _read_confidence)
    sample = sample.drop_duplicates("geometry", ignore_index=True)
    sample["point_id"] = np.arange(1, len(sample) + 1)
    sample["confidence"] = sample["stratum_id"] / 100
    sample["drawn_by"] = UNCERTAINTY
    design = {
        "by": UNCERTAINTY,
        "rasters": [raster.path for raster in mosaic.rasters],
        "overlap": overlap,
        "seed": seed,
        "points": len(sample),
        "confidence": highest / 100,
        "area_m2": float(least.sum()),
    }
    columns = ["point_id", "drawn_by", "confidence", "reference", "pixel_m", "geometry"]
    write_sample(path, sample[columns], design)
    return design


def _read_confidence(
    mosaic: Mosaic, number: int, offsets: Offsets
) -> tuple[np.ndarray, np.ndarray]:
    # Per cent of confidence (H, W) where a raster owns a class in a window, else NODATA.
    raster = mosaic.rasters[number]
    ids, pixel_m2 = read_class_areas(mosaic, number, offsets)
    confidence = classes.scan_raster(_confidence_of(raster.path))
    if confidence.grid != raster.grid:
        raise InputError(
            f"{confidence.path} is on another grid than {raster.path}: run `lulc rasters` again"
        )
    row, col, height, width = offsets
    window = np.s_[row : row + height, col : col + width]
    percent = np.where(ids == NODATA, NODATA, classes.read_ids(confidence, window))
    return percent, np.where(percent == NODATA, 0.0, pixel_m2)


def _confidence_of(path: str) -> str:
    folder, is_of_run, name = path.rpartition(f"/{layout.RASTERS}/")
    confidence = f"{folder}/{layout.confidence_raster(f'{layout.RASTERS}/{name}')}"
    if not is_of_run or not parse_location(confidence).exists():
        raise InputError(
            f"{path} has no raster of confidence ({confidence if is_of_run else 'no run wrote it'})"
            ": give class rasters in the folder where `lulc rasters` wrote both"
        )
    return confidence
