"""The report of a run: one HTML file with the map, areas, accuracy, what was left out, and where everything came from."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import glob
import importlib.metadata
import itertools
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import shapely
import yaml

from lulc import __version__, redact
from lulc.config import Config
from lulc.legend import LandClass, Legend, distinct_colours
from lulc.raster import access
from lulc.report.map import draw_map
from lulc.report.regions import outline_regions
from lulc.tables import files, ledger, store

_MOST = 100
"""Regions that the page tells of one by one: the largest. The tables hold all."""

Key = tuple[str, str]
"""A region's level and id."""

_PACKAGES = ("pyspark", "apache-sedona", "torch", "rasterio", "petastorm", "mlflow", "pyarrow")


def write_report(config: Config, out: Path) -> Path:
    """Path of `report.html`, written with `map.png` beside it from the tables and rasters that stand; it needs no network."""
    from jinja2 import Environment, select_autoescape

    areas = store.read_table(out, "class_areas")
    reached, unmapped = _reached(areas)
    told = set(reached[:_MOST])
    period, rasters = _latest(config, out)
    legend = config.make_legend() if config.legend else _found_legend(config.name, areas, rasters)
    within = _measured(out, set(reached)) if config.maps else None
    picture = draw_map(rasters, legend, f"{config.name} {period}", within) if rasters else b""
    if picture:
        files.write_atomic(out / "map.png", lambda beside: beside.write_bytes(picture))
    scenes = store.read_table(
        out, "scenes", ["scene_id", "source", "datetime", "cloud"]
    ).to_pylist()
    template = Environment(
        autoescape=select_autoescape(default=True), trim_blocks=True
    ).from_string(Path(__file__).with_suffix(".html").read_text("utf-8"))
    page = template.render(
        name=config.name,
        headline=_headline(config, legend, scenes),
        map_png=base64.b64encode(picture).decode(),
        areas=_areas(out, legend, areas, told),
        more=len(reached) - len(told),
        unmapped=unmapped,
        shares=outline_regions(out, legend),
        detections=_by_region(out, "detection_counts", "detections", _detected),
        presence=_by_region(out, "presence", "present_m2", _present),
        transitions=_transitions(legend, _of(store.read_table(out, "transitions"), told)),
        estimates=_estimates(out, legend),
        accuracy=_accuracy(out, legend),
        bad=_bad(out),
        provenance=_provenance(out),
        scenes=scenes,
        settings=yaml.safe_dump(
            _plain(dataclasses.asdict(config)), sort_keys=False, allow_unicode=True
        ),
    )
    path = out / "report.html"
    files.write_atomic(path, lambda beside: beside.write_text(page, "utf-8"))
    return path


def _latest(config: Config, out: Path) -> tuple[str, list[Path]]:
    # The last period, and its class rasters: the run's own, or those made elsewhere, as far as they are still there.
    if config.maps:
        period = max(one.period for one in config.maps)
        found = (glob.glob(one.path, recursive=True) for one in config.maps if one.period == period)
        return period, sorted(map(Path, set(itertools.chain.from_iterable(found))))
    rasters = sorted((out / "rasters").rglob("*.tif"))
    latest = [p for p in rasters if p.parent == rasters[-1].parent]
    return latest[0].parent.name if latest else "", latest


def _found_legend(name: str, areas: pa.Table, rasters: Sequence[Path]) -> Legend:
    # Of maps made elsewhere, whose classes have names and colours at best.
    pairs = areas.group_by(["class_id", "class_name"]).aggregate([]).to_pylist()
    names = {r["class_id"]: r["class_name"] for r in pairs if r["class_id"] is not None}
    table: dict[int, tuple[int, ...]] = {}
    if rasters:
        with access.open_raster(str(rasters[0])) as file, contextlib.suppress(ValueError):
            table = file.colormap(1)
    colours = dict(zip(sorted(names), distinct_colours(len(names)), strict=True))
    own = {i: "#" + bytes(table[i][:3]).hex() for i in colours if i in table}
    # Ids that a colour table leaves out are black in it.
    if len(set(own.values())) == len(colours):
        colours = own
    return Legend(
        name,
        tuple(LandClass(i, names[i], colours[i]) for i in sorted(names))
        or (LandClass(0, "none", "#888888"),),
    )


def _reached(areas: pa.Table) -> tuple[list[Key], list[str]]:
    # The regions of which some map shows something, the largest first; and the names of the others.
    measures = [("area_m2", "sum"), ("observed_share", "max")]
    rows = areas.group_by(["level", "region_id", "name"]).aggregate(measures).to_pylist()
    rows.sort(key=lambda r: (-r["area_m2_sum"], r["level"], r["region_id"]))
    reached = [(r["level"], r["region_id"]) for r in rows if r["observed_share_max"]]
    return reached, sorted(r["name"] or r["region_id"] for r in rows if not r["observed_share_max"])


def _of(table: pa.Table, regions: set[Key]) -> list[dict[str, Any]]:
    # The rows of these regions.
    rows = table.filter(
        pc.is_in(table["region_id"], pa.array([i for _, i in regions], pa.string()))
    ).to_pylist()
    return [r for r in rows if (r["level"], r["region_id"]) in regions]


def _measured(out: Path, regions: set[Key]) -> tuple[float, ...] | None:
    # West, south, east and north of these regions.
    shapes = [r["geometry"] for r in _of(store.read_table(out, "regions"), regions)]
    return tuple(shapely.total_bounds(shapely.from_wkb(shapes)).tolist()) if shapes else None


def hide_secrets(text: str) -> str:
    """The text without user names and passwords in addresses, and without signatures, tokens and keys in their queries."""
    text = re.sub(r"(\w+://)[^/\s@]+@", r"\1", text)
    return re.sub(
        r"(?i)([?&][\w-]*(?:sig|signature|token|key|credential|secret|password)[\w-]*=)[^&\s'\"]+",
        r"\1…",
        text,
    )


def _headline(config: Config, legend: Legend, scenes: Sequence[dict[str, Any]]) -> str:
    if config.maps:
        return f"{len(legend.classes)} classes of maps made elsewhere; periods {', '.join(sorted({m.period for m in config.maps}))}"
    days = sorted(s["datetime"] for s in scenes if s["datetime"])
    span = f", {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}" if days else ""
    count = sum(s["source"] != "layer" for s in scenes)
    periods = ", ".join(p.name for p in config.periods)
    return f"{len(config.legend)} classes from {count} scene{'s' * (count != 1)}{span}; periods {periods}"


def _areas(out: Path, legend: Legend, areas: pa.Table, told: set[Key]) -> list[dict[str, Any]]:
    # A table a region and period.
    rows = _of(areas, told)
    place = {c.id: n for n, c in enumerate(legend.classes)}
    colours = {c.id: c.colour for c in legend.classes}
    found_patches = _of(store.read_table(out, "landscape"), told)
    patches = {(r["level"], r["region_id"], r["period"], r["class_id"]): r for r in found_patches}
    rows.sort(
        key=lambda r: (r["level"], r["region_id"], r["period"], place.get(r["class_id"], 999))
    )
    found = []
    for (level, region, period), group in itertools.groupby(
        rows, lambda r: (r["level"], r["region_id"], r["period"])
    ):
        parts = list(group)
        total = sum(r["area_m2"] for r in parts)
        name = parts[0]["name"] or region
        lines = [
            {
                "name": r["class_name"],
                "km2": _number(r["area_m2"] / 1e6),
                "share": _percent(r["share"]),
                "width": 100 * (r["share"] or 0),
                "colour": colours.get(r["class_id"]),
                "confidence": _percent(r["mean_confidence"]),
                "patches": _patches(patches.get((level, region, period, r["class_id"]))),
            }
            for r in parts
        ]
        title = f"{name}, {level}, {period}"
        columns = {name: any(line[name] for line in lines) for name in ("confidence", "patches")}
        observed = _percent(parts[0]["observed_share"])
        found.append(
            {
                "title": title,
                "km2": _number(total / 1e6),
                "observed": observed,
                "rows": lines,
                "told": columns,
            }
        )
    return found


def _by_region(
    out: Path, table: str, measure: str, tell: Callable[[dict[str, Any]], tuple[str, ...]]
) -> dict[str, Any]:
    # Of the regions with most of a measure: a table a region and period, with what is told of each class. And how many have less.
    rows = store.read_table(out, table).to_pylist()
    sums: dict[Key, float] = {}
    for r in rows:
        sums[r["level"], r["region_id"]] = sums.get((r["level"], r["region_id"]), 0) + r[measure]
    most = set(sorted(sums, key=lambda key: (-sums[key], key))[:_MOST])
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for r in sorted(
        rows, key=lambda r: (r["level"], r["name"], r["region_id"], r["period"], r["class_id"])
    ):
        if (r["level"], r["region_id"]) in most:
            groups.setdefault((r["level"], r["region_id"], r["period"]), []).append(r)
    regions = [
        {
            "title": f"{own[0]['name']}, {level}, {period}",
            "observed": _percent(own[0].get("observed_share")),
            "rows": [(r["class_name"], *tell(r)) for r in own],
        }
        for (level, _, period), own in groups.items()
    ]
    return {"regions": regions, "table": table, "more": len(sums) - len(most)}


def _detected(row: dict[str, Any]) -> tuple[str, ...]:
    return f"{row['detections']:,}", _number(row["detections_per_km2"]), _share(row["mean_score"])


def _present(row: dict[str, Any]) -> tuple[str, ...]:
    return _number(row["present_m2"] / 1e6), _percent(row["share"]), _share(row["mean_probability"])


def _patches(row: dict[str, Any] | None) -> tuple[str, ...]:
    # How many, their mean size in hectares, edge in metres a hectare.
    if row is None:
        return ()
    return f"{row['patches']:,}", _number(row["mean_patch_m2"] / 1e4), _number(row["edge_m_per_ha"])


def _accuracy(out: Path, legend: Legend) -> list[dict[str, Any]]:
    scores = store.read_table(out, "accuracy").to_pylist()
    pairs = store.read_table(out, "confusion").to_pylist()
    found = []
    for period, split in sorted(
        {(r["period"], r["split"]) for r in scores if r["split"] == "test"}
    ):
        mine = [r for r in scores if (r["period"], r["split"]) == (period, split)]
        whole = next(r for r in mine if r["class_id"] is None)
        counts = {
            (r["label_id"], r["map_id"]): r["pixels"]
            for r in pairs
            if (r["period"], r["split"]) == (period, split)
        }
        lines = [
            {
                "name": r["class_name"],
                "pixels": f"{r['pixels']:,}",
                "user": _share(r["users_accuracy"]),
                "producer": _share(r["producers_accuracy"]),
                "f1": _share(r["f1"]),
                "iou": _share(r["iou"]),
            }
            for r in mine
            if r["class_id"] is not None
        ]
        found.append(
            {
                "title": f"{split} blocks, {period}",
                "overall": _share(whole["overall_accuracy"]),
                "miou": _share(whole["iou"]),
                "pixels": f"{whole['pixels']:,}",
                "rows": lines,
                **_matrix(counts, legend),
            }
        )
    return found


def _matrix(counts: dict[tuple[int, int], int], legend: Legend) -> dict[str, Any]:
    columns = [(c.id, c.name) for c in legend.classes]
    columns += [(i, "no class") for i in sorted({m for _, m in counts} - set(legend.ids))]
    matrix = []
    for label in legend.classes:
        total = sum(n for (found, _), n in counts.items() if found == label.id)
        cells = [counts.get((label.id, i), 0) for i, _ in columns]
        matrix.append({"name": label.name, "cells": _shaded(cells, "{:,}".format, total)})
    return {"columns": [name for _, name in columns], "matrix": matrix}


def _shaded(
    values: Sequence[float], write: Callable[[float], str], total: float
) -> list[dict[str, Any]]:
    # Cells of a matrix, the darker the larger their share of the row.
    return [{"text": write(v), "depth": round(0.7 * v / total, 3) if total else 0} for v in values]


def _transitions(legend: Legend, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    place = {c.id: n for n, c in enumerate(legend.classes)}

    def key(r: dict[str, Any]) -> tuple[str, ...]:
        return r["level"], r["region_id"], r["period_from"], r["period_to"]

    found = []
    for (level, _, before, after), group in itertools.groupby(sorted(rows, key=key), key):
        own = list(group)
        ids = sorted(
            {r["from_id"] for r in own} | {r["to_id"] for r in own}, key=lambda i: place.get(i, 999)
        )
        names = {r[f"{side}_id"]: r[f"{side}_class"] for r in own for side in ("from", "to")}
        km2 = {(r["from_id"], r["to_id"]): r["area_m2"] / 1e6 for r in own}
        lines = []
        for i in ids:
            total = sum(km2.get((i, j), 0.0) for j in ids)
            cells = [km2.get((i, j), 0.0) for j in ids]
            lines.append(
                {
                    "name": names[i],
                    "cells": _shaded(cells, lambda v: _number(v) if v else "", total),
                }
            )
        changed = sum(v for (i, j), v in km2.items() if i != j)
        title = f"{own[0]['name']}, {level}, {before} to {after}"
        share = _percent(changed / sum(km2.values()))
        found.append(
            {"title": title, "columns": [names[i] for i in ids], "rows": lines, "changed": share}
        )
    return found


def _estimates(out: Path, legend: Legend) -> list[dict[str, Any]]:
    rows = store.read_table(out, "estimates").to_pylist()
    colours = {c.id: c.colour for c in legend.classes}
    found = []
    for region in sorted({r["region_id"] or "" for r in rows}):
        own = [r for r in rows if (r["region_id"] or "") == region]
        measures = {(r["measure"], r["class_id"]): r for r in own}
        areas = [r for r in own if r["measure"] == "area_m2" and r["estimate"] is not None]
        largest = (
            max((r["estimate"] if r["high_95"] is None else r["high_95"] for r in areas), default=0)
            or 1
        )
        lines = []
        for area in sorted(areas, key=lambda r: r["class_id"]):
            number, known = area["class_id"], area["standard_error"] is not None
            low, high = (
                (max(area["low_95"], 0), area["high_95"])
                if known
                else (area["estimate"], area["estimate"])
            )
            lines.append(
                {
                    "name": area["class_name"],
                    "colour": colours.get(number),
                    "km2": f"{_number(area['estimate'] / 1e6)} ± {_number((high - area['estimate']) / 1e6) if known else '?'}",
                    "user": _interval(measures.get(("users_accuracy", number))),
                    "producer": _interval(measures.get(("producers_accuracy", number))),
                    "width": 100 * area["estimate"] / largest,
                    "low": 100 * low / largest,
                    "wide": 100 * (high - low) / largest,
                }
            )
        overall = measures["overall_accuracy", None]
        found.append(
            {
                "title": region or "all that was sampled",
                "overall": _interval(overall),
                "points": overall["points"],
                "rows": lines,
            }
        )
    return found


def _interval(row: dict[str, Any] | None) -> str:
    if row is None or row["estimate"] is None:
        return "–"
    return f"{row['estimate']:.3f} ± " + (
        "?" if row["high_95"] is None else f"{row['high_95'] - row['estimate']:.3f}"
    )


def _bad(out: Path) -> list[dict[str, Any]]:
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for row in sorted(store.read_table(out, "ledger").to_pylist(), key=lambda r: r["finished"]):
        latest[row["stage"], row["key"]] = row
    return [
        r | {"error": hide_secrets(r["error"] or "")}
        for r in latest.values()
        if r["status"] == "bad"
    ]


def _provenance(out: Path) -> list[tuple[str, str]]:
    made = (
        store.read_table(out, table, ["model"])["model"]
        for table in ("predictions", "probabilities", "detections")
    )
    models = sorted(
        set(itertools.chain.from_iterable(column.unique().to_pylist() for column in made))
    )
    prints = {
        s: ledger.latest(out, s).get("", {}).get("fingerprint")
        for s in ("index", "tile", "samples", "predict", "rasters", "stats")
    }
    return [
        ("model", ", ".join(models)),
        ("made", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("lulc", __version__),
        *((name, importlib.metadata.version(name)) for name in _PACKAGES),
        *((f"fingerprint of {stage}", value) for stage, value in prints.items() if value),
    ]


def _plain(value: Any, name: str = "") -> Any:
    # Settings as YAML takes them, without what others must not read.
    if isinstance(value, dict):
        return {k: _plain(v, str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v, name) for v in value]
    return redact.redact_setting(name, value) if isinstance(value, str) else value


def _number(value: float) -> str:
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:,.3f}"


def _share(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{100 * value:.1f} %"
