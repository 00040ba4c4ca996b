"""Which raster files may be opened, with which GDAL driver and which options.

One driver per suffix, never VRT, no redirect and no path that leads out of its folder. The one
function that opens a raster is `open_raster`; `gdal_settings` holds GDAL's options for reading and
`gdal_message` turns its errors into messages without secrets. `lulc.raster.reader` reads bands,
`lulc.raster.views` what a caller has opened itself.
"""

from __future__ import annotations

import contextlib
import contextvars
import http.client
import os
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import SplitResult, urlsplit

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from lulc.errors import InputError, StoreError
from lulc.location import is_address, parse_location
from lulc.raster import hdf4
from lulc.raster.address import path_of, split_archive
from lulc.raster.side_files import BAKE_IN, side_file_reason
from lulc.raster.signing import sign
from lulc.raster.stores import gdal_credentials, gdal_name, is_in_store
from lulc.redact import redact_text, redact_url

type OpenRaster = DatasetReader
"""A raster that is open for reading."""

# One driver per suffix, GeoTIFF for any other. Never VRT, whatever the file's name: a VRT may name
# any file or address.
_DRIVERS = {
    ".jp2": "JP2OpenJPEG",
    ".j2k": "JP2OpenJPEG",
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
}
_OPTIONS = {
    # Without these three a file cut short reads as success, its end filled with whatever memory
    # held: a JP2 decoded by several threads, a PNG decoded whole at once, a JPEG that libjpeg only
    # warns about.
    "GDAL_NUM_THREADS": "1",
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",
    # Files beside the raster (.ovr, .msk, .aux.xml) may be of any format, VRT too: GDAL does not
    # look for them, `lulc.raster.side_files` does.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # A store that is busy (503) or breaks off is tried again, after 0.5 s and then twice as long
    # each time; a store that is down fails a read in under a minute.
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_CONNECTTIMEOUT": "5",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
}
# Whether this thread is within `gdal_settings`.
_settings_active = contextvars.ContextVar("settings_active", default=False)
_HEAD_TRIES = 4
_BUSY_STATUSES = (500, 502, 503, 504)


class ReadError(InputError):
    """A raster that cannot be read: damaged, refused or too large."""


@contextlib.contextmanager
def open_raster(href: str, georeferenced: bool = True, **options: Any) -> Iterator[OpenRaster]:
    """Open a raster file for reading.

    Args:
        href: Path or s3, gs, abfs, http(s) address of one raster file; of one in a zip or tar
            (`scene.zip!/B04.jp2`), or of a layer of an HDF4 file (`MOD09GA.hdf!/GRID/LAYER`).
        georeferenced: Whether its CRS and transform are wanted: building a GeoTIFF's CRS takes
            three quarters of the time of a small file.
        **options: Open options of the GDAL driver.

    Yields:
        The open dataset.

    Raises:
        ReadError: the file cannot be opened, or the href may name anything but one raster file.
        StoreError: the file's store does not answer, which tells nothing about the file.
    """
    _check_href(href)
    with _store_asked(href), gdal_settings(), gdal_credentials(href):
        driver = _DRIVERS.get(PurePosixPath(path_of(href)).suffix.lower(), "GTiff")
        if not georeferenced and driver == "GTiff":
            options["GEOREF_SOURCES"] = "NONE"
        try:
            # rasterio.open looks up a session of one kind of store, in a tenth of the time of a
            # small file; GDAL takes credentials of all kinds by itself.
            dataset = DatasetReader(_gdal_path(href), driver=driver, sharing=False, **options)
        except (RasterioError, OSError) as error:
            raise ReadError(
                f"{redact_url(href)} cannot be opened as {driver}: {gdal_message(error)}"
            ) from error
        with dataset:
            if not is_address(href) or is_in_store(href):
                _refuse_side_files(href, dataset, georeferenced)
            yield dataset


@contextlib.contextmanager
def _store_asked(href: str) -> Iterator[None]:
    # Of a store that is down, or whose token has expired, no file can be read: none of them is bad.
    try:
        yield
    except ReadError:
        if is_in_store(href):
            # No access to one file, or no such file, is of the file.
            with contextlib.suppress(FileNotFoundError):
                _ask_store(split_archive(href)[0])
        raise


def _ask_store(address: str) -> None:
    try:
        parse_location(address).stat()
    except StoreError as error:
        if not error.is_denial:
            raise


@contextlib.contextmanager
def gdal_settings() -> Iterator[None]:
    """Apply GDAL's options for reading to everything within.

    `open_raster` does so by itself; doing it once around many small files saves a third of their
    time.
    """
    if _settings_active.get():
        yield
        return
    with rasterio.Env(**_OPTIONS), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        token = _settings_active.set(True)
        try:
            yield
        finally:
            _settings_active.reset(token)


def _check_href(href: str) -> None:
    scheme = urlsplit(href).scheme if is_address(href) else ""
    hostile = href.startswith(("/vsi", "//")) or ".." in re.split(r"[/\\]", href) or "\0" in href
    if hostile or not (scheme in ("", "http", "https") or is_in_store(href)):
        raise ReadError(
            f"{redact_url(href)} is not opened: give a plain path, or an s3, gs, abfs or http(s) "
            "address, without '..'"
        )
    if scheme in ("http", "https"):
        _refuse_redirect(sign(href))


def _refuse_side_files(path: str, dataset: DatasetReader, georeferenced: bool) -> None:
    reason = side_file_reason(path, dataset, georeferenced)
    if reason is not None:
        raise ReadError(
            f"{redact_url(path)} is not read without the file beside it: {reason}. Write both into "
            f"one file ({BAKE_IN}), or remove it"
        )


def _gdal_path(href: str) -> str:
    # GDAL's own name of a file; `_check_href` has passed the href.
    archive, member = split_archive(href)
    if not member and is_in_store(href):
        return gdal_name(href)
    if not member:
        # GDAL takes `NETCDF:x.nc:v` and the like as a driver's own syntax; no absolute path is.
        return sign(href) if is_address(href) else os.path.abspath(href)
    if archive.lower().endswith(".hdf"):
        try:
            return hdf4.open_layer(href)
        except InputError as error:
            raise ReadError(str(error)) from error
    if is_address(archive) and not is_in_store(archive):
        raise ReadError(
            f"{redact_url(href)} is not opened: a zip or tar must lie on this machine's disk "
            "or in a store (s3, gs, abfs)"
        )
    gdal_archive = gdal_name(archive) if is_in_store(archive) else os.path.abspath(archive)
    handler = "zip" if archive.lower().endswith(".zip") else "tar"
    # Braces around a path that holds such itself would be read as its own.
    if not set("{}") & set(gdal_archive):
        gdal_archive = f"{{{gdal_archive}}}"
    return f"/vsi{handler}/{gdal_archive}/{member}"


def _refuse_redirect(href: str) -> None:
    # GDAL follows redirects, wherever they lead, and cannot be told not to.
    url = urlsplit(href)
    for attempts_left in reversed(range(_HEAD_TRIES)):
        try:
            status = _head_status(url)
        except (OSError, http.client.HTTPException) as error:
            if not attempts_left:
                raise ReadError(f"{redact_url(href)} cannot be reached: {error}") from error
            status = 503
        if 300 <= status < 400:
            raise ReadError(
                f"{redact_url(href)} answers with a redirect, which is not followed: "
                "index the address that it leads to"
            )
        # Only an answer of a server that is not busy says that there is no redirect.
        if status not in _BUSY_STATUSES:
            return
        time.sleep(0.5 if attempts_left else 0)
    raise ReadError(f"{redact_url(href)} cannot be read: its server answers {status}")


def _head_status(url: SplitResult) -> int:
    connect = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = connect(url.netloc, timeout=10)
    connection.request("HEAD", f"{url.path}?{url.query}" if url.query else url.path)
    status = connection.getresponse().status
    connection.close()
    return status


def gdal_message(error: BaseException) -> str:
    """Return what GDAL says went wrong, without secrets.

    Where access was denied a hint about credentials follows.
    """
    message = redact_text(error.__cause__ or error)
    denied = re.search(r"\b(401|403)\b|AccessDenied|InvalidAccessKey|NoCredential", message)
    hint = (
        "access needs credentials: stores take them from the environment (AWS_ACCESS_KEY_ID …, "
        "GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME …), signed addresses are not "
        "stored"
    )
    return f"{message}; {hint}" if denied else message
