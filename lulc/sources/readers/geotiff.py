"""Scenes from folders of GeoTIFF or COG files: one scene a file, or files grouped into scenes by a name pattern."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from lulc.bands import Band
from lulc.config import Archive, LayerConf
from lulc.errors import InputError, UsageError
from lulc.sources.header import (
    Header,
    find_date,
    make_scene,
    open_header,
    plain_name,
    quality_tests,
    with_fingerprint,
)
from lulc.sources.scene import Scene
from lulc.sources.source import SceneItem, Source

_FIELDS = {
    "scene": r"[^/]+?",
    "date": r"\d{4}[-_]?\d{2}[-_]?\d{2}(?:[T_-]?\d{6})?",
    "band": r"[^/]+?",
}
SUFFIXES = (".tif", ".tiff")


def list_files(archive: Archive) -> list[Path]:
    """The archive's GeoTIFF files, in order of path: the one it names, or all of its folder and below; hidden ones left out."""
    place = Path(archive.path).absolute()
    if place.is_file():
        return [place]
    found = (p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES)
    return sorted(
        p for p in found if not any(part.startswith(".") for part in p.relative_to(place).parts)
    )


def _accepts(_: Archive, names: Sequence[str]) -> bool:
    """Whether there is a GeoTIFF file."""
    return any(Path(name).suffix.lower() in SUFFIXES for name in names)


def _items(archive: Archive) -> Iterator[SceneItem]:
    """The archive's scenes in order: every file, or with a pattern every group of matching files that share scene and date."""
    place = Path(archive.path).absolute()
    root = place if place.is_dir() else place.parent
    if not archive.pattern:
        for path in list_files(archive):
            yield SceneItem(str(path), path.relative_to(root).with_suffix("").as_posix())
        return
    matcher = _matcher(archive.pattern)
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for path in list_files(archive):
        match = matcher.fullmatch(
            path.relative_to(root).as_posix() if "/" in archive.pattern else path.name
        )
        if match:
            said = match.groupdict()
            files = groups.setdefault((said.get("scene") or "", said.get("date") or ""), {})
            band = said.get("band") or ""
            if band in files:
                where = f"{path} and {files[band]} are one band of one scene by pattern {archive.pattern!r}"
                raise InputError(f"{where}: add {{scene}} or {{date}} to it")
            files[band] = str(path)
    for (scene, date), files in sorted(groups.items()):
        yield SceneItem(
            str(root),
            "_".join(t for t in (scene, date) if t) or root.name,
            json.dumps({"date": date, "files": files}),
        )


def _matcher(pattern: str) -> re.Pattern[str]:
    text, seen = "", set()
    for literal, field in re.findall(r"([^{}]+)|\{(\w*)\}", pattern):
        if field and field not in _FIELDS:
            raise UsageError(
                f"scenes.pattern {pattern!r} has field {{{field}}}: known are {{scene}}, {{date}} and {{band}}"
            )
        text += (
            re.escape(literal)
            if literal
            else f"(?P={field})"
            if field in seen
            else f"(?P<{field}>{_FIELDS[field]})"
        )
        seen.add(field)
    return re.compile(text)


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    """The item's Scene with the bands named (all where none is); names come from the archive's mapping, pattern or files."""
    if item.text:
        return _grouped(item, archive, bands)
    header = open_header(item.path)
    # Alpha says which pixels of the others are valid: the reader heeds it.
    named = [(i, n) for i, n in enumerate(header.names, 1) if n != "alpha"]
    offered = {archive.bands.get(str(i), archive.bands.get(n, n)): (header, i) for i, n in named}
    if len(offered) < len(named):
        raise InputError(
            f"{item.path}: several of its bands {', '.join(header.names)} get one name under scenes.bands"
        )
    taken = find_date(Path(item.path).stem) or find_date((header.taken or "").replace(":", "-", 2))
    return _scene(item, archive, taken, _choose(item, archive, bands, offered))


def _grouped(item: SceneItem, archive: Archive, bands: Sequence[str]) -> Scene:
    said = json.loads(item.text)
    paths: dict[str, str] = {}
    for text, path in said["files"].items():
        name = archive.bands.get(text, plain_name(text)) or "b1"
        if name in paths:
            raise InputError(
                f"scene {item.key}: {paths[name]} and {path} are both band {name!r} under scenes.bands"
            )
        paths[name] = path
    # Only the files that are asked for are opened: one that is damaged but not wanted harms nothing.
    quality = archive.quality and archive.bands.get(archive.quality, plain_name(archive.quality))
    needed = {n: p for n, p in paths.items() if not bands or n in bands or n == quality}
    return _scene(
        item,
        archive,
        find_date(said["date"]),
        _choose(
            item, archive, bands, {n: (open_header(p), 1) for n, p in needed.items()}, list(paths)
        ),
    )


def _choose(
    item: SceneItem,
    archive: Archive,
    bands: Sequence[str],
    offered: dict[str, tuple[Header, int]],
    has: Sequence[str] = (),
) -> list[tuple[Band, Header]]:
    quality = archive.quality and archive.bands.get(archive.quality, plain_name(archive.quality))
    names = bands or [n for n in offered if n != quality]
    missing = [n for n in (*names, *([quality] if quality else [])) if n not in offered]
    if missing or not names:
        known = ", ".join(has or offered)
        raise InputError(
            f"scene {item.key} has no band {', '.join(missing)}; it has {known}: map its names under scenes.bands"
        )
    found = [(offered[n][0].band(n, offered[n][1], archive, {}), offered[n][0]) for n in names]
    if quality:
        header, index = offered[quality]
        found.append(
            (header.band("quality", index, Archive(archive.path), {"kind": "quality"}), header)
        )
    return found


def _scene(
    item: SceneItem, archive: Archive, taken: datetime | None, found: list[tuple[Band, Header]]
) -> Scene:
    return with_fingerprint(
        make_scene(
            item.key,
            GEOTIFF.name,
            taken,
            found,
            clear=quality_tests(archive) if archive.quality else (),
        )
    )


def read_layer(layer: LayerConf) -> Scene:
    """The Scene of a layer: source `layer`, no date, one band; it belongs to every period and date."""
    header = open_header(layer.path)
    band = header.band(layer.band, 1, Archive(layer.path), {})
    return with_fingerprint(make_scene(f"layer:{layer.band}", "layer", None, [(band, header)]))


GEOTIFF = Source("geotiff", _accepts, _items, _read)
