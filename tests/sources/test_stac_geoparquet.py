"""Tables of STAC items: read as another library writes them, and read by it as they are written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rustac
import shapely

from lulc.config import Archive, Period, Search
from lulc.errors import InputError
from lulc.geo.grid import footprint
from lulc.location import StorePath
from lulc.sources import registry
from lulc.sources.catalogues.answers import read_answer
from lulc.sources.catalogues.search import find_scenes
from lulc.sources.scene import Scene
from lulc.tables import stac_geoparquet
from lulc.tables.stac_geoparquet import ItemFilter, read_items, write_items
from tests.helpers.object_stores import faulty_store, fill_bucket, store_variables
from tests.helpers.synthetic_scenes import UTM33, write_raster
from tests.sources.test_search import make_run

COLLECTION = {"type": "Collection", "id": "squares", "description": "d", "license": "other"}


def make_item(number: int, **properties: Any) -> dict[str, Any]:
    """A degree square each, in a row along the equator, a day each."""
    outline = shapely.box(number, 0, number + 1, 1)
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": f"scene{number:02d}",
        "collection": "squares",
        "geometry": shapely.geometry.mapping(outline),
        "bbox": list(outline.bounds),
        "links": [],
        "properties": {"datetime": f"2023-01-{number + 1:02d}T10:00:00Z"}
        | {"eo:cloud_cover": float(number), "proj:shape": [number + 1, 2]}
        | properties,
        "assets": {"red": {"href": f"./pixels/{number}.tif", "type": "image/tiff"}},
    }


ITEMS = [make_item(number) for number in range(20)]


def ids(found: Archive) -> list[str]:
    return sorted(name for name, *_ in read_answer(Path(found.path)))


def plain(item: dict[str, Any]) -> Any:
    return json.loads(json.dumps(item))


def test_items_go_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, ITEMS, COLLECTION)
    assert [plain(item) for _, item in read_items(path)] == [plain(item) for item in ITEMS]
    metadata = pq.read_schema(path).metadata
    told = json.loads(metadata[b"stac-geoparquet"])
    assert told == {"version": "1.1.0", "collections": {"squares": COLLECTION}}
    geo = json.loads(metadata[b"geo"])
    assert geo["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]


def test_another_library_reads_what_is_written(tmp_path: Path) -> None:
    write_items(tmp_path / "items.parquet", ITEMS, COLLECTION)
    found = rustac.read_sync(str(tmp_path / "items.parquet"))["features"]
    for ours, theirs in zip(ITEMS, found, strict=True):
        assert theirs["properties"] == ours["properties"]
        assert plain({key: theirs[key] for key in ("id", "collection", "bbox", "assets")}) == {
            key: ours[key] for key in ("id", "collection", "bbox", "assets")
        }
        assert shapely.geometry.shape(theirs["geometry"]).equals(
            shapely.geometry.shape(ours["geometry"])
        )


def test_what_another_library_writes_is_read(tmp_path: Path) -> None:
    # Fields of some items alone, and a time that is a span.
    items = [*ITEMS[:3], make_item(3, platform="sentinel-2a")]
    items[1] = items[1] | {"assets": items[1]["assets"] | {"nir": {"href": "x.tif"}}}
    span = {"start_datetime": "2023-01-01T00:00:00Z", "end_datetime": "2023-01-31T00:00:00Z"}
    items[2] = make_item(2, datetime=None, **span)
    rustac.write_sync(str(tmp_path / "theirs.parquet"), items)
    found = [plain(item) for _, item in read_items(tmp_path / "theirs.parquet")]
    for ours, theirs in zip(items, found, strict=True):
        for key in ("id", "collection", "bbox", "assets", "properties"):
            assert theirs[key] == plain(ours[key]), key


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (ItemFilter(boxes=[(2.5, 0.2, 4.5, 0.8)]), range(2, 5)),
        (ItemFilter(boxes=[(2.5, 5, 4.5, 6)]), []),
        (ItemFilter(boxes=[(2.5, 0, 2.6, 1), (17.5, 0, 17.6, 1)]), [2, 17]),
        (ItemFilter(times=["2023-01-03/2023-01-05"]), range(2, 5)),
        (ItemFilter(times=["../2023-01-02"]), range(2)),
        (ItemFilter(times=["2023-01-19/.."]), range(18, 20)),
        (ItemFilter(times=["2023-01-04"]), [3]),
        (ItemFilter(max_cloud=4), range(5)),
        (ItemFilter([(2.5, 0, 9.5, 1)], ["2023-01-05/.."], 6), range(4, 7)),
    ],
)
def test_a_filter_lets_through_what_is_wanted(
    tmp_path: Path, wanted: ItemFilter, numbers: Any
) -> None:
    write_items(tmp_path / "items.parquet", ITEMS, COLLECTION)
    found = [item["id"] for _, item in read_items(tmp_path / "items.parquet", wanted)]
    assert found == [f"scene{number:02d}" for number in numbers]


def test_an_item_whose_time_is_not_told_is_not_passed_over(tmp_path: Path) -> None:
    start = make_item(1, datetime=None, start_datetime="2023-01-02T00:00:00Z")
    span = make_item(2, datetime=None, start_datetime="2021-01-02T00:00:00Z")
    span["properties"]["end_datetime"] = "2021-01-03T00:00:00Z"
    items = [make_item(0), start, span, make_item(3, datetime=None)]
    write_items(tmp_path / "items.parquet", items, COLLECTION)
    wanted = ItemFilter(times=["2022-01-01/2022-12-31"])
    found = [item["id"] for _, item in read_items(tmp_path / "items.parquet", wanted)]
    assert found == ["scene01", "scene03"]


def test_row_groups_without_a_wanted_item_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, ITEMS, COLLECTION)
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=2)
    # Whoever read another one than the second would find damage.
    metadata = pq.ParquetFile(path).metadata
    content = bytearray(path.read_bytes())
    for group in (n for n in range(metadata.num_row_groups) if n != 1):
        for column in range(metadata.num_columns):
            place = metadata.row_group(group).column(column)
            start = place.dictionary_page_offset or place.data_page_offset
            content[start : start + place.total_compressed_size] = bytes(
                place.total_compressed_size
            )
    path.write_bytes(content)
    for wanted in (
        ItemFilter(boxes=[(2.5, 0.2, 3.5, 0.8)]),
        ItemFilter(times=["2023-01-03/2023-01-04"]),
    ):
        found = [item["id"] for _, item in read_items(path, wanted)]
        assert found == ["scene02", "scene03"]


def test_an_item_across_180_is_found_on_both_sides(tmp_path: Path) -> None:
    across = make_item(1) | {"id": "across", "bbox": [179.0, 0.0, -179.0, 1.0]}
    write_items(tmp_path / "items.parquet", [*ITEMS, across], COLLECTION)
    for box in ((179.2, 0.2, 179.4, 0.4), (-179.4, 0.2, -179.2, 0.4)):
        found = [i["id"] for _, i in read_items(tmp_path / "items.parquet", ItemFilter([box]))]
        assert found == ["across"]


def make_archive(folder: Path) -> Path:
    outline = footprint(UTM33)
    items = [
        make_item(number)
        | {"geometry": shapely.geometry.mapping(outline), "bbox": list(outline.bounds)}
        for number in range(3)
    ]
    for number in range(3):
        pixels = np.full(UTM33.shape, number + 1, "uint16")
        write_raster(folder / f"pixels/{number}.tif", pixels, UTM33, nodata=0)
    path = folder / "items.parquet"
    write_items(path, items, COLLECTION)
    return path


def read_all(archive: Archive) -> list[Scene]:
    source = registry.source_of(archive)
    return [source.read(item, archive, ("red",)) for item in source.items(archive)]


def test_a_table_is_an_archive(tmp_path: Path) -> None:
    path = make_archive(tmp_path / "in")
    archive = Archive(str(path), mask=())
    scenes = read_all(archive)
    assert [scene.scene_id for scene in scenes] == ["scene00", "scene01", "scene02"]
    assert {scene.source for scene in scenes} == {"stac-geoparquet"}
    assert scenes[1].cloud == 1.0
    assert scenes[2].bands[0].href == str(tmp_path / "in/pixels/2.tif")
    assert read_all(Archive(str(path.parent), source="stac-geoparquet", mask=())) == scenes


def test_a_table_is_searched_by_area_days_and_clouds(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, ITEMS, COLLECTION)
    days = (Period("p", date(2023, 1, 4), date(2023, 1, 10)),)
    run = make_run(area="2.5,0.2,12.5,0.8", periods=days)
    search = Search(str(path), ("squares",), max_cloud=7)
    # A period's days are solar ones: a day more on both sides.
    expected = [f"scene{number:02d}" for number in range(2, 8)]
    assert ids(find_scenes(Archive(search=search), run, tmp_path)) == expected
    with pytest.raises(InputError, match="no scene for"):
        find_scenes(Archive(search=Search(str(path), ("circles",))), run, tmp_path)
    with pytest.raises(InputError, match=r"gone\.parquet is no table of STAC items"):
        find_scenes(Archive(search=Search(str(tmp_path / "gone.parquet"), ("x",))), run, tmp_path)


def test_pixels_beside_the_table_that_was_searched_are_read(tmp_path: Path) -> None:
    path = make_archive(tmp_path / "in")
    search = Search(str(path), ("squares",), max_cloud=1)
    found = find_scenes(Archive(search=search, mask=()), make_run(), tmp_path / "out")
    assert [scene.bands[0].href for scene in read_all(found)] == [
        str(tmp_path / f"in/pixels/{number}.tif") for number in range(2)
    ]


def test_a_table_in_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_archive(tmp_path / "in")
    names = ["items.parquet", *(f"pixels/{number}.tif" for number in range(3))]
    with faulty_store() as (place, _):
        for name, value in store_variables(place).items():
            monkeypatch.setenv(name, value)
        fill_bucket(place, {f"in/{name}": (path.parent / name).read_bytes() for name in names})
        table = StorePath("s3://bucket", "in/items.parquet")
        scenes = read_all(Archive(str(table), mask=()))
        assert [scene.bands[0].href for scene in scenes] == [
            f"s3://bucket/in/pixels/{number}.tif" for number in range(3)
        ]
        search = Search(str(table), ("squares",), max_cloud=1)
        found = find_scenes(Archive(search=search, mask=()), make_run(), tmp_path / "out")
        assert [scene.scene_id for scene in read_all(found)] == ["scene00", "scene01"]


def replace_column(table: pa.Table, name: str, column: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, column)


def change_column(table: pa.Table, name: str, change: Callable[[Any], Any]) -> pa.Table:
    return replace_column(table, name, pa.array(list(map(change, table[name].to_pylist()))))


def as_list(bounds: dict[str, float]) -> list[float]:
    return [bounds[name] for name in ("xmin", "ymin", "xmax", "ymax")]


def without_odd(bounds: dict[str, float]) -> dict[str, float] | None:
    return None if bounds["xmin"] % 2 else bounds


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop_columns("bbox"),
        lambda table: change_column(table, "bbox", as_list),
        lambda table: change_column(table, "bbox", without_odd),
        lambda table: change_column(
            table,
            "bbox",
            lambda b: b | {"xmin": b["xmin"] + 360, "xmax": b["xmax"] + 360},
        ),
        lambda table: change_column(table, "assets", json.dumps),
        lambda table: change_column(table, "eo:cloud_cover", str),
        lambda table: change_column(table, "datetime", lambda moment: moment.date()),
    ],
    ids=["no box", "boxes as lists", "some without", "0 to 360", "JSON", "cloud as text", "days"],
)
def test_columns_as_other_programs_write_them(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table]
) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, ITEMS, COLLECTION)
    pq.write_table(change(pq.read_table(path)), path)
    days = (Period("p", date(2023, 1, 4), date(2023, 1, 10)),)
    search = Search(str(path), ("squares",), max_cloud=7)
    found = find_scenes(
        Archive(search=search), make_run(area="2.5,0.2,12.5,0.8", periods=days), tmp_path
    )
    answer = {name: json.loads(text) for name, text, _ in read_answer(Path(found.path))}
    assert sorted(answer) == [f"scene{number:02d}" for number in range(2, 8)]
    assert answer["scene03"]["assets"] == ITEMS[3]["assets"]
    assert answer["scene03"]["properties"]["datetime"][:10] == "2023-01-04"


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_a_time_without_a_zone_is_of_utc(
    tmp_path: Path, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, ITEMS[:1], COLLECTION)
    table = pq.read_table(path)
    times = table["datetime"].cast(pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit))
    pq.write_table(replace_column(table, "datetime", times), path)
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        [(_, item)] = read_items(path)
    time.tzset()
    assert item["properties"]["datetime"] == "2023-01-01T10:00:00Z"


def test_collections_in_folders_of_their_names_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, ITEMS, COLLECTION)
    table = pq.read_table(path).drop_columns("collection")
    for name, rows in (("squares", table.slice(0, 3)), ("circles", table.slice(3, 4))):
        (tmp_path / f"in.parquet/collection={name}").mkdir(parents=True)
        pq.write_table(rows, tmp_path / f"in.parquet/collection={name}/0.parquet")
    search = Search(str(tmp_path / "in.parquet"), ("squares",))
    found = find_scenes(Archive(search=search), make_run(area="0,0,20,1"), tmp_path)
    assert ids(found) == ["scene00", "scene01", "scene02"]


def test_columns_that_json_has_no_word_for_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, ITEMS[:1], COLLECTION)
    table = pq.read_table(path)
    for name, value in (("digest", b"\1\2"), ("lasts", timedelta(1)), ("proj:epsg", np.nan)):
        table = table.append_column(name, pa.array([value]))
    pq.write_table(table, path)
    [(_, item)] = read_items(path)
    expected = ITEMS[0]["properties"] | {"digest": "0102", "lasts": "1 day, 0:00:00"}
    assert plain(item)["properties"] == expected


def test_files_that_a_writer_keeps_for_itself_are_none_of_the_table(tmp_path: Path) -> None:
    path = make_archive(tmp_path / "in")
    (path.parent / "_temporary").mkdir()
    (path.parent / "_temporary/0.parquet").write_bytes(path.read_bytes())
    (path.parent / "._items.parquet").write_bytes(b"of another system")
    scenes = read_all(Archive(str(path.parent), mask=()))
    assert {scene.source for scene in scenes} == {"stac-geoparquet"}
    assert [scene.scene_id for scene in scenes] == ["scene00", "scene01", "scene02"]


def test_a_table_with_a_row_without_an_id_is_named(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, ITEMS[:2], COLLECTION)
    table = pq.read_table(path)
    pq.write_table(replace_column(table, "id", pa.array(["a", None])), path)
    with pytest.raises(InputError, match=r"items\.parquet has a row without an id"):
        list(read_items(path))


@pytest.mark.parametrize(
    ("name", "texts", "error"),
    [
        ("geometry", [b"xy"], "scene01: the item's geometry is not a valid one .*broken wkb"),
        ("assets", ["{", '["x.tif"]'], "it must be a Feature with assets"),
    ],
)
def test_a_broken_row_is_an_item_that_fails_when_it_is_read(
    tmp_path: Path, name: str, texts: list[Any], error: str
) -> None:
    path = make_archive(tmp_path)
    table = pq.read_table(path)
    whole = [item[name] for _, item in read_items(path)]
    cells = table[name].to_pylist() if name == "geometry" else [json.dumps(cell) for cell in whole]
    archive = Archive(str(path), mask=())
    source = registry.source_of(archive)
    for text in texts:
        broken = [cells[0], text, *cells[2:]]
        pq.write_table(replace_column(table, name, pa.array(broken)), path)
        first, second, *others = source.items(archive)
        with pytest.raises(InputError, match=error):
            source.read(second, archive, ())
        read = [source.read(item, archive, ()).scene_id for item in (first, *others)]
        assert read == ["scene00", "scene02"]


def test_what_is_no_table_of_items_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pq.read_table(make_archive(tmp_path)).select(["id"]), path)
    assert not stac_geoparquet.is_items_table(path)
    with pytest.raises(InputError, match=r"must have the columns assets, geometry, id"):
        list(read_items(path))
