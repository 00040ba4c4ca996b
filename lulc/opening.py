"""What raster files may be opened, and with which options: no format or address that leads anywhere else."""

from __future__ import annotations

import contextlib
import http.client
import re
import warnings
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from lulc.errors import InputError

# One format a suffix, GeoTIFF for any other. Never VRT, whatever the file's name: it may name any file or address.
_DRIVERS = {".jp2": "JP2OpenJPEG", ".j2k": "JP2OpenJPEG", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_OPTIONS = {
    # Without these a file cut short reads as success, whatever memory held filling its end: a JP2 that several threads decode,
    # a PNG decoded whole at once, a JPEG that libjpeg only warns about.
    "GDAL_NUM_THREADS": "1",
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",
    # Files beside the raster (.ovr, .msk, .aux.xml) may be of any format, VRT too: they are not looked for.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
}

INSIDE = "!/"
"""Between a zip or tar and the name of a file in it: `scene.zip!/B04.jp2`."""


class ReadError(InputError):
    """A raster that cannot be read: damaged, refused or too large."""


@contextlib.contextmanager
def open_raster(href: str, **options: Any) -> Iterator[DatasetReader]:
    """The open raster; ReadError where it cannot be opened, or the href may name anything but one raster file."""
    _check_href(href)
    with rasterio.Env(**_OPTIONS), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        driver = _DRIVERS.get(PurePosixPath(urlsplit(href).path).suffix.lower(), "GTiff")
        try:
            dataset = rasterio.open(_gdal_path(href), driver=driver, sharing=False, **options)
        except (RasterioError, OSError) as error:
            raise ReadError(f"{shown(href)} cannot be opened as {driver}: {_reason(error, href)}") from error
        with dataset:
            yield dataset


def _check_href(href: str) -> None:
    scheme = urlsplit(href).scheme if "://" in href else ""
    hostile = href.startswith(("/vsi", "//")) or ".." in re.split(r"[/\\]", href) or "\0" in href
    if hostile or (not scheme and re.match(r"[A-Za-z][\w+.-]*:", href)) or scheme not in ("", "s3", "gs", "http", "https"):
        raise ReadError(f"{shown(href)} is not opened: give a plain path, or an s3, gs or http(s) address, without '..'")
    if scheme in ("http", "https"):
        _refuse_redirect(href)


def _gdal_path(href: str) -> str:
    # GDAL's own name of a file inside a zip or tar; `_check_href` has passed it.
    packed, mark, name = href.partition(INSIDE)
    if not mark:
        return href
    scheme, _, rest = packed.rpartition("://")
    where = {"": packed, "s3": f"/vsis3/{rest}", "gs": f"/vsigs/{rest}"}.get(scheme)
    if where is None:
        raise ReadError(f"{shown(href)} is not opened: a zip or tar must lie on this disk or in an s3 or gs store")
    return f"/vsi{'zip' if packed.lower().endswith('.zip') else 'tar'}/{{{where}}}/{name}"


def _refuse_redirect(href: str) -> None:
    # GDAL follows redirects, wherever they lead, and cannot be told not to.
    parts = urlsplit(href)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = connect(parts.netloc, timeout=30)
        connection.request("HEAD", f"{parts.path}?{parts.query}" if parts.query else parts.path)
        status = connection.getresponse().status
        connection.close()
    except OSError as error:
        raise ReadError(f"{shown(href)} cannot be reached: {error}") from error
    if 300 <= status < 400:
        raise ReadError(f"{shown(href)} answers with a redirect, which is not followed: index the file's true address")


def shown(href: str) -> str:
    """The href as messages may show it: a signed address carries its key in the query."""
    return href.split("?", maxsplit=1)[0][:200]


def _reason(error: BaseException, href: str) -> str:
    return str(error.__cause__ or error).replace(href, shown(href))
