"""All sources. A file in `readers/` without leading underscore exports one, listed in SOURCES."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from lulc import progress
from lulc.config import Archive
from lulc.errors import InputError
from lulc.guard import read_guard
from lulc.location import parse_location
from lulc.sources.archives import is_archive, unpack_hint
from lulc.sources.header import parse_json
from lulc.sources.listing import list_archive
from lulc.sources.product import has_hidden_part, is_packed, is_product_metadata, open_tree
from lulc.sources.readers import landsat
from lulc.sources.readers.alphaearth import ALPHAEARTH
from lulc.sources.readers.geotiff import GEOTIFF
from lulc.sources.readers.landsat import LANDSAT
from lulc.sources.readers.modis import MODIS
from lulc.sources.readers.openaerialmap import OPENAERIALMAP
from lulc.sources.readers.sentinel1 import SENTINEL1
from lulc.sources.readers.sentinel2 import SENTINEL2
from lulc.sources.readers.stac import STAC
from lulc.sources.readers.stac_geoparquet import STAC_GEOPARQUET
from lulc.sources.readers.tessera import TESSERA
from lulc.sources.scenes_table import shorten
from lulc.sources.source import Source
from lulc.sources.times import parse_time
from lulc.tables.files import open_parquet
from lulc.tables.stac_geoparquet import SUFFIXES

# In the order in which `auto` tries them: products as their archives deliver them, then the general
# forms.
SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        SENTINEL1,
        SENTINEL2,
        LANDSAT,
        MODIS,
        ALPHAEARTH,
        TESSERA,
        OPENAERIALMAP,
        STAC,
        STAC_GEOPARQUET,
        GEOTIFF,
    )
}
# Settings that only some sources heed.
_SETTINGS = {
    "pattern": (GEOTIFF,),
    "date": (GEOTIFF, STAC, STAC_GEOPARQUET, OPENAERIALMAP, ALPHAEARTH, TESSERA),
    "timeless": (GEOTIFF, STAC, STAC_GEOPARQUET, OPENAERIALMAP, ALPHAEARTH, TESSERA),
}
_WITHOUT_CHECKSUMS = (LANDSAT, MODIS, GEOTIFF, ALPHAEARTH, TESSERA)
# Sources whose products have one layer of codes, which `clear` may be without `quality`.
_WITH_CODES = (SENTINEL2, LANDSAT, STAC, STAC_GEOPARQUET)
# Sources of products, of which an archive holds one kind; some are read packed.
_OF_PRODUCTS = (SENTINEL1, SENTINEL2, LANDSAT, MODIS)
_OF_PACKED_PRODUCTS = (SENTINEL1, SENTINEL2, LANDSAT)
# Suffixes of rasters that are no GeoTIFF files.
_OTHER_RASTERS = (".hdf", ".h5", ".nc", ".jp2", ".img", ".vrt")
# Suffixes of downloads that are not finished.
_UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".aria2")


def source_of(archive: Archive) -> Source:
    """Return the Source that reads an archive.

    Returns:
        The source that the archive names, or the first of SOURCES that accepts its file names.

    Raises:
        InputError: The archive does not exist, no source accepts it, or it has a setting that its
            source does not heed.
    """
    location = parse_location(archive.path)
    if archive.search and not location.is_file():
        raise InputError(
            "scenes.search has not been run yet: "
            "run `lulc index`, and name scenes.path to choose the file of its result"
        )
    with read_guard(f"archive {archive.path}", "correct scenes.path"):
        is_there = location.exists()
    if not is_there:
        raise InputError(
            f"archive {archive.path} is not there: "
            "scenes.path must be a folder or file, relative to the run file"
        )
    source = _detect(archive) if archive.source == "auto" else SOURCES[archive.source]
    if archive.verify and source in _WITHOUT_CHECKSUMS:
        raise InputError(
            f"archive {archive.path} is of {source.name}, which comes without checksums: "
            "set scenes.verify to false"
        )
    for setting, readers in _SETTINGS.items():
        if getattr(archive, setting) and source not in readers:
            names = " and ".join(reader.name for reader in readers)
            raise InputError(
                f"archive {archive.path} is of {source.name}: scenes.{setting} is for {names}; "
                "leave it out"
            )
    if archive.clear and not archive.quality and source not in _WITH_CODES:
        raise InputError(
            f"archive {archive.path} is of {source.name}: scenes.clear are codes of a layer: "
            "name it under scenes.quality"
        )
    if archive.date and archive.date != "tag" and parse_time(archive.date) is None:
        raise InputError(
            f"archive {archive.path} has scenes.date {archive.date}, which is no time: give a "
            "year, month or day such as 2023-06-30, or first and last as 2023-01/2023-03"
        )
    if archive.date == "tag" and source is not GEOTIFF:
        raise InputError(
            f"archive {archive.path} is of {source.name}: scenes.date tag is for geotiff; "
            "give the day itself"
        )
    return source


def _detect(archive: Archive) -> Source:
    candidates = _OF_PACKED_PRODUCTS if is_packed(archive.path) else SOURCES.values()
    with read_guard(f"archive {archive.path}"):
        names = _file_names(archive.path)
        source = next(
            (candidate for candidate in candidates if candidate.accepts(archive, names)), None
        )
    if source in _OF_PRODUCTS:
        kinds = [candidate.name for candidate in _OF_PRODUCTS if candidate.accepts(archive, names)]
        if len(kinds) > 1:
            raise InputError(
                f"archive {archive.path} holds products of {', '.join(kinds)}: "
                "give scenes an entry for each, with its source"
            )
    if source:
        _tell_unread_files(archive, source, names)
        return source
    suffixes = Counter(PurePosixPath(name).suffix for name in names)
    counts = ", ".join(
        f"{count} {suffix or 'without suffix'}" for suffix, count in suffixes.most_common(5)
    )
    hints = unpack_hint(parse_location(archive.path)) + _broken_items(archive.path, names)
    raise InputError(
        f"archive {archive.path} holds no scenes: found {counts or 'no files'}; accepted are "
        "products of Sentinel-1 GRD and Sentinel-2 (.SAFE, .zip), Landsat (by their MTL, .tar) and "
        "MODIS (.hdf), AlphaEarth and TESSERA in their folders, STAC items and responses of "
        "OpenAerialMap (.json), tables of "
        "STAC items (.parquet), and GeoTIFF files "
        f"(.tif, .tiff){hints}"
    )


def _broken_items(archive_path: str, names: Sequence[str]) -> str:
    # What is told of JSON files and tables that cannot be read: they may have been items of scenes.
    path = parse_location(archive_path)
    for name in names:
        file = path / name if path.is_dir() else path
        try:
            if name.lower().endswith((".json", ".geojson")):
                parse_json(file.read_bytes())
            elif name.lower().endswith(SUFFIXES):
                open_parquet(file).close()
        except (OSError, ValueError) as error:
            kind = "a sound table" if name.lower().endswith(SUFFIXES) else "sound JSON"
            return f"; {name} is not {kind} ({error}): fetch it anew"
    return ""


def _tell_unread_files(archive: Archive, source: Source, names: Sequence[str]) -> None:
    # Files beside those that are read which may be scenes, or would be if they were unpacked.
    suffixes: tuple[str, ...] = _UNFINISHED
    if source in _OF_PRODUCTS:
        suffixes += (".tif", ".tiff")
    elif source is GEOTIFF:
        suffixes += _OTHER_RASTERS
    folders = {PurePosixPath(name).parent for name in names if is_product_metadata(name)}
    unread = [
        name
        for name in names
        if not has_hidden_part(name)
        and (is_archive(name) or name.lower().endswith(suffixes))
        and folders.isdisjoint(PurePosixPath(name).parents)
        and not landsat.names_product(name)
        and not any(packed.accepts(archive, [name]) for packed in _OF_PACKED_PRODUCTS)
    ]
    if unread:
        progress.say(
            f"WARNING: {len(unread)} files of archive {archive.path} belong to none of its "
            f"scenes and are not read: {shorten(unread)}; unpack archives, "
            "finish downloads, and give scenes of another kind an entry of their own"
        )


def _file_names(archive_path: str) -> Sequence[str]:
    # Names of an archive's files, relative to it, in order; of a zip or tar also those inside.
    path = parse_location(archive_path)
    if path.is_dir():
        return list_archive(path.absolute()).names
    if is_packed(archive_path):
        return [path.name, *open_tree(archive_path).sizes]
    return [path.name]
