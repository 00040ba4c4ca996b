"""Tiles partition the plane; cut and mosaicked they give the source; masks and dates stay apart."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lulc import runfile
from lulc.bands import Band
from lulc.chips import composites
from lulc.chips.chip import Chip, choose_encoding, join_chips, write_chips
from lulc.chips.cut import Cut, cut_block
from lulc.chips.mosaic import ChipSpec
from lulc.chips.tiling import make_tiling
from lulc.errors import InputError
from lulc.geo.grid import WGS84, Grid, footprint, project, transformer
from lulc.geo.tiling import Tiling
from lulc.sources.scene import LAYER, Clear, Scene
from lulc.tables import schemas, store
from lulc.tables.encoding import Encoding, merge_encodings, recode
from tests.helpers.synthetic_scenes import (
    UTM33,
    cut_short,
    grid_inside,
    make_scene,
    texture,
    write_raster,
)

OWN = Tiling(
    "own-64", UTM33.crs, 10.0, 64, UTM33.transform[2], UTM33.transform[5], None, UTM33.shape
)
RGB = Encoding(("red",), "uint16", (1.0,), (0.0,))


def _cut_all(scenes: list[Scene], spec: ChipSpec) -> Cut:
    """All blocks that the scenes' footprints may reach, as one Cut."""
    found = []
    bounds = [project(footprint(UTM33), WGS84, spec.tiling.crs).bounds]
    for col, row in spec.tiling.cells(bounds[0], spec.span):
        found.append(cut_block(scenes, spec, col, row, "p"))
    bad = {i: error for made in found for i, error in made.unreadable.items()}
    return Cut(
        tuple(c for made in found for c in made.chips),
        tuple(t for made in found for t in made.skipped),
        bad,
    )


@given(
    st.integers(-5000, 5000),
    st.integers(-5000, 5000),
    st.integers(1, 4),
    st.sampled_from([16, 64, 512]),
)
@settings(deadline=None)
def test_tiles_partition_the_plane(x: int, y: int, span: int, size: int) -> None:
    tiling = Tiling("t", "EPSG:6933", 7.5, size, 11.0, -3.0)
    box = (float(x), float(y), x + 3000.0, y + 2000.0)
    tiles = list(tiling.cells(box))
    counts = {}
    for col, row in tiling.cells(box, span):
        for tile in tiling.cells(tiling.grid(col, row, 0, span).bounds):
            counts[tile] = counts.get(tile, 0) + 1
    assert set(tiles) <= set(counts)
    assert set(counts.values()) == {1}
    areas = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (tiling.grid(*t).bounds for t in tiles))
    xs = [b for t in tiles for b in tiling.grid(*t).bounds[0::2]]
    ys = [b for t in tiles for b in tiling.grid(*t).bounds[1::2]]
    assert areas == pytest.approx((max(xs) - min(xs)) * (max(ys) - min(ys)))
    assert min(xs) <= box[0] <= box[2] <= max(xs)


@pytest.mark.parametrize("span", [1, 3])
def test_cut_then_mosaic_is_the_source(tmp_path: Path, span: int) -> None:
    pixels = texture(UTM33)
    pixels[40:70, 10:200] = 0
    scene = make_scene(tmp_path, "a", {"red": pixels})
    made = _cut_all([scene], ChipSpec(OWN, RGB, halo=16, span=span))
    assert len(made.chips) == 5 * 6
    assert not made.unreadable
    found, valid, grid = join_chips(made.chips)
    assert grid.transform == pytest.approx(UTM33.transform)
    np.testing.assert_array_equal(found[0, 0, :300, :330], pixels)
    np.testing.assert_array_equal(valid[0, :300, :330], pixels != 0)
    # The tiles reach over the source's edge, and there is nothing there.
    assert not valid[0, 300:].any()
    assert not found[0, 0, :, 330:].any()
    # The halo holds what the neighbour's core does.
    first, second = (
        next(c for c in made.chips if c.tile_id == f"own-64/{col}_1") for col in (1, 2)
    )
    np.testing.assert_array_equal(first.pixels[..., -32:], second.pixels[..., :32])


def test_blocks_of_any_size_cut_the_same_chips(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "a", {"red": texture(UTM33)})
    tiling = Tiling("t-64", "EPSG:3035", 10.0, 64)
    one, four = (
        {c.tile_id: c for c in _cut_all([scene], ChipSpec(tiling, RGB, halo=16, span=span)).chips}
        for span in (1, 4)
    )
    assert one.keys() == four.keys()
    for tile_id, chip in one.items():
        np.testing.assert_array_equal(chip.valid, four[tile_id].valid)
        assert np.abs(chip.pixels.astype(int) - four[tile_id].pixels).max() <= 1


def test_scenes_of_two_zones_and_one_day_are_one_date_without_a_seam(tmp_path: Path) -> None:
    # The same plane in two UTM zones, each with one half of it: together they give the plane back.
    zone32 = Grid("EPSG:32632", (10.0, 0.0, 948400.0, 0.0, -10.0, 5318000.0), 360, 420)
    scenes = []
    for name, grid, keep in (("west", UTM33, slice(0, 170)), ("east", zone32, slice(150, 420))):
        x, y = grid.affine @ np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
        east, north = transformer(grid.crs, "EPSG:3035").transform(x, y)
        plane = np.zeros(grid.shape, np.uint16)
        plane[:, keep] = np.rint((east - 4.69e6) / 4 + (north - 2.75e6) / 8 + 100)[:, keep]
        scenes.append(
            make_scene(
                tmp_path,
                name,
                {"red": plane},
                grid,
                "2024-06-01T10:00" if name == "west" else "2024-06-01T22:40",
            )
        )
    grid = grid_inside("EPSG:3035", 10.0, 192)
    tiling = Tiling("t-64", "EPSG:3035", 10.0, 64, grid.transform[2], grid.transform[5])
    made = cut_block(scenes, ChipSpec(tiling, RGB, dates=2, halo=0, span=3), 0, 0, "p")
    found, valid, grid = join_chips(made.chips)
    assert valid[0].all()
    assert not valid[1].any()
    x, y = grid.affine @ np.meshgrid(np.arange(192) + 0.5, np.arange(192) + 0.5)
    assert np.abs(found[0, 0] - ((x - 4.69e6) / 4 + (y - 2.75e6) / 8 + 100)).max() <= 1.5
    assert {i for c in made.chips for i in c.scene_ids} == {"west", "east"}
    assert made.chips[0].datetimes == (datetime(2024, 6, 1, 10, tzinfo=UTC),)


def test_the_clearest_dates_are_kept_in_order_of_time(tmp_path: Path) -> None:
    scenes = []
    for day, clear in ((1, 30), (5, 90), (9, 60), (12, 90), (20, 0)):
        quality = np.zeros(UTM33.shape, np.uint8)
        quality[:, : 330 * clear // 100] = 1
        scenes.append(
            make_scene(
                tmp_path,
                f"s{day}",
                {"red": texture(UTM33, day), "quality": quality},
                day=f"2024-06-{day:02}T10:00",
            )
        )
    tiling = replace(OWN, name="own-320", size=320)
    made = cut_block(scenes[::-1], ChipSpec(tiling, RGB, dates=3, halo=0, span=1), 0, 0, "p")
    (chip,) = made.chips
    assert [t.day for t in chip.datetimes] == [5, 9, 12]
    assert chip.scene_ids == ("s5", "s9", "s12")
    assert chip.clear == pytest.approx(300 * 297 / 320**2)
    assert chip.valid.any(0).sum() == 300 * 297
    np.testing.assert_array_equal(chip.pixels[1, 0, :300, :198], texture(UTM33, 9)[:, :198])
    assert not chip.pixels[:, :, :, 300:].any()
    # More dates than there are: the rest is not valid; the cloudy
    # date has no valid pixel and does not count.
    (chip,) = cut_block(scenes, ChipSpec(tiling, RGB, dates=6, halo=0, span=1), 0, 0, "p").chips
    assert chip.pixels.shape == (6, 1, 320, 320)
    assert len(chip.datetimes) == 4
    assert not chip.valid[4:].any()


def test_layers_join_every_date_and_scenes_without_a_date_are_one(tmp_path: Path) -> None:
    heights = texture(UTM33, 9, dtype="float32")
    heights[:50] = np.nan
    path = str(write_raster(tmp_path / "dem.tif", heights, UTM33))
    dem = Band("elevation", path, dtype="float32")
    outline = make_scene(tmp_path, "x", {"red": texture(UTM33)}).footprint
    layer = Scene("layer:elevation", LAYER, None, UTM33.crs, outline, (dem,))
    dated = [
        make_scene(tmp_path, f"s{n}", {"red": texture(UTM33, n)}, day=f"2024-06-0{n}")
        for n in (1, 2)
    ]
    undated = make_scene(tmp_path, "u", {"red": texture(UTM33, 3)}, day=None)
    encoding = choose_encoding([layer, *dated], ("elevation", "red"))
    assert encoding.dtype == "float32"
    spec = ChipSpec(
        replace(OWN, size=320), encoding, dates=2, halo=0, span=1, layers=(("elevation", None),)
    )
    (chip,) = cut_block([*dated, layer], spec, 0, 0, "p").chips
    for t, n in enumerate((1, 2)):
        np.testing.assert_array_equal(chip.pixels[t, 0, 50:300, :320], heights[50:, :320])
        np.testing.assert_array_equal(chip.pixels[t, 1, 50:300, :320], texture(UTM33, n)[50:, :320])
    assert not chip.valid[:, :50].any()
    assert chip.scene_ids == ("s1", "layer:elevation", "s2")
    (chip,) = cut_block([layer, undated], spec, 0, 0, "p").chips
    assert chip.datetimes == ()
    assert chip.valid[0, 50:300].all()
    assert cut_block([layer], spec, 0, 0, "p").chips == ()


def test_gaps_of_a_layer_are_no_data_unless_the_run_file_fills_them(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "a", {"red": texture(UTM33)})
    heights = np.full(UTM33.shape, 700, np.uint16)
    heights[:, :100] = 0
    layer = replace(
        make_scene(tmp_path, "layer:elevation", {"elevation": heights}), source=LAYER, datetime=None
    )
    encoding = choose_encoding([layer, scene], ("elevation", "red"))
    tiling = replace(OWN, size=320)
    for fill, known in ((None, False), (0.045, True)):
        spec = ChipSpec(tiling, encoding, halo=0, span=1, layers=(("elevation", fill),))
        (chip,) = cut_block([scene, layer], spec, 0, 0, "p").chips
        assert (chip.valid[0, :300, :100] == known).all()
        assert (chip.pixels[0, 0, :300, :100] == encoding.number(fill or 0, "elevation")).all()
        assert (chip.pixels[0, 0, :300, 100:] == 700).all()


@pytest.mark.parametrize(
    ("other", "dtype"),
    [
        (("uint8", 1.0, 0.0), "float32"),
        (("uint8", 1 / 255, 0.0), "uint16"),
        (("uint16", 2.75e-5, -0.2), "uint16"),
    ],
)
def test_numbers_in_unlike_units_are_not_clipped_to_one_scale(
    other: tuple[str, float, float], dtype: str
) -> None:
    optical = Encoding(("red",), "uint16", (1e-4,), (-0.1,))
    kind, scale, offset = other
    pictures = Encoding(("red",), kind, (scale,), (offset,))
    joined = merge_encodings([optical, pictures])
    assert joined.dtype == dtype
    for own, dn in ((optical, 5000), (pictures, 200)):
        kept = (
            recode(np.full((1, 1, 1, 1), dn, own.dtype), own, joined).item() * joined.scales[0]
            + joined.offsets[0]
        )
        assert kept == pytest.approx(dn * own.scales[0] + own.offsets[0], rel=1e-3)


def test_a_scene_that_cannot_be_read_gives_nothing_and_is_named(tmp_path: Path) -> None:
    good, short, bare = (
        make_scene(tmp_path, name, {"red": texture(UTM33), "nir": texture(UTM33, 1)})
        for name in ("z", "a", "b")
    )
    cut_short(Path(short.bands[1].href), 0.6)
    bare = replace(bare, bands=bare.bands[:1])
    encoding = choose_encoding([good, short], ("red", "nir"))
    spec = ChipSpec(OWN, encoding, halo=0, span=6)
    made = cut_block([good, short, bare], spec, 0, 0, "p")
    assert made.unreadable.keys() == {"a", "b"}
    assert "a_nir.tif band 1 rows" in made.unreadable["a"]
    assert "no band nir" in made.unreadable["b"]
    alone = cut_block([good], spec, 0, 0, "p")
    assert [c.to_row() for c in made.chips] == [c.to_row() for c in alone.chips]


def test_encoding_holds_every_scene(tmp_path: Path) -> None:
    def scene(name: str, scale: float, offset: float, dtype: str = "uint16") -> Scene:
        made = make_scene(tmp_path, name, {"red": texture(UTM33, dtype=dtype)})
        return replace(made, bands=(replace(made.bands[0], scale=scale, offset=offset),))

    old, new = scene("old", 1e-4, 0.0), scene("new", 1e-4, -0.1)
    encoding = choose_encoding([old, new], ("red",))
    assert (encoding.dtype, encoding.scales, encoding.offsets) == ("uint16", (1e-4,), (-0.1,))
    spec = ChipSpec(replace(OWN, size=320), encoding, halo=0, span=1)
    (same,), (moved,) = (cut_block([s], spec, 0, 0, "p").chips for s in (new, old))
    np.testing.assert_array_equal(same.pixels[0, 0, :300], texture(UTM33)[:, :320])
    # The older scene has no offset: its numbers grow by 1000, its physical values stay.
    np.testing.assert_array_equal(moved.pixels[0, 0, :300], texture(UTM33)[:, :320] + 1000)
    high = texture(UTM33) + np.uint16(62000)
    write_raster(Path(old.bands[0].href), high, UTM33, nodata=0)
    (full,) = cut_block([old], spec, 0, 0, "p").chips
    np.testing.assert_array_equal(
        full.pixels[0, 0, :300], np.minimum(high[:, :320].astype(int) + 1000, 65535)
    )
    assert choose_encoding([old, scene("f", 1.0, 0.0, "float64")], ("red",)).dtype == "float32"
    assert choose_encoding([old, scene("i", 1.0, 0.0, "int16")], ("red",)).dtype == "int32"
    with pytest.raises(InputError, match="nir"):
        choose_encoding([old], ("red", "nir"))
    lying = replace(old, bands=(replace(old.bands[0], dtype="uint8"),))
    made = cut_block([lying], replace(spec, encoding=choose_encoding([lying], ("red",))), 0, 0, "p")
    assert "holds uint16 where the scenes table says uint8" in made.unreadable["old"]


@given(
    hnp.arrays(np.uint16, (5, 2, 3, 4), elements=st.integers(0, 50)), hnp.arrays(bool, (5, 3, 4))
)
@settings(deadline=None)
def test_composite_is_the_lower_median_of_valid_dates(
    pixels: np.ndarray, valid: np.ndarray
) -> None:
    image, seen = composites.median_composite(pixels, valid)
    np.testing.assert_array_equal(seen, valid.any(0))
    for c, i, j in np.ndindex(image.shape):
        line = sorted(pixels[valid[:, i, j], c, i, j])
        assert image[c, i, j] == (line[(len(line) - 1) // 2] if line else 0)


def test_chips_come_back_from_their_file_and_bytes_do_not_depend_on_the_attempt(
    tmp_path: Path,
) -> None:
    scene = make_scene(tmp_path, "a", {"red": texture(UTM33)})
    made = cut_block([scene], ChipSpec(OWN, RGB, halo=16, span=2), 0, 0, "p").chips
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    for path in (one, two):
        write_chips(path, made, {"key": "k", "skipped": []})
    assert one.read_bytes() == two.read_bytes()
    assert store.read_footer(one) == {"key": "k", "skipped": []}
    schemas.check_schema(pq.read_schema(one), schemas.CHIPS, "the file")
    assert pq.ParquetFile(one).num_row_groups == len(made)
    for chip, row in zip(made, store.read_rows(one), strict=True):
        back = Chip.from_row(row)
        np.testing.assert_array_equal(back.pixels, chip.pixels)
        np.testing.assert_array_equal(back.valid, chip.valid)
        rest = {"pixels", "valid"}
        assert {n: v for n, v in vars(back).items() if n not in rest} == {
            n: v for n, v in vars(chip).items() if n not in rest
        }
    (row,) = store.read_rows(one, ["tile_id"], [2])
    assert row == {"tile_id": made[2].tile_id}
    with pytest.raises(InputError, match="delete it"):
        store.read_footer(Path(scene.bands[0].href))


def test_memory_does_not_grow_with_the_number_of_dates(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "a", {"red": texture(UTM33)})
    peaks = []
    for count in (3, 24):
        dates = [
            replace(scene, scene_id=f"s{n}", datetime=datetime(2024, 6, 1 + n, tzinfo=UTC))
            for n in range(count)
        ]
        tracemalloc.start()
        cut_block(dates, ChipSpec(OWN, RGB, dates=2, halo=16, span=6), 0, 0, "p")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_tilings_are_named_after_what_they_are(tmp_path: Path) -> None:
    raw = {
        "name": "t",
        "scenes": [{"path": "x"}],
        "bands": ["red"],
        "legend": {1: {"name": "a", "colour": "#000000"}},
    }

    def tiling(**changes: object) -> Tiling:
        return make_tiling(
            runfile.parse_run(raw | {"tiling": changes, "samples": {"size": 16}}, tmp_path)
        )

    assert tiling().name == "6933-10m-512"
    assert tiling(crs="EPSG:4326", resolution=0.0001, size=256).name == "4326-0.0001deg-256"
    assert tiling(crs="ESRI:54009", resolution=0.5).name == "ESRI54009-0.5m-512"
    # A CRS that is merely like a code has its own name.
    for crs in ("+proj=utm +zone=33 +ellps=intl", "+proj=utm +zone=33 +ellps=WGS84"):
        assert tiling(crs=crs, resolution=10.0).name.startswith("custom")
    path = write_raster(tmp_path / "my scene.tif", texture(UTM33), UTM33)
    like = tiling(like=str(path), size=64)
    assert like == replace(OWN, name="my-scene-64")
    turned = replace(UTM33, transform=tuple((UTM33.affine @ UTM33.affine.rotation(10))[:6]))
    with pytest.raises(InputError, match="rotated"):
        tiling(like=str(write_raster(tmp_path / "turned.tif", texture(UTM33), turned)))


def test_a_scene_that_a_library_stumbles_over_is_unreadable(tmp_path: Path) -> None:
    # No quality layer has bits before its first one: Python refuses the shift.
    quality = np.ones(UTM33.shape, "uint8")
    good = make_scene(tmp_path, "good", {"red": texture(UTM33), "quality": quality})
    harmful = Clear("quality", (1,), bits=-1)
    bad = make_scene(tmp_path, "bad", {"red": texture(UTM33), "quality": quality})
    made = _cut_all([replace(bad, clear=(harmful,)), good], ChipSpec(OWN, RGB, halo=0, span=4))
    assert set(made.unreadable) == {"bad"}
    assert made.unreadable["bad"].startswith("scene bad cannot be read (ValueError: ")
    assert {chip.scene_ids for chip in made.chips} == {("good",)}
