"""The report of a run: one HTML file with the map, areas, accuracy, what was left out, and where everything came from."""

from __future__ import annotations

import base64
import dataclasses
import importlib.metadata
import itertools
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from lulc import __version__, preview, provenance, store
from lulc.conf import Run
from lulc.legend import Legend

_PACKAGES = ("pyspark", "apache-sedona", "torch", "rasterio", "petastorm", "mlflow", "pyarrow")


def write_report(run: Run, out: Path) -> Path:
    """Path of `report.html`, written with `map.png` beside it from the tables and rasters that stand; it needs no network."""
    from jinja2 import Environment, select_autoescape

    legend = run.make_legend()
    rasters = sorted((out / "rasters").rglob("*.tif"))
    latest = [p for p in rasters if p.parent == rasters[-1].parent]
    picture = preview.draw(latest, legend, f"{run.name} {latest[0].parent.name}") if rasters else b""
    if picture:
        store.publish(out / "map.png", lambda beside: beside.write_bytes(picture))
    scenes = store.read_table(out, "scenes", ["scene_id", "source", "datetime", "cloud"]).to_pylist()
    template = Environment(autoescape=select_autoescape(default=True), trim_blocks=True).from_string(
        Path(__file__).with_suffix(".html").read_text("utf-8")
    )
    page = template.render(
        name=run.name,
        headline=_headline(run, scenes),
        map_png=base64.b64encode(picture).decode(),
        areas=_areas(out, legend),
        accuracy=_accuracy(out, legend),
        bad=_bad(out),
        provenance=_provenance(out),
        scenes=scenes,
        settings=yaml.safe_dump(_plain(dataclasses.asdict(run)), sort_keys=False, allow_unicode=True),
    )
    path = out / "report.html"
    store.publish(path, lambda beside: beside.write_text(page, "utf-8"))
    return path


def hide_secrets(text: str) -> str:
    """The text without user names and passwords in addresses, and without signatures, tokens and keys in their queries."""
    text = re.sub(r"(\w+://)[^/\s@]+@", r"\1", text)
    return re.sub(r"(?i)([?&][\w-]*(?:sig|signature|token|key|credential|secret|password)[\w-]*=)[^&\s'\"]+", r"\1…", text)


def _headline(run: Run, scenes: Sequence[dict[str, Any]]) -> str:
    days = sorted(s["datetime"] for s in scenes if s["datetime"])
    span = f", {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}" if days else ""
    count = sum(s["source"] != "layer" for s in scenes)
    periods = ", ".join(p.name for p in run.periods)
    return f"{len(run.legend)} classes from {count} scene{'s' * (count != 1)}{span}; periods {periods}"


def _areas(out: Path, legend: Legend) -> list[dict[str, Any]]:
    rows = store.read_table(out, "class_areas").to_pylist()
    place = {c.id: n for n, c in enumerate(legend.classes)}
    colours = {c.id: c.colour for c in legend.classes}
    rows.sort(key=lambda r: (r["level"], r["region_id"], r["period"], place.get(r["class_id"], 999)))
    found = []
    for (level, region, period), group in itertools.groupby(rows, lambda r: (r["level"], r["region_id"], r["period"])):
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
            }
            for r in parts
        ]
        title = f"{name}, {level}, {period}"
        found.append(
            {"title": title, "km2": _number(total / 1e6), "observed": _percent(parts[0]["observed_share"]), "rows": lines}
        )
    return found


def _accuracy(out: Path, legend: Legend) -> list[dict[str, Any]]:
    scores = store.read_table(out, "accuracy").to_pylist()
    pairs = store.read_table(out, "confusion").to_pylist()
    found = []
    for period, split in sorted({(r["period"], r["split"]) for r in scores if r["split"] == "test"}):
        mine = [r for r in scores if (r["period"], r["split"]) == (period, split)]
        whole = next(r for r in mine if r["class_id"] is None)
        counts = {(r["label_id"], r["map_id"]): r["pixels"] for r in pairs if (r["period"], r["split"]) == (period, split)}
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
        drawn = [{"text": f"{n:,}", "depth": round(0.7 * n / total, 3) if total else 0} for n in cells]
        matrix.append({"name": label.name, "cells": drawn})
    return {"columns": [name for _, name in columns], "matrix": matrix}


def _bad(out: Path) -> list[dict[str, Any]]:
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for row in sorted(store.read_table(out, "ledger").to_pylist(), key=lambda r: r["finished"]):
        latest[row["stage"], row["key"]] = row
    return [r | {"error": hide_secrets(r["error"] or "")} for r in latest.values() if r["status"] == "bad"]


def _provenance(out: Path) -> list[tuple[str, str]]:
    models = sorted(set(store.read_table(out, "predictions", ["model"])["model"].to_pylist()))
    prints = {
        s: store.standing(out, s).get("", {}).get("fingerprint")
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
    return provenance.clean(name, value) if isinstance(value, str) else value


def _number(value: float) -> str:
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:,.3f}"


def _share(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{100 * value:.1f} %"
