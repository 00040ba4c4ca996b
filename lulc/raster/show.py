"""Arrays as pictures for a page or a notebook: PNG, and HTML with a legend."""

from __future__ import annotations

import base64
import html
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from lulc.legend import NODATA, Legend

_MAX_SIDE = 512
_EMPTY = 0.92  # grey where not valid
_RGB = ("red", "green", "blue")


def encode_png(picture: np.ndarray) -> bytes:
    """Return a picture (H, W, 3) or (H, W, 4) uint8 as PNG."""
    height, width, bands = picture.shape
    profile = {"driver": "PNG", "height": height, "width": width, "count": bands, "dtype": "uint8"}
    with warnings.catch_warnings(), rasterio.MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(**profile) as dataset:
            dataset.write(np.moveaxis(picture, -1, 0))
        return bytes(memory.read())


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
        pictures: (H, W, 3) or (H, W, 4) uint8; large ones are decimated.
        caption: plain text.
        colours: name → `#rrggbb` of the legend's entries.
    """
    images = "".join(_image(picture) for picture in pictures)
    swatch = "display:inline-block;width:.9em;height:.9em;margin:0 .3em 0 .8em;background:"
    entries = "".join(
        f'<span><span style="{swatch}{html.escape(colour)}"></span>{html.escape(name)}</span>'
        for name, colour in (colours or {}).items()
    )
    return f"<figure>{images}<figcaption>{html.escape(caption)}<br>{entries}</figcaption></figure>"


def legend_colours(legend: Legend, classes: np.ndarray | None = None) -> dict[str, str]:
    """Return name → colour of a legend's classes, of those that occur where `classes` are given."""
    present = None if classes is None else set(np.unique(classes).tolist()) - {NODATA}
    return {c.name: c.colour for c in legend.classes if present is None or c.id in present}


def _image(picture: np.ndarray) -> str:
    step = max(1, -(-max(picture.shape[:2]) // _MAX_SIDE))
    data = base64.b64encode(encode_png(picture[::step, ::step])).decode()
    style = "image-rendering:pixelated;max-width:512px;min-width:128px;margin:2px"
    return f'<img style="{style}" src="data:image/png;base64,{data}">'
