"""Acquisitions: which scenes are one image, and which processing of one acquisition is used.

What a scene's properties leave out, its id says where it has the published form of a product's.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache

import shapely

from lulc.sources import modis_products
from lulc.sources.scene import Scene

# Names of products, as their archives and catalogues form them: Sentinel-2 (SAFE, Planetary
# Computer), Sentinel-2 (Earth Search), Landsat Collection 1 and 2, MODIS, Sentinel-1.
_NAMES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?P<mission>S2[A-D])_MSI(?P<level>L1C|L2A)_\d{8}T\d{6}(?:_N(?P<baseline>\d{4}))?"
        r"_R\d{3}_T(?P<tile>\d\d[A-Z]{3})(?:_(?P<generated>\d{8}T\d{6}))?",
        r"(?P<mission>S2[A-D])_T?(?P<tile>\d\d[A-Z]{3})_\d{8}(?:T\d{6})?(?:_\d)?_(?P<level>L1C|L2A)",
        r"(?P<mission>L[CEMOT]0[4-9])_(?P<level>L\w{3})_(?P<tile>\d{6})_\d{8}"
        r"(?:_(?P<processed>\d{8}))?_(?P<baseline>0\d)_(?P<tier>T1|T2|RT)",
        r"(?P<level>(?P<mission>M[OYC]D)\w+)\.A\d{7}\.(?P<tile>h\d\dv\d\d)\.(?P<baseline>\d{3})"
        r"\.(?P<processed>\d{13})",
        r"(?P<mission>S1[A-D])_[A-Z0-9]{2}_(?P<level>GRD)[A-Z_]_\w{4}_(?P<generated>\d{8}T\d{6})",
    )
)
SAME_PASS = timedelta(minutes=30)
"""No platform is over one tile again within it."""
_TIERS = ("RT", "T2", "T1")


@dataclass(frozen=True)
class Processing:
    """What platform took a scene, and how it was processed; empty where it is not known."""

    platform: str
    """Such as `sentinel-2a`, `landsat-8`."""
    level: str
    """Such as `L1C`, `L2A`, `L2SP`, `MOD09GA`."""
    tile: str
    """Tile of its platform's grid, such as `30SUF`, `042034` (path and row), `h18v04`."""
    version: tuple[int, ...]
    """Processing baseline or collection."""
    processed: str
    """When it was processed, digits; empty too where one acquisition gives several products."""
    tier: int
    """Landsat's tier, the better the higher."""
    generated: str
    """When its file was made, digits."""

    @property
    def is_surface(self) -> bool | None:
        """Whether its numbers are of the surface, not the top of the atmosphere."""
        levels = {"L1": False, "L2": True}
        return levels.get(self.level[:2])

    @property
    def names_product(self) -> bool:
        """Whether the scene's id is that of a product file, which is the same wherever it lies."""
        return bool(self.processed or self.generated)

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts the processings of one acquisition, the best last."""
        is_surface = bool(self.is_surface)
        return is_surface, self.version, self.processed, self.tier, self.generated

    def is_superseded_by(self, other: Processing) -> bool:
        """Return whether another processing of the same acquisition is better, and why is known.

        One of the surface is better than one of the top of the atmosphere, then the newer one.
        """
        for value, other_value in (
            (self.is_surface, other.is_surface),
            (self.version or None, other.version or None),
            (self.processed or None, other.processed or None),
            (self.tier, other.tier),
        ):
            if value is not None and other_value is not None and value != other_value:
                return bool(value < other_value)  # type: ignore[operator]
        return False


def processing_of(scene: Scene) -> Processing:
    """Return the platform, level and processing of a scene."""
    return _processing(scene.scene_id, scene.properties)


@lru_cache(maxsize=1 << 16)
def _processing(scene_id: str, properties: tuple[tuple[str, str], ...]) -> Processing:
    matches = (pattern.search(scene_id) for pattern in _NAMES)
    match = next((match for match in matches if match), None)
    name_fields = {key: text for key, text in (match.groupdict() if match else {}).items() if text}
    scene_properties = dict(properties)
    tile = scene_properties.get("tile", "").removeprefix("MGRS-")
    if "wrs_path" in scene_properties and "wrs_row" in scene_properties:
        tile = f"{scene_properties['wrs_path']:0>3}{scene_properties['wrs_row']:0>3}"
    tier = name_fields.get("tier", scene_properties.get("tier", ""))
    return Processing(
        platform=_platform(name_fields.get("mission", "") or scene_properties.get("platform", "")),
        level=_level(name_fields.get("level", scene_properties.get("level", ""))),
        tile=name_fields.get("tile", tile),
        version=_version(
            scene_properties.get("processing_baseline", name_fields.get("baseline", ""))
        ),
        processed=name_fields.get("processed", ""),
        tier=_TIERS.index(tier) if tier in _TIERS else len(_TIERS),
        generated=name_fields.get("generated", ""),
    )


def _platform(text: str) -> str:
    if match := re.fullmatch(r"S([12])([A-D])", text):
        return f"sentinel-{match[1]}{match[2].lower()}"
    if match := re.fullmatch(r"L[CEMOT]0(\d)", text):
        return f"landsat-{match[1]}"
    return modis_products.PLATFORMS.get(text, re.sub(r"[ _]", "-", text.lower()))


def _level(text: str) -> str:
    # Of `2A`, `Level-2A` and `S2MSI2A`: L2A. Names of products stay.
    match = re.fullmatch(r"(?:S2MSI|L|Level-?)?(\d[A-Za-z]{0,3}?)p?", text)
    return f"L{match[1].upper()}" if match else text


def _version(text: str) -> tuple[int, ...]:
    # Of `05.00`, `N0500` and `0500`: (5, 0); of `061`: (61,).
    if match := re.fullmatch(r"N?(\d\d)(\d\d)", text):
        return int(match[1]), int(match[2])
    return tuple(int(number) for number in re.findall(r"\d+", text))


def solar_day(acquired: datetime, longitude: float) -> date:
    """Return the day of a time in local solar time, on which no pass of daylight ends at midnight.

    Midnight UTC to the microsecond stands for a day without a time of day: it is that day anywhere.

    Args:
        acquired: the time, UTC.
        longitude: of the place, degrees.

    >>> from datetime import UTC
    >>> solar_day(datetime(2020, 1, 10, 23, 59, 50, tzinfo=UTC), 159.0).isoformat()
    '2020-01-11'
    """
    if acquired.time() == time():
        return acquired.date()
    return (acquired + timedelta(hours=longitude / 15)).date()


def group_images(scenes: Iterable[Scene], longitude: float) -> list[tuple[date, list[Scene]]]:
    """Group scenes into images: those of one solar day, platform and level are one.

    Where a scene's platform is not known, those of one source and level are.

    Args:
        scenes: scenes in any order, which does not matter.
        longitude: of the place where they are used, degrees.

    Returns:
        The solar day of each image with its scenes, both in order of time; of one time the newest
        processing comes first. Scenes without a time are of day `date.min`.
    """
    images: dict[tuple[date, str, str], list[Scene]] = defaultdict(list)
    for scene in in_order(scenes):
        processing = processing_of(scene)
        day = date.min if scene.datetime is None else solar_day(scene.datetime, longitude)
        images[day, processing.platform or scene.source, processing.level].append(scene)
    # Those of one day keep the order of their first scenes.
    return sorted(((day, group) for (day, *_), group in images.items()), key=_day)


def _day(image: tuple[date, list[Scene]]) -> date:
    return image[0]


def in_order(scenes: Iterable[Scene]) -> list[Scene]:
    """Return scenes in order of time; of one time the newest processing first, then by id."""
    ordered = sorted(scenes, key=lambda scene: scene.scene_id)
    ordered.sort(key=lambda scene: processing_of(scene).order, reverse=True)
    ordered.sort(key=lambda scene: scene.datetime.timestamp() if scene.datetime else -math.inf)
    return ordered


def find_superseded(scenes: Iterable[Scene]) -> dict[str, str]:
    """Find the scenes of acquisitions that are there in a better processing too.

    Scenes are of one acquisition where one platform took them within half an hour, and their tile
    or else their outline is the same.

    Args:
        scenes: scenes of different ids in any order, which does not matter.

    Returns:
        Id of each scene that is superseded → id of the scene to use in its place.
    """
    acquisitions: dict[tuple[str, ...], list[Scene]] = defaultdict(list)
    for scene in in_order(scenes):
        if place_key := place_of(scene):
            acquisitions[place_key].append(scene)
    superseded: dict[str, str] = {}
    for same_place in acquisitions.values():
        for same_pass in _split_passes(same_place):
            best = max(same_pass, key=lambda scene: processing_of(scene).order)
            for scene in same_pass:
                if processing_of(scene).is_superseded_by(processing_of(best)):
                    superseded[scene.scene_id] = best.scene_id
    return superseded


def place_of(scene: Scene) -> tuple[str, ...] | None:
    """Return what scenes of one acquisition have in common besides their time.

    Returns:
        Platform, kind of product, and tile or outline; None of a scene that supersedes no other and
        is superseded by none, as nothing is known of its time or processing.
    """
    processing = processing_of(scene)
    if not scene.datetime or not (processing.version or processing.level):
        return None
    product = processing.level if processing.is_surface is None else ""
    return processing.platform or scene.source, product, processing.tile or _outline(scene)


def _outline(scene: Scene) -> str:
    bounds = shapely.from_wkb(scene.footprint).bounds
    return " ".join(f"{degrees:.3f}" for degrees in bounds)


def _split_passes(scenes: Iterable[Scene]) -> Iterator[list[Scene]]:
    # Scenes in order of time, parted where there is more time between two than in a pass.
    same_pass: list[Scene] = []
    for scene in scenes:
        assert scene.datetime is not None
        last = same_pass[-1].datetime if same_pass else None
        if last is not None and scene.datetime - last > SAME_PASS:
            yield same_pass
            same_pass = []
        same_pass.append(scene)
    if same_pass:
        yield same_pass
