"""Outlines of patches: they part the map, however it is cut into blocks."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from rasterio.features import rasterize
from scipy import ndimage

from lulc.legend import NODATA
from lulc.stats.outlines import Polygons, join_links, make_polygons, move, seal, trace_block

PIXELS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_ = NODATA
SPIRAL = np.array(
    [
        [1, 1, 1, 1, 1, 1, 1],
        [2, 2, 2, 2, 2, 2, 1],
        [1, 1, 1, 1, 1, 2, 1],
        [1, 2, 2, 2, 1, 2, 1],
        [1, 2, 1, 1, 1, 2, 1],
        [1, 2, 2, 2, 2, 2, 1],
        [1, 1, 1, 1, 1, 1, 1],
    ],
    np.uint8,
)
MAPS = {
    "one pixel": np.array([[7]], np.uint8),
    "nothing": np.full((3, 4), NODATA, np.uint8),
    "one class": np.full((9, 8), 3, np.uint8),
    "diagonal": np.array([[1, 2], [2, 1]], np.uint8),
    "holes that touch": np.array(
        [[1, 1, 1, 1], [1, _, 1, 1], [1, 1, 2, 1], [1, 1, 1, 1]], np.uint8
    ),
    "ring closed by a corner": np.array(
        [[_, 1, 1, 1], [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1]], np.uint8
    ),
    "spiral": SPIRAL,
    "comb": np.array([[1, 2] * 8] * 9 + [[1] * 16], np.uint8),
}


Shape = tuple[tuple[int, ...], int, shapely.Geometry]
"""First pixel, class and shape of a polygon."""


def cut(ids: np.ndarray, side: tuple[int, int], sealed: bool = False) -> list[tuple[int, Polygons]]:
    """The polygons of a map that is cut into blocks, by class."""
    height, width = ids.shape
    padded = np.pad(ids, 1, constant_values=NODATA)
    points, owners, links, link_owners = [], [], [], []
    classes: list[int] = []
    for row in range(0, height, side[0]):
        for col in range(0, width, side[1]):
            block = trace_block(padded[row : row + side[0] + 2, col : col + side[1] + 2])
            points.append(move(block.points, row, col))
            links.append(move(block.links, row, col))
            owners.append(block.patch_of + len(classes))
            link_owners.append(block.patch_of_link + len(classes))
            classes.extend(block.class_ids.tolist())
    all_points, all_links = np.concatenate(points), np.concatenate(links)
    owner, link_owner = np.concatenate(owners), np.concatenate(link_owners)
    if sealed:
        whole = [
            (seal(all_points[owner == part], all_links[link_owner == part]), part)
            for part in range(len(classes))
        ]
        all_points = np.concatenate([part_points for part_points, _ in whole])
        patch_of = np.concatenate([np.full(len(some), part) for some, part in whole])
        class_of = np.array(classes)
    else:
        count, patches = join_links(all_links, link_owner, len(classes))
        patch_of, class_of = patches[owner], np.zeros(count, int)
        class_of[patches] = classes
    if not len(all_points):
        return []
    found = make_polygons(all_points, patch_of, PIXELS)
    return [(int(class_of[patch]), found) for patch in found.patches]


def shapes_of(ids: np.ndarray, side: tuple[int, int], sealed: bool = False) -> list[Shape]:
    found = cut(ids, side, sealed)
    if not found:
        return []
    polygons = found[0][1]
    rows = zip(polygons.firsts.tolist(), (c for c, _ in found), polygons.shapes, strict=True)
    return sorted(((tuple(first), c, shape) for first, c, shape in rows), key=lambda row: row[:2])


def check_parts_the_map(ids: np.ndarray, shapes: list[Shape]) -> None:
    geometries = [shape for *_, shape in shapes]
    assert all(shapely.is_valid(geometries))
    assert shapely.coverage_is_valid(geometries)
    assert sum(shape.area for shape in geometries) == (ids != NODATA).sum()
    burnt = [(shape, c) for _, c, shape in shapes]
    if burnt:
        assert (rasterize(burnt, ids.shape, fill=NODATA, dtype="uint8") == ids).all()
    for (row, col), class_id, _shape in shapes:
        assert ids[row, col] == class_id


def count_patches(ids: np.ndarray) -> int:
    return sum(ndimage.label(ids == i)[1] for i in np.unique(ids) if i != NODATA)


def random_map(seed: int, classes: int, coarse: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    options = np.array([*range(1, classes + 1), NODATA], np.uint8)
    small = rng.choice(options, (-(-61 // coarse), -(-53 // coarse)))
    return np.kron(small, np.ones((coarse, coarse), np.uint8))[:61, :53]


@pytest.mark.parametrize("name", MAPS)
def test_polygons_part_a_small_map_in_any_blocks(name: str) -> None:
    ids = MAPS[name]
    whole = shapes_of(ids, ids.shape)
    check_parts_the_map(ids, whole)
    assert len(whole) == count_patches(ids)
    for side in ((1, 1), (1, 3), (2, 2), (3, 5), (4, 1)):
        assert shapes_of(ids, side) == whole


@pytest.mark.parametrize("seed", range(8))
def test_polygons_part_a_random_map_in_any_blocks(seed: int) -> None:
    ids = random_map(seed, 1 + seed % 4, 1 + seed % 3)
    whole = shapes_of(ids, ids.shape)
    check_parts_the_map(ids, whole)
    assert len(whole) == count_patches(ids)
    for side in ((3, 4), (7, 5), (16, 16), (60, 52)):
        assert shapes_of(ids, side) == whole


@pytest.mark.parametrize("seed", range(4))
def test_patches_may_be_left_in_the_parts_of_blocks(seed: int) -> None:
    ids = random_map(seed, 2, 2)
    side = (16, 9)
    parts = shapes_of(ids, side, sealed=True)
    check_parts_the_map(ids, parts)
    blocks = [ids[r : r + 16, c : c + 9] for r in range(0, 61, 16) for c in range(0, 53, 9)]
    assert len(parts) == sum(map(count_patches, blocks))


def test_points_are_where_outlines_turn_or_three_patches_meet() -> None:
    ids = np.array([[1, 1, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]], np.uint8)
    upper, *_rest = shapes_of(ids, (2, 2))
    assert upper[2].equals_exact(shapely.Polygon([(0, 0), (0, 1), (2, 1), (4, 1), (4, 0)]))
    assert shapely.get_num_coordinates(upper[2]) == 6


def test_blocks_that_differ_are_refused() -> None:
    block = trace_block(np.array([[_] * 4, [_, 1, 1, _], [_, 1, 1, _], [_, 1, 1, _]], np.uint8))
    with pytest.raises(ValueError, match="differ"):
        join_links(block.links, block.patch_of_link, 1)
