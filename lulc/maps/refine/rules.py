"""Rules of the run file, `lulc.rules`, applied to a map."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lulc.legend import NODATA
from lulc.rules import Rule

_OPERATORS: dict[str, Callable[..., np.ndarray]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def apply_rules(
    classes: np.ndarray,
    confidence: np.ndarray,
    rules: Sequence[Rule],
    ids: Mapping[str, int],
    read_layer: Callable[[str], tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Return the classes that rules make.

    Args:
        classes: (H, W) uint8 legend ids, 255 where there is none: no rule is for those.
        confidence: (H, W) uint8 percent, 255 where it is not known: no condition on it holds.
        rules: in their order.
        ids: id of each class by its name.
        read_layer: returns the values (H, W) of a layer by its name, and where it has one;
            where it has none, no condition on it holds.

    Returns:
        (H, W) uint8.
    """
    classes = classes.copy()
    for rule in rules:
        holds = classes != NODATA
        for condition in rule.conditions:
            compare = _OPERATORS[condition.operator]
            if condition.subject == "class":
                holds &= compare(classes, ids[str(condition.value)])
            elif condition.layer is None:
                # Of hundredths, so that 0.3 is 30 per cent and no digit less.
                limit = round(float(condition.value) * 100, 6)
                holds &= (confidence != NODATA) & compare(confidence, limit)
            else:
                values, valid = read_layer(condition.layer)
                holds &= valid & compare(values, condition.value)
        classes[holds] = ids[rule.target]
    return classes
