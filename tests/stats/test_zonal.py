"""Fractions are exact, and areas by class add up to the true area of land, region and map."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import shapely
import shapely.ops
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from lulc.errors import InputError
from lulc.geo import antimeridian, areas, reproject
from lulc.geo.areas import pixel_areas
from lulc.geo.coverage import count_runs, covered_share, find_runs, fractions
from lulc.geo.grid import Grid, outline
from lulc.geo.tiling import Tiling
from lulc.legend import NODATA
from lulc.stats import zonal
from lulc.stats.class_areas import MapTiles, balance
from lulc.stats.regions import Region
from lulc.tables import arrays
from lulc.tables.schemas import REGIONS
from tests.helpers.synthetic_predictions import LEGEND, MODEL, random_tile, write_block

GRID = Grid("EPSG:6933", (10.0, 0.0, 1000.0, 0.0, -10.0, 5000.0), 60, 80)


def star(
    rng: np.random.Generator, x: float, y: float, size: float, points: int
) -> shapely.Geometry:
    angle = np.sort(rng.uniform(0, 2 * np.pi, points))
    radius = size * rng.uniform(0.3, 1, points)
    return shapely.make_valid(
        shapely.Polygon(np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)]))
    )


def shape_over(rng: np.random.Generator, grid: Grid) -> shapely.Geometry:
    """A polygon of some parts with a hole, partly outside the grid."""
    xmin, ymin, xmax, ymax = grid.bounds
    parts = []
    for _ in range(rng.integers(1, 4)):
        x, y = rng.uniform(xmin - 100, xmax + 100), rng.uniform(ymin - 100, ymax + 100)
        parts.append(star(rng, x, y, rng.uniform(1, 700), int(rng.integers(3, 60))))
    hole = star(rng, (xmin + xmax) / 2, (ymin + ymax) / 2, 150, 9)
    return antimeridian.only_polygons(shapely.union_all(parts) - hole)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_fractions_are_exact_in_every_pixel(seed):
    shape = shape_over(np.random.default_rng(seed), GRID)
    share = fractions(shape, GRID)
    col, row = np.meshgrid(np.arange(80), np.arange(60))
    squares = shapely.box(1000 + 10 * col, 4990 - 10 * row, 1010 + 10 * col, 5000 - 10 * row)
    assert np.abs(share - shapely.area(shapely.intersection(squares, shape)) / 100).max() < 1e-9
    assert covered_share(shape, GRID) == pytest.approx(share.mean(), abs=1e-12)


def test_counts_equal_those_of_exactextract():
    from exactextract import exact_extract
    from exactextract.raster import NumPyRasterSource

    rng = np.random.default_rng(3)
    xmin, ymin, xmax, ymax = GRID.bounds
    for _ in range(40):
        classes = rng.integers(0, 9, GRID.shape).astype(np.uint8)
        shape = shape_over(rng, GRID)
        found, _ = count_runs(find_runs(shape, GRID), classes, np.ones((1, 1)))
        feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)}
        raster = NumPyRasterSource(classes, xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)
        (result,) = exact_extract(raster, feature, ["unique", "frac", "count"])
        expected = np.zeros(256)
        named = result["properties"]
        if named["count"]:
            expected[np.asarray(named["unique"], int)] = np.asarray(named["frac"]) * named["count"]
        assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize(
    "shape",
    [
        shapely.box(1234, 4321, 1234 + 1e-3, 4321 + 1e-3),  # a millionth of a pixel
        shapely.box(900, 4705, 2000, 4705 + 1e-4),  # thinner than a hair, right across
        shapely.Polygon([(1000, 5000), (1800, 4400), (1800, 4400 + 1e-3)]),
        shapely.box(1000, 4400, 1800, 5000),  # the grid itself
        shapely.box(900, 4300, 1900, 5100)
        - shapely.box(1100, 4500, 1700, 4900),  # a frame over all edges
        shapely.box(1100, 4500, 1200, 4600)
        | shapely.box(1200, 4600, 1300, 4700),  # two that touch in a point
        shapely.MultiPolygon(
            [shapely.box(1100, 4500, 1200, 4600), shapely.box(1200, 4500, 1300, 4600)]
        ),  # two that touch along a side
        shapely.box(0, 0, 100, 100),  # outside
        shapely.Polygon(),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_odd_shapes(shape, turned):
    grid = GRID
    if turned:  # another order of rings and a grid whose rows run north
        shape = shape.reverse()
        grid = Grid("EPSG:6933", (10.0, 0.0, 1000.0, 0.0, 10.0, 4400.0), 60, 80)
    inside = shapely.box(1000, 4400, 1800, 5000)
    expected = (
        sum(shapely.area(shapely.intersection(part, inside)) for part in shapely.get_parts(shape))
        / 100
    )
    assert fractions(shape, grid).sum() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_rotated_grid():
    turn = Affine.rotation(30) @ Affine.scale(10, -10)
    grid = Grid("EPSG:6933", tuple(turn[:6]), 40, 50)
    rng = np.random.default_rng(5)
    shape = star(rng, *(turn @ (25, 20)), 180, 20)
    expected = (shape & outline(grid)).area / 100
    assert fractions(shape, grid).sum() == pytest.approx(expected, rel=1e-9)


def test_areas_by_pixel_and_by_row_equal_the_weighted_sum():
    rng = np.random.default_rng(4)
    classes = rng.integers(0, 9, GRID.shape).astype(np.uint8)
    shape = shape_over(rng, GRID)
    share = fractions(shape, GRID)
    for weights in (
        np.full((1, 1), 7.0),
        rng.uniform(1, 2, (60, 1)),
        np.repeat(rng.uniform(1, 2, (6, 1)), 10, 0),
        rng.uniform(1, 2, (60, 80)),
    ):
        count, area = count_runs(find_runs(shape, GRID), classes, weights)
        assert count == pytest.approx(np.bincount(classes.ravel(), share.ravel(), 256), abs=1e-9)
        assert area == pytest.approx(
            np.bincount(classes.ravel(), (share * weights).ravel(), 256), abs=1e-9
        )


def test_brute_force_agrees():
    rng = np.random.default_rng(6)
    shape, fine = star(rng, 1400, 4700, 250, 12), 20
    x = 1000 + (np.arange(80 * fine) + 0.5) * 10 / fine
    y = 5000 - (np.arange(60 * fine) + 0.5) * 10 / fine
    inside = shapely.contains_xy(shape, *np.meshgrid(x, y)).reshape(60, fine, 80, fine).mean((1, 3))
    assert np.abs(fractions(shape, GRID) - inside).max() < 0.06
    assert abs((fractions(shape, GRID) - inside).mean()) < 1e-4


@pytest.mark.parametrize(
    ("crs", "resolution", "x", "y"),
    [
        ("EPSG:6933", 30.0, -10_800_000, 4_500_000),
        ("EPSG:3035", 30.0, 4_300_000, 3_000_000),
        ("EPSG:32612", 30.0, 300_000, 4_150_000),
        ("EPSG:32612", 30.0, 60_000, 4_150_000),  # at the rim of its zone
        ("EPSG:26712", 30.0, 300_000, 4_150_000),  # NAD27: another ellipsoid
        ("EPSG:4326", 0.0003, 6.2, 2.9),
        ("EPSG:4326", 0.0003, -10.0, 68.0),
        ("EPSG:3857", 30.0, 1_000_000, 6_000_000),
    ],
)
def test_regions_that_partition_the_land_add_up(tmp_path, crs, resolution, x, y):
    """Land cut in random cells: classes and rest of each cell, and of all, are the true areas."""
    rng = np.random.default_rng(7)
    tiling = Tiling("t", crs, resolution, 64, x, y)
    tiles = [random_tile(rng, tiling.grid(c, r), f"t/{c}_{r}") for c in range(3) for r in range(3)]
    file = write_block(tmp_path, tiles)
    side = 3 * 64 * resolution
    land = shapely.Polygon(
        [
            (x - 0.1 * side, y - 0.9 * side),
            (x + 0.4 * side, y + 0.1 * side),
            (x + 1.1 * side, y - side / 3),
            (x + side / 2, y - side),
        ]
    )
    seeds = shapely.MultiPoint(
        np.column_stack([rng.uniform(x, x + side, 12), rng.uniform(y - side, y, 12)])
    )
    cells = [c & land for c in shapely.get_parts(shapely.voronoi_polygons(seeds, extend_to=land))]
    shapes = [
        reproject.to_degrees(s, crs, "cell") for s in (land, *(c for c in cells if c.area > 0))
    ]
    inside = zonal.count_block(
        file,
        [(t, p) for t in range(9) for p in range(len(shapes))],
        lambda p: Region(p, "region", shapes[p]),
        0.8,
    )
    outside = [
        outside_row(p, s, [arrays.grid_from(t) for t in tiles]) for p, s in enumerate(shapes)
    ]
    table = balanced(inside, outside, shapes).to_pandas()
    per_region = table.groupby("region_id")["area_m2"].sum()
    whole, parts = per_region["0"], per_region.drop("0").sum()
    # The land's long sides were densified before they were projected: each may be off by BORDER_M.
    assert parts == pytest.approx(whole, rel=5e-8)
    by_class = table[table.region_id != "0"].groupby("class_name")["area_m2"].sum()
    assert by_class.to_dict() == pytest.approx(
        table[table.region_id == "0"].set_index("class_name")["area_m2"].to_dict(), rel=1e-7
    )
    true = np.array([areas.degrees_area(s) for s in shapes])
    off = np.abs(per_region[[str(p) for p in range(len(shapes))]].to_numpy() - true)
    # Beyond the error of projected borders: nothing on an equal-area grid, next to nothing
    # elsewhere, the datum's own on NAD27.
    rel = {"EPSG:6933": 1e-9, "EPSG:3035": 1e-9, "EPSG:26712": 4e-5}.get(crs, 1e-8)
    assert (off <= rel * true + [r["slack_m2"] for r in outside]).all()


def outside_row(position: int, shape: shapely.Geometry, grids: list[Grid]) -> dict:
    area, slack = zonal.measure_outside(shape, grids)
    return {"position": position, "period": "p", "model": MODEL, "area_m2": area, "slack_m2": slack}


OF_RUN = MapTiles(lambda _: [("t/0_0", GRID), ("u/0_0", GRID)], of_run=True)


def balanced(
    inside: list[dict],
    outside: list[dict],
    shapes: list[shapely.Geometry],
    tiles: MapTiles = OF_RUN,
) -> pa.Table:
    rows = [
        (str(p), "region", str(p), shapely.to_wkb(s), areas.degrees_area(s))
        for p, s in enumerate(shapes)
    ]
    table = pa.Table.from_pylist([dict(zip(REGIONS.names, r, strict=True)) for r in rows], REGIONS)
    names = {c.id: c.name for c in LEGEND.classes}
    return balance(
        pa.Table.from_pylist(inside, zonal.INSIDE),
        pa.Table.from_pylist(outside, zonal.OUTSIDE),
        table,
        names,
        tiles,
    )


def test_covered_tile_takes_its_counts_and_other_grids_their_true_areas():
    rng = np.random.default_rng(8)
    tile = random_tile(rng, GRID, "t/0_0")

    def read() -> list[np.ndarray]:
        raise AssertionError("the pixels were read")

    shape = outline(GRID).buffer(1)
    sums = zonal.count_tile(tile, read, shape, 0.8)
    count, area, certain, confident, unsure = sums
    layers = [arrays.array_from(tile, name) for name in ("classes", "confidence", "entropy")]
    classes, confidence, entropy = layers
    assert count.tolist() == np.bincount(classes.ravel(), minlength=256).tolist()
    assert area == pytest.approx(count * 100)
    assert certain[:3] == pytest.approx(
        [confidence[classes == i].sum() for i in range(3)]
    )  # pixels of 100 m², per cent
    assert confident[:3] == pytest.approx(
        [100 * (confidence[classes == i] >= 80).sum() for i in range(3)]
    )
    assert unsure[:3] == pytest.approx([entropy[classes == i].sum() for i in range(3)])
    # Counted by pixels, as where a region ends within the tile, nothing else comes out.
    cut = [
        zonal.count_tile(tile, lambda: layers, part, 0.8)
        for part in shapely.get_parts(split(shape))
    ]
    assert sum(cut)[:, :3] == pytest.approx(sums[:, :3])
    # Tiles of earlier releases, and maps made elsewhere, come without.
    for part in (shape, shapely.get_parts(split(shape))[0]):
        bare = tile | {"entropy_sums": None}
        *_, unsure = zonal.count_tile(bare, lambda: layers[:2], part, 0.8)
        assert np.isnan(unsure[:3]).all()
        no_percents = np.zeros((3, 101), np.uint32)
        bare |= arrays.array_columns("percent_counts", no_percents, "raw")
        _, area, *unknown = zonal.count_tile(bare, lambda: layers[:2], part, 0.8)
        assert np.isnan(np.stack(unknown)[:, :3]).all()
        assert area[:3].all()
    degrees = Grid("EPSG:4326", (0.001, 0.0, 10.0, 0.0, -0.001, 60.0), *classes.shape)
    tile = tile | arrays.grid_columns(degrees)
    count, area, *_ = zonal.count_tile(tile, lambda: layers, outline(degrees), 0.8)
    assert count.tolist() == np.bincount(classes.ravel(), minlength=256).tolist()
    assert area == pytest.approx(
        np.bincount(
            classes.ravel(), np.broadcast_to(pixel_areas(degrees), classes.shape).ravel(), 256
        )
    )


def split(shape: shapely.Polygon) -> shapely.GeometryCollection:
    """Two parts, by a slanting line."""
    xmin, ymin, xmax, ymax = shape.bounds
    return shapely.ops.split(
        shape, shapely.LineString([(xmin - 1, ymin + 33), (xmax + 1, ymax - 71)])
    )


def test_a_tile_counted_twice_is_found():
    shape = reproject.to_degrees(outline(GRID).buffer(-25), GRID.crs, "a")
    inside = [
        {
            "position": 0,
            "period": "p",
            "model": MODEL,
            "class_id": 1,
            "pixels": 1.0,
            "area_m2": 2 * areas.degrees_area(shape),
        }
    ]
    with pytest.raises(
        InputError,
        match=r"1 of 1 regions do not add up: t/0_0 and u/0_0 overlap[\s\S]*"
        r"Delete tables/predictions[\s\S]*region '0', period p",
    ):
        balanced(inside, [outside_row(0, shape, [GRID])], [shape])


@pytest.mark.parametrize(
    ("share", "moved", "reason"),
    [
        (1.5, 30, "a.tif and b.tif overlap and are counted twice there"),
        (1.5, 80, "no tiles overlap, so a pixel's area is not what its CRS gives"),
        (0.5, 80, "part of the region lies within the map's tiles, and in no pixel of them"),
    ],
)
def test_what_does_not_add_up_says_why(share, moved, reason):
    shape = reproject.to_degrees(outline(GRID).buffer(-25), GRID.crs, "a")
    inside = dict.fromkeys(zonal.SUMS, share * areas.degrees_area(shape)) | {
        "position": 0,
        "period": "p",
        "model": MODEL,
        "class_id": 1,
    }
    tiles = [("a.tif", GRID), ("b.tif", GRID.window(0, moved, *GRID.shape))]
    with pytest.raises(InputError, match=reason) as caught:
        balanced(
            [inside], [outside_row(0, shape, [GRID])], [shape], MapTiles(lambda _: tiles, False)
        )
    assert "gdalwarp" in str(caught.value)
    assert "predictions" not in str(caught.value)


def test_shares_and_the_unobserved_rest():
    shape = shapely.box(10, 50, 10.01, 50.01)
    whole = areas.degrees_area(shape)
    rows = [(1, 0.5), (2, 0.25), (NODATA, 0.125)]
    inside = [
        {
            "position": 0,
            "period": "p",
            "model": MODEL,
            "class_id": c,
            "pixels": 10 * s,
            "area_m2": s * whole,
        }
        for c, s in rows
    ]
    outside = [
        {"position": 0, "period": "p", "model": MODEL, "area_m2": whole / 8, "slack_m2": 0.0}
    ]
    table = balanced(inside, outside, [shape]).to_pylist()
    assert [r["class_id"] for r in table] == [1, 2, None]
    assert [r["class_name"] for r in table] == ["one", "two", "unobserved"]
    assert [r["area_m2"] / whole for r in table] == pytest.approx([0.5, 0.25, 0.25])
    assert [r["pixels"] for r in table] == [5, 2.5, None]
    assert [r["share"] for r in table[:2]] == pytest.approx([2 / 3, 1 / 3])
    assert table[2]["share"] is None
    assert (
        {r["mean_confidence"] for r in table} == {r["confident_m2"] for r in table} == {None}
    )  # no confidence, no figure
    assert [r["observed_share"] for r in table] == pytest.approx([0.75] * 3)
