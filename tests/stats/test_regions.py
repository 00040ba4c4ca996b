"""Regions keep their true shape and area, whatever their file and CRS."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely

from lulc.config import RegionFile
from lulc.errors import InputError
from lulc.geo import areas, grid, reproject
from lulc.stats import regions
from lulc.tables import layout

SQUARE = shapely.box(0, 0, 1, 1)
# Transverse Mercator on GRS 80 without an authority code.
NO_CODE = "+proj=tmerc +lon_0=-111 +k=0.9996 +x_0=500000 +ellps=GRS80 +units=m +no_defs"


def write(path: Path, shapes: list, crs: str | None = "EPSG:4326", **columns: list) -> RegionFile:
    kind = (
        "Unknown"
        if len({s.geom_type for s in shapes if s is not None}) != 1
        else next(s.geom_type for s in shapes if s is not None)
    )
    pyogrio.raw.write(
        str(path),
        geometry=np.array([None if s is None else shapely.to_wkb(s) for s in shapes], object),
        field_data=[
            np.array(v, object if isinstance(v[0], str | None) else None) for v in columns.values()
        ],
        fields=list(columns),
        crs=crs,
        geometry_type=kind,
    )
    return RegionFile(str(path))


def shapes_of(found: regions.RegionSet) -> list:
    return list(shapely.from_wkb(found.table["geometry"].to_pylist()))


def test_ids_names_and_level(tmp_path):
    file = write(
        tmp_path / "a.gpkg",
        [SQUARE, shapely.box(1, 0, 2, 1)],
        Code=["x", "y"],
        Name=["Ex", "Why"],
        n=[1.0, 2.0],
    )
    rows = regions.read_regions([file]).table.to_pylist()
    assert [(r["region_id"], r["name"], r["level"]) for r in rows] == [
        ("x", "Ex", "region"),
        ("y", "Why", "region"),
    ]
    rows = regions.read_regions(
        [RegionFile(file.path, id="n", name="Code", level="park")]
    ).table.to_pylist()
    assert [(r["region_id"], r["name"], r["level"]) for r in rows] == [
        ("1", "x", "park"),
        ("2", "y", "park"),
    ]


def test_default_id_must_be_distinct_else_rows_are_numbered(tmp_path):
    file = write(tmp_path / "parks.gpkg", [SQUARE, SQUARE], name=["same", "same"])
    found = regions.read_regions([file])
    assert found.table["region_id"].to_pylist() == ["parks-1", "parks-2"]
    (note,) = found.notes
    assert "2 regions of parks.gpkg are numbered parks-1 to parks-2" in note
    assert "'name' repeats values" in note
    with pytest.raises(InputError, match=r"same.*more than once"):
        regions.read_regions([RegionFile(file.path, id="name")])
    with pytest.raises(InputError, match=r"no layer with column 'nme'.*name"):
        regions.read_regions([RegionFile(file.path, id="nme")])


def test_ids_are_the_texts_of_the_file(tmp_path):
    boxes = [shapely.box(i, 0, i + 1, 1) for i in range(4)]
    file = write(tmp_path / "a.gpkg", boxes, id=["007", "NA", "None", "nan"])
    found = regions.read_regions([file])
    assert found.table["region_id"].to_pylist() == ["007", "NA", "None", "nan"]
    assert found.notes == ()


def test_an_id_that_is_missing_numbers_all_and_is_told(tmp_path):
    file = write(tmp_path / "a.gpkg", [SQUARE, SQUARE], id=["x", None])
    found = regions.read_regions([file])
    assert found.table["region_id"].to_pylist() == ["a-1", "a-2"]
    assert "'id' repeats values or lacks some" in found.notes[0]
    with pytest.raises(InputError, match="feature 2 has no value in id column 'id'"):
        regions.read_regions([RegionFile(file.path, id="id")])


def test_regions_come_from_geoparquet_and_from_one_named_layer(tmp_path):
    table = geopandas.GeoDataFrame({"id": ["a"]}, geometry=[SQUARE], crs=4326)
    table.to_parquet(tmp_path / "a.parquet")
    found = regions.read_regions([RegionFile(str(tmp_path / "a.parquet"))])
    assert found.table["region_id"].to_pylist() == ["a"]
    path = str(tmp_path / "a.gpkg")
    table.to_file(path, layer="country")
    table.assign(id=["b"]).to_file(path, layer="provinces")
    with pytest.raises(InputError, match=r"a\.gpkg has 2 layers.*country, provinces"):
        regions.read_regions([RegionFile(path)])
    found = regions.read_regions([RegionFile(path, layer="provinces")])
    assert found.table["region_id"].to_pylist() == ["b"]


def test_unusable_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.gpkg"):
        regions.read_regions([RegionFile(str(tmp_path / "nowhere.gpkg"))])
    bare = write(tmp_path / "bare.gpkg", [SQUARE], crs=None, n=[1])
    with pytest.raises(InputError, match=r"bare\.gpkg has no CRS"):
        regions.read_regions([bare])
    lying = write(tmp_path / "lying.gpkg", [shapely.box(500000, 4e6, 501000, 4.001e6)], n=[1])
    with pytest.raises(InputError, match="are not degrees"):
        regions.read_regions([lying])
    vrt = tmp_path / "a.vrt"
    vrt.write_text(
        '<OGRVRTDataSource><OGRVRTLayer name="bare">'
        f"<SrcDataSource>{bare.path}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    )
    with pytest.raises(InputError, match="VRT"):
        regions.read_regions([RegionFile(str(vrt))])


def test_bow_tie_is_repaired_and_shapes_without_area_are_reported(tmp_path):
    bow_tie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    file = write(
        tmp_path / "a.gpkg",
        [bow_tie, shapely.Polygon(), None, shapely.Point(1, 1), SQUARE],
        id=list("abcde"),
    )
    found = regions.read_regions([file])
    assert found.table["region_id"].to_pylist() == ["a", "e"]
    assert (found.repaired, found.empty) == (("a",), ("b", "c", "d"))
    assert shapes_of(found)[0].is_valid
    assert shapes_of(found)[0].area == pytest.approx(2)


@pytest.mark.parametrize(
    ("crs", "box"),
    [
        (NO_CODE, (300_000, 4_110_000, 335_000, 4_153_000)),
        ("EPSG:32636", (200_000, 700_000, 900_000, 1_500_000)),
        ("EPSG:3035", (2_600_000, 1_500_000, 6_000_000, 5_000_000)),
        ("EPSG:2263", (900_000, 100_000, 1_100_000, 300_000)),  # US feet
        ("EPSG:4326", (-60, -60, 70, 80)),
        ("EPSG:4326", (170, -20, 200, 10)),  # longitudes that run on
        ("EPSG:32601", (200_000, 6_000_000, 600_000, 6_100_000)),  # over the antimeridian
        ("EPSG:3031", (-2e6, -2e6, 2e6, 2e6)),  # round the pole
        ("EPSG:3413", (-1e6, -1.5e6, 2e6, 2e6)),
    ],
)
def test_straight_sides_stay_true(crs, box):
    shape = shapely.box(*box) - shapely.Point(
        np.mean(box[::2]) + 0.1 * (box[2] - box[0]), np.mean(box[1::2])
    ).buffer((box[3] - box[1]) / 9)
    placed = reproject.to_degrees(shape, crs, "a")
    assert placed.is_valid
    assert placed.bounds[0] >= -180
    assert placed.bounds[2] <= 180
    # Against Karney's geodesic polygons on sides cut 2000 times.
    assert areas.degrees_area(placed) == pytest.approx(areas.geodesic_area(shape, crs), rel=2e-8)
    if not grid.parse_crs(crs).is_geographic:
        assert reproject.reproject_exact(placed, grid.WGS84, crs).area == pytest.approx(
            shape.area, rel=2e-9
        )


def test_degrees_area_is_the_geodesic_area():
    rng = np.random.default_rng(1)
    for _ in range(10):
        angle = np.sort(rng.uniform(0, 2 * np.pi, 12))
        size = rng.uniform(0.01, 20)
        place = np.column_stack(
            [
                rng.uniform(-150, 150) + size * np.cos(angle),
                rng.uniform(-65, 65) + size * np.sin(angle),
            ]
        )
        shape = shapely.Polygon(place)
        assert areas.degrees_area(shape) == pytest.approx(
            areas.geodesic_area(shape, grid.WGS84), rel=1e-6
        )


def test_neighbours_still_share_their_border():
    """Quarters of a park, cut and then carried, add up to the park."""
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    radius = 15_000 + 4_000 * np.sin(5 * angle)
    park = shapely.Polygon(
        np.column_stack([320_000 + radius * np.cos(angle), 4_130_000 + radius * np.sin(angle)])
    )
    x, y = park.centroid.coords[0]
    quarters = [
        park & shapely.box(*b)
        for b in ((0, 0, x, y), (x, 0, 1e7, y), (0, y, x, 1e7), (x, y, 1e7, 1e7))
    ]
    whole, *parts = (reproject.to_degrees(p, NO_CODE, "park") for p in (park, *quarters))
    assert sum(map(areas.degrees_area, parts)) == pytest.approx(areas.degrees_area(whole), rel=1e-9)
    back = [reproject.reproject_exact(p, grid.WGS84, "EPSG:6933") for p in parts]
    for i in range(4):
        assert (back[i] & back[(i + 1) % 4]).area < 1e-9 * park.area
    assert sum(p.area for p in back) == pytest.approx(
        reproject.reproject_exact(whole, grid.WGS84, "EPSG:6933").area, rel=1e-9
    )


def test_region_is_read_by_position(tmp_path):
    boxes = [shapely.box(i / 10, 0, (i + 1) / 10, 1) for i in range(150)]
    found = regions.read_regions(
        [write(tmp_path / "a.gpkg", boxes, id=[str(i) for i in range(150)])]
    )
    regions.write_regions(tmp_path, found.table)
    path = str(tmp_path / layout.table_file("regions"))
    for i in (0, 63, 64, 149):
        region = regions.read_region(path, "a", i)
        assert (region.position, region.level, region.whole_map) == (i, "region", False)
        assert region.geometry.equals(boxes[i])


def test_geojson_without_ids_is_numbered(tmp_path):
    path = tmp_path / "b.geojson"
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(SQUARE)}]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert regions.read_regions([RegionFile(str(path))]).table["region_id"].to_pylist() == ["b-1"]


def test_park_with_a_crs_of_its_own(shared):
    found = regions.read_regions(
        [RegionFile(str(shared / "zion" / "zion.gpkg"), id="UNIT_CODE", name="UNIT_NAME")]
    )
    meta, _, wkb, _ = pyogrio.raw.read(shared / "zion" / "zion.gpkg")
    area = areas.geodesic_area(shapely.from_wkb(wkb[0]), meta["crs"])
    assert found.table["area_m2"].to_pylist() == pytest.approx([area], rel=1e-8)
    assert found.table["name"].to_pylist() == ["Zion National Park"]


@pytest.mark.parametrize("parts", [2, 3])
def test_a_region_cut_in_parts_is_the_region(parts: int) -> None:
    ring = shapely.Polygon([(0, 0), (10, 1), (12, 9), (5, 6), (1, 11)], [[(3, 2), (5, 2), (4, 4)]])
    found = dict(regions.cut_by_grid(ring, parts))
    assert len(found) > parts
    assert shapely.union_all(list(found.values())).symmetric_difference(ring).area == pytest.approx(
        0, abs=1e-9
    )
    assert sum(p.area for p in found.values()) == pytest.approx(ring.area)
    assert dict(regions.cut_by_grid(ring, 1)) == {"": ring}


def test_a_file_that_is_named_as_the_whole_map_is_read(tmp_path: Path) -> None:
    for name, level in (("map", "region"), ("parks", "parks")):
        path = write(tmp_path / f"{name}.gpkg", [SQUARE]).path
        found = regions.read_regions([RegionFile(path, level=regions.level_of_file(path))])
        assert found.table["level"].to_pylist() == [level]


@pytest.mark.parametrize(
    "flat",
    [
        shapely.Polygon([(0, 0), (2, 0), (1, 0)]),
        shapely.Polygon([(3, 3)] * 4),
        shapely.MultiPolygon([shapely.Polygon([(0, 0), (0, 2), (0, 1)])]),
    ],
    ids=["line", "point", "multipolygon"],
)
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32633"])
def test_a_polygon_without_an_area_is_reported(
    tmp_path: Path, flat: shapely.Geometry, crs: str
) -> None:
    found = regions.read_regions([write(tmp_path / "a.gpkg", [flat, SQUARE], crs, id=["f", "s"])])
    assert found.empty == ("f",)
    assert found.table["region_id"].to_pylist() == ["s"]
    alone = write(tmp_path / "b.gpkg", [flat], crs)
    with pytest.raises(InputError, match=r"no region of .*b\.gpkg is a polygon with an area"):
        regions.read_regions([alone])
