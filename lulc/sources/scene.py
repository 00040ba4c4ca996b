"""One acquisition with its bands and their files; conversion to and from the scenes table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from lulc.bands import Band
from lulc.errors import InputError
from lulc.redact import redact_url
from lulc.tables import schemas

LAYER = "layer"
"""The source of scenes that are layers of a run file."""


@dataclass(frozen=True)
class Clear:
    """A test of a quality band that valid pixels pass: the pixel has one of `codes`."""

    band: str
    """Name of the quality band in the scene."""
    codes: tuple[int, ...]
    """Codes, or values of the bit field, that pass; those that fail where `refused`."""
    refused: bool = False
    """Whether `codes` fail and all others pass."""
    first_bit: int = 0
    """First bit of the bit field, 0 is the least significant."""
    bits: int = 0
    """Number of bits of the bit field; 0: the whole value is the code."""

    def passes(self, quality: np.ndarray) -> np.ndarray:
        """Test each pixel of the quality band.

        Args:
            quality: Pixels of any shape, integers.

        Returns:
            Whether each pixel passes, bool, of the same shape.
        """
        code = (quality >> self.first_bit) & ((1 << self.bits) - 1) if self.bits else quality
        return np.asarray(np.isin(code, self.codes, invert=self.refused))


def whole_codes(quality: np.ndarray, band: Band) -> np.ndarray:
    """Return the codes of a quality band as integers, also where its file stores them as floats.

    Args:
        quality: Pixels of any shape; those without a code are 0.
        band: The quality band, for messages.

    Raises:
        InputError: A code is no whole number, or so large that the float has lost its last bits.
    """
    if quality.dtype.kind != "f":
        return quality
    limit = 2 ** (np.finfo(quality.dtype).nmant + 1)
    if not np.all((quality == np.trunc(quality)) & (abs(quality) <= limit)):
        raise InputError(
            f"quality band {band.index} of {redact_url(band.href)} holds {quality.dtype} numbers "
            "that are no codes: name another under scenes.quality, or set scenes.mask to []"
        )
    return quality.astype(np.int64)


@dataclass(frozen=True)
class Scene:
    """One acquisition, or a layer without a date."""

    scene_id: str
    """The product's or item's id, unique in a run."""
    source: str
    """Name of the Source that read it."""
    datetime: datetime | None
    """When it was acquired, UTC; None: it belongs to every period, as a layer does."""
    crs: str
    """CRS of its finest band."""
    footprint: bytes
    """Outline of the finest band, WKB in EPSG:4326."""
    bands: tuple[Band, ...]
    """Its bands, quality bands included."""
    cloud: float | None = None
    """Cloud cover, per cent; None where unknown."""
    gsd_m: float | None = None
    """Pixel side of the finest band, metres."""
    clear: tuple[Clear, ...] = ()
    """Tests of its quality bands; a pixel is valid that passes all."""
    properties: tuple[tuple[str, str], ...] = ()
    """Further metadata as (name, text), such as the angles of the sun."""
    fingerprint: str = ""
    """Changes when the metadata or a file of the scene does."""

    @property
    def is_layer(self) -> bool:
        """Whether it is a layer: a raster of the run file that gives every chip one more band."""
        return self.source == LAYER

    def band(self, name: str) -> Band | None:
        """Return the band of this name, None where the scene lacks it."""
        return next((band for band in self.bands if band.name == name), None)

    @property
    def quality(self) -> tuple[Band, ...]:
        """The quality bands."""
        return tuple(band for band in self.bands if band.kind == "quality")


# Columns of the scenes table that are fields of Scene, and list columns → field of Band.
_SCENE_COLUMNS = (
    "scene_id",
    "source",
    "datetime",
    "crs",
    "footprint",
    "cloud",
    "gsd_m",
    "fingerprint",
)
_BAND_COLUMNS = {
    "bands": "name",
    "hrefs": "href",
    "indexes": "index",
    "dtypes": "dtype",
    "scales": "scale",
    "offsets": "offset",
    "nodatas": "nodata",
    "kinds": "kind",
    "calibrations": "calibration",
    "units": "unit",
}


def scenes_to_table(scenes: Iterable[Scene]) -> pa.Table:
    """Return the scenes table, a row per scene, in order of id."""
    ordered = sorted(scenes, key=lambda scene: scene.scene_id)
    return pa.Table.from_pylist([_to_row(scene) for scene in ordered], schemas.SCENES)


def scenes_from_table(table: pa.Table) -> list[Scene]:
    """Return the scenes of a scenes table, in order of its rows."""
    return [_from_row(row) for row in table.to_pylist()]


def _to_row(scene: Scene) -> dict[str, Any]:
    row: dict[str, Any] = {column: getattr(scene, column) for column in _SCENE_COLUMNS}
    row["clear"] = [asdict(test) for test in scene.clear]
    row["properties"] = list(scene.properties)
    for column, field in _BAND_COLUMNS.items():
        row[column] = [getattr(band, field) for band in scene.bands]
    return row


def _from_row(row: dict[str, Any]) -> Scene:
    # Tables of earlier releases have no units.
    columns = [row.get(column) or [""] * len(row["bands"]) for column in _BAND_COLUMNS]
    bands = tuple(
        Band(**dict(zip(_BAND_COLUMNS.values(), fields, strict=True)))
        for fields in zip(*columns, strict=True)
    )
    tests = tuple(Clear(**test | {"codes": tuple(test["codes"])}) for test in row["clear"])
    properties = tuple(row["properties"])
    fields = {column: row[column] for column in _SCENE_COLUMNS}
    return Scene(**fields, bands=bands, clear=tests, properties=properties)
