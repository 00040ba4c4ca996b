"""Whether a scene belongs to a period, as the plan of blocks decides it."""

from __future__ import annotations

import numpy as np

from lulc.chips.plan import period_limits
from lulc.config import Period
from lulc.sources.scene import Scene
from lulc.sources.scenes_table import moment_of


def is_in_period(scene: Scene, period: Period, longitude: float) -> bool:
    """Return whether a scene's solar day at a longitude is in a period."""
    if scene.datetime is None:
        return True
    first, end = period_limits(period, np.array([longitude]))
    return bool(first[0] <= moment_of(scene.datetime) < end[0])
