"""The scenes table: the order of its rows, what is read of it, and keys of items that are none."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from lulc.bands import Band
from lulc.location import Location
from lulc.sources.scene import LAYER, Scene, scenes_from_table
from lulc.tables import layout, schemas
from lulc.tables.columns import TIME
from lulc.tables.files import exists, for_arrow, open_parquet
from lulc.tables.store import table_guard

ROWS_A_GROUP = 2048
"""Rows of a row group of the scenes table."""
NO_MOMENT = int(np.iinfo(np.int64).min)
"""The moment of a scene without a date."""
_DAY = 86_400_000_000  # microseconds
# Of a band, what its encoding depends on.
_BAND_KEYS = ("bands", "dtypes", "scales", "offsets", "units")
_PLANNED = ["scene_id", "source", "datetime", "footprint", "fingerprint", *_BAND_KEYS]


def shorten(names: Sequence[str], limit: int = 3) -> str:
    """Return the first of some names, and how many more there are."""
    ending = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + ending


def order_by_place(
    scene_ids: pa.ChunkedArray,
    times: pa.ChunkedArray,
    outline_numbers: np.ndarray,
    outlines: Sequence[bytes],
) -> pa.Array:
    """Return the order of N scenes in their table: by place, then by time, then by id.

    What a task asks for, the scenes of one place in one period, then lies in one row group or a
    few. Near places follow one another along a Hilbert curve.

    Args:
        scene_ids: (N,) text.
        times: (N,) when they were acquired; null without a date.
        outline_numbers: (N,) position of the footprint in `outlines`.
        outlines: the distinct footprints, WKB in EPSG:4326.

    Returns:
        (N,) position of each row of the table among the scenes given.
    """
    corners = geopandas.GeoSeries(shapely.from_wkb(outlines))
    along = corners.hilbert_distance(total_bounds=(-180, -90, 180, 90)).tolist()
    in_order = sorted(range(len(outlines)), key=lambda number: (along[number], outlines[number]))
    rank = np.empty(len(outlines), np.int64)
    rank[in_order] = np.arange(len(outlines))
    keys = pa.table({"place": rank[outline_numbers], "time": times, "scene_id": scene_ids})
    return pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names])


def number_outlines(footprints: pa.Array, numbers: dict[bytes, int]) -> np.ndarray:
    """Return the numbers (N,) of footprints, as int64.

    Args:
        footprints: (N,) WKB, plain or as a dictionary.
        numbers: footprint → number; those that are not there are added, with the next ones.
    """
    if not pa.types.is_dictionary(footprints.type):
        footprints = footprints.dictionary_encode()
    used, inverse = np.unique(footprints.indices.to_numpy(), return_inverse=True)
    outlines = footprints.dictionary.take(pa.array(used)).to_pylist()
    used_numbers = [numbers.setdefault(outline, len(numbers)) for outline in outlines]
    return np.array(used_numbers, np.int64)[inverse]


@dataclass(frozen=True, eq=False)
class SceneColumns:
    """What planning needs of N scenes, in order of the table's rows."""

    scene_ids: pa.Array
    fingerprints: pa.Array
    digests: np.ndarray
    """(N, 2) uint64 of id and fingerprint (see `digest_of`)."""
    moments: np.ndarray
    """(N,) int64 microseconds since 1970, UTC (see `moment_of`); NO_MOMENT without a date."""
    places: np.ndarray
    """(N,) int64 position of the footprint in `outlines`."""
    outlines: tuple[bytes, ...]
    """The distinct footprints, WKB in EPSG:4326."""
    layers: Mapping[int, frozenset[str]]
    """Row of a layer → names of its bands; all other rows are acquisitions."""
    bands: tuple[Band, ...]
    """Name, type, scale, offset and unit of the scenes' bands, each combination once."""
    units_of_sources: Mapping[str, Mapping[str, frozenset[str]]]
    """Source → name of a band → its units, unknown ones left out."""

    @property
    def is_layer(self) -> np.ndarray:
        """(N,) bool."""
        return np.isin(np.arange(len(self.places)), list(self.layers))

    def are_named(self, scene_ids: Iterable[str]) -> np.ndarray:
        """Return which scenes have one of some ids, (N,) bool."""
        is_named = pc.is_in(self.scene_ids, pa.array(list(scene_ids), pa.string()))
        return np.asarray(is_named.to_numpy(zero_copy_only=False), bool)


def read_columns(out: Location) -> SceneColumns:
    """Return what planning needs of the scenes table, of no scene where it is not there.

    Raises:
        InputError: the file is damaged, or lacks columns of the table's schema.
    """
    location = out / layout.table_file("scenes")
    if not exists(location):
        return columns_of([])
    with table_guard(location):
        file = pq.ParquetFile(for_arrow(location), read_dictionary=["footprint"])
        with file:
            stored_schema = file.metadata.schema.to_arrow_schema()
            schemas.check_schema(stored_schema, schemas.SCENES, str(location))
            return columns_of(file.iter_batches(ROWS_A_GROUP, columns=_PLANNED))


def columns_of(batches: Iterable[pa.RecordBatch]) -> SceneColumns:
    """Return what planning needs of the batches of a scenes table; one is held at a time."""
    columns: dict[str, list[Any]] = {"ids": [], "fingerprints": [], "moments": [], "places": []}
    digests: list[np.ndarray] = []
    numbers: dict[bytes, int] = {}
    layers: dict[int, frozenset[str]] = {}
    bands: set[tuple[str, str, float, float, str]] = set()
    units_of: dict[str, dict[str, set[str]]] = {}
    row = 0
    for batch in batches:
        ids, fingerprints = batch["scene_id"], batch["fingerprint"]
        digests.append(_digests(ids.to_pylist(), fingerprints.to_pylist()))
        columns["ids"].append(ids)
        columns["fingerprints"].append(fingerprints)
        columns["moments"].append(_moments(batch["datetime"]))
        columns["places"].append(number_outlines(batch["footprint"], numbers))
        is_layer = pc.equal(batch["source"], LAYER)
        for position in np.flatnonzero(is_layer.to_numpy(zero_copy_only=False)).tolist():
            layers[row + position] = frozenset(batch["bands"][position].as_py())
        for source, name, dtype, scale, offset, unit in _distinct_bands(batch):
            bands.add((name, dtype, scale, offset, unit or ""))
            if unit:
                units_of.setdefault(source, {}).setdefault(name, set()).add(unit)
        row += batch.num_rows
    return SceneColumns(
        scene_ids=pa.chunked_array(columns["ids"], pa.string()).combine_chunks(),
        fingerprints=pa.chunked_array(columns["fingerprints"], pa.string()).combine_chunks(),
        digests=np.concatenate([np.zeros((0, 2), np.uint64), *digests]),
        moments=np.concatenate([np.zeros(0, np.int64), *columns["moments"]]),
        places=np.concatenate([np.zeros(0, np.int64), *columns["places"]]),
        outlines=tuple(numbers),
        layers=layers,
        bands=tuple(
            Band(name, "", dtype=dtype, scale=scale, offset=offset, unit=unit)
            for name, dtype, scale, offset, unit in sorted(bands)
        ),
        units_of_sources={
            source: {name: frozenset(units) for name, units in of_source.items()}
            for source, of_source in sorted(units_of.items())
        },
    )


def _distinct_bands(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    # Source and _BAND_KEYS of the bands of some scenes, each combination once.
    lists = {
        name: pc.list_flatten(batch[name]) for name in _BAND_KEYS if name in batch.schema.names
    }
    count = len(lists["bands"])
    if len(lists.get("units", ())) != count:  # of an earlier release
        lists["units"] = pa.nulls(count, pa.string())
    columns = {"source": batch["source"].take(pc.list_parent_indices(batch["bands"])), **lists}
    distinct = pa.table(columns).group_by(list(columns)).aggregate([])
    names = ("source", *_BAND_KEYS)
    return zip(*(distinct[name].to_pylist() for name in names), strict=True)


def read_scenes(out: Location, rows: np.ndarray) -> list[Scene]:
    """Return the scenes of some rows of the scenes table; no other row group is read.

    Args:
        out: the output location.
        rows: positions in the table; those beyond its end are left out.
    """
    location = out / layout.table_file("scenes")
    positions = np.unique(rows)
    scenes: list[Scene] = []
    with table_guard(location), open_parquet(location) as file:
        groups = file.metadata.num_row_groups
        ends = np.cumsum([file.metadata.row_group(group).num_rows for group in range(groups)])
        positions = positions[positions < ends[-1]]
        for group in np.unique(np.searchsorted(ends, positions, "right")).tolist():
            start = int(ends[group - 1]) if group else 0
            # A table of an earlier release is one row group: it is decoded piece by piece.
            for batch in file.iter_batches(ROWS_A_GROUP, [group], schemas.SCENES.names):
                in_batch = positions[(positions >= start) & (positions < start + batch.num_rows)]
                chosen = batch.take(pa.array(in_batch - start))
                scenes += scenes_from_table(pa.Table.from_batches([chosen]))
                start += batch.num_rows
    return scenes


def digest_of(scene_id: str, fingerprint: str) -> tuple[int, int]:
    """Return two numbers of 64 bits that stand for a scene as it is.

    Digests of several scenes are added, each of the two modulo 2**64: their sum stands for these
    scenes in whatever order (M. Bellare, D. Micciancio: A new paradigm for collision-free hashing,
    1997).
    """
    content = hashlib.blake2b(f"{scene_id}\n{fingerprint}".encode(), digest_size=16).digest()
    return int.from_bytes(content[:8], "little"), int.from_bytes(content[8:], "little")


def moment_of(acquired: datetime) -> int:
    """Return microseconds since 1970, UTC, of the time that a scene's solar day goes by.

    Midnight to the microsecond stands for a day without a time of day: it becomes noon, which is on
    that day anywhere (see `solar_day`).
    """
    return int(_moments(pa.array([acquired], TIME))[0])


def _moments(times: pa.Array) -> np.ndarray:
    since_1970 = pc.fill_null(times.cast(pa.int64()), NO_MOMENT).to_numpy()
    is_midnight = (since_1970 % _DAY == 0) & (since_1970 != NO_MOMENT)
    return np.asarray(np.where(is_midnight, since_1970 + _DAY // 2, since_1970))


def _digests(scene_ids: Sequence[str], fingerprints: Sequence[str]) -> np.ndarray:
    pairs = [digest_of(*pair) for pair in zip(scene_ids, fingerprints, strict=True)]
    return np.array(pairs, np.uint64).reshape(-1, 2)


def with_distinct_keys(errors: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield (key, error) of bad items; a key that occurs again gets a number.

    Items of two archives may have one name; each is a bad input of its own.
    """
    occurrences: Counter[str] = Counter()
    for key, error in errors:
        occurrences[key] += 1
        number = occurrences[key]
        yield (key if number == 1 else f"{key} ({number})"), error
