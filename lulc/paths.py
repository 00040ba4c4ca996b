"""Paths as they are: what lies below a folder, and what a pattern matches."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from lulc import progress
from lulc.errors import InputError, SetupError
from lulc.location import Location, StorePath, parse_location, relative_name

type Closed = Callable[[str, Collection[str]], bool]


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is passed over by its name: hidden, or added by macOS."""
    return name.startswith(".") or name == "__MACOSX"


def is_hidden_below(location: Location, folder: Location) -> bool:
    """Return whether a file is passed over by its name, or that of a folder on the way to it."""
    return any(map(is_hidden, relative_name(location, folder).split("/")))


def list_files(folder: Location, suffixes: tuple[str, ...] = ()) -> list[Location]:
    """Return the files below a folder as `list_names` lists them."""
    return [folder / name for name in list_names(folder, suffixes)]


def list_names(
    folder: Location, suffixes: tuple[str, ...] = (), folder_pattern: re.Pattern[str] | None = None
) -> list[str]:
    """Return the names of the files below a folder at any depth; links to folders are followed.

    Hidden files and folders are passed over, and what macOS adds to a zip. A link to a folder that
    holds the link itself is not followed, and told. A link that leads nowhere is a file: it fails
    when it is read.

    Args:
        folder: where to look.
        suffixes: in lower case, with their dots; of a name whatever its case. Empty for all files.
        folder_pattern: what the names of folders match that are listed themselves, not what is in
            them.

    Returns:
        Names relative to the folder, with forward slashes, in order.

    Raises:
        InputError: a folder cannot be listed.
    """
    if isinstance(folder, StorePath):
        return _list_objects(folder, suffixes, folder_pattern)

    def is_listed(entry: os.DirEntry[str]) -> bool:
        if entry.is_dir():
            return folder_pattern is not None and folder_pattern.fullmatch(entry.name) is not None
        return entry.name.lower().endswith(suffixes or "") and _is_file_or_broken_link(entry)

    return _in_order(_walk(folder, is_listed))


def list_outside(folder: Path, is_closed: Closed) -> list[str]:
    """Return the names of the files below a folder as `list_names` does, but not in closed folders.

    Args:
        folder: where to look; it is not closed itself.
        is_closed: tells, by the name of a folder below it and the names in that one, whether the
            folders in it are passed over.
    """
    return _in_order(_walk(folder, _is_any_file, is_closed))


def _in_order(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: name.split("/"))


def _is_any_file(entry: os.DirEntry[str]) -> bool:
    return not entry.is_dir() and _is_file_or_broken_link(entry)


def _list_objects(
    folder: StorePath, suffixes: tuple[str, ...], folder_pattern: re.Pattern[str] | None
) -> list[str]:
    names: set[tuple[str, ...]] = set()
    for file, _ in folder.walk():
        names_below = file.relative_to(folder).parts
        if any(map(is_hidden, names_below)):
            continue
        ends = [
            i
            for i, name in enumerate(names_below[:-1], 1)
            if folder_pattern and folder_pattern.fullmatch(name)
        ]
        if ends:
            names.add(names_below[: ends[0]])
        elif names_below[-1].lower().endswith(suffixes or ""):
            names.add(names_below)
    return ["/".join(names_below) for names_below in sorted(names)]


def _walk(
    root: Path,
    is_listed: Callable[[os.DirEntry[str]], bool],
    is_closed: Closed | None = None,
) -> Iterator[str]:
    return _walk_below(str(root), "", is_listed, is_closed, (Path(os.path.realpath(root)),))


def _walk_below(
    root: str,
    folder: str,
    is_listed: Callable[[os.DirEntry[str]], bool],
    is_closed: Closed | None,
    trail: tuple[Path, ...],
) -> Iterator[str]:
    # `folder` is "" or ends in a slash. `trail`: true paths of the root and of each link to it.
    entries = _scan(os.path.join(root, folder))
    closed = False
    if folder and is_closed:
        closed = is_closed(os.path.basename(folder[:-1]), {entry.name for entry in entries})
    for entry in entries:
        name = f"{folder}{entry.name}"
        if is_listed(entry):
            yield name
        elif closed or not entry.is_dir():
            continue
        elif not entry.is_symlink():
            yield from _walk_below(root, f"{name}/", is_listed, is_closed, trail)
        else:
            parent, target = (Path(os.path.realpath(p)) for p in (os.path.dirname(entry), entry))
            if any(true_path.is_relative_to(target) for true_path in (*trail, parent)):
                progress.say(f"WARNING: {entry.path} leads back to {target}: it is not followed")
            else:
                yield from _walk_below(root, f"{name}/", is_listed, is_closed, (*trail, target))


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        raise InputError(
            f"folder {folder.rstrip('/')} cannot be listed ({error.strerror}): correct its name, "
            "make it readable, or move it out of what is read"
        ) from error


def _is_file_or_broken_link(entry: os.DirEntry[str]) -> bool:
    return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry))


def match_files(pattern: str | Location) -> list[Location]:
    """Return the files that a path or pattern means, in order.

    The longest beginning of it that is there by this very name is meant, whatever characters are
    in it. The rest is a pattern: `*` and `?` stand for characters of a name, `[ab]` for one of
    them, `**` for folders. One file that is reached by several links is returned once.

    Returns:
        The files; empty where none matches.
    """
    path = parse_location(pattern)
    if path.exists():
        return [path]
    if isinstance(path, StorePath):
        bucket = StorePath(path.root)
        files = (file for file in bucket.glob(path.key) if file.is_file())
        return [file for file in files if not _is_hidden_from(path, file)]
    folder = next(parent for parent in path.parents if parent.exists())
    names = glob.glob(str(path.relative_to(folder)), root_dir=folder, recursive=True)
    matches = {os.path.realpath(folder / name): folder / name for name in sorted(names)[::-1]}
    return sorted(matches.values())


def _is_hidden_from(pattern: StorePath, file: StorePath) -> bool:
    # As on disk, a name that begins with a dot is met by a pattern that names the dot alone.
    hidden = {name for name in pattern.parts if name.startswith(".")}
    return any(name.startswith(".") and name not in hidden for name in file.parts)


@contextlib.contextmanager
def for_pyogrio(path: Path) -> Iterator[Path]:
    """Yield a path by which pyogrio and geopandas write the file at a path.

    They take `!` and `;` for marks of an address, and would write another file. Where the folder's
    path has one, a link without them leads to it.

    Args:
        path: of a vector file with a plain name, such as `files.write_atomic` gives.
    """
    folder = path.absolute().parent
    if not re.search("[!;]", str(folder)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="lulc-") as temporary:
        link = Path(temporary) / "folder"
        link.symlink_to(folder)
        yield link / path.name


def plain_link(folder: Path) -> Path:
    """Return a link of a plain name to a folder, for libraries that take its path for an address.

    It lies among the temporary files of this user, and is made again where it is missing.

    Raises:
        SetupError: another user has made the folder of these links.
    """
    links = Path(tempfile.gettempdir()) / f"lulc-links-{os.getuid()}"
    links.mkdir(mode=0o700, exist_ok=True)
    if links.lstat().st_uid != os.getuid() or links.is_symlink():
        raise SetupError(f"{links} belongs to another user: remove it, or set TMPDIR")
    link = links / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    with contextlib.suppress(FileExistsError):
        link.symlink_to(folder)
    return link
