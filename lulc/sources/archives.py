"""Archives as they were downloaded, and the command that unpacks them."""

from __future__ import annotations

import os
import re
import shlex
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from lulc.location import Location, StorePath
from lulc.paths import list_names

_SUFFIX = re.compile(
    r"\.(?:(?P<tar>tar|tgz|tbz2?|txz|tzst|tar\.(?:gz|bz2|xz|zst))|(?P<zip>zip)|(?P<other>7z|rar))"
    r"(?P<part>\.(?:part-?)?(?:\d{2,3}|a[a-z]))?$",
    re.IGNORECASE,
)
_TAR_FLAGS = {"gz": "-z ", "bz2": "-j ", "tbz": "-j ", "xz": "-J ", "zst": "--zstd "}
# Of the parts that `zip -s` writes the last one ends in .zip.
_ZIP_PART = re.compile(r"\.z\d\d$", re.IGNORECASE)


def is_archive(name: str) -> bool:
    """Return whether a file is an archive, or a part of one, by its name."""
    return bool(_SUFFIX.search(name) or _ZIP_PART.search(name))


def find_packed(folder: Location) -> list[str]:
    """Return the names of the archives in a folder that has no folder of their name."""
    return sorted(
        name
        for name in (file.name for file in folder.iterdir())
        if _SUFFIX.search(name) and not (folder / _SUFFIX.sub("", name)).is_dir()
    )


def unpack_hint(root: Location) -> str:
    """Return what to do about packed archives, as the end of a message.

    Args:
        root: an archive, or a folder with archives anywhere below it.

    Returns:
        One command for a shell; empty where there is no archive.
    """
    if isinstance(root, StorePath):
        return _unpack_hint_of_store(root)
    if root.is_file() and _SUFFIX.search(root.name):
        folder, archives = root.parent, [root.name]
    elif root.is_dir():
        folder, archives = root, [name for name in list_names(root) if _SUFFIX.search(name)]
    else:
        return ""
    if not archives:
        return ""
    files_of = _parts_of(archives)
    steps = " && ".join(_unpack(folder, name, files, files_of) for name, files in files_of.items())
    return (
        f"; it holds archives as downloaded, unpack them: cd {shlex.quote(str(folder))} && {steps}"
    )


def _unpack_hint_of_store(root: StorePath) -> str:
    archives = [file.name for file, _ in root.walk() if _SUFFIX.search(file.name)]
    if not archives:
        return ""
    return (
        f"; it holds archives as downloaded ({', '.join(archives[:5])}): put there what they hold, "
        "unpacked"
    )


def _parts_of(archives: Iterable[str]) -> dict[str, list[str]]:
    """Return the files of each archive by its name without the number of a part."""
    files_of = defaultdict(list)
    for path in sorted(archives):
        match = _SUFFIX.search(path)
        assert match is not None
        name = path.removesuffix(match["part"]) if match["part"] else path
        files_of[name].append(path)
    return files_of


def _unpack(folder: Path, name: str, files: Sequence[str], names: Iterable[str]) -> str:
    match = _SUFFIX.search(name)
    assert match is not None
    target, quoted = shlex.quote(_target(folder, name, names)), _quote(name)
    joined = f"cat {' '.join(map(_quote, files))}"
    if match["tar"]:
        if files == [name]:
            return f"tar -xf {quoted} -C {target}"
        # From a pipe tar does not know the compression.
        flag = next((f for end, f in _TAR_FLAGS.items() if name.lower().endswith(end)), "")
        return f"{joined} | tar {flag}-xf - -C {target}"
    if match["other"]:
        return f"7z x {_quote(files[0])} -o{target}"
    if files != [name]:
        return f"{joined} > {quoted} && unzip -q -n {quoted} -d {target}"
    if _is_split(folder / name):
        single_zip = _quote(str(PurePosixPath(name).with_suffix(".whole.zip")))
        return f"zip -q -s 0 {quoted} --out {single_zip} && unzip -q -n {single_zip} -d {target}"
    return f"unzip -q -n {quoted} -d {target}"


def _target(folder: Path, name: str, names: Iterable[str]) -> str:
    """Return the folder to unpack an archive in: where it lies, or one of its own name.

    Several archives may hold the same folder, and one may hold files beside each other.
    """
    parent = str(PurePosixPath(name).parent)
    tops = {other: _top(folder / other) for other in names}
    if tops[name] is None or (tops[name] and list(tops.values()).count(tops[name]) == 1):
        return parent
    return _SUFFIX.sub("", name)


def _top(path: Path) -> str | None:
    """Return the one folder that all of a zip lies in; "" of none or many, None if not known."""
    try:
        with zipfile.ZipFile(path) as archive:
            tops = {PurePosixPath(name).parts[0] for name in archive.namelist() if "/" in name}
            has_loose_file = any("/" not in name for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return None
    return tops.pop() if len(tops) == 1 and not has_loose_file else ""


def _is_split(path: Path) -> bool:
    stem = path.stem.lower()
    return any(
        _ZIP_PART.search(file) and file.lower().startswith(stem) for file in os.listdir(path.parent)
    )


def _quote(path: str) -> str:
    return shlex.quote(f"./{path}" if path.startswith("-") else path)
