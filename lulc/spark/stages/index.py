"""The index stage: an archive's items listed on the driver, their headers read on executors, the scenes table written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import shapely

from lulc.bands import OBSERVATIONS
from lulc.config import Archive, Config
from lulc.errors import InputError
from lulc.sources.readers.geotiff import read_layer
from lulc.sources.registry import SOURCES, source_of
from lulc.sources.scene import Scene, scenes_from_table, scenes_to_table
from lulc.sources.search import find_scenes
from lulc.sources.source import SceneItem
from lulc.spark.incremental import StageContext, StageResult, map_keys
from lulc.tables import schemas, store
from lulc.tables.files import file_identity, fingerprint_of
from lulc.tables.ledger import append_ledger, latest, ledger_row

# What executors send back: a scene, or the error of an item that is none.
_FOUND = pa.schema([pa.field("key", pa.string()), pa.field("error", pa.string()), *schemas.SCENES])
# Items a task: opening a header takes milliseconds.
_SHARE = 32


def index(context: StageContext) -> StageResult:
    """What the stage did: the scenes table holds every scene of the run's archives and layers that can be read.

    Items that cannot go to the ledger. InputError when no scene is left, or a layer cannot be read. An archive that is a search
    is answered first; the answer is kept.
    """
    out = context.out
    config = replace(
        context.config,
        scenes=tuple(
            find_scenes(archive, context.config, out) for archive in context.config.scenes
        ),
    )
    found_in = [source_of(archive) for archive in config.scenes]
    items = [
        (n, item) for n, archive in enumerate(config.scenes) for item in found_in[n].items(archive)
    ]
    if not items:
        raise InputError(
            f"no scenes in {', '.join(a.path for a in config.scenes)}: check scenes.path and scenes.pattern"
        )
    ledger = latest(out, "index")
    bad = {k: r for k, r in ledger.items() if r["status"] == "bad"}
    standing = scenes_from_table(store.read_table(out, "scenes"))
    again = bool(bad) and context.selection.retry_bad
    fingerprint = _fingerprint(config, items)
    if standing and ledger.get("", {}).get("fingerprint") == fingerprint and not again:
        return StageResult("index", stood=len(standing), bad=len(bad))
    layers = [read_layer(layer) for layer in config.layers]
    keys = [
        {"items": json.dumps([[n, i.path, i.key, i.text] for n, i in items[at : at + _SHARE]])}
        for at in range(0, len(items), _SHARE)
    ]
    wanted = tuple(
        b for b in config.bands if b not in {OBSERVATIONS, *(layer.band for layer in config.layers)}
    )
    rows = map_keys(
        context,
        keys,
        partial(
            read_items, archives=config.scenes, sources=[s.name for s in found_in], bands=wanted
        ),
        _FOUND,
        "index",
    )
    errors = [(r["key"], r["error"]) for r in rows if r["error"] is not None]
    read = scenes_from_table(
        pa.Table.from_pylist(
            [{n: r[n] for n in schemas.SCENES.names} for r in rows if r["error"] is None],
            schemas.SCENES,
        )
    )
    scenes, repeats, clashes = _distinct(read)
    errors += clashes
    found = {key for key, _ in errors}
    append_ledger(
        out, [ledger_row("index", key, "", status="bad", error=error) for key, error in errors]
    )
    if not scenes:
        named = "".join(f"\n  {key}: {error}" for key, error in errors[:5])
        raise InputError(f"none of {len(items)} items is a scene that can be used:{named}")
    scenes += layers
    table = scenes_to_table(scenes)
    store.write_table(out, "scenes", table, {"geo": _geo(table)})
    mended = [ledger_row("index", key, "", status="dropped") for key in bad if key not in found]
    append_ledger(out, [*mended, ledger_row("index", "", fingerprint)])
    notes = [
        f"answer of the search kept in {archive.path}"
        for archive in config.scenes
        if archive.search
    ]
    notes += [f"{len(repeats)} repeated scenes left out"] if repeats else []
    return StageResult("index", done=len(scenes), bad=len(errors), note="; ".join(notes))


def read_items(
    key: dict[str, Any], archives: Sequence[Archive], sources: Sequence[str], bands: Sequence[str]
) -> list[dict[str, Any]]:
    """A row for every item of a key: its scene, with all of `bands`, or the error that says why it is none."""
    rows = []
    for number, path, name, text in json.loads(key["items"]):
        row: dict[str, Any] = dict.fromkeys(_FOUND.names) | {"key": name}
        try:
            archive = archives[number]
            scene = SOURCES[sources[number]].read(SceneItem(path, name, text), archive, bands)
            rows.append(row | scenes_to_table([scene]).to_pylist()[0])
        except (InputError, OSError) as error:
            rows.append(row | {"error": str(error)})
    return rows


def _fingerprint(config: Config, items: Iterable[tuple[int, SceneItem]]) -> str:
    # Any file that comes, goes or changes below an archive counts, also one that made a scene bad: it shows by its size or time.
    folders = {
        p if p.is_dir() else p.parent for p in (Path(archive.path) for archive in config.scenes)
    }
    files = {f for folder in folders for f in folder.rglob("*") if f.is_file()} | {
        Path(layer.path) for layer in config.layers
    }
    listed = [(n, i.path, i.key, i.text) for n, i in items]
    return fingerprint_of(
        config.scenes,
        config.layers,
        config.bands,
        listed,
        [file_identity(f) for f in sorted(files) if f.is_file()],
    )


def _distinct(read: Iterable[Scene]) -> tuple[list[Scene], list[str], list[tuple[str, str]]]:
    # Scenes of different ids; ids that came again as the same scene; ids that came again as another one.
    scenes: dict[str, Scene] = {}
    repeats, clashes = [], []
    for scene in read:
        first = scenes.setdefault(scene.scene_id, scene)
        if first is scene:
            continue
        if first.fingerprint == scene.fingerprint:
            repeats.append(scene.scene_id)
        else:
            where = f"{first.bands[0].href} and {scene.bands[0].href}"
            clashes.append(
                (scene.scene_id, f"two different scenes have this id: {where}; the first is used")
            )
    return list(scenes.values()), repeats, clashes


def _geo(table: pa.Table) -> str:
    # GeoParquet 1.1.0; no CRS named means longitude, latitude on WGS 84.
    outlines = shapely.from_wkb(table["footprint"].to_numpy(zero_copy_only=False))
    column = {
        "encoding": "WKB",
        "geometry_types": sorted({g.geom_type for g in outlines}),
        "bbox": [float(v) for v in shapely.total_bounds(outlines)],
    }
    return json.dumps(
        {"version": "1.1.0", "primary_column": "footprint", "columns": {"footprint": column}}
    )
