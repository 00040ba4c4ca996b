"""The index stage: an archive's items listed on the driver, their headers read by workers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import pyarrow as pa

from lulc.config import Config
from lulc.errors import InputError
from lulc.location import parse_location
from lulc.sources.archives import unpack_hint
from lulc.sources.catalogues.search import find_scenes
from lulc.sources.header import href_identity
from lulc.sources.indexing.item_tasks import ItemsTask, read_task, write_listed_items
from lulc.sources.indexing.kept_items import (
    Changes,
    KeptItems,
    list_archives,
    list_run,
)
from lulc.sources.indexing.read_scenes import ReadScenes
from lulc.sources.indexing.scenes_file import write_scenes
from lulc.sources.indexing.selection import select
from lulc.sources.items import describe_unread, make_reading
from lulc.sources.layers import read_layer
from lulc.sources.listing import list_once
from lulc.sources.registry import source_of
from lulc.sources.scene import scenes_to_table
from lulc.sources.scenes_table import with_distinct_keys
from lulc.sources.source import Source
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import run_whole
from lulc.spark.workers import map_keys
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import layout, store
from lulc.tables.files import fingerprint_of
from lulc.tables.ledger import LedgerRow

_TASKS = 400  # at most: each writes a file
_COUNT = pa.schema([("items", pa.int64())])


def index(context: StageContext) -> StageResult:
    """Write the scenes table: every scene of the run's archives and layers that can be read.

    An item that was read before, and whose files are as they were, is not opened again. Items that
    cannot be read go to the ledger. An archive that is a search is answered first, and the answer
    is kept.

    Raises:
        InputError: no scene is left, or a layer cannot be read.
    """
    out = context.out
    archives = tuple(find_scenes(a, context.config, out) for a in context.config.scenes)
    config = replace(context.config, scenes=archives)
    with list_once():
        sources = [source_of(archive) for archive in archives]
        read_now = _read_new_items(context, config, sources)
        notes = [
            note for s, a in zip(sources, archives, strict=True) for note in describe_unread(s, a)
        ]
    layers = [(layer, href_identity(layer.path)) for layer in config.layers]
    kept_items = read_now.kept_items
    fingerprint = fingerprint_of(
        OUTPUT_VERSIONS["index"], kept_items.fingerprint, config.scenes, layers, config.given_bands
    )

    def write_table(bad: dict[str, LedgerRow]) -> None:
        layers = [read_layer(layer) for layer in config.layers]
        read = ReadScenes(kept_items, config.scenes)
        selected = select(read.facts, read.scenes)
        errors = read.errors + selected.errors
        for key, error in with_distinct_keys(errors):
            bad[key] = LedgerRow("index", key, fingerprint, "bad", error=error)
        if not len(selected.numbers):
            first_errors = "".join(f"\n  {key}: {error}" for key, error in errors[:5])
            count = kept_items.count
            raise InputError(f"none of {count} items is a scene that can be used:{first_errors}")
        of_layers = scenes_to_table(layers).to_batches()
        write_scenes(out, lambda: chain(read.batches(selected.numbers), of_layers))
        notes.extend(f"answer of the search kept in {a.path}" for a in archives if a.search)
        notes.extend(selected.notes)

    scenes_file = layout.table_file("scenes")
    result = run_whole(context, "index", fingerprint, scenes_file, write_table, read_now.seconds)
    count = store.read_table(out, "scenes", ["scene_id"]).num_rows
    if not result.done:
        return replace(result, skipped=count)
    done = min(count, read_now.scenes + len(layers))
    change_notes = [str(read_now.changes)] if read_now.changes else []
    note = "; ".join([*change_notes, *notes])
    return replace(result, done=done, skipped=count - done, note=note)


@dataclass(frozen=True, eq=False)
class _ReadNow:
    """What was read of a run's items."""

    kept_items: KeptItems
    """The rows of all items."""
    scenes: int
    """Among the items that are new or changed."""
    changes: Changes | None
    """Since the index before; None where there was none."""
    seconds: float
    """Of it all, without the start of a session."""


def _read_new_items(context: StageContext, config: Config, sources: Sequence[Source]) -> _ReadNow:
    # Items that are new or changed are read by tasks.
    start = time.monotonic()
    reading = make_reading(config, sources, config.scene_bands)
    kept_items = KeptItems(context.out, list_archives(reading))
    folder = context.out / layout.unfinished_stage("index")
    kept_items.resume(folder / "read")
    kept_items.load(context.selection.retry_bad)
    had_items = kept_items.has_any
    counted: list[Changes] = []
    new = kept_items.find_new(list_run(sources, reading, kept_items), counted.append)
    to_read = folder / "to_read.parquet"
    groups, scenes = write_listed_items(new, to_read), 0
    if not kept_items.count:
        paths = ", ".join(archive.path for archive in config.scenes)
        hints = "".join(unpack_hint(parse_location(archive.path)) for archive in config.scenes)
        raise InputError(f"no scenes in {paths}: check scenes.path and scenes.pattern{hints}")
    if groups:
        session_start = time.monotonic()
        context.spark()
        start += time.monotonic() - session_start
        size = -(-groups // _TASKS)
        tasks = [ItemsTask(n, min(size, groups - n)) for n in range(0, groups, size)]
        read = partial(read_task, items=to_read, folder=folder / "read", reading=reading)
        map_keys(context, tasks, read, _COUNT, "index")
        scenes = kept_items.take(folder / "read")
    (changes,) = counted
    kept_items.compact(has_gone=changes.gone > 0)
    seconds = time.monotonic() - start
    return _ReadNow(kept_items, scenes, changes if had_items else None, seconds)
