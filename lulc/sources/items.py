"""Items read on workers: scenes, or errors that say why an item is none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lulc.bands import Band
from lulc.config import DEFAULT_MASK, Archive, Config
from lulc.errors import InputError, LulcError
from lulc.guard import read_guard
from lulc.redact import redact_url
from lulc.sources.listing import state_on_disk
from lulc.sources.quality_masks import NoQualityLayerError
from lulc.sources.registry import SOURCES
from lulc.sources.scene import Clear, Scene, scenes_from_table, scenes_to_table
from lulc.sources.scenes_table import shorten
from lulc.sources.source import SceneItem, Source
from lulc.tables import schemas

READ_ITEM = pa.schema(
    [
        pa.field("fingerprint", pa.string()),
        pa.field("name", pa.string()),
        pa.field("path", pa.string()),
        pa.field("key", pa.string()),
        pa.field("error", pa.string()),
        pa.field("files", pa.list_(pa.string())),
        pa.field("state", pa.string()),
        *(field for field in schemas.SCENES if field.name != "fingerprint"),
        pa.field("scene_fingerprint", pa.string()),
    ]
)
"""A row of `read_items`: an item's scene, or the error of one that is none."""


# What the names of a hostile item's files may raise.
_HOSTILE = (LulcError, AttributeError, LookupError, OSError, TypeError, ValueError)


@dataclass(frozen=True)
class ListedItem:
    """An item of one of the run's archives."""

    archive: int
    """Position of its archive in the run file."""
    path: str
    key: str
    text: str
    name: str = ""
    """Names it in its archive, 16 hex digits."""
    fingerprint: str = ""
    """Changes with the item, with its files as far as the listing tells, and with how it is read;
    16 hex digits."""

    @property
    def item(self) -> SceneItem:
        """The item itself."""
        return SceneItem(self.path, self.key, self.text)


def list_items(source: Source, archive: Archive) -> list[SceneItem]:
    """Return an archive's items in order.

    Raises:
        InputError: the archive cannot be listed.
    """
    with read_guard(f"archive {archive.path}"):
        return list(map(check_names, source.items(archive)))


def check_names(item: SceneItem) -> SceneItem:
    """Return an item whose names are text, as all that tables hold.

    Raises:
        InputError: the name of its file is no UTF-8.
    """
    try:
        f"{item.path}{item.key}".encode()
    except UnicodeEncodeError as error:
        shown = item.path.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise InputError(f"{shown} has a name that is not UTF-8: rename it") from error
    return item


@dataclass(frozen=True)
class Reading:
    """How the scenes of a run's archives are read."""

    archives: tuple[Archive, ...]
    sources: tuple[str, ...]
    """The name of each archive's source."""
    bands: tuple[str, ...] = ()
    """The bands that every scene must have; none: those it has."""
    needs_dates: bool = False
    """Whether a scene without a date can be used only where its archive is timeless."""


def make_reading(config: Config, sources: Sequence[Source], bands: Sequence[str] = ()) -> Reading:
    """Return how the scenes of a run are read.

    Args:
        config: the run, its searches answered.
        sources: the source of each archive.
        bands: the bands that every scene must have; none: those it has.
    """
    names = tuple(source.name for source in sources)
    is_bounded = any(period.start or period.end for period in config.periods)
    needs_dates = is_bounded or config.composite is not None or config.dates > 1
    return Reading(config.scenes, names, tuple(bands), needs_dates)


def read_item(item: SceneItem, archive: int, reading: Reading) -> Scene:
    """Read the scene of an item, and check what it leaves unsaid.

    Args:
        item: the item.
        archive: position of its archive in the run file.
        reading: how scenes are read.

    Raises:
        InputError: the item is no scene, or one that this run cannot place in time or mask.
    """
    settings = reading.archives[archive]
    with read_guard(item.path):
        scene = _read_masked(item, SOURCES[reading.sources[archive]], settings, reading.bands)
    if settings.unmasked == "refuse":
        _refuse_unmasked(scene, settings)
    if scene.datetime is None and reading.needs_dates and not settings.timeless:
        raise InputError(
            f"scene {scene.scene_id} has no date, and the run has periods or dates. Say it by "
            "scenes.pattern, such as {year}/{scene}.tif or {scene}_{date}_{band}.tif; by "
            "scenes.date, the year, month or day of all files; or set scenes.timeless: true, so "
            "that they belong to every period"
        )
    for test in scene.clear:
        band = scene.band(test.band)
        if band:
            _check_bits(band, test)
    return scene


def _read_masked(item: SceneItem, source: Source, archive: Archive, bands: Sequence[str]) -> Scene:
    # Where unmasked scenes are allowed, without the conditions whose layers are missing.
    unmasked: tuple[str, ...] = ()
    settings = archive
    while True:
        try:
            scene = source.read(item, settings, bands)
        except NoQualityLayerError as error:
            missing = settings.mask if settings.quality else tuple(error.conditions)
            if archive.unmasked == "refuse" or not (missing or settings.quality):
                raise
            unmasked += missing or ("quality",)
            left = tuple(condition for condition in settings.mask if condition not in missing)
            settings = replace(settings, mask=left, quality=None, clear=())
            continue
        if not unmasked:
            return scene
        properties = dict(scene.properties)
        text = " ".join([*properties.get("unmasked", "").split(), *unmasked])
        return replace(scene, properties=(*(properties | {"unmasked": text}).items(),))


def _refuse_unmasked(scene: Scene, archive: Archive) -> None:
    # A mask that the run file gives asks for a layer. The default one is told where it finds none.
    unmasked = dict(scene.properties).get("unmasked")
    if unmasked and not scene.quality and archive.mask != DEFAULT_MASK:
        raise NoQualityLayerError(
            f"scene {scene.scene_id} has no quality layer that shows "
            f"{', '.join(unmasked.split())}: download it, name it under scenes.quality, give "
            "scenes.mask: []",
            archive.mask,
        )


def _check_bits(band: Band, test: Clear) -> None:
    # A type too narrow for the bits has lost them: they would pass as 0.
    dtype = np.dtype(band.dtype)
    width = np.finfo(dtype).nmant + 1 if dtype.kind == "f" else dtype.itemsize * 8
    if test.first_bit + test.bits > width:
        raise InputError(
            f"quality band {band.index} of {redact_url(band.href)} is {band.dtype}, which does "
            f"not hold bit {test.first_bit + test.bits - 1} of its codes: take the file as "
            "published, or name another layer under scenes.quality"
        )


def read_items(items: Iterable[ListedItem], reading: Reading) -> Iterator[dict[str, Any]]:
    """Read the scenes of some items.

    Args:
        items: the items.
        reading: how scenes are read.

    Yields:
        A row of READ_ITEM for every item: its scene, or the error that says why it is none; and the
        files that only its content names, with their state, "" where a store has them.
    """
    for listed in items:
        row: dict[str, Any] = dict.fromkeys(READ_ITEM.names)
        row |= {name: getattr(listed, name) for name in ("fingerprint", "name", "path", "key")}
        scene = None
        try:
            scene = read_item(listed.item, listed.archive, reading)
            columns = scenes_to_table([scene]).to_pylist()[0]
            row |= columns | {"fingerprint": listed.fingerprint}
            row["scene_fingerprint"] = scene.fingerprint
        except InputError as error:
            row["error"] = str(error)
        source = SOURCES[reading.sources[listed.archive]]
        with contextlib.suppress(*_HOSTILE):
            row["files"] = [*source.named(listed.item, reading.archives[listed.archive], scene)]
        row["state"] = state_on_disk(row["files"]) if row["files"] else ""
        yield row


def describe_unread(source: Source, archive: Archive) -> list[str]:
    """Return a note on the files of an archive that belong to no scene, if there are any."""
    names = source.left_out(archive)
    if not names:
        return []
    return [f"{len(names)} files do not match scenes.pattern: {shorten(names)}"]


def scenes_of_rows(rows: pa.Table) -> list[Scene]:
    """Return the scenes of rows of `read_items`; rows of errors are left out."""
    rows = rows.filter(pc.is_null(rows["error"])).drop_columns("fingerprint")
    rows = rows.rename_columns({"scene_fingerprint": "fingerprint"})
    return scenes_from_table(rows.select(schemas.SCENES.names))
