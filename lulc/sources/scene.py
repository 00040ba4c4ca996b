"""Scene: one acquisition with its bands and where their files lie; to and from the scenes table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from lulc.bands import Band
from lulc.tables import schemas


@dataclass(frozen=True)
class Clear:
    """What a pixel must be to be usable: one of `codes` in a quality band (none of them where `refused`).

    bits: how many bits of the value count, from bit `first_bit` on (0: the least); 0 for the whole value.
    """

    band: str
    codes: tuple[int, ...]
    refused: bool = False
    first_bit: int = 0
    bits: int = 0

    def passes(self, quality: np.ndarray) -> np.ndarray:
        """Whether each pixel of the quality band (any shape, whole numbers) is usable."""
        value = (quality >> self.first_bit) & ((1 << self.bits) - 1) if self.bits else quality
        return np.asarray(np.isin(value, self.codes, invert=self.refused))


@dataclass(frozen=True)
class Scene:
    """One acquisition. datetime None: a layer without a date, which belongs to every period. footprint: WKB in EPSG:4326.

    clear: what its quality bands must say of a pixel for it to be usable, all of it. properties: what else is known, such as
    the angles of the sun, as (name, text). fingerprint changes when a file does.
    """

    scene_id: str
    source: str
    datetime: datetime | None
    crs: str
    footprint: bytes
    bands: tuple[Band, ...]
    cloud: float | None = None
    gsd_m: float | None = None
    clear: tuple[Clear, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
    fingerprint: str = ""

    def band(self, name: str) -> Band | None:
        """The band of this name, None where the scene lacks it."""
        return next((b for b in self.bands if b.name == name), None)

    @property
    def quality(self) -> tuple[Band, ...]:
        """The bands that say which pixels are usable."""
        return tuple(b for b in self.bands if b.kind == "quality")


_SCALAR = ("scene_id", "source", "datetime", "crs", "footprint", "cloud", "gsd_m", "fingerprint")
_BAND = {
    "bands": "name",
    "hrefs": "href",
    "indexes": "index",
    "dtypes": "dtype",
    "scales": "scale",
    "offsets": "offset",
} | {
    "nodatas": "nodata",
    "kinds": "kind",
    "calibrations": "calibration",
}


def scenes_to_table(scenes: Iterable[Scene]) -> pa.Table:
    """The scenes table, a row a scene, in order of id."""
    rows = []
    for scene in sorted(scenes, key=lambda s: s.scene_id):
        row: dict[str, Any] = {name: getattr(scene, name) for name in _SCALAR}
        row |= {
            "clear": [asdict(test) for test in scene.clear],
            "properties": list(scene.properties),
        }
        row |= {column: [getattr(b, field) for b in scene.bands] for column, field in _BAND.items()}
        rows.append(row)
    return pa.Table.from_pylist(rows, schemas.SCENES)


def scenes_from_table(table: pa.Table) -> list[Scene]:
    """The scenes of a scenes table."""
    found = []
    for row in table.to_pylist():
        columns = [row[column] for column in _BAND]
        bands = tuple(
            Band(**dict(zip(_BAND.values(), values, strict=True)))
            for values in zip(*columns, strict=True)
        )
        clear = tuple(Clear(**test | {"codes": tuple(test["codes"])}) for test in row["clear"])
        rest = {name: row[name] for name in _SCALAR}
        found.append(Scene(**rest, bands=bands, clear=clear, properties=tuple(row["properties"])))
    return found
