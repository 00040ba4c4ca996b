"""A run's regions for the page: outlines as vector tiles, and areas in files of 256 regions each.

A region is known by its number: its position among the regions that a map covers, by level and
name. However many there are, the page reads only the file of the region that is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from lulc.location import Location
from lulc.paths import for_pyogrio
from lulc.stats.regions import MAP_LEVEL
from lulc.tables import store

LAYER = "regions"
"""Layer of the vector tiles; its features have `number`, `level` and `name`, where the name is to
stand (`lng`, `lat`), and `width`, all in degrees."""
PER_FILE = 256
"""Regions of one file of areas."""
_KEY = ["level", "region_id"]
_AREA_COLUMNS = [
    "period",
    "class_id",
    "area_m2",
    "share",
    "observed_share",
    "mean_confidence",
]
_CHANGE_COLUMNS = ["period_from", "period_to", "from_id", "to_id", "area_m2"]
_MIN_ZOOM, _MAX_ZOOM = 4, 12  # of the vector tiles' last zoom
_LEAST_PIXELS = 3  # of an ordinary region that is shown


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of a run that a map covers, at least in part."""

    table: pa.Table
    """`level`, `region_id`, `name`, `geometry` and `area_m2`, in the order of their numbers."""
    areas: pa.Table
    """Rows of `class_areas`, with the region's `number`, in the order of the numbers."""
    changes: pa.Table
    """Rows of `transitions`, likewise."""

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.table)

    @property
    def levels(self) -> dict[str, int]:
        """Level → how many regions have it; the level of the whole map is left out."""
        levels = self.table["level"].to_pylist()
        return {name: levels.count(name) for name in sorted(set(levels) - {MAP_LEVEL})}

    def list_names(self) -> list[list[Any]]:
        """Return name and level of every region, in order."""
        names, ids, levels = (self.table[c].to_pylist() for c in ("name", "region_id", "level"))
        return [
            [name or region_id, level]
            for name, region_id, level in zip(names, ids, levels, strict=True)
        ]

    def describe(self, file_number: int) -> dict[str, Any]:
        """Return what the tables say of the regions of one file.

        Returns:
            The region's number → `name`, `level`, `region_id`, `area_m2`; `bounds` in degrees, as
            west, south, east and north; `periods`, with the share
            that was observed and [class id, m², share, mean confidence] of each class, null for
            the unobserved part; and `changes` between two periods, [from id, to id, m²] each.
        """
        first = file_number * PER_FILE
        names = ["name", "level", "region_id", "area_m2"]
        rows = self.table.slice(first, PER_FILE).select(names).to_pylist()
        bounds = np.round(shapely.bounds(self._shapes[first : first + PER_FILE]), 5).tolist()
        regions = {
            str(first + position): row | {"bounds": box, "periods": {}, "changes": []}
            for position, (row, box) in enumerate(zip(rows, bounds, strict=True))
        }
        last = first + len(rows)
        for row in _part(self.areas, first, last):
            period = regions[str(row["number"])]["periods"].setdefault(
                row["period"], {"observed_share": _plain(row["observed_share"]), "classes": []}
            )
            numbers = (row["area_m2"], row["share"], row["mean_confidence"])
            period["classes"].append([row["class_id"], *map(_plain, numbers)])
        cells: dict[tuple[int, str, str], list[list[float]]] = {}
        for row in _part(self.changes, first, last):
            span = cells.setdefault((row["number"], row["period_from"], row["period_to"]), [])
            span.append([row["from_id"], row["to_id"], row["area_m2"]])
        for (number, before, after), of_span in cells.items():
            change = {"from": before, "to": after, "cells": of_span}
            regions[str(number)]["changes"].append(change)
        return regions

    def write_tiles(self, path: Path) -> None:
        """Write the outlines as vector tiles, one PMTiles archive."""
        import pyogrio

        names = [name for name, _ in self.list_names()]
        numbers = np.flatnonzero(pc.not_equal(self.table["level"], MAP_LEVEL).to_numpy())
        shapes = [
            shape if shape.geom_type == "MultiPolygon" else shapely.MultiPolygon([shape])
            for shape in self._shapes[numbers]
        ]
        # Along the widest part of the middle of a region: names are long and low.
        middles = shapely.point_on_surface(shapes)
        west, _, east, _ = shapely.bounds(shapes).T
        features = pa.table(
            {
                "number": pa.array(numbers, pa.int32()),
                "level": self.table["level"].take(numbers).combine_chunks(),
                "name": pa.array([names[number] for number in numbers]),
                "lng": np.round(shapely.get_x(middles), 5),
                "lat": np.round(shapely.get_y(middles), 5),
                "width": np.round(east - west, 5),
                "geometry": pa.array(shapely.to_wkb(shapes), pa.binary()),
            }
        )
        with for_pyogrio(path) as plain:
            pyogrio.write_arrow(
                features,
                plain,
                layer=LAYER,
                driver="PMTiles",
                geometry_name="geometry",
                geometry_type="MultiPolygon",
                crs="EPSG:4326",
                dataset_options={
                    "MINZOOM": str(self.min_zoom),
                    "MAXZOOM": str(self.max_zoom),
                    "NAME": LAYER,
                },
            )

    @cached_property
    def max_zoom(self) -> int:
        """The last zoom of the vector tiles: an ordinary region is about as large as a tile."""
        return min(max(_MIN_ZOOM, math.ceil(math.log2(360 / self._side)) + 1), _MAX_ZOOM)

    @cached_property
    def min_zoom(self) -> int:
        """The first zoom of the vector tiles: one region can be told from the next."""
        pixels_of_zoom_0 = 512 * self._side / 360
        return min(max(0, math.ceil(math.log2(_LEAST_PIXELS / pixels_of_zoom_0))), self.max_zoom)

    @cached_property
    def _side(self) -> float:
        # The longer side of an ordinary region's box, in degrees.
        bounds = shapely.bounds(self._shapes)
        return max(float(np.median(np.maximum(*(bounds[:, 2:] - bounds[:, :2]).T))), 1e-6)

    @cached_property
    def _shapes(self) -> np.ndarray:
        shapes: np.ndarray = shapely.from_wkb(self.table["geometry"].to_numpy(zero_copy_only=False))
        return shapes


def read_regions(out: Location) -> Regions | None:
    """Return the regions of a run, None where no map covers any."""
    areas = store.read_table(out, "class_areas", [*_KEY, *_AREA_COLUMNS])
    table = store.read_table(out, "regions")
    is_observed = pc.greater(areas["observed_share"], 0)
    covered = pc.unique(_keys(areas.filter(is_observed)))
    table = table.filter(pc.is_in(_keys(table), covered)).sort_by(
        [("level", "ascending"), ("name", "ascending"), ("region_id", "ascending")]
    )
    if not table.num_rows:
        return None
    keys = _keys(table)
    changes = store.read_table(out, "transitions", [*_KEY, *_CHANGE_COLUMNS])
    return Regions(
        table,
        _numbered(areas, keys, ("period",)),
        _numbered(changes, keys, ("period_from", "period_to")),
    )


def _keys(table: pa.Table) -> pa.Array:
    joined = pc.binary_join_element_wise(*(table[name] for name in _KEY), "\0")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def _numbered(table: pa.Table, keys: pa.Array, periods: Sequence[str]) -> pa.Table:
    # Of the regions of these keys, with the regions' numbers, in their order and that of columns of
    # periods. Texts are encoded: of a hundred thousand regions there are millions of rows.
    rows = table.drop_columns(_KEY).append_column("number", pc.index_in(_keys(table), keys))
    rows = rows.filter(pc.is_valid(rows["number"]))
    rows = rows.sort_by([(name, "ascending") for name in ("number", *periods)])
    for name in periods:
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, name, rows[name].dictionary_encode())
    return rows


def _part(rows: pa.Table, first: int, last: int) -> list[dict[str, Any]]:
    start, stop = np.searchsorted(rows["number"].to_numpy(), [first, last])
    part: list[dict[str, Any]] = rows.slice(start, stop - start).to_pylist()
    return part


def _plain(number: float | None) -> float | None:
    return None if number is None or math.isnan(number) else number


def file_numbers(count: int) -> range:
    """Return the numbers of the files that hold so many regions."""
    return range(math.ceil(count / PER_FILE))
