"""Which of the scenes that were read a run uses: each acquisition once.

What is compared of all scenes is a few numbers each; the scenes themselves are read again where
two of them may be one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from lulc.sources.acquisition import SAME_PASS, find_superseded, place_of, processing_of
from lulc.sources.scene import Scene
from lulc.sources.scenes_table import shorten

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOWHERE = int(np.iinfo(np.int64).min)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class SelectedScenes:
    """Which of the scenes read are used."""

    numbers: np.ndarray
    """Positions of those used, each acquisition once, ascending int64."""
    errors: list[tuple[str, str]]
    """(scene id, error) of those that contradict another."""
    notes: list[str]
    """What the user should know of those left out and used, in sentences without a stop."""


@dataclass(frozen=True)
class ScenesOfRun:
    """The scenes of a run, as SelectedScenes has them."""

    scenes: list[Scene]
    errors: list[tuple[str, str]]
    notes: list[str]


def _numbers() -> array[int]:
    return array("q")


@dataclass(frozen=True)
class SceneFacts:
    """What is compared of scenes, a number of 64 bits each."""

    ids: array[int] = field(default_factory=_numbers)
    """Hash of the id."""
    archives: array[int] = field(default_factory=_numbers)
    """Position of the archive: of scenes of one id the first archive's is used."""
    places: array[int] = field(default_factory=_numbers)
    """Hash of platform, product and tile."""
    moments: array[int] = field(default_factory=_numbers)
    """Microseconds since 1970, UTC."""
    kinds: array[int] = field(default_factory=_numbers)
    """Position in `kind_names` of platform and level."""
    surfaces: array[int] = field(default_factory=_numbers)
    """1 of the surface, 0 of the top of the atmosphere, -1 where it is not known."""
    masks: array[int] = field(default_factory=_numbers)
    """1 with a quality layer, -1 without one where it must have one, else 0."""
    conditions: array[int] = field(default_factory=_numbers)
    """Position in `condition_names` of what no quality layer shows."""
    kind_names: dict[tuple[str, str], int] = field(default_factory=dict)
    condition_names: dict[str, int] = field(default_factory=dict)
    masked: dict[int, str] = field(default_factory=dict)
    """Kind → id of a scene that has a quality layer."""

    def add(self, scene: Scene, archive: int = 0, is_unmasked_allowed: bool = False) -> None:
        """Add a scene.

        Args:
            scene: the order in which they are added does not matter.
            archive: position of its archive in the run file.
            is_unmasked_allowed: whether it is used also where others of its platform have a quality
                layer and it has none.
        """
        processing = processing_of(scene)
        place_key = place_of(scene)
        self.ids.append(hash(scene.scene_id))
        self.archives.append(archive)
        self.places.append(hash(place_key))
        moment = _NOWHERE
        if place_key is not None and scene.datetime is not None:
            moment = (scene.datetime - _EPOCH) // _MICROSECOND
        self.moments.append(moment)
        kind = processing.platform or scene.source, processing.level
        self.kinds.append(self.kind_names.setdefault(kind, len(self.kind_names)))
        self.surfaces.append(-1 if processing.is_surface is None else processing.is_surface)
        must_have_mask = _is_unmasked(scene) and not is_unmasked_allowed
        self.masks.append(1 if scene.quality else -1 if must_have_mask else 0)
        if scene.quality:
            self.masked[self.kinds[-1]] = scene.scene_id
        text = dict(scene.properties).get("unmasked", "")
        number = self.condition_names.setdefault(text, len(self.condition_names))
        self.conditions.append(number)


def select_scenes(scenes: Iterable[Scene], unmasked_allowed: Collection[str] = ()) -> ScenesOfRun:
    """Select the scenes of a run among those read, as `select` does.

    Args:
        scenes: in order of archive; within an archive the order does not matter.
        unmasked_allowed: ids of scenes that are used also where others of their platform have a
            quality layer and they have none.
    """
    listed = list(scenes)
    facts = SceneFacts()
    for scene in listed:
        facts.add(scene, is_unmasked_allowed=scene.scene_id in unmasked_allowed)
    selected = select(facts, lambda numbers: [listed[number] for number in numbers])
    used = [listed[number] for number in selected.numbers]
    return ScenesOfRun(used, selected.errors, selected.notes)


def select(facts: SceneFacts, read: Callable[[Sequence[int]], list[Scene]]) -> SelectedScenes:
    """Select the scenes of a run among those read.

    A scene that is listed again counts once; of one acquisition the surface is used rather than the
    top of the atmosphere, and the newest processing.

    Args:
        facts: of the scenes.
        read: returns the scenes of some positions, in their order; it is given no others than
            those that may be one with another, or may not be used.
    """
    is_used = np.ones(len(facts.ids), bool)
    repeated = _find_repeated(facts)
    distinct, repeats, errors = _part_by_id(repeated, read(repeated))
    is_used[repeated] = False
    is_used[distinct] = True
    unmasked = _find_unmasked(facts, is_used)
    errors += _unmasked_errors(facts, unmasked, read(unmasked))
    is_used[unmasked] = False
    together = _find_together(facts, is_used)
    scenes = read(together)
    superseded = find_superseded(scenes)
    is_used[[n for n, s in zip(together, scenes, strict=True) if s.scene_id in superseded]] = False
    notes = [f"{repeats} repeated scenes left out"] if repeats else []
    if superseded:
        pairs = [f"{old} by {new}" for old, new in superseded.items()]
        notes.append(
            f"{len(superseded)} scenes left out, superseded by another processing of the same "
            f"acquisition: {shorten(pairs)}"
        )
    notes += _describe_levels(facts, is_used) + _describe_unmasked(facts, is_used)
    return SelectedScenes(np.flatnonzero(is_used), errors, notes)


def _find_repeated(facts: SceneFacts) -> list[int]:
    # Positions of scenes that share their id with another, in order of archive.
    _, inverse, counts = np.unique(_of(facts.ids), return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(counts[inverse] > 1)
    positions: list[int] = repeated[
        np.argsort(_of(facts.archives)[repeated], kind="stable")
    ].tolist()
    return positions


def _part_by_id(
    numbers: Sequence[int], scenes: Sequence[Scene]
) -> tuple[list[int], int, list[tuple[str, str]]]:
    # Positions of scenes of different ids; how many occur again; ids that occur again with another
    # scene, each with an error that names both. An older processing under the same id is
    # superseded, and the id of a product is that product wherever it lies.
    by_id: dict[str, tuple[int, Scene]] = {}
    repeats, errors = 0, []
    for number, scene in zip(numbers, scenes, strict=True):
        if scene.scene_id not in by_id:
            by_id[scene.scene_id] = number, scene
            continue
        first = by_id[scene.scene_id][1]
        processing, first_processing = processing_of(scene), processing_of(first)
        if first_processing.is_superseded_by(processing):
            by_id[scene.scene_id] = number, scene
        if (
            first.fingerprint == scene.fingerprint
            or processing.names_product
            or processing.is_superseded_by(first_processing)
            or first_processing.is_superseded_by(processing)
        ):
            repeats += 1
        else:
            files = f"{first.bands[0].href} and {scene.bands[0].href}"
            error = f"two different scenes have this id: {files}; the first is used"
            errors.append((scene.scene_id, error))
    return [number for number, _ in by_id.values()], repeats, errors


def _find_unmasked(facts: SceneFacts, is_used: np.ndarray) -> list[int]:
    # Positions of scenes without a quality layer where others of their platform have one: all of
    # their clouds would pass as clear.
    masks, kinds = _of(facts.masks), _of(facts.kinds)
    masked = np.unique(kinds[is_used & (masks == 1)])
    positions: list[int] = np.flatnonzero(is_used & (masks == -1) & np.isin(kinds, masked)).tolist()
    return positions


def _unmasked_errors(
    facts: SceneFacts, numbers: Sequence[int], scenes: Sequence[Scene]
) -> list[tuple[str, str]]:
    return [
        (
            scene.scene_id,
            "it has no quality layer, as others of its kind have "
            f"({facts.masked[facts.kinds[number]]}): download it, or set scenes.unmasked: allow",
        )
        for number, scene in zip(numbers, scenes, strict=True)
    ]


def _is_unmasked(scene: Scene) -> bool:
    # Files of a GeoTIFF archive have the layer that the run file names, or none is named.
    is_named = scene.source == "geotiff"
    return not is_named and not scene.quality and "unmasked" in dict(scene.properties)


def _find_together(facts: SceneFacts, is_used: np.ndarray) -> list[int]:
    # Positions of scenes that another one of the same place follows or precedes within a pass.
    place_hashes, moments = _of(facts.places), _of(facts.moments)
    candidates = np.flatnonzero(is_used & (moments != _NOWHERE))
    in_order = candidates[np.lexsort((moments[candidates], place_hashes[candidates]))]
    is_near = (np.diff(place_hashes[in_order]) == 0) & (
        np.diff(moments[in_order]) <= SAME_PASS // _MICROSECOND
    )
    positions: list[int] = np.union1d(in_order[:-1][is_near], in_order[1:][is_near]).tolist()
    return positions


def _describe_unmasked(facts: SceneFacts, is_used: np.ndarray) -> list[str]:
    counts = np.bincount(_of(facts.conditions)[is_used], minlength=len(facts.condition_names))
    return [
        f"{counts[number]} scenes are not masked for {', '.join(conditions.split())}: "
        "they have no quality layer that shows it"
        for conditions, number in sorted(facts.condition_names.items())
        if conditions and counts[number]
    ]


def _describe_levels(facts: SceneFacts, is_used: np.ndarray) -> list[str]:
    surfaces = _of(facts.surfaces)[is_used]
    of_top, of_surface = int((surfaces == 0).sum()), int((surfaces == 1).sum())
    if not (of_top and of_surface):
        return []
    return [
        f"{of_top} scenes are of the top of the atmosphere (level 1) and {of_surface} of "
        "the surface (level 2): their numbers differ, so that maps of the two do"
    ]


def _of(numbers: array[int]) -> np.ndarray:
    return np.frombuffer(numbers, np.int64) if numbers else np.zeros(0, np.int64)
