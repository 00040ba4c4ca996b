"""What a run measured, summed up for the front of the report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lulc.config import Config
from lulc.legend import Legend
from lulc.location import Location
from lulc.report.regions import finest_level
from lulc.stats.regions import MAP_LEVEL
from lulc.tables import store

type Row = dict[str, Any]

_SAME_AREA = 1e-6  # of the larger one: two levels divide the same ground


@dataclass(frozen=True)
class Measured:
    """The tables of a run's statistics, and the sums that the front of the report tells of."""

    config: Config
    legend: Legend
    areas: pa.Table
    """`class_areas`."""
    transitions: pa.Table
    estimates: Sequence[Row]
    """Rows of `estimates`."""
    accuracy: Sequence[Row]
    """Rows of `accuracy` of the test split."""
    detections: pa.Table
    """`detection_counts`."""
    presence: pa.Table

    @cached_property
    def periods(self) -> tuple[str, ...]:
        """The mapped periods, in the order of the run file, else of their names."""
        tables = (self.areas, self.detections, self.presence)
        names = {name for table in tables for name in table["period"].unique().to_pylist()}
        return tuple(sorted(names, key=self._place))

    def _place(self, period: str) -> tuple[int, str]:
        names = [entry.name for entry in self.config.periods]
        return (names.index(period) if period in names else len(names)), period

    @property
    def last(self) -> str:
        """The last period; empty where nothing was mapped."""
        return self.periods[-1] if self.periods else ""

    @cached_property
    def scope(self) -> tuple[str, int]:
        """The level whose regions are summed up for the whole map, and their number.

        It is the whole map where the run has no regions; else the level that holds the most mapped
        ground, of several the one with the fewest regions.
        """
        return _scope(self.areas)

    @cached_property
    def region_level(self) -> str | None:
        """The level with the most regions, two or more; None without any."""
        tables = (self.areas, self.detections, self.presence)
        return next(filter(None, map(finest_level, tables)), None)

    @cached_property
    def classes(self) -> list[Row]:
        """Sums over the scope: a row a period and class, the unobserved part without a class id.

        Regions that no map of a period covers are left out.
        """
        is_meant = (pc.field("level") == self.scope[0]) & (pc.field("observed_share") > 0)
        rows = self.areas.filter(is_meant)
        return _sum_up(rows, ["period", "class_id", "class_name"])

    def observed(self, period: str) -> list[Row]:
        """Return the classes of a period in the scope, the largest first."""
        rows = [row for row in self.classes if row["period"] == period]
        rows = [row for row in rows if row["class_id"] is not None and row["area_m2"] > 0]
        return sorted(rows, key=lambda row: (-row["area_m2"], row["class_id"]))

    @cached_property
    def regions(self) -> list[Row]:
        """Sums over all classes of the last period: a row a region of `region_level`."""
        rows = self.areas.filter(
            (pc.field("period") == self.last)
            & (pc.field("level") == (self.region_level or ""))
            & pc.field("class_id").is_valid()
        )
        return _sum_up(rows, ["region_id", "name"])

    def class_by_region(self, class_id: int) -> list[Row]:
        """Return the rows of `class_areas` of a class in the last period and `region_level`."""
        is_meant = (
            (pc.field("period") == self.last)
            & (pc.field("level") == (self.region_level or ""))
            & (pc.field("class_id") == class_id)
        )
        return list(self.areas.filter(is_meant).to_pylist())

    @cached_property
    def all_transitions(self) -> list[Row]:
        """Sums of `transitions` over the level that holds most of them, the largest first.

        A row has `before_m2`, the land of its earlier class that has a class in both periods.
        """
        if not self.transitions.num_rows:
            return []
        keys = ["period_from", "period_to", "from_id", "from_class", "to_id", "to_class"]
        level, _ = _scope(self.transitions)
        rows = self.transitions.filter(pc.equal(self.transitions["level"], level))
        sums = _rename_sum(rows.group_by(keys).aggregate([("area_m2", "sum")]).to_pylist())
        before: dict[tuple[Any, ...], float] = defaultdict(float)
        for row in sums:
            before[row["period_from"], row["period_to"], row["from_id"]] += row["area_m2"]
        for row in sums:
            row["before_m2"] = before[row["period_from"], row["period_to"], row["from_id"]]
        return sorted(
            sums, key=lambda row: (-row["area_m2"], row["period_to"], row["from_id"], row["to_id"])
        )

    @cached_property
    def changes(self) -> list[Row]:
        """Those of `all_transitions` from one class to another."""
        return [row for row in self.all_transitions if row["from_id"] != row["to_id"]]

    def changed_shares(self) -> dict[tuple[str, str], float]:
        """Return (earlier, later period) → the share (0–1) that changed class, in time order."""
        totals: dict[tuple[str, str], float] = defaultdict(float)
        changed = dict(totals)
        for row in self.all_transitions:
            totals[row["period_from"], row["period_to"]] += row["area_m2"]
        for row in self.changes:
            pair = row["period_from"], row["period_to"]
            changed[pair] = changed.get(pair, 0) + row["area_m2"]
        pairs = sorted(totals, key=lambda pair: self._place(pair[1]))
        return {pair: changed.get(pair, 0) / totals[pair] for pair in pairs if totals[pair]}

    def changed_regions(self, first: str, last: str) -> list[Row]:
        """Return what changed class between two periods by region, the largest change first.

        Rows have `region_id`, `name`, `area_m2`, `share` (0–1, of what has a class in both periods)
        and the largest transition's `from_class` and `to_class`; of `region_level`.
        """
        rows = self.transitions.filter(
            (pc.field("period_from") == first)
            & (pc.field("period_to") == last)
            & (pc.field("level") == (finest_level(self.transitions) or ""))
        )
        keys = ["region_id", "name"]
        totals = rows.group_by(keys).aggregate([("area_m2", "sum")]).to_pylist()
        m2 = {row["region_id"]: row["area_m2_sum"] for row in totals}
        rows = rows.filter(pc.not_equal(rows["from_id"], rows["to_id"]))
        changed = _rename_sum(rows.group_by(keys).aggregate([("area_m2", "sum")]).to_pylist())
        changed = [row for row in changed if row["area_m2"] > 0]
        changed.sort(key=lambda row: (-row["area_m2"], row["region_id"]))
        for row in changed[:1]:
            of_region = rows.filter(pc.equal(rows["region_id"], row["region_id"])).to_pylist()
            most = max(of_region, key=lambda change: change["area_m2"])
            row |= {name: most[name] for name in ("from_class", "to_class")}
        return [row | {"share": row["area_m2"] / m2[row["region_id"]]} for row in changed]

    def estimates_of(self, period: str) -> dict[tuple[str, int | None], Row]:
        """Return the estimates of all that was sampled of a period by measure and class id.

        Estimates without a period are of the run's only one.
        """
        return {
            (row["measure"], row["class_id"]): row
            for row in self.estimates
            if row["region_id"] is None and self.period_of(row) == period
        }

    def period_of(self, estimate: Mapping[str, Any]) -> str | None:
        """Return the period that an estimate is of, None where it is not known."""
        only = self.periods[0] if len(self.periods) == 1 else None
        return estimate["period"] or only


def read_measured(config: Config, out: Location, legend: Legend, areas: pa.Table) -> Measured:
    """Read what a run measured."""
    names = ("transitions", "estimates", "accuracy", "detection_counts", "presence")
    transitions, estimates, accuracy, detections, presence = (
        store.read_table(out, name) for name in names
    )
    areas, transitions, detections = map(_name_regions, (areas, transitions, detections))
    tested = [row for row in accuracy.to_pylist() if row["split"] == "test"]
    return Measured(
        config, legend, areas, transitions, estimates.to_pylist(), tested, detections, presence
    )


def _name_regions(table: pa.Table) -> pa.Table:
    # Regions without a name are called by their ids.
    names = pc.coalesce(table["name"], table["region_id"])
    return table.set_column(table.column_names.index("name"), "name", names)


def _scope(rows: pa.Table) -> tuple[str, int]:
    if "class_id" in rows.column_names:
        rows = rows.filter(pc.is_valid(rows["class_id"]))
    sums = [("area_m2", "sum"), ("region_id", "count_distinct")]
    levels = {
        row["level"]: (row["area_m2_sum"], row["region_id_count_distinct"])
        for row in rows.group_by("level").aggregate(sums).to_pylist()
    }
    if MAP_LEVEL in levels or not levels:
        return MAP_LEVEL, 1
    most = max(m2 for m2, _ in levels.values())
    widest = [name for name, (m2, _) in levels.items() if m2 >= most * (1 - _SAME_AREA)]
    level = min(widest, key=lambda name: (levels[name][1], name))
    return level, levels[level][1]


def _rename_sum(rows: list[Row]) -> list[Row]:
    # Sums of Arrow's are named after their column.
    return [{key.removesuffix("_sum"): value for key, value in row.items()} for row in rows]


def _sum_up(rows: pa.Table, keys: list[str]) -> list[Row]:
    # m², with mean confidence and confident share (0–1), None where no map has a confidence.
    has_confidence = pc.is_valid(rows["mean_confidence"])
    known = pc.if_else(has_confidence, rows["area_m2"], 0.0)
    weighted = pc.multiply(pc.coalesce(rows["mean_confidence"], 0.0), rows["area_m2"])
    rows = rows.append_column("known_m2", known).append_column("weighted_m2", weighted)
    measures = ("area_m2", "known_m2", "weighted_m2", "confident_m2")
    sums = rows.group_by(keys).aggregate([(name, "sum") for name in measures]).to_pylist()
    return [_mean_row({key: row[key] for key in keys}, row) for row in sums]


def _mean_row(key: Row, sums: Row) -> Row:
    known_m2 = sums["known_m2_sum"]
    return key | {
        "area_m2": sums["area_m2_sum"],
        "confidence": sums["weighted_m2_sum"] / known_m2 if known_m2 else None,
        "confident": (sums["confident_m2_sum"] or 0) / known_m2 if known_m2 else None,
    }
