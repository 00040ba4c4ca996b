"""What describes a folder of class rasters: a STAC item beside each, a collection over all, a VRT index over each period."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit
from xml.etree import ElementTree as ET

import pyarrow.compute as pc
import shapely

if TYPE_CHECKING:
    from lulc.inference.class_map import ClassMap, RasterSpec
from lulc.config import Period
from lulc.geo.grid import Grid, footprint, parse_crs
from lulc.legend import NODATA, Legend
from lulc.tables import files, store

_EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
]
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"

# STAC wants a span of time: the widest it can write stands for scenes without a date.
_EVER = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def make_item(recipe: RasterSpec, path: str, made: ClassMap, fingerprint: str) -> dict[str, Any]:
    """The STAC item of the class raster at `path` under the output folder: place, time, classes and lineage."""
    import pystac

    period, stem = Path(path).parent.name, Path(path).stem
    dates, sources = _scenes(recipe.out, made.scene_ids)
    start, end = _span(next((p for p in recipe.periods if p.name == period), Period(period)), dates)
    outline = footprint(made.grid)
    lineage = {
        "lulc:scenes": list(made.scene_ids),
        "lulc:model": made.model,
        "lulc:fingerprint": fingerprint,
    }
    item = pystac.Item(
        id=f"{period}_{stem}",
        geometry=shapely.geometry.mapping(outline),
        bbox=_bbox(outline),
        datetime=None,
        start_datetime=start,
        end_datetime=end,
        properties=_projection(made.grid) | lineage | {"lulc:period": period},
        stac_extensions=_EXTENSIONS,
        collection=recipe.name,
    )
    band = {
        "data_type": "uint8",
        "nodata": NODATA,
        "raster:spatial_resolution": made.grid.resolution[0],
    }
    classes = pystac.Asset(
        f"./{stem}.tif",
        "Classes",
        None,
        _COG,
        ["data"],
        extra_fields=band | {"classification:classes": _classes(recipe.legend)},
    )
    item.add_asset("classes", classes)
    confidence = f"../../confidence/{period}/{stem}_confidence.tif"
    item.add_asset(
        "confidence",
        pystac.Asset(confidence, "Confidence, per cent", None, _COG, ["data"], extra_fields=band),
    )
    for rel in ("root", "parent", "collection"):
        item.add_link(pystac.Link(rel, "../collection.json", pystac.MediaType.JSON))
    for scene_id, href in sources:
        item.add_link(pystac.Link(pystac.RelType.DERIVED_FROM, href, title=scene_id))
    return item.to_dict(include_self_link=False, transform_hrefs=False)


def write_collection(out: Path, name: str, items: Sequence[Path]) -> None:
    """`rasters/collection.json` over the items at these paths."""
    import pystac

    found = [(path, read_json(path)) for path in sorted(items)]
    boxes = [item["bbox"] for _, item in found]
    west, south, east, north = zip(*boxes, strict=True)
    whole = (
        [min(west), min(south), max(east), max(north)]
        if all(w <= e for w, e in zip(west, east, strict=True))
        else [-180, min(south), 180, max(north)]
    )
    starts = [datetime.fromisoformat(item["properties"]["start_datetime"]) for _, item in found]
    ends = [datetime.fromisoformat(item["properties"]["end_datetime"]) for _, item in found]
    span = [
        None if min(starts) <= _EVER[0] else min(starts),
        None if max(ends) >= _EVER[1] else max(ends),
    ]
    extent = pystac.Extent(pystac.SpatialExtent([whole]), pystac.TemporalExtent([span]))
    collection = pystac.Collection(
        name, f"Land cover classes of run {name}", extent, license="other"
    )
    links = [pystac.Link("root", "./collection.json", pystac.MediaType.JSON)]
    links += [
        pystac.Link("item", f"./{p.relative_to(out / 'rasters')}", pystac.MediaType.JSON)
        for p, _ in found
    ]
    collection.links = links
    write_json(
        out / "rasters/collection.json",
        collection.to_dict(include_self_link=False, transform_hrefs=False),
    )


def write_mosaic(folder: Path, items: Iterable[Path], legend: Legend) -> None:
    """`mosaic.vrt` in the folder of a period: an index of its rasters with nodata, colours and class names, no pixels.

    `mosaic.qml` beside it is its style, which QGIS takes up by itself.
    """
    grids = {path.stem: _grid(read_json(path)["properties"]) for path in sorted(items)}
    first = next(iter(grids.values()))
    a, _, _, _, e, _ = first.transform
    west = min(g.transform[2] for g in grids.values())
    north = max(g.transform[5] for g in grids.values())
    places = {
        stem: (round((g.transform[2] - west) / a), round((g.transform[5] - north) / e))
        for stem, g in grids.items()
    }
    width = max(places[stem][0] + g.width for stem, g in grids.items())
    height = max(places[stem][1] + g.height for stem, g in grids.items())
    root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    ET.SubElement(root, "SRS").text = first.crs
    ET.SubElement(root, "GeoTransform").text = ", ".join(
        repr(float(v)) for v in (west, a, 0, north, 0, e)
    )
    band = ET.SubElement(root, "VRTRasterBand", dataType="Byte", band="1")
    ET.SubElement(band, "NoDataValue").text = str(NODATA)
    ET.SubElement(band, "ColorInterp").text = "Palette"
    palette, names = legend.palette(), {c.id: c.name for c in legend.classes}
    colours = ET.SubElement(band, "ColorTable")
    categories = ET.SubElement(band, "CategoryNames")
    for value in range(NODATA + 1):
        entry = zip(
            ("c1", "c2", "c3", "c4"), map(str, palette.get(value, (0, 0, 0, 255))), strict=True
        )
        ET.SubElement(colours, "Entry", dict(entry))
        ET.SubElement(categories, "Category").text = names.get(value, "")
    for stem, grid in grids.items():
        source = ET.SubElement(band, "SimpleSource")
        ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = f"{stem}.tif"
        ET.SubElement(source, "SourceBand").text = "1"
        for rect, (x, y) in (("SrcRect", (0, 0)), ("DstRect", places[stem])):
            ET.SubElement(
                source,
                rect,
                xOff=str(x),
                yOff=str(y),
                xSize=str(grid.width),
                ySize=str(grid.height),
            )
    ET.indent(root)
    files.write_atomic(folder / "mosaic.vrt", lambda beside: beside.write_bytes(ET.tostring(root)))
    style = ET.Element("qgis", version="3.22")
    renderer = ET.SubElement(
        ET.SubElement(style, "pipe"),
        "rasterrenderer",
        type="paletted",
        band="1",
        opacity="1",
        alphaBand="-1",
    )
    entries = ET.SubElement(renderer, "colorPalette")
    for c in legend.classes:
        ET.SubElement(
            entries, "paletteEntry", value=str(c.id), color=c.colour, label=c.name, alpha="255"
        )
    ET.indent(style)
    files.write_atomic(folder / "mosaic.qml", lambda beside: beside.write_bytes(ET.tostring(style)))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """The mapping at `path` as JSON."""
    files.write_atomic(path, lambda beside: beside.write_text(json.dumps(content, indent=1)))


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _projection(grid: Grid) -> dict[str, Any]:
    authority = parse_crs(grid.crs).to_authority(min_confidence=100)
    code = (
        {"proj:code": ":".join(authority)}
        if authority
        else {"proj:code": None, "proj:wkt2": parse_crs(grid.crs).to_wkt()}
    )
    return code | {"proj:shape": list(grid.shape), "proj:transform": list(grid.transform)}


def _grid(properties: Mapping[str, Any]) -> Grid:
    a, b, c, d, e, f = properties["proj:transform"]
    return Grid(
        properties["proj:code"] or properties["proj:wkt2"],
        (a, b, c, d, e, f),
        *properties["proj:shape"],
    )


def _classes(legend: Legend) -> list[dict[str, Any]]:
    known = [
        {
            "value": c.id,
            "name": re.sub(r"[^0-9A-Za-z_-]+", "_", c.name),
            "title": c.name,
            "color_hint": c.colour[1:].upper(),
        }
        for c in legend.classes
    ]
    return [*known, {"value": NODATA, "name": "nodata", "title": "no class", "nodata": True}]


def _scenes(out: Path, scene_ids: Sequence[str]) -> tuple[list[datetime], list[tuple[str, str]]]:
    # Dates of the scenes that have one; (id, address without its query, which may hold a signature) of all.
    table = store.read_table(out, "scenes", ["scene_id", "datetime", "hrefs"])
    rows = (
        table.filter(pc.is_in(table["scene_id"], pc.cast(list(scene_ids), "string")))
        .sort_by("scene_id")
        .to_pylist()
    )
    return [r["datetime"] for r in rows if r["datetime"]], [
        (r["scene_id"], _unsigned(r["hrefs"][0])) for r in rows if r["hrefs"]
    ]


def _unsigned(href: str) -> str:
    return urlunsplit(urlsplit(href)._replace(query="", fragment="")) if "://" in href else href


def _span(period: Period, dates: Sequence[datetime]) -> tuple[datetime, datetime]:
    start = (
        datetime.combine(period.start, time.min, UTC)
        if period.start
        else min(dates, default=_EVER[0])
    )
    end = (
        datetime.combine(period.end, time(23, 59, 59), UTC)
        if period.end
        else max(dates, default=_EVER[1])
    )
    return start, end


def _bbox(outline: shapely.Geometry) -> list[float]:
    # GeoJSON (RFC 7946, 5.2): across the antimeridian the west is greater than the east.
    west, south, east, north = outline.bounds
    parts = [p.bounds for p in getattr(outline, "geoms", ())]
    if east - west > 180 and len(parts) > 1:
        west, east = (
            min(p[0] for p in parts if p[0] >= 0),
            max(p[2] for p in parts if p[2] < 0 or p[0] < 0),
        )
    return [west, south, east, north]
