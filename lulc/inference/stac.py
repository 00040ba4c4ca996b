"""The catalogue of a folder of class rasters.

A STAC item beside each raster, a STAC collection over all, and a VRT index over each period.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit
from xml.etree import ElementTree as ET

import pyarrow.compute as pc
import shapely

if TYPE_CHECKING:
    import pystac

    from lulc.inference.class_map import ClassMap, RasterSpec
from lulc.config import Period
from lulc.geo.antimeridian import narrow_bounds
from lulc.geo.grid import Grid, crs_code, footprint, parse_crs
from lulc.legend import NODATA, Legend
from lulc.location import Location, is_address, relative_name
from lulc.redact import strip_credentials
from lulc.tables import files, layout, store
from lulc.tables.stac_geoparquet import write_items

_EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
]
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"

# STAC requires a time span: the widest it can write stands for scenes without a date.
_EVER = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def make_item(spec: RasterSpec, path: str, class_map: ClassMap, fingerprint: str) -> dict[str, Any]:
    """Make the STAC item of a class raster: place, time, classes and lineage.

    Args:
        spec: the run's settings.
        path: of the raster, relative to the output location.
        class_map: what the raster holds.
        fingerprint: of the raster.

    Returns:
        The item as JSON.
    """
    import pystac

    period, stem = Path(path).parent.name, Path(path).stem
    dates, sources = _find_scenes(spec.out, class_map.scene_ids)
    start, end = _time_span(_find_period(spec, period), dates)
    outline = footprint(class_map.georeference)
    lineage = {
        "lulc:scenes": list(class_map.scene_ids),
        "lulc:model": class_map.model,
        "lulc:fingerprint": fingerprint,
    }
    item = pystac.Item(
        id=f"{period}_{stem}",
        geometry=shapely.geometry.mapping(outline),
        bbox=_bbox(outline),
        datetime=None,
        start_datetime=start,
        end_datetime=end,
        properties=_projection(class_map.georeference) | lineage | {"lulc:period": period},
        stac_extensions=_EXTENSIONS,
        collection=spec.name,
    )
    for name, asset in _make_assets(spec, class_map.georeference, period, stem).items():
        item.add_asset(name, asset)
    for rel in ("root", "parent", "collection"):
        item.add_link(pystac.Link(rel, "../collection.json", pystac.MediaType.JSON))
    for scene_id, href in sources:
        item.add_link(pystac.Link(pystac.RelType.DERIVED_FROM, href, title=scene_id))
    return item.to_dict(include_self_link=False, transform_hrefs=False)


def _find_period(spec: RasterSpec, name: str) -> Period:
    return next((period for period in spec.periods if period.name == name), Period(name))


def _make_assets(spec: RasterSpec, grid: Grid, period: str, stem: str) -> dict[str, pystac.Asset]:
    import pystac

    band: dict[str, Any] = {
        "data_type": "uint8",
        "nodata": NODATA,
        "raster:spatial_resolution": grid.resolution[0],
    }
    confidence = f"../../confidence/{period}/{stem}_confidence.tif"
    return {
        "classes": pystac.Asset(
            f"./{stem}.tif",
            "Classes",
            None,
            _COG,
            ["data"],
            extra_fields=band | {"classification:classes": _describe_classes(spec.legend)},
        ),
        "confidence": pystac.Asset(
            confidence, "Confidence, per cent", None, _COG, ["data"], extra_fields=band
        ),
    }


def write_collection(out: Location, name: str, items: Sequence[Location]) -> None:
    """Write the STAC collection of a run's class rasters, and a table of its items beside it.

    Args:
        out: the output location.
        name: of the run.
        items: files of the STAC items.
    """
    import pystac

    contents = {location: read_json(location) for location in sorted(items)}
    properties = [content["properties"] for content in contents.values()]
    start = min(datetime.fromisoformat(fields["start_datetime"]) for fields in properties)
    end = max(datetime.fromisoformat(fields["end_datetime"]) for fields in properties)
    span = [None if start <= _EVER[0] else start, None if end >= _EVER[1] else end]
    bbox = _union_bbox([content["bbox"] for content in contents.values()])
    extent = pystac.Extent(pystac.SpatialExtent([bbox]), pystac.TemporalExtent([span]))
    collection = pystac.Collection(
        name, f"Land cover classes of run {name}", extent, license="other"
    )
    folder = out / layout.RASTERS
    hrefs = [("root", "./collection.json")]
    hrefs += [("item", f"./{relative_name(location, folder)}") for location in contents]
    collection.links = [pystac.Link(rel, href, pystac.MediaType.JSON) for rel, href in hrefs]
    mirror = pystac.Asset(
        f"./{PurePosixPath(layout.ITEMS_TABLE).name}",
        "All items as stac-geoparquet",
        media_type="application/vnd.apache.parquet",
        roles=["collection-mirror"],
    )
    collection.add_asset("items", mirror)
    content = collection.to_dict(include_self_link=False, transform_hrefs=False)
    rows = (_above(item, relative_name(place.parent, folder)) for place, item in contents.items())
    write_items(out / layout.ITEMS_TABLE, rows, content)
    write_json(out / layout.COLLECTION, content)


def _above(item: dict[str, Any], below: str) -> dict[str, Any]:
    # The item with hrefs that are relative to the folder above its own, which is named `below`.
    def rebase(entry: dict[str, Any]) -> dict[str, Any]:
        href = entry["href"]
        if is_address(href) or href.startswith("/"):
            return entry
        path = posixpath.normpath(posixpath.join(below, href))
        return entry | {"href": path if path.startswith("..") else f"./{path}"}

    assets = {name: rebase(asset) for name, asset in item["assets"].items()}
    return item | {"assets": assets, "links": [rebase(link) for link in item["links"]]}


def _union_bbox(boxes: Sequence[Sequence[float]]) -> list[float]:
    # All longitudes where one of the boxes crosses the antimeridian.
    west, south, east, north = zip(*boxes, strict=True)
    if all(w <= e for w, e in zip(west, east, strict=True)):
        return [min(west), min(south), max(east), max(north)]
    return [-180, min(south), 180, max(north)]


def write_mosaic(folder: Location, items: Iterable[Location], legend: Legend) -> None:
    """Write the index over a period's rasters.

    `mosaic.vrt` has nodata, colours and class names, but no pixels. `mosaic.qml` beside it is its
    style, which QGIS finds by itself.

    Args:
        folder: of the period.
        items: files of the rasters' STAC items.
        legend: of the run.
    """
    grids = {item.stem: _item_grid(read_json(item)["properties"]) for item in sorted(items)}
    vrt, style = _make_vrt(grids, legend), _make_style(legend)
    for name, root in (("mosaic.vrt", vrt), ("mosaic.qml", style)):
        _write_xml(folder / name, root)


def _make_vrt(grids: Mapping[str, Grid], legend: Legend) -> ET.Element:
    """Return a VRT over rasters, given the grid of each by its file's stem."""
    first = next(iter(grids.values()))
    a, _, _, _, e, _ = first.transform
    west = min(grid.transform[2] for grid in grids.values())
    north = max(grid.transform[5] for grid in grids.values())
    offsets = {
        stem: (round((grid.transform[2] - west) / a), round((grid.transform[5] - north) / e))
        for stem, grid in grids.items()
    }
    width = max(offsets[stem][0] + grid.width for stem, grid in grids.items())
    height = max(offsets[stem][1] + grid.height for stem, grid in grids.items())
    root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    ET.SubElement(root, "SRS").text = first.crs
    transform = ", ".join(repr(float(value)) for value in (west, a, 0, north, 0, e))
    ET.SubElement(root, "GeoTransform").text = transform
    band = _add_band(root, legend)
    for stem, grid in grids.items():
        source = ET.SubElement(band, "SimpleSource")
        ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = f"{stem}.tif"
        ET.SubElement(source, "SourceBand").text = "1"
        size = {"xSize": str(grid.width), "ySize": str(grid.height)}
        for name, (x, y) in (("SrcRect", (0, 0)), ("DstRect", offsets[stem])):
            ET.SubElement(source, name, {"xOff": str(x), "yOff": str(y)} | size)
    return root


def _add_band(root: ET.Element, legend: Legend) -> ET.Element:
    band = ET.SubElement(root, "VRTRasterBand", dataType="Byte", band="1")
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
    return band


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


def write_json(location: Location, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON."""
    files.write_atomic(location, lambda path: path.write_text(json.dumps(content, indent=1)))


def read_json(location: Location) -> dict[str, Any]:
    """Return the mapping in a JSON file."""
    content: dict[str, Any] = json.loads(location.read_text())
    return content


def _write_xml(location: Location, root: ET.Element) -> None:
    ET.indent(root)
    files.write_atomic(location, lambda path: path.write_bytes(ET.tostring(root)))


def _projection(grid: Grid) -> dict[str, Any]:
    code: dict[str, Any] = {"proj:code": crs_code(grid.crs)}
    if code["proj:code"] is None:
        code["proj:wkt2"] = parse_crs(grid.crs).to_wkt()
    return code | {"proj:shape": list(grid.shape), "proj:transform": list(grid.transform)}


def _item_grid(properties: Mapping[str, Any]) -> Grid:
    a, b, c, d, e, f = properties["proj:transform"]
    crs = properties["proj:code"] or properties["proj:wkt2"]
    return Grid(crs, (a, b, c, d, e, f), *properties["proj:shape"])


def _describe_classes(legend: Legend) -> list[dict[str, Any]]:
    classes: list[dict[str, Any]] = [
        {
            "value": c.id,
            "name": re.sub(r"[^0-9A-Za-z_-]+", "_", c.name),
            "title": c.name,
            "color_hint": c.colour[1:].upper(),
        }
        for c in legend.classes
    ]
    return [*classes, {"value": NODATA, "name": "nodata", "title": "no class", "nodata": True}]


def _find_scenes(
    out: Location, scene_ids: Sequence[str]
) -> tuple[list[datetime], list[tuple[str, str]]]:
    """Return the dates of the scenes that have one, and (id, address) of all that have files."""
    table = store.read_table(out, "scenes", ["scene_id", "datetime", "hrefs"])
    is_used = pc.is_in(table["scene_id"], pc.cast(list(scene_ids), "string"))
    rows = table.filter(is_used).sort_by("scene_id").to_pylist()
    dates = [row["datetime"] for row in rows if row["datetime"]]
    sources = [(row["scene_id"], _public_href(row["hrefs"][0])) for row in rows if row["hrefs"]]
    return dates, sources


def _public_href(href: str) -> str:
    # Without the query, which may hold a signature; of a path what an address would take apart is
    # encoded (RFC 3986, section 3.3).
    if not is_address(href):
        return quote(href, safe="/!$&'()*+,;=:@~")
    return str(urlunsplit(urlsplit(strip_credentials(href))._replace(query="", fragment="")))


def _time_span(period: Period, dates: Sequence[datetime]) -> tuple[datetime, datetime]:
    start, end = min(dates, default=_EVER[0]), max(dates, default=_EVER[1])
    if period.start:
        start = datetime.combine(period.start, time.min, UTC)
    if period.end:
        end = datetime.combine(period.end, time(23, 59, 59), UTC)
    return start, end


def _bbox(outline: shapely.Geometry) -> list[float]:
    # GeoJSON (RFC 7946, 5.2): across the antimeridian the west is greater than the east.
    west, south, east, north = narrow_bounds(outline)
    return [west, south, east - 360 if east > 180 else east, north]
