"""The classes of a map within one polygon, one polygon after the other."""

from __future__ import annotations

import math

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError
from lulc.geo.antimeridian import only_polygons, wrap_longitudes
from lulc.geo.grid import WGS84, coordinate_limits
from lulc.geo.reproject import check_sides
from lulc.legend import NODATA
from lulc.stats import class_rasters
from lulc.stats.class_rasters import ClassMaps
from lulc.stats.regions import Region
from lulc.stats.without_spark import block_envelope


class MapHistogram:
    """The class rasters of one period, ready to be counted within polygons."""

    def __init__(self, maps: ClassMaps) -> None:
        """Index the blocks of the rasters.

        Args:
            maps: class rasters of one period.
        """
        self._maps = maps
        blocks = class_rasters.blocks(maps)
        self._names = [block["file_name"] for block in blocks]
        self._tree = shapely.STRtree([block_envelope(block) for block in blocks])

    def areas_m2(self, polygon: BaseGeometry) -> dict[int, float]:
        """Return the true area in m² of each class within a polygon, as `class_areas` has it.

        Args:
            polygon: Polygon or MultiPolygon in EPSG:4326, as `degrees_polygon` gives it.

        Returns:
            Class id → m², in the order of ids, of the classes that occur.

        Raises:
            InputError: a raster cannot be read, or two overlap within the polygon.
        """
        region = Region(0, "", polygon)
        sums: dict[int, list[float]] = {}
        for block in sorted(self._tree.query(polygon, predicate="intersects").tolist()):
            name = self._names[block]
            for row in class_rasters.count_map_block(name, [0], self._maps, lambda _: region):
                if row["class_id"] < NODATA:
                    sums.setdefault(row["class_id"], []).append(row["area_m2"])
        return {class_id: math.fsum(sums[class_id]) for class_id in sorted(sums)}


def degrees_polygon(geometry: bytes | str) -> BaseGeometry:
    """Return the polygons of a geometry in degrees; valid, with longitudes in -180…180.

    Args:
        geometry: WKB or WKT, in EPSG:4326. Points and lines of it have no area, and are left out.

    Returns:
        A Polygon or MultiPolygon, empty where there is none.

    Raises:
        InputError: it is no geometry, is not in degrees, or has a side that goes more than half
            round the Earth.
    """
    text = f"geometry {geometry[:40]!r}"
    try:
        read = shapely.from_wkt if isinstance(geometry, str) else shapely.from_wkb
        parsed = read(geometry)
    except NotImplementedError as error:
        raise InputError(
            f"{text} has curves: make lines of them (ogr2ogr -nlt CONVERT_TO_LINEAR)"
        ) from error
    except shapely.errors.ShapelyError as error:
        raise InputError(f"{text} is neither WKB nor WKT: {error}") from error
    srid = shapely.get_srid(parsed)
    is_on_earth = np.abs(shapely.get_coordinates(parsed)) <= coordinate_limits(WGS84)
    if srid not in (0, 4326) or not is_on_earth.all():
        raise InputError(
            f"{text} is not in degrees (EPSG:4326): ST_Transform(geometry, 'EPSG:…', 'EPSG:4326')"
        )
    polygons = only_polygons(parsed)
    check_sides(polygons, WGS84, text)
    return wrap_longitudes(polygons)
