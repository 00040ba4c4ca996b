"""Polygons of class maps, block by block: what a block holds, and the patches that blocks share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from lulc.config import Overlap
from lulc.errors import InputError
from lulc.geo.areas import pixel_areas
from lulc.geo.grid import Grid, same_crs, turn_of
from lulc.geo.overlap import pixel_offset
from lulc.legend import NODATA
from lulc.raster.classes import ClassRaster, read_ids
from lulc.stats import outlines
from lulc.stats.class_rasters import SIDE, ClassMaps
from lulc.stats.mosaic import SharedPixels
from lulc.tables import schemas

MAX_POINTS = 10_000_000
"""A patch of more points is left in the parts that blocks hold: no program would open it."""

PATCHES = pa.schema(
    [
        pa.field("lattice", pa.int32()),  # position of its period's lattice
        pa.field("place", pa.int64()),  # of its first pixel along a curve through the plane
        pa.field("class_id", pa.int32()),
        pa.field("pixels", pa.int64()),
        pa.field("area_m2", pa.float64()),
        pa.field("confidence_m2", pa.float64()),  # sum of m² × confidence; null without confidence
        pa.field("geometry", pa.binary()),
    ]
)
"""Schema of patches with their polygons."""

PARTS = pa.schema(
    [
        *PATCHES,  # place and geometry are null of a part
        pa.field("part", pa.int64()),  # its number; null of a patch that ends in its block
        pa.field("points", pa.binary()),  # outlines.POINTS
        pa.field("links", pa.binary()),  # outlines.LINKS
    ]
)
"""Schema of what blocks hold: whole patches, and parts of those that blocks share."""

LINKED = pa.schema(
    [*(PARTS.field(name) for name in ("part", "lattice", "links")), pa.field("size", pa.int64())]
)
"""Schema of what tells which parts are of one patch; `size`: the bytes of its points."""

JOINED = pa.schema(
    [pa.field("part", pa.int64()), pa.field("patch", pa.int64()), pa.field("is_left", pa.bool_())]
)
"""Schema of which patch a part is of; `is_left`: it is a polygon of its own."""


@dataclass(frozen=True)
class Lattice:
    """The class rasters of one period, all on the pixels of one grid."""

    period: str
    """Name of the period."""
    grid: Grid
    """The smallest grid that holds the rasters."""
    rasters: tuple[ClassRaster, ...]
    """In the order in which they own what they share."""
    corners: tuple[tuple[int, int], ...]
    """Row and column in the grid of the first pixel of each."""
    overlap: Overlap
    """Whether two of them may have classes at one place."""
    confidence: tuple[str, ...] = ()
    """The raster of per cents that lies beside each of them; none where there are none."""


def make_lattices(maps: ClassMaps, confidence: Mapping[str, str] | None = None) -> list[Lattice]:
    """Return the lattice of each period.

    Args:
        maps: the class rasters.
        confidence: path of a class raster → path of its raster of confidence, per cent.

    Raises:
        InputError: rasters of a period are not on the pixels of one grid, or go round the Earth
            more than once; or periods are in different CRSs.
    """
    lattices = []
    for period, mosaic in zip(maps.periods, maps.mosaics, strict=True):
        first = mosaic.rasters[0]
        offsets = []
        for raster in mosaic.rasters:
            offset = pixel_offset(first.grid, raster.grid)
            if offset is None:
                raise InputError(
                    f"{first.path} and {raster.path} of period {period} are not on the pixels of "
                    "one grid: polygons are made of rasters in one CRS and pixel size, whose "
                    "pixels coincide. Warp them to one grid first (gdalwarp -tap -tr)"
                )
            offsets.append(offset)
        top, left = np.min(offsets, 0).tolist()
        corners = tuple((row - top, col - left) for row, col in offsets)
        shapes = [raster.grid.shape for raster in mosaic.rasters]
        height, width = np.max(np.add(corners, shapes), 0).tolist()
        grid = first.grid.window(top, left, height, width)
        turn = turn_of(grid.crs)
        if turn is not None and (width - 0.5) * abs(grid.transform[0]) > turn:
            raise InputError(
                f"the rasters of period {period}, such as {first.path}, reach around the Earth and "
                "beyond their beginning: give longitudes from -180 to 180 (gdalwarp -t_srs)"
            )
        beside = tuple(confidence[raster.path] for raster in mosaic.rasters) if confidence else ()
        lattice = Lattice(period, grid, mosaic.rasters, corners, mosaic.overlap, beside)
        lattices.append(lattice)
        if not same_crs(grid.crs, lattices[0].grid.crs):
            raise InputError(
                f"the rasters of periods {lattices[0].period} and {period} are in two CRSs: "
                "polygons of a run are in one. Warp one period to the other's (gdalwarp -t_srs)"
            )
    return lattices


def list_blocks(lattices: Sequence[Lattice], side: int = SIDE) -> list[dict[str, int]]:
    """Return the blocks in which there is a raster: `number`, `lattice`, `row` and `col`."""
    blocks = []
    for position, lattice in enumerate(lattices):
        corners = np.array(lattice.corners)
        ends = corners + [raster.grid.shape for raster in lattice.rasters]
        cells = {
            (row, col)
            for (top, left), (bottom, right) in zip(
                (corners // side).tolist(), (-(-ends // side)).tolist(), strict=True
            )
            for row in range(top, bottom)
            for col in range(left, right)
        }
        blocks += [
            {"lattice": position, "row": row * side, "col": col * side}
            for row, col in sorted(cells)
        ]
    return [{"number": number} | block for number, block in enumerate(blocks)]


def find_parts(block: Mapping[str, int], lattices: Sequence[Lattice], side: int = SIDE) -> pa.Table:
    """Find the patches of a block.

    Args:
        block: from `list_blocks`.
        lattices: from `make_lattices`.
        side: pixels a side of a block.

    Returns:
        Rows of PARTS.

    Raises:
        InputError: a raster cannot be read, or two of them overlap that may not.
    """
    lattice, row, col = lattices[block["lattice"]], block["row"], block["col"]
    height, width = min(side, lattice.grid.height - row), min(side, lattice.grid.width - col)
    window = (row - 1, col - 1, height + 2, width + 2)
    ids = _read(lattice, window)
    found = outlines.trace_block(ids)
    count = len(found.class_ids)
    if not count:
        return PARTS.empty_table()
    numbers = found.patches.ravel() + 1

    def sum_by_patch(values: np.ndarray) -> np.ndarray:
        weights = np.broadcast_to(values, found.patches.shape).ravel()
        return np.bincount(numbers, weights, count + 1)[1:]

    areas = pixel_areas(lattice.grid.window(row, col, height, width))
    sums: dict[str, Any] = {
        "lattice": np.full(count, block["lattice"], np.int32),
        "class_id": found.class_ids.astype(np.int32),
        "pixels": np.bincount(numbers, minlength=count + 1)[1:],
        "area_m2": sum_by_patch(areas),
        "confidence_m2": pa.nulls(count, pa.float64()),
    }
    if lattice.confidence:
        percents = _read(_of_confidence(lattice), window)[1:-1, 1:-1]
        sums["confidence_m2"] = sum_by_patch(areas * (percents / 100))
    points = outlines.move(found.points, row, col)
    links = outlines.move(found.links, row, col)
    is_open = np.zeros(count, bool)
    is_open[found.patch_of_link] = True
    rows = pa.table(sums)
    return pa.concat_tables(
        [
            _whole_patches(rows, points, found.patch_of, is_open, lattice.grid),
            _open_parts(rows, points, links, found, is_open, block["number"]),
        ]
    )


def _whole_patches(
    rows: pa.Table, points: np.ndarray, patch_of: np.ndarray, is_open: np.ndarray, grid: Grid
) -> pa.Table:
    is_whole = ~is_open[patch_of]
    if not is_whole.any():
        return PARTS.empty_table()
    polygons = outlines.make_polygons(points[is_whole], patch_of[is_whole], grid.transform)
    return _complete(
        rows.take(pa.array(polygons.patches)),
        place=pa.array(_place(polygons.firsts)),
        geometry=pa.array(shapely.to_wkb(polygons.shapes), pa.binary()),
    )


def _open_parts(
    rows: pa.Table,
    points: np.ndarray,
    links: np.ndarray,
    found: outlines.BlockOutlines,
    is_open: np.ndarray,
    block_number: int,
) -> pa.Table:
    patches = np.flatnonzero(is_open)
    return _complete(
        rows.take(pa.array(patches)),
        part=pa.array((block_number << 32) + patches),
        points=pa.array(_bytes_by_patch(points, found.patch_of, patches), pa.binary()),
        links=pa.array(_bytes_by_patch(links, found.patch_of_link, patches), pa.binary()),
    )


def _complete(rows: pa.Table, **columns: pa.Array) -> pa.Table:
    # Rows of PARTS; columns that are not given are null.
    for field in PARTS:
        if field.name not in rows.column_names:
            column = columns.get(field.name, pa.nulls(rows.num_rows, field.type))
            rows = rows.append_column(field.name, column)
    return rows.select(PARTS.names).cast(PARTS)


def _bytes_by_patch(records: np.ndarray, owners: np.ndarray, patches: np.ndarray) -> list[bytes]:
    order = np.argsort(owners, kind="stable")
    bounds = np.searchsorted(owners[order], [patches, patches + 1])
    ordered = records[order]
    return [ordered[start:stop].tobytes() for start, stop in bounds.T.tolist()]


def _of_confidence(lattice: Lattice) -> Lattice:
    # The same lattice of the rasters of confidence.
    rasters = [
        replace(raster, path=path, band=1, nodata=NODATA, plain=True, names=())
        for raster, path in zip(lattice.rasters, lattice.confidence, strict=True)
    ]
    return replace(lattice, rasters=tuple(rasters))


def _read(lattice: Lattice, window: tuple[int, int, int, int]) -> np.ndarray:
    # (H, W) uint8 of a window, which may reach beyond the lattice; NODATA where there is none.
    row, col, height, width = window
    values = np.full((height, width), NODATA, np.uint8)
    corners = np.array(lattice.corners)
    ends = corners + [raster.grid.shape for raster in lattice.rasters]
    meets = (ends > (row, col)).all(1) & (corners < (row + height, col + width)).all(1)
    owners = np.full(values.shape, -1, np.int32) if np.count_nonzero(meets) > 1 else None
    for number in np.flatnonzero(meets).tolist():
        raster, (top, left) = lattice.rasters[number], lattice.corners[number]
        rows, cols = (
            slice(max(start, first), min(start + length, first + size))
            for start, length, first, size in zip(
                (row, col), (height, width), (top, left), raster.grid.shape, strict=True
            )
        )
        inside = (
            slice(rows.start - top, rows.stop - top),
            slice(cols.start - left, cols.stop - left),
        )
        own = read_ids(raster, inside)
        here = (slice(rows.start - row, rows.stop - row), slice(cols.start - col, cols.stop - col))
        if owners is not None:
            if lattice.overlap == "refuse":
                _refuse_shared(lattice, owners[here], number, own, inside)
            owners[here][(own != NODATA) & (owners[here] < 0)] = number
        np.copyto(values[here], own, where=values[here] == NODATA)
    return values


def _refuse_shared(
    lattice: Lattice,
    owners: np.ndarray,
    number: int,
    own: np.ndarray,
    inside: tuple[slice, slice],
) -> None:
    both = (owners >= 0) & (own != NODATA)
    if both.any():
        raster, other = lattice.rasters[number], lattice.rasters[owners[both][0]]
        grid = raster.grid.window(inside[0].start, inside[1].start, *own.shape)
        raise SharedPixels((other.path, raster.path), both, grid).error()


def _place(firsts: np.ndarray) -> np.ndarray:
    # (N,) int64: bits of rows and columns in turn, so that what is near in the plane is near in the
    # order (Morton's curve).
    place = np.zeros(len(firsts), np.uint64)
    for bit in (1, 0):
        spread = firsts[:, 1 - bit].astype(np.uint64)
        for shift, mask in (
            (16, 0x0000FFFF0000FFFF),
            (8, 0x00FF00FF00FF00FF),
            (4, 0x0F0F0F0F0F0F0F0F),
            (2, 0x3333333333333333),
            (1, 0x5555555555555555),
        ):
            spread = (spread | (spread << np.uint64(shift))) & np.uint64(mask)
        place |= spread << np.uint64(bit)
    return place.astype(np.int64)


def whole_patches(parts: pa.Table) -> pa.Table:
    """Return the rows of PATCHES of rows of PARTS: those that end in their block."""
    return parts.filter(pc.is_null(parts["part"])).select(PATCHES.names)


def shared_parts(parts: pa.Table) -> pa.Table:
    """Return those of rows of PARTS that go on in other blocks."""
    return parts.filter(pc.is_valid(parts["part"]))


def links_of(parts: pa.Table) -> pa.Table:
    """Return the rows of LINKED of rows of PARTS."""
    shared = shared_parts(parts)
    columns = [*(shared[name] for name in LINKED.names[:3]), pc.binary_length(shared["points"])]
    return pa.table(columns, LINKED.names).cast(LINKED)


def join_parts(parts: pa.Table, max_points: int = MAX_POINTS) -> pa.Table:
    """Tell which patch each part is of.

    Args:
        parts: rows of LINKED, of all parts.
        max_points: a patch of more points is left in its parts.

    Returns:
        Rows of JOINED.

    Raises:
        InputError: blocks do not fit together.
    """
    part, lattice = parts["part"].to_numpy(), parts["lattice"].to_numpy()
    links = [np.frombuffer(some, outlines.LINKS) for some in parts["links"].to_pylist()]
    lengths = [len(some) for some in links]
    all_links = np.concatenate([np.empty(0, outlines.LINKS), *links])
    owners = np.repeat(np.arange(len(part)), lengths)
    patch = np.zeros(len(part), np.int64)
    count = 0
    for position in np.unique(lattice).tolist():
        members = np.flatnonzero(lattice == position)
        is_own = lattice[owners] == position
        own = np.searchsorted(members, owners[is_own])
        try:
            own_count, own_patches = outlines.join_links(all_links[is_own], own, len(members))
        except ValueError as error:
            raise InputError(
                f"a class raster has changed while it was read ({error}): rerun"
            ) from (error)
        patch[members] = own_patches + count
        count += own_count
    points = np.bincount(patch, parts["size"].to_numpy() / outlines.POINTS.itemsize, count)
    is_left = points[patch] > max_points
    # Numbers of patches and of those that are left do not meet.
    patch = np.where(is_left, count + np.arange(len(part)), patch)
    return pa.table({"part": part, "patch": patch, "is_left": is_left}).cast(JOINED)


def dissolve(patch: Mapping[str, Any], lattices: Sequence[Lattice]) -> Iterator[dict[str, Any]]:
    """Join the parts of a patch.

    Args:
        patch: `parts`, the rows of PARTS and `is_left` of a patch.
        lattices: from `make_lattices`.

    Yields:
        The row of PATCHES.
    """
    parts = sorted(patch["parts"], key=lambda part: part["part"])
    first = parts[0]
    points = np.concatenate([np.frombuffer(part["points"], outlines.POINTS) for part in parts])
    if first["is_left"]:
        points = outlines.seal(points, np.frombuffer(first["links"], outlines.LINKS))
    transform = lattices[first["lattice"]].grid.transform
    polygons = outlines.make_polygons(points, np.zeros(len(points), np.int32), transform)
    confidence = [part["confidence_m2"] for part in parts]
    yield {
        "lattice": first["lattice"],
        "place": int(_place(polygons.firsts)[0]),
        "class_id": first["class_id"],
        "pixels": sum(part["pixels"] for part in parts),
        "area_m2": math.fsum(part["area_m2"] for part in parts),
        "confidence_m2": None if None in confidence else math.fsum(confidence),
        "geometry": shapely.to_wkb(polygons.shapes[0]),
    }


def polygon_table(
    patches: pa.Table, lattices: Sequence[Lattice], names: Mapping[int, str]
) -> pa.Table:
    """Return rows of the polygons table.

    Args:
        patches: rows of PATCHES.
        lattices: from `make_lattices`.
        names: class names by id.
    """
    class_ids = patches["class_id"].to_pylist()
    areas = patches["area_m2"].to_numpy()
    confidence = patches["confidence_m2"].to_numpy() / areas
    columns = {
        "period": [lattices[position].period for position in patches["lattice"].to_pylist()],
        "class_id": class_ids,
        "class_name": [names.get(class_id, f"class {class_id}") for class_id in class_ids],
        "pixels": patches["pixels"],
        "area_m2": areas,
        "mean_confidence": pa.array(confidence, from_pandas=True),
        "geometry": patches["geometry"],
    }
    return pa.table(columns).cast(schemas.POLYGONS)
