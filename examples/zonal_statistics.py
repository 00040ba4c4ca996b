"""Areas of class rasters by region: km², share and change.

    python examples/zonal_statistics.py parks.gpkg '2020=maps/*2020*.tif' '2021=maps/*2021*.tif'

Any class rasters will do, such as ESA WorldCover's, in any CRS and with any regions. Areas are of
exact fractions of pixels times their true area, so that a region's classes add up to the region.
"""

from __future__ import annotations

import sys

import lulc


def main(regions: str, *maps: str) -> None:
    """Print the areas by region and period, and the largest changes.

    Args:
        regions: a vector file of polygons.
        maps: class rasters of one period each, as `PERIOD=PATTERN`.
    """
    patterns = dict(text.split("=", 1) for text in maps)
    measured = lulc.measure_areas(patterns, regions)

    areas = measured.class_areas.to_pandas().query("observed_share > 0")
    areas = areas.assign(km2=areas["area_m2"] / 1e6)
    table = areas.pivot_table("km2", ["name", "period"], "class_name", aggfunc="sum", fill_value=0)
    print(table.round(3).to_string())

    changes = measured.transitions.to_pandas()
    changes = changes[changes["from_id"] != changes["to_id"]]
    for row in changes.nlargest(5, "area_m2").itertuples():
        print(
            f"{row.name}, {row.period_from} to {row.period_to}: "
            f"{row.from_class} became {row.to_class} on {row.area_m2 / 1e6:.3f} km²"
        )


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except lulc.errors.LulcError as error:
        sys.exit(str(error))
