"""Scenes from GeoTIFF or COG files: one scene a file, or files grouped into scenes by a pattern."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from lulc import progress
from lulc.bands import Band
from lulc.config import Archive
from lulc.errors import InputError, UsageError
from lulc.location import Location, parse_location, relative_name
from lulc.redact import redact_url
from lulc.sources.header import (
    Header,
    make_scene,
    open_header,
    plain_name,
    require_bands,
    with_fingerprint,
)
from lulc.sources.listing import list_archive
from lulc.sources.product import is_product_metadata
from lulc.sources.quality_masks import NoQualityLayerError, quality_tests
from lulc.sources.scene import Scene
from lulc.sources.source import SceneItem, Source, beside
from lulc.sources.times import TIME_FIELDS, find_date, parse_time, time_of_fields

_FIELDS = {"scene": r"[^/]+?", "band": r"[^/]+?"} | TIME_FIELDS
_SPAN = ("start", "end")
_SUFFIXES = (".tif", ".tiff")
# Names as archives give them to files of one band: X_B4.TIF, X_SR_B4.TIF, X_B04_10m.tif, X_band4.
_BAND_FILE = re.compile(
    r"(?P<scene>.+)[_.-](?P<band>(?:SR_|ST_)?(?:B|BAND)_?\d{1,2}A?)(?:_\d+m)?\.tiff?", re.IGNORECASE
)


def _accepts(_: Archive, names: Sequence[str]) -> bool:
    # Whether there is a GeoTIFF file.
    return any(Path(name).suffix.lower() in _SUFFIXES for name in names)


def _items(archive: Archive) -> Iterator[SceneItem]:
    # Every file, or with a pattern every group of matching files that share scene and date.
    path = parse_location(archive.path).absolute()
    root = path if path.is_dir() else path.parent
    if not archive.pattern:
        _refuse_products(path)
        files = _list_files(path)
        _tell_bands_apart(path, files)
        for file in files:
            yield SceneItem(str(file), relative_name(file.with_suffix(""), root))
        return
    for group in sorted(_group_files(path, root, archive.pattern)[0].values(), key=_group_key):
        yield SceneItem(str(root), _group_key(group) or root.name, json.dumps(group))


def _left_out(archive: Archive) -> list[str]:
    # The GeoTIFF files that do not match the pattern.
    path = parse_location(archive.path).absolute()
    root = path if path.is_dir() else path.parent
    return _group_files(path, root, archive.pattern)[1] if archive.pattern else []


def _refuse_products(path: Location) -> None:
    # The files of a product are the bands of one scene, with scales and masks in its metadata.
    for name in [path.name] if path.is_file() else list_archive(path).names:
        if is_product_metadata(name):
            raise InputError(
                f"archive {path} holds {name}, the metadata of a product, whose "
                "files are not scenes of their own: accepted are products of Sentinel-1 GRD, "
                "Sentinel-2 L1C and L2A, and Landsat Collection 1 and 2, by scenes.source; or "
                "give scenes.pattern to take the files as they are"
            )


def _tell_bands_apart(path: Location, files: Sequence[Location]) -> None:
    scenes: dict[str, set[str]] = {}
    for file in files:
        if match := _BAND_FILE.fullmatch(file.as_posix()):
            scenes.setdefault(match["scene"], set()).add(match["band"])
    split_scenes = [scene for scene, bands in scenes.items() if len(bands) > 1]
    if split_scenes:
        examples = ", ".join(sorted(scenes[split_scenes[0]])[:3])
        progress.say(
            f"WARNING: archive {path} has files that are named as bands of {len(split_scenes)} "
            f"scenes ({Path(split_scenes[0]).name}: {examples}), but each file is taken for a "
            "scene: give scenes.pattern, such as {scene}_{band}.tif, to put them together"
        )


def _list_files(path: Location) -> list[Location]:
    # The GeoTIFF files of an archive, in order: the one at the path, or all at or below the folder
    # but hidden ones.
    if path.is_file():
        return [path]
    return [path / name for name in list_archive(path).ending(_SUFFIXES)]


def _group_files(
    path: Location, root: Location, pattern: str
) -> tuple[dict[tuple[str, ...], dict[str, Any]], list[str]]:
    # The matching files by scene and time: a group has `fields`, the pattern's but the band, and
    # `files`, band → file. Then the names of the files that do not match.
    matcher = _compile(pattern)
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    others = []
    for file in _list_files(path):
        name = relative_name(file, root)
        match = matcher.fullmatch(name if "/" in pattern else file.name)
        if match is None:
            others.append(name)
            continue
        fields = match.groupdict()
        band = fields.pop("band", "")
        group = groups.setdefault(tuple(fields.values()), {"fields": fields, "files": {}})
        files = group["files"]
        if band in files:
            raise InputError(
                f"{file} and {files[band]} are one band of one scene by pattern {pattern!r}: "
                "add {scene} or {date} to it"
            )
        files[band] = str(file)
    return groups, others


def _group_key(group: dict[str, Any]) -> str:
    # Scene and time, as the pattern's fields have them.
    fields = group["fields"]
    day = "".join(fields.get(field, "") for field in ("year", "month", "day", "doy"))
    times = fields.get("date"), day if "date" not in fields else "", *map(fields.get, _SPAN)
    return "_".join(text for text in (fields.get("scene"), *times) if text)


def _compile(pattern: str) -> re.Pattern[str]:
    # A field that is repeated must have the same text.
    expression, used_fields = "", set()
    for literal, field in re.findall(r"([^{}]+)|\{(\w*)\}|[{}]", pattern):
        if not literal and field not in _FIELDS:
            raise UsageError(
                f"scenes.pattern {pattern!r} has field {{{field}}}: "
                f"known are {', '.join(f'{{{name}}}' for name in _FIELDS)}"
            )
        if literal:
            expression += re.escape(literal)
        elif field in used_fields:
            expression += f"(?P={field})"
        else:
            expression += f"(?P<{field}>{_FIELDS[field]})"
        used_fields.add(field)
    return re.compile(expression)


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    # Band names come from the archive's mapping, the pattern or the file.
    if not item.text:
        return _read_file(item, item.path, archive, bands, {})
    group = json.loads(item.text)
    if list(group["files"]) == [""]:
        return _read_file(item, group["files"][""], archive, bands, group["fields"])
    return _read_group(item, archive, bands, group)


def _read_file(
    item: SceneItem, path: str, archive: Archive, bands: Sequence[str], fields: Mapping[str, str]
) -> Scene:
    # One file with all bands; fields: of the pattern.
    header = open_header(path)
    file_bands: dict[str, tuple[Header, int]] = {}
    for index, name in enumerate(header.band_names, 1):
        scene_name = archive.bands.get(str(index), archive.bands.get(name, name))
        # Alpha says which pixels of the others are valid, unless the run names it: the raster
        # reader uses it.
        if scene_name == "alpha":
            continue
        if scene_name in file_bands:
            raise InputError(
                f"{path}: several of its bands {', '.join(header.band_names)} get one name "
                "under scenes.bands"
            )
        file_bands[scene_name] = header, index
    selected = _select(item, archive, bands, file_bands, list(file_bands))
    return _make_scene(item, archive, _acquired(path, archive, fields, header), selected)


def _read_group(
    item: SceneItem, archive: Archive, bands: Sequence[str], group: Mapping[str, Any]
) -> Scene:
    paths: dict[str, str] = {}
    for field, path in group["files"].items():
        name = archive.bands.get(field, plain_name(field)) or "b1"
        if name in paths:
            raise InputError(
                f"scene {item.key}: {paths[name]} and {path} are both band {name!r} "
                "under scenes.bands"
            )
        paths[name] = path
    # Only the files of the requested bands are opened: damage in another one does no harm.
    quality = _quality_name(archive)
    file_bands = {
        name: (open_header(path), 1)
        for name, path in paths.items()
        if not bands or name in bands or name == quality
    }
    selected = _select(item, archive, bands, file_bands, list(paths))
    acquired = _acquired(item.key, archive, group["fields"], selected[0][1])
    return _make_scene(item, archive, acquired, selected)


def _acquired(
    path: str, archive: Archive, fields: Mapping[str, str], header: Header
) -> datetime | None:
    # The run file's word comes first, then the pattern's fields, then the file's name. The tag
    # DateTime is mostly when the file was written: it counts where the run file says so.
    if archive.timeless:
        return None
    if archive.date == "tag":
        tag = (header.datetime_tag or "").strip()
        acquired = find_date(tag.replace(":", "-", 2))
        if acquired is None:
            raise InputError(
                f"{redact_url(header.href)} has {tag!r} as its tag DateTime, which is no time: "
                "give scenes.date the day itself"
            )
        return acquired
    if archive.date:
        return parse_time(archive.date)
    return time_of_fields(fields, path) or find_date(
        fields.get("scene") or PurePosixPath(path).stem
    )


def _quality_name(archive: Archive) -> str | None:
    return archive.quality and archive.bands.get(archive.quality, plain_name(archive.quality))


def _select(
    item: SceneItem,
    archive: Archive,
    bands: Sequence[str],
    file_bands: Mapping[str, tuple[Header, int]],
    band_names: Sequence[str],
) -> list[tuple[Band, Header]]:
    # The requested bands of file_bands (name → header and band number), then the quality band.
    # band_names: all names of the item, for messages.
    quality = _quality_name(archive)
    names = bands or [name for name in file_bands if name != quality]
    require_bands(
        f"scene {item.key}",
        [name for name in names if name not in file_bands],
        list(band_names) if names else [],
        "map its names under scenes.bands",
    )
    selected = []
    for name in names:
        header, index = file_bands[name]
        selected.append((header.band(name, index, archive), header))
    if quality:
        if quality not in file_bands:
            raise NoQualityLayerError(
                f"scene {item.key} has no quality band {quality!r}; it has "
                f"{', '.join(band_names)}: name another under scenes.quality",
                archive.mask,
            )
        header, index = file_bands[quality]
        selected.append((header.quality_band("quality", index), header))
    return selected


def _make_scene(
    item: SceneItem,
    archive: Archive,
    acquired: datetime | None,
    bands: Sequence[tuple[Band, Header]],
) -> Scene:
    tests = quality_tests(archive) if archive.quality else ()
    is_masked = archive.quality or not archive.mask
    unmasked = () if is_masked else (("unmasked", " ".join(archive.mask)),)
    scene = make_scene(item.key, GEOTIFF.name, acquired, bands, clear=tests, properties=unmasked)
    return with_fingerprint(scene)


def _prefixes(item: SceneItem) -> Iterator[str]:
    files = json.loads(item.text)["files"].values() if item.text else [item.path]
    yield from map(beside, files)


GEOTIFF = Source("geotiff", _accepts, _items, _read, _left_out, _prefixes)
