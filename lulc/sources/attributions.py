"""What publishers of imagery ask to be said of maps made of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

# Sentinel: Legal notice on the use of Copernicus Sentinel Data and Service Information, for
# modified data. Landsat: `ORIGIN` in the metadata of every product. MODIS: LP DAAC, as users of its
# products cite it.
_BY_PLATFORM = (
    (re.compile(r"sentinel"), "Contains modified Copernicus Sentinel data {years}."),
    (re.compile(r"landsat"), "Landsat image courtesy of the U.S. Geological Survey, {years}."),
    (
        re.compile(r"\b(terra|aqua|modis)\b"),
        "MODIS data courtesy of the NASA EOSDIS Land Processes Distributed Active Archive Center "
        "(LP DAAC), USGS/Earth Resources Observation and Science (EROS) Center, Sioux Falls, South "
        "Dakota, {years}.",
    ),
)
"""What a platform's name holds → the attribution of its imagery."""

_BY_SOURCE = {
    "alphaearth": "The AlphaEarth Foundations Satellite Embedding dataset is produced by Google "
    "and Google DeepMind (CC-BY 4.0).",
    "landsat": _BY_PLATFORM[1][1],
    "modis": _BY_PLATFORM[2][1],
    "sentinel1": _BY_PLATFORM[0][1],
    "sentinel2": _BY_PLATFORM[0][1],
}


def list_attributions(
    scenes: Iterable[tuple[str, str, datetime | None, datetime | None]],
) -> tuple[list[str], list[str]]:
    """Return the attributions of imagery.

    Args:
        scenes: source (such as `stac`), platform (empty where it is not known), first and last time
            of some scenes.

    Returns:
        The attributions with their years; and the platforms, or sources, that none is known of.
    """
    years: dict[str, set[int]] = {}
    unknown = set()
    for source, platform, *times in scenes:
        text = next(
            (text for name, text in _BY_PLATFORM if name.search(platform.lower())),
            _BY_SOURCE.get(source),
        )
        if text is None:
            unknown.add(platform or source)
        else:
            years.setdefault(text, set()).update(time.year for time in times if time)
    texts = [_fill(text, years[text]) for text in sorted(years)]
    return texts, sorted(unknown)


def _fill(text: str, years: set[int]) -> str:
    if not years:
        return re.sub(r",? \{years\}", "", text)
    first, last = min(years), max(years)
    return text.format(years=first if first == last else f"{first}–{last}")
