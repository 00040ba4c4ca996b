"""The catalogue of a run's class rasters: a STAC item beside each, a STAC collection over all."""

from __future__ import annotations

import itertools
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, time
from operator import itemgetter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.compute as pc
import shapely

if TYPE_CHECKING:
    import pystac

    from lulc.maps.class_map import ClassMap, RasterSpec
from lulc.config import Period
from lulc.geo.antimeridian import narrow_bounds
from lulc.geo.grid import Grid, crs_code, footprint, parse_crs
from lulc.legend import NODATA, Legend
from lulc.location import Location, is_address
from lulc.raster.reader import grid_of
from lulc.redact import strip_credentials
from lulc.tables import files, layout
from lulc.tables.files import open_parquet
from lulc.tables.stac_geoparquet import make_items_table, write_items_table
from lulc.tables.store import table_guard

_EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
]
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"

_READERS = 16
_ITEMS_AT_ONCE = 256
_SIDES = ("start", "end")
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

    period, stem = layout.raster_period(path), PurePosixPath(path).stem
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
    for name, asset in _make_assets(spec, class_map.georeference, path).items():
        item.add_asset(name, asset)
    for rel in ("root", "parent", "collection"):
        href = relative(layout.COLLECTION, path)
        item.add_link(pystac.Link(rel, href, pystac.MediaType.JSON))
    for href in sources:
        item.add_link(pystac.Link(pystac.RelType.DERIVED_FROM, href))
    return item.to_dict(include_self_link=False, transform_hrefs=False)


def _find_period(spec: RasterSpec, name: str) -> Period:
    return next((period for period in spec.periods if period.name == name), Period(name))


def relative(target: str, path: str) -> str:
    """Return the way from the folder of the file at `path` to a place."""
    return posixpath.relpath(target, posixpath.dirname(path))


def _make_assets(spec: RasterSpec, grid: Grid, path: str) -> dict[str, pystac.Asset]:
    import pystac

    band: dict[str, Any] = {
        "data_type": "uint8",
        "nodata": NODATA,
        "raster:spatial_resolution": grid.resolution[0],
    }
    confidence = relative(layout.confidence_raster(path), path)
    besides: dict[str, pystac.Asset] = {}
    bands_of = {
        "probabilities": [c.name for c in spec.legend.classes] if spec.probabilities else [],
        "uncertainty": list(spec.uncertainty_bands),
    }
    for (name, bands), make_path in zip(
        bands_of.items(), (layout.probabilities_raster, layout.uncertainty_raster), strict=True
    ):
        if bands:
            fields = band | {"bands": [{"name": band_name} for band_name in bands]}
            title = f"{name.capitalize()}, per cent"
            href = relative(make_path(path), path)
            besides[name] = pystac.Asset(href, title, None, _COG, ["data"], extra_fields=fields)
    return {
        "classes": pystac.Asset(
            f"./{posixpath.basename(path)}",
            "Classes",
            None,
            _COG,
            ["data"],
            extra_fields=band | {"classification:classes": _describe_classes(spec.legend)},
        ),
        "confidence": pystac.Asset(
            confidence, "Confidence, per cent", None, _COG, ["data"], extra_fields=band
        ),
        **besides,
    }


@dataclass(frozen=True)
class MapPart:
    """A class raster of a map, as its STAC item tells of it."""

    place: str
    """Of the raster, relative to the output location."""
    grid: Grid
    bbox: tuple[float, float, float, float]
    """West, south, east and north in degrees; across the antimeridian west is greater."""
    start: datetime
    end: datetime


def write_collection(out: Location, name: str, paths: Iterable[str]) -> list[MapPart]:
    """Write the STAC collection of a run's class rasters, and a table of its items beside it.

    Args:
        out: the output location.
        name: of the run.
        paths: of the class rasters, relative to it.

    Returns:
        The class rasters, in order.
    """
    map_parts: list[MapPart] = []

    def rows() -> Iterator[dict[str, Any]]:
        for path, item in _read_items(out, sorted(paths)):
            map_parts.append(_make_part(path, item))
            yield _above(item, relative(posixpath.dirname(path), layout.COLLECTION))

    table = make_items_table(rows())
    collection = _make_collection(name, map_parts)
    write_items_table(out / layout.ITEMS_TABLE, table, collection)
    write_json(out / layout.COLLECTION, collection)
    return map_parts


def read_grids(out: Location, paths: Sequence[str]) -> dict[str, Grid]:
    """Return the grids of class rasters by path, as the STAC items beside them tell them.

    Args:
        out: the output location.
        paths: of the class rasters, relative to it. Of one without an item the header is read.
    """

    def read(path: str) -> Grid:
        try:
            return _item_grid(read_json(out / layout.raster_item(path))["properties"])
        except FileNotFoundError:
            return grid_of(str(out / path))

    with ThreadPoolExecutor(_READERS) as pool:
        return dict(zip(paths, pool.map(read, paths), strict=True))


def _read_items(out: Location, paths: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    with ThreadPoolExecutor(_READERS) as pool:
        for some in itertools.batched(paths, _ITEMS_AT_ONCE):
            items = [out / layout.raster_item(path) for path in some]
            yield from zip(some, pool.map(read_json, items), strict=True)


def _make_part(path: str, item: Mapping[str, Any]) -> MapPart:
    properties = item["properties"]
    start, end = (datetime.fromisoformat(properties[f"{side}_datetime"]) for side in _SIDES)
    west, south, east, north = item["bbox"]
    return MapPart(path, _item_grid(properties), (west, south, east, north), start, end)


def _make_collection(name: str, map_parts: Sequence[MapPart]) -> dict[str, Any]:
    import pystac

    start = min(map_part.start for map_part in map_parts)
    end = max(map_part.end for map_part in map_parts)
    span = [None if start <= _EVER[0] else start, None if end >= _EVER[1] else end]
    bbox = _union_bbox([map_part.bbox for map_part in map_parts])
    extent = pystac.Extent(pystac.SpatialExtent([bbox]), pystac.TemporalExtent([span]))
    collection = pystac.Collection(
        name, f"Land cover classes of run {name}", extent, license="other"
    )
    mirror = pystac.Asset(
        f"./{relative(layout.ITEMS_TABLE, layout.COLLECTION)}",
        "All items as stac-geoparquet",
        media_type="application/vnd.apache.parquet",
        roles=["collection-mirror"],
    )
    collection.add_asset("items", mirror)
    content: dict[str, Any] = collection.to_dict(include_self_link=False, transform_hrefs=False)
    hrefs = [("root", layout.COLLECTION)]
    hrefs += [("item", layout.raster_item(map_part.place)) for map_part in map_parts]
    content["links"] = [
        {
            "rel": rel,
            "href": f"./{relative(target, layout.COLLECTION)}",
            "type": pystac.MediaType.JSON.value,
        }
        for rel, target in hrefs
    ]
    return content


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


def write_json(location: Location, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON."""
    files.write_atomic(location, lambda path: path.write_text(json.dumps(content, indent=1)))


def read_json(location: Location) -> dict[str, Any]:
    """Return the mapping in a JSON file."""
    content: dict[str, Any] = json.loads(location.read_text())
    return content


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


def _find_scenes(out: Location, scene_ids: Sequence[str]) -> tuple[list[datetime], list[str]]:
    """Return the dates of the scenes that have one, and the addresses of all that have files.

    Of the scenes table the ids are read, and else the row groups alone that these scenes lie in.
    """
    location = out / layout.table_file("scenes")
    if not files.exists(location):
        return [], []
    used_ids = pa.array(scene_ids, pa.string())
    rows: list[dict[str, Any]] = []
    with table_guard(location), open_parquet(location) as file:
        for group in range(file.num_row_groups):
            is_used = pc.is_in(file.read_row_group(group, ["scene_id"])["scene_id"], used_ids)
            if pc.any(is_used).as_py():
                columns = ["scene_id", "datetime", "hrefs"]
                rows += file.read_row_group(group, columns).filter(is_used).to_pylist()
    rows.sort(key=itemgetter("scene_id"))
    dates = [row["datetime"] for row in rows if row["datetime"]]
    return dates, [_public_href(row["hrefs"][0]) for row in rows if row["hrefs"]]


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
