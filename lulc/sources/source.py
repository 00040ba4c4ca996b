"""How the scenes of an archive are listed and read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from lulc.config import Archive
from lulc.sources.product import is_packed
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


def beside(path: str) -> str:
    """Return how the names of a file and of those that belong to it begin: `x.` of `x.tif`."""
    if is_packed(path):
        return path
    head, slash, name = path.rpartition("/")
    return f"{head}{slash}{PurePosixPath(name).stem}."


def _beside_item(item: SceneItem) -> Iterable[str]:
    return (beside(item.path),)


def _none_named(item: SceneItem, archive: Archive, scene: Scene | None) -> Iterable[str]:  # noqa: ARG001
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
    prefixes: Callable[[SceneItem], Iterable[str]] = _beside_item
    """Tell how the paths of an item's files begin, as far as the item tells by itself: when one of
    them comes, goes or changes, the item is read again. `.../` is all of a folder."""
    named: Callable[[SceneItem, Archive, Scene | None], Iterable[str]] = _none_named
    """List the files and folders, there or not, that only the item's content names; on an executor,
    after `read`, whose scene is None where it failed."""
