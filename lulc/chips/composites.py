"""Composites: many dates of one grid reduced to one image, or to a regular series of images.

Only valid pixels take part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
from numba import njit

from lulc.config import CompositeConf, Period
from lulc.errors import UsageError
from lulc.tables.encoding import Encoding


def median_composite(pixels: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each band's median over the valid dates.

    Of an even number of dates the lower middle one, so that every value was measured.

    Args:
        pixels: (T, C, H, W).
        valid: (T, H, W) bool.

    Returns:
        The image (C, H, W), 0 where no date is valid, and valid (H, W).
    """
    if len(pixels) == 1:
        return pixels[0], valid[0]
    image = np.zeros(pixels.shape[1:], pixels.dtype)
    _median(np.ascontiguousarray(pixels), np.ascontiguousarray(valid), image)
    return image, valid.any(0)


@njit(cache=True, nogil=True)
def _median(pixels, valid, image):  # type: ignore[no-untyped-def]
    dates, bands, height, width = pixels.shape
    ascending = np.empty(dates, pixels.dtype)
    for band in range(bands):
        for i in range(height):
            for j in range(width):
                n = 0
                for t in range(dates):
                    if valid[t, i, j]:
                        value = pixels[t, band, i, j]
                        at = n
                        while at > 0 and ascending[at - 1] > value:
                            ascending[at] = ascending[at - 1]
                            at -= 1
                        ascending[at] = value
                        n += 1
                if n:
                    image[band, i, j] = ascending[(n - 1) // 2]


@dataclass(frozen=True)
class Interval:
    """Days from `start` to `end`, both included."""

    start: date
    end: date

    @property
    def middle(self) -> datetime:
        """The moment half-way, UTC."""
        days = self.end - self.start + timedelta(days=1)
        return datetime.combine(self.start, time(), UTC) + days / 2


def make_intervals(period: Period, composite: CompositeConf | None) -> tuple[Interval, ...]:
    """Return the intervals of a period, the last one cut off at the period's end.

    Returns:
        The intervals in order of time; none unless the run file sets `composite.interval`.

    Raises:
        UsageError: the period has no start or no end.
    """
    if composite is None or composite.interval is None:
        return ()
    if period.start is None or period.end is None:
        raise UsageError(f"period {period.name} needs start and end: composite.interval divides it")
    days = (period.end - period.start).days + 1
    starts = [period.start + timedelta(days=n) for n in range(0, days, composite.interval)]
    length = timedelta(days=composite.interval - 1)
    return tuple(Interval(start, min(start + length, period.end)) for start in starts)


def compose(
    pixels: np.ndarray,
    valid: np.ndarray,
    bands: Sequence[str],
    encoding: Encoding,
    composite: CompositeConf,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the composite of some dates, and how many of them are valid at each pixel.

    median: of every band by itself, of an even number the lower middle. medoid: the date whose
    spectrum is nearest to all others (Flood 2013, doi:10.3390/rs5126481). geomedian: the spectrum
    with the least sum of distances to all (Roberts et al. 2017, doi:10.1109/TGRS.2017.2723896), by
    Weiszfeld's iteration. best: the date with the greatest normalised difference of `index`.
    Distances and indices are of physical values; of equals the earliest date is taken.

    Args:
        pixels: (N, C, H, W) in the encoding's numbers, in order of time.
        valid: (N, H, W) bool.
        bands: names of the C bands.
        encoding: holds scale and offset of each band.
        composite: the method, and the two bands of `index`.

    Returns:
        The image (C, H, W), 0 where no date is valid, and the number of valid dates (H, W) uint16.
    """
    count = valid.sum(0, dtype=np.uint16)
    if not len(pixels):
        return np.zeros(pixels.shape[1:], pixels.dtype), count
    if composite.method == "median":
        return median_composite(pixels, valid)[0], count
    scales, offsets = _scaling(bands, encoding)
    image = np.zeros(pixels.shape[1:], pixels.dtype)
    if composite.method == "best":
        assert composite.index is not None
        a, b = (list(bands).index(name) for name in composite.index)
        _best(pixels, valid, scales, offsets, a, b, image)
    else:
        to_geomedian, is_integer = composite.method == "geomedian", pixels.dtype.kind != "f"
        _central(pixels, valid, scales, offsets, to_geomedian, is_integer, image)
    return image, count


def medoid_dates(
    pixels: np.ndarray, valid: np.ndarray, bands: Sequence[str], encoding: Encoding
) -> np.ndarray:
    """Return which date is the medoid (see `compose`) at each pixel.

    Returns:
        (H, W) positions; 0 where no date is valid.
    """
    dates = np.zeros(valid.shape[1:], np.int64)
    _medoid_dates(pixels, valid, *_scaling(bands, encoding), dates)
    return dates


def _scaling(bands: Sequence[str], encoding: Encoding) -> tuple[np.ndarray, np.ndarray]:
    # Scales and offsets of some bands.
    positions = [encoding.bands.index(band) for band in bands]
    scales = np.array([encoding.scales[i] for i in positions])
    return scales, np.array([encoding.offsets[i] for i in positions])


def fill_gaps(pixels: np.ndarray, valid: np.ndarray, days: np.ndarray, linear: bool) -> None:
    """Fill pixels that are not valid from the pixel's own valid dates, in place.

    The value is that of the nearest date in time (of two the earlier), or lies on the straight line
    between the date before and the date after; before the first and after the last valid date it is
    always that of the nearest. A pixel that is valid on no date stays so.

    Args:
        pixels: (T, C, H, W), written to.
        valid: (T, H, W) bool, written to.
        days: (T,) the dates' times, ascending, in any unit.
        linear: interpolate linearly instead of taking the nearest date.
    """
    _fill(pixels, valid, days.astype(np.float64), linear, pixels.dtype.kind != "f")


@njit(cache=True, nogil=True)
def _best(pixels, valid, scales, offsets, a, b, image):  # type: ignore[no-untyped-def]
    dates, bands, height, width = pixels.shape
    for i in range(height):
        for j in range(width):
            chosen, greatest = -1, -np.inf
            for t in range(dates):
                if valid[t, i, j]:
                    x = pixels[t, a, i, j] * scales[a] + offsets[a]
                    y = pixels[t, b, i, j] * scales[b] + offsets[b]
                    value = (x - y) / (x + y) if x + y > 0 else -2.0
                    if value > greatest:
                        chosen, greatest = t, value
            if chosen >= 0:
                for c in range(bands):
                    image[c, i, j] = pixels[chosen, c, i, j]


@njit(cache=True, nogil=True)
def _central(  # type: ignore[no-untyped-def]
    pixels, valid, scales, offsets, to_geomedian, is_integer, image
):
    # The medoid of every pixel; where `to_geomedian`, the iteration that starts from it.
    dates, bands, height, width = pixels.shape
    spectra = np.empty((dates, bands))
    centre, moved = np.empty(bands), np.empty(bands)
    for i in range(height):
        for j in range(width):
            n = 0
            for t in range(dates):
                if valid[t, i, j]:
                    for c in range(bands):
                        spectra[n, c] = pixels[t, c, i, j] * scales[c] + offsets[c]
                    n += 1
            if n == 0:
                continue
            chosen = _most_central(spectra[:n])
            for c in range(bands):
                centre[c] = spectra[chosen, c]
            if to_geomedian and n > 2:
                _weiszfeld(spectra[:n], centre, moved)
            for c in range(bands):
                value = (centre[c] - offsets[c]) / scales[c]
                image[c, i, j] = np.rint(value) if is_integer else value


@njit(cache=True, nogil=True)
def _medoid_dates(pixels, valid, scales, offsets, chosen):  # type: ignore[no-untyped-def]
    dates, bands, height, width = pixels.shape
    spectra, at = np.empty((dates, bands)), np.empty(dates, np.int64)
    for i in range(height):
        for j in range(width):
            n = 0
            for t in range(dates):
                if valid[t, i, j]:
                    for c in range(bands):
                        spectra[n, c] = pixels[t, c, i, j] * scales[c] + offsets[c]
                    at[n] = t
                    n += 1
            if n:
                chosen[i, j] = at[_most_central(spectra[:n])]


@njit(cache=True, nogil=True)
def _most_central(spectra):  # type: ignore[no-untyped-def]
    # The spectrum with the least sum of distances to all, of equals the first.
    chosen, shortest = 0, np.inf
    for k in range(len(spectra)):
        total = 0.0
        for m in range(len(spectra)):
            total += _distance(spectra[k], spectra[m])
        if total < shortest:
            chosen, shortest = k, total
    return chosen


@njit(cache=True, nogil=True)
def _distance(a, b):  # type: ignore[no-untyped-def]
    total = 0.0
    for c in range(len(a)):
        total += (a[c] - b[c]) ** 2
    return np.sqrt(total)


@njit(cache=True, nogil=True)
def _weiszfeld(spectra, centre, moved):  # type: ignore[no-untyped-def]
    # Vardi and Zhang's form (2000, doi:10.1073/pnas.97.4.1423): it also holds where the centre is
    # one of the points.
    for _ in range(100):
        moved[:] = 0.0
        weights, equal = 0.0, 0
        for k in range(len(spectra)):
            distance = _distance(spectra[k], centre)
            if distance < 1e-9:
                equal += 1
                continue
            weights += 1 / distance
            for c in range(len(centre)):
                moved[c] += spectra[k, c] / distance
        if weights == 0.0:
            return
        pull, step = 0.0, 0.0
        for c in range(len(centre)):
            pull += (moved[c] - weights * centre[c]) ** 2
            moved[c] /= weights
        stay = min(1.0, equal / np.sqrt(pull)) if pull > 0 else 1.0
        for c in range(len(centre)):
            change = (1 - stay) * (moved[c] - centre[c])
            centre[c] += change
            step += change * change
        if step < 1e-12:
            return


@njit(cache=True, nogil=True)
def _fill(pixels, valid, days, linear, is_integer):  # type: ignore[no-untyped-def]
    dates, bands, height, width = pixels.shape
    before, after = np.empty(dates, np.int64), np.empty(dates, np.int64)
    for i in range(height):
        for j in range(width):
            last = -1
            for t in range(dates):
                if valid[t, i, j]:
                    last = t
                before[t] = last
            if last < 0:
                continue
            last = -1
            for t in range(dates - 1, -1, -1):
                if valid[t, i, j]:
                    last = t
                after[t] = last
            for t in range(dates):
                a, b = before[t], after[t]
                if a == t:
                    continue
                nearest = b if a < 0 or (b >= 0 and days[b] - days[t] < days[t] - days[a]) else a
                for c in range(bands):
                    if linear and a >= 0 and b >= 0:
                        share = (days[t] - days[a]) / (days[b] - days[a])
                        value = pixels[a, c, i, j] * (1 - share) + pixels[b, c, i, j] * share
                        pixels[t, c, i, j] = np.rint(value) if is_integer else value
                    else:
                        pixels[t, c, i, j] = pixels[nearest, c, i, j]
            for t in range(dates):
                valid[t, i, j] = True
