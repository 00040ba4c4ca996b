"""A period's class rasters as one: indexes that GDAL and QGIS open, and their overview.

`mosaic.vrt` names every raster and is read whole; `mosaic.gti.gpkg` is a table in which the rasters
of a window are looked up (GDAL Raster Tile Index, GDAL 3.9 and later). Both show
`mosaic.gti.gpkg.ovr` where the whole map is looked at, so that its rasters are not opened.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import shapely

from lulc.geo.grid import Grid
from lulc.legend import NODATA, Legend
from lulc.location import Location
from lulc.maps.stac import MapPart, relative
from lulc.paths import for_pyogrio
from lulc.raster.access import open_raster
from lulc.raster.cog import BLOCK, majority, pyramid, write_cog
from lulc.tables import files, layout

_SIDE = 8192
"""Longest side of an overview in pixels."""
_READERS = 16
_LAYER = "rasters"


@dataclass(frozen=True)
class _Mosaic:
    """The grid that holds all rasters of a period, and where each lies in it."""

    grid: Grid
    parts: Mapping[str, Grid]
    """Name of a raster below the period's folder → its grid."""

    def offset(self, grid: Grid) -> tuple[int, int]:
        """Column and row of a raster's first pixel."""
        a, _, west, _, e, north = self.grid.transform
        return round((grid.transform[2] - west) / a), round((grid.transform[5] - north) / e)


def write_mosaic(out: Location, period: str, map_parts: Sequence[MapPart], legend: Legend) -> None:
    """Write the indexes over a period's rasters, their overview and their style.

    The files are those of `layout.mosaic_files`; the style is one that QGIS finds by itself. The
    same rasters give the same bytes.

    Args:
        out: the output location.
        period: its name.
        map_parts: the period's rasters.
        legend: of the run.
    """
    vrt, style, index, overview = layout.mosaic_files(period)
    ordered = sorted(map_parts, key=lambda map_part: map_part.place)
    mosaic = _join({relative(map_part.place, vrt): map_part.grid for map_part in ordered})
    factor = _overview_factor(mosaic)
    coarse = _read_coarse((out / vrt).parent, mosaic, factor)
    a, b, west, d, e, north = mosaic.grid.transform
    transform = (a * factor, b, west, d, e * factor, north)
    write_cog(
        out / overview,
        Grid(mosaic.grid.crs, transform, *coarse.shape),
        pyramid(coarse),
        {},
        legend,
    )
    files.write_atomic(out / index, partial(_write_index, mosaic=mosaic, legend=legend))
    _write_xml(out / vrt, _make_vrt(mosaic, legend, relative(overview, vrt)))
    _write_xml(out / style, _make_style(legend))


def _join(grids: Mapping[str, Grid]) -> _Mosaic:
    first = next(iter(grids.values()))
    a, _, _, _, e, _ = first.transform
    west = min(grid.transform[2] for grid in grids.values())
    north = max(grid.transform[5] for grid in grids.values())
    corner = _Mosaic(Grid(first.crs, (a, 0.0, west, 0.0, e, north), 1, 1), grids)
    offsets = [(*corner.offset(grid), grid) for grid in grids.values()]
    width = max(col + grid.width for col, _, grid in offsets)
    height = max(row + grid.height for _, row, grid in offsets)
    return _Mosaic(Grid(first.crs, corner.grid.transform, height, width), grids)


def _overview_factor(mosaic: _Mosaic) -> int:
    # How many pixels a side an overview's pixel stands for: a power of two, so that each raster
    # gives one of its own overviews, which are halved until they fit a block.
    side = max(max(grid.shape) for grid in mosaic.parts.values())
    factor = 2
    while side > BLOCK * factor or max(mosaic.grid.shape) > _SIDE * factor:
        factor *= 2
    return factor


def _read_coarse(folder: Location, mosaic: _Mosaic, factor: int) -> np.ndarray:
    # (H, W) classes of the whole map, by majority as the rasters' own overviews.
    shape = [math.ceil(side / factor) for side in mosaic.grid.shape]
    coarse = np.full(shape, NODATA, np.uint8)
    with ThreadPoolExecutor(_READERS) as pool:
        levels = pool.map(lambda name: _read_level(folder / name, factor), mosaic.parts)
        for grid, level in zip(mosaic.parts.values(), levels, strict=True):
            left, top = (round(start / factor) for start in mosaic.offset(grid))
            window = coarse[top : top + level.shape[0], left : left + level.shape[1]]
            # A raster whose first pixel is not a multiple of the factor is moved by half a pixel
            # at most, and may then reach over its neighbour.
            np.copyto(window, level[: window.shape[0], : window.shape[1]], where=window == NODATA)
    return coarse


def _read_level(path: Location, factor: int) -> np.ndarray:
    with open_raster(str(path), georeferenced=False) as file:
        read_factor = max((level for level in file.overviews(1) if level <= factor), default=1)
        shape = tuple(math.ceil(side / read_factor) for side in file.shape)
        level: np.ndarray = file.read(1, out_shape=shape)
    while read_factor < factor:
        level, read_factor = majority(level, np.uint8(NODATA)), read_factor * 2
    return level


def _write_index(path: Path, mosaic: _Mosaic, legend: Legend) -> None:
    import pyogrio

    outlines = [shapely.box(*grid.bounds) for grid in mosaic.parts.values()]
    table = pa.table({"location": list(mosaic.parts), "geometry": shapely.to_wkb(outlines)})
    # The time of writing would be in the file.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "1970-01-01T00:00:00.000Z"})
    try:
        with for_pyogrio(path) as plain:
            pyogrio.write_arrow(
                table,
                plain,
                layer=_LAYER,
                driver="GPKG",
                geometry_name="geometry",
                geometry_type="Polygon",
                crs=mosaic.grid.crs,
                layer_metadata={"of": "lulc"},
            )
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
    # pyogrio writes metadata of no domain but the default, and the index lies in its own.
    domains = ET.Element("GDALMultiDomainMetadata")
    domain = ET.SubElement(domains, "Metadata", domain="xml:GTI", format="xml")
    domain.append(_make_gti(mosaic, legend))
    with closing(sqlite3.connect(path)) as database, database:
        text = ET.tostring(domains, encoding="unicode")
        database.execute("UPDATE gpkg_metadata SET metadata = ?", (text,))


def _make_gti(mosaic: _Mosaic, legend: Legend) -> ET.Element:
    root = ET.Element("GDALTileIndexDataset")
    grid = mosaic.grid
    a, _, west, _, e, north = map(repr, map(float, grid.transform))
    texts = {
        "LocationField": "location",
        "SRS": grid.crs,
        "GeoTransform": ",".join((west, a, "0", north, "0", e)),
        "XSize": str(grid.width),
        "YSize": str(grid.height),
        "BlockXSize": str(BLOCK),
        "BlockYSize": str(BLOCK),
    }
    for name, text in texts.items():
        ET.SubElement(root, name).text = text
    _describe_band(ET.SubElement(root, "Band", dataType="Byte", band="1"), legend)
    return root


def _make_vrt(mosaic: _Mosaic, legend: Legend, overview: str) -> ET.Element:
    grid = mosaic.grid
    root = ET.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    ET.SubElement(root, "SRS").text = grid.crs
    a, _, west, _, e, north = grid.transform
    transform = ", ".join(repr(float(value)) for value in (west, a, 0, north, 0, e))
    ET.SubElement(root, "GeoTransform").text = transform
    band = ET.SubElement(root, "VRTRasterBand", dataType="Byte", band="1")
    _describe_band(band, legend)
    _add_source(ET.SubElement(band, "Overview"), overview)
    for name, raster_grid in mosaic.parts.items():
        source = ET.SubElement(band, "SimpleSource")
        _add_source(source, name)
        size = {"xSize": str(raster_grid.width), "ySize": str(raster_grid.height)}
        for rect, (x, y) in (("SrcRect", (0, 0)), ("DstRect", mosaic.offset(raster_grid))):
            ET.SubElement(source, rect, {"xOff": str(x), "yOff": str(y)} | size)
    return root


def _add_source(element: ET.Element, name: str) -> None:
    ET.SubElement(element, "SourceFilename", relativeToVRT="1").text = name
    ET.SubElement(element, "SourceBand").text = "1"


def _describe_band(band: ET.Element, legend: Legend) -> None:
    ET.SubElement(band, "NoDataValue").text = str(NODATA)
    ET.SubElement(band, "ColorInterp").text = "Palette"
    palette, names = legend.palette(), {c.id: c.name for c in legend.classes}
    colours = ET.SubElement(band, "ColorTable")
    categories = ET.SubElement(band, "CategoryNames")
    for value in range(NODATA + 1):
        colour = map(str, palette.get(value, (0, 0, 0, 255)))
        entry = dict(zip(("c1", "c2", "c3", "c4"), colour, strict=True))
        ET.SubElement(colours, "Entry", entry)
        ET.SubElement(categories, "Category").text = names.get(value, "")


def _make_style(legend: Legend) -> ET.Element:
    """Return the style of class rasters in QGIS."""
    root = ET.Element("qgis", version="3.22")
    renderer = ET.SubElement(
        ET.SubElement(root, "pipe"),
        "rasterrenderer",
        type="paletted",
        band="1",
        opacity="1",
        alphaBand="-1",
    )
    palette = ET.SubElement(renderer, "colorPalette")
    for c in legend.classes:
        ET.SubElement(
            palette, "paletteEntry", value=str(c.id), color=c.colour, label=c.name, alpha="255"
        )
    return root


def _write_xml(location: Location, root: ET.Element) -> None:
    ET.indent(root)
    files.write_atomic(location, lambda path: path.write_bytes(ET.tostring(root)))
