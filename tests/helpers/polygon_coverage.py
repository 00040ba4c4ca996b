"""Whether the polygons of an output folder are its map, block by block.

`python -m tests.helpers.polygon_coverage OUT` burns table `polygons` back into pixels, asks GEOS
for gaps and overlaps, and prints a line a period. It holds the polygons of one period.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from rasterio.features import rasterize

import lulc
from lulc.legend import NODATA
from lulc.location import Location
from lulc.maps.of_run import rasters_of_run
from lulc.raster.classes import ClassRaster, read_ids, scan_raster
from lulc.stats.polygon_files import read_polygons

SIDE = 2048


@dataclass(frozen=True)
class Checked:
    """What was found of a period."""

    period: str
    polygons: int
    points: int
    pixels: int
    """Pixels with a class."""
    wrong_pixels: int
    """Pixels of another class, or of none, in the polygons than in the map."""
    invalid: int
    """Polygons that are not valid."""
    faults: int
    """Blocks in which polygons overlap, or do not share all points of their borders."""
    apart: float
    """Area of the polygons in the plane over that of the pixels with a class, less 1."""


def check_period(out: Location, period: str, paths: Sequence[Location]) -> Checked:
    """Compare the polygons of a period with its class rasters, which do not overlap."""
    table = read_polygons(out, period, ["class_id", "geometry"]).read_all()
    shapes = shapely.from_wkb(table["geometry"].combine_chunks().to_numpy(zero_copy_only=False))
    class_ids = table["class_id"].to_numpy()
    del table
    tree = shapely.STRtree(shapes)
    pixels = wrong = faults = 0
    plane = 0.0
    for raster, row, col in _blocks(paths):
        size = (min(SIDE, raster.grid.height - row), min(SIDE, raster.grid.width - col))
        grid = raster.grid.window(row, col, *size)
        ids = read_ids(raster, np.s_[row : row + size[0], col : col + size[1]])
        # Cut along the centres of pixels around the block, where no polygon has a point: both
        # sides of a border are cut at one place.
        around = shapely.box(*raster.grid.window(row - 1, col - 1, size[0] + 2, size[1] + 2).bounds)
        cut = around.buffer(-min(grid.resolution) / 2, join_style="mitre")
        found = np.sort(tree.query(around))
        parts = _areal(shapely.intersection(shapes[found], cut))
        owners = np.flatnonzero(~shapely.is_empty(parts))
        burnt = np.full(size, NODATA, np.uint8)
        if owners.size:
            of_class = zip(parts[owners], class_ids[found[owners]].tolist(), strict=True)
            burnt = rasterize(of_class, size, NODATA, transform=grid.affine, dtype="uint8")
            faults += not shapely.coverage_is_valid(parts[owners])
        wrong += int(np.count_nonzero(burnt != ids))
        count = int(np.count_nonzero(ids != NODATA))
        pixels += count
        plane += count * grid.resolution[0] * grid.resolution[1]
    return Checked(
        period,
        len(shapes),
        int(shapely.get_num_coordinates(shapes).sum()),
        pixels,
        wrong,
        int(np.count_nonzero(~shapely.is_valid(shapes))),
        faults,
        float(shapely.area(shapes).sum() / plane - 1) if plane else 0.0,
    )


def _blocks(paths: Sequence[Location]) -> Iterator[tuple[ClassRaster, int, int]]:
    for path in paths:
        raster = scan_raster(str(path))
        tops, lefts = (range(0, size, SIDE) for size in raster.grid.shape)
        for row, col in itertools.product(tops, lefts):
            yield raster, row, col


def _areal(shapes: np.ndarray) -> np.ndarray:
    # Of what is cut, the polygons: a side that lies on the cut would leave a line.
    is_mixed = shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION
    shapes = shapes.copy()
    for number in np.flatnonzero(is_mixed):
        parts = shapely.get_parts(shapes[number])
        shapes[number] = shapely.multipolygons(parts[shapely.get_dimensions(parts) == 2])
    return np.asarray(shapes)


def main() -> None:
    """Check every period; exit with 1 where a polygon is wrong."""
    run = lulc.open_run(sys.argv[1])
    is_right = True
    for period, paths in rasters_of_run(run.config, run.out).items():
        found = check_period(run.out, period, paths)
        is_right &= not (found.wrong_pixels or found.invalid or found.faults)
        print(found, flush=True)
    print("no gap, no overlap, and the map" if is_right else "WRONG")
    sys.exit(not is_right)


if __name__ == "__main__":
    main()
