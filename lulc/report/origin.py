"""Where a run's results come from: imagery, model, software, licence, and inputs left out."""

from __future__ import annotations

import importlib.metadata
import itertools
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lulc import __version__, redact
from lulc.config import Config, RefineConf
from lulc.datasets.registry import find_dataset
from lulc.location import Location
from lulc.maps.applicability import far_tiles_of_run
from lulc.report.texts import Texts
from lulc.sources.attributions import list_attributions
from lulc.sources.scene import LAYER
from lulc.tables import files, ledger, store

_PACKAGES = ("pyspark", "apache-sedona", "torch", "rasterio", "petastorm", "mlflow", "pyarrow")
_PREDICTIONS = ("predictions", "probabilities", "boxes")
_MODELS = ("predictions", "probabilities", "detections")
_STAGES = ("index", "tile", "samples", "predict", "rasters", "stats")
_MAX_REFINEMENTS = 6

type Facts = list[tuple[str, str]]
"""Pairs of name and text."""


def read_scenes(out: Location) -> pa.Table:
    """Read of a run's scenes what the report tells of them; `platform` is empty if not known."""
    columns = ["scene_id", "source", "datetime", "cloud", "properties"]
    scenes = store.read_table(out, "scenes", columns)
    platforms = pc.map_lookup(scenes["properties"], pa.scalar("platform"), "first")
    return scenes.drop_columns("properties").append_column(
        "platform", pc.coalesce(platforms, pa.scalar(""))
    )


def headline(config: Config, scenes: pa.Table, texts: Texts) -> str:
    """Return a sentence on what the map is made of."""
    if config.maps:
        names = sorted({map_files.period for map_files in config.maps})
        return texts("from_maps", periods=", ".join(names))
    periods = ", ".join(period.name for period in config.periods)
    days = pc.min_max(scenes["datetime"]).as_py()
    is_image = pc.not_equal(scenes["source"], LAYER)
    images = texts.counted("images_counted", pc.sum(is_image).as_py() or 0)
    if config.datasets and not scenes.num_rows:
        return texts("from_datasets", names=", ".join(data.name for data in config.datasets))
    if not scenes.num_rows:
        return texts("from_nothing", periods=periods)
    if days["min"] is None:
        return texts("from_undated_scenes", periods=periods, images=images)
    of_days = _days(days["min"], days["max"], texts)
    return texts("from_scenes", periods=periods, images=images, days=of_days)


def describe_origin(
    config: Config, out: Location, scenes: pa.Table, bad_count: int, texts: Texts
) -> Facts:
    """Return what a reader asks who wants to trust a map, or use it."""
    groups = _scene_groups(scenes)
    attributions, unknown = list_attributions(groups)
    attributions += config.about.attributions
    if unknown and not config.about.attributions:
        attributions.append(texts("attributions_unknown", sources=", ".join(unknown)))
    if config.maps and not attributions:
        attributions.append(texts("attributions_unknown", sources=texts("maps_elsewhere")))
    refined = describe_refinement(config.refine) if config.refine else []
    left_out = texts("inputs_left_out_count", count=texts.count(bad_count))
    rows = [
        *((texts("imagery"), _imagery(group, scenes, texts)) for group in groups),
        *((texts("maps_elsewhere"), _folder_and_name(entry.path)) for entry in config.maps),
        *((texts("training_data"), find_dataset(data.name).about) for data in config.datasets),
        (texts("labels"), redact.file_name(config.labels.path) if config.labels else ""),
        *((texts("regions"), f"{e.level}: {redact.file_name(e.path)}") for e in config.regions),
        (texts("periods"), _periods(config, texts)),
        (texts("model"), ", ".join(_models(out))),
        (texts("refined_by"), ", ".join(refined)),
        (texts("software"), f"lulc {__version__}"),
        (texts("made"), f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        (texts("licence"), config.about.licence or texts("not_stated")),
        (texts("attributions"), " ".join(attributions)),
        (texts("inputs_left_out"), left_out if bad_count else texts("none")),
    ]
    return [(name, text) for name, text in rows if text]


def describe_technique(config: Config, out: Location, texts: Texts) -> Facts:
    """Return bands, precisions, how many tiles are unlike the samples, versions, fingerprints."""
    tables = (files.list_tables(store.table_folder(out, name)) for name in _PREDICTIONS)
    footers = list(itertools.chain.from_iterable(map(store.read_some_footers, tables)))
    seals = {stage: ledger.read_seal(out, stage) for stage in _STAGES}
    fingerprints = [
        (texts("fingerprint_of", stage=stage), seal.fingerprint)
        for stage, seal in seals.items()
        if seal
    ]
    names = {"bands": "bands", "trained_in": "trained_in", "mapped_in": "precision"}
    of_models = [
        (texts(key), ", ".join(sorted(found)))
        for key, name in names.items()
        if (found := {footer[name] for footer in footers if footer.get(name)})
    ]
    versions = [(name, version) for name in _PACKAGES if (version := _installed_version(name))]
    limit = config.predict.training_distance
    far = far_tiles_of_run(out, limit)
    unlike = []
    if far:
        counts = {name: texts.count(far[name]) for name in ("far_tiles", "tiles")}
        distances = {"limit": f"{limit:g}", "farthest": texts.number(far["farthest"])}
        unlike = [(texts("unlike_samples"), texts("far_tiles", **counts, **distances))]
    return [*of_models, *unlike, *versions, *fingerprints]


def list_bad_inputs(out: Location) -> list[dict[str, Any]]:
    """Return the ledger's last rows that are bad, their errors without secrets."""
    stages = ledger.read_ledger(out)["stage"].unique().to_pylist()
    is_bad = pc.field("status") == "bad"
    return [
        row | {"error": redact.redact_text(row["error"] or "")}
        for stage in stages
        for row in ledger.read_latest(out, stage).where(is_bad).table.to_pylist()
    ]


def describe_refinement(refine: RefineConf) -> list[str]:
    """Return the steps that refined the map, as the run file names them."""
    steps = []
    if refine.combine:
        steps.append(f"combine {refine.combine}")
    if refine.smooth:
        steps.append(f"smooth (window {refine.smooth.window})")
    if refine.majority:
        steps.append(f"majority {refine.majority}")
    if refine.minimum_mapping_unit:
        steps.append(f"minimum_mapping_unit {refine.minimum_mapping_unit}")
    steps += refine.rules[:_MAX_REFINEMENTS]
    if refine.transitions:
        pairs = [f"{first} → {second}" for first, second in refine.transitions.forbidden]
        steps.append(" ".join(["transitions", *([f"(never {', '.join(pairs)})"] if pairs else [])]))
    return steps


def _scene_groups(scenes: pa.Table) -> list[tuple[str, str, datetime | None, datetime | None]]:
    # Source, platform, first and last time of images; layers are no imagery.
    images = scenes.filter(pc.not_equal(scenes["source"], LAYER))
    rows = images.group_by(["source", "platform"]).aggregate(
        [("datetime", "min"), ("datetime", "max")]
    )
    groups = [
        (row["source"], row["platform"], row["datetime_min"], row["datetime_max"])
        for row in rows.to_pylist()
    ]
    return sorted(groups, key=lambda group: group[:2])


def _imagery(
    group: tuple[str, str, datetime | None, datetime | None], scenes: pa.Table, texts: Texts
) -> str:
    source, platform, first, last = group
    is_meant = (pc.field("source") == source) & (pc.field("platform") == platform)
    images = texts.counted("images_counted", scenes.filter(is_meant).num_rows)
    name = f"{platform} ({source})" if platform else source
    if first is None or last is None:
        return texts("imagery_row_undated", source=name, images=images)
    return texts("imagery_row", source=name, images=images, days=_days(first, last, texts))


def _days(first: datetime, last: datetime, texts: Texts) -> str:
    days = f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}"
    return days[0] if days[0] == days[1] else texts("days", first=days[0], last=days[1])


def _folder_and_name(path: str) -> str:
    # A pattern of file names alone tells little; all of the path is in the settings.
    return "/".join(redact.redact_url(path).split("/")[-2:])


def _periods(config: Config, texts: Texts) -> str:
    if config.maps:
        return ", ".join(sorted({entry.period for entry in config.maps}))
    spans = []
    for period in config.periods:
        first, last = (day and str(day) for day in (period.start, period.end))
        if first or last:
            end = texts("open_end")
            days = {"first": first or end, "last": last or end}
            spans.append(texts("period_row", name=period.name, **days))
        else:
            spans.append(period.name)
    return ", ".join(spans)


def _models(out: Location) -> list[str]:
    columns = (store.read_table(out, table, ["model"])["model"] for table in _MODELS)
    return sorted({model for column in columns for model in column.unique().to_pylist()})


def _installed_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
