"""Areas and accuracy of class rasters, without Spark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lulc.config import MapFiles, RegionFile
from lulc.geo.grid import Grid
from lulc.raster import reader
from lulc.stats import area_estimation, change, sampling
from lulc.stats.without_spark import AreaTables, measure_class_rasters

type Files = str | Path | Sequence[str | Path]
"""A pattern of file names, a path, or several of them."""
type Regions = str | Path | RegionFile | Sequence[RegionFile]
"""A vector file of polygons, or how to read one or more."""


def class_areas(maps: Mapping[str, Files], regions: Regions) -> pa.Table:
    """Take the areas of the classes of any class rasters by region.

    Areas are of exact fractions of pixels times their true ellipsoidal area, in any CRS. Per
    region, classes and the unobserved part add up to the region's own area.

    Args:
        maps: period → class rasters (one band of uint8): a pattern, a path, or several.
        regions: a vector file of polygons in any CRS.

    Returns:
        A row by region, period and class, with `area_m2` and `share`; `class_id` is null for the
        unobserved part. docs/tables.md lists the columns.

    Raises:
        InputError: a file cannot be read, or areas do not add up.

    Examples:
        >>> import lulc
        >>> areas = lulc.class_areas({"2020": "maps/2020/*.tif"}, "parks.gpkg")  # doctest: +SKIP
        >>> areas.to_pandas()  # doctest: +SKIP
    """
    return measure_areas(maps, regions).class_areas


def measure_areas(maps: Mapping[str, Files], regions: Regions) -> AreaTables:
    """Take areas as `class_areas` does, and what became what between neighbouring periods.

    Args:
        maps: as of `class_areas`; periods in their order.
        regions: as of `class_areas`.

    Returns:
        `class_areas` and `transitions`.
    """
    map_files = [
        MapFiles(str(path), period) for period, paths in maps.items() for path in _listed(paths)
    ]
    return measure_class_rasters(map_files, _region_files(regions))


def compare_maps(before: str | Path, after: str | Path, change_map: str | Path) -> pa.Table:
    """Compare two class rasters of one place.

    Args:
        before: the earlier map.
        after: the later map.
        change_map: where the raster of changes is written, `from_id * 256 + to_id`.

    Returns:
        A row for every pair of classes: pixels and area_m2.
    """
    rows = change.write_changes(Path(before), Path(after), Path(change_map))
    return pa.Table.from_pylist(rows)


def draw_sample(
    maps: Files,
    points: str | Path,
    *,
    count: int | None = None,
    error: float | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Draw a stratified random sample of points for people to interpret.

    Args:
        maps: class rasters that do not overlap; their classes are the strata.
        points: where the points are written, .gpkg or .geojson.
        count: number of points; or give `error`.
        error: the standard error, 0–1, that the overall accuracy shall have; or give `count`.
        options: further arguments of `lulc.stats.sampling.draw_sample`: allocation, min_points,
            accuracies, seed.

    Returns:
        The design: `strata` with id, name, area_m2 and points, and how they were drawn.
    """
    rasters = [Path(path) for path in _listed(maps)]
    return sampling.draw_sample(rasters, Path(points), count, error, **options)


def estimate_areas(
    points: str | Path, *, maps: Files = (), regions: Regions = (), out: str | Path | None = None
) -> pa.Table:
    """Estimate accuracies and areas with 95 % intervals from interpreted points.

    The estimators are those of Olofsson et al. 2014 and Stehman 2014.

    Args:
        points: the file that `draw_sample` wrote, its column `reference` filled in with class ids
            or names; points without one are left out.
        maps: class rasters to judge by the points; those they were drawn from by default.
        regions: regions to estimate by, too.
        out: an output folder that the tables are also written to.

    Returns:
        A row for every measure: `estimate`, `standard_error`, `low_95`, `high_95`.
    """
    rasters = [Path(path) for path in _listed(maps)]
    folder = Path(out) if out else None
    table, _ = area_estimation.estimate_areas(Path(points), rasters, folder, _region_files(regions))
    return table


def read(href: str | Path, grid: Grid | None = None) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Read the first bands of a raster file, on its own grid or on another.

    Args:
        href: a path, or an s3, gs or http(s) address.
        grid: the grid to read onto, by nearest neighbours; the file's own by default.

    Returns:
        Pixels (C, H, W), 0 where not valid; valid (H, W) bool; and the grid.

    Raises:
        InputError: the file cannot be read, or has no grid.
    """
    address = str(href)
    if grid is None:
        pixels, valid, _ = reader.read_whole(address, with_grid=False)
        return pixels, valid, reader.grid_of(address)
    count = reader.count_bands(address)
    read_bands = reader.read_bands(address, [(n + 1, "nearest", None) for n in range(count)], grid)
    pixels = np.stack([band for band, _ in read_bands])
    valid = np.all([band_valid for _, band_valid in read_bands], axis=0)
    return pixels, valid, grid


def _listed(paths: Files) -> list[str | Path]:
    return [paths] if isinstance(paths, str | Path) else list(paths)


def _region_files(regions: Regions) -> list[RegionFile]:
    if isinstance(regions, str | Path):
        return [RegionFile(str(regions))]
    return [regions] if isinstance(regions, RegionFile) else list(regions)
