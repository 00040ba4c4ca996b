"""The first part of the report, for people who decide: classes, change, doubt and checks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lulc.report.accuracies import tell_hardly_mapped
from lulc.report.findings import area_with_interval, find_findings
from lulc.report.measured import Measured, Row
from lulc.report.texts import Texts
from lulc.stats.regions import MAP_LEVEL

_MAX_PERIODS = 6  # columns of the table of classes; of more, evenly chosen ones
_MAX_CHANGES = 8
_MAX_PAIRS = 12  # of periods, whose changed share is told
_LEAST_SURE = 5  # classes, and regions
_LEAST_UNSEEN = 0.0005  # share of the area that is told


def describe_front(measured: Measured, texts: Texts) -> dict[str, Any]:
    """Return what the first part of the page shows, by the names of its template."""
    return {
        "findings": find_findings(measured, texts),
        "classes": _class_table(measured, texts),
        "changes": _changes(measured, texts),
        "unsure": _unsure(measured, texts),
        "checks": _checks(measured, texts),
    }


def _class_table(measured: Measured, texts: Texts) -> dict[str, Any] | None:
    # km² by class and period, in the legend's order, with what is estimated of the last period.
    periods = measured.periods
    km2 = {(row["period"], row["class_id"]): row["area_m2"] / 1e6 for row in measured.classes}
    if not km2:
        return None
    if len(periods) > _MAX_PERIODS:
        chosen = np.linspace(0, len(periods) - 1, _MAX_PERIODS).round().astype(int)
        periods = tuple(periods[place] for place in chosen.tolist())
    names = {row["class_id"]: row["class_name"] for row in measured.classes}
    colours = {entry.id: entry.colour for entry in measured.legend.classes}
    order = {class_id: number for number, class_id in enumerate(colours)}
    total = sum(row["area_m2"] for row in measured.observed(measured.last)) / 1e6
    estimates = measured.estimates_of(measured.last)
    rows = []
    for class_id in sorted(names, key=lambda one: (one is None, order.get(one, len(order)), one)):
        last = km2.get((measured.last, class_id), 0.0)
        share = last / total if total and class_id is not None else None
        row: Row = {
            "name": texts("unobserved") if class_id is None else names[class_id],
            "colour": colours.get(class_id),
            "areas": [texts.number(km2.get((period, class_id), 0.0)) for period in periods],
            "share": texts.per_cent(share),
            "width": 100 * (share or 0),
            "change": "",
            "estimated": _estimated(estimates.get(("area_m2", class_id)), texts),
        }
        if len(periods) > 1 and class_id is not None:
            row["change"] = _net_change(km2.get((periods[0], class_id), 0.0), last, texts)
        rows.append(row)
    level, count = measured.scope
    scope = (
        texts("all_the_map")
        if level == MAP_LEVEL
        else texts("all_regions", level=level, regions=texts.counted("regions_counted", count))
    )
    return {
        "caption": texts("classes_of", scope=scope),
        "periods": periods,
        "rows": rows,
        "has_estimates": any(row["estimated"] for row in rows),
    }


def _net_change(first: float, last: float, texts: Texts) -> str:
    change = last - first
    text = texts.number(change, sign=True)
    if not first or text == "0":
        return text
    return f"{text} ({texts.per_cent(change / first, sign=True)})"


def _estimated(row: Row | None, texts: Texts) -> str:
    if row is None or row["estimate"] is None:
        return ""
    figure, interval = (text.removesuffix(" km²") for text in area_with_interval(row, texts))
    return f"{figure} {interval or '± ?'}"


def _changes(measured: Measured, texts: Texts) -> dict[str, Any]:
    shares = list(measured.changed_shares().items())[-_MAX_PAIRS:]
    sentences = [
        texts("changed_between", share=texts.per_cent(share), first=first, last=last)
        for (first, last), share in shares
    ]
    if not sentences:
        sentences = [texts("one_period" if len(measured.periods) < 2 else "no_transitions")]
    rows = [
        {
            "from": row["from_class"],
            "to": row["to_class"],
            "periods": f"{row['period_from']} – {row['period_to']}",
            "km2": texts.number(row["area_m2"] / 1e6),
            "share": texts.per_cent(row["area_m2"] / row["before_m2"]),
        }
        for row in measured.changes[:_MAX_CHANGES]
    ]
    return {"sentences": sentences, "rows": rows}


def _unsure(measured: Measured, texts: Texts) -> dict[str, Any]:
    # Where confidence is least, by class and by region; and what interpreted points say.
    classes, regions = measured.observed(measured.last), measured.regions
    sentences = []
    total = sum(row["area_m2"] for row in measured.classes if row["period"] == measured.last)
    unseen = total - sum(row["area_m2"] for row in classes)
    if total and unseen / total >= _LEAST_UNSEEN:
        share = texts.per_cent(unseen / total)
        sentences.append(texts("unobserved_part", share=share, period=measured.last))
    estimates = measured.estimates_of(measured.last)
    users = [
        row
        for (measure, _), row in estimates.items()
        if measure == "users_accuracy" and row["estimate"] is not None
    ]
    if users:
        row = min(users, key=lambda one: (one["estimate"], one["class_id"]))
        accuracy = _accuracy_with_interval(row, texts)
        sentences.append(texts("weakest_class", name=row["class_name"], accuracy=accuracy))
    return {
        "period": measured.last,
        "least": texts("per_cent", number=f"{100 * measured.config.stats.confident:g}"),
        "classes": _least_confident(classes, "class_name", texts),
        "regions": _least_confident(regions, "name", texts),
        "sentences": sentences,
    }


def _least_confident(rows: Iterable[Row], name: str, texts: Texts) -> list[dict[str, str]]:
    known = [row for row in rows if row["confidence"] is not None]
    known.sort(key=lambda row: (row["confidence"], row[name]))
    return [
        {
            "name": row[name],
            "confidence": texts.per_cent(row["confidence"]),
            "confident": texts.per_cent(row["confident"]),
        }
        for row in known[:_LEAST_SURE]
    ]


def _accuracy_with_interval(row: Row, texts: Texts) -> str:
    text = texts.per_cent(row["estimate"])
    if row["high_95"] is None:
        return text
    return f"{text} ± {texts.per_cent(row['high_95'] - row['estimate'])}"


def _checks(measured: Measured, texts: Texts) -> list[str]:
    # How the map was checked: by interpreted points, against held-out labels, or not at all.
    sentences = []
    for row in measured.estimates:
        if row["measure"] == "overall_accuracy" and row["region_id"] is None:
            is_known = row["high_95"] is not None
            sentences.append(
                texts(
                    "checked_by_points" if is_known else "checked_by_points_alone",
                    points=texts.counted("points_counted", row["points"]),
                    period=measured.period_of(row) or texts("period_not_known"),
                    accuracy=_accuracy_with_interval(row, texts),
                )
            )
    for row in measured.accuracy:
        if row["class_id"] is None and row["overall_accuracy"] is not None:
            sentences.append(
                texts(
                    "checked_by_labels",
                    period=row["period"],
                    accuracy=texts.per_cent(row["overall_accuracy"]),
                    pixels=texts.counted("pixels_counted", row["pixels"]),
                )
            )
            key = row["period"], row["model"]
            same = [one for one in measured.accuracy if (one["period"], one["model"]) == key]
            if warning := tell_hardly_mapped(same, texts):
                sentences.append(warning)
            if unchecked := [one["class_name"] for one in same if not one["pixels"]]:
                sentences.append(texts("unchecked", names=", ".join(unchecked)))
    return sentences or [texts("not_checked")]
