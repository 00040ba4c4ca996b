"""Files beside a raster that change what it holds or where it lies, noticed by their names.

GDAL is not let read them: they may be of any format, a VRT that names any file or address too.

- Place: a CRS or transform that a raster lacks is taken from its `.aux.xml`, a transform also from
  its world file (`.tfw`, `.pgw`, `.wld` …).
- Names of classes are taken from its `.aux.xml` too: category names, or an attribute table.
- Anything else that they say would be lost without a word, so that a raster with such a file is
  refused: a mask (`.msk`), and a `.aux.xml` that says of nodata, scales, names, colours or place
  other than the raster itself.
- Overviews (`.ovr`) and statistics change nothing.

They are looked for on this machine's disk, in a zip there, and in a store, where a folder is listed
once for all its rasters.
"""

from __future__ import annotations

import math
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, ParseError

from affine import Affine
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from lulc.errors import InputError
from lulc.geo.grid import crs_text, same_crs
from lulc.legend import class_names, name_key
from lulc.location import is_address, parse_location
from lulc.raster.address import split_archive
from lulc.raster.stores import href_of, is_in_store, names_in_folder_of

if TYPE_CHECKING:
    from lulc.raster.access import OpenRaster

NO_TRANSFORM = Affine.identity()
"""The transform of a raster that has none, as rasterio gives it."""
BAKE_IN = "gdal_translate --config GDAL_TIFF_INTERNAL_MASK YES OLD NEW.tif"
"""The command that writes a raster and what its side files say into one GeoTIFF."""

# What reading a damaged file may raise, an unknown encoding (LookupError) or CRS (InputError) too.
_DAMAGE = (
    *(OSError, ParseError, DefusedXmlException, ValueError, TypeError, LookupError),
    *(InputError, RasterioError),
    *(zipfile.BadZipFile, zlib.error, RuntimeError, OverflowError),
)
_MAX_XML_BYTES = 64 << 20
_TOLERANCE = 1e-9  # of a transform's number
# Names of bands that are their numbers, and colour interpretations that say nothing.
_NUMBERED = re.compile(r"|(band|layer|channel)?[ _-]?\d+", re.IGNORECASE)
# Of an attribute table the columns of classes, their names and pixel counts: GDAL's number of the
# usage, and usual names.
_COLUMNS_OF_CLASSES = (
    ("5", ("value",)),
    ("2", ("class_name", "classname", "class", "name", "category", "label")),
    ("1", ("count", "histogram")),
)
_PLAIN_COLOURS = {"", "undefined", "gray", "palette"}


def side_file_reason(path: str, raster: DatasetReader, georeferenced: bool) -> str | None:
    """Return why a raster is not read without what lies beside it, None where nothing does.

    Files in a tar are not looked for: the whole tar would have to be read.

    Args:
        path: The raster on this machine's disk, in a zip there, or in a store.
        raster: The same, open.
        georeferenced: Whether its place is wanted.
    """
    mask, metadata = f"{path}.msk", f"{path}.aux.xml"
    try:
        if _exists(mask):
            return f"{mask} masks it"
        if not _exists(metadata):
            return None
        root = fromstring(_read(metadata), forbid_dtd=True)
        changes = set(_changes(root, raster))
        if georeferenced:
            changes |= set(_changes_of_place(root, raster, is_read=not split_archive(path)[1]))
    except _DAMAGE as error:
        return f"{metadata} cannot be read ({error})"
    return f"{metadata} gives its {', '.join(sorted(changes))}" if changes else None


def read_place(raster: OpenRaster, without_crs: bool = False) -> tuple[CRS | None, Affine]:
    """Return CRS and transform of an open raster, from the files beside it where it has none.

    Args:
        raster: The open raster.
        without_crs: Whether the transform is wanted of a raster without a CRS as well.

    Returns:
        The CRS, None where none is known; the transform, NO_TRANSFORM where none is known.

    Raises:
        InputError: a file beside it is damaged.
    """
    crs, transform, path = raster.crs, raster.transform, href_of(raster)
    if crs is not None and transform != NO_TRANSFORM:
        return crs, transform
    metadata = f"{path}.aux.xml"
    try:
        if _exists(metadata):
            beside_crs, beside_transform = _place(fromstring(_read(metadata), forbid_dtd=True))
            crs = crs or beside_crs
            transform = beside_transform if transform == NO_TRANSFORM else transform
        is_wanted = transform == NO_TRANSFORM and (crs is not None or without_crs)
        world_file = _find_world_file(path) if is_wanted else None
        if world_file is not None:
            metadata = world_file
            a, d, b, e, x, y = map(float, _read(world_file).split())
            # It gives the centre of the first pixel.
            transform = Affine(a, b, x, d, e, y) @ Affine.translation(-0.5, -0.5)
    except _DAMAGE as error:
        raise InputError(f"{metadata} cannot be read ({error}): repair or remove it") from error
    return crs, transform


def names_beside(path: str, band: int) -> dict[int, str]:
    """Return class id → name as the `.aux.xml` beside a raster tells them.

    Args:
        path: Path or address of the raster.
        band: Number, from 1, of the band of classes.

    Raises:
        InputError: the file beside it is damaged.
    """
    metadata = f"{path}.aux.xml"
    try:
        if not _exists(metadata):
            return {}
        root = fromstring(_read(metadata), forbid_dtd=True)
        bands = (e for e in root.iterfind("PAMRasterBand") if e.get("band") == str(band))
        return {i: name for e in bands for i, name in _class_names(e).items() if name}
    except _DAMAGE as error:
        raise InputError(f"{metadata} cannot be read ({error}): repair or remove it") from error


def _class_names(band: Element) -> dict[int, str]:
    listed = [(entry.text or "").strip() for entry in band.iterfind("CategoryNames/Category")]
    table = band.find("GDALRasterAttributeTable")
    return dict(enumerate(listed)) | ({} if table is None else _names_in_table(table))


def _names_in_table(table: Element) -> dict[int, str]:
    # Of rows whose class occurs, where the table counts pixels.
    fields = [
        (field.findtext("Usage", "").strip(), field.findtext("Name", "").strip().lower())
        for field in table.iterfind("FieldDefn")
    ]
    ids, names, counts = (_find_column(fields, *column) for column in _COLUMNS_OF_CLASSES)
    if names is None:
        return {}
    side_files = {}
    for number, row in enumerate(table.iterfind("Row")):
        cells = [(cell.text or "").strip() for cell in row]
        if counts is None or float(cells[counts] or 0) > 0:
            side_files[number if ids is None else int(float(cells[ids]))] = cells[names]
    return side_files


def _find_column(fields: list[tuple[str, str]], usage: str, usual: tuple[str, ...]) -> int | None:
    # The column with GDAL's number of a usage, else with a usual name.
    of_usage = (n for n, field in enumerate(fields) if field[0] == usage)
    of_name = (n for n, field in enumerate(fields) if field[1] in usual)
    return next(of_usage, next(of_name, None))


def _exists(path: str) -> bool:
    archive, member = split_archive(path)
    if is_address(path):
        is_object = is_in_store(path) and not member
        return is_object and path.rpartition("/")[2] in names_in_folder_of(path)
    if not member:
        return os.path.exists(path)
    if not archive.lower().endswith(".zip"):
        return False
    status = os.stat(archive)
    return member in _names_in_zip(archive, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _names_in_zip(archive: str, _size: int, _changed_ns: int) -> frozenset[str]:
    with zipfile.ZipFile(archive) as opened:
        return frozenset(opened.namelist())


def _read(path: str) -> bytes:
    archive, member = split_archive(path)
    if not member:
        with parse_location(path).open("rb") as file:
            content = file.read(_MAX_XML_BYTES + 1)
    else:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as packed:
            content = packed.read(_MAX_XML_BYTES + 1)
    if len(content) > _MAX_XML_BYTES:
        raise ValueError(f"it has more than {_MAX_XML_BYTES:,} bytes")
    return content


def _changes(root: Element, raster: DatasetReader) -> Iterator[str]:
    # What GDAL's metadata file (PAM) says of pixels and bands otherwise than the raster.
    for metadata in root.iterfind("Metadata"):
        if not metadata.get("domain"):
            for entry in metadata.iterfind("MDI"):
                yield from _change_of_tag(entry, raster)
    for band in root.iterfind("PAMRasterBand"):
        number = int(band.get("band", "0"))
        if 1 <= number <= raster.count:
            yield from _changes_of_band(band, raster, number)


def _changes_of_place(root: Element, raster: DatasetReader, is_read: bool) -> Iterator[str]:
    # is_read: whether `read_place` reads what the raster lacks.
    crs, transform = _place(root)
    if crs is not None:
        declared = "" if raster.crs is None else crs_text(raster.crs.to_wkt())
        if not declared:
            yield from () if is_read else ("CRS",)
        elif not same_crs(crs_text(crs.to_wkt()), declared):
            yield "CRS"
    if transform != NO_TRANSFORM:
        if raster.transform == NO_TRANSFORM:
            yield from () if is_read else ("transform",)
        elif not _alike(transform, raster.transform):
            yield "transform"
    if crs is None and raster.crs is None:
        if root.find("GCPList") is not None:
            yield "ground control points"
        if root.find("Metadata[@domain='RPC']") is not None:
            yield "rational polynomials (RPC)"


def _place(root: Element) -> tuple[CRS | None, Affine]:
    crs = (root.findtext("SRS") or "").strip()
    text = (root.findtext("GeoTransform") or "").strip()
    transform = Affine.from_gdal(*map(float, text.split(","))) if text else NO_TRANSFORM
    return CRS.from_user_input(crs) if crs else None, transform


def _alike(transform: Affine, own_transform: Affine) -> bool:
    return all(
        math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
        for a, b in zip(transform, own_transform, strict=True)
    )


def _change_of_tag(entry: Element, raster: DatasetReader) -> Iterator[str]:
    name, text = entry.get("key", ""), (entry.text or "").strip()
    if raster.tags().get(name) == text:
        return
    if name == "NODATA_VALUES":
        yield "nodata values"
    elif name.startswith("CLASS_"):
        yield "class names"


def _changes_of_band(band: Element, raster: DatasetReader, number: int) -> Iterator[str]:
    declared = raster.nodatavals[number - 1]
    text = band.findtext("NoDataValue")
    if text is not None and (declared is None or not _same_number(float(text), declared)):
        yield "nodata value"
    for tag, of_bands in (("Scale", raster.scales), ("Offset", raster.offsets)):
        text = band.findtext(tag)
        if text is not None and not _same_number(float(text), of_bands[number - 1]):
            yield tag.lower()
    colours = {(band.findtext("ColorInterp") or "").strip().lower()}
    colours.add(raster.colorinterp[number - 1].name)
    if band.find("ColorInterp") is not None and len(colours) > 1 and colours - _PLAIN_COLOURS:
        yield "colour interpretation"
    if band.find("ColorTable") is not None and not _has_colours(raster, number):
        yield "colour table"
    own_names = class_names(raster.tags() | raster.tags(number))
    names = _class_names(band) if own_names else {}
    if any(
        name and name_key(own_names.get(i, name)) != name_key(name) for i, name in names.items()
    ):
        yield "class names"
    name = (band.findtext("Description") or "").strip()
    is_own = name == raster.descriptions[number - 1]
    if raster.count > 1 and not is_own and not _NUMBERED.fullmatch(name):
        yield "names of bands"


def _same_number(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def _has_colours(raster: DatasetReader, number: int) -> bool:
    try:
        return bool(raster.colormap(number))
    except ValueError:
        return False


def _find_world_file(path: str) -> str | None:
    stem, suffix = os.path.splitext(path)
    endings = (f"{suffix[:2]}{suffix[-1:]}w", f"{suffix}w", ".wld")
    names = (stem + case(ending) for ending in endings for case in (str.lower, str.upper))
    return next(filter(_exists, names), None)
