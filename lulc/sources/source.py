"""How the scenes of an archive are listed and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lulc.config import Archive
from lulc.sources.scene import Scene


@dataclass(frozen=True)
class SceneItem:
    """The address of one scene."""

    path: str
    """The file or folder that describes it."""
    key: str
    """Its key in the ledger."""
    text: str = ""
    """What the reader needs besides the path: the item as JSON, or a product id."""


def _none_left_out(archive: Archive) -> Sequence[str]:  # noqa: ARG001
    return ()


@dataclass(frozen=True)
class Source:
    """A form in which archives hold scenes."""

    name: str
    """Its name in the run file, under scenes.source."""
    accepts: Callable[[Archive, Sequence[str]], bool]
    """Whether file names, relative to the archive, look like this form: for source `auto`."""
    items: Callable[[Archive], Iterator[SceneItem]]
    """List an archive's items in order; cheap, on the driver."""
    read: Callable[[SceneItem, Archive, Sequence[str]], Scene]
    """Read an item's Scene with the named bands (all where none is named), on an executor.

    It opens the headers of the files. InputError says what is wrong with the item.
    """
    left_out: Callable[[Archive], Sequence[str]] = _none_left_out
    """List the files of its kind that belong to no item, such as those of another pattern."""
