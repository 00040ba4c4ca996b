"""What a raster, scene, vector file, table, model or output folder holds."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from lulc.cli import info_vectors
from lulc.config import Archive
from lulc.errors import InputError, LulcError
from lulc.guard import read_guard
from lulc.legend import NODATA
from lulc.location import Location, parse_location
from lulc.maps.applicability import far_tiles_of_run
from lulc.models.contract import read_contract
from lulc.models.package import find_weights
from lulc.paths import list_names
from lulc.redact import first_line
from lulc.stages import stages_of
from lulc.tables import files, layout, schemas, stac_geoparquet, store
from lulc.tables.ledger import find_seal, read_ledger

if TYPE_CHECKING:
    from lulc.cost.taken import Comparison
    from lulc.raster.views import PixelWindow
    from lulc.sources.scene import Scene
    from lulc.sources.source import SceneItem, Source

_ACCEPTED = (
    "a raster, a scene (a SAFE or Landsat folder, zip, tar or MTL, a MODIS .hdf, a STAC .json), a "
    "folder of scenes, points or polygons (.gpkg, .geojson, .csv, …), a table folder or .parquet "
    "file, a model folder or models:/ URI, an output folder, or the word datasets for a list of "
    "those that can be learned from"
)
_RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg", ".vrt", ".img")
_COUNTED_COLUMNS = ("split", "period", "source", "model", "stage", "status", "level")
_RANGED_COLUMNS = ("datetime", "cloud", "clear")


def describe_path(text: str, out: Location | None = None) -> dict[str, Any]:
    """Return what a path, a models:/ URI or the word `datasets` stands for, and what it holds.

    Args:
        text: the path, URI or word.
        out: output folder whose registry holds the model.

    Returns:
        Names → plain values; `kind` comes first.

    Raises:
        InputError: nothing is there, or nothing that is known.
    """
    with read_guard(text):
        return _describe(text, out)


def _describe(text: str, out: Location | None) -> dict[str, Any]:
    path = parse_location(text)
    if text.startswith("models:/"):
        from lulc.models import registry

        return _describe_model(registry.resolve(text, out or Path(), None).folder)
    if text == "datasets" and not path.exists():
        return _describe_datasets()
    if not path.exists():
        raise InputError(f"{text} is not there: give {_ACCEPTED}")
    if (path / "contract.json").exists():
        return _describe_model(path)
    if (path / layout.TABLES).is_dir() or (path / layout.CONFIG).is_file():
        return _describe_output(path)
    if path.name == "tables" and path.is_dir():
        return _describe_output(path.parent)
    if path.suffix == ".parquet" or _is_table(path):
        return _describe_table(path)
    if path.is_file() and path.suffix.lower() in _RASTER_SUFFIXES:
        return _describe_raster(path)
    if path.name.lower().endswith(info_vectors.SUFFIXES):
        return info_vectors.describe_vectors(path)
    return _describe_scenes(path)


def _is_table(folder: Location) -> bool:
    # Whether it holds Parquet files itself, or in folders of its partitions alone.
    names = list_names(folder, (".parquet",)) if folder.is_dir() else []
    return any(all("=" in folder_name for folder_name in name.split("/")[:-1]) for name in names)


def format_info(facts: dict[str, Any]) -> str:
    """Return the facts as aligned lines of text."""
    return "\n".join(f"{name:<17} {_format_fact(fact)}" for name, fact in facts.items())


def _format_fact(fact: Any) -> str:
    if isinstance(fact, dict):
        return ", ".join(f"{name}: {_format_fact(entry)}" for name, entry in fact.items())
    if isinstance(fact, list | tuple):
        return ", ".join(map(_format_fact, fact))
    if isinstance(fact, float):
        return f"{fact:.9g}"
    return f"{fact:,}" if isinstance(fact, int) else str(fact)


def _describe_datasets() -> dict[str, Any]:
    from lulc.datasets.registry import DATASETS, dataset_units

    facts: dict[str, Any] = {"kind": "datasets that can be learned from"}
    for name, dataset in sorted(DATASETS.items()):
        options = "; ".join(
            f"{option}={'|'.join(choices) or '…'}" for option, choices in dataset.options.items()
        )
        facts[name] = dataset.about + (f"  [{options}]" if options else "")
        if units := dataset_units(dataset):
            facts[name] += f"  ({units})"
    return facts


def _describe_raster(path: Location) -> dict[str, Any]:
    from lulc.raster import access, reader

    with access.open_raster(str(path.resolve())) as raster:
        grid = reader.grid_of(raster)
        facts = {
            "kind": "raster",
            "crs": grid.crs,
            "pixels": f"{grid.width} × {grid.height}",
            "pixel side m": grid.resolution_m,
            "bounds": grid.bounds,
            "bands": [name or f"b{i}" for i, name in enumerate(raster.descriptions, 1)],
            "dtype": raster.dtypes[0],
            "nodata": raster.nodata,
        }
        windows = [window.toslices() for _, window in raster.block_windows(1)]
        may_be_classes = raster.dtypes[0] == "uint8"
    if may_be_classes:
        facts |= _count_raster_classes(path, windows)
    return facts


def _count_raster_classes(path: Location, windows: Sequence[PixelWindow]) -> dict[str, Any]:
    # Nothing of bands that are no classes, or hold other numbers than class ids.
    from lulc.raster import classes
    from lulc.raster.access import ReadError

    counts = np.zeros(256, np.int64)
    try:
        raster = classes.scan_raster(str(path.resolve()))
        for window in windows:
            counts += np.bincount(classes.read_ids(raster, window).ravel(), minlength=256)
    except ReadError:
        raise
    except InputError:
        return {}
    names = dict(raster.names)
    return {
        "classes": {
            names.get(class_id, str(class_id)): int(counts[class_id])
            for class_id in np.flatnonzero(counts[:NODATA]).tolist()
        },
        "no class": int(counts[NODATA]),
    }


def _describe_scenes(path: Location) -> dict[str, Any]:
    from lulc.sources.registry import source_of

    # A product may be named by its manifest, too.
    archive = Archive(str(path.parent if path.name.lower() == "manifest.safe" else path))
    try:
        source = source_of(archive)
    except InputError as error:
        if path.name.lower().endswith(info_vectors.MAYBE):
            with contextlib.suppress(InputError):
                return info_vectors.describe_vectors(path)
        raise InputError(f"{path} holds nothing known: {error}; info takes {_ACCEPTED}") from error
    scenes, bad = [], {}
    for item in source.items(archive):
        try:
            with read_guard(item.path):
                scenes.append(_read_scene(source, item, archive))
        except InputError as error:
            bad[item.key] = str(error)
    if not scenes:
        errors = "".join(f"\n  {key}: {error}" for key, error in list(bad.items())[:5])
        raise InputError(f"{path} is of source {source.name}, but holds no scene:{errors}")
    if len(scenes) > 1 or bad:
        ids = [scene.scene_id for scene in scenes]
        bad_scenes = {"bad scenes": bad} if bad else {}
        return {"kind": "scenes", "source": source.name, "scenes": ids, **bad_scenes}
    return _describe_scene(scenes[0])


def _read_scene(source: Source, item: SceneItem, archive: Archive) -> Scene:
    # Also one whose quality layers are missing, which a run would have to take unmasked.
    try:
        return source.read(item, archive, ())
    except InputError:
        scene = source.read(item, replace(archive, mask=()), ())
        unmasked = ("unmasked", " ".join(archive.mask))
        return replace(scene, properties=(*scene.properties, unmasked))


def _describe_scene(scene: Scene) -> dict[str, Any]:
    properties = dict(scene.properties)
    unmasked = properties.pop("unmasked", "")
    facts: dict[str, Any] = {
        "kind": "scene",
        "id": scene.scene_id,
        "source": scene.source,
        "datetime": scene.datetime,
        "crs": scene.crs,
        "cloud": scene.cloud,
        "gsd m": scene.gsd_m,
        "bands": [
            f"{b.name} ({b.dtype}, ×{b.scale:g} {b.offset:+g}, {b.unit or 'unit not known'})"
            for b in scene.bands
            if b.kind != "quality"
        ],
        "masked by": [f"{b.name} ({Path(b.href).name})" for b in scene.quality],
        "not masked": unmasked.split(),
        **properties,
    }
    return {name: fact for name, fact in facts.items() if fact not in (None, [])}


def _describe_table(path: Location) -> dict[str, Any]:
    is_file = path.is_file()
    dataset = store.open_dataset(path.parent, [path]) if is_file else store.open_dataset(path)
    columns = dataset.schema.names
    table = _recognise_table(columns)
    rows = dataset.count_rows()
    facts: dict[str, Any] = {
        "kind": f"table {table}" if table else _describe_foreign_table(path),
        "rows": rows,
        "files": len(dataset.files),
        "columns": columns,
    }
    if not table:
        return facts
    for column in _COUNTED_COLUMNS:
        if column in columns:
            facts[column] = _count_values(dataset.to_table(columns=[column])[column])
    for column in _RANGED_COLUMNS:
        # `clear` is a number in the chips table alone.
        if column in columns and rows and (column != "clear" or table == "chips"):
            extremes = pc.min_max(dataset.to_table(columns=[column])[column]).as_py()
            facts[column] = f"{extremes['min']} to {extremes['max']}"
    group = next((name for name in ("split", "period") if name in columns), None)
    if group and "class_counts" in columns:
        facts |= _count_classes(dataset, group)
    return facts


def _describe_foreign_table(path: Location) -> str:
    if stac_geoparquet.is_items_table(path):
        return "table of STAC items (stac-geoparquet)"
    return "Parquet table that lulc did not make"


def _recognise_table(columns: list[str]) -> str | None:
    # The samples table has every column of the chips table, and more: of the tables whose columns
    # are all there, the one with most columns is meant.
    candidates = [name for name, schema in schemas.ALL.items() if set(schema.names) <= set(columns)]
    return max(candidates, key=lambda name: len(schemas.ALL[name]), default=None)


def _count_classes(dataset: ds.Dataset, group_column: str) -> dict[str, Any]:
    # `classes GROUP` → pixels by class id.
    totals: dict[str, Counter[str]] = {}
    table = dataset.to_table(columns=[group_column, "class_ids", "class_counts"])
    for row in table.to_pylist():
        total = totals.setdefault(f"classes {row[group_column]}", Counter())
        counts = zip(row["class_ids"], row["class_counts"], strict=True)
        total.update({str(class_id): count for class_id, count in counts})
    return {name: dict(sorted(total.items())) for name, total in sorted(totals.items())}


def _count_values(column: pa.ChunkedArray) -> dict[str, int]:
    return {str(row["values"]): row["counts"] for row in pc.value_counts(column).to_pylist()}


def _describe_model(folder: Location) -> dict[str, Any]:
    contract = read_contract(folder / "contract.json")
    return {
        "kind": "model",
        "name": contract.name,
        "task": contract.task,
        "architecture": {"model": contract.model, **contract.architecture},
        "bands": list(contract.bands),
        "units": list(contract.units) or "not recorded",
        "bands of files": [list(bands) for bands in contract.file_bands],
        "gsd m": contract.gsd_m,
        "trained in": contract.precision or "not recorded",
        "classes": {str(c.id): c.name for c in contract.legend.classes},
        "checksum": files.checksum(find_weights(folder)),
        **{f"{name} table": text for name, text in contract.fingerprints.items()},
    }


def _describe_output(out: Location) -> dict[str, Any]:
    facts: dict[str, Any] = {"kind": "output folder"}
    for name in schemas.ALL:
        folder = store.table_folder(out, name)
        if folder.is_dir():
            facts[name] = f"{store.open_dataset(folder).count_rows():,} rows"
    rows = read_ledger(out)
    facts |= {"ledger": f"{rows.num_rows:,} rows"} if rows.num_rows else {}
    counts = rows.group_by(["stage", "status"]).aggregate([([], "count_all")]).to_pylist()
    by_status = {f"{row['stage']} {row['status']}": row["count_all"] for row in counts}
    facts["ledger by"] = dict(sorted(by_status.items())) or "nothing is done yet"
    facts["rasters"] = len(list((out / "rasters").rglob("*.tif")))
    facts["models"] = sorted(path.parent.name for path in out.glob("models/*/contract.json"))
    if rows.num_rows and (out / layout.CONFIG).exists():
        facts |= _find_progress(out, rows)
    return facts


def _find_progress(out: Location, rows: pa.Table) -> dict[str, Any]:
    # `not finished`: stages of the run that are not. `plan of STAGE` → figure → planned, taken by
    # the ledger, and the factor between them.
    from lulc.api.config import saved_config
    from lulc.cost.plan import make_plan
    from lulc.cost.taken import compare_costs, read_taken

    config = saved_config(out)
    unfinished = [stage for stage in stages_of(config) if find_seal(rows, stage) is None]
    facts: dict[str, Any] = {"not finished": unfinished} if unfinished else {}
    limit = config.predict.training_distance
    if far := far_tiles_of_run(out, limit):
        facts["unlike the samples"] = (
            f"{far['far_tiles']:,} of {far['tiles']:,} tiles, more than {limit:g} standard "
            f"deviations away; the farthest {far['farthest']:.1f}"
        )
    try:
        costs = make_plan(config, out).costs
    except LulcError as error:
        return facts | {"plan": f"none can be made of {layout.CONFIG}: {first_line(error)}"}
    compared = compare_costs(costs, read_taken(out))
    return facts | {
        f"plan of {stage}": {name: _format_comparison(name, both) for name, both in figures.items()}
        for stage, figures in compared.items()
        if figures
    }


def _format_comparison(name: str, both: Comparison) -> str:
    scale, digits, unit = {"bytes": (2**20, 1, " MiB"), "seconds": (1, 1, " s")}.get(
        name, (1, 0, "")
    )
    planned, took = (f"{figure / scale:,.{digits}f}{unit}" for figure in (both.planned, both.took))
    factor = f", {both.factor:.2f} times the plan" if both.factor is not None else ""
    return f"{planned}, took {took}{factor}"
