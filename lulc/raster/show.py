"""Arrays as pictures for a page, a figure or a notebook: PNG, and HTML with a legend."""

from __future__ import annotations

import base64
import html
import struct
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from lulc.geo.grid import Grid
from lulc.legend import Legend

_MAX_SIDE = 512
_EMPTY = 0.92  # grey where not valid
_WEBP_QUALITY = 85  # out of 100
_RGB = ("red", "green", "blue")


@dataclass(frozen=True)
class Picture:
    """A picture as PNG, which shows itself in a notebook."""

    png: bytes

    def save(self, path: str | Path) -> Path:
        """Write the picture to a file and return its path."""
        Path(path).write_bytes(self.png)
        return Path(path)

    def _repr_png_(self) -> bytes:
        return self.png


def encode_png(picture: np.ndarray) -> bytes:
    """Return a picture (H, W, 3) or (H, W, 4) uint8 as PNG."""
    height, width, bands = picture.shape
    profile = {"driver": "PNG", "height": height, "width": width, "count": bands, "dtype": "uint8"}
    with warnings.catch_warnings(), rasterio.MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(**profile) as dataset:
            dataset.write(np.moveaxis(picture, -1, 0))
        return bytes(memory.read())


def encode_webp(picture: np.ndarray, grid: Grid) -> bytes:
    """Return a picture (4, H, W) uint8 of red, green, blue and alpha on a grid as WebP, lossy."""
    count, height, width = picture.shape
    # With its place: of a file without one rasterio warns, which is not for threads.
    profile = {"height": height, "width": width, "count": count, "dtype": "uint8"}
    place = {"transform": grid.affine, "crs": grid.crs}
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="WEBP", QUALITY=_WEBP_QUALITY, **profile, **place) as dataset:
            dataset.write(picture)
        return bytes(memory.read())


def encode_palette_png(
    values: np.ndarray, palette: Mapping[int, tuple[int, int, int, int]]
) -> bytes:
    """Return values (H, W) uint8 as a PNG with a palette of 256 colours.

    It is written here, as threads write many at once: rasterio's warnings are of the whole process,
    and to compress holds no other thread up.

    Args:
        values: the pixels.
        palette: value → (red, green, blue, alpha); other values are transparent.
    """
    height, width = values.shape
    colours = np.zeros((256, 4), np.uint8)
    for value, colour in palette.items():
        colours[value] = colour
    rows = np.pad(values, ((0, 0), (1, 0)))  # each row begins with its filter, 0 for none
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", colours[:, :3].tobytes()),
        (b"tRNS", colours[:, 3].tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 6)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def colour_classes(classes: np.ndarray, legend: Legend) -> np.ndarray:
    """Return class ids (H, W) uint8 in the legend's colours, (H, W, 4); transparent elsewhere."""
    colours = np.zeros((256, 4), np.uint8)
    for land_class in legend.classes:
        colours[land_class.id] = (*land_class.rgb, 255)
    return np.asarray(colours[classes])


def colour_bands(pixels: np.ndarray, valid: np.ndarray, bands: Sequence[str]) -> np.ndarray:
    """Return an image in red, green and blue, stretched from its 2nd to its 98th percentile.

    Args:
        pixels: (C, H, W) of any numbers.
        valid: (H, W) bool; other pixels are grey.
        bands: names of the C bands. Without red, green and blue among them the first three are
            shown, or the first as grey.

    Returns:
        (H, W, 3) uint8.
    """
    values = pixels[choose_rgb(bands)].astype(np.float64)
    values[:, ~valid] = np.nan
    picture: np.ndarray = stretch(values[None])[0]
    return picture


def show_dates(pixels: np.ndarray, valid: np.ndarray, bands: Sequence[str]) -> list[np.ndarray]:
    """Return the images of some dates as a page shows them, decimated.

    Args:
        pixels: (T, C, H, W) of any numbers.
        valid: (T, H, W) bool.
        bands: names of the C bands.

    Returns:
        (h, w, 3) uint8 a date, each stretched by itself as `colour_bands` does it.
    """
    return [
        colour_bands(decimate(image), decimate(image_valid), bands)
        for image, image_valid in zip(pixels, valid, strict=True)
    ]


def decimate(array: np.ndarray) -> np.ndarray:
    """Return every n-th pixel of the last two axes, so that neither is longer than 512."""
    step = max(1, -(-max(array.shape[-2:]) // _MAX_SIDE))
    return array[..., ::step, ::step]


def choose_rgb(bands: Sequence[str]) -> list[int]:
    """Choose the bands of a picture.

    Returns:
        Positions of red, green and blue; without these, of the first three bands, or of the first.

    Examples:
        >>> choose_rgb(["blue", "green", "red", "nir"])
        [2, 1, 0]
        >>> choose_rgb(["vv", "vh"])
        [0]
    """
    if set(_RGB) <= set(bands):
        return [bands.index(name) for name in _RGB]
    return [0, 1, 2] if len(bands) >= 3 else [0]


def stretch(picture: np.ndarray) -> np.ndarray:
    """Stretch values to colours, each band from its 2nd to its 98th percentile over all images.

    Args:
        picture: (T, C, H, W) values, C being 1 or 3; NaN where not valid.

    Returns:
        (T, H, W, 3) uint8; grey where not valid.
    """
    valid = np.isfinite(picture[:, 0])
    bands = np.moveaxis(picture, 1, -1)
    if not valid.any():
        return np.full((*valid.shape, 3), int(255 * _EMPTY), np.uint8)
    low, high = (np.percentile(bands[valid], percent, axis=0) for percent in (2, 98))
    colours = np.clip((bands - low) / np.maximum(high - low, 1e-9), 0, 1)
    colours = np.where(valid[..., None], colours, _EMPTY)
    return np.rint(np.broadcast_to(colours, (*valid.shape, 3)) * 255).astype(np.uint8)


def picture_html(
    pictures: Sequence[np.ndarray], caption: str, colours: Mapping[str, str] | None = None
) -> str:
    """Return HTML that shows pictures side by side, a caption and a legend.

    Args:
        pictures: (H, W, 3) or (H, W, 4) uint8.
        caption: plain text.
        colours: name → `#rrggbb` of the legend's entries.
    """
    images = "".join(map(_image, pictures))
    entries = "".join(_entry(name, colour) for name, colour in (colours or {}).items())
    return f"<figure>{images}<figcaption>{html.escape(caption)}<br>{entries}</figcaption></figure>"


def table_html(rows: Sequence[Sequence[object]], header: Sequence[str] = ()) -> str:
    """Return an HTML table of plain texts and numbers.

    Args:
        rows: the cells of each row; without a header the first cell of a row names it.
        header: names of the columns.
    """
    lines = [_line(header, len(header))] if header else []
    lines += [_line(row, 0 if header else 1) for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _line(cells: Sequence[object], names: int) -> str:
    # A row of a table, the first cells of which are names.
    tags = ["th" if number < names else "td" for number in range(len(cells))]
    texts = (html.escape(str(cell)) for cell in cells)
    return f"<tr>{''.join(f'<{t}>{text}</{t}>' for t, text in zip(tags, texts, strict=True))}</tr>"


def _image(picture: np.ndarray) -> str:
    data = base64.b64encode(encode_png(picture)).decode()
    style = "image-rendering:pixelated;max-width:512px;min-width:128px;margin:2px"
    return f'<img alt="" style="{style}" src="data:image/png;base64,{data}">'


def _entry(name: str, colour: str) -> str:
    style = "display:inline-block;width:.9em;height:.9em;margin:0 .3em 0 .8em;background:"
    swatch = f'<span style="{style}{html.escape(colour)}"></span>'
    return f"<span>{swatch}{html.escape(name)}</span>"
