"""Results on standard output: JSON and aligned tables."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from lulc.spark.context import StageResult


TEXT_FORMATS = ("table", "markdown", "csv", "json")
"""In which rows of a query can be shown as text."""


def print_json(result: Any) -> None:
    """Print a result as `format_json` writes it."""
    print(format_json(result))


def format_json(result: Any) -> str:
    """Return a result as indented JSON, values without a JSON form as text.

    JSON has no numbers but finite ones (RFC 8259): any other is null.
    """
    return json.dumps(_finite(result), indent=1, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_results(results: Sequence[tuple[str, str]]) -> None:
    """Print names and what they name, one a line."""
    for name, text in results:
        print(f"{name:<11} {text}")


def print_run(
    stage_results: Sequence[StageResult],
    results: Sequence[tuple[str, str]] = (),
    as_json: bool = False,
) -> None:
    """Print what a run made, and as JSON what its stages did.

    Args:
        stage_results: of the stages; without JSON they are shown while they run.
        results: (name, path or command) of what a user opens.
        as_json: print JSON.
    """
    if as_json:
        stage_rows = [asdict(result) for result in stage_results]
        print_json({"stages": stage_rows, "results": dict(results)})
    else:
        print_results(results)


def print_frame(frame: pd.DataFrame, **options: Any) -> None:
    """Print a table without its index.

    Args:
        frame: the table.
        options: options of `pandas.DataFrame.to_string`.
    """
    print(format_frame(frame, **options))


def format_frame(frame: pd.DataFrame, **options: Any) -> str:
    """Return a table as text without its index; options are those of `to_string`."""
    text: str = frame.to_string(index=False, float_format=format_number, **options)
    return text


def format_number(number: float) -> str:
    """Return a number in digits: large ones, such as m², in groups of three without exponent."""
    return f"{number:,.1f}" if abs(number) >= 1000 else f"{number:.6g}"
