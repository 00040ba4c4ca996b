"""Class rasters and other rasters, their areas and their accuracy, without Spark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from lulc import progress
from lulc.bands import Resampling
from lulc.config import MapFiles, Overlap, RegionFile
from lulc.errors import InputError, UsageError
from lulc.geo.grid import Grid
from lulc.location import Location, parse_location
from lulc.paths import match_files
from lulc.raster import reader
from lulc.stats import area_estimation, change, sampling
from lulc.stats.regions import level_of_file
from lulc.stats.without_spark import AreaTables, measure_class_rasters

if TYPE_CHECKING:
    from lulc.maps.class_map import ClassMap

type Files = str | Path | Sequence[str | Path]
"""A path, a pattern of file names, or several of them."""
type Regions = str | Path | RegionFile | Sequence[str | Path | RegionFile]
"""Vector files of polygons in any CRS; RegionFile says which columns hold ids and names."""
type Allocation = Literal["neyman", "proportional", "equal"]


def class_areas(
    maps: Mapping[str, Files], regions: Regions, overlap: Overlap = "refuse"
) -> pa.Table:
    """Take the areas of the classes of any class rasters by region.

    Areas are of exact fractions of pixels times their true ellipsoidal area, in any CRS. Per
    region, classes and the unobserved part add up to the region's own area.

    Args:
        maps: period → class rasters, one band of whole numbers from 0 to 254.
        regions: vector files of polygons; a file's name is the level of its regions.
        overlap: where two rasters of a period have classes at one place, refuse them or take the
            first by name.

    Returns:
        A row by region, period and class, with `area_m2` and `share`; `class_id` is null for the
        unobserved part. docs/tables.md lists the columns.

    Raises:
        UsageError: there are no maps or no regions, or a period's name has characters that tables
            and paths cannot have.
        InputError: a file cannot be read, no region has an area, rasters overlap that may not,
            their legends contradict each other, or areas do not add up.

    Examples:
        >>> import lulc
        >>> areas = lulc.class_areas({"2020": "maps/2020/*.tif"}, "parks.gpkg")  # doctest: +SKIP
        >>> areas.to_pandas()  # doctest: +SKIP
    """
    return measure_areas(maps, regions, overlap).class_areas


def measure_areas(
    maps: Mapping[str, Files], regions: Regions, overlap: Overlap = "refuse"
) -> AreaTables:
    """Take areas as `class_areas` does, and what became what between neighbouring periods.

    Args:
        maps: as of `class_areas`; periods are compared in the order of their names.
        regions: as of `class_areas`.
        overlap: as of `class_areas`.

    Returns:
        `class_areas` and `transitions`.

    Raises:
        UsageError: there are no maps or no regions, or a period's name has characters that tables
            and paths cannot have.
        InputError: as of `class_areas`.
    """
    if not isinstance(maps, Mapping):
        raise UsageError(
            f"maps are given by period, such as {{'2020': {maps!r}}}: found {type(maps).__name__}"
        )
    map_files = [
        _map_files(path, period) for period, files in maps.items() for path in _list_paths(files)
    ]
    region_files = _region_files(regions)
    if not map_files or not region_files:
        raise UsageError(
            "areas need class rasters and regions: give class_areas({PERIOD: RASTERS}, REGIONS)"
        )
    return measure_class_rasters(map_files, region_files, overlap)


def compare_maps(before: str | Path, after: str | Path, change_map: str | Path) -> pa.Table:
    """Compare two class rasters of one place.

    Args:
        before: the earlier map.
        after: the later map, on any grid.
        change_map: where the raster of changes is written, `from_id * 256 + to_id`.

    Returns:
        A row for every pair of classes: from_id, from_class, to_id, to_class, pixels and area_m2.

    Raises:
        InputError: a file is no class raster, or the two name their classes differently.
    """
    rows = change.write_changes(_local(before), _local(after), parse_location(change_map))
    return pa.Table.from_pylist(rows, change.CHANGES)


def draw_sample(
    maps: Files,
    points: str | Path,
    *,
    count: int | None = None,
    error: float | None = None,
    allocation: Allocation = "neyman",
    min_points: int = 30,
    accuracies: Mapping[int, float] | None = None,
    seed: int = 0,
    overlap: Overlap = "refuse",
) -> dict[str, Any]:
    """Draw a stratified random sample of points for people to interpret.

    Args:
        maps: class rasters; their classes are the strata.
        points: where the points are written, .gpkg or .geojson; the design lies beside it.
        count: number of points; or give `error`.
        error: the standard error, 0–1, that the overall accuracy shall have; or give `count`.
        allocation: of points to classes: `proportional` to area, `neyman` (area times the standard
            deviation of the expected accuracy), or `equal`.
        min_points: smallest number of points of a class.
        accuracies: expected user's accuracy, 0–1, by class id; 0.8 for the others.
        seed: seed of the random draw.
        overlap: where two rasters have classes at one place, refuse them or take the first by name.

    Returns:
        The design: `strata` with id, name, area_m2 and points, and how they were drawn.

    Raises:
        UsageError: neither or both of `count` and `error` are given, or an unknown allocation.
        InputError: a file is no class raster, two overlap that may not or name their classes
            differently, or `count` is too small.
    """
    expected = dict(accuracies or {})
    return sampling.draw_sample(
        _list_paths(maps),
        parse_location(points),
        count,
        error,
        allocation,
        min_points,
        expected,
        seed,
        overlap,
    )


def estimate_areas(
    points: str | Path,
    *,
    maps: Files = (),
    regions: Regions = (),
    out: str | Path | None = None,
    overlap: Overlap | None = None,
    period: str | None = None,
) -> pa.Table:
    """Estimate accuracies and areas with 95 % intervals from interpreted points.

    The estimators are those of Olofsson et al. 2014 and Stehman 2014.

    Args:
        points: the file that `draw_sample` wrote, its column `reference` filled in with class ids
            or names; points without one are left out.
        maps: class rasters to judge by the points; those they were drawn from by default.
        regions: regions to estimate by, too.
        out: an output folder that the tables are also written to.
        overlap: as of `draw_sample`; what the design did by default.
        period: of the maps; that of rasters under `out` by default. Estimates of other periods
            stay in the tables.

    Returns:
        A row for every measure: `estimate`, `standard_error`, `low_95`, `high_95`.

    Raises:
        InputError: the points or their design are missing, a reference is no class, legends differ,
            or a class lacks points.
    """
    folder = parse_location(out) if out else None
    table, unanswered = area_estimation.estimate_areas(
        parse_location(points), _list_paths(maps), folder, _region_files(regions), overlap, period
    )
    if unanswered:
        progress.say(f"{unanswered} points have no reference yet and were left out")
    return table


def open_map(path: str | Path) -> ClassMap:
    """Read a class raster that a run, a folder of images or any other program has made.

    Returns:
        The map with the names and colours of the file.

    Raises:
        InputError: the file is not one band of uint8.
    """
    from lulc.maps.mosaic import read_class_raster

    return read_class_raster(_local(path))


def read(
    href: str | Path,
    grid: Grid | None = None,
    *,
    bands: Sequence[int] = (),
    resampling: Resampling = "nearest",
) -> tuple[np.ndarray, np.ndarray, Grid | None]:
    """Read bands of a raster file, on its own grid or on another.

    Args:
        href: a path, or an s3, gs or http(s) address.
        grid: the grid to read onto; the file's own by default.
        bands: their numbers, from 1; all but alpha by default.
        resampling: nearest, bilinear or average, where `grid` is given.

    Returns:
        Pixels (C, H, W), 0 where not valid; valid (H, W) bool, where all bands are; and the grid,
        None of an image without georeference.

    Raises:
        InputError: the file cannot be read, lacks a band, or `grid` is given and it has none.
        UsageError: the resampling is not one of these.
    """
    if resampling not in get_args(Resampling):
        raise UsageError(f"resampling {resampling!r} is none of {', '.join(get_args(Resampling))}")
    address = str(href) if "://" in str(href) else str(_local(href))
    if grid is None:
        return reader.read_whole(address, bands)
    indexes = bands or reader.list_bands(address)
    layers = reader.read_bands(address, [(index, resampling, None) for index in indexes], grid)
    valid = np.all([band_valid for _, band_valid in layers], axis=0)
    return np.where(valid, np.stack([pixels for pixels, _ in layers]), 0), valid, grid


def _local(path: str | Location) -> Location:
    # Raster files are opened by paths without `..` alone.
    return parse_location(path).resolve()


def _list_paths(files: Files) -> list[Location]:
    paths: list[Location] = []
    for entry in [files] if isinstance(files, str | Path) else files:
        matches = match_files(entry)
        if not matches:
            raise InputError(f"no file matches {entry}: give paths or patterns of class rasters")
        paths += map(_local, matches)
    return paths


def _map_files(path: Location, period: str) -> MapFiles:
    try:
        return MapFiles(str(path), period)
    except ValidationError as error:
        raise UsageError(
            f"period {period!r} is no name: letters, digits, - and _ are accepted"
        ) from error


def _region_files(regions: Regions) -> list[RegionFile]:
    entries = [regions] if isinstance(regions, str | Path | RegionFile) else regions
    return [
        entry
        if isinstance(entry, RegionFile)
        else RegionFile(str(entry), level=level_of_file(entry))
        for entry in entries
    ]
