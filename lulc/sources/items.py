"""Items read on workers: scenes, or errors that say why an item is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lulc.config import Archive
from lulc.errors import InputError
from lulc.guard import read_guard
from lulc.sources.registry import SOURCES
from lulc.sources.scene import Scene, scenes_from_table, scenes_to_table
from lulc.sources.source import SceneItem, Source
from lulc.tables import schemas

SCENE_OR_ERROR = pa.schema(
    [pa.field("key", pa.string()), pa.field("error", pa.string()), *schemas.SCENES]
)
"""A row of `read_items`: a scene, or the error of an item that is none."""


@dataclass(frozen=True)
class ItemsKey:
    """Some items of one archive, by its position in the run file: their paths, keys and texts."""

    archive: int
    paths: Sequence[str]
    keys: Sequence[str]
    texts: Sequence[str]


def list_items(source: Source, archive: Archive) -> list[SceneItem]:
    """Return an archive's items in order.

    Raises:
        InputError: the archive cannot be listed.
    """
    with read_guard(f"archive {archive.path}"):
        return list(source.items(archive))


def read_items(
    key: ItemsKey, archives: Sequence[Archive], sources: Sequence[str], bands: Sequence[str]
) -> list[dict[str, Any]]:
    """Read the scenes of some items.

    Args:
        key: the items.
        archives: the run's archives.
        sources: the name of each archive's source.
        bands: the bands that every scene must have.

    Returns:
        A row for every item: its scene, or the error that says why it is none.
    """
    archive, source = archives[key.archive], SOURCES[sources[key.archive]]
    rows = []
    for path, name, text in zip(key.paths, key.keys, key.texts, strict=True):
        row: dict[str, Any] = dict.fromkeys(SCENE_OR_ERROR.names) | {"key": name}
        try:
            with read_guard(path):
                scene = source.read(SceneItem(path, name, text), archive, bands)
                rows.append(row | scenes_to_table([scene]).to_pylist()[0])
        except InputError as error:
            rows.append(row | {"error": str(error)})
    return rows


def scenes_of_rows(rows: Iterable[dict[str, Any]]) -> list[Scene]:
    """Return the scenes of rows of `read_items`; rows of errors are left out."""
    columns = [
        {name: row[name] for name in schemas.SCENES.names} for row in rows if row["error"] is None
    ]
    return scenes_from_table(pa.Table.from_pylist(columns, schemas.SCENES))
