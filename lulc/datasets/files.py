"""What the readers share to list and read files: folders, images, masks, split lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath

import numpy as np

from lulc.datasets.dataset import Example, ExampleItem, Note
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.legend import NODATA
from lulc.location import Location
from lulc.paths import list_names
from lulc.raster.reader import read_whole

IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}
"""The usual names of a publisher's splits → ours."""
_SPLIT_WORDS = {
    r"train(ing|set|val)?": "train",
    r"val(id|idation)?(set)?": "validation",
    r"test(s|ing|set)?|held(out)?|holdout": "test",
}
"""Words in the names of folders → the split of what lies in them."""

BandFile = tuple[str, int]
"""The path of a file, relative to the root, and the index of a band in it, from 1."""


def walk(root: Location, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> Iterator[str]:
    """Yield the paths of all files below the root with these suffixes, whatever their case.

    Args:
        root: the folder to search.
        suffixes: in lower case, with their dots.

    Yields:
        Paths relative to the root. Links are followed, but not back to a folder that they lie in;
        hidden files and folders are passed over.

    Raises:
        InputError: a folder cannot be listed.
    """
    yield from list_names(root, suffixes)


def split_of(folder: str | PurePosixPath) -> str:
    """Return the split that a folder's name, or that of the nearest one above it, says.

    Args:
        folder: relative to the root.

    Returns:
        train, validation or test; empty where no name says one.

    Examples:
        >>> split_of("AOI_2_Vegas_Test/PS-RGB"), split_of("valSet/images"), split_of("valencia")
        ('test', 'validation', '')
    """
    for name in reversed(PurePosixPath(folder).parts):
        for word in words_of(name):
            for pattern, split in _SPLIT_WORDS.items():
                if re.fullmatch(pattern, word):
                    return split
    return ""


def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case, also those told apart by capitals alone.

    Examples:
        >>> words_of("valSet_02-images")
        ['val', 'set', 'images']
    """
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]


def tell_classless(images: Sequence[str]) -> Iterator[Note]:
    """Yield the note on images that lie in no folder of a class, if there are any."""
    if images:
        yield Note(
            f"{len(images):,} images are left out, as their folder is not named as a class is, "
            f"such as {images[0]}"
        )


def band_indexes(file_bands: Sequence[str], bands: Sequence[str]) -> list[int]:
    """Return the index, from 1, of each of these bands in a file that holds `file_bands`."""
    return [file_bands.index(band) + 1 for band in bands]


def read_image(
    root: Location, image_path: str, indexes: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray, Grid | None]:
    """Read an image whole.

    Args:
        root: of the dataset.
        image_path: relative to the root.
        indexes: of the bands, from 1; all but alpha where empty.

    Returns:
        Pixels (C, H, W), valid (H, W) bool, and the grid, None of a picture without one.

    Raises:
        InputError: the file cannot be read.
    """
    return read_whole(f"{root}/{image_path}", indexes)


def read_mask(root: Location, mask_path: str, shape: tuple[int, int], index: int = 1) -> np.ndarray:
    """Read the class codes of a mask.

    Args:
        root: of the dataset.
        mask_path: relative to the root.
        shape: (H, W) of the image that the mask labels.
        index: of the band with the codes, from 1.

    Returns:
        (H, W) int64, -1 where the file has no data.

    Raises:
        InputError: the file cannot be read, has another shape than its image, or holds no whole
            numbers.
    """
    codes, valid, _ = read_whole(f"{root}/{mask_path}", (index,), with_grid=False)
    check_mask_shape(root / mask_path, valid.shape, shape)
    return np.where(valid, whole_numbers(codes[0], root / mask_path), -1)


def check_mask_shape(path: Location, mask_shape: Sequence[int], shape: Sequence[int]) -> None:
    """Raise InputError where a mask has another shape (H, W) than its image."""
    if tuple(mask_shape) != tuple(shape):
        raise InputError(
            f"mask {path} has {_size(mask_shape)} pixels, its image {_size(shape)}: fetch both anew"
        )


def whole_numbers(codes: np.ndarray, path: Location) -> np.ndarray:
    """Return a mask's codes as int64.

    Raises:
        InputError: some are no whole numbers, such as those of probabilities.
    """
    numbers = codes.astype(np.int64)
    if codes.dtype.kind == "f" and not np.array_equal(numbers, codes):
        fraction = codes[numbers != codes][0]
        raise InputError(f"mask {path} holds {fraction:g}: codes of classes are whole numbers")
    return numbers


def label_of(codes: np.ndarray, ids: Mapping[int, int], mask_path: Location | str) -> np.ndarray:
    """Return the label that a mask's codes stand for.

    Args:
        codes: (H, W) int, -1 where the mask has no data.
        ids: code → legend id.
        mask_path: named in the message.

    Returns:
        (H, W) uint8 legend ids, 255 where the mask has no data.

    Raises:
        InputError: the mask holds codes that `ids` lacks.
    """
    present, inverse = np.unique(codes, return_inverse=True)
    ids_and_nodata = {-1: NODATA, **ids}
    unknown = [int(code) for code in present if int(code) not in ids_and_nodata]
    if unknown:
        raise InputError(
            f"mask {mask_path} holds codes {unknown[:8]}, known are {sorted(ids)}: fetch it anew"
        )
    lookup = np.array([ids_and_nodata[int(code)] for code in present], np.uint8)
    return lookup[inverse].reshape(codes.shape)


def read_label(
    root: Location, mask_path: str, shape: tuple[int, int], ids: Mapping[int, int], index: int = 1
) -> np.ndarray:
    """Read a mask as a label.

    Args:
        root: of the dataset.
        mask_path: relative to the root.
        shape: (H, W) of the image that the mask labels.
        ids: code in the mask → legend id.
        index: of the band with the codes, from 1.

    Returns:
        (H, W) uint8 legend ids, 255 where the mask has no data.

    Raises:
        InputError: as of `read_mask` and `label_of`.
    """
    return label_of(read_mask(root, mask_path, shape, index), ids, root / mask_path)


def read_sample_bands(
    root: Location, band_files: Sequence[BandFile], side: int | None = None
) -> tuple[np.ndarray, np.ndarray, Grid | None]:
    """Read the bands of a sample that is kept in several files, some of them coarser.

    Args:
        root: of the dataset.
        band_files: file and index of each band, in the order of the result.
        side: rows and columns of the result, those of the first file where None. Pixels of a
            coarser file are repeated up to this size.

    Returns:
        Pixels (C, H, W), 0 where not valid; valid (H, W) bool, where all files are; and the grid,
        None where the first file has none.

    Raises:
        InputError: a file cannot be read, or its size is not a whole fraction of the result's.
    """
    layers: dict[BandFile, np.ndarray] = {}
    valid_layers, grid, shape = [], None, (side, side) if side else None
    for number, path in enumerate(dict.fromkeys(path for path, _ in band_files)):
        indexes = [index for band_path, index in band_files if band_path == path]
        pixels, valid, file_grid = read_whole(f"{root}/{path}", indexes, with_grid=not number)
        shape = shape or valid.shape
        factor = shape[0] // valid.shape[0]
        if (valid.shape[0] * factor, valid.shape[1] * factor) != shape:
            raise InputError(
                f"{root / path} has {_size(valid.shape)} pixels where {_size(shape)}, or a whole "
                "fraction of them, are expected: fetch it anew"
            )
        for index, layer in zip(indexes, pixels, strict=True):
            layers[path, index] = _repeat(layer, factor)
        valid_layers.append(_repeat(valid, factor))
        if file_grid is not None:
            grid = _refine(file_grid, factor, shape)
    valid = np.logical_and.reduce(valid_layers)
    stacked = np.stack([layers[band_file] for band_file in band_files])
    return np.where(valid, stacked, 0), valid, grid


def _repeat(pixels: np.ndarray, factor: int) -> np.ndarray:
    return pixels if factor == 1 else pixels.repeat(factor, 0).repeat(factor, 1)


def _refine(grid: Grid, factor: int, shape: tuple[int, int]) -> Grid:
    a, b, c, d, e, f = grid.transform
    return Grid(grid.crs, (a / factor, b / factor, c, d / factor, e / factor, f), *shape)


def read_dates(
    root: Location, dates: Sequence[Sequence[BandFile]]
) -> tuple[np.ndarray, np.ndarray, Grid | None]:
    """Read the bands of a sample on several dates.

    Args:
        root: of the dataset.
        dates: for each date, file and index of each band.

    Returns:
        Pixels (T, C, H, W), valid (T, H, W) bool, and the grid of the first date.

    Raises:
        InputError: as of `read_sample_bands`, or two dates differ in shape.
    """
    images = [read_sample_bands(root, band_files) for band_files in dates]
    shapes = [valid.shape for _, valid, _ in images]
    for band_files, shape in zip(dates, shapes, strict=True):
        if shape != shapes[0]:
            raise InputError(
                f"{root / band_files[0][0]} has {_size(shape)} pixels where {_size(shapes[0])} "
                "of the date before are expected: fetch it anew"
            )
    return (
        np.stack([pixels for pixels, _, _ in images]),
        np.stack([valid for _, valid, _ in images]),
        images[0][2],
    )


def read_before_and_after(
    root: Location, image_paths: Sequence[str], file_bands: Sequence[str], bands: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, Grid | None]:
    """Read a pair of images, each of which holds all its bands in one file.

    Args:
        root: of the dataset.
        image_paths: before and after, relative to the root.
        file_bands: bands in each file, in order.
        bands: to be read, in the order of the result.

    Returns:
        Pixels (2, C, H, W), valid (2, H, W) bool, and the grid of the first image.

    Raises:
        InputError: as of `read_dates`.
    """
    indexes = band_indexes(file_bands, bands)
    return read_dates(root, [[(path, index) for index in indexes] for path in image_paths])


def scene_example(root: Location, item: ExampleItem, indexes: Sequence[int]) -> Example:
    """Read the example of an item that is one image with one class.

    Args:
        root: of the dataset.
        item: with one file and one class.
        indexes: of the bands, from 1.
    """
    pixels, valid, grid = read_image(root, item.files[0], indexes)
    return Example(pixels[None], valid[None], np.array(item.classes[0], np.int64), grid)


def require_same_shape(
    path: Location,
    shape: tuple[int, ...],
    reference_path: Location,
    reference_shape: tuple[int, ...],
    remedy: str = "fetch both anew",
) -> None:
    """Raise InputError where two files of one example differ in rows or columns.

    Args:
        path: of the file in question.
        shape: its (H, W).
        reference_path: of the file that it must match.
        reference_shape: that file's (H, W).
        remedy: for the message.
    """
    if shape != reference_shape:
        raise InputError(f"{path} has {shape} pixels, {reference_path} {reference_shape}: {remedy}")


def read_lines(path: Location, remedy: str = "fetch it anew") -> list[str]:
    """Read the lines of a text file; InputError with this remedy where that is not possible."""
    try:
        return path.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): {remedy}") from error


def parse_day(text: str) -> datetime:
    """Return midnight UTC of a day written as `20161130`; ValueError where it is not one."""
    return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)


def find_split_lists(folder: Location, names: Mapping[str, str]) -> dict[str, Location]:
    """Find the publisher's lists of a split.

    Args:
        folder: that holds them.
        names: split → file name.

    Returns:
        Split → path; empty where none of the lists is there.

    Raises:
        InputError: some of the lists are there, but not all.
    """
    paths = {split: folder / name for split, name in names.items()}
    missing = [path.name for path in paths.values() if not path.is_file()]
    if not missing:
        return paths
    if len(missing) < len(paths):
        present = next(path.name for path in paths.values() if path.name not in missing)
        raise InputError(
            f"{folder} has the list {present} but not {', '.join(missing)}: "
            "fetch all lists of the split, or none"
        )
    return {}


def read_split_lists(root: Location, names: Mapping[str, str]) -> dict[str, str]:
    """Read a publisher's lists of file names, one a line.

    Args:
        root: of the dataset, which holds the lists.
        names: split → file name of its list.

    Returns:
        File name without suffix → split; empty where there are no lists.

    Raises:
        InputError: as of `find_split_lists`.
    """
    return {
        PurePosixPath(line).stem: split
        for split, path in find_split_lists(root, names).items()
        for line in path.read_text().split()
    }


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
