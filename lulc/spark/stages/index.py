"""The index stage: an archive's items listed on the driver, their headers read by workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from lulc.bands import OBSERVATIONS
from lulc.config import Config
from lulc.errors import InputError
from lulc.location import Location, parse_location
from lulc.sources.archives import unpack_hint
from lulc.sources.header import href_identity
from lulc.sources.items import (
    SCENE_OR_ERROR,
    ItemsKey,
    describe_unread,
    list_items,
    make_reading,
    read_items,
    scenes_of_rows,
)
from lulc.sources.layers import read_layer
from lulc.sources.product import is_packed
from lulc.sources.registry import source_of
from lulc.sources.scene import scenes_to_table
from lulc.sources.scenes_table import geoparquet_metadata, select_scenes, with_distinct_keys
from lulc.sources.search import find_scenes
from lulc.sources.source import SceneItem
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import run_whole
from lulc.spark.kept import keep_rows
from lulc.spark.workers import map_keys
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import layout, store
from lulc.tables.files import fingerprint_of, identities_below
from lulc.tables.ledger import LedgerRow

_ITEMS_A_TASK = 32  # opening a header takes milliseconds


def index(context: StageContext) -> StageResult:
    """Write the scenes table: every scene of the run's archives and layers that can be read.

    Items that cannot be read go to the ledger. An archive that is a search is answered first, and
    the answer is kept.

    Raises:
        InputError: no scene is left, or a layer cannot be read.
    """
    out = context.out
    archives = tuple(find_scenes(a, context.config, out) for a in context.config.scenes)
    config = replace(context.config, scenes=archives)
    sources = [source_of(archive) for archive in archives]
    items = [list_items(source, a) for source, a in zip(sources, archives, strict=True)]
    if not any(items):
        paths = ", ".join(archive.path for archive in archives)
        hints = "".join(unpack_hint(parse_location(archive.path)) for archive in archives)
        raise InputError(f"no scenes in {paths}: check scenes.path and scenes.pattern{hints}")
    fingerprint = _fingerprint(config, items)
    notes: list[str] = []

    def write_scenes(bad: dict[str, LedgerRow]) -> None:
        layers = [read_layer(layer) for layer in config.layers]
        read = partial(read_items, reading=make_reading(config, sources, _scene_bands(config)))
        kept = out / layout.kept_folder("index", fingerprint)
        kept_read = keep_rows(read, kept, SCENE_OR_ERROR)
        rows = map_keys(context, _keys(items), kept_read, SCENE_OR_ERROR, "index")
        errors = [(row["key"], row["error"]) for row in rows if row["error"] is not None]
        unmasked_allowed = {
            row["scene_id"] for row in rows if archives[row["archive"]].unmasked == "allow"
        }
        selected = select_scenes(scenes_of_rows(rows), unmasked_allowed)
        scenes = selected.scenes
        errors += selected.errors
        for key, error in with_distinct_keys(errors):
            bad[key] = LedgerRow("index", key, fingerprint, "bad", error=error)
        if not scenes:
            first_errors = "".join(f"\n  {key}: {error}" for key, error in errors[:5])
            count = sum(map(len, items))
            raise InputError(f"none of {count} items is a scene that can be used:{first_errors}")
        table = scenes_to_table([*scenes, *layers])
        store.write_table(out, "scenes", table, {"geo": geoparquet_metadata(table)})
        notes.extend(f"answer of the search kept in {a.path}" for a in archives if a.search)
        for source, archive in zip(sources, archives, strict=True):
            notes.extend(describe_unread(source, archive))
        notes.extend(selected.notes)

    result = run_whole(context, "index", fingerprint, layout.table_file("scenes"), write_scenes)
    count = store.read_table(out, "scenes", ["scene_id"]).num_rows
    note = "; ".join(notes)
    if result.done:
        return replace(result, done=count, note=note)
    return replace(result, skipped=count, note=note)


def _keys(items: Sequence[Sequence[SceneItem]]) -> list[ItemsKey]:
    keys = []
    for archive, of_archive in enumerate(items):
        for start in range(0, len(of_archive), _ITEMS_A_TASK):
            task = of_archive[start : start + _ITEMS_A_TASK]
            columns = [i.path for i in task], [i.key for i in task], [i.text for i in task]
            keys.append(ItemsKey(archive, *columns))
    return keys


def _scene_bands(config: Config) -> tuple[str, ...]:
    # Bands that scenes do not have: those of layers, and the count of observations.
    others = {OBSERVATIONS, *(layer.band for layer in config.layers)}
    return tuple(band for band in config.bands if band not in others)


def _fingerprint(config: Config, items: Sequence[Sequence[SceneItem]]) -> str:
    # Any file that comes, goes or changes below an archive counts, also one that made a scene bad:
    # it shows by its size or time.
    folders = {_folder_of(parse_location(archive.path)) for archive in config.scenes}
    identities = {str(identity[0]): identity for f in folders for identity in identities_below(f)}
    identities |= {layer.path: href_identity(layer.path) for layer in config.layers}
    listed = [
        (archive, item.path, item.key, item.text)
        for archive, of_archive in enumerate(items)
        for item in of_archive
    ]
    known = [identities[name] for name in sorted(identities)]
    return fingerprint_of(
        OUTPUT_VERSIONS["index"], config.scenes, config.layers, config.bands, listed, known
    )


def _folder_of(path: Location) -> Location:
    # What an archive is of: a product in one file, or a folder, also that of its one item.
    return path if path.is_dir() or is_packed(str(path)) else path.parent
