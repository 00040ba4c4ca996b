"""YAML 1.2 (core schema) read and written; what readers of YAML take unlike is refused.

PyYAML reads YAML 1.1, where 010 is 8, 1:30 is 90, `no` is false and the last of two equal keys
wins.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from lulc.errors import UsageError

_TAG = "tag:yaml.org,2002:"
_CORE = {
    _TAG + "null": r"~|null|Null|NULL|",
    _TAG + "bool": r"true|True|TRUE|false|False|FALSE",
    _TAG + "int": r"[-+]?(0|[1-9][0-9]{0,99})|0o[0-7]+|0x[0-9a-fA-F]+",
    _TAG + "float": (
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    ),
}
_LEADING_ZERO = "!leading-zero"
_RESOLVED = {
    **_CORE,
    _LEADING_ZERO: r"[-+]?0[0-9]+",
    _TAG + "merge": "<<",
}
_ACCEPTED_TAGS = {*_CORE, *(_TAG + kind for kind in ("str", "seq", "map", "merge"))}
_MAX_NODES = 200_000
"""Values of a document, those of an alias counted wherever it stands."""


def parse_yaml(content: str | bytes, origin: str) -> Any:
    """Return the value of a YAML document.

    Args:
        content: the document; bytes in UTF-8, or in UTF-16 with its mark.
        origin: what it is, such as `run file a.yaml`, for messages.

    Returns:
        Mappings, lists, texts, numbers, booleans and None; dates are texts.

    Raises:
        UsageError: it is no YAML, a mapping has a key twice, or a number begins with 0.

    Examples:
        >>> parse_yaml("{a: 1e-3, b: no, c: 2020-01-01, d: '010'}", "example")
        {'a': 0.001, 'b': 'no', 'c': '2020-01-01', 'd': '010'}
    """
    try:
        loader = _Loader(content)
        node = loader.get_single_node()
        if node is None:
            return None
        _Check(loader, origin).count(node)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        tab = ": indent with blanks, not with tabs" if "'\\t'" in str(error.problem) else ""
        raise UsageError(f"{origin}{line} is not YAML: {error.problem}{tab}") from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise UsageError(
            f"{origin} is not YAML: its text is not UTF-8, or has control characters ({error})"
        ) from error
    except RecursionError as error:
        raise UsageError(f"{origin} is nested too deep for YAML that a person wrote") from error


def dump_yaml(value: Any) -> str:
    r"""Return a value as YAML that any reader of YAML 1.1 or 1.2 takes for the same value.

    Args:
        value: mappings, sequences, texts, numbers, booleans, dates and None.

    Examples:
        >>> dump_yaml({"a": "1e3", "b": "no", "c": 0.5})
        "a: '1e3'\nb: 'no'\nc: 0.5\n"
    """
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 (PyYAML's own form)


class _Dumper(yaml.SafeDumper):
    # Texts that either version reads as something else are quoted.
    def ignore_aliases(self, _: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # Between single quotes PyYAML folds these ends of lines, and reads them back as blanks.
    style = '"' if re.search("[\x85\u2028\u2029]", text) else None
    return dumper.represent_scalar(_TAG + "str", text, style)


_Dumper.add_representer(str, _represent_text)

for _tag, _pattern in _RESOLVED.items():
    _regex = re.compile(rf"(?:{_pattern})\Z")
    _Loader.add_implicit_resolver(_tag, _regex, None)
    _Dumper.add_implicit_resolver(_tag, _regex, None)


def _construct_int(_: _Loader, node: yaml.ScalarNode) -> int:
    text = node.value
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _construct_float(_: _Loader, node: yaml.ScalarNode) -> float:
    return float(re.sub(r"(?i)\.(?=inf|nan)", "", node.value))


def _construct_merge(_: _Loader, node: yaml.ScalarNode) -> str:
    return str(node.value)


_Loader.add_constructor(_TAG + "int", _construct_int)
_Loader.add_constructor(_TAG + "float", _construct_float)
_Loader.add_constructor(_TAG + "merge", _construct_merge)


class _Check:
    """What YAML allows and a run file must not hold; each fault with its line."""

    def __init__(self, loader: _Loader, origin: str) -> None:
        self._loader = loader
        self._origin = origin
        self._counts: dict[int, int] = {}  # by the identity of a node; 0 while it is counted

    def count(self, node: yaml.Node) -> int:
        """Return the number of values in a node, those of an alias wherever it stands."""
        counted = self._counts.get(id(node))
        if counted is not None:
            if not counted:
                raise self._fault(node, "holds itself by an alias: write it out")
            return counted
        self._counts[id(node)] = 0
        total = 1
        if isinstance(node, yaml.ScalarNode):
            self._check_scalar(node)
        elif isinstance(node, yaml.MappingNode):
            self._check_keys(node)
            total += sum(self.count(key) + self.count(value) for key, value in node.value)
        else:
            total += sum(map(self.count, node.value))
        if node.tag not in _ACCEPTED_TAGS:
            raise self._fault(node, f"has the tag {node.tag}: leave it out")
        if total > _MAX_NODES:
            raise self._fault(node, f"holds more than {_MAX_NODES:,} values by its aliases")
        self._counts[id(node)] = total
        return total

    def _check_scalar(self, node: yaml.ScalarNode) -> None:
        text = node.value
        if node.tag == _LEADING_ZERO:
            number = text.lstrip("+-").lstrip("0") or "0"
            raise self._fault(
                node, f"is {text}: write {number} for the number, '{text}' in quotes for a text"
            )
        pattern = _CORE.get(node.tag)
        if pattern and not re.fullmatch(pattern, text):
            raise self._fault(node, f"has the tag {node.tag}, which {text!r} is not")

    def _check_keys(self, node: yaml.MappingNode) -> None:
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._fault(key, "has a key that is a list or mapping: write a text")
            self._check_scalar(key)
            value = self._loader.construct_object(key)
            line = key.start_mark.line + 1
            if value in lines:
                raise self._fault(
                    key, f"repeats key {key.value!r} of line {lines[value]}: leave one of them out"
                )
            lines[value] = line

    def _fault(self, node: yaml.Node, fault: str) -> UsageError:
        mark = node.start_mark
        return UsageError(f"{self._origin} line {mark.line + 1}, column {mark.column + 1} {fault}")
