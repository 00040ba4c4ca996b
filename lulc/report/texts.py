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

_DECIMALS = 3  # at most

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

    def counted(self, key: str, number: int) -> str:
        """Return how many there are of something: `1 region`, `2 regions`."""
        return self(f"{key}_one" if number == 1 else key, count=self.count(number))

    def number(self, number: float, of: float | None = None, sign: bool = False) -> str:
        """Return a number with three digits, all those of a whole number, three decimals at most.

        Args:
            number: such as an area in km².
            of: another number, whose decimals this one has, as an interval has its estimate's.
            sign: whether a number over zero has its sign.
        """
        size = abs(number if of is None else of)
        power = int(f"{size:.2e}".partition("e")[2])  # of the first digit, after rounding
        decimals = min(max(2 - power, 0), _DECIMALS)
        if of is None and size < 0.5 * 10**-_DECIMALS:
            is_some = number > 0 and not sign
            return f"< {self._write(10**-_DECIMALS, _DECIMALS)}" if is_some else "0"
        return self._write(number, decimals, sign)

    def per_cent(self, share: float | None, sign: bool = False) -> str:
        """Return a share (0–1), or a change with its sign, in per cent; nothing if not known."""
        if share is None or math.isnan(share):
            return ""
        if 0 < share < 0.0005 and not sign:
            return self("per_cent", number=f"< {self._write(0.1, 1)}")
        return self("per_cent", number=self._write(100 * share, 1, sign))

    def share(self, share: float | None) -> str:
        """Return a share (0–1) with three decimals; a dash where it is not known."""
        return "–" if share is None or math.isnan(share) else self._mark(f"{share:.3f}")

    def _write(self, number: float, decimals: int, sign: bool = False) -> str:
        # Adding zero takes the sign from a zero, which would read as a small loss.
        rounded = round(number, decimals) + 0.0
        text = f"{rounded:{'+' if sign and rounded else ''},.{decimals}f}"
        return self._mark(text).replace("-", "−")

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
