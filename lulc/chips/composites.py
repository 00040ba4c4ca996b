"""Composites: many dates of one place made into one image, or a regular series, of valid pixels alone."""

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
    """One image (C, H, W), 0 where not valid, and valid (H, W), of T dates (T, C, H, W): each band's median over valid dates.

    Of an even number of dates the lower middle one, so that every value was measured.
    """
    if len(pixels) == 1:
        return pixels[0], valid[0]
    out = np.zeros(pixels.shape[1:], pixels.dtype)
    _median(np.ascontiguousarray(pixels), np.ascontiguousarray(valid), out)
    return out, valid.any(0)


@njit(cache=True, nogil=True)
def _median(pixels, valid, out):  # type: ignore[no-untyped-def]
    dates, bands, height, width = pixels.shape
    line = np.empty(dates, pixels.dtype)
    for band in range(bands):
        for i in range(height):
            for j in range(width):
                n = 0
                for t in range(dates):
                    if valid[t, i, j]:
                        value = pixels[t, band, i, j]
                        at = n
                        while at > 0 and line[at - 1] > value:
                            line[at] = line[at - 1]
                            at -= 1
                        line[at] = value
                        n += 1
                if n:
                    out[band, i, j] = line[(n - 1) // 2]


@dataclass(frozen=True)
class Interval:
    """Days from `start` to `end`, both included."""

    start: date
    end: date

    @property
    def middle(self) -> datetime:
        """The moment half-way, UTC."""
        return (
            datetime.combine(self.start, time(), UTC)
            + (self.end - self.start + timedelta(days=1)) / 2
        )


def make_intervals(period: Period, conf: CompositeConf | None) -> tuple[Interval, ...]:
    """The intervals of a period, the last one cut off at its end; none unless the run asks for them.

    UsageError where the period is open.
    """
    if conf is None or conf.interval is None:
        return ()
    if period.start is None or period.end is None:
        raise UsageError(f"period {period.name} needs start and end: composite.interval divides it")
    starts = [
        period.start + timedelta(days=n)
        for n in range(0, (period.end - period.start).days + 1, conf.interval)
    ]
    return tuple(
        Interval(s, min(s + timedelta(days=conf.interval - 1), period.end)) for s in starts
    )


def compose(
    pixels: np.ndarray,
    valid: np.ndarray,
    bands: Sequence[str],
    encoding: Encoding,
    conf: CompositeConf,
) -> tuple[np.ndarray, np.ndarray]:
    """One image (C, H, W), 0 where no date is valid, and the number of valid dates (H, W) uint16; of (N, C, H, W) and (N, H, W).

    median: of every band by itself, of an even number the lower middle. medoid: the date whose spectrum is nearest to all others
    (Flood 2013, doi:10.3390/rs5126481). geomedian: the spectrum with the least sum of distances to all (Roberts et al. 2017,
    doi:10.1109/TGRS.2017.2723896), by Weiszfeld's iteration. best: the date with the greatest normalised difference of
    `index`. Distances and indices are of physical values; of equals the earliest date is taken.
    """
    count = valid.sum(0, dtype=np.uint16)
    if conf.method == "median" or not len(pixels):
        return (
            median_composite(pixels, valid)[0]
            if len(pixels)
            else np.zeros(pixels.shape[1:], pixels.dtype)
        ), count
    places = [encoding.bands.index(b) for b in bands]
    scales, offsets = (
        np.array([values[i] for i in places]) for values in (encoding.scales, encoding.offsets)
    )
    whole = pixels.dtype.kind != "f"
    out = np.zeros(pixels.shape[1:], pixels.dtype)
    if conf.method == "best":
        assert conf.index is not None
        a, b = (list(bands).index(name) for name in conf.index)
        _best(pixels, valid, scales, offsets, a, b, out)
    else:
        _central(pixels, valid, scales, offsets, conf.method == "geomedian", whole, out)
    return out, count


def fill_gaps(pixels: np.ndarray, valid: np.ndarray, days: np.ndarray, linear: bool) -> None:
    """Fills (T, C, H, W) where not valid (T, H, W) from the pixel's own valid dates, in place; `days` (T,) in order of time.

    From the nearest date in time (of two the earlier), or on the straight line between the dates around; beyond the first and
    last valid date always from the nearest. What was never valid stays so.
    """
    _fill(pixels, valid, days.astype(np.float64), linear, pixels.dtype.kind != "f")


@njit(cache=True, nogil=True)
def _best(pixels, valid, scales, offsets, a, b, out):  # type: ignore[no-untyped-def]
    dates, bands, height, width = pixels.shape
    for i in range(height):
        for j in range(width):
            chosen, most = -1, -np.inf
            for t in range(dates):
                if valid[t, i, j]:
                    x = pixels[t, a, i, j] * scales[a] + offsets[a]
                    y = pixels[t, b, i, j] * scales[b] + offsets[b]
                    value = (x - y) / (x + y) if x + y > 0 else -2.0
                    if value > most:
                        chosen, most = t, value
            if chosen >= 0:
                for c in range(bands):
                    out[c, i, j] = pixels[chosen, c, i, j]


@njit(cache=True, nogil=True)
def _central(pixels, valid, scales, offsets, between, whole, out):  # type: ignore[no-untyped-def]
    # The medoid of every pixel; where `between`, the iteration towards the geometric median that starts from it.
    dates, bands, height, width = pixels.shape
    seen = np.empty((dates, bands))
    centre, moved = np.empty(bands), np.empty(bands)
    for i in range(height):
        for j in range(width):
            n = 0
            for t in range(dates):
                if valid[t, i, j]:
                    for c in range(bands):
                        seen[n, c] = pixels[t, c, i, j] * scales[c] + offsets[c]
                    n += 1
            if n == 0:
                continue
            chosen, least = 0, np.inf
            for k in range(n):
                total = 0.0
                for m in range(n):
                    total += _distance(seen[k], seen[m])
                if total < least:
                    chosen, least = k, total
            for c in range(bands):
                centre[c] = seen[chosen, c]
            if between and n > 2:
                _weiszfeld(seen[:n], centre, moved)
            for c in range(bands):
                value = (centre[c] - offsets[c]) / scales[c]
                out[c, i, j] = np.rint(value) if whole else value


@njit(cache=True, nogil=True)
def _distance(a, b):  # type: ignore[no-untyped-def]
    total = 0.0
    for c in range(len(a)):
        total += (a[c] - b[c]) ** 2
    return np.sqrt(total)


@njit(cache=True, nogil=True)
def _weiszfeld(seen, centre, moved):  # type: ignore[no-untyped-def]
    # Vardi and Zhang's form (2000, doi:10.1073/pnas.97.4.1423): right also where the centre is one of the points.
    for _ in range(100):
        moved[:] = 0.0
        weights, same = 0.0, 0
        for k in range(len(seen)):
            apart = _distance(seen[k], centre)
            if apart < 1e-9:
                same += 1
                continue
            weights += 1 / apart
            for c in range(len(centre)):
                moved[c] += seen[k, c] / apart
        if weights == 0.0:
            return
        pull, step = 0.0, 0.0
        for c in range(len(centre)):
            pull += (moved[c] - weights * centre[c]) ** 2
            moved[c] /= weights
        stay = min(1.0, same / np.sqrt(pull)) if pull > 0 else 1.0
        for c in range(len(centre)):
            change = (1 - stay) * (moved[c] - centre[c])
            centre[c] += change
            step += change * change
        if step < 1e-12:
            return


@njit(cache=True, nogil=True)
def _fill(pixels, valid, days, linear, whole):  # type: ignore[no-untyped-def]
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
                        pixels[t, c, i, j] = np.rint(value) if whole else value
                    else:
                        pixels[t, c, i, j] = pixels[nearest, c, i, j]
            for t in range(dates):
                valid[t, i, j] = True
