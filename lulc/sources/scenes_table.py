"""What makes scenes one table: each acquisition once, and the metadata of GeoParquet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import shapely

from lulc.sources.acquisition import find_superseded, processing_of
from lulc.sources.scene import Scene


@dataclass(frozen=True)
class ScenesOfRun:
    """Which of the scenes read are used."""

    scenes: list[Scene]
    """Each acquisition once."""
    errors: list[tuple[str, str]]
    """(scene id, error) of those that contradict another."""
    notes: list[str]
    """What the user should know of those left out and used, in sentences without a stop."""


def select_scenes(scenes: Iterable[Scene], unmasked_allowed: Collection[str] = ()) -> ScenesOfRun:
    """Select the scenes of a run among those read.

    A scene that is listed again counts once; of one acquisition the surface is used rather than the
    top of the atmosphere, and the newest processing.

    Args:
        scenes: in order of archive; within an archive the order does not matter.
        unmasked_allowed: ids of scenes that are used also where others of their platform have a
            quality layer and they have none.
    """
    distinct, repeats, errors = _part_by_id(scenes)
    unmasked = _find_unmasked(distinct, unmasked_allowed)
    errors += unmasked.items()
    distinct = [scene for scene in distinct if scene.scene_id not in unmasked]
    superseded = find_superseded(distinct)
    used = [scene for scene in distinct if scene.scene_id not in superseded]
    notes = [f"{repeats} repeated scenes left out"] if repeats else []
    if superseded:
        pairs = [f"{old} by {new}" for old, new in superseded.items()]
        notes.append(
            f"{len(superseded)} scenes left out, superseded by another processing of the same "
            f"acquisition: {shorten(pairs)}"
        )
    return ScenesOfRun(used, errors, notes + _describe_levels(used) + _describe_unmasked(used))


def _part_by_id(scenes: Iterable[Scene]) -> tuple[list[Scene], int, list[tuple[str, str]]]:
    # Scenes of different ids; how many occur again; ids that occur again with another scene, each
    # with an error that names both. An older processing under the same id is superseded, and the
    # id of a product is that product wherever it lies.
    by_id: dict[str, Scene] = {}
    repeats, errors = 0, []
    for scene in scenes:
        first = by_id.setdefault(scene.scene_id, scene)
        if first is scene:
            continue
        own, others = processing_of(scene), processing_of(first)
        if others.is_superseded_by(own):
            by_id[scene.scene_id] = scene
        if (
            first.fingerprint == scene.fingerprint
            or own.names_product
            or own.is_superseded_by(others)
            or others.is_superseded_by(own)
        ):
            repeats += 1
        else:
            files = f"{first.bands[0].href} and {scene.bands[0].href}"
            error = f"two different scenes have this id: {files}; the first is used"
            errors.append((scene.scene_id, error))
    return list(by_id.values()), repeats, errors


def _find_unmasked(scenes: Sequence[Scene], allowed: Collection[str]) -> dict[str, str]:
    # Id → error of scenes without a quality layer where others of their platform have one: all
    # of their clouds would pass as clear.
    def kind(scene: Scene) -> tuple[str, str]:
        return processing_of(scene).platform or scene.source, processing_of(scene).level

    masked = {kind(scene): scene.scene_id for scene in scenes if scene.quality}
    return {
        scene.scene_id: (
            "it has no quality layer, as others of its kind have "
            f"({masked[kind(scene)]}): download it, or set scenes.unmasked: allow"
        )
        for scene in scenes
        if kind(scene) in masked and _is_unmasked(scene) and scene.scene_id not in allowed
    }


def _is_unmasked(scene: Scene) -> bool:
    # Files of a GeoTIFF archive have the layer that the run file names, or none is named.
    is_named = scene.source == "geotiff"
    return not is_named and not scene.quality and "unmasked" in dict(scene.properties)


def _describe_unmasked(scenes: Iterable[Scene]) -> list[str]:
    counts = Counter(dict(scene.properties).get("unmasked", "") for scene in scenes)
    return [
        f"{count} scenes are not masked for {', '.join(conditions.split())}: "
        "they have no quality layer that shows it"
        for conditions, count in sorted(counts.items())
        if conditions
    ]


def _describe_levels(scenes: Iterable[Scene]) -> list[str]:
    counts = Counter(processing_of(scene).is_surface for scene in scenes)
    if not (counts[True] and counts[False]):
        return []
    return [
        f"{counts[False]} scenes are of the top of the atmosphere (level 1) and {counts[True]} of "
        "the surface (level 2): their numbers differ, so that maps of the two do"
    ]


def shorten(names: Sequence[str], limit: int = 3) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def geoparquet_metadata(table: pa.Table) -> str:
    """Return the `geo` metadata (GeoParquet 1.1.0) of a scenes table.

    No CRS is named, which means longitude and latitude on WGS 84.
    """
    outlines = shapely.from_wkb(table["footprint"].to_numpy(zero_copy_only=False))
    column = {
        "encoding": "WKB",
        "geometry_types": sorted({outline.geom_type for outline in outlines}),
        "bbox": [float(value) for value in shapely.total_bounds(outlines)],
    }
    columns = {"footprint": column}
    return json.dumps({"version": "1.1.0", "primary_column": "footprint", "columns": columns})


def with_distinct_keys(errors: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield (key, error) of bad items; a key that occurs again gets a number.

    Items of two archives may have one name; each is a bad input of its own.
    """
    occurrences: Counter[str] = Counter()
    for key, error in errors:
        occurrences[key] += 1
        number = occurrences[key]
        yield (key if number == 1 else f"{key} ({number})"), error
