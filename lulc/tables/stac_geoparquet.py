"""STAC items as a table: the STAC GeoParquet Specification 1.1.

https://radiantearth.github.io/stac-geoparquet-spec: an item a row, its properties columns of their
own, its geometry as WKB in longitude and latitude, its bounds in the struct `bbox`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import reduce
from math import isnan
from operator import or_
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import shapely
import shapely.geometry

from lulc.errors import InputError
from lulc.guard import read_guard
from lulc.location import Location, relative_name
from lulc.paths import list_files
from lulc.tables import files
from lulc.tables.arrow_files import arrow_filesystem
from lulc.tables.geoparquet import CORNERS, write_file

SUFFIXES = (".parquet", ".geoparquet")
VERSION = "1.1.0"

_ROWS_AT_ONCE = 500
_REQUIRED = {"id", "geometry", "assets"}
_OF_ITEM = {*_REQUIRED, "bbox", "type", "stac_version", "stac_extensions", "links", "collection"}
_TIMES = ("datetime", "start_datetime", "end_datetime", "created", "updated")
_TIME = pa.timestamp("us", "UTC")
_TURNS = (-360, 0, 360)
_BY_COLLECTION = ds.partitioning(pa.schema([("collection", pa.string())]), flavor="hive")
"""Folders `collection=NAME`."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ItemFilter:
    """Which items are read: by it whole row groups are passed over. It lets too many pass."""

    boxes: Sequence[Box] = ()
    """xmin, ymin, xmax, ymax in degrees; the items' boxes touch one. All pass where it is empty."""
    times: Sequence[str] = ()
    """Days as `2023-01-01/2023-12-31`, `..` for an open end; all pass where it is empty."""
    max_cloud: float | None = None
    """Per cent."""


def is_items_table(location: Location) -> bool:
    """Return whether a file, or the first file of a folder, is a table of STAC items."""
    try:
        first = next(iter(list_parts(location)), None)
        if first is None:
            return False
        with files.open_parquet(first) as opened:
            return set(opened.schema_arrow.names) >= _REQUIRED
    except (OSError, ValueError):
        return False


def list_parts(location: Location) -> list[Location]:
    """Return the files of a table of items: itself, or those below it, in order.

    Not those that are hidden, or that a program which writes such folders keeps for itself.
    """
    if location.is_dir():
        return [file for file in list_files(location, SUFFIXES) if not _is_kept(file, location)]
    return [location] if location.suffix.lower() in SUFFIXES else []


def _is_kept(file: Location, folder: Location) -> bool:
    return any(name.startswith("_") for name in relative_name(file, folder).split("/"))


def read_items(
    location: Location, item_filter: ItemFilter | None = None
) -> Iterator[tuple[Location, dict[str, Any]]]:
    """Yield the items of a table as JSON objects, each with the file that it is in.

    Some rows are held at a time. Of a broken row the item is one that fails when it is read.

    Raises:
        InputError: a file is no table of STAC items, or is damaged.
    """
    for file in list_parts(location):
        filesystem, path = arrow_filesystem(file)
        with read_guard(file, "fetch it anew"):
            dataset = ds.dataset(path, format="parquet", filesystem=filesystem)
            names = set(dataset.schema.names)
            if not names >= _REQUIRED:
                raise InputError(
                    f"{file} is no table of STAC items: it must have the columns "
                    f"{', '.join(sorted(_REQUIRED))}"
                )
            if "collection" not in names:
                dataset = ds.dataset(
                    path, format="parquet", filesystem=filesystem, partitioning=_BY_COLLECTION
                )
            condition = _condition(dataset.schema, item_filter or ItemFilter())
            batches = dataset.to_batches(
                filter=condition, batch_size=_ROWS_AT_ONCE, batch_readahead=1, fragment_readahead=1
            )
            for batch in batches:
                for row in batch.to_pylist(maps_as_pydicts="lossy"):
                    yield file, _to_item(row, file)


def _condition(schema: pa.Schema, item_filter: ItemFilter) -> pc.Expression | None:
    conditions = []
    bounds = _type_of(schema, "bbox")
    if item_filter.boxes and pa.types.is_struct(bounds) and set(bounds.names) >= set(CORNERS):
        conditions.append(reduce(or_, map(_touches, item_filter.boxes)))
    if item_filter.times and pa.types.is_timestamp(_type_of(schema, "datetime")):
        conditions.append(reduce(or_, [_overlaps(schema, time) for time in item_filter.times]))
    cloud = _type_of(schema, "eo:cloud_cover")
    is_number = pa.types.is_integer(cloud) or pa.types.is_floating(cloud)
    if item_filter.max_cloud is not None and is_number:
        conditions.append(pc.field("eo:cloud_cover") <= item_filter.max_cloud)
    return reduce(lambda a, b: a & b, conditions) if conditions else None


def _type_of(schema: pa.Schema, name: str) -> pa.DataType:
    return schema.field(name).type if name in schema.names else pa.null()


def _touches(box: Box) -> pc.Expression:
    # An item across the antimeridian has its west in the east: it is told by constants, as row
    # groups are passed over by these alone. One without a box may lie anywhere.
    xmin, ymin, xmax, ymax = (pc.field("bbox", name) for name in CORNERS)
    in_rows = (ymin <= box[3]) & (ymax >= box[1])
    is_across = (xmin > 0) & (xmax < 0)
    in_columns = reduce(
        or_, [(xmin <= box[2] + turn) & (xmax >= box[0] + turn) for turn in _TURNS]
    ) | (is_across & ((xmin <= box[2]) | (xmax >= box[0])))
    return (in_rows & in_columns) | xmin.is_null()


def _overlaps(schema: pa.Schema, time: str) -> pc.Expression:
    start, _, end = time.partition("/")
    first, last = _bound(start, 0), _bound(end or start, 1)
    passes = _between("datetime", "datetime", first, last, schema)
    # An item that tells no time may be of any; it fails when it is read, and is not passed over.
    untimed = pc.field("datetime").is_null()
    if {"start_datetime", "end_datetime"} <= set(schema.names):
        passes |= _between("start_datetime", "end_datetime", first, last, schema)
        untimed &= pc.field("start_datetime").is_null() | pc.field("end_datetime").is_null()
    return passes | untimed


def _bound(day: str, days: int) -> datetime | None:
    if day in ("", ".."):
        return None
    return datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=days)


def _between(
    start: str, end: str, first: datetime | None, last: datetime | None, schema: pa.Schema
) -> pc.Expression:
    condition = pc.field(start).is_valid()
    if first and pa.types.is_timestamp(_type_of(schema, end)):
        condition &= pc.field(end) >= pa.scalar(first, schema.field(end).type)
    if last and pa.types.is_timestamp(_type_of(schema, start)):
        condition &= pc.field(start) < pa.scalar(last, schema.field(start).type)
    return condition


def _to_item(row: Mapping[str, Any], file: Location) -> dict[str, Any]:
    if row["id"] is None:
        raise InputError(f"{file} has a row without an id: give every item its own")
    geometry, bounds = _place(row["geometry"])
    links = _parsed(row.get("links"))
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": row.get("stac_version") or "1.0.0",
        "stac_extensions": row.get("stac_extensions") or [],
        "id": row["id"],
        "geometry": geometry,
        "bbox": _bounds(row.get("bbox"), bounds),
        "links": [_plain(link) for link in links] if isinstance(links, list) else [],
        "assets": _plain(_parsed(row["assets"])) or {},
        "properties": {
            name: _plain(value)
            for name, value in row.items()
            if name not in _OF_ITEM and (_is_told(value) or name == "datetime")
        },
    }
    return item | ({"collection": row["collection"]} if row.get("collection") else {})


def _is_told(value: Any) -> bool:
    # Some programs write nan for what an item does not have.
    return value is not None and not (isinstance(value, float) and isnan(value))


def _bounds(told: Any, of_geometry: list[float]) -> list[float]:
    # As JSON has them; those of the geometry where the table tells none.
    names = ("xmin", "ymin", "zmin", "xmax", "ymax", "zmax")
    if isinstance(told, list):
        return told
    if told:
        return [told[name] for name in names if name in told]
    return of_geometry


def _parsed(value: Any) -> Any:
    # Some programs write objects as the text of their JSON; what is none stays a text.
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _place(wkb: Any) -> tuple[Any, list[float]]:
    # The geometry, and its bounds. Of WKB that is broken the type says so, and there are no bounds.
    if not isinstance(wkb, bytes):
        return None, []
    try:
        outline = shapely.from_wkb(wkb)
    except shapely.errors.GEOSException as error:
        return {"type": f"broken WKB: {error}"}, []
    return shapely.geometry.mapping(outline), list(outline.bounds)


def _plain(value: Any) -> Any:
    # As JSON has it: a field that an item does not have is null in the table.
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items() if entry is not None}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, datetime):  # without a zone it is of UTC, as all times of STAC are
        moment = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        with contextlib.suppress(shapely.errors.GEOSException):
            return shapely.geometry.mapping(shapely.from_wkb(value))
        return value.hex()
    return value if isinstance(value, str | int | float | None) else str(value)


def write_items(
    location: Location, items: Iterable[Mapping[str, Any]], collection: Mapping[str, Any]
) -> None:
    """Write a table of the items of one collection.

    Args:
        location: of the file.
        items: JSON objects.
        collection: the STAC Collection, as JSON.
    """
    write_items_table(location, make_items_table(items), collection)


def make_items_table(items: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return a table of items, which are JSON objects; some are held at a time beside it."""
    rows = map(_to_row, items)
    tables = [_to_table(batch) for batch in itertools.batched(rows, _ROWS_AT_ONCE)]
    table = pa.concat_tables(tables, promote_options="permissive")
    for name in _TIMES:
        if name in table.column_names:
            position = table.column_names.index(name)
            table = table.set_column(position, name, pc.cast(table[name], _TIME))
    return table


def _to_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    # pyarrow takes no other columns than those of the first row.
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.Table.from_pylist([dict.fromkeys(names) | row for row in rows])


def write_items_table(location: Location, table: pa.Table, collection: Mapping[str, Any]) -> None:
    """Write a table that `make_items_table` made of the items of one collection.

    Args:
        location: of the file.
        table: the items.
        collection: the STAC Collection, as JSON.
    """
    stac = {"version": VERSION, "collections": {collection["id"]: collection}}
    metadata = {"stac-geoparquet": json.dumps(stac)}
    files.write_atomic(
        location, lambda path: write_file(path, table, metadata, row_group_size=5000)
    )


def _to_row(item: Mapping[str, Any]) -> dict[str, Any]:
    half = len(item["bbox"]) // 2
    corners = (*item["bbox"][:2], *item["bbox"][half : half + 2])
    properties = {
        name: datetime.fromisoformat(value) if name in _TIMES and value else value
        for name, value in item["properties"].items()
    }
    return {
        "stac_version": item["stac_version"],
        "stac_extensions": item.get("stac_extensions") or [],
        "id": item["id"],
        "geometry": shapely.to_wkb(shapely.geometry.shape(item["geometry"])),
        "bbox": dict(zip(CORNERS, map(float, corners), strict=True)),
        "links": item["links"],
        "assets": item["assets"],
        "collection": item.get("collection"),
        **properties,
    }
