"""Points drawn from a class raster, as a mapping team would have them: GeoPackage and CSV.

    python examples/points_from_raster.py ../shared/data/zion/nlcd_train.tif ../points/zion 600
    lulc run conf/zion-points.yaml --out out/zion-points

Points lie at centres of labelled pixels: 20 of each class, and the rest at random, the same for the
same seed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import geopandas
import numpy as np
import rasterio

_OF_EACH_CLASS = 20


def main(raster: str, out: str, count: str = "600", seed: str = "0") -> None:
    """Write points with a column `class` into OUT.gpkg, and with longitude and latitude OUT.csv.

    Args:
        raster: a class raster; pixels of its nodata value are no points.
        out: the files' path without its ending.
        count: how many points.
        seed: of the draw.
    """
    with rasterio.open(raster) as file:
        codes, transform, crs, nodata = file.read(1), file.transform, file.crs, file.nodata
    rng = np.random.default_rng(int(seed))
    shuffled = rng.permutation(np.flatnonzero(codes != nodata))
    classes = codes.flat[shuffled]
    of_each = [np.flatnonzero(classes == code)[:_OF_EACH_CLASS] for code in np.unique(classes)]
    first = np.concatenate(of_each)
    drawn = np.concatenate([shuffled[first], np.delete(shuffled, first)])[: int(count)]
    rows, cols = np.unravel_index(drawn, codes.shape)
    points = geopandas.points_from_xy(*(transform @ (cols + 0.5, rows + 0.5)), crs=crs)
    frame = geopandas.GeoDataFrame({"class": codes.flat[drawn]}, geometry=points)

    Path(out).parent.mkdir(parents=True, exist_ok=True)
    frame.to_file(f"{out}.gpkg")
    degrees = frame.to_crs(4326)
    table = frame[["class"]].assign(longitude=degrees.geometry.x, latitude=degrees.geometry.y)
    table.to_csv(f"{out}.csv", index=False)
    print(f"{len(frame)} points in {out}.gpkg and {out}.csv")


if __name__ == "__main__":
    main(*sys.argv[1:])
