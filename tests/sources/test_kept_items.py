"""Items are read again where they or their files changed, and only there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lulc.config import Archive, Search
from lulc.errors import InputError
from lulc.location import Location, StorePath
from lulc.sources.catalogues.search import find_scenes
from lulc.sources.indexing import kept_items
from lulc.sources.indexing.item_tasks import ItemsTask, read_task, write_listed_items
from lulc.sources.indexing.kept_items import (
    Changes,
    KeptItems,
    list_archives,
    list_run,
)
from lulc.sources.items import READ_ITEM, Reading, scenes_of_rows
from lulc.sources.listing import Listing, list_once
from lulc.sources.registry import source_of
from lulc.sources.scene import scenes_to_table
from tests.helpers.object_stores import faulty_store, fill_bucket, store_variables
from tests.helpers.synthetic_scenes import UTM33, cut_short, write_raster
from tests.sources import test_landsat as landsat
from tests.sources import test_sentinel2 as sentinel2
from tests.sources import test_stac_geoparquet as geoparquet
from tests.sources.test_search import make_run


def read_again(
    *archives: Archive, out: Path, keep: bool = True, retry: bool = False
) -> tuple[KeptItems, list[str], Changes]:
    """What an index does: the items' rows, the keys of those that were opened, and what changed."""
    with list_once():
        sources = [source_of(archive) for archive in archives]
        reading = Reading(archives, tuple(source.name for source in sources))
        kept, counted = KeptItems(out, list_archives(reading)), list[Changes]()
        kept.resume(out / "read")
        kept.load(retry)
        new = list(kept.find_new(list_run(sources, reading, kept), counted.append))
        groups = write_listed_items(iter(new), out / "to_read.parquet")
        if groups:
            read_task(ItemsTask(0, groups), out / "to_read.parquet", out / "read", reading)
        if keep:
            kept.take(out / "read")
            kept.compact(counted[0].gone > 0)
    return kept, [item.key for item in new], counted[0]


def content(kept: KeptItems) -> tuple[pa.Table, list[tuple[str, str]]]:
    rows = pa.Table.from_batches((batch for batch, _ in kept.read(READ_ITEM.names)), READ_ITEM)
    errors = [(r["key"], r["error"]) for r in rows.to_pylist() if r["error"] is not None]
    return scenes_to_table(scenes_of_rows(rows)), sorted(errors)


def check(
    tmp_path: Path, archive: Archive, opened: list[str], changes: Changes | None = None
) -> None:
    """Of an index after the one before these were opened; it gives what a fresh one gives."""
    kept, keys, counted = read_again(archive, out=tmp_path / "kept")
    assert keys == opened
    assert counted == (changes or Changes(changed=len(opened)))
    fresh, *_ = read_again(archive, out=tmp_path / f"fresh{len(os.listdir(tmp_path))}")
    assert content(kept) == content(fresh)
    assert kept.fingerprint == read_again(archive, out=tmp_path / "kept")[0].fingerprint


def touch(path: Path) -> None:
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))


def make_tif(path: Path, value: int = 1) -> Path:
    return write_raster(path, np.full(UTM33.shape, value, "uint16"), UTM33, nodata=0)


def test_files(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for day in range(1, 7):
        make_tif(folder / f"{day % 2}" / f"S_2024060{day}.tif", day)
    archive = Archive(str(folder))
    check(tmp_path, archive, [f"{d % 2}/S_2024060{d}" for d in (2, 4, 6, 1, 3, 5)], Changes(6))
    check(tmp_path, archive, [])
    touch(folder / "0/S_20240602.tif")
    check(tmp_path, archive, ["0/S_20240602"])
    (folder / "1/S_20240603.tif.aux.xml").write_text("<PAMDataset/>")
    check(tmp_path, archive, ["1/S_20240603"])
    (folder / "1/S_20240603.tif.aux.xml").unlink()
    cut_short(folder / "0/S_20240604.tif", 0.01)
    check(tmp_path, archive, ["0/S_20240604"])  # the other is again as it was first read
    check(tmp_path, archive, [])
    shutil.move(folder / "1/S_20240601.tif", folder / "0/S_20240607.tif")
    check(tmp_path, archive, ["0/S_20240607"], Changes(1, 0, 1))
    make_tif(folder / "0/S_20240604.tif", 4)
    check(tmp_path, archive, ["0/S_20240604"])


def test_an_item_that_is_not_opened_may_hold_anything(tmp_path: Path) -> None:
    paths = [make_tif(tmp_path / f"in/{name}.tif") for name in "abc"]
    archive = Archive(str(tmp_path / "in"), timeless=True)
    first = content(read_again(archive, out=tmp_path / "kept")[0])
    for path in paths:
        stat = path.stat()
        path.write_bytes(bytes(stat.st_size))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again, opened, _ = read_again(archive, out=tmp_path / "kept")
    assert opened == []
    assert content(again) == first


def test_a_stac_item_that_did_not_change_is_not_opened_to_list_it(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in "ab":
        make_tif(folder / f"{name}.tif")
        write_item(folder, name, f"{name}.tif")
    archive = Archive(str(folder))
    first = content(read_again(archive, out=tmp_path / "kept")[0])
    path = folder / "a.json"
    stat = path.stat()
    path.write_bytes(b"{" * stat.st_size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again, opened, _ = read_again(archive, out=tmp_path / "kept")
    assert (opened, content(again)) == ([], first)
    touch(path)
    again, opened, _ = read_again(archive, out=tmp_path / "kept")
    assert opened == ["a.json"]
    assert [key for key, _ in content(again)[1]] == ["a.json"]


def test_groups_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for day in (1, 2, 3):
        for band in ("red", "nir"):
            make_tif(folder / f"S_2024060{day}_{band}.tif", day)
    archive = Archive(str(folder), pattern="{scene}_{date}_{band}.tif")
    check(tmp_path, archive, [f"S_2024060{day}" for day in (1, 2, 3)], Changes(3))
    touch(folder / "S_20240602_nir.tif")
    make_tif(folder / "S_20240603_blue.tif")
    check(tmp_path, archive, ["S_20240602", "S_20240603"])
    (folder / "S_20240601_red.tif").unlink()
    check(tmp_path, archive, ["S_20240601"])


def test_how_they_are_read(tmp_path: Path) -> None:
    make_tif(tmp_path / "in/S_20240601.tif")
    archive = Archive(str(tmp_path / "in"))
    other = Archive(str(tmp_path / "in"), bands={"b1": "red"})
    read_again(archive, out=tmp_path / "kept")
    check(tmp_path, other, ["S_20240601"])
    kept, opened, _ = read_again(other, other, out=tmp_path / "kept")
    assert (opened, [archives for _, archives in kept.read(["key"])]) == ([], [[[0, 1]]])


def write_item(folder: Path, name: str, href: str) -> None:
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "properties": {"datetime": "2024-06-01T10:00:00Z"},
        "links": [],
        "assets": {"red": {"href": href, "type": "image/tiff"}},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(item))


def test_what_an_item_names(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    make_tif(folder / "pixels/a.tif")
    for name, href in (("a", "../pixels/a.tif"), ("b", "../pixels/b%20b.tif"), ("c", "c.tif")):
        write_item(folder / "items", name, href)
    write_item(folder / "items", "away", "https://example.org/x/away.tif")
    make_tif(folder / "items/away.tif")
    archive = Archive(str(folder))
    check(tmp_path, archive, [f"items/{n}.json" for n in ("a", "away", "b", "c")], Changes(4))
    make_tif(folder / "pixels/b b.tif")
    check(tmp_path, archive, ["items/b.json"])
    touch(folder / "pixels/a.tif")
    check(tmp_path, archive, ["items/a.json"])
    touch(folder / "items/away.tif")
    check(tmp_path, archive, ["items/away.json"])
    write_item(folder / "items", "c", "../pixels/a.tif")
    check(tmp_path, archive, ["items/c.json"])


def test_a_list_of_items(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    features = []
    for name in "abc":
        make_tif(folder / f"{name}.tif")
        write_item(folder, name, f"{name}.tif")
        features.append(json.loads((folder / f"{name}.json").read_text()))
        (folder / f"{name}.json").unlink()
    (folder / "all.json").write_text(json.dumps({"features": features[:2]}))
    archive = Archive(str(folder / "all.json"))
    check(tmp_path, archive, ["all.json#a", "all.json#b"], Changes(2))
    features[1]["properties"]["datetime"] = "2024-06-02T10:00:00Z"
    (folder / "all.json").write_text(json.dumps({"features": features}))
    check(tmp_path, archive, ["all.json#b", "all.json#c"], Changes(1, 1))
    touch(folder / "c.tif")
    check(tmp_path, archive, ["all.json#c"])


def test_products_in_folders(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    products = [sentinel2.make_product(folder, "2A", b, ("B04", "B8A")) for b in ("05.09", "05.10")]
    archive = Archive(str(folder), mask=())
    names = [product.name.removesuffix(".SAFE") for product in products]
    check(tmp_path, archive, sorted(names), Changes(2))
    first, second = products
    for pattern in ("GRANULE/*/IMG_DATA/R10m/*_B04_10m.jp2", "MTD_*.xml", "GRANULE/*/MTD_TL.xml"):
        touch(next(first.glob(pattern)))
        check(tmp_path, archive, [names[0]])
    band = next(second.glob("GRANULE/*/IMG_DATA/R20m/*_B8A_20m.jp2"))
    away = shutil.move(band, tmp_path / band.name)
    check(tmp_path, archive, [names[1]])
    shutil.move(away, band)
    check(tmp_path, archive, [names[1]])
    shutil.rmtree(first)
    check(tmp_path, archive, [], Changes(0, 0, 1))


def test_products_that_share_a_folder(tmp_path: Path) -> None:
    folder, archive = tmp_path / "in", Archive(str(tmp_path / "in"), mask=())
    landsat.make(folder, landsat.OLI9, "OLI_TIRS", landsat.OLI_KEYS)
    landsat.make(folder, landsat.TM5, "TM", landsat.TM_KEYS)
    check(tmp_path, archive, [landsat.OLI9, landsat.TM5], Changes(2))
    touch(folder / f"{landsat.TM5}_MTL.txt")
    check(tmp_path, archive, [landsat.TM5])
    (folder / f"{landsat.OLI9}_SR_B4.TIF").unlink()
    check(tmp_path, archive, [landsat.OLI9])


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StorePath]:
    product = sentinel2.make_product(tmp_path / "products", "2A", "05.09", ("B04",))
    pixels = make_tif(tmp_path / "a.tif").read_bytes()
    write_item(tmp_path / "items", "a", "a.tif")
    files = {"items/a.json": (tmp_path / "items/a.json").read_bytes(), "items/a.tif": pixels}
    files |= {f"files/{number:02d}/x.tif": pixels for number in range(5)}
    inside = [path for path in product.rglob("*") if path.is_file()]
    files |= {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in inside}
    with faulty_store() as (place, _):
        for name, value in store_variables(place).items():
            monkeypatch.setenv(name, value)
        fill_bucket(place, files)
        yield StorePath("s3://bucket")


def test_in_a_store(tmp_path: Path, bucket: StorePath) -> None:
    band = next(place for place, _ in bucket.walk() if place.name.endswith("_B04_10m.jp2"))
    for place, keys in (
        (bucket / "files/03/x.tif", [f"{number:02d}/x" for number in range(5)]),
        (bucket / "items/a.tif", ["a.json"]),
        (band, [next((tmp_path / "products").iterdir()).stem]),
    ):
        folder = bucket / place.key.partition("/")[0]
        archive = Archive(str(folder), timeless=folder.name == "files", mask=())
        inner = tmp_path / f"of {folder.name}"
        inner.mkdir()
        check(inner, archive, keys, Changes(len(keys)))
        check(inner, archive, [])
        place.put(place.read_bytes() + b" ")
        check(inner, archive, keys[3:4] or keys)


def test_pixels_beside_a_table_that_was_searched(tmp_path: Path, bucket: StorePath) -> None:
    folder, copy = tmp_path / "tables", bucket / "tables"
    geoparquet.make_archive(folder)
    for file in folder.rglob("*.*"):
        (copy / file.relative_to(folder).as_posix()).put(file.read_bytes())
    roots: tuple[Location, ...] = (folder, copy)
    for root in roots:
        inner = tmp_path / type(root).__name__
        inner.mkdir()
        search = Search(f"{root}/items.parquet", ("squares",))
        archive = find_scenes(Archive(search=search, mask=()), make_run(), inner)
        keys = [f"{Path(archive.path).name}#scene0{number}" for number in range(3)]
        check(inner, archive, keys, Changes(3))
        check(inner, archive, [])
        pixels = root / "pixels/1.tif"
        if isinstance(pixels, StorePath):
            pixels.put(pixels.read_bytes() + b" ")
        else:
            touch(pixels)
        check(inner, archive, keys[1:2])


def test_files_of_a_bucket_itself_are_told_apart() -> None:
    bucket, path = StorePath("s3://bucket"), "s3://bucket/a/x.tif"
    before, after = (
        Listing(bucket, ["a/x.tif", "a/y.tif"], {"a/x.tif": (1, time, "e"), "a/y.tif": (1, 0, "e")})
        for time in (5, 6)
    )
    assert before.state([path]) != after.state([path])
    assert before.identity(["s3://bucket/a/x."]) != after.identity(["s3://bucket/a/x."])
    assert before.identity(["s3://bucket/a/y."]) == after.identity(["s3://bucket/a/y."])
    assert before.identity(["s3://bucket/a"]) != after.identity(["s3://bucket/a"])


def test_what_a_killed_run_read_is_kept_but_its_errors(tmp_path: Path) -> None:
    for name in "abc":
        make_tif(tmp_path / f"in/{name}.tif")
    whole = (tmp_path / "in/b.tif").read_bytes()
    cut_short(tmp_path / "in/b.tif", 0.01)
    archive, out = Archive(str(tmp_path / "in"), timeless=True), tmp_path / "kept"
    assert read_again(archive, out=out, keep=False)[1] == ["a", "b", "c"]
    touch(tmp_path / "in/c.tif")
    assert read_again(archive, out=out, keep=False)[1] == ["b", "c"]
    (tmp_path / "in/b.tif").write_bytes(whole)
    check(tmp_path, archive, ["b"], Changes(1))


def test_what_cannot_be_read_is_tried_again_where_that_is_asked_for(tmp_path: Path) -> None:
    for name in "ab":
        make_tif(tmp_path / f"in/{name}.tif")
    cut_short(tmp_path / "in/b.tif", 0.01)
    archive, out = Archive(str(tmp_path / "in"), timeless=True), tmp_path / "kept"
    for retry, opened in ((False, ["a", "b"]), (False, []), (True, ["b"]), (False, [])):
        assert read_again(archive, out=out, retry=retry)[1] == opened


def test_a_file_whose_name_is_no_text_is_named(tmp_path: Path) -> None:
    tif = make_tif(tmp_path / "in/S_red.tif")
    odd = os.fsdecode(os.fsencode(tif.with_name("S_b")) + b"\xff.tif")
    shutil.copy(tif, odd)
    with pytest.raises(InputError, match=r"S_b\\xff.tif has a name that is not UTF-8: rename"):
        read_again(Archive(str(tif.parent), timeless=True), out=tmp_path / "kept")


def test_files_among_those_of_items_are_passed_over_or_named(tmp_path: Path) -> None:
    archive = Archive(str(make_tif(tmp_path / "in/a.tif").parent), timeless=True)
    first = content(read_again(archive, out=tmp_path / "kept")[0])
    (written,) = (tmp_path / "kept/items").iterdir()
    shutil.copy(written, written.with_name("1 (copy).parquet"))
    (written.parent / "notes.parquet").write_bytes(b"no table")
    again, opened, _ = read_again(archive, out=tmp_path / "kept")
    assert (opened, content(again)) == ([], first)
    pq.write_table(pq.read_table(written).drop_columns(["state"]), written)
    with pytest.raises(InputError, match="lacks the columns state of items: delete it"):
        read_again(archive, out=tmp_path / "kept")


def test_rows_are_put_together_once_they_lie_in_many_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_items, "_MOST_FILES", 4)
    archive, out = Archive(str(tmp_path / "in"), timeless=True), tmp_path / "kept"
    counts = []
    for number in range(8):
        make_tif(tmp_path / f"in/{number}.tif")
        kept, opened, _ = read_again(archive, out=out)
        assert opened == [str(number)]
        assert content(kept)[0].num_rows == number + 1
        counts.append(len(list((out / "items").iterdir())))
    assert counts == [1, 2, 3, 1, 2, 3, 1, 2]
