"""The report of a run: one HTML page with map, areas, accuracy, inputs left out and provenance."""

from __future__ import annotations

import base64
import dataclasses
import importlib.metadata
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import shapely

from lulc import __version__, redact
from lulc.config import Config
from lulc.errors import InputError
from lulc.legend import Legend
from lulc.location import Location
from lulc.maps.of_run import legend_of_run, rasters_of_run
from lulc.raster import access
from lulc.report.map import PICTURE_SIDE, draw_map
from lulc.report.regions import outline_regions
from lulc.sources.scene import LAYER
from lulc.stats.validation import rows_hardly_mapped
from lulc.tables import files, layout, ledger, store
from lulc.tables.ledger_files import read_once
from lulc.yaml12 import dump_yaml

RegionKey = tuple[str, str]
"""A region's level and id."""

_MAX_REGIONS = 100  # that the page lists: the largest; the tables hold all
_MAX_SCENES = 500  # that the page lists, the newest; likewise
_LAST = 999  # order of rows without a class, after all classes
_PACKAGES = ("pyspark", "apache-sedona", "torch", "rasterio", "petastorm", "mlflow", "pyarrow")
_PREDICTIONS = ("predictions", "probabilities", "boxes")
_STAGES = ("index", "tile", "samples", "predict", "rasters", "stats")


def write_report(config: Config, out: Location) -> Location:
    """Write `report.html`, and `map.png`, from the tables and rasters of a run.

    The page holds its pictures and needs no network. Sections without data are left out.

    Args:
        config: the run file.
        out: output folder of the run.

    Returns:
        Path of the page.

    Raises:
        InputError: the folder holds no tables.
    """
    if not files.exists(out / layout.TABLES):
        raise InputError(f"{out} holds no run to report on: give the --out of `lulc run`")
    areas = store.read_table(out, "class_areas")
    mapped, unmapped = _mapped_regions(areas)
    listed = set(mapped[:_MAX_REGIONS])
    period, rasters = max(rasters_of_run(config, out).items(), default=("", []))
    legend = legend_of_run(config, areas, rasters)
    bounds = _region_bounds(out, set(mapped)) if config.maps else None
    drawn = rasters if config.maps else _overview(out, period) or rasters
    picture = draw_map(drawn, legend, f"{config.name} {period}", bounds) if rasters else b""
    if picture:
        files.write_atomic(out / layout.MAP_PICTURE, lambda path: path.write_bytes(picture))
    scene_columns = ["scene_id", "source", "datetime", "cloud"]
    scenes = store.read_table(out, "scenes", scene_columns)
    transitions = _region_rows(store.read_table(out, "transitions"), listed)
    with read_once(out):
        page = _render(
            name=config.name,
            headline=_headline(config, legend, scenes),
            map_png=base64.b64encode(picture).decode(),
            areas=_area_tables(out, legend, areas, listed),
            smaller_count=len(mapped) - len(listed),
            unmapped=unmapped,
            shares=outline_regions(out, legend),
            detections=_tables_by_region(out, "detection_counts", "detections", _detection_cells),
            presence=_tables_by_region(out, "presence", "present_m2", _presence_cells),
            transitions=_transition_matrices(legend, transitions),
            estimates=_estimate_tables(out, legend),
            accuracy=_accuracy_sections(out, legend),
            bad=_bad_inputs(out),
            provenance=_provenance(out),
            scenes=_newest(scenes).to_pylist(),
            scene_count=scenes.num_rows,
            settings=_format_settings(config),
        )
    path = out / layout.REPORT
    files.write_atomic(path, lambda temporary: temporary.write_text(page, "utf-8"))
    return path


def _render(**sections: Any) -> str:
    from jinja2 import Environment, select_autoescape

    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True)
    source = Path(__file__).with_name("report.html").read_text("utf-8")
    return environment.from_string(source).render(**sections)


def _format_settings(config: Config) -> str:
    settings = redact.redact_setting("", dataclasses.asdict(config))
    return dump_yaml(settings)


def _overview(out: Location, period: str) -> list[Location]:
    # The overview of the run's own rasters, where a picture needs no more: of a continent they are
    # thousands. None of rasters made elsewhere, or of a small map.
    overview = out / layout.mosaic_files(period)[-1]
    if not files.exists(overview):
        return []
    with access.open_raster(str(overview)) as file:
        return [overview] if max(file.shape) >= PICTURE_SIDE else []


def _newest(scenes: pa.Table) -> pa.Table:
    return scenes.sort_by([("datetime", "descending")])[:_MAX_SCENES]


def _region_key(row: Mapping[str, Any]) -> RegionKey:
    return row["level"], row["region_id"]


def _mapped_regions(areas: pa.Table) -> tuple[list[RegionKey], list[str]]:
    # The regions that a map covers at least in part, the largest first; the names of the others.
    measures = [("area_m2", "sum"), ("observed_share", "max")]
    rows = areas.group_by(["level", "region_id", "name"]).aggregate(measures).to_pylist()
    rows.sort(key=lambda row: (-row["area_m2_sum"], *_region_key(row)))
    mapped = [_region_key(row) for row in rows if row["observed_share_max"]]
    unmapped = [row["name"] or row["region_id"] for row in rows if not row["observed_share_max"]]
    return mapped, sorted(unmapped)


def _region_rows(table: pa.Table, regions: set[RegionKey]) -> list[dict[str, Any]]:
    # The rows of these regions.
    ids = pa.array([region_id for _, region_id in regions], pa.string())
    rows = table.filter(pc.is_in(table["region_id"], ids)).to_pylist()
    return [row for row in rows if _region_key(row) in regions]


def _region_bounds(out: Location, regions: set[RegionKey]) -> tuple[float, ...] | None:
    # West, south, east and north of these regions in degrees; None without any.
    rows = _region_rows(store.read_table(out, "regions"), regions)
    shapes = shapely.from_wkb([row["geometry"] for row in rows])
    return tuple(shapely.total_bounds(shapes).tolist()) if rows else None


def _headline(config: Config, legend: Legend, scenes: pa.Table) -> str:
    if config.maps:
        periods = ", ".join(sorted({map_files.period for map_files in config.maps}))
        return f"{len(legend.classes)} classes of maps made elsewhere; periods {periods}"
    days = pc.min_max(scenes["datetime"]).as_py()
    span = f", {days['min']:%Y-%m-%d} to {days['max']:%Y-%m-%d}" if days["min"] else ""
    count = pc.sum(pc.not_equal(scenes["source"], LAYER)).as_py() or 0
    periods = ", ".join(period.name for period in config.periods)
    return (
        f"{len(config.legend)} classes from {count} scene{'s' * (count != 1)}{span}; "
        f"periods {periods}"
    )


def _class_order(legend: Legend) -> dict[int | None, int]:
    return {entry.id: number for number, entry in enumerate(legend.classes)}


def _class_colours(legend: Legend) -> dict[int | None, str]:
    return {entry.id: entry.colour for entry in legend.classes}


def _table_key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["level"], row["region_id"], row["period"]


def _area_tables(
    out: Location, legend: Legend, areas: pa.Table, regions: set[RegionKey]
) -> list[dict[str, Any]]:
    # A table a region and period, its classes in the legend's order.
    order, colours = _class_order(legend), _class_colours(legend)
    landscape = _region_rows(store.read_table(out, "landscape"), regions)
    patches = {(_table_key(row), row["class_id"]): row for row in landscape}
    rows = _region_rows(areas, regions)
    raw = {
        (_table_key(row), row["class_id"]): row
        for row in _region_rows(store.read_table(out, "raw_class_areas"), regions)
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
            )
            for row in class_rows
        ]
        tables.append(
            {
                "title": f"{class_rows[0]['name'] or region_id}, {level}, {period}",
                "km2": _number(sum(row["area_m2"] for row in class_rows) / 1e6),
                "observed": _percent(class_rows[0]["observed_share"]),
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
) -> dict[str, Any]:
    raw_m2 = raw["area_m2"] if raw else 0.0
    return {
        "name": row["class_name"],
        "km2": _number(row["area_m2"] / 1e6),
        "share": _percent(row["share"]),
        "width": 100 * (row["share"] or 0),
        "colour": colour,
        "confidence": _percent(row["mean_confidence"]),
        "patches": _patch_cells(patches),
        "raw_km2": _number(raw_m2 / 1e6),
        "change": f"{(row['area_m2'] / raw_m2 - 1) * 100:+.1f} %" if raw_m2 else "",
    }


def _patch_cells(row: dict[str, Any] | None) -> tuple[str, ...]:
    # Number of patches, their mean size in hectares, edge in metres a hectare.
    if row is None:
        return ()
    return f"{row['patches']:,}", _number(row["mean_patch_m2"] / 1e4), _number(row["edge_m_per_ha"])


def _tables_by_region(
    out: Location, table: str, measure: str, cells: Callable[[dict[str, Any]], tuple[str, ...]]
) -> dict[str, Any]:
    # A table a region and period, of the regions with the largest sums of a measure; and the number
    # of the other regions.
    rows = store.read_table(out, table).to_pylist()
    sums: dict[RegionKey, float] = {}
    for row in rows:
        sums[_region_key(row)] = sums.get(_region_key(row), 0) + row[measure]
    listed = set(sorted(sums, key=lambda key: (-sums[key], key))[:_MAX_REGIONS])
    names = ("level", "name", "region_id", "period", "class_id")
    rows.sort(key=lambda row: tuple(row[name] for name in names))
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if _region_key(row) in listed:
            groups.setdefault((*_region_key(row), row["period"]), []).append(row)
    regions = [
        {
            "title": f"{class_rows[0]['name']}, {level}, {period}",
            "observed": _percent(class_rows[0].get("observed_share")),
            "rows": [(row["class_name"], *cells(row)) for row in class_rows],
        }
        for (level, _, period), class_rows in groups.items()
    ]
    return {"regions": regions, "table": table, "smaller_count": len(sums) - len(listed)}


def _detection_cells(row: dict[str, Any]) -> tuple[str, ...]:
    return f"{row['detections']:,}", _number(row["detections_per_km2"]), _share(row["mean_score"])


def _presence_cells(row: dict[str, Any]) -> tuple[str, ...]:
    return _number(row["present_m2"] / 1e6), _percent(row["share"]), _share(row["mean_probability"])


def _accuracy_sections(out: Location, legend: Legend) -> list[dict[str, Any]]:
    # A section a period, of the test split.
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
                "title": f"{split} blocks, {period}",
                "overall": _share(overall["overall_accuracy"]),
                "miou": _share(overall["iou"]),
                "pixels": f"{overall['pixels']:,}",
                "hardly_mapped": rows_hardly_mapped(rows),
                "rows": [_accuracy_line(row) for row in rows if row["class_id"] is not None],
                **_confusion_matrix(counts, legend),
            }
        )
    return sections


def _accuracy_line(row: dict[str, Any]) -> dict[str, str]:
    return {
        "name": row["class_name"],
        "pixels": f"{row['pixels']:,}",
        "user": _share(row["users_accuracy"]),
        "producer": _share(row["producers_accuracy"]),
        "f1": _share(row["f1"]),
        "iou": _share(row["iou"]),
    }


def _confusion_matrix(counts: dict[tuple[int, int], int], legend: Legend) -> dict[str, Any]:
    # Pixels by (label, map), a row a class of the label.
    columns = [(entry.id, entry.name) for entry in legend.classes]
    other_ids = {map_id for _, map_id in counts} - set(legend.ids)
    columns += [(map_id, "no class") for map_id in sorted(other_ids)]
    rows = []
    for entry in legend.classes:
        total = sum(count for (label_id, _), count in counts.items() if label_id == entry.id)
        cells = [counts.get((entry.id, map_id), 0) for map_id, _ in columns]
        rows.append({"name": entry.name, "cells": _shaded(cells, "{:,}".format, total)})
    return {"columns": [name for _, name in columns], "matrix": rows}


def _shaded(
    cells: Sequence[float], write: Callable[[float], str], total: float
) -> list[dict[str, Any]]:
    # Cells of a matrix, the darker the larger their share of the row.
    return [
        {"text": write(cell), "depth": round(0.7 * cell / total, 3) if total else 0}
        for cell in cells
    ]


def _matrix_key(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return row["level"], row["region_id"], row["period_from"], row["period_to"]


def _transition_matrices(legend: Legend, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # A matrix a region and pair of periods.
    matrices = []
    for key, group in itertools.groupby(sorted(rows, key=_matrix_key), _matrix_key):
        level, _, before, after = key
        changes = list(group)
        matrix = _transition_matrix(_class_order(legend), changes)
        title = f"{changes[0]['name']}, {level}, {before} to {after}"
        matrices.append({"title": title, **matrix})
    return matrices


def _transition_matrix(
    order: Mapping[int | None, int], changes: Sequence[dict[str, Any]]
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
        rows.append({"name": names[from_id], "cells": _shaded(cells, _number_or_blank, sum(cells))})
    changed = sum(area for (from_id, to_id), area in km2.items() if from_id != to_id)
    return {
        "columns": [names[class_id] for class_id in ids],
        "rows": rows,
        "changed": _percent(changed / sum(km2.values())),
    }


def _estimate_tables(out: Location, legend: Legend) -> list[dict[str, Any]]:
    # A table a region, and one of all that was sampled.
    estimates = store.read_table(out, "estimates").to_pylist()
    colours = _class_colours(legend)
    tables = []
    for region in sorted({row["region_id"] or "" for row in estimates}):
        rows = [row for row in estimates if (row["region_id"] or "") == region]
        measures = {(row["measure"], row["class_id"]): row for row in rows}
        areas = [row for row in rows if row["measure"] == "area_m2" and row["estimate"] is not None]
        areas.sort(key=lambda row: row["class_id"])
        largest = max((_upper_bound(row) for row in areas), default=0) or 1
        overall = measures["overall_accuracy", None]
        tables.append(
            {
                "title": region or "all sampled area",
                "overall": _interval(overall),
                "points": overall["points"],
                "rows": [
                    _estimate_line(row, measures, largest)
                    | {"colour": colours.get(row["class_id"])}
                    for row in areas
                ],
            }
        )
    return tables


def _upper_bound(area: dict[str, Any]) -> float:
    return float(area["estimate"] if area["high_95"] is None else area["high_95"])


def _estimate_line(
    area: dict[str, Any], measures: dict[tuple[str, int | None], dict[str, Any]], largest: float
) -> dict[str, Any]:
    # A class: km², accuracies, and its bar in per cent of the largest area.
    class_id, estimate = area["class_id"], area["estimate"]
    has_error = area["standard_error"] is not None
    low, high = (max(area["low_95"], 0), area["high_95"]) if has_error else (estimate, estimate)
    half_width = _number((high - estimate) / 1e6) if has_error else "?"
    return {
        "name": area["class_name"],
        "km2": f"{_number(estimate / 1e6)} ± {half_width}",
        "user": _interval(measures.get(("users_accuracy", class_id))),
        "producer": _interval(measures.get(("producers_accuracy", class_id))),
        "width": 100 * estimate / largest,
        "low": 100 * low / largest,
        "wide": 100 * (high - low) / largest,
    }


def _interval(row: dict[str, Any] | None) -> str:
    if row is None or row["estimate"] is None:
        return "–"
    half_width = "?" if row["high_95"] is None else f"{row['high_95'] - row['estimate']:.3f}"
    return f"{row['estimate']:.3f} ± {half_width}"


def _bad_inputs(out: Location) -> list[dict[str, Any]]:
    # The ledger's last rows that are bad.
    stages = ledger.read_ledger(out)["stage"].unique().to_pylist()
    is_bad = pc.field("status") == "bad"
    return [
        row | {"error": redact.redact_text(row["error"] or "")}
        for stage in stages
        for row in ledger.read_latest(out, stage).where(is_bad).table.to_pylist()
    ]


def _provenance(out: Location) -> list[tuple[str, str]]:
    # (name, text) of what made the tables: models, software, and fingerprints of the stages.
    columns = (
        store.read_table(out, table, ["model"])["model"].unique().to_pylist()
        for table in ("predictions", "probabilities", "detections")
    )
    footers = _prediction_footers(out)
    models = sorted(set(itertools.chain.from_iterable(columns)))
    seals = {stage: ledger.read_seal(out, stage) for stage in _STAGES}
    return [
        ("model", ", ".join(models)),
        *(
            (name, ", ".join(sorted(texts)))
            for name, key in (
                ("bands", "bands"),
                ("trained in", "trained_in"),
                ("mapped in", "precision"),
            )
            if (texts := {footer[key] for footer in footers if footer.get(key)})
        ),
        ("created", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("lulc", __version__),
        *((name, version) for name in _PACKAGES if (version := _installed_version(name))),
        *((f"fingerprint of {stage}", seal.fingerprint) for stage, seal in seals.items() if seal),
    ]


def _prediction_footers(out: Location) -> list[dict[str, Any]]:
    # Of some files of every table that a model fills.
    tables = (files.list_tables(store.table_folder(out, name)) for name in _PREDICTIONS)
    return list(itertools.chain.from_iterable(map(store.read_some_footers, tables)))


def _installed_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _number(number: float) -> str:
    return f"{number:,.1f}" if abs(number) >= 100 else f"{number:,.3f}"


def _number_or_blank(number: float) -> str:
    return _number(number) if number else ""


def _share(share: float | None) -> str:
    return "–" if share is None or math.isnan(share) else f"{share:.3f}"


def _percent(share: float | None) -> str:
    return "" if share is None or math.isnan(share) else f"{100 * share:.1f} %"
