"""What an href is: a path on this machine's disk or an address, and of a file in an archive or not.

A path may hold any character, also those with a meaning in an address: `#`, `?`, `%`, `:` and `!`.
"""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from lulc.location import STORES, is_address

ARCHIVE_MARK = "!/"
"""Between a zip, tar or HDF4 file and what is in it: `scene.zip!/B04.jp2`, `x.hdf!/GRID/LAYER`."""

_MARKED = re.compile(r"\.(?:zip|tar|tar\.gz|tgz|hdf)(?=!/)", re.IGNORECASE)


def path_of(href: str) -> str:
    """Return the path of an href, without the host, query and fragment that an address has.

    Examples:
        >>> path_of("https://host/x.tif?token=1"), path_of("site #2/x?.tif")
        ('/x.tif', 'site #2/x?.tif')
        >>> path_of("s3://bucket/site #2/x.tif")
        '/site #2/x.tif'
    """
    if href.startswith(STORES):
        # The key of an object may hold the marks of a query and a fragment.
        return f"/{href.split('/', 3)[-1]}"
    return urlsplit(href).path if is_address(href) else href


def split_archive(href: str) -> tuple[str, str]:
    """Split an href into an archive and the name of what is in it; "" where it names no archive.

    Examples:
        >>> split_archive("scene.zip!/B04.jp2"), split_archive("new!/B04.jp2")
        (('scene.zip', 'B04.jp2'), ('new!/B04.jp2', ''))
    """
    for match in _MARKED.finditer(href):
        archive = href[: match.end()]
        # A folder's name may end so as well.
        if is_address(href) or not os.path.isdir(f"{archive}!"):
            return archive, href[match.end() + len(ARCHIVE_MARK) :]
    return href, ""
