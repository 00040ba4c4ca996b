"""Results on standard output: JSON and aligned tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def print_json(result: Any) -> None:
    """Print a result as indented JSON, values without a JSON form as text."""
    print(json.dumps(result, indent=1, default=str))


def print_frame(frame: pd.DataFrame, **options: Any) -> None:
    """Print a table without its index.

    Args:
        frame: the table.
        options: options of `pandas.DataFrame.to_string`.
    """
    print(frame.to_string(index=False, float_format=format_number, **options))


def format_number(number: float) -> str:
    """Return a number in digits: large ones, such as m², in groups of three without exponent."""
    return f"{number:,.1f}" if abs(number) >= 1000 else f"{number:.6g}"
