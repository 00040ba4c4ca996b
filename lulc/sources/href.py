"""What an href of an item may name: files under the archive's root, public http(s), s3 and gs addresses. Nothing else."""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from lulc.errors import InputError
from lulc.redact import redact_url

_REMOTE = ("http", "https", "s3", "gs")


def resolve_href(href: str, folder: Path, root: Path) -> str:
    """Absolute path or remote address of an href in a file of `folder`; InputError when it leads out of `root` or is not allowed.

    Of a remote file the copy beside the item is taken, where there is one: that is how downloaded items come.
    """
    parts = urlsplit(href)
    if parts.scheme in _REMOTE:
        copy = folder / PurePosixPath(unquote(parts.path)).name
        if copy.is_file():
            return _inside(copy, href, root)
        check_host(href)
        return href
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return _inside(Path(url2pathname(parts.path)), href, root)
    if (
        not href
        or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", href)
        or href.startswith(("/vsi", "//"))
        or "\0" in href
    ):
        raise InputError(
            f"href {redact_url(href)!r} is not opened: give a path inside {root}, or an http(s), s3 or gs address"
        )
    plain = folder / href
    return _inside(plain if plain.exists() else folder / unquote(href), href, root)


def _inside(path: Path, href: str, root: Path) -> str:
    found = path.resolve()
    if not found.is_relative_to(root.resolve()):
        raise InputError(
            f"href {redact_url(href)!r} leads out of the archive {root}: name a folder above both as the archive"
        )
    return str(found)


def check_host(href: str) -> None:
    """Nothing where an address may be public; InputError for this machine's and private networks', however they are written."""
    host = (urlsplit(href).hostname or "").rstrip(".")
    if urlsplit(href).scheme in ("s3", "gs"):
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
            f"href {urlsplit(href).hostname!r} is a private address: scenes are read from public hosts, s3 and gs alone"
        )
