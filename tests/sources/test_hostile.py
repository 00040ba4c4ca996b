"""Damaged, absurd and malicious archives: each is refused in a moment and is a ledger row."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import rasterio

from lulc.config import Archive
from lulc.errors import InputError
from lulc.runfile import parse_run
from lulc.sources import registry
from lulc.sources.items import ListedItem, Reading, read_items
from lulc.sources.scene import Scene, scenes_from_table
from lulc.spark.context import StageContext
from lulc.spark.stages.index import index
from lulc.stages import Selection
from lulc.tables import store
from lulc.tables.ledger import read_ledger
from tests.helpers.synthetic_scenes import UTM33, texture, write_raster
from tests.sources import test_landsat as landsat
from tests.sources import test_sentinel1 as sentinel1
from tests.sources import test_sentinel2 as sentinel2
from tests.sources import test_sources as stac

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SAFE = sentinel2.product_name("2A", "05.11")
MTL = f"{landsat.OLI9}_MTL.txt"


def pack(folder: Path, **more: bytes) -> Path:
    """A zip of a sound Sentinel-2 product, with more members."""
    root = sentinel2.make_product(folder / ".made", "2A", "05.11", ("B02",))
    path = folder / f"{SAFE}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(root.rglob("*.*")):
            packed.write(file, file.relative_to(root.parent))
        for name, content in more.items():
            packed.writestr(name, content)
    return path


def change(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


def pack_tar(folder: Path, name: str, kind: bytes, target: str = "", size: int = 0) -> None:
    """A tar of a sound Landsat product and one more member, of which only the header is there."""
    made = landsat.make(folder / ".made", landsat.OLI9, "OLI_TIRS", ["4"])
    with tarfile.open(folder / f"{landsat.OLI9}.tar", "w") as packed:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, target, size
        packed.fileobj.write(member.tobuf())  # type: ignore[union-attr]
        for file in sorted(made.iterdir()):
            packed.add(file, file.name)


def encrypted(folder: Path) -> None:
    # Bit 0 of the flags, in the local header and in the central directory (APPNOTE.TXT 4.4.4).
    path = pack(folder)
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = content.find(mark)
        while start >= 0:
            content[start + at] |= 1
            start = content.find(mark, start + 4)
    path.write_bytes(content)


def zip_claims_more(folder: Path) -> None:
    # The size of a file in the central directory (4.4.9), 4 GB.
    path = pack(folder)
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\1\2")
    content[at + 24 : at + 28] = b"\xf0\xff\xff\xff"
    path.write_bytes(content)


def damaged_inside(folder: Path) -> None:
    path = pack(folder)
    with zipfile.ZipFile(path) as packed:
        info = packed.getinfo(f"{SAFE}.SAFE/MTD_MSIL2A.xml")
    content = bytearray(path.read_bytes())
    start = info.header_offset + 30 + len(info.filename)
    content[start : start + info.compress_size] = b"\xff" * info.compress_size
    path.write_bytes(content)


def change_xml(folder: Path, old: str, new: str) -> None:
    root = sentinel2.make_product(folder, "2A", "05.11", ("B02",))
    change(root / "MTD_MSIL2A.xml", old.encode(), new.encode())


def deep_json(folder: Path) -> None:
    stac.raster(folder / "red.tif")
    (folder / "s.json").write_text('{"type": "Feature", "assets": ' + "[" * 200_000)


def say(folder: Path, band: dict[str, Any] = {}, **properties: Any) -> None:  # noqa: B006
    """A STAC item of one raster, with what it says of the band and in its properties."""
    stac.raster(folder / "red.tif")
    asset = {"href": "red.tif", "raster:bands": [band]} if band else {"href": "red.tif"}
    stac.write_item(folder, stac.item("s", {"red": asset}, stac.DATED | properties))


def placed(folder: Path, *transform: float, crs: str = UTM33.crs) -> None:
    write_raster(
        folder / "s_20240601.tif", texture(UTM33), replace(UTM33, crs=crs, transform=transform)
    )  # type: ignore[arg-type]


def typed(folder: Path, dtype: str) -> None:
    folder.mkdir(exist_ok=True)
    place = {"height": 9, "width": 9, "crs": UTM33.crs, "transform": UTM33.affine}
    with rasterio.open(
        folder / "s_20240601.tif", "w", driver="GTiff", count=1, dtype=dtype, **place
    ):
        pass


# What is made in a folder → what the ledger says of it.
CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "zip of a thousandfold": (
        lambda f: pack(f, **{f"{SAFE}.SAFE/a.xml": bytes(50_000_000)}),
        "50,000,000 bytes in",
    ),
    "zip that claims 4 GB": (zip_claims_more, "bytes in"),
    "zip with ..": (lambda f: pack(f, **{"../../evil.xml": b"x"}), "leads out of it"),
    "zip with an absolute name": (lambda f: pack(f, **{"/tmp/evil.xml": b"x"}), "leads out of it"),
    "zip with ..\\": (lambda f: pack(f, **{"..\\evil.xml": b"x"}), "leads out of it"),
    "encrypted zip": (encrypted, "encrypted"),
    "damage inside a zip": (damaged_inside, r"MTD_MSIL2A\.xml cannot be read"),
    "tar with ..": (lambda f: pack_tar(f, "../evil.txt", tarfile.REGTYPE), "leads out of it"),
    "tar with a link": (
        lambda f: pack_tar(f, "a.TIF", tarfile.SYMTYPE, "/etc/passwd"),
        "no plain file",
    ),
    "tar with a hard link": (
        lambda f: pack_tar(f, "a.TIF", tarfile.LNKTYPE, "/etc/passwd"),
        "no plain file",
    ),
    "tar with a device": (lambda f: pack_tar(f, "a.TIF", tarfile.CHRTYPE), "no plain file"),
    "tar that claims 27 GiB": (
        lambda f: pack_tar(f, MTL, tarfile.REGTYPE, size=27 << 30),
        "cannot be listed",
    ),
    "entity bomb": (lambda f: change_xml(f, "?>\n", "?>" + sentinel2.BOMB), "not plain XML"),
    "external entity": (
        lambda f: change_xml(f, "?>\n", '?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'),
        "not plain XML",
    ),
    "unknown encoding": (lambda f: change_xml(f, "UTF-8", "ZTF-8"), "not plain XML"),
    "JSON without end": (deep_json, "too deep"),
    "time before all time": (
        lambda f: say(f, datetime="0001-01-01T00:00:00+23:00"),
        "datetime .0001-01-01",
    ),
    "scale 0": (lambda f: say(f, {"scale": 0}), r"scale 0\.0"),
    "scale nan": (lambda f: say(f, {"scale": "nan"}), "scale nan"),
    "offset infinite": (lambda f: say(f, {"offset": float("inf")}), "offset inf"),
    "transform nan": (lambda f: placed(f, float("nan"), 0, 5e5, 0, -10, 5.3e6), "nowhere on Earth"),
    "transform infinite": (
        lambda f: placed(f, 10, 0, float("inf"), 0, -10, 5.3e6),
        "nowhere on Earth",
    ),
    "transform huge": (lambda f: placed(f, 1e300, 0, 5e5, 0, -10, 5.3e6), "nowhere on Earth"),
    "transform without extent": (
        lambda f: placed(f, 1e-300, 0, 5e5, 0, -1e-300, 5.3e6),
        "nowhere on Earth",
    ),
    "metres called degrees": (
        lambda f: placed(f, 10, 0, 5e5, 0, -10, 5.3e6, crs="EPSG:4326"),
        "true CRS",
    ),
    "a place the CRS has not": (lambda f: placed(f, 10, 0, 5e5, 0, -10, 5.3e7), "true CRS"),
    "complex numbers": (lambda f: typed(f, "complex64"), "type complex64"),
    "complex whole numbers": (lambda f: typed(f, "complex_int16"), "type complex_int16"),
}


def read_rows(archive: Archive, bands: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    source = registry.source_of(archive)
    items = list(source.items(archive))
    listed = [ListedItem(0, item.path, item.key, item.text) for item in items]
    return list(read_items(listed, Reading((archive,), (source.name,), bands)))


@pytest.mark.parametrize(("make", "message"), CASES.values(), ids=CASES)
def test_harm_is_a_row_at_once(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path)
    source = "stac" if any(tmp_path.glob("*.json")) else "auto"
    archive = Archive(str(tmp_path), source=source)  # type: ignore[arg-type]
    start = time.monotonic()
    tracemalloc.start()
    try:
        rows = read_rows(archive)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100e6
    # 2 s are asked for; machines that run other tests beside this one are slower.
    assert time.monotonic() - start < 4
    assert len(rows) == 1
    with pytest.raises(InputError, match=message):
        raise InputError(rows[0]["error"])
    assert not list(tmp_path.parent.glob("evil*"))


def test_the_ledger_has_a_row_for_each_and_the_good_one_is_used(
    tmp_path: Path, spark: SparkSession
) -> None:
    names = [name for name, (make, _) in CASES.items() if make is not deep_json]
    folders = {name: tmp_path / f"{n:02}" for n, name in enumerate(names)}
    archives = []
    for name, folder in folders.items():
        folder.mkdir()
        CASES[name][0](folder)
        archives.append(Archive(str(folder)))
    write_raster(tmp_path / "good" / "good_20240601.tif", texture(UTM33), UTM33, nodata=0)
    raw = {
        "name": "t",
        "scenes": [{"path": "."}],
        "bands": ["any"],
        "legend": {1: {"name": "a", "colour": "#000000"}},
    }
    mapped = {"b1": "any", "red": "any", "blue": "any"}
    config = replace(
        parse_run(raw, tmp_path),
        scenes=tuple(
            replace(a, bands=mapped) for a in (*archives, Archive(str(tmp_path / "good")))
        ),
    )
    result = index(StageContext(config, tmp_path / "out", Selection(), lambda: spark))
    assert (result.done, result.bad) == (1, len(names))
    assert [
        s.scene_id for s in scenes_from_table(store.read_table(tmp_path / "out", "scenes"))
    ] == ["good_20240601"]
    rows = [r for r in read_ledger(tmp_path / "out").to_pylist() if r["status"] == "bad"]
    assert len(rows) == len(names)
    assert all(r["stage"] == "index" and r["error"] for r in rows)


def list_files(root: Path, algorithm: str = "sha3_256", name: str = "SHA3-256") -> None:
    """The product's manifest with the checksums of all its files."""
    form = (
        '<dataObject><byteStream><fileLocation href="./{}"/>'
        '<checksum checksumName="{}">{}</checksum></byteStream></dataObject>'
    )
    files = [p for p in sorted(root.rglob("*.*")) if p.is_file() and p.name != "manifest.safe"]
    digests = [hashlib.new(algorithm, p.read_bytes()).hexdigest().upper() for p in files]
    listed = "".join(
        form.format(p.relative_to(root).as_posix(), name, d)
        for p, d in zip(files, digests, strict=True)
    )
    manifest = root / "manifest.safe"
    before = manifest.read_text()
    end = before.rindex("</") if "</" in before else None
    manifest.write_text(
        f"{before[:end]}{listed}{before[end:]}" if end else f"<xfdu>{listed}</xfdu>"
    )


def read_one(archive: Archive, *bands: str) -> Scene:
    source = registry.source_of(archive)
    (item,) = source.items(archive)
    return source.read(item, archive, bands)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("algorithm", "name"), [("sha3_256", "SHA3-256"), ("md5", "MD5")])
def test_a_sentinel2_product_is_verified_by_its_manifest(
    tmp_path: Path, algorithm: str, name: str
) -> None:
    root = sentinel2.make_product(tmp_path / "plain", "2A", "05.11", ("B02", "B04"))
    list_files(root, algorithm, name)
    archive = Archive(str(tmp_path / "plain"), verify=True)
    assert read_one(archive, "blue") == read_one(replace(archive, verify=False), "blue")
    packed = tmp_path / "packed" / f"{root.name}.zip"
    packed.parent.mkdir()
    shutil.make_archive(str(packed.with_suffix("")), "zip", root.parent)
    assert read_one(Archive(str(packed), verify=True), "blue").scene_id == SAFE
    # A file that is not asked for may be anything.
    flip(next(root.rglob("*B04_10m.jp2")))
    read_one(archive, "blue")
    with pytest.raises(
        InputError, match=rf"B04_10m\.jp2 has {algorithm} .* should be .*download it again"
    ):
        read_one(archive, "red")
    for pattern in ("*SCL_20m.jp2", "*SCL_60m.jp2", "MTD_TL.xml"):
        path = next(root.rglob(pattern))
        whole = path.read_bytes()
        path.write_bytes(whole + b" ")
        if pattern != "*SCL_60m.jp2":
            with pytest.raises(InputError, match=path.name):
                read_one(archive, "blue")
        path.write_bytes(whole)
    (root / "manifest.safe").write_text("<xfdu/>")
    with pytest.raises(InputError, match=r"no checksum of a known kind.*scenes\.verify"):
        read_one(archive, "blue")
    (root / "manifest.safe").unlink()
    with pytest.raises(InputError, match=r"manifest\.safe is not there"):
        read_one(archive, "blue")


def test_a_sentinel1_product_is_verified_with_its_tables(tmp_path: Path) -> None:
    root = sentinel1.make_product(tmp_path)
    list_files(root, "md5", "MD5")
    archive = Archive(str(tmp_path), verify=True)
    assert read_one(archive, "vv") == read_one(replace(archive, verify=False), "vv")
    for pattern in (
        "measurement/*-vv-*",
        "annotation/*-vv-*",
        "annotation/calibration/noise-*-vv-*",
    ):
        (path,) = root.glob(pattern)
        whole = path.read_bytes()
        path.write_bytes(whole + b" ")
        with pytest.raises(InputError, match=rf"{path.name} has md5"):
            read_one(archive, "vv")
        read_one(archive, "vh")
        path.write_bytes(whole)


def test_a_stac_item_is_verified_by_its_multihashes(tmp_path: Path) -> None:
    path = stac.raster(tmp_path / "red.tif")
    codes = {
        "sha1": "1114",
        "sha256": "1220",
        "sha512": "1340",
        "sha3_256": "1620",
        "md5": "d50110",
    }
    archive = Archive(str(tmp_path), verify=True)
    for algorithm, code in codes.items():
        checksum = code + hashlib.new(algorithm, path.read_bytes()).hexdigest()
        stac.write_item(
            tmp_path, stac.item("s", {"red": {"href": "red.tif", "file:checksum": checksum}})
        )
        assert read_one(archive, "red").scene_id == "s"
    for checksum in ("1220" + "0" * 64, "1220", "9920" + "0" * 64, None):
        stac.write_item(
            tmp_path, stac.item("s", {"red": {"href": "red.tif", "file:checksum": checksum}})
        )
        with pytest.raises(InputError, match=r"red\.tif has (sha256|no checksum)"):
            read_one(archive, "red")
        assert read_one(replace(archive, verify=False), "red").scene_id == "s"


def test_what_comes_without_checksums_cannot_be_verified(tmp_path: Path) -> None:
    landsat.make(tmp_path, landsat.OLI9, "OLI_TIRS", ["4"])
    with pytest.raises(InputError, match=r"without checksums: set scenes\.verify"):
        read_one(Archive(str(tmp_path), verify=True), "red")


def test_real_files_have_the_checksums_of_their_product(shared: Path) -> None:
    assert read_one(Archive(str(shared / "sentinel2_safe"), verify=True), "blue", "nir08").quality
