"""What a vector file or a table of points holds, such as labels, regions or drawn points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import shapely

from lulc.location import Location
from lulc.tables.csv_files import read_csv_records
from lulc.tables.point_files import find_point_file
from lulc.tables.vector_files import Layer, read_features, texts_of

SUFFIXES = (
    ".csv", ".csv.gz", ".gpkg", ".geojson", ".geojsonl", ".shp", ".fgb", ".kml", ".gml", ".gdb",
)  # fmt: skip
MAYBE = (".json", ".zip")
"""Ends of names of scenes, and of vector files where they hold no scene."""
_MOST_VALUES = 20
"""A column with more values than these has names or numbers, no classes."""


def describe_vectors(path: Location) -> dict[str, Any]:
    """Return what a vector file or CSV holds: features, CRS, columns and their values' counts.

    Args:
        path: a file whose name ends as one of `SUFFIXES`.

    Raises:
        InputError: the file is damaged, or has several layers with geometries.
    """
    file = find_point_file(str(path), "file")
    if file.layer is not None:
        return _describe_layer(file.layer)
    records = [record for _, record in read_csv_records(path, ())]
    columns = {name: [record[name] for record in records] for name in file.columns}
    return {"kind": "table (CSV)", "rows": len(records), **_describe_columns(columns)}


def _describe_layer(layer: Layer) -> dict[str, Any]:
    features = read_features(layer, layer.columns)
    types = Counter(
        "none" if geometry is None else geometry.geom_type for geometry in features.geometries
    )
    placed = features.geometries[~shapely.is_missing(features.geometries)]
    columns = {name: texts_of(values) for name, values in features.columns.items()}
    return {
        "kind": "vector file",
        "layer": layer.name,
        "features": len(features.geometries),
        "geometries": dict(types),
        "crs": layer.crs,
        "bounds": tuple(shapely.total_bounds(placed).tolist()) if len(placed) else "none",
        **_describe_columns(columns),
    }


def _describe_columns(columns: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    # All columns; and of those with few values, each with its count, the most frequent first.
    counts = {f"values of {name}": Counter(texts) for name, texts in columns.items()}
    few = {
        name: {text or "(empty)": count for text, count in values.most_common()}
        for name, values in counts.items()
        if len(values) <= _MOST_VALUES and len(values) < sum(values.values())
    }
    return {"columns": list(columns), **few}
