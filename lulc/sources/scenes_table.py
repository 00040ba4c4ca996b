"""The scenes table: its metadata of GeoParquet, and keys of items that are none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
import shapely


def shorten(names: Sequence[str], limit: int = 3) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def geoparquet_metadata(table: pa.Table) -> str:
    """Return the `geo` metadata (GeoParquet 1.1.0) of a scenes table.

    No CRS is named, which means longitude and latitude on WGS 84.
    """
    outlines = shapely.from_wkb(table["footprint"].to_numpy(zero_copy_only=False))
    column = {
        "encoding": "WKB",
        "geometry_types": sorted({outline.geom_type for outline in outlines}),
        "bbox": [float(value) for value in shapely.total_bounds(outlines)],
    }
    columns = {"footprint": column}
    return json.dumps({"version": "1.1.0", "primary_column": "footprint", "columns": columns})


def with_distinct_keys(errors: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield (key, error) of bad items; a key that occurs again gets a number.

    Items of two archives may have one name; each is a bad input of its own.
    """
    occurrences: Counter[str] = Counter()
    for key, error in errors:
        occurrences[key] += 1
        number = occurrences[key]
        yield (key if number == 1 else f"{key} ({number})"), error
