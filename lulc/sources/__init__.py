"""Where scenes come from. A file here without a leading underscore exports one Source, listed in SOURCES."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from lulc.conf import Archive
from lulc.errors import InputError
from lulc.sources._item import Item, Source
from lulc.sources.geotiff import GEOTIFF, SUFFIXES, read_layer
from lulc.sources.stac import STAC, is_stac

SOURCES: dict[str, Source] = {s.name: s for s in (STAC, GEOTIFF)}

__all__ = ["SOURCES", "Item", "Source", "read_layer", "source_of"]


def source_of(archive: Archive) -> Source:
    """The Source that reads an archive; `auto` takes stac where there is a STAC file, geotiff where there are GeoTIFF files.

    InputError says what was found instead.
    """
    place = Path(archive.path)
    if not place.exists():
        raise InputError(f"archive {archive.path} is not there: scenes.path must be a folder or file, relative to the run file")
    if archive.source != "auto":
        return SOURCES[archive.source]
    files = [p for p in sorted(place.rglob("*")) if p.is_file()] if place.is_dir() else [place]
    if not archive.pattern and any(is_stac(p) for p in files if p.suffix == ".json"):
        return STAC
    if any(p.suffix.lower() in SUFFIXES for p in files):
        return GEOTIFF
    kinds = ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in Counter(p.suffix for p in files).most_common(5))
    accepted = "STAC items (.json) and GeoTIFF files (.tif, .tiff)"
    raise InputError(f"archive {archive.path} holds no scenes: found {kinds or 'no files'}; accepted are {accepted}")
