"""Polygons of class rasters: of any cut into files and blocks the same, and as large as the map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyogrio
import pytest
import rasterio
import shapely
from rasterio.features import rasterize

from lulc.config import MapFiles, Overlap
from lulc.errors import InputError
from lulc.geo.areas import pixel_areas
from lulc.geo.reproject import to_degrees
from lulc.legend import NODATA
from lulc.stats.class_rasters import scan_rasters
from lulc.stats.polygon_files import write_vector_tiles
from lulc.stats.polygons import (
    PATCHES,
    Lattice,
    dissolve,
    find_parts,
    join_parts,
    links_of,
    list_blocks,
    make_lattices,
    polygon_table,
    shared_parts,
    whole_patches,
)
from lulc.tables import layout, schemas
from tests.stats.test_outlines import random_map

PIXEL = 1 / 12000


def write_raster(path: Path, ids: np.ndarray, row: int = 0, col: int = 0, **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = rasterio.Affine(PIXEL, 0, 6 + col * PIXEL, 0, -PIXEL, 3 - row * PIXEL)
    profile = {
        "driver": "GTiff",
        "height": ids.shape[0],
        "width": ids.shape[1],
        "count": 1,
        "dtype": "uint8",
        "nodata": NODATA,
        "crs": "EPSG:4326",
        "transform": transform,
    }
    with rasterio.open(path, "w", **(profile | changes)) as file:
        file.write(ids, 1)
    return path


def lattices_of(folder: Path, overlap: Overlap = "refuse") -> list[Lattice]:
    return make_lattices(scan_rasters([MapFiles(str(folder / "*.tif"), "p")], overlap))


def polygons_of(lattices: list[Lattice], side: int, **limits: int) -> pa.Table:
    """The polygons table as the stage makes it, without Spark."""
    parts = pa.concat_tables(
        [find_parts(block, lattices, side) for block in list_blocks(lattices, side)]
    )
    whole, shared = whole_patches(parts), shared_parts(parts)
    joined = join_parts(links_of(parts), **limits).to_pylist()
    by_patch: dict[int, list[dict[str, Any]]] = {}
    for key, part in zip(joined, shared.to_pylist(), strict=True):
        by_patch.setdefault(key["patch"], []).append(part | {"is_left": key["is_left"]})
    rows = [row for some in by_patch.values() for row in dissolve({"parts": some}, lattices)]
    patches = pa.concat_tables([whole, pa.Table.from_pylist(rows, PATCHES)])
    return polygon_table(
        patches.sort_by([("lattice", "ascending"), ("place", "ascending")]), lattices, {1: "one"}
    )


def check_is_the_map(polygons: pa.Table, lattice: Lattice, ids: np.ndarray) -> None:
    shapes = shapely.from_wkb(polygons["geometry"].to_pylist())
    class_ids = polygons["class_id"].to_numpy()
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)
    burnt = rasterize(
        zip(shapes, class_ids.tolist(), strict=True),
        ids.shape,
        fill=NODATA,
        transform=lattice.grid.affine,
        dtype="uint8",
    )
    assert (burnt == ids).all()
    union, plane = shapely.union_all(shapes), PIXEL**2 * np.count_nonzero(ids != NODATA)
    assert union.area == pytest.approx(plane, rel=1e-9)
    assert shapely.area(shapes).sum() == pytest.approx(plane, rel=1e-9)
    areas = np.broadcast_to(pixel_areas(lattice.grid), ids.shape)
    for class_id in np.unique(ids[ids != NODATA]):
        own = pc.equal(polygons["class_id"], int(class_id))
        sums = {name: pc.sum(polygons.filter(own)[name]).as_py() for name in ("area_m2", "pixels")}
        assert sums["area_m2"] == pytest.approx(areas[ids == class_id].sum(), rel=1e-9)
        assert sums["pixels"] == (ids == class_id).sum()


def without_areas(polygons: pa.Table) -> pa.Table:
    return polygons.drop_columns(["area_m2", "mean_confidence"])


@pytest.mark.parametrize("seed", range(3))
def test_a_map_has_the_same_polygons_in_any_files_and_blocks(seed: int, tmp_path: Path) -> None:
    ids = random_map(seed, 3, 2)
    write_raster(tmp_path / "whole" / "a.tif", ids)
    (lattice,) = lattices = lattices_of(tmp_path / "whole")
    whole = polygons_of(lattices, 2048)
    check_is_the_map(whole, lattice, ids)
    assert set(whole["class_name"].to_pylist()) == {"one", "class 2", "class 3"}
    assert whole["mean_confidence"].null_count == len(whole)
    for row, col, name in ((0, 0, "d"), (0, 30, "c"), (25, 0, "b"), (25, 30, "a")):
        part = ids[row : row + 25 if row == 0 else None, col : col + 30 if col == 0 else None]
        write_raster(tmp_path / "parts" / f"{name}.tif", part, row, col)
    for some, side in ((lattices, 16), (lattices_of(tmp_path / "parts"), 20)):
        cut = polygons_of(some, side)
        assert without_areas(cut).equals(without_areas(whole))
        np.testing.assert_allclose(cut["area_m2"], whole["area_m2"], rtol=1e-9)


def test_a_patch_with_too_many_points_is_left_in_its_parts(tmp_path: Path) -> None:
    ids = random_map(5, 1, 1)
    write_raster(tmp_path / "a.tif", ids)
    (lattice,) = lattices = lattices_of(tmp_path)
    whole, parted = polygons_of(lattices, 16), polygons_of(lattices, 16, max_points=40)
    assert len(parted) > len(whole)
    check_is_the_map(parted, lattice, ids)
    assert max(shapely.get_num_coordinates(shapely.from_wkb(parted["geometry"].to_pylist()))) < (
        shapely.get_num_coordinates(shapely.from_wkb(whole["geometry"].to_pylist())).max()
    )


def test_what_rasters_share_is_of_the_first_or_refused(tmp_path: Path) -> None:
    ids = random_map(2, 2, 3)
    write_raster(tmp_path / "b.tif", np.full((20, 20), 9, np.uint8), 10, 10)
    write_raster(tmp_path / "a.tif", ids)
    expected = ids.copy()
    square = expected[10:30, 10:30]
    square[square == NODATA] = 9
    (lattice,) = lattices = lattices_of(tmp_path, "first")
    check_is_the_map(polygons_of(lattices, 16), lattice, expected)
    with pytest.raises(InputError, match=r"a\.tif and .*b\.tif overlap"):
        polygons_of(lattices_of(tmp_path), 16)


def test_rasters_on_other_pixels_are_refused(tmp_path: Path) -> None:
    ids = np.ones((4, 4), np.uint8)
    write_raster(tmp_path / "a.tif", ids)
    shifted = rasterio.Affine(PIXEL, 0, 6.5 + PIXEL / 2, 0, -PIXEL, 3)
    write_raster(tmp_path / "b.tif", ids, transform=shifted)
    with pytest.raises(InputError, match="not on the pixels of one grid"):
        lattices_of(tmp_path)


def test_a_map_goes_round_the_earth_once(tmp_path: Path) -> None:
    # Half a pixel more is rounding, as for areas.
    for name, degrees, cols in (("once", 10.1, 36), ("more", 10.0, 37)):
        around = rasterio.Affine(degrees, 0, -180, 0, -10, 90)
        for number, width in enumerate((20, cols - 20)):
            shifted = around @ rasterio.Affine.translation(20 * number, 0)
            path = tmp_path / name / f"{number}.tif"
            write_raster(path, np.ones((18, width), np.uint8), transform=shifted)
    (lattice,) = lattices_of(tmp_path / "once")
    assert lattice.grid.shape == (18, 36)
    with pytest.raises(InputError, match="reach around the Earth and beyond"):
        lattices_of(tmp_path / "more")


def test_periods_in_two_crss_are_refused(tmp_path: Path) -> None:
    ids = np.ones((4, 4), np.uint8)
    write_raster(tmp_path / "a.tif", ids)
    write_raster(
        tmp_path / "b.tif",
        ids,
        crs="EPSG:32632",
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 1e5),
    )
    maps = scan_rasters([MapFiles(str(tmp_path / f"{name}.tif"), name) for name in "ab"])
    with pytest.raises(InputError, match="periods a and b are in two CRSs"):
        make_lattices(maps)


def test_a_raster_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", np.ones((8, 8), np.uint8))
    lattices = lattices_of(tmp_path)
    first, *_ = list_blocks(lattices, 4)
    with pytest.raises(InputError, match="has changed"):
        join_parts(links_of(find_parts(first, lattices, 4)))


@pytest.mark.parametrize(
    ("crs", "transform", "zoom"),
    [
        ("EPSG:4326", rasterio.Affine(0.25, 0, 179.25, 0, -0.25, 1), 4),
        ("EPSG:32601", rasterio.Affine(20_000, 0, 120_000, 0, -20_000, 200_000), 4),
        ("EPSG:3413", rasterio.Affine(500_000, 0, -1e6, 0, -500_000, 1e6), 2),
    ],
)
def test_vector_tiles_are_cut_at_the_antimeridian(
    crs: str, transform: rasterio.Affine, zoom: int, tmp_path: Path
) -> None:
    ids = np.ones((4, 4), np.uint8)
    write_raster(tmp_path / "a.tif", ids, crs=crs, transform=transform)
    (lattice,) = lattices = lattices_of(tmp_path)
    rows = polygons_of(lattices, 16).cast(schemas.POLYGONS)
    place = tmp_path / layout.table_file("polygons", 0)
    place.parent.mkdir(parents=True)
    pq.write_table(rows, place)
    write_vector_tiles(tmp_path, "p", crs, zoom, tmp_path / "p.pmtiles")
    tiles = pyogrio.read_dataframe(tmp_path / "p.pmtiles").to_crs("EPSG:4326")
    shown = shapely.union_all(tiles.geometry.to_numpy())
    places = to_degrees(shapely.box(*lattice.grid.bounds), crs, "map")
    mercator = shapely.box(-180, -85.05, 180, 85.05)
    expected = places & mercator
    assert (shown & mercator).symmetric_difference(expected).area < 0.03 * expected.area
