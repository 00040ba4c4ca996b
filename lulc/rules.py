"""Rules of the run file: `where class = crops and layer(slope) > 30 then grass`.

A rule is `where CONDITION [and CONDITION …] then CLASS`. A condition is one of

    class = NAME            class != NAME
    confidence < 0.5        0 to 1, as all of < <= > >= = !=
    layer(NAME) > 30        the value of a layer, which `refine.layers` names

A name with blanks may stand in quotes. Rules are applied in their order, each to what those before
it made.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from lulc.errors import UsageError

_RULE = re.compile(r"\s*where\s+(?P<conditions>.+)\s+then\s+(?P<target>.+?)\s*", re.DOTALL)
_AND = re.compile(r"\s+and\s+(?=(?:class|confidence|layer\s*\())")
_CONDITION = re.compile(
    r"(?P<subject>class|confidence|layer\s*\(\s*(?P<layer>[\w-]+)\s*\))\s*"
    r"(?P<operator><=|>=|!=|=|<|>)\s*(?P<value>.+)"
)


@dataclass(frozen=True)
class Condition:
    """A comparison of what a pixel has."""

    subject: str
    """`class`, `confidence`, or `layer`."""
    layer: str | None
    """Name of the layer."""
    operator: str
    value: str | float
    """Name of a class, or a number."""


@dataclass(frozen=True)
class Rule:
    """Which pixels become which class."""

    conditions: tuple[Condition, ...]
    target: str
    """Name of the class."""


def parse_rule(text: str, classes: Collection[str], layers: Collection[str]) -> Rule:
    """Return the rule that a text says.

    Args:
        text: as the run file has it.
        classes: names of the legend.
        layers: names of the layers.

    Raises:
        UsageError: it is no rule, or names a class or layer that is not there.

    Examples:
        >>> parse_rule("where class = crops and layer(slope) > 30 then grass",
        ...            ["crops", "grass"], ["slope"]).target
        'grass'
    """
    found = _RULE.fullmatch(text)
    if found is None:
        raise UsageError(
            f"rule {text!r} must read as `where class = crops and layer(slope) > 30 then grass`"
        )
    conditions = tuple(
        _parse_condition(part, text, classes, layers) for part in _AND.split(found["conditions"])
    )
    return Rule(conditions, _class_of(found["target"], text, classes))


def _parse_condition(
    part: str, rule: str, classes: Collection[str], layers: Collection[str]
) -> Condition:
    found = _CONDITION.fullmatch(part.strip())
    if found is None:
        raise UsageError(
            f"rule {rule!r} has {part!r}: a condition is `class = NAME`, `confidence < 0.5` or "
            "`layer(NAME) > 30`, joined by `and`"
        )
    subject, layer, value = found["subject"], found["layer"], found["value"]
    if subject == "class":
        if found["operator"] not in ("=", "!="):
            raise UsageError(f"rule {rule!r}: a class is compared by = or !=")
        return Condition("class", None, found["operator"], _class_of(value, rule, classes))
    if layer is not None and layer not in layers:
        raise UsageError(f"rule {rule!r}: layer {layer!r} is none of refine.layers {list(layers)}")
    try:
        number = float(value)
    except ValueError:
        raise UsageError(f"rule {rule!r}: {value!r} is no number") from None
    return Condition("layer" if layer else subject, layer, found["operator"], number)


def _class_of(text: str, rule: str, classes: Collection[str]) -> str:
    name = text.strip().strip("'\"")
    if name not in classes:
        raise UsageError(f"rule {rule!r}: class {name!r} is none of {', '.join(classes)}")
    return name
