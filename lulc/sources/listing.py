"""The files of an archive, listed in one pass, and what changes when one of them does."""

from __future__ import annotations

import bisect
import contextlib
import contextvars
import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from stat import S_ISDIR

from lulc import object_store
from lulc.location import Location, StorePath, is_address
from lulc.object_store import ObjectStat
from lulc.paths import is_hidden, list_outside


@dataclass(frozen=True, eq=False)
class Listing:
    """The files below a folder, but hidden ones."""

    folder: Location
    names: Sequence[str]
    """Relative to the folder, with forward slashes, in order."""
    _stats: Mapping[str, Sequence[object]]
    """Name → what a store says of the object; empty on disk, where files are asked one by one."""

    @cached_property
    def root(self) -> str:
        """How the paths of its files begin, with a slash at the end."""
        return f"{str(self.folder).rstrip('/')}/"

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self._stats or self.names)

    def ending(self, suffixes: tuple[str, ...]) -> list[str]:
        """Return the names that end in one of these, in lower case, whatever their own case."""
        return [name for name in self.names if name.lower().endswith(suffixes)]

    def identity(self, prefixes: Iterable[str]) -> str:
        """Return what changes when a file comes, goes or changes whose path begins with one.

        Args:
            prefixes: beginnings of absolute paths; those of files elsewhere are of no file.
        """
        names = {
            name
            for prefix in prefixes
            if f"{prefix}/".startswith(self.root)
            for name in self._beginning_with(prefix[len(self.root) :])
        }
        return _digest([name, *self._stat(name)] for name in sorted(names))

    def state(self, paths: Iterable[str]) -> str:
        """Return what changes when one of these files or folders comes, goes or changes."""
        if not isinstance(self.folder, StorePath):
            return state_on_disk(paths)
        names = {path: path.removeprefix(self.root) for path in paths}
        return _digest([path, *self._stats.get(name, ())] for path, name in names.items())

    def _beginning_with(self, prefix: str) -> Iterator[str]:
        for number in range(bisect.bisect_left(self._sorted, prefix), len(self._sorted)):
            if not self._sorted[number].startswith(prefix):
                return
            yield self._sorted[number]

    def _stat(self, name: str) -> Sequence[object]:
        if isinstance(self.folder, StorePath):
            return self._stats[name]
        return _stat_path(str(self.folder / name))


def state_on_disk(paths: Iterable[str]) -> str:
    """Return what changes when one of these files or folders of this machine's disk does.

    A folder does when a file in it comes or goes. Addresses are not asked: "" where there is one.
    """
    listed = list(paths)
    if any(map(is_address, listed)):
        return ""
    return _digest([path, *_stat_path(path)] for path in listed)


def _stat_path(path: str) -> Sequence[object]:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ()
    size = () if S_ISDIR(status.st_mode) else (status.st_size,)
    return (*size, status.st_mtime_ns)


def _digest(entries: Iterable[Sequence[object]]) -> str:
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(json.dumps(entry).encode())
    return digest.hexdigest()[:16]


_SAFE = re.compile(r"((?:.*?/)?[^/]+\.SAFE)/", re.IGNORECASE)
_PRODUCT = re.compile(r"S[12][A-Z]_.*(GRD|MSIL(1C|2A)).*\.SAFE")
_SENTINEL2 = re.compile(r"MTD_MSIL(1C|2A)\.xml")

_listed: contextvars.ContextVar[dict[Location, Listing] | None] = contextvars.ContextVar(
    "listed", default=None
)


@contextlib.contextmanager
def list_once() -> Iterator[None]:
    """Within, a folder is listed once, however often `list_archive` is called for it."""
    token = _listed.set({})
    try:
        yield
    finally:
        _listed.reset(token)


_is_known: contextvars.ContextVar[Callable[[str, str], bool] | None] = contextvars.ContextVar(
    "is_known", default=None
)


@contextlib.contextmanager
def knowing(is_known: Callable[[str, str], bool]) -> Iterator[None]:
    """Within, `is_known_item` says what `is_known` does."""
    token = _is_known.set(is_known)
    try:
        yield
    finally:
        _is_known.reset(token)


def is_known_item(path: str, key: str) -> bool:
    """Return whether a file was read as an item before, and is as it was: it need not be opened.

    Args:
        path: of the file.
        key: of the item.
    """
    is_known = _is_known.get()
    return is_known is not None and is_known(path, key)


def list_archive(folder: Location) -> Listing:
    """Return the files below the folder of an archive.

    Raises:
        InputError: a folder cannot be listed.
    """
    listings = _listed.get()
    if listings is None:
        return _list(folder)
    if folder not in listings:
        listings[folder] = _list(folder)
    return listings[folder]


def list_file(path: Location) -> Listing:
    """Return the listing of a file's folder with no other file in it."""
    stats = {}
    if isinstance(path, StorePath):
        stats[path.name] = _stat_of(path.stat())
    return Listing(path.parent, [path.name], stats)


def _stat_of(stat: ObjectStat) -> Sequence[object]:
    return stat.st_size, stat.st_mtime_ns, stat.etag


def _list(folder: Location) -> Listing:
    if isinstance(folder, Path):
        return Listing(folder, list_outside(folder, _is_closed), {})

    def fold(objects: Iterable[tuple[str, ObjectStat]]) -> dict[str, Sequence[object]]:
        stats: dict[str, Sequence[object]] = {}
        for product, files in _by_product(folder, objects):
            stats |= _without_inside(product, files)
        return stats

    stats: dict[str, Sequence[object]] = {}
    for of_range in object_store.map_below(folder.root, folder.key, fold):
        stats |= of_range
    in_order = sorted(stats)
    # Consoles and other clients put an empty object where they make a folder.
    for name in [name for name, (size, *_) in stats.items() if size == 0]:
        following = bisect.bisect_left(in_order, f"{name}/")
        if following < len(in_order) and in_order[following].startswith(f"{name}/"):
            del stats[name]
    names = (name for name in stats if not name.endswith("/"))
    return Listing(folder, sorted(names, key=lambda name: name.split("/")), stats)


def _by_product(
    folder: StorePath, objects: Iterable[tuple[str, ObjectStat]]
) -> Iterator[tuple[str, dict[str, Sequence[object]]]]:
    # The objects of each SAFE folder, as they come from the store; those elsewhere one by one.
    start = len(folder.key) + 1 if folder.key else 0
    product, files = "", dict[str, Sequence[object]]()
    for key, stat in objects:
        name = key[start:]
        if not name or any(map(is_hidden, name.split("/"))):
            continue
        match = _SAFE.match(name)
        inner = match[1] if match else ""
        if files and (inner != product or not product):
            yield product, files
            files = {}
        product, files[name] = inner, _stat_of(stat)
    if files:
        yield product, files


def _without_inside(
    product: str, files: dict[str, Sequence[object]]
) -> dict[str, Sequence[object]]:
    # What is in the folders of a product changes with the one entry that stands for them.
    names = {name.rpartition("/")[2] for name in files}
    if not product or not _is_closed(product.rpartition("/")[2], names):
        return files
    below = {name: s for name, s in files.items() if "/" in name[len(product) + 1 :]}
    digest = _digest([name, *s] for name, s in below.items())
    return {name: s for name, s in files.items() if name not in below} | {f"{product}/": (digest,)}


def _is_closed(folder: str, names: Collection[str]) -> bool:
    # A product of a kind that is read: its manifest, and its reader, know what is in its folders.
    is_product = _PRODUCT.fullmatch(folder) is not None and "manifest.safe" in names
    return is_product or any(map(_SENTINEL2.fullmatch, names))
