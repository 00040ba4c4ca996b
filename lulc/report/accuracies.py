"""How right a map is: estimates from interpreted points, and agreement with held-out labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lulc.legend import Legend
from lulc.location import Location
from lulc.report.details import class_colours, shaded
from lulc.report.texts import Texts
from lulc.stats.confusion import is_hardly_mapped
from lulc.tables import store


def tell_estimates(out: Location, legend: Legend, texts: Texts) -> list[dict[str, Any]]:
    """Return a table a region of what interpreted points give, and one of all that was sampled."""
    estimates = store.read_table(out, "estimates").to_pylist()
    colours = class_colours(legend)
    tables = []
    for (period, region), rows in _by_period_and_region(estimates).items():
        measures = {(row["measure"], row["class_id"]): row for row in rows}
        areas = [row for row in rows if row["measure"] == "area_m2" and row["estimate"] is not None]
        areas.sort(key=lambda row: row["class_id"])
        largest = max((_upper_bound(row) for row in areas), default=0) or 1
        overall = measures["overall_accuracy", None]
        tables.append(
            {
                "title": ", ".join(filter(None, [region or texts("all_sampled"), period])),
                "about": texts(
                    "estimate_about",
                    accuracy=_interval(overall, texts),
                    points=texts.counted("points_counted", overall["points"]),
                ),
                "rows": [
                    _estimate_line(row, measures, largest, texts)
                    | {"colour": colours.get(row["class_id"])}
                    for row in areas
                ],
            }
        )
    return tables


def _by_period_and_region(
    estimates: Sequence[dict[str, Any]],
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    # All that was sampled before its regions.
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in estimates:
        groups.setdefault((row["period"] or "", row["region_id"] or ""), []).append(row)
    return dict(sorted(groups.items()))


def _upper_bound(area: dict[str, Any]) -> float:
    return float(area["estimate"] if area["high_95"] is None else area["high_95"])


def _estimate_line(
    area: dict[str, Any],
    measures: dict[tuple[str, int | None], dict[str, Any]],
    largest: float,
    texts: Texts,
) -> dict[str, Any]:
    # A class: km², accuracies, and its bar in per cent of the largest area.
    class_id, estimate = area["class_id"], area["estimate"]
    has_error = area["standard_error"] is not None
    low, high = (max(area["low_95"], 0), area["high_95"]) if has_error else (estimate, estimate)
    half_width = texts.number((high - estimate) / 1e6) if has_error else "?"
    return {
        "name": area["class_name"],
        "km2": f"{texts.number(estimate / 1e6)} ± {half_width}",
        "user": _interval(measures.get(("users_accuracy", class_id)), texts),
        "producer": _interval(measures.get(("producers_accuracy", class_id)), texts),
        "width": 100 * estimate / largest,
        "low": 100 * low / largest,
        "wide": 100 * (high - low) / largest,
    }


def _interval(row: dict[str, Any] | None, texts: Texts) -> str:
    if row is None or row["estimate"] is None:
        return "–"
    half_width = "?" if row["high_95"] is None else texts.share(row["high_95"] - row["estimate"])
    return f"{texts.share(row['estimate'])} ± {half_width}"


def tell_agreement(out: Location, legend: Legend, texts: Texts) -> list[dict[str, Any]]:
    """Return a section a period on the agreement with the labels of the test split."""
    scores = store.read_table(out, "accuracy").to_pylist()
    pairs = store.read_table(out, "confusion").to_pylist()
    splits = {(row["period"], row["split"]) for row in scores if row["split"] == "test"}
    sections = []
    for period, split in sorted(splits):
        rows = [row for row in scores if (row["period"], row["split"]) == (period, split)]
        overall = next(row for row in rows if row["class_id"] is None)
        counts = {
            (row["label_id"], row["map_id"]): row["pixels"]
            for row in pairs
            if (row["period"], row["split"]) == (period, split)
        }
        sections.append(
            {
                "title": texts("accuracy_title", split=split, period=period),
                "about": texts(
                    "accuracy_note",
                    accuracy=texts.share(overall["overall_accuracy"]),
                    iou=texts.share(overall["iou"]),
                    pixels=texts.counted("pixels_counted", overall["pixels"]),
                ),
                "hardly_mapped": tell_hardly_mapped(rows, texts),
                "rows": [_accuracy_line(row, texts) for row in rows if row["class_id"] is not None],
                **_confusion_matrix(counts, legend, texts),
            }
        )
    return sections


def tell_hardly_mapped(rows: Sequence[Mapping[str, Any]], texts: Texts) -> str:
    """Return a warning of the classes that are labelled and hardly mapped; empty without any.

    Args:
        rows: of `accuracy`, of one period, model and split.
        texts: of the page.
    """
    total = next(row["pixels"] for row in rows if row["class_id"] is None)
    names = [
        texts(
            "hardly_mapped_class",
            name=row["class_name"],
            share=texts.per_cent(row["pixels"] / total),
            iou=texts.share(row["iou"]),
        )
        for row in rows
        if row["class_id"] is not None and is_hardly_mapped(row["pixels"], total, row["iou"])
    ]
    return texts("hardly_mapped", names=", ".join(names)) if names else ""


def _accuracy_line(row: dict[str, Any], texts: Texts) -> dict[str, str]:
    return {
        "name": row["class_name"],
        "pixels": texts.count(row["pixels"]),
        "user": texts.share(row["users_accuracy"]),
        "producer": texts.share(row["producers_accuracy"]),
        "f1": texts.share(row["f1"]),
        "iou": texts.share(row["iou"]),
    }


def _confusion_matrix(
    counts: dict[tuple[int, int], int], legend: Legend, texts: Texts
) -> dict[str, Any]:
    # Pixels by (label, map), a row a class of the label.
    columns = [(entry.id, entry.name) for entry in legend.classes]
    other_ids = {map_id for _, map_id in counts} - set(legend.ids)
    columns += [(map_id, texts("no_class")) for map_id in sorted(other_ids)]
    rows = []
    for entry in legend.classes:
        total = sum(count for (label_id, _), count in counts.items() if label_id == entry.id)
        cells = [counts.get((entry.id, map_id), 0) for map_id, _ in columns]
        shades = shaded(cells, lambda count: texts.count(int(count)), total)
        rows.append({"name": entry.name, "cells": shades})
    return {"columns": [name for _, name in columns], "matrix": rows}
