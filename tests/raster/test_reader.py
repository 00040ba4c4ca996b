"""Arrays come back from their bytes; rasters are read whole onto any grid, or not at all."""

from __future__ import annotations

import http.server
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.enums import ColorInterp

from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.raster import access, pixels, reader
from lulc.raster.access import ReadError
from lulc.tables.arrays import (
    array_columns,
    array_from,
    decode,
    encode,
    grid_columns,
    grid_from,
    pack,
    unpack,
)
from tests.helpers.synthetic_scenes import UTM33, cut_short, grid_inside, texture, write_raster

_DTYPES = st.sampled_from(
    [
        "bool",
        *(f"{k}{n}" for k in ("int", "uint") for n in (8, 16, 32, 64)),
        "float32",
        "float64",
        ">i2",
        ">f4",
    ]
)


@given(
    hnp.arrays(_DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)),
    st.sampled_from(["raw", "delta"]),
)
@settings(max_examples=150, deadline=None)
def test_arrays_come_back_from_their_columns(array: np.ndarray, codec: str) -> None:
    row = array_columns("x", array, codec)
    found = array_from(row, "x")
    assert (found.shape, found.dtype) == (array.shape, array.dtype.newbyteorder("="))
    np.testing.assert_array_equal(found, array)


def test_a_whole_column_of_arrays_is_decoded_at_once() -> None:
    arrays = np.random.default_rng(0).integers(0, 4000, (5, 2, 3, 8)).astype(np.uint16)
    data = b"".join(encode(a) for a in arrays)
    np.testing.assert_array_equal(decode(memoryview(data), arrays.shape, "uint16", "delta"), arrays)


def test_damaged_columns_are_refused() -> None:
    with pytest.raises(InputError, match="damaged"):
        decode(b"123", (2,), "uint16", "delta")
    with pytest.raises(InputError, match="codec"):
        decode(b"1234", (2,), "uint16", "zip")


@given(hnp.arrays(bool, hnp.array_shapes(max_dims=3, max_side=11)))
def test_valid_comes_back_from_its_bits(valid: np.ndarray) -> None:
    np.testing.assert_array_equal(unpack(pack(valid), valid.shape), valid)


def test_grids_come_back_from_their_columns() -> None:
    assert grid_from(grid_columns(UTM33)) == UTM33


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_on_its_own_lattice_a_raster_is_copied(tmp_path: Path, dtype: str) -> None:
    whole = texture(UTM33, top=250, dtype=dtype)
    whole[50:60, 50:60] = 0
    path = str(write_raster(tmp_path / "a.tif", whole, UTM33, nodata=0))
    assert reader.grid_of(path) == UTM33
    for resampling in ("nearest", "bilinear", "average"):
        found, valid = reader.read_band(path, 1, UTM33.window(-20, 30, 340, 310), resampling, None)
        expected = np.zeros((340, 310), dtype)
        expected[20:320, :300] = whole[:, 30:]
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(valid, expected != 0)


def test_valid_knows_nodata_masks_alpha_and_nan(tmp_path: Path) -> None:
    colours = np.stack([texture(UTM33, n, 200, "uint8") for n in range(4)])
    colours[3] = 255 * (np.arange(330) < 100)
    path = write_raster(tmp_path / "rgba.tif", colours, UTM33, photometric="RGB", alpha="YES")
    with rasterio.open(path) as file:
        assert file.colorinterp[3] == ColorInterp.alpha
    np.testing.assert_array_equal(
        reader.read_band(str(path), 1, UTM33, "bilinear", None)[1], colours[3] != 0
    )
    heights = texture(UTM33, dtype="float32")
    heights[:9], heights[9:12], heights[12:20] = np.nan, np.inf, -9999
    path = write_raster(tmp_path / "dem.tif", heights, UTM33)
    found, valid = reader.read_band(str(path), 1, UTM33.window(1, 1, 100, 100), "bilinear", -9999.0)
    assert not valid[:19].any()
    assert valid[19:].all()
    assert np.isfinite(found).all()
    # A nodata value that the type cannot hold is nowhere.
    path = write_raster(tmp_path / "plain.tif", colours[0], UTM33)
    assert reader.read_band(str(path), 1, UTM33, "nearest", -9999.0)[1].all()


def test_a_file_read_without_its_place_holds_the_same_pixels(tmp_path: Path) -> None:
    masked = write_raster(tmp_path / "masked.tif", texture(UTM33), UTM33)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(masked, "r+") as file:
        file.write_mask(texture(UTM33, 1) > 1500)
    colours = np.stack([texture(UTM33, n, 200, "uint8") for n in range(4)])
    files = [
        masked,
        write_raster(tmp_path / "nodata.tif", texture(UTM33) // 1000, UTM33, nodata=1),
        write_raster(
            tmp_path / "alpha.tif",
            np.where(colours > 90, colours, 0),
            UTM33,
            photometric="RGB",
            alpha="YES",
        ),
        write_raster(tmp_path / "picture.png", colours[:3], UTM33, driver="PNG"),
    ]
    for path in files:
        placed, seen, grid = reader.read_whole(str(path))
        found, valid, nowhere = reader.read_whole(str(path), with_grid=False)
        assert grid == UTM33 or path.suffix == ".png"
        assert nowhere is None
        assert 0 < valid.mean() < 1 or path.suffix == ".png"
        np.testing.assert_array_equal(found, placed)
        np.testing.assert_array_equal(valid, seen)


def test_a_part_read_through_a_window_equals_the_whole(tmp_path: Path) -> None:
    path = str(write_raster(tmp_path / "a.tif", texture(UTM33), UTM33, nodata=0))
    grid = grid_inside("EPSG:3035", 9.0, 250).window(90, 70, 260, 200)
    for resampling in ("nearest", "bilinear", "average"):
        found, valid = reader.read_band(path, 1, grid, resampling, None)
        part, seen = reader.read_band(path, 1, grid.window(64, 96, 96, 64), resampling, None)
        assert 0.2 < valid.mean() < 1
        np.testing.assert_array_equal(seen, valid[64:160, 96:160])
        assert np.abs(part.astype(int) - found[64:160, 96:160]).max() <= (
            1 if resampling != "nearest" else 3000
        )


def test_chunks_of_a_large_source_join_without_a_seam(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write_raster(tmp_path / "a.tif", texture(UTM33), UTM33))
    grid = Grid(UTM33.crs, (70.0, 0.0, 5e5, 0.0, -70.0, 5.3e6), 42, 47)
    whole = reader.read_band(path, 1, grid, "bilinear", None)
    monkeypatch.setattr("lulc.raster.reader._CHUNK_PIXELS", 5000)
    for one, other in zip(whole, reader.read_band(path, 1, grid, "bilinear", None), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("share", np.linspace(0.02, 0.98, 20))
def test_a_jp2_cut_short_is_never_read_silently(tmp_path: Path, share: float) -> None:
    whole = texture(UTM33)
    path = write_raster(
        tmp_path / "a.jp2",
        whole,
        UTM33,
        driver="JP2OpenJPEG",
        quality="100",
        reversible="YES",
        blockxsize=64,
        blockysize=64,
    )
    np.testing.assert_array_equal(reader.read_band(str(path), 1, UTM33, "nearest", None)[0], whole)
    cut_short(path, share)
    with pytest.raises(ReadError, match=r"a\.jp2"):
        reader.read_band(str(path), 1, UTM33, "nearest", None)


@pytest.mark.parametrize(("driver", "suffix"), [("GTiff", "tif"), ("PNG", "png"), ("JPEG", "jpg")])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_other_files_cut_short_are_errors(
    tmp_path: Path, driver: str, suffix: str, share: float
) -> None:
    path = write_raster(
        tmp_path / f"a.{suffix}", texture(UTM33, top=250, dtype="uint8"), UTM33, driver=driver
    )
    cut_short(path, share)
    with pytest.raises(ReadError, match=rf"a\.{suffix}"), access.open_raster(str(path)) as file:
        pixels.read_pixels(file, [1], rasterio.windows.Window(0, 0, 330, 300))


def test_a_window_that_was_not_filled_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Even when GDAL reports nothing: a stand-in for a reader that
    # leaves the buffer's last block alone.
    path = str(write_raster(tmp_path / "a.tif", texture(UTM33), UTM33))
    fill = pixels._fill

    def short(dataset: object, indexes: list[int], window: object, mark: bytes) -> np.ndarray:
        buffer = fill(dataset, indexes, window, mark)
        buffer[:, 256:, 256:] = np.frombuffer(mark[:2], np.uint16)[0]
        return buffer

    monkeypatch.setattr("lulc.raster.pixels._fill", short)
    with pytest.raises(ReadError, match="never filled"):
        reader.read_band(path, 1, UTM33, "nearest", None)
    # Data that hold the mark themselves are read all the same.
    monkeypatch.undo()
    marked = np.full(UTM33.shape, np.frombuffer(pixels._MARK[:2], np.uint16)[0])
    path = str(write_raster(tmp_path / "m.tif", marked, UTM33))
    np.testing.assert_array_equal(reader.read_band(path, 1, UTM33, "nearest", None)[0], marked)


def test_a_huge_claim_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    side = 100_000
    place = {"crs": "EPSG:32633", "transform": UTM33.affine}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=side,
        width=side,
        count=3,
        dtype="uint8",
        SPARSE_OK=True,
        tiled=True,
        **place,
    ):
        pass
    world = Grid(UTM33.crs, (10_000.0, 0.0, 5e5, 0.0, -10_000.0, 5.3e6), 100, 100)
    start = time.monotonic()
    tracemalloc.start()
    with pytest.raises(ReadError, match=r"GiB.*overviews"):
        reader.read_band(str(path), 1, world, "bilinear", None)
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()
    assert time.monotonic() - start < 2
    assert reader.read_band(str(path), 1, UTM33, "bilinear", None)[0].shape == UTM33.shape


def test_a_huge_raster_with_overviews_is_averaged_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = texture(UTM33)
    path = write_raster(tmp_path / "a.tif", whole, UTM33)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], rasterio.enums.Resampling.average)
    monkeypatch.setattr("lulc.raster.reader._MAX_BYTES", 60_000)
    grid = Grid(UTM33.crs, (100.0, 0.0, 5e5, 0.0, -100.0, 5.3e6), 30, 33)
    found, valid = reader.read_band(str(path), 1, grid, "bilinear", None)
    assert valid.all()
    expected = whole.reshape(30, 10, 33, 10).mean((1, 3))
    assert np.abs(found - expected).max() <= 2


@pytest.mark.parametrize(
    "href",
    [
        "file:///etc/hosts",
        "/vsicurl/http://127.0.0.1/x.tif",
        "/vsimem/x.tif",
        "../x.tif",
        "/tmp/../etc/x.tif",
        "NETCDF:x.nc:v",
        "GTIFF_DIR:1:/x.tif",
        "ftp://host/x.tif",
        "zip+https://host/x.zip!x.tif",
        "//host/share/x.tif",
        "<VRTDataset/>",
    ],
)
def test_hrefs_that_lead_elsewhere_are_refused(href: str) -> None:
    with pytest.raises(ReadError), access.open_raster(href):
        pass


def test_a_vrt_is_refused_whatever_its_name(tmp_path: Path) -> None:
    target = write_raster(tmp_path / "target.tif", texture(UTM33), UTM33)
    source = f"<SimpleSource><SourceFilename>{target}</SourceFilename></SimpleSource>"
    band = f'<VRTRasterBand dataType="UInt16" band="1">{source}</VRTRasterBand>'
    for name in ("x.tif", "x.vrt", "x.jp2", "x"):
        path = tmp_path / name
        path.write_text(f'<VRTDataset rasterXSize="330" rasterYSize="300">{band}</VRTDataset>')
        with pytest.raises(ReadError, match=name), access.open_raster(str(path)):
            pass


@pytest.fixture
def redirecting() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        asked: list[str] = []  # noqa: RUF012  (one list for all requests is meant)

        def do_HEAD(self) -> None:
            self.asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/secret")
            self.end_headers()

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/x.tif?signature=secret"
    assert len(Handler.asked) == 1
    server.shutdown()


def test_redirects_are_not_followed_nor_keys_shown(redirecting: str) -> None:
    with pytest.raises(ReadError, match="redirect") as caught, access.open_raster(redirecting):
        pass
    assert "secret" not in str(caught.value)


def test_rasters_that_lie_about_where_they_are(tmp_path: Path) -> None:
    grid = Grid("EPSG:4326", UTM33.transform, 30, 30)
    path = write_raster(tmp_path / "lies.tif", np.ones((30, 30), np.uint8), grid)
    with pytest.raises(InputError, match="true CRS"):
        reader.grid_of(str(path))
    with rasterio.open(
        tmp_path / "none.tif",
        "w",
        driver="GTiff",
        height=9,
        width=9,
        count=1,
        dtype="uint8",
        transform=UTM33.affine,
    ):
        pass
    with pytest.raises(InputError, match="no CRS"):
        reader.grid_of(str(tmp_path / "none.tif"))
    with pytest.raises(ReadError, match="no band 2"):
        reader.read_band(
            str(write_raster(tmp_path / "one.tif", texture(UTM33), UTM33)),
            2,
            UTM33,
            "nearest",
            None,
        )


def test_real_bands_are_read_as_rasterio_reads_them(shared: Path) -> None:
    path = next((shared / "sentinel2_safe").rglob("*_B04_60m.jp2"))
    grid = reader.grid_of(str(path)).window(900, 900, 300, 300)
    with rasterio.open(path) as file:
        expected = file.read(1, window=rasterio.windows.Window(900, 900, 300, 300))
    np.testing.assert_array_equal(
        reader.read_band(str(path), 1, grid, "bilinear", 0.0)[0], expected
    )
