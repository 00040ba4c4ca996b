"""The three findings that head the report, chosen by rule.

The first three that a run can tell, in this order:

1. The largest class of the last period: as estimated from interpreted points where there are, else
   as counted on the map.
2. The largest change: of all pairs of periods that were compared, the two classes between which the
   most land changed.
3. The region in which the most land changed class between these two periods.
4. The region where the largest class has its largest share, in the last period.
5. The second largest class; 6. the third largest.
7. Of detections: the class with the most, and the region with the most of it; of presence: the
   class that is present in the most squares.

An interval is told only where interpreted points give it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lulc.report.measured import Measured, Row
from lulc.report.texts import Texts

_COUNT = 3


@dataclass(frozen=True)
class Finding:
    """One finding: a number, what it is, and how sure it is."""

    title: str
    figure: str
    """The number with its unit."""
    interval: str
    """Half the width of its 95 % interval, `± 1.2 km²`; empty where there is none."""
    text: str
    note: str
    """What the interval is of, or why there is none."""


def find_findings(measured: Measured, texts: Texts) -> list[Finding]:
    """Return the first three findings that a run can tell; fewer of one that tells less."""
    rules: Iterable[Callable[[Measured, Texts], Finding | None]] = (
        _largest_class,
        _largest_change,
        _most_changed_region,
        _leading_region,
        _second_class,
        _third_class,
        _most_detections,
        _most_detections_in,
        _widest_presence,
    )
    found = (rule(measured, texts) for rule in rules)
    return list(islice(filter(None, found), _COUNT))


def _largest_class(measured: Measured, texts: Texts) -> Finding | None:
    estimates = measured.estimates_of(measured.last)
    areas = [
        row
        for (measure, class_id), row in estimates.items()
        if measure == "area_m2" and class_id is not None and row["estimate"]
    ]
    if not areas:
        return _mapped_class(measured, texts, 0, "largest_class")
    row = max(areas, key=lambda area: (area["estimate"], -area["class_id"]))
    share = estimates.get(("area_share", row["class_id"]), {}).get("estimate")
    points = estimates["overall_accuracy", None]["points"]
    is_known = row["high_95"] is not None
    return Finding(
        texts("largest_class"),
        *area_with_interval(row, texts),
        texts(
            "class_covers_estimated",
            name=row["class_name"],
            share=texts.per_cent(share),
            period=measured.last,
        ),
        texts(
            "with_interval" if is_known else "interval_unknown",
            points=texts.counted("points_counted", points),
        ),
    )


def area_with_interval(row: Row, texts: Texts) -> tuple[str, str]:
    """Return an estimated area in km², and half its 95 % interval; empty where it is not known."""
    estimate = row["estimate"] / 1e6
    if row["high_95"] is None:
        return f"{texts.number(estimate)} km²", ""
    half = row["high_95"] / 1e6 - estimate
    return f"{texts.number(estimate)} km²", f"± {texts.number(half, estimate)} km²"


def _second_class(measured: Measured, texts: Texts) -> Finding | None:
    return _mapped_class(measured, texts, 1, "second_class")


def _third_class(measured: Measured, texts: Texts) -> Finding | None:
    return _mapped_class(measured, texts, 2, "third_class")


def _mapped_class(measured: Measured, texts: Texts, place: int, title: str) -> Finding | None:
    rows = measured.observed(measured.last)
    if len(rows) <= place:
        return None
    row, total = rows[place], sum(other["area_m2"] for other in rows)
    return Finding(
        texts(title),
        _km2(row["area_m2"], texts),
        "",
        texts(
            "class_covers",
            name=row["class_name"],
            share=texts.per_cent(row["area_m2"] / total),
            total=_km2(total, texts),
            period=measured.last,
        ),
        texts("without_interval"),
    )


def _largest_change(measured: Measured, texts: Texts) -> Finding | None:
    if not measured.changes:
        return None
    row = measured.changes[0]
    return Finding(
        texts("largest_change"),
        _km2(row["area_m2"], texts),
        "",
        texts(
            "class_became",
            before=row["from_class"],
            after=row["to_class"],
            first=row["period_from"],
            last=row["period_to"],
            share=texts.per_cent(row["area_m2"] / row["before_m2"]),
        ),
        texts("change_without_interval"),
    )


def _most_changed_region(measured: Measured, texts: Texts) -> Finding | None:
    if not measured.changes:
        return None
    first, last = (measured.changes[0][f"period_{side}"] for side in ("from", "to"))
    regions = measured.changed_regions(first, last)
    if not regions:
        return None
    row = regions[0]
    return Finding(
        texts("most_changed_region"),
        _km2(row["area_m2"], texts),
        "",
        texts(
            "region_changed",
            region=row["name"],
            first=first,
            last=last,
            share=texts.per_cent(row["share"]),
            before=row["from_class"],
            after=row["to_class"],
        ),
        texts("change_without_interval"),
    )


def _leading_region(measured: Measured, texts: Texts) -> Finding | None:
    classes = measured.observed(measured.last)
    regions = measured.class_by_region(classes[0]["class_id"]) if classes else []
    regions = [row for row in regions if row["share"] is not None]
    if not regions:
        return None
    row = max(regions, key=lambda region: (region["share"], region["region_id"]))
    name = row["class_name"]
    return Finding(
        texts("leading_region", name=name),
        texts.per_cent(row["share"]),
        "",
        texts("region_share", region=row["name"], name=name, period=measured.last),
        texts("without_interval"),
    )


def _most_detections(measured: Measured, texts: Texts) -> Finding | None:
    rows = _last_rows(measured.detections, measured.last)
    if not rows:
        return None
    class_id = _most_detected(rows)
    level = _coarsest(rows)
    of_class = [row for row in rows if row["class_id"] == class_id and row["level"] == level]
    return Finding(
        texts("most_detections"),
        texts.count(sum(row["detections"] for row in of_class)),
        "",
        texts("detections_of", name=of_class[0]["class_name"], period=measured.last),
        texts("counted_detections"),
    )


def _most_detections_in(measured: Measured, texts: Texts) -> Finding | None:
    rows = _last_rows(measured.detections, measured.last)
    class_id = _most_detected(rows)
    rows = [
        row for row in rows if row["class_id"] == class_id and row["level"] == measured.region_level
    ]
    if not rows:
        return None
    row = max(rows, key=lambda region: (region["detections"], region["region_id"]))
    return Finding(
        texts("detections_in"),
        texts.count(row["detections"]),
        "",
        texts(
            "detections_in_region",
            region=row["name"],
            name=row["class_name"],
            density=texts.number(row["detections_per_km2"]),
            period=measured.last,
        ),
        texts("counted_detections"),
    )


def _widest_presence(measured: Measured, texts: Texts) -> Finding | None:
    rows = _last_rows(measured.presence, measured.last)
    level = _coarsest(rows)
    m2: dict[str, float] = defaultdict(float)
    for row in rows:
        if row["level"] == level:
            m2[row["class_name"]] += row["present_m2"]
    if not m2:
        return None
    name = max(m2, key=lambda class_name: (m2[class_name], class_name))
    return Finding(
        texts("widest_presence"),
        _km2(m2[name], texts),
        "",
        texts("presence_of", name=name, period=measured.last),
        texts("without_interval"),
    )


def _last_rows(table: pa.Table, period: str) -> list[dict[str, Any]]:
    return list(table.filter(pc.equal(table["period"], period)).to_pylist())


def _most_detected(rows: list[Row]) -> int | None:
    level, counts = _coarsest(rows), Counter[int]()
    for row in rows:
        if row["level"] == level:
            counts[row["class_id"]] += row["detections"]
    return max(counts, key=lambda class_id: (counts[class_id], -class_id), default=None)


def _coarsest(rows: list[Row]) -> str:
    # The level with the fewest regions.
    regions: dict[str, set[str]] = {}
    for row in rows:
        regions.setdefault(row["level"], set()).add(row["region_id"])
    return min(regions, key=lambda level: (len(regions[level]), level), default="")


def _km2(m2: float, texts: Texts) -> str:
    return f"{texts.number(m2 / 1e6)} km²"
