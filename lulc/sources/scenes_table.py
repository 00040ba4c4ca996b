"""The scenes table: its metadata of GeoParquet, and keys of items that are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence


def shorten(names: Sequence[str], limit: int = 3) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def with_distinct_keys(errors: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield (key, error) of bad items; a key that occurs again gets a number.

    Items of two archives may have one name; each is a bad input of its own.
    """
    occurrences: Counter[str] = Counter()
    for key, error in errors:
        occurrences[key] += 1
        number = occurrences[key]
        yield (key if number == 1 else f"{key} ({number})"), error
