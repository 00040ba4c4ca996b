"""What the datasets' listings and readers share: the files of a folder, and whole images as examples."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from lulc.datasets.dataset import Example, ExampleItem
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.legend import NODATA
from lulc.raster.reader import read_whole

IMAGES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")


def walk(root: Path, suffixes: tuple[str, ...] = IMAGES) -> Iterator[str]:
    """Names, relative to the root, of all files below it that end so, whatever their case; hidden ones are passed over."""
    folders = [""]
    while folders:
        below = folders.pop()
        with os.scandir(root / below) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(f"{below}{entry.name}/")
                elif entry.name.lower().endswith(suffixes):
                    yield f"{below}{entry.name}"


def read_image(
    root: Path, name: str, indexes: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray, Grid | None]:
    """Bands (C, H, W) of a whole image, valid (H, W), and its grid, None of a plain picture; InputError: it cannot be read."""
    return read_whole(f"{root}/{name}", indexes)


def read_mask(root: Path, name: str, shape: tuple[int, int], index: int = 1) -> np.ndarray:
    """Codes (H, W) int32 of an image's one band, -1 where the file says no data; InputError: not the shape of its picture."""
    codes, valid, _ = read_whole(f"{root}/{name}", (index,), placed=False)
    if valid.shape != shape:
        found = "{}x{}".format(*valid.shape)
        raise InputError(
            f"mask {root / name} has {found} pixels, its image {shape[0]}x{shape[1]}: fetch both anew"
        )
    return np.where(valid, codes[0].astype(np.int32), -1)


def label_of(codes: np.ndarray, ids: Mapping[int, int], name: str) -> np.ndarray:
    """A mask's codes as uint8 legend ids, 255 where it has no data; InputError names the file and codes that `ids` lacks."""
    found, places = np.unique(codes, return_inverse=True)
    known = {-1: NODATA, **ids}
    strange = [int(code) for code in found if int(code) not in known]
    if strange:
        raise InputError(
            f"mask {name} holds codes {strange[:8]}, known are {sorted(ids)}: fetch it anew"
        )
    return np.array([known[int(code)] for code in found], np.uint8)[places].reshape(codes.shape)


def read_sample_bands(
    root: Path, places: Sequence[tuple[str, int]], side: int | None = None
) -> tuple[np.ndarray, np.ndarray, Grid | None]:
    """Bands (C, H, W) of a sample kept in several files, in the order of their places: a file and an index in it; valid; grid.

    Pixels of a coarser file are repeated until it has `side` rows and columns, those of the first one where not said. InputError
    names a file that no repeating brings there.
    """
    found: dict[tuple[str, int], np.ndarray] = {}
    seen, grid, shape = [], None, (side, side) if side else None
    for number, file in enumerate(dict.fromkeys(file for file, _ in places)):
        indexes = [index for name, index in places if name == file]
        pixels, valid, own = read_whole(f"{root}/{file}", indexes, placed=not number)
        shape = shape or valid.shape
        times = shape[0] // valid.shape[0]
        if (valid.shape[0] * times, valid.shape[1] * times) != shape:
            size, due = ("{}x{}".format(*found) for found in (valid.shape, shape))
            raise InputError(
                f"{root / file} has {size} pixels where {due}, or a whole part of them, are due: fetch it anew"
            )
        found |= {(file, i): _repeat(p, times) for i, p in zip(indexes, pixels, strict=True)}
        seen.append(_repeat(valid, times))
        if own is not None:
            a, b, c, d, e, f = own.transform
            grid = Grid(own.crs, (a / times, b / times, c, d / times, e / times, f), *shape)
    valid = np.logical_and.reduce(seen)
    return np.where(valid, np.stack([found[place] for place in places]), 0), valid, grid


def read_dates(
    root: Path, dates: Sequence[Sequence[tuple[str, int]]]
) -> tuple[np.ndarray, np.ndarray, Grid | None]:
    """What `read_bands` gives for several dates, as one: pixels (T, C, H, W), valid (T, H, W), and the grid of the first."""
    found = [read_sample_bands(root, places) for places in dates]
    shapes = [valid.shape for _, valid, _ in found]
    for places, shape in zip(dates, shapes, strict=True):
        if shape != shapes[0]:
            sizes = "{}x{} pixels where {}x{}".format(*shape, *shapes[0])
            raise InputError(
                f"{root / places[0][0]} has {sizes} of the date before are due: fetch it anew"
            )
    return (
        np.stack([pixels for pixels, _, _ in found]),
        np.stack([valid for _, valid, _ in found]),
        found[0][2],
    )


def _repeat(pixels: np.ndarray, times: int) -> np.ndarray:
    return pixels if times == 1 else pixels.repeat(times, 0).repeat(times, 1)


def scene_example(root: Path, item: ExampleItem, indexes: Sequence[int]) -> Example:
    """The example of an item that is one image and one class."""
    pixels, valid, grid = read_image(root, item.files[0], indexes)
    return Example(pixels[None], valid[None], np.array(item.classes[0], np.int64), grid)


def read_lists(root: Path, files: Mapping[str, str]) -> dict[str, str]:
    """Stem of each name in a publisher's lists → its split, from a text file of names (a line each) for every split.

    Empty where none of the lists is there; InputError where some are, but not all.
    """
    there = [name for name in files.values() if (root / name).is_file()]
    if there and len(there) < len(files):
        lost = sorted(set(files.values()) - set(there))
        raise InputError(
            f"{root} has the list {there[0]} but not {', '.join(lost)}: fetch all lists of the split, or none"
        )
    found = {}
    for split, name in files.items() if there else ():
        for line in (root / name).read_text().split():
            found[PurePosixPath(line).stem] = split
    return found
