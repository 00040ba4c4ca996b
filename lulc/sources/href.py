"""Which hrefs of an item are read: files below the archive's root and public web addresses."""

from __future__ import annotations

import ipaddress
import re
import socket
from functools import lru_cache
from os.path import normpath
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from lulc.errors import InputError
from lulc.location import (
    STORES,
    Location,
    StorePath,
    is_below,
    parse_location,
)
from lulc.redact import redact_url

_STORES = ("s3", "gs", "abfs", "abfss")
_REMOTE = ("http", "https", *_STORES)


def resolve_href(href: str, folder: Location, root: Location) -> str:
    """Resolve an href of an item.

    A remote file's copy in the item's folder is preferred: that is how downloaded items come.

    Args:
        href: The href as the item has it: a path, a file address or a remote address.
        folder: The folder of the item, which relative paths refer to.
        root: The archive's root, which no path may leave.

    Returns:
        An absolute path, or an address.

    Raises:
        InputError: The path leaves the root, or the address is private or of another scheme.
    """
    parsed = urlsplit(href)
    if parsed.scheme in _REMOTE:
        if href.startswith(STORES) and is_below(parse_location(href), root):
            return href
        copy = folder / PurePosixPath(unquote(parsed.path)).name
        if copy.is_file():
            return _check_below(root, copy, href)
        check_host(href)
        return href
    if isinstance(folder, StorePath):
        return _resolve_in_store(href, folder, root)
    if parsed.scheme == "file" and parsed.netloc in ("", "localhost"):
        # Some writers encode nothing: the text as it stands is a path first.
        plain = Path(href.partition(":")[2].removeprefix(f"//{parsed.netloc}"))
        path = plain if plain.exists() else Path(url2pathname(parsed.path))
        return _check_below(root, path, href)
    path = folder / href
    is_name = href != "" and not href.startswith("/") and path.exists()
    if not is_name and (
        not href
        or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", href)
        or href.startswith(("/vsi", "//"))
        or "\0" in href
    ):
        raise InputError(
            f"href {redact_url(href)!r} is not opened: "
            f"give a path inside {root}, or an http(s), s3, gs or abfs address"
        )
    return _check_below(root, path if path.exists() else folder / unquote(href), href)


def places_of(href: str, folder: Location, root: Location) -> list[str]:
    """Return where the file of an href may lie below an archive's root, and what GDAL adds to it.

    Args:
        href: as for `resolve_href`, which takes the first of these that is there.
        folder: of the item.
        root: the archive's root.
    """
    parsed = urlsplit(href)
    if parsed.scheme in _REMOTE:
        candidates = [folder / PurePosixPath(unquote(parsed.path)).name]
        if href.startswith(STORES) and is_below(parse_location(href), root):
            candidates = [parse_location(href)]
    elif parsed.scheme == "file":
        plain = href.partition(":")[2].removeprefix(f"//{parsed.netloc}")
        candidates = [Path(plain), Path(url2pathname(parsed.path))]
    else:
        candidates = [folder / href, folder / unquote(href)]
    texts = [
        str(candidate.resolve()) if isinstance(candidate, StorePath) else normpath(candidate)
        for candidate in candidates
    ]
    below = dict.fromkeys(text for text in texts if text.startswith(_beginnings(root)))
    return [f"{text}{end}" for text in below for end in ("", ".aux.xml")]


@lru_cache(maxsize=64)
def _beginnings(root: Location) -> tuple[str, ...]:
    return tuple(f"{str(path).rstrip('/')}/" for path in (root, root.resolve()))


def _resolve_in_store(href: str, folder: StorePath, root: Location) -> str:
    # A relative href of an item in a store; what is encoded in it is decoded, unless an object has
    # the very name.
    if not href or href.startswith("/") or urlsplit(href).scheme or "\0" in href:
        raise InputError(
            f"href {redact_url(href)!r} is not opened: give a name relative to {folder}, or an "
            "http(s), s3, gs or abfs address"
        )
    path = (folder / href).resolve()
    if "%" in href and not path.is_file():
        path = (folder / unquote(href)).resolve()
    return _check_below(root, path, href)


def _check_below(root: Location, path: Location, href: str) -> str:
    if isinstance(path, StorePath):
        if not is_below(path, root):
            raise _leads_out(root, href)
        return str(path)
    # A link to a folder is part of the archive, a file that is a link out of its folder is not.
    # `..` is taken out of the text, as of any address: it leads to the folder that holds the link.
    normal = Path(normpath(path))
    if normal.is_relative_to(str(root)) and normal.resolve().is_relative_to(
        normal.parent.resolve()
    ):
        return str(normal)
    resolved = path.resolve()
    if not resolved.is_relative_to(str(root.resolve())):
        raise _leads_out(root, href)
    return str(resolved)


def _leads_out(root: Location, href: str) -> InputError:
    return InputError(
        f"href {redact_url(href)!r} leads out of the archive {root}: "
        "name a folder above both as the archive"
    )


def check_host(href: str) -> None:
    """Refuse addresses of this machine and of private networks, in any notation.

    Raises:
        InputError: The host is private. Addresses of stores always pass.
    """
    host = (urlsplit(href).hostname or "").rstrip(".")
    if urlsplit(href).scheme in _STORES:
        return
    try:
        # inet_aton also knows 127.1, 0x7f000001 and 2130706433, as HTTP clients do.
        address: ipaddress.IPv4Address | ipaddress.IPv6Address | None = (
            ipaddress.ip_address(host)
            if ":" in host
            else ipaddress.ip_address(socket.inet_aton(host))
        )
    except (OSError, ValueError):
        address = None
    if address is not None:
        private = not address.is_global
    else:
        private = "." not in host or host.endswith((".localhost", ".local", ".internal"))
    if private:
        raise InputError(
            f"href {urlsplit(href).hostname!r} is a private address: "
            "scenes are read from public hosts and stores alone"
        )
