"""The texts and numbers of the report in one language."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lulc.errors import InputError, UsageError
from lulc.location import parse_location
from lulc.yaml12 import parse_yaml

_NOTHING = 0.0005  # what three decimals do not show

ENGLISH = Path(__file__).parent / "page" / "english.yaml"


@dataclass(frozen=True)
class Texts:
    """The texts of the page by key; numbers with the marks of their language."""

    entries: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """Return a text, its braces filled in."""
        return self.entries[key].format(**values)

    def count(self, number: int) -> str:
        """Return a whole number."""
        return self._mark(f"{number:,}")

    def number(self, number: float) -> str:
        """Return a number as tables have it."""
        return self._mark(f"{number:,.1f}" if abs(number) >= 100 else f"{number:,.3f}")

    def short(self, number: float, of: float | None = None) -> str:
        """Return a number with about three digits; with those that another number has."""
        size = abs(number if of is None else of)
        if of is None and size < _NOTHING:
            return "0"
        decimals = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
        return self._mark(f"{number:,.{decimals}f}")

    def per_cent(self, share: float | None) -> str:
        """Return a share (0–1) in per cent; nothing where it is not known."""
        if share is None or math.isnan(share):
            return ""
        return self("per_cent", number=self._mark(f"{100 * share:.1f}"))

    def signed_per_cent(self, share: float) -> str:
        """Return a change (0–1) in per cent, with its sign."""
        return self("per_cent", number=self._mark(f"{100 * share:+.1f}"))

    def share(self, share: float | None) -> str:
        """Return a share (0–1) with three decimals; a dash where it is not known."""
        return "–" if share is None or math.isnan(share) else self._mark(f"{share:.3f}")

    def _mark(self, text: str) -> str:
        marks = (self.entries["thousands_mark"], self.entries["decimal_mark"])
        return text.translate(dict(zip(map(ord, ",."), marks, strict=True)))


def read_texts(path: str | None = None) -> Texts:
    """Read the texts of the page.

    Args:
        path: a copy of english.yaml in another language; None for English.

    Raises:
        UsageError: the file is not there or is no mapping in YAML.
        InputError: a text is missing, unknown, or has other words in braces; names its key.
    """
    english = _read(str(ENGLISH))
    if path is None:
        return Texts(english)
    entries = _read(path)
    for key, text in english.items():
        if key not in entries:
            raise InputError(f"{path} lacks the text {key!r}, in English {text!r}: add it")
        if _fields(entries[key]) != _fields(text):
            raise InputError(
                f"{path}: text {key!r} must have the same words in braces as the English one, "
                f"{text!r} (found {entries[key]!r})"
            )
    if unknown := sorted(entries.keys() - english.keys()):
        raise InputError(
            f"{path} has the text {unknown[0]!r}, which the report does not: remove it"
        )
    return Texts(entries)


def _read(path: str) -> dict[str, str]:
    try:
        raw = parse_yaml(parse_location(path).read_bytes(), f"texts {path}")
    except OSError as error:
        raise UsageError(f"about.texts {path} cannot be read: {error.strerror}") from error
    if not isinstance(raw, dict):
        raise UsageError(f"about.texts {path} must be a mapping of keys to texts")
    return {str(key): str(text) for key, text in raw.items() if text is not None}


def _fields(text: str) -> set[str]:
    # What is in braces; that of a text with a brace too many is no set of names.
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        return {text}
    return {f"{name}!{how}:{form}" for _, name, form, how in parts if name is not None}
