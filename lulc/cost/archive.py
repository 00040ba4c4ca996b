"""What the scenes of a run are: from its scenes table, else from some of their headers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from shapely.geometry.base import BaseGeometry

from lulc import progress
from lulc.chips.features import run_encoding
from lulc.config import Config
from lulc.cost.files import SceneKind, describe_kind
from lulc.errors import InputError
from lulc.location import Location
from lulc.sources.indexing.selection import select_scenes
from lulc.sources.items import describe_unread, list_items, make_reading, read_item
from lulc.sources.layers import read_layer
from lulc.sources.registry import SOURCES, source_of
from lulc.sources.scene import LAYER, Scene, scenes_from_table, scenes_to_table
from lulc.sources.source import SceneItem
from lulc.tables import store
from lulc.tables.encoding import Encoding

HEADERS = 256
"""Scenes of an archive whose headers are opened at most; the others are taken to be as these."""
_HEADERS_AT_ONCE = 16
_DAY_US = 86_400_000_000
_KIND = ("source", "bands", "dtypes", "suffix", "gsd_m")
_COLUMNS = ["scene_id", "source", "datetime", "footprint", "bands", "dtypes", "hrefs", "gsd_m"]


@dataclass(frozen=True, eq=False)
class ScenesOfPlan:
    """The scenes of a run, those of one outline and kind counted together."""

    outlines: tuple[BaseGeometry, ...]
    """U distinct footprints, in degrees."""
    kinds: tuple[SceneKind, ...]
    """G kinds of scenes."""
    counts: np.ndarray
    """(P, G, U) scenes by period, kind and outline; no whole numbers where they were sampled."""
    scenes: int
    """Scenes that are used, or of all that are listed as far as known."""
    items: int
    """Items that `index` reads."""
    encoding: Encoding
    """How pixels are stored."""
    origin: str
    """Where this is from, in words."""
    bad: dict[str, str]
    """Scene that cannot be read → its error, of those whose headers were opened."""
    notes: tuple[str, ...]
    """What else is to be known of the scenes."""


def read_scenes_of_plan(config: Config, out: Location | None) -> ScenesOfPlan:
    """Return the scenes of a run.

    Args:
        config: the run.
        out: its output location; its scenes table is used if it is there.

    Raises:
        InputError: no scene can be read, or no scene has a band of the run.
    """
    if out is not None:
        table = store.read_table(out, "scenes")
        if table.num_rows:
            return _from_table(config, table)
    return _from_headers(config)


def _from_table(config: Config, table: pa.Table) -> ScenesOfPlan:
    is_layer = pc.equal(table["source"], LAYER)
    dated, layers = table.filter(pc.invert(is_layer)), table.filter(is_layer)
    weights = np.ones(dated.num_rows)
    groups = _group(config, dated, weights)
    representatives = scenes_from_table(dated.take(groups.first))
    every = [*representatives, *scenes_from_table(layers)]
    return ScenesOfPlan(
        groups.outlines,
        _describe(config, representatives),
        groups.counts,
        dated.num_rows,
        dated.num_rows,
        run_encoding(config, (band for scene in every for band in scene.bands)),
        "the scenes table",
        {},
        (),
    )


def _from_headers(config: Config) -> ScenesOfPlan:
    scenes: list[tuple[Scene, float]] = []
    bad: dict[str, str] = {}
    notes: list[str] = []
    allowed: set[str] = set()
    sources = [source_of(archive) for archive in config.scenes]
    reading = make_reading(config, sources)
    listed = 0
    opened = 0
    for number, (source, archive) in enumerate(zip(sources, config.scenes, strict=True)):
        notes += describe_unread(source, archive)
        items = list_items(SOURCES[source.name], reading.archives[number])
        sample = items[:: -(-len(items) // HEADERS) or 1]
        listed, opened = listed + len(items), opened + len(sample)

        def read(item: SceneItem, at: int = number) -> tuple[str, Scene | str]:
            try:
                return item.key, read_item(item, at, reading)
            except InputError as error:
                return item.key, str(error)

        for key, scene in _told(sample, read):
            if isinstance(scene, Scene):
                scenes.append((scene, len(items) / len(sample)))
                allowed |= {scene.scene_id} if archive.unmasked == "allow" else set()
            else:
                bad[key] = scene
    if not scenes:
        raise InputError(_explain_none(config, bad, notes))
    weight_of = {scene.scene_id: weight for scene, weight in scenes}
    selected = select_scenes([scene for scene, _ in scenes], allowed)
    used = selected.scenes
    table = scenes_to_table(used)
    weights = np.array([weight_of[name] for name in table["scene_id"].to_pylist()])
    groups = _group(config, table, weights)
    representatives = scenes_from_table(table.take(groups.first))
    layers = [read_layer(layer) for layer in config.layers]
    count = len(used) if listed == opened else round(float(weights.sum()))
    origin = f"the headers of {opened:,} scenes"
    if opened < listed:
        origin += f" of {listed:,}: `lulc index` makes it exact"
    return ScenesOfPlan(
        groups.outlines,
        _describe(config, representatives),
        groups.counts,
        count,
        listed,
        run_encoding(config, (band for scene in [*used, *layers] for band in scene.bands)),
        origin,
        bad | dict(selected.errors),
        (*notes, *selected.notes),
    )


def _told[T](items: Sequence[SceneItem], read: Callable[[SceneItem], T]) -> Iterable[T]:
    with (
        progress.bar(len(items), "headers") as show,
        ThreadPoolExecutor(_HEADERS_AT_ONCE) as pool,
    ):
        for number, result in enumerate(pool.map(read, items), 1):
            show(number, 0)
            yield result


def _explain_none(config: Config, bad: dict[str, str], notes: Sequence[str]) -> str:
    first_errors = "".join(f"\n  {key}: {error}" for key, error in list(bad.items())[:3])
    note_lines = "".join(f"\n  {note}" for note in notes)
    paths = ", ".join(archive.path for archive in config.scenes)
    return (
        f"none of {len(bad)} scenes in {paths} can be read: "
        f"check scenes.path and scenes.pattern{first_errors}{note_lines}"
    )


@dataclass(frozen=True, eq=False)
class _Groups:
    outlines: tuple[BaseGeometry, ...]
    counts: np.ndarray
    """(P, G, U)."""
    first: np.ndarray
    """(G,) row of a scene of each kind."""


def _group(config: Config, table: pa.Table, weights: np.ndarray) -> _Groups:
    footprints = table["footprint"].combine_chunks().dictionary_encode()
    outlines = tuple(shapely.from_wkb(footprints.dictionary.to_numpy(zero_copy_only=False)))
    outline = footprints.indices.to_numpy()
    kind, first = _kinds(table)
    longitudes = shapely.get_x(shapely.centroid(np.array(outlines, object)))
    days = _days(table["datetime"], longitudes[outline])
    shape = (len(config.periods), len(first), len(outlines))
    counts = np.zeros(shape)
    for number, period in enumerate(config.periods):
        in_period = _within(days, period.start, period.end)
        np.add.at(counts[number], (kind[in_period], outline[in_period]), weights[in_period])
    return _Groups(outlines, counts, first)


def _kinds(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    # The number of each row's kind, and the first row of each kind.
    names = pc.binary_join(table["bands"], " ")
    types = pc.binary_join(table["dtypes"], " ")
    suffix = pc.utf8_slice_codeunits(pc.list_element(table["hrefs"], 0), -4)
    gsd = pc.fill_null(table["gsd_m"], 0.0)
    keys = pa.table(dict(zip(_KIND, (table["source"], names, types, suffix, gsd), strict=True)))
    numbered = keys.append_column("row", pa.array(range(len(keys)), pa.int64()))
    firsts = numbered.group_by(list(_KIND)).aggregate([("row", "min")])
    firsts = firsts.sort_by("row_min").append_column("kind", pa.array(range(len(firsts))))
    joined = numbered.join(firsts.select([*_KIND, "kind"]), list(_KIND)).sort_by("row")
    return joined["kind"].to_numpy(), firsts["row_min"].to_numpy()


def _days(times: pa.ChunkedArray, longitudes: np.ndarray) -> np.ndarray:
    # Solar days since 1970, as `solar_day` has them; nan of scenes without a date.
    moments = pc.cast(times, pa.timestamp("us", "UTC")).cast(pa.int64())
    since_1970 = pc.cast(moments, pa.float64()).to_numpy()
    shift = np.where(since_1970 % _DAY_US == 0, 0.0, longitudes / 360 * _DAY_US)
    return np.asarray((since_1970 + shift) // _DAY_US)


def _within(days: np.ndarray, start: date | None, end: date | None) -> np.ndarray:
    is_within = np.ones(len(days), bool)
    if start is not None:
        is_within &= ~(days < _since_1970(start))
    if end is not None:
        is_within &= ~(days > _since_1970(end))
    return is_within


def _since_1970(day: date) -> int:
    return (datetime(day.year, day.month, day.day) - datetime(1970, 1, 1)).days


def _describe(config: Config, scenes: Sequence[Scene]) -> tuple[SceneKind, ...]:
    return tuple(describe_kind(scene, config.scene_bands) for scene in scenes)
