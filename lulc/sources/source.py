"""Source and SceneItem: how an archive's scenes are listed and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lulc.config import Archive
from lulc.sources.scene import Scene


@dataclass(frozen=True)
class SceneItem:
    """The address of one scene.

    path: the file (or folder) it is described in; key: its name in the ledger; text: what the listing knows of it, as JSON.
    """

    path: str
    key: str
    text: str = ""


@dataclass(frozen=True)
class Source:
    """Where scenes come from.

    items: archive → its items in order, cheap, on the driver. read: (item, archive, bands) → the Scene with the bands named (all
    where none is), opening the headers of their files, on an executor; InputError says what is wrong with the item.
    accepts: whether the names of files (relative to the archive) look like its own, so that `auto` can choose.
    """

    name: str
    accepts: Callable[[Archive, Sequence[str]], bool]
    items: Callable[[Archive], Iterator[SceneItem]]
    read: Callable[[SceneItem, Archive, Sequence[str]], Scene]
