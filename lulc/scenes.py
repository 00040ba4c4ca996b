"""Scene: one acquisition with its bands and where their files lie; to and from the scenes table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from lulc import tables


@dataclass(frozen=True)
class SceneBand:
    """One band of a scene: which file, which band number in it (from 1), and how its numbers become physical values.

    kind: `continuous` is interpolated, `class` is not, `quality` says which pixels are usable and is not a model's input.
    """

    name: str
    href: str
    index: int = 1
    dtype: str = "uint16"
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    kind: Literal["continuous", "class", "quality"] = "continuous"


@dataclass(frozen=True)
class Scene:
    """One acquisition. datetime None: a layer without a date, which belongs to every period. footprint: WKB in EPSG:4326.

    clear: codes of the quality band that mean usable; None: the source's own rule. fingerprint changes when a file does.
    """

    scene_id: str
    source: str
    datetime: datetime | None
    crs: str
    footprint: bytes
    bands: tuple[SceneBand, ...]
    cloud: float | None = None
    gsd_m: float | None = None
    clear: tuple[int, ...] | None = None
    fingerprint: str = ""

    def band(self, name: str) -> SceneBand | None:
        """The band of this name, None where the scene lacks it."""
        return next((b for b in self.bands if b.name == name), None)

    @property
    def quality(self) -> SceneBand | None:
        """The band that says which pixels are usable, None where there is none."""
        return next((b for b in self.bands if b.kind == "quality"), None)


_SCALAR = ("scene_id", "source", "datetime", "crs", "footprint", "cloud", "gsd_m", "clear", "fingerprint")
_BAND = {"bands": "name", "hrefs": "href", "indexes": "index", "dtypes": "dtype", "scales": "scale", "offsets": "offset"} | {
    "nodatas": "nodata",
    "kinds": "kind",
}


def to_table(scenes: Iterable[Scene]) -> pa.Table:
    """The scenes table, a row a scene, in order of id."""
    rows = []
    for scene in sorted(scenes, key=lambda s: s.scene_id):
        row = {name: getattr(scene, name) for name in _SCALAR}
        row |= {column: [getattr(b, field) for b in scene.bands] for column, field in _BAND.items()}
        rows.append(row)
    return pa.Table.from_pylist(rows, tables.SCENES)


def from_table(table: pa.Table) -> list[Scene]:
    """The scenes of a scenes table."""
    found = []
    for row in table.to_pylist():
        columns = [row[column] for column in _BAND]
        bands = tuple(SceneBand(**dict(zip(_BAND.values(), values, strict=True))) for values in zip(*columns, strict=True))
        rest = {name: row[name] for name in _SCALAR if name != "clear"}
        found.append(Scene(**rest, bands=bands, clear=None if row["clear"] is None else tuple(row["clear"])))
    return found
