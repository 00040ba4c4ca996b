"""All sources. A file in `readers/` without leading underscore exports one, listed in SOURCES."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from lulc.config import Archive
from lulc.errors import InputError
from lulc.guard import read_guard
from lulc.paths import list_names
from lulc.sources.product import PACKED, open_tree
from lulc.sources.readers.geotiff import GEOTIFF
from lulc.sources.readers.landsat import LANDSAT
from lulc.sources.readers.modis import MODIS
from lulc.sources.readers.openaerialmap import OPENAERIALMAP
from lulc.sources.readers.sentinel1 import SENTINEL1
from lulc.sources.readers.sentinel2 import SENTINEL2
from lulc.sources.readers.stac import STAC
from lulc.sources.source import Source

# In the order in which `auto` tries them: products as their archives deliver them, then the general
# forms.
SOURCES: dict[str, Source] = {
    source.name: source
    for source in (SENTINEL1, SENTINEL2, LANDSAT, MODIS, OPENAERIALMAP, STAC, GEOTIFF)
}
_WITHOUT_CHECKSUMS = (LANDSAT, MODIS, GEOTIFF)


def source_of(archive: Archive) -> Source:
    """Return the Source that reads an archive.

    Returns:
        The source that the archive names, or the first of SOURCES that accepts its file names.

    Raises:
        InputError: The archive does not exist, no source accepts it, or it is to be verified but
            its source has no checksums.
    """
    if archive.search and not Path(archive.path).is_file():
        raise InputError(
            "scenes.search has not been run yet: "
            "run `lulc index`, and name scenes.path to choose the file of its result"
        )
    if "://" not in archive.path and not Path(archive.path).exists():
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
    return source


def _detect(archive: Archive) -> Source:
    with read_guard(f"archive {archive.path}"):
        names = _file_names(archive.path)
        for source in SOURCES.values():
            if source.accepts(archive, names):
                return source
    suffixes = Counter(PurePosixPath(name).suffix for name in names)
    counts = ", ".join(
        f"{count} {suffix or 'without suffix'}" for suffix, count in suffixes.most_common(5)
    )
    raise InputError(
        f"archive {archive.path} holds no scenes: found {counts or 'no files'}; accepted are "
        "products of Sentinel-1 GRD and Sentinel-2 (.SAFE, .zip), Landsat (by their MTL, .tar) and "
        "MODIS (.hdf), STAC items and responses of OpenAerialMap (.json), and GeoTIFF files "
        "(.tif, .tiff)"
    )


def _file_names(archive_path: str) -> Sequence[str]:
    # Names of an archive's files, relative to it, in order.
    path = Path(archive_path)
    if "://" in archive_path and not archive_path.lower().endswith(PACKED):
        return list(open_tree(archive_path).sizes)
    if not path.is_dir():
        return [path.name]
    return list_names(path)
