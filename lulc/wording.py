"""Counts and shares as sentences tell them."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return how many there are of something.

    Args:
        number: how many.
        noun: what one is called; words before it may say more, as in `repeated scene`.
        plural: what several are called; the noun with an s by default.

    Examples:
        >>> counted(1, "scene"), counted(1234, "scene"), counted(0, "box", "boxes")
        ('1 scene', '1,234 scenes', '0 boxes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def per_cent(share: float) -> str:
    """Return a share (0–1) in per cent, as the report writes it.

    Examples:
        >>> per_cent(0.0613), per_cent(-0.0001)
        ('6.1 %', '0.0 %')
    """
    return f"{round(100 * share, 1) + 0.0:.1f} %"
