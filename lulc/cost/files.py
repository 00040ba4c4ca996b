"""What reading a scene takes: its files, their formats, and how many pixels are decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lulc.errors import LulcError
from lulc.raster.formats import JP2, FileFacts, guess_format, read_facts
from lulc.sources.scene import Scene

_USUAL_BYTES = {"tif": 1.0, JP2: 0.65}
"""Bytes of a stored pixel over those of its type, where no file can be asked."""
_USUAL_SIDE = 10_980
_BLOCK_ROWS = {JP2: 1024}


@dataclass(frozen=True)
class FileKind:
    """A file of a scene, and the bands that are read of it."""

    format: str
    bands: int
    finest: float
    """Pixels of the file over those of the scene's finest band, on the same ground."""
    bytes_a_pixel: float
    """Of one band, as stored."""
    block_rows: int
    """Rows of pixels that are decoded at once."""


@dataclass(frozen=True)
class SceneKind:
    """Scenes whose files are alike."""

    source: str
    files: tuple[FileKind, ...]
    gsd_m: float | None
    """Pixel side of the finest band in metres."""
    is_known: bool
    """Whether a scene's files were looked into; else they are guessed by their names."""

    @property
    def bands(self) -> int:
        """Bands that are read, quality bands among them."""
        return sum(file.bands for file in self.files)


def describe_kind(scene: Scene, measured: Sequence[str]) -> SceneKind:
    """Return the kind of a scene; the headers of the files that a run reads are opened.

    Args:
        scene: one of the kind.
        measured: the bands that a run takes from scenes.
    """
    read: dict[str, int] = {}
    dtypes: dict[str, str] = {}
    for band in scene.bands:
        if band.name in measured or band.kind == "quality":
            read[band.href] = read.get(band.href, 0) + 1
            dtypes[band.href] = band.dtype
    facts: dict[str, FileFacts] = {}
    try:
        facts = {href: read_facts(href) for href in read}
    except LulcError:
        facts = {}
    if not facts:
        files = [_guess(href, bands, dtypes[href]) for href, bands in read.items()]
        return SceneKind(scene.source, tuple(files), scene.gsd_m, False)
    largest = max(file.height * file.width for file in facts.values())
    files = [
        FileKind(
            file.format,
            read[href],
            file.height * file.width / largest,
            file.bytes_a_pixel or _guess(href, 1, dtypes[href]).bytes_a_pixel,
            file.block_rows,
        )
        for href, file in facts.items()
    ]
    return SceneKind(scene.source, tuple(files), scene.gsd_m, True)


def _guess(href: str, bands: int, dtype: str) -> FileKind:
    form = guess_format(href)
    size = np.dtype(dtype).itemsize * _USUAL_BYTES.get(form, 0.75)
    return FileKind(form, bands, 1.0, size, _BLOCK_ROWS.get(form, 512))
