"""What is wrong with a query, in one sentence with the nearest names; Spark adds its whole plan."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence

from pyspark.errors import (
    AnalysisException,
    IllegalArgumentException,
    ParseException,
    PySparkTypeError,
)

from lulc.errors import UsageError
from lulc.spark.queries import rules

_PLACE = re.compile(r"\bline (\d+),? pos (\d+)")


def explain_query(
    error: Exception, views: Sequence[str], functions: Callable[[], Iterable[str]]
) -> UsageError | None:
    """Return what is wrong with a query.

    Args:
        error: what Spark raised.
        views: that a query may name.
        functions: gives the names of the functions that a query may call.

    Returns:
        The error to raise; None where the query is not to blame.
    """
    if refusal := rules.refusal(error):
        return UsageError(f"{refusal}: {rules.ALLOWED}")
    if fault := rules.fault_of_query(error):
        return UsageError(f"the query fails on its values: {fault}")
    if "java.lang.OutOfMemoryError" in str(error):
        return UsageError("the query asks for more memory than there is: ask for less at a time")
    if isinstance(error, PySparkTypeError):
        return UsageError(
            f"a column of the result cannot be read, cast it to another type: {error}"
        )
    if isinstance(error, AnalysisException | ParseException | IllegalArgumentException):
        place = _PLACE.search(str(error))
        where = f" (line {place[1]}, position {int(place[2]) + 1})" if place else ""
        hint = _nearest(error, views, functions)
        return UsageError(f"the query cannot be understood{where}: {_sentence(error)}{hint}")
    return None


def _sentence(error: Exception) -> str:
    # Behind it Spark shows the plan, or the text; and tells to look at schemas and catalogues.
    line = str(error).strip().partition("\n")[0].partition(" SQLSTATE:")[0]
    return line.partition(" Verify the spelling")[0].rstrip(".; ")


def _nearest(
    error: AnalysisException | ParseException | IllegalArgumentException,
    views: Sequence[str],
    functions: Callable[[], Iterable[str]],
) -> str:
    # Of columns Spark tells them itself.
    condition, names = error.getCondition() or "", error.getMessageParameters() or {}
    if condition.startswith("TABLE_OR_VIEW_NOT_FOUND"):
        name, known, others = names["relationName"], views, f"; there are {', '.join(views)}"
    elif condition.startswith("UNRESOLVED_ROUTINE"):
        name, known, others = names["routineName"], list(functions()), ""
    else:
        return ""
    near = difflib.get_close_matches(name.replace("`", "").lower(), known, 3)
    return f"; did you mean {', '.join(near)}?" if near else others
