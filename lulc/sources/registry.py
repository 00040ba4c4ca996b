"""Where scenes come from. A file here without a leading underscore exports one Source, listed in SOURCES."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from lulc.config import Archive
from lulc.errors import InputError
from lulc.sources.product import PACKED, open_tree
from lulc.sources.readers.geotiff import GEOTIFF
from lulc.sources.readers.landsat import LANDSAT
from lulc.sources.readers.modis import MODIS
from lulc.sources.readers.openaerialmap import OPENAERIALMAP
from lulc.sources.readers.sentinel1 import SENTINEL1
from lulc.sources.readers.sentinel2 import SENTINEL2
from lulc.sources.readers.stac import STAC
from lulc.sources.source import Source

# In the order in which `auto` asks them: products as their archives deliver them, then the general forms.
SOURCES: dict[str, Source] = {
    s.name: s for s in (SENTINEL1, SENTINEL2, LANDSAT, MODIS, OPENAERIALMAP, STAC, GEOTIFF)
}


def source_of(archive: Archive) -> Source:
    """The Source that reads an archive: the one that it names, or the first of SOURCES that knows its files by their names.

    InputError says what was found instead.
    """
    found = _source_of(archive)
    if archive.verify and found in (LANDSAT, MODIS, GEOTIFF):
        raise InputError(
            f"archive {archive.path} is of {found.name}, which comes without checksums: set scenes.verify to false"
        )
    return found


def _source_of(archive: Archive) -> Source:
    if archive.search and not Path(archive.path).is_file():
        raise InputError(
            "scenes.search is not answered yet: run `lulc index`, and name scenes.path to keep the answer at hand"
        )
    place = Path(archive.path)
    remote = "://" in archive.path
    if not remote and not place.exists():
        raise InputError(
            f"archive {archive.path} is not there: scenes.path must be a folder or file, relative to the run file"
        )
    if archive.source != "auto":
        return SOURCES[archive.source]
    if remote and not archive.path.lower().endswith(PACKED):
        names = list(open_tree(archive.path).sizes)
    else:
        files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
        names = [p.relative_to(place if place.is_dir() else place.parent).as_posix() for p in files]
    for source in SOURCES.values():
        if source.accepts(archive, names):
            return source
    suffixes = (PurePosixPath(name).suffix for name in names)
    kinds = ", ".join(
        f"{n} {suffix or 'without suffix'}" for suffix, n in Counter(suffixes).most_common(5)
    )
    accepted = (
        "products of Sentinel-1 GRD and Sentinel-2 (.SAFE, .zip), Landsat (by their MTL, .tar) and MODIS (.hdf), "
        "STAC items and answers of OpenAerialMap (.json), and GeoTIFF files (.tif, .tiff)"
    )
    raise InputError(
        f"archive {archive.path} holds no scenes: found {kinds or 'no files'}; accepted are {accepted}"
    )
