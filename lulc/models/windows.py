"""Windows of one size, in which a network with positions sees an image, and what is kept of them.

No torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator


def fixed_windows(core: slice, length: int, window: int) -> Iterator[tuple[slice, slice]]:
    """Yield the windows of one size of the core of one axis.

    The middle half of a window is kept; of one that would reach beyond the axis, and is moved
    inwards, all that it alone has.

    Args:
        core: what is to be mapped.
        length: of the axis in pixels.
        window: pixels that go into the network; all of a shorter axis do.

    Yields:
        (computed, target), as `axis_windows`.
    """
    step, last = kept_side(window), max(0, length - window)

    def first_of(start: int) -> int:
        return min(max(0, start - (window - step) // 2), last)

    for first, group in itertools.groupby(range(core.start, core.stop, step), first_of):
        starts = list(group)
        target = slice(starts[0], min(starts[-1] + step, core.stop))
        yield slice(first, min(first + window, length)), target


def kept_side(window: int) -> int:
    """Return the side of what is kept of a window of fixed size."""
    return max(1, window // 2)
