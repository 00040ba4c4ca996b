"""Arithmetic of bands, such as `(nir - red) / (nir + red)`: read without running any code."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lulc.errors import UsageError

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_MAX_LENGTH = 1000
_MAX_DEPTH = 50
_MAX_NUMBER = 1e300


def bands_of(formula: str) -> tuple[str, ...]:
    """Return the bands that a formula names, each once, in their order.

    Raises:
        UsageError: the formula is none: it has more than names of bands, numbers, `+ - * / **` and
            brackets.

    Examples:
        >>> bands_of("(nir - red) / (nir + red)")
        ('nir', 'red')
    """
    tree = _parse(formula)
    # In order of their place: `ast.walk` goes by depth.
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return tuple(dict.fromkeys(n.id for n in sorted(names, key=lambda n: n.col_offset)))


def rename(formula: str, names: Mapping[str, str]) -> str:
    """Return a formula with other names of its bands.

    Examples:
        >>> rename("nir / red", {"nir": "nir08"})
        'nir08 / red'
    """
    tree = _parse(formula)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
    return ast.unparse(tree)


def evaluate(formula: str, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the value of a formula.

    Args:
        formula: see `bands_of`.
        values: name of a band → its physical values, float64, all of one shape.

    Returns:
        float64, of that shape; not finite where a divisor is 0.
    """
    with np.errstate(all="ignore"):
        return np.asarray(_value(_parse(formula), values), np.float64)


def _value(node: ast.expr, values: Mapping[str, np.ndarray]) -> Any:
    match node:
        case ast.Name():
            return values[node.id]
        case ast.Constant():
            return node.value
        case ast.UnaryOp():
            return _OPERATORS[type(node.op)](_value(node.operand, values))
        case ast.BinOp():
            left, right = _value(node.left, values), _value(node.right, values)
            # Of numbers alone Python would refuse what numpy calls infinite.
            return _OPERATORS[type(node.op)](np.float64(left), np.float64(right))
    raise AssertionError(node)


def _parse(formula: str) -> ast.expr:
    refused = UsageError(
        f"{formula[:_MAX_LENGTH]!r} is no formula of bands: write names of bands, numbers, "
        "+ - * / ** and brackets, as in (nir - red) / (nir + red)"
    )
    if len(formula) > _MAX_LENGTH or "#" in formula:  # Python leaves out what follows it
        raise refused
    try:
        tree = ast.parse(formula.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise refused from error
    if not _is_arithmetic(tree, _MAX_DEPTH):
        raise refused
    if not any(isinstance(node, ast.Name) for node in ast.walk(tree)):
        raise refused
    return tree


def _is_arithmetic(node: ast.expr, depth: int) -> bool:
    match node:
        case ast.Name():
            return True
        case ast.Constant():
            value = node.value
            is_bool = isinstance(value, bool)
            return not is_bool and isinstance(value, int | float) and value <= _MAX_NUMBER
        case ast.UnaryOp():
            parts = [node.operand]
        case ast.BinOp():
            parts = [node.left, node.right]
        case _:
            return False
    is_known = type(node.op) in _OPERATORS and depth > 0
    return is_known and all(_is_arithmetic(part, depth - 1) for part in parts)
