"""Answers of many pages: each item once, what was got is kept, and no server goes on for ever."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lulc.config import Archive, Search
from lulc.errors import InputError
from lulc.sources import registry
from lulc.sources.catalogues.answers import read_answer, read_search
from lulc.sources.catalogues.search import find_scenes
from tests.helpers.paging_catalogue import PagingCatalogue, serve_catalogue
from tests.sources.test_search import SECRET, make_item, make_run


def made_up(number: int) -> dict[str, Any]:
    return make_item(number, 1.0, "2023-01-15") | {"id": f"scene{number:02d}"}


@pytest.fixture(scope="module")
def served() -> Iterator[PagingCatalogue]:
    catalogue = PagingCatalogue(40, made_up, page=6)
    with serve_catalogue(catalogue):
        yield catalogue


@pytest.fixture
def catalogue(served: PagingCatalogue) -> PagingCatalogue:
    vars(served).update(vars(PagingCatalogue(40, made_up, page=6, url=served.url)))
    return served


def ask(url: str, out: Path, **search: Any) -> list[str]:
    found = find_scenes(Archive(search=Search(url, ("squares",), **search)), make_run(), out)
    return [name for name, *_ in read_answer(Path(found.path))]


NAMES = [f"scene{number:02d}" for number in range(40)]


def test_every_item_of_every_page_is_in_the_table_once(
    catalogue: PagingCatalogue, tmp_path: Path
) -> None:
    catalogue.overlap = 2
    assert sorted(ask(catalogue.url, tmp_path)) == NAMES
    assert len(catalogue.asked) == 10
    assert [path.suffix for path in (tmp_path / "searches").iterdir()] == [".parquet"]
    assert sorted(ask(catalogue.url, tmp_path)) == NAMES
    assert len(catalogue.asked) == 10


def test_after_a_page_that_fails_the_search_goes_on_with_it(
    catalogue: PagingCatalogue, tmp_path: Path
) -> None:
    catalogue.fails_at = 18
    with pytest.raises(InputError, match="cannot be searched"):
        ask(catalogue.url, tmp_path)
    catalogue.fails_at, catalogue.asked = None, []
    assert ask(catalogue.url, tmp_path) == NAMES
    assert catalogue.asked == [18, 24, 30, 36]


def test_a_server_that_forgot_its_links_is_asked_from_the_beginning(
    catalogue: PagingCatalogue, tmp_path: Path
) -> None:
    catalogue.fails_at = 18
    with pytest.raises(InputError, match="cannot be searched"):
        ask(catalogue.url, tmp_path)
    catalogue.fails_at, catalogue.asked, catalogue.page = None, [], 100
    catalogue.forgets_links = True
    assert ask(catalogue.url, tmp_path) == NAMES
    assert catalogue.asked == [18, 0]


@pytest.mark.parametrize("hidden", [range(6), range(6, 18), range(12, 30)])
def test_pages_without_an_item_do_not_end_the_answer(
    catalogue: PagingCatalogue, tmp_path: Path, hidden: range
) -> None:
    catalogue.hidden = hidden
    assert ask(catalogue.url, tmp_path) == [n for i, n in enumerate(NAMES) if i not in hidden]


def test_a_server_that_links_on_for_ever_is_left_after_some_empty_pages(
    catalogue: PagingCatalogue, tmp_path: Path
) -> None:
    catalogue.links_on = True
    assert ask(catalogue.url, tmp_path) == NAMES
    assert len(catalogue.asked) < 15


@pytest.mark.parametrize("forgets_at", [None, 18])
def test_an_answer_shorter_than_the_server_says_is_told(
    catalogue: PagingCatalogue,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    forgets_at: int | None,
) -> None:
    catalogue.tells_count, catalogue.forgets_at = True, forgets_at
    with caplog.at_level("INFO", "lulc"):
        assert ask(catalogue.url, tmp_path) == NAMES[:forgets_at]
    assert ("says that 40 items match, and sent 18" in caplog.text) == (forgets_at is not None)


@pytest.mark.parametrize(("status", "asked"), [(501, [18]), (404, [18, 0])])
def test_pages_are_kept_while_the_server_fails(
    catalogue: PagingCatalogue, tmp_path: Path, status: int, asked: list[int]
) -> None:
    catalogue.refuses, catalogue.status = 18, status
    with pytest.raises(InputError, match="cannot be searched"):
        ask(catalogue.url, tmp_path)
    catalogue.asked = []
    with pytest.raises(InputError, match="cannot be searched"):
        ask(catalogue.url, tmp_path)
    assert catalogue.asked[:2] == asked
    catalogue.refuses, catalogue.asked = None, []
    assert ask(catalogue.url, tmp_path) == NAMES
    assert catalogue.asked == [18, 24, 30, 36]


def test_a_damaged_page_is_named(catalogue: PagingCatalogue, tmp_path: Path) -> None:
    catalogue.fails_at = 18
    with pytest.raises(InputError, match="cannot be searched"):
        ask(catalogue.url, tmp_path)
    first, *_, last = sorted((tmp_path / "searches").rglob("*.parquet"))
    catalogue.fails_at, content = None, last.read_bytes()
    for page in (last, first):
        page.write_bytes(b"")
        with pytest.raises(InputError, match=f"delete {page.parent} to search again"):
            ask(catalogue.url, tmp_path)
        page.write_bytes(content)


def test_pages_of_another_search_are_not_taken(catalogue: PagingCatalogue, tmp_path: Path) -> None:
    catalogue.fails_at = 18
    with pytest.raises(InputError, match="cannot be searched"):
        ask(catalogue.url, tmp_path)
    catalogue.fails_at, catalogue.asked = None, []
    assert ask(catalogue.url, tmp_path, max_cloud=50) == NAMES
    assert catalogue.asked[0] == 0


@pytest.mark.parametrize("back_to", [0, 12, 39])
def test_links_that_go_round_are_an_error(
    catalogue: PagingCatalogue, tmp_path: Path, back_to: int
) -> None:
    catalogue.back_to = back_to
    with pytest.raises(InputError, match="was read already"):
        ask(catalogue.url, tmp_path)
    assert Counter(catalogue.asked).most_common(1)[0][1] < 3


def test_an_id_in_two_collections_is_two_scenes(catalogue: PagingCatalogue, tmp_path: Path) -> None:
    catalogue.make_item = lambda n: made_up(n // 2) | {"collection": f"c{n % 2}"}
    expected = sorted(f"scene{n:02d}_c{c}" for n in range(20) for c in (0, 1))
    assert sorted(ask(catalogue.url, tmp_path)) == expected
    (path,) = (tmp_path / "searches").iterdir()
    assert sorted(json.loads(text)["id"] for _, text, _ in read_answer(path)) == expected


def test_no_secret_is_kept_with_the_pages(catalogue: PagingCatalogue, tmp_path: Path) -> None:
    catalogue.fails_at = 18
    url = catalogue.url.replace("://", f"://user:{SECRET}@")
    with pytest.raises(InputError, match="cannot be searched"):
        ask(url, tmp_path)
    pages = list((tmp_path / "searches").rglob("*.parquet"))
    assert len(pages) == 3
    assert not any(SECRET.encode() in path.read_bytes() for path in pages)
    # Where to go on was not kept either.
    catalogue.fails_at, catalogue.asked = None, []
    assert ask(url, tmp_path) == NAMES
    assert catalogue.asked[0] == 0


def test_an_answer_that_an_earlier_release_kept_is_used(
    catalogue: PagingCatalogue, tmp_path: Path
) -> None:
    archive = Archive(search=Search(catalogue.url, ("squares",)))
    table = Path(find_scenes(archive, make_run(), tmp_path).path)
    features = [json.loads(text) for _, text, _ in read_answer(table)]
    content = {"type": "FeatureCollection", "search": read_search(table), "features": features}
    table.with_suffix(".json").write_text(json.dumps(content))
    table.unlink()
    catalogue.asked = []
    found = find_scenes(archive, make_run(), tmp_path)
    assert (found.path, catalogue.asked) == (str(table.with_suffix(".json")), [])
    source = registry.source_of(found)
    assert [item.key.partition("#")[2] for item in source.items(found)] == NAMES
