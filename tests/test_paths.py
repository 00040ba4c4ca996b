"""Paths are paths: listings follow links, and patterns match only where they are asked for."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from lulc.paths import list_files, list_names, match_files

AWKWARD = "a b[1]{2,3}#4?5%206!*ü'\"&<-"
NAMES = (*"[]{}#?%!* ,'\"&<-", AWKWARD, "u\u0308", "**", "[!a]", "-x", "a:b", "1=2")


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    own, elsewhere = tmp_path / "archive", tmp_path / "elsewhere"
    write(own / "a.tif")
    write(elsewhere / "deep" / "b.TIF")
    (own / "z").symlink_to(elsewhere)
    assert list_names(own, (".tif",)) == ["a.tif", "z/deep/b.TIF"]
    assert list_files(tmp_path / "archive" / "z") == [own / "z" / "deep" / "b.TIF"]


def test_a_loop_of_links_is_cut_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # To itself, to a folder above, and round through another folder.
    one, two = tmp_path / "one", tmp_path / "two"
    write(one / "a.tif")
    write(two / "b.tif")
    (one / "self").symlink_to(one)
    (one / "up").symlink_to(tmp_path)
    (one / "two").symlink_to(two)
    (two / "back").symlink_to("../one", target_is_directory=True)
    with caplog.at_level(logging.INFO, "lulc"):
        assert list_names(one) == ["a.tif", "two/b.tif"]
    told = [message.split(" leads back")[0] for message in caplog.messages]
    assert sorted(told) == [f"WARNING: {one / name}" for name in ("self", "two/back", "up")]


def test_two_links_to_one_folder_are_no_loop(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a.tif")
    (tmp_path / "x").symlink_to("data")
    assert list_names(tmp_path) == ["data/a.tif", "x/a.tif"]


def test_a_broken_link_is_listed_and_hidden_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "gone.tif").symlink_to(tmp_path / "nowhere")
    write(tmp_path / ".hidden.tif")
    write(tmp_path / ".folder" / "c.tif")
    assert list_names(tmp_path, (".tif",)) == ["gone.tif"]


@pytest.mark.parametrize(
    "name", [*"[]{}#?%!* ,'\"&<-", AWKWARD, "u\u0308", "**", "[!a]", "-x", "a:b", "1=2"]
)
def test_a_name_of_any_characters_is_a_name(tmp_path: Path, name: str) -> None:
    decoys = [write(tmp_path / decoy / "1.tif") for decoy in ("a", "b", "1", "v1")]
    path = write(tmp_path / name / f"{name}.tif")
    assert list_files(tmp_path / name) == [path]
    assert match_files(path) == [path]
    assert match_files(tmp_path / name / "*.tif") == [path]
    assert match_files(f"{tmp_path / name}/../a/?.tif")[0].samefile(decoys[0])


def test_a_pattern_matches_where_nothing_has_its_name(tmp_path: Path) -> None:
    names = ("2020/a.tif", "2021/b.tif", "2021/deep/c.tif", "v[1].tif", "v1.tif")
    files = {name: write(tmp_path / name) for name in names}
    assert match_files(tmp_path / "202[01]" / "*.tif") == [
        files["2020/a.tif"],
        files["2021/b.tif"],
    ]
    assert len(match_files(tmp_path / "**" / "*.tif")) == 5
    assert match_files(tmp_path / "v[1].tif") == [files["v[1].tif"]]
    files["v[1].tif"].unlink()
    assert match_files(tmp_path / "v[1].tif") == [files["v1.tif"]]
    assert match_files(tmp_path / "w*.tif") == []


def test_a_file_that_two_links_reach_matches_once(tmp_path: Path) -> None:
    path = write(tmp_path / "data" / "a.tif")
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    assert match_files(tmp_path / "**" / "*.tif") == [path]


def test_folders_listed_whole_are_not_entered(tmp_path: Path) -> None:
    for name in ("x/A.SAFE/a.tif", "x/b.tif", "c.SAFE"):
        write(tmp_path / name)
    (tmp_path / "l.SAFE").symlink_to(tmp_path / "x" / "A.SAFE")
    whole = re.compile(r".*\.SAFE")
    assert list_names(tmp_path, (".safe",), whole) == ["c.SAFE", "l.SAFE", "x/A.SAFE"]
