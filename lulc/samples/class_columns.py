"""Classes of polygons and points: what their column says, as ids of the legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lulc.config import LabelConf
from lulc.errors import InputError, UsageError
from lulc.legend import NODATA, Legend, name_key

_NOT_RELEVANT = ("", "0", "8")  # LUCAS: 8 is "not relevant"


def check_crosswalk(labels: LabelConf, legend: Legend) -> None:
    """Check that a crosswalk leads to classes of the legend.

    Raises:
        UsageError: an id is not in the legend.
    """
    outside = {k: v for k, v in labels.crosswalk.items() if v not in legend.ids}
    if outside:
        raise UsageError(
            f"labels.crosswalk {outside} leads to ids that are not in the legend: "
            f"it has {list(legend.ids)}"
        )


def column_classes(
    texts: Sequence[str], column: str, labels: LabelConf, legend: Legend
) -> np.ndarray:
    """Return the classes that the texts of a column mean.

    By crosswalk, then id, then the class's name. Empty and ignored texts have no class.

    Args:
        texts: of N polygons or points.
        column: its name, for messages.
        labels: what codes mean.
        legend: the classes.

    Returns:
        (N,) uint8 legend ids, 255 without a class.

    Raises:
        InputError: a text means nothing.
    """
    ids = {name_key(c.name): c.id for c in legend.classes} | {str(i): i for i in legend.ids}
    codes = {name_key(str(code)): class_id for code, class_id in labels.crosswalk.items()}
    codes |= {name_key(str(code)): NODATA for code in labels.ignore}
    ids |= codes | {"": NODATA}
    class_of = {text: ids.get(name_key(text)) for text in set(texts)}
    if labels.points and labels.points.layout == "lucas":
        class_of = {text: _lucas_class(text, codes) for text in class_of}
    unknown = sorted({name_key(text) for text, class_id in class_of.items() if class_id is None})
    if unknown:
        raise InputError(
            f"labels {labels.path}: values {unknown} of column {column!r} have no class "
            f"in legend {legend.name!r} (classes {[f'{c.id} {c.name}' for c in legend.classes]}): "
            "add them to labels.crosswalk or to labels.ignore"
        )
    return np.array([class_of[text] for text in texts], np.uint8)


def _lucas_class(text: str, codes: dict[str, int]) -> int | None:
    # Codes are nested, B, B1 and B11; some files write `B11 - Common wheat`.
    code = name_key(text.partition(" ")[0])
    if code in _NOT_RELEVANT:
        return NODATA
    return next((codes[code[:n]] for n in range(len(code), 0, -1) if code[:n] in codes), None)
