"""Times of scenes: in names, in fields of a pattern, in metadata, and as a run file says them.

A span's time is its middle. Midnight UTC to the microsecond stands for a day without a time of day.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from lulc.errors import InputError

type Span = tuple[datetime, datetime]
"""Start and end, UTC; equal where it is a moment, and 24 hours apart where it is a day."""

_DAY = timedelta(days=1)
_YEARS = range(1900, 2100)

TIME_FIELDS = {
    "date": r"\d{4}[-_]?\d{2}[-_]?\d{2}(?:[T_-]?\d{6})?",
    "year": r"(?:19|20)\d{2}",
    "month": r"\d{2}",
    "day": r"\d{2}",
    "doy": r"\d{3}",
    "start": r"(?:19|20)\d{2}(?:[-_]?\d{2}){0,2}",
    "end": r"(?:19|20)\d{2}(?:[-_]?\d{2}){0,2}",
}
"""Field of a pattern → regular expression; `doy` is the day of the year, `start` and `end` are the
first and last day, month or year of a span."""

_NEEDED = (
    *(("month", "year"), ("doy", "year"), ("day", "month"), ("day", "year")),
    *(("start", "end"), ("end", "start")),
)
"""Field of a pattern, and another one without which it says no time."""

_DATE = re.compile(
    r"(?<!\d)(\d{4})([-_]?)(\d{2})\2(\d{2})(?:[T_-]?(\d{2}):?(\d{2}):?(\d{2}))?(?!\d)"
)
_DAY_OF_YEAR = re.compile(r"(?:(?<=\.A)|(?<=doy))(\d{4})(\d{3})(?!\d)")
# Products whose names begin with the time of acquisition and go on with that of processing.
_PRODUCT = re.compile(r"(?:^|[_/.])(?:L[CEMOT]0[4-9]|S[1-6][A-D]|M[OYC]D\d\d|V(?:NP|J1)\d\d|HLS)")


def find_date(name: str) -> datetime | None:
    """Find the date, and the time of day after it, in a name.

    Returns:
        The time, UTC; None where there is no date between 1900 and 2099.

    Raises:
        InputError: The name holds two dates more than a day apart, and is no known product's.

    >>> find_date("S2B_20230514T101031_N0509").isoformat()
    '2023-05-14T10:10:31+00:00'
    >>> find_date("tile_2020-09-13").isoformat()
    '2020-09-13T00:00:00+00:00'
    """
    if match := _DAY_OF_YEAR.search(name):
        return _day_of_year(*match.groups())
    times = [time for match in _DATE.finditer(name) if (time := _time_of_match(match))]
    if times and not _PRODUCT.search(name) and max(times) - min(times) > _DAY:
        days = sorted(f"{time:%Y-%m-%d}" for time in times)
        raise InputError(
            f"{name} holds two dates, {days[0]} and {days[-1]}: say which counts by "
            "scenes.pattern, such as {scene}_{start}_{end}.tif for a span, or by scenes.date"
        )
    return times[0] if times else None


def _time_of_match(match: re.Match[str]) -> datetime | None:
    year, _, month, day, *clock = match.groups()
    for hour, minute, second in ([int(digits or "0") for digits in clock], (0, 0, 0)):
        try:
            time = datetime(int(year), int(month), int(day), hour, minute, second, tzinfo=UTC)
        except ValueError:
            continue
        if time.year in _YEARS:
            return time
    return None


def _day_of_year(year: str, day: str) -> datetime | None:
    time = datetime(int(year), 1, 1, tzinfo=UTC) + timedelta(days=int(day) - 1)
    return time if time.year == int(year) and time.year in _YEARS else None


def time_of_fields(fields: Mapping[str, str], name: str) -> datetime | None:
    """Return the time that fields of a pattern give together.

    Args:
        fields: Field, see TIME_FIELDS, → text.
        name: What they belong to, for messages.

    Returns:
        The time; None where there is no field.

    Raises:
        InputError: A field is no date, or two contradict each other.
    """
    texts = {field: fields[field] for field in TIME_FIELDS if fields.get(field)}
    if not texts:
        return None
    description = ", ".join(f"{field} {text}" for field, text in texts.items())
    missing = [other for field, other in _NEEDED if field in texts and other not in texts]
    if missing:
        raise InputError(
            f"{name} has {description} without a {missing[0]}: "
            f"add {{{missing[0]}}} to scenes.pattern"
        )
    spans = [_span_of_field(texts, field) for field in texts if field in ("date", "start", "end")]
    if "year" in texts:
        spans.append(_span_of_parts(texts))
    valid_spans = [span for span in spans if span]
    start = max((first for first, _ in valid_spans), default=datetime.max.replace(tzinfo=UTC))
    if len(valid_spans) < len(spans) or not all(_holds(span, start) for span in valid_spans):
        raise InputError(
            f"{name} has {description}, which is no date: mend its name or scenes.pattern"
        )
    return middle(start, min(last for _, last in valid_spans))


def _holds(span: Span, time: datetime) -> bool:
    first, last = span
    return first <= time < last or first == time == last


def _span_of_field(texts: Mapping[str, str], field: str) -> Span | None:
    # A start is open to the future, an end to the past.
    if field == "date":
        match = _DATE.fullmatch(texts[field])
        time = _time_of_match(match) if match else None
        is_moment = bool(match and match[5])
        return (time, time if is_moment else time + _DAY) if time else None
    digits = re.sub(r"\D", "", texts[field])
    span = parse_span("-".join(filter(None, (digits[:4], digits[4:6], digits[6:]))))
    if span is None:
        return None
    far = timedelta(days=366 * 200)
    return (span[0], span[0] + far) if field == "start" else (span[1] - far, span[1])


def _span_of_parts(texts: Mapping[str, str]) -> Span | None:
    if "doy" in texts:
        day = _day_of_year(texts["year"], texts["doy"])
        return (day, day + _DAY) if day else None
    return parse_span(
        "-".join(texts[field] for field in ("year", "month", "day") if field in texts)
    )


def middle(start: datetime, end: datetime) -> datetime:
    """Return the middle of a span; of a day without a time of day, its midnight.

    >>> middle(*parse_span("2020-05-02")).isoformat(), middle(*parse_span("2020")).isoformat()
    ('2020-05-02T00:00:00+00:00', '2020-07-02T00:00:00+00:00')
    """
    is_day = end - start == _DAY and start == start.replace(hour=0, minute=0, second=0)
    return start if is_day else start + (end - start) / 2


def parse_span(text: str) -> Span | None:
    """Parse a year, month, day or moment as ISO 8601 writes it; what has no zone is UTC.

    Returns:
        Its start and end; None where it is none of these, or not between 1900 and 2099.

    >>> start, end = parse_span("2020-02")
    >>> start.isoformat(), end.isoformat()
    ('2020-02-01T00:00:00+00:00', '2020-03-01T00:00:00+00:00')
    """
    try:
        if re.fullmatch(r"\d{4}", text):
            span = datetime(int(text), 1, 1), datetime(int(text) + 1, 1, 1)
        elif re.fullmatch(r"\d{4}-\d\d", text):
            start = datetime.fromisoformat(f"{text}-01")
            span = start, (start + timedelta(days=31)).replace(day=1)
        elif re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            start = datetime.fromisoformat(text)
            span = start, start + _DAY
        else:
            moment = datetime.fromisoformat(text.upper())
            span = moment, moment
        first, last = (
            time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC) for time in span
        )
    except (OverflowError, ValueError):
        return None
    return (first, last) if first.year in _YEARS else None


def parse_time(text: str) -> datetime | None:
    """Return the time that a run file says: a year, month or day, or a span `FIRST/LAST` of them.

    Returns:
        The middle of its span; None where it is no such thing.
    """
    first, _, last = text.partition("/")
    start, end = parse_span(first), parse_span(last or first)
    return middle(start[0], end[1]) if start and end and start[0] < end[1] else None
