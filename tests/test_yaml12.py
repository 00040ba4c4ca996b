"""YAML 1.2: nothing is read as what no one wrote, and what is written is read back."""

from __future__ import annotations

import re
from datetime import date

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from lulc.errors import UsageError
from lulc.yaml12 import dump_yaml, parse_yaml

WORDS = [
    "yes", "no", "on", "off", "y", "N", "true", "null", "~", "NA", "None", "nan", "NaN", ".nan",
    ".inf", "010", "-007", "0o17", "0x1F", "0b1", "1_000", "1:30", "190:20:30", "1e3", "1E-3", "1.",
    ".5", "+1", "00.5", "2020-01-01", "2020-01-01T00:00:00Z", "<<", "=", "-", "?", "!", "@", "%",
]  # fmt: skip


def test_only_numbers_true_false_and_null_are_no_texts() -> None:
    text = "[yes, No, on, OFF, y, 1:30, 1_000, 2020-01-01, 0b1, None, NA, nan]"
    assert parse_yaml(text, "f") == text[1:-1].split(", ")
    assert parse_yaml("[True, false, ~, null, 0, -12, 0x1F, 0o17]", "f") == [
        True, False, None, None, 0, -12, 31, 15,
    ]  # fmt: skip
    assert parse_yaml("[1e3, 1e-3, 1., .5, -0.25E2, .inf]", "f") == [
        1000, 0.001, 1, 0.5, -25, float("inf"),
    ]  # fmt: skip


@pytest.mark.parametrize("number", ["010", "-007", "00", "+08"])
def test_a_number_that_begins_with_0_is_asked_for(number: str) -> None:
    with pytest.raises(
        UsageError, match=rf"run file a line 2, column 4 is {re.escape(number)}: write"
    ):
        parse_yaml(f"a: 1\nb: {number}\n", "run file a")
    assert parse_yaml(f"b: '{number}'", "run file a") == {"b": number}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1 repeats key 'a' of line 1"),
        ("legend:\n  1: x\n  2: y\n  0x1: z", "line 4, column 3 repeats key '0x1' of line 2"),
        ("{1: x, true: y}", "repeats key 'true'"),
        ("a: {'b': 1, b: 2}", "repeats key 'b'"),
        ("? [1]\n: 2", "a list or mapping"),
        ("a:\n\tb: 1", "line 2, column 1 is not YAML.*with blanks, not with tabs"),
        ("a: [1", "line 1"),
        ("--- 1\n--- 2", "another document"),
        ("a: &x [*x]", "holds itself"),
        ("a: !!python/object/apply:os.system [ls]", "has the tag"),
        ("a: !!bool yes", "has the tag"),
        ("a: !!int '010'", "has the tag"),
        ("[" * 5000, "nested too deep"),
        ("a: \x00", "control characters"),
    ],
)
def test_faults_are_named_with_their_line(text: str, fault: str) -> None:
    with pytest.raises(UsageError, match=f"run file a.*{fault}"):
        parse_yaml(text, "run file a")


def test_texts_in_other_encodings_are_read_or_refused() -> None:
    text = "a: ü\r\nb: 1\r\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert parse_yaml(text.encode(encoding), "f") == {"a": "ü", "b": 1}
    with pytest.raises(UsageError, match="not UTF-8"):
        parse_yaml(text.encode("latin-1"), "f")


def test_anchors_and_merges_are_read_and_bounded() -> None:
    text = "a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}"
    assert parse_yaml(text, "f") == {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}}
    for first, again in (("[x, x]", "[{}]"), ("{x: 1}", "{{<<: [{}]}}")):
        lines = [f"a0: &a0 {first}"]
        for number in range(1, 12):
            names = ", ".join([f"*a{number - 1}"] * 9)
            lines.append(f"a{number}: &a{number} {again.format(names)}")
        with pytest.raises(UsageError, match="values by its aliases"):
            parse_yaml("\n".join(lines), "f")


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.sampled_from(WORDS),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"])),
)
KEYS = st.one_of(st.sampled_from(WORDS), st.text(max_size=5), st.integers(2))


@example({"\x85": None, "a": "b\u2028 c\x85"})
@given(
    st.recursive(
        SCALARS,
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(KEYS, inner)),
        max_leaves=9,
    )
)
def test_what_is_written_is_read_back(value: object) -> None:
    text = dump_yaml(value)
    assert parse_yaml(text, "f") == value
    assert parse_yaml(text.encode(), "f") == value


@pytest.mark.parametrize("word", WORDS)
def test_texts_are_written_so_that_readers_of_yaml_1_1_agree(word: str) -> None:
    assert yaml.safe_load(dump_yaml({word: word})) == {word: word}


def test_days_are_written_as_days() -> None:
    assert parse_yaml(dump_yaml([date(2020, 1, 1)]), "f") == ["2020-01-01"]
