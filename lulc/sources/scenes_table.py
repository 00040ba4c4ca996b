"""What makes scenes one table: ids that occur once, and the metadata of GeoParquet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import shapely

from lulc.sources.scene import Scene


def distinct_scenes(
    scenes: Iterable[Scene],
) -> tuple[list[Scene], list[str], list[tuple[str, str]]]:
    """Part scenes by whether their id occurs once.

    Returns:
        Scenes of different ids; ids that occur again with the same scene; ids that occur again
        with another scene, each with an error that names both.
    """
    by_id: dict[str, Scene] = {}
    repeats, clashes = [], []
    for scene in scenes:
        first = by_id.setdefault(scene.scene_id, scene)
        if first is scene:
            continue
        if first.fingerprint == scene.fingerprint:
            repeats.append(scene.scene_id)
        else:
            files = f"{first.bands[0].href} and {scene.bands[0].href}"
            error = f"two different scenes have this id: {files}; the first is used"
            clashes.append((scene.scene_id, error))
    return list(by_id.values()), repeats, clashes


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
