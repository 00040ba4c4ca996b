"""Scenes from AlphaEarth Foundations' annual files, as Google and Source Cooperative publish them.

Layout: `YEAR/ZONE/ID-ROW-COL.tiff`, in the UTM zone's CRS, 64 bands A00 to A63, mostly south-up
(README of the bucket gs://alphaearth_foundations; source.coop/tge-labs/aef).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from lulc.bands import Band
from lulc.config import Archive
from lulc.errors import InputError
from lulc.location import parse_location, relative_name
from lulc.redact import redact_url
from lulc.sources import embeddings
from lulc.sources.header import Header, make_scene, open_header, require_bands, with_fingerprint
from lulc.sources.listing import list_archive
from lulc.sources.scene import Scene
from lulc.sources.source import SceneItem, Source
from lulc.sources.times import parse_time

_SUFFIXES = (".tif", ".tiff")
_FILE = re.compile(r"(?:.*/)?(?:19|20)\d\d/\d{1,2}[NS]/[^/]+-\d{10}-\d{10}\.tiff?")
_YEAR = re.compile(r"(?:19|20)\d\d")
_AXIS = re.compile(r"A(\d\d+)")
_AXES = 64


def _accepts(archive: Archive, names: Sequence[str]) -> bool:
    # Whether there is a file in its folders of year and zone, where no pattern says otherwise.
    root = str(archive.path).rstrip("/")
    return not archive.pattern and any(_FILE.fullmatch(f"{root}/{name}") for name in names)


def _items(archive: Archive) -> Iterator[SceneItem]:
    path = parse_location(archive.path).absolute()
    root = path if path.is_dir() else path.parent
    files = [path]
    if path.is_dir():
        files = [path / name for name in list_archive(path).ending(_SUFFIXES)]
    for file in files:
        yield SceneItem(str(file), relative_name(file.with_suffix(""), root))


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    # Bands e0 to e63, whose time is the middle of the year.
    check_settings(archive, "AlphaEarth", item)
    header = open_header(item.path)
    indexes = {archive.bands.get(name, name): n for name, n in _find_axes(header).items()}
    require_bands(
        f"file {redact_url(item.path)}",
        [name for name in bands if name not in indexes],
        list(indexes),
        "its bands A00 to A63 are e0 to e63",
    )
    scene_bands = [
        (_make_band(name, header, index), header)
        for name, index in indexes.items()
        if not bands or name in bands
    ]
    acquired = year_of(item, archive)
    return with_fingerprint(make_scene(item.key, ALPHAEARTH.name, acquired, scene_bands))


def _make_band(name: str, header: Header, index: int) -> Band:
    # What is read is 2 k |k|, not k: the type and scale are those of it.
    return replace(
        header.band(name, index),
        dtype="int16",
        scale=embeddings.ALPHAEARTH_SCALE,
        offset=0.0,
        nodata=embeddings.ALPHAEARTH_NODATA,
        calibration="alphaearth",
        unit="index",
    )


def _find_axes(header: Header) -> dict[str, int]:
    # e0, e1, … → band number. A file that names its bands may hold some of them.
    numbered = {
        f"e{int(match[1])}": index
        for index, text in enumerate(header.descriptions, 1)
        if (match := _AXIS.fullmatch(text or ""))
    }
    if not numbered and len(header.dtypes) == _AXES and not any(header.descriptions):
        numbered = {f"e{number}": number + 1 for number in range(_AXES)}
    if len(numbered) != len(header.dtypes) or set(header.dtypes) != {"int8"}:
        raise InputError(
            f"{redact_url(header.href)} holds {len(header.dtypes)} bands of "
            f"{', '.join(sorted(set(header.dtypes)))}, not the int8 bands A00 to A63 of "
            "AlphaEarth: read a file of values (such as an export of Earth Engine) by "
            "scenes.source geotiff"
        )
    return numbered


def check_settings(archive: Archive, name: str, item: SceneItem) -> None:
    """Check that the run file has no setting that an embedding's own layout replaces.

    Args:
        archive: As the run file has it.
        name: Of the embedding, for messages.
        item: The scene's address, for messages.

    Raises:
        InputError: There is one.
    """
    for setting in ("quality", "scale", "offset", "nodata"):
        if getattr(archive, setting) is not None:
            raise InputError(
                f"scene {item.key}: scenes.{setting} is not for {name}, whose values are "
                "published with their own rule: leave it out"
            )


def year_of(item: SceneItem, archive: Archive) -> datetime | None:
    """Return the middle of a scene's year: the run file's word, else the folder of its file.

    Raises:
        InputError: Neither says a year.
    """
    if archive.timeless:
        return None
    folders = parse_location(item.path).parts[:-1]
    years = [folder for folder in folders if _YEAR.fullmatch(folder)]
    if not (archive.date or years):
        raise InputError(
            f"{redact_url(item.path)} lies in no folder of a year: keep the published folders "
            "(2024/…), or give scenes.date the year"
        )
    return parse_time(archive.date or years[-1])


ALPHAEARTH = Source("alphaearth", _accepts, _items, _read)
