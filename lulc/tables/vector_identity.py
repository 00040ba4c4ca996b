"""What changes when a vector file is edited, whatever the number of files that it is kept in."""

from __future__ import annotations

import errno
import os

from lulc.location import Location, StorePath, parse_location
from lulc.tables.files import file_identity, identities_below, identities_beside

PARTS = {
    ".shp": (".shx", ".dbf", ".prj", ".cpg"),
    ".tab": (".dat", ".dbf", ".map", ".id", ".ind"),
    ".mif": (".mid",),
    ".gml": (".xsd",),
}
"""Suffixes of vector files that lie beside others of their name, and the suffixes of those."""

_DATABASES, _LOGS = (".gpkg", ".sqlite", ".db"), ("-wal", "-journal")


def vector_identity(location: Location | str) -> list[object]:
    """Return what changes when any file of a vector file is replaced; no content is read.

    Args:
        location: of the file, or of a file geodatabase's folder.

    Returns:
        The `file_identity` of a vector file that is one file. Of another its name, its size in
        bytes, and the identity of each of its files.

    Raises:
        FileNotFoundError: it is not there.
    """
    path = parse_location(location)
    identities = _identities(path)
    if [identity[0] for identity in identities] == [str(path)]:
        return [str(location), *identities[0][1:]]
    if not identities:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(location))
    return [str(location), sum(int(str(size)) for _, size, *_ in identities), identities]


def logs_of(location: Location) -> list[Location]:
    """Return the logs beside a vector file that is a database: its last changes may lie there.

    Empty ones are left out, which readers make.
    """
    logs = [location.with_name(name) for name in log_names(location.name)]
    return [log for log in logs if log.is_file() and log.stat().st_size]


def log_names(name: str) -> list[str]:
    """Return the names that the logs of a vector file have; none where it is no database."""
    return [f"{name}{log}" for log in _LOGS] if name.lower().endswith(_DATABASES) else []


def _identities(location: Location) -> list[list[object]]:
    # The identity of each file of a vector file; none where it is not there.
    suffix = location.suffix.lower()
    is_folder = suffix == ".gdb" if isinstance(location, StorePath) else location.is_dir()
    if is_folder:
        return identities_below(location)
    if suffix in PARTS:
        names = [f"{location.stem}{of_part}".lower() for of_part in (suffix, *PARTS[suffix])]
        identities = [
            identity for identity in identities_beside(location) if _name(identity).lower() in names
        ]
        return identities if any(identity[0] == str(location) for identity in identities) else []
    return [file_identity(file) for file in (location, *logs_of(location))]


def _name(identity: list[object]) -> str:
    return parse_location(str(identity[0])).name
