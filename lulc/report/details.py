"""The tables of a run by region: areas, patches, detections, presence and transitions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lulc.legend import Legend
from lulc.location import Location
from lulc.report.texts import Texts
from lulc.tables import store

RegionKey = tuple[str, str]
"""A region's level and id."""

MAX_REGIONS = 100  # that the page lists: the largest; the tables hold all
_LAST = 999  # order of rows without a class, after all classes


def region_key(row: Mapping[str, Any]) -> RegionKey:
    """Return level and id of a row's region."""
    return row["level"], row["region_id"]


def mapped_regions(areas: pa.Table) -> tuple[list[RegionKey], list[str]]:
    """Return the regions that a map covers at least in part, the largest first; others' names."""
    measures = [("area_m2", "sum"), ("observed_share", "max")]
    rows = areas.group_by(["level", "region_id", "name"]).aggregate(measures).to_pylist()
    rows.sort(key=lambda row: (-row["area_m2_sum"], *region_key(row)))
    mapped = [region_key(row) for row in rows if row["observed_share_max"]]
    unmapped = [row["name"] or row["region_id"] for row in rows if not row["observed_share_max"]]
    return mapped, sorted(unmapped)


def region_rows(table: pa.Table, regions: set[RegionKey]) -> list[dict[str, Any]]:
    """Return the rows of these regions."""
    ids = pa.array([region_id for _, region_id in regions], pa.string())
    rows = table.filter(pc.is_in(table["region_id"], ids)).to_pylist()
    return [row for row in rows if region_key(row) in regions]


def shaded(
    cells: Sequence[float], write: Callable[[float], str], total: float
) -> list[dict[str, Any]]:
    """Return the cells of a matrix's row, the darker the larger their share of it."""
    return [
        {"text": write(cell), "depth": round(0.6 * cell / total, 3) if total else 0}
        for cell in cells
    ]


def _class_order(legend: Legend) -> dict[int | None, int]:
    return {entry.id: number for number, entry in enumerate(legend.classes)}


def class_colours(legend: Legend) -> dict[int | None, str]:
    """Return class id → colour."""
    return {entry.id: entry.colour for entry in legend.classes}


def _table_key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["level"], row["region_id"], row["period"]


def tell_areas(
    out: Location, legend: Legend, areas: pa.Table, regions: set[RegionKey], texts: Texts
) -> list[dict[str, Any]]:
    """Return a table a region and period, its classes in the legend's order."""
    order, colours = _class_order(legend), class_colours(legend)
    landscape = region_rows(store.read_table(out, "landscape"), regions)
    patches = {(_table_key(row), row["class_id"]): row for row in landscape}
    rows = region_rows(areas, regions)
    # Those of several maps that were combined are of other models, and in the table alone.
    models = {row["model"] for row in rows}
    raw = {
        (_table_key(row), row["class_id"]): row
        for row in region_rows(store.read_table(out, "raw_class_areas"), regions)
        if row["model"] in models
    }
    vanished = raw.keys() - {(_table_key(row), row["class_id"]) for row in rows}
    rows += [raw[k] | {"area_m2": 0.0, "share": 0.0, "mean_confidence": None} for k in vanished]
    rows.sort(key=lambda row: (*_table_key(row), order.get(row["class_id"], _LAST)))
    tables = []
    for key, group in itertools.groupby(rows, _table_key):
        class_rows = list(group)
        level, region_id, period = key
        lines = [
            _area_line(
                row,
                colours.get(row["class_id"]),
                patches.get((key, row["class_id"])),
                raw.get((key, row["class_id"])),
                texts,
            )
            for row in class_rows
        ]
        tables.append(
            {
                "title": _title(class_rows[0]["name"] or region_id, level, period, texts),
                "about": texts(
                    "area_observed",
                    area=texts.number(sum(row["area_m2"] for row in class_rows) / 1e6),
                    share=texts.per_cent(class_rows[0]["observed_share"]),
                ),
                "rows": lines,
                "has_confidence": any(line["confidence"] for line in lines),
                "has_patches": any(line["patches"] for line in lines),
                "is_refined": bool(raw),
            }
        )
    return tables


def _area_line(
    row: dict[str, Any],
    colour: str | None,
    patches: dict[str, Any] | None,
    raw: dict[str, Any] | None,
    texts: Texts,
) -> dict[str, Any]:
    raw_m2 = raw["area_m2"] if raw else 0.0
    return {
        "name": texts("unobserved") if row["class_id"] is None else row["class_name"],
        "km2": texts.number(row["area_m2"] / 1e6),
        "share": texts.per_cent(row["share"]),
        "width": 100 * (row["share"] or 0),
        "colour": colour,
        "confidence": texts.per_cent(row["mean_confidence"]),
        "patches": _patch_cells(patches, texts),
        "raw_km2": texts.number(raw_m2 / 1e6),
        "change": texts.per_cent(row["area_m2"] / raw_m2 - 1, sign=True) if raw_m2 else "",
    }


def _patch_cells(row: dict[str, Any] | None, texts: Texts) -> tuple[str, ...]:
    # Number of patches, their mean size in hectares, edge in metres a hectare.
    if row is None:
        return ()
    return (
        texts.count(row["patches"]),
        texts.number(row["mean_patch_m2"] / 1e4),
        texts.number(row["edge_m_per_ha"]),
    )


def tell_detections(out: Location, texts: Texts) -> dict[str, Any]:
    """Return the detections by region."""

    def cells(row: dict[str, Any]) -> tuple[str, ...]:
        density, score = row["detections_per_km2"], row["mean_score"]
        return texts.count(row["detections"]), texts.number(density), texts.share(score)

    return _tables_by_region(out, "detection_counts", "detections", cells, texts)


def tell_presence(out: Location, texts: Texts) -> dict[str, Any]:
    """Return the presence of classes by region."""

    def cells(row: dict[str, Any]) -> tuple[str, ...]:
        km2, mean = texts.number(row["present_m2"] / 1e6), texts.share(row["mean_probability"])
        return km2, texts.per_cent(row["share"]), mean

    return _tables_by_region(out, "presence", "present_m2", cells, texts)


def _tables_by_region(
    out: Location,
    table: str,
    measure: str,
    cells: Callable[[dict[str, Any]], tuple[str, ...]],
    texts: Texts,
) -> dict[str, Any]:
    # A table a region and period, of the regions with the largest sums of a measure; and the number
    # of the other regions.
    rows = store.read_table(out, table).to_pylist()
    sums: dict[RegionKey, float] = {}
    for row in rows:
        sums[region_key(row)] = sums.get(region_key(row), 0) + row[measure]
    listed = set(sorted(sums, key=lambda key: (-sums[key], key))[:MAX_REGIONS])
    names = ("level", "name", "region_id", "period", "class_id")
    rows.sort(key=lambda row: tuple(row[name] for name in names))
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if region_key(row) in listed:
            groups.setdefault((*region_key(row), row["period"]), []).append(row)
    regions = [
        {
            "title": _title(class_rows[0]["name"], level, period, texts),
            "observed": texts.per_cent(class_rows[0].get("observed_share")),
            "rows": [(row["class_name"], *cells(row)) for row in class_rows],
        }
        for (level, _, period), class_rows in groups.items()
    ]
    return {"regions": regions, "table": table, "smaller_count": len(sums) - len(listed)}


def _title(region: str, level: str, period: str, texts: Texts) -> str:
    return texts("area_title", region=region, level=level, period=period)


def _matrix_key(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return row["level"], row["region_id"], row["period_from"], row["period_to"]


def tell_transitions(
    legend: Legend, rows: list[dict[str, Any]], texts: Texts
) -> list[dict[str, Any]]:
    """Return a matrix a region and pair of periods."""
    matrices = []
    for key, group in itertools.groupby(sorted(rows, key=_matrix_key), _matrix_key):
        level, _, first, last = key
        changes = list(group)
        matrix = _transition_matrix(_class_order(legend), changes, texts)
        names = {"region": changes[0]["name"], "level": level, "first": first, "last": last}
        matrices.append({"title": texts("transition_title", **names), **matrix})
    return matrices


def _transition_matrix(
    order: Mapping[int | None, int], changes: Sequence[dict[str, Any]], texts: Texts
) -> dict[str, Any]:
    # km² by class before (rows) and after (columns).
    sides = ("from", "to")
    names = {row[f"{side}_id"]: row[f"{side}_class"] for row in changes for side in sides}
    ids = sorted(
        {row["from_id"] for row in changes} | {row["to_id"] for row in changes},
        key=lambda class_id: order.get(class_id, _LAST),
    )
    km2 = {(row["from_id"], row["to_id"]): row["area_m2"] / 1e6 for row in changes}
    rows = []
    for from_id in ids:
        cells = [km2.get((from_id, to_id), 0.0) for to_id in ids]
        shades = shaded(cells, lambda km2: texts.number(km2) if km2 else "", sum(cells))
        rows.append({"name": names[from_id], "cells": shades})
    changed = sum(area for (from_id, to_id), area in km2.items() if from_id != to_id)
    return {
        "columns": [names[class_id] for class_id in ids],
        "rows": rows,
        "changed": texts("changed_class", share=texts.per_cent(changed / sum(km2.values()))),
    }
