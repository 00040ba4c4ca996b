"""An image file as input of a model: which of its bands are the model's, and their pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lulc.errors import InputError
from lulc.geo import areas
from lulc.location import Location
from lulc.raster import reader
from lulc.raster.access import OpenRaster
from lulc.raster.pixels import data_bands, is_real
from lulc.raster.views import PixelWindow, read_masked
from lulc.tables.encoding import Encoding, encoding_in_units, to_units

if TYPE_CHECKING:
    from lulc.inference.predictor import Predictor

# A file that claims so many times its own size, and over a gigabyte, is not worth hours of work.
_MAX_CLAIM = 1000
_GIGABYTE = 1 << 30


@dataclass(frozen=True)
class ImageFile:
    """An open image file that keeps a model's contract, and how it holds the model's input."""

    source: OpenRaster
    bands: tuple[int, ...]
    """Numbers (from 1) of the model's bands in the file, date after date."""
    dates: int
    stored: Encoding
    """Of the bands of one date, as they are in the file."""
    encoding: Encoding
    """Of what is read of them: in the model's units."""

    def read(self, window: PixelWindow) -> tuple[np.ndarray, np.ndarray]:
        """Read a window of the model's bands.

        Returns:
            Pixels (T, C, H, W), 0 where not valid, and valid (T, H, W), where all bands of a date
            are.

        Raises:
            ReadError: the file is damaged there.
        """
        pixels, mask = read_masked(self.source, self.bands, window)
        pixels, mask = (array.reshape(self.dates, -1, *array.shape[1:]) for array in (pixels, mask))
        valid = mask.all(axis=1)
        pixels = np.where(valid[:, None], pixels, 0)
        return to_units(pixels, valid, self.stored, self.encoding.units)[0], valid


def check_image(
    predictor: Predictor, source: OpenRaster, path: Location, units: Sequence[str] = ()
) -> ImageFile:
    """Check that an image keeps a model's contract, and find the model's bands in it.

    Args:
        predictor: of the model.
        source: the open file.
        path: of the file.
        units: of the model's bands in the file, empty where one is not known; none: none is known.

    Returns:
        The image.

    Raises:
        InputError: the image breaks the contract, or claims to be impossibly large.
    """
    contract = predictor.contract
    bands, dates = _choose_bands(predictor, source)
    if not all(map(is_real, source.dtypes)):
        raise InputError(f"its pixels are {source.dtypes[0]}: only real numbers can be mapped")
    dtype = np.result_type(*source.dtypes)
    _check_claim(source, path)
    reader.check_upright(source)
    contract.check(contract.bands, _pixel_side_m(source) or contract.gsd_m, "it", units)
    of_one_date = bands[: len(contract.bands)]
    scales, offsets = (
        tuple(by_band[number - 1] for number in of_one_date)
        for by_band in (source.scales, source.offsets)
    )
    is_unscaled = set(scales) == {1.0} and set(offsets) == {0.0}
    if dtype.kind != "f" and is_unscaled and contract.scales:
        # Integers without scale and offset are taken as those of the chips of the training.
        scales, offsets = contract.scales, contract.offsets
    stored = Encoding(contract.bands, dtype.name, scales, offsets, tuple(units))
    encoding = encoding_in_units(stored, contract.units)
    return ImageFile(source, bands, dates, stored, encoding)


def _check_claim(source: OpenRaster, path: Location) -> None:
    pixel_bytes = sum(np.dtype(dtype).itemsize for dtype in source.dtypes)
    claim, size = source.height * source.width * pixel_bytes, path.stat().st_size
    if claim > max(_GIGABYTE, _MAX_CLAIM * size):
        raise InputError(
            f"it claims {claim / _GIGABYTE:.0f} GiB of pixels in {size:,} bytes: no such image is "
            "mapped"
        )


def _choose_bands(predictor: Predictor, source: OpenRaster) -> tuple[tuple[int, ...], int]:
    """Find the model's bands in a file.

    By the names that the file gives its bands; of a file that gives none, in the order of the
    datasets that the model was trained on, or else in the model's.

    Returns:
        Their numbers (from 1), date after date, and how many dates there are.

    Raises:
        InputError: the bands are not the model's, or may be several.
    """
    contract = predictor.contract
    takes = _describe_input(predictor)
    orders = _possible_orders(predictor, source)
    if not orders:
        raise InputError(
            f"it has {source.count} bands; {takes}; it may hold others too where it names each "
            "(its description)"
        )
    if len(orders) > 1:
        alternatives = " or ".join(", ".join(order) for order in orders)
        raise InputError(
            f"its bands may be {alternatives}: name them in the file (their descriptions)"
        )
    (order,) = orders
    missing = [band for band in contract.bands if order.count(band) != 1]
    if missing:
        raise InputError(
            f"it has bands {', '.join(order)}, none or several named {', '.join(missing)}; {takes}"
        )
    numbers = _data_bands(predictor, source)
    dates = _count_dates(predictor, len(numbers), len(order))
    of_one_date = [order.index(band) for band in contract.bands]
    positions = (index + date * len(order) for date in range(dates) for index in of_one_date)
    return tuple(numbers[position] for position in positions), dates


def _describe_input(predictor: Predictor) -> str:
    contract = predictor.contract
    of_each = {"change": " of each of two dates", "series": " of each date"}.get(contract.task, "")
    bands = ", ".join(contract.bands)
    return f"model {contract.name!r} takes {len(contract.bands)}{of_each}: {bands}"


def _possible_orders(predictor: Predictor, source: OpenRaster) -> list[tuple[str, ...]]:
    """Return the band names of one date, in the file's order, that the file may have."""
    contract, numbers = predictor.contract, _data_bands(predictor, source)
    count, names = len(numbers), tuple(source.descriptions[number - 1] for number in numbers)
    is_named = all(names)
    if not predictor.task.series and is_named:
        return [names]
    orders = [order for order in contract.file_bands if _count_dates(predictor, count, len(order))]
    if not orders and _count_dates(predictor, count, len(contract.bands)):
        orders = [contract.bands]
    return list(dict.fromkeys(names[: len(order)] if is_named else order for order in orders))


def _data_bands(predictor: Predictor, source: OpenRaster) -> tuple[int, ...]:
    # Numbers of the bands that may be the model's. Alpha is none of them, unless the model's files
    # have as many bands as this one: many writers flag the last of four bands as alpha.
    contract, count = predictor.contract, source.count
    orders = (contract.bands, *contract.file_bands)
    if any(_count_dates(predictor, count, len(order)) for order in orders):
        return tuple(range(1, count + 1))
    return data_bands(source)


def _count_dates(predictor: Predictor, count: int, bands_a_date: int) -> int:
    # 0 where the file does not hold so many bands a date.
    dates, remainder = divmod(count, bands_a_date)
    if remainder or (dates != 1 and not predictor.task.series):
        return 0
    return 0 if predictor.contract.task == "change" and dates != 2 else dates


def _pixel_side_m(source: OpenRaster) -> float | None:
    # None of a plain picture, whose pixels have no known size.
    grid = reader.find_grid(source)
    if grid is None:
        return None
    middle = grid.window(grid.height // 2, grid.width // 2, 1, 1)
    return math.sqrt(float(areas.pixel_areas(middle).mean()))
