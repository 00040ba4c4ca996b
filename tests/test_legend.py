"""Ids and names of a legend are one to one; a crosswalk leads each code to one class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lulc import runfile
from lulc.errors import InputError, UsageError
from lulc.legend import LandClass, Legend, name_key
from lulc.models.contract import read_contract

GREY = "#888888"
RUN: dict[str, Any] = {"name": "t", "scenes": [{"path": "."}], "bands": ["red"]}


def make(*classes: tuple[Any, str]) -> Legend:
    return Legend("l", tuple(LandClass(class_id, name, GREY) for class_id, name in classes))


@pytest.mark.parametrize("again", ["other", "Other ", "OTHER", " other"])
def test_a_name_stands_for_one_class(again: str) -> None:
    with pytest.raises(UsageError, match=rf"names class 5 '{again}' and class 2 'other'"):
        make((2, "other"), (5, again))


def test_names_that_look_alike_are_one_name() -> None:
    with pytest.raises(UsageError, match="a name stands for one class"):
        make((1, "caf\u00e9"), (2, "cafe\u0301"))
    with pytest.raises(UsageError, match="a name stands for one class"):
        make((1, "bare ground"), (2, "Bare\u00a0 ground"))


@pytest.mark.parametrize("name", ["1", " 1 ", "01", "1.0", "7", "-2"])
def test_a_name_is_no_other_id(name: str) -> None:
    with pytest.raises(UsageError, match=r"names class 2 .* which reads as an id"):
        make((1, "water"), (2, name))


def test_a_name_may_be_its_own_id_or_hold_a_number() -> None:
    assert make((1, "1"), (2, "zone 1"), (3, "1a")).names[1] == "1"
    with pytest.raises(UsageError, match="names class 1 ' ': give it a name"):
        make((1, " "))


@pytest.mark.parametrize("ids", [(1, 1), (-1,), (255,), (True,), (1.0,), ("1",), ()])
def test_ids_are_distinct_whole_numbers_that_a_raster_can_hold(ids: tuple[Any, ...]) -> None:
    with pytest.raises(UsageError, match="distinct whole numbers from 0 to 254"):
        make(*((class_id, f"class {n}") for n, class_id in enumerate(ids)))


@pytest.mark.parametrize("class_id", [0, 7, 254])
def test_a_legend_of_one_class_is_a_legend(class_id: int) -> None:
    legend = make((class_id, "ships"))
    index, back = legend.to_index(), legend.to_id()
    assert index[class_id] == 0
    assert back[0] == class_id
    assert (np.delete(index, class_id) == 255).all()


def test_the_legend_of_a_run_file_and_of_a_model_is_held_to_it(tmp_path: Path) -> None:
    twice = {2: {"name": "other", "colour": GREY}, 5: {"name": "Other", "colour": GREY}}
    with pytest.raises(UsageError, match="names class 5 'Other' and class 2 'other'"):
        runfile.parse_run({**RUN, "legend": twice}, tmp_path)
    classes = (
        '[{"id": 2, "name": "a", "colour": "#888888"}, {"id": 3, "name": "A", "colour": "#888888"}]'
    )
    path = tmp_path / "contract.json"
    path.write_text(f'{{"legend": {{"name": "m", "classes": {classes}}}}}')
    with pytest.raises(InputError, match=r"contract\.json.*names class 3 'A' and class 2 'a'"):
        read_contract(path)


@pytest.mark.parametrize(
    ("column", "crosswalk", "ignore", "message"),
    [
        ("kind", {"Water": 1, "water ": 2}, [], "codes 'Water' and 'water ' are one"),
        ("kind", {11: 1, "11": 2}, [], "codes 11 and '11' are one"),
        ("kind", {"lake": 1}, ["LAKE"], "lead to 1 and to no label"),
        (None, {11: 1, "011": 2}, [], "codes 11 and '011' are one"),
    ],
)
def test_a_code_leads_to_one_class(
    tmp_path: Path, column: str | None, crosswalk: dict[Any, int], ignore: list[Any], message: str
) -> None:
    legend = {1: {"name": "water", "colour": GREY}, 2: {"name": "land", "colour": GREY}}
    labels = {"path": "a", "column": column, "crosswalk": crosswalk, "ignore": ignore}
    with pytest.raises(UsageError, match=message):
        runfile.parse_run({**RUN, "legend": legend, "labels": labels}, tmp_path)


def test_texts_that_differ_by_a_leading_zero_are_two_codes(tmp_path: Path) -> None:
    legend = {1: {"name": "water", "colour": GREY}, 2: {"name": "land", "colour": GREY}}
    labels = {"path": "a.gpkg", "column": "code", "crosswalk": {"011": 1, "11": 2}}
    config = runfile.parse_run({**RUN, "legend": legend, "labels": labels}, tmp_path)
    assert config.labels is not None
    assert config.labels.crosswalk == {"011": 1, "11": 2}


@given(st.text())
def test_the_key_of_a_name_is_its_own_key(name: str) -> None:
    assert name_key(name_key(name)) == name_key(name)
    assert name_key(f" {name}\t") == name_key(name)
