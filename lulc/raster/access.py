"""What raster files may be opened, and with which options: no format or address that leads anywhere else."""

from __future__ import annotations

import contextlib
import contextvars
import http.client
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from lulc.errors import InputError
from lulc.raster import hdf4
from lulc.raster.signing import sign
from lulc.redact import redact_url

# One format a suffix, GeoTIFF for any other. Never VRT, whatever the file's name: it may name any file or address.
_DRIVERS = {
    ".jp2": "JP2OpenJPEG",
    ".j2k": "JP2OpenJPEG",
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
}
_OPTIONS = {
    # Without these a file cut short reads as success, whatever memory held filling its end: a JP2 that several threads decode,
    # a PNG decoded whole at once, a JPEG that libjpeg only warns about.
    "GDAL_NUM_THREADS": "1",
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",
    # Files beside the raster (.ovr, .msk, .aux.xml) may be of any format, VRT too: they are not looked for.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # A store that is busy (503) or breaks off is asked again, after 0.5 s and then twice as long each time; a store that is down
    # fails a read in under a minute.
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_CONNECTTIMEOUT": "5",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
}
_inside = contextvars.ContextVar("inside", default=False)  # of `settings`, in this thread
_TRIES = 4
_BUSY = (500, 502, 503, 504)

INSIDE = "!/"
"""Between a zip or tar and the name of a file in it: `scene.zip!/B04.jp2`."""
HDF4 = ".hdf!/"
"""Between an HDF4 file and the layer in it: `MOD09GA.hdf!/GRID/LAYER`."""


class ReadError(InputError):
    """A raster that cannot be read: damaged, refused or too large."""


@contextlib.contextmanager
def open_raster(href: str, placed: bool = True, **options: Any) -> Iterator[DatasetReader]:
    """The open raster; ReadError where it cannot be opened, or the href may name anything but one raster file.

    placed: whether it is to say where it lies: making a GeoTIFF's CRS takes three quarters of the time of a small file.
    """
    address = sign(href)
    _check_href(address)
    if HDF4 in href:
        try:
            address = hdf4.open_layer(href)
        except InputError as error:
            raise ReadError(str(error)) from error
    with gdal_settings():
        driver = _DRIVERS.get(PurePosixPath(urlsplit(href).path).suffix.lower(), "GTiff")
        if not placed and driver == "GTiff":
            options["GEOREF_SOURCES"] = "NONE"
        try:
            # Only a store needs the session that rasterio.open looks up; for small files that is a tenth of their time.
            opener = rasterio.open if "://" in address else DatasetReader
            dataset = opener(_gdal_path(address), driver=driver, sharing=False, **options)
        except (RasterioError, OSError) as error:
            raise ReadError(
                f"{redact_url(href)} cannot be opened as {driver}: {gdal_message(error)}"
            ) from error
        with dataset:
            yield dataset


@contextlib.contextmanager
def gdal_settings() -> Iterator[None]:
    """GDAL's options for all reads inside; to enter it once around many small files saves a third of their time."""
    if _inside.get():
        yield
        return
    with rasterio.Env(**_OPTIONS), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        token = _inside.set(True)
        try:
            yield
        finally:
            _inside.reset(token)


def _check_href(href: str) -> None:
    scheme = urlsplit(href).scheme if "://" in href else ""
    hostile = href.startswith(("/vsi", "//")) or ".." in re.split(r"[/\\]", href) or "\0" in href
    if (
        hostile
        or (not scheme and re.match(r"[A-Za-z][\w+.-]*:", href))
        or scheme not in ("", "s3", "gs", "http", "https")
    ):
        raise ReadError(
            f"{redact_url(href)} is not opened: give a plain path, or an s3, gs or http(s) address, without '..'"
        )
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
        raise ReadError(
            f"{redact_url(href)} is not opened: a zip or tar must lie on this disk or in an s3 or gs store"
        )
    return f"/vsi{'zip' if packed.lower().endswith('.zip') else 'tar'}/{{{where}}}/{name}"


def _refuse_redirect(href: str) -> None:
    # GDAL follows redirects, wherever they lead, and cannot be told not to.
    parts = urlsplit(href)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    for last in [False] * (_TRIES - 1) + [True]:
        try:
            connection = connect(parts.netloc, timeout=10)
            connection.request("HEAD", f"{parts.path}?{parts.query}" if parts.query else parts.path)
            status = connection.getresponse().status
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            if last:
                raise ReadError(f"{redact_url(href)} cannot be reached: {error}") from error
            status = 503
        if 300 <= status < 400:
            raise ReadError(
                f"{redact_url(href)} answers with a redirect, which is not followed: index the file's true address"
            )
        # Only a true answer says that there is no redirect.
        if status not in _BUSY:
            return
        time.sleep(0 if last else 0.5)
    raise ReadError(f"{redact_url(href)} cannot be read: its server answers {status}")


def gdal_message(error: BaseException) -> str:
    """What GDAL says went wrong, without the query of any address, and what it takes to be let in."""
    said = re.sub(r"\?\S*=\S*", "", str(error.__cause__ or error))
    refused = re.search(r"\b(401|403)\b|AccessDenied|InvalidAccessKey|NoCredential", said)
    hint = "it wants credentials: s3 takes them from the environment (AWS_ACCESS_KEY_ID …), signed addresses are not kept"
    return f"{said}; {hint}" if refused else said
