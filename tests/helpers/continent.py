"""Scenes as Sentinel-2 takes them over Africa, made up: a scenes table without a pixel."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import shapely

from lulc.geo.grid import WGS84, Grid, footprint, project
from lulc.tables import schemas
from lulc.tables.columns import CLEAR, TIME

AFRICA = shapely.Polygon(
    [
        *((-6, 36), (10, 37.5), (11, 34), (20, 31), (32, 31.5), (37, 22), (43, 11.5), (51.5, 12)),
        *((51, 8), (41, -2), (39, -7), (41, -15), (35, -20), (35.5, -24), (32.5, -28), (28, -33)),
        *((20, -35), (18, -33), (12, -17), (13.5, -8), (9, 1), (9.5, 4), (4, 6.5), (-8, 4)),
        *((-17.5, 15), (-17, 21), (-10, 30)),
    ]
)
"""Its outline in degrees, roughly."""
BANDS = ("blue", "green", "red", "nir", "scl")
_STEP, _SIDE = 100_000, 10_980
_FIRST_DAY = datetime(2020, 1, 1, 9, 30, tzinfo=UTC)


def squares(count: int | None = None) -> list[Grid]:
    """Return the squares of 109.8 km, 100 km apart in their UTM zones, that touch Africa.

    Args:
        count: how many of them, spread over the continent; all by default.
    """
    found = []
    for zone in range(28, 40):
        strip = shapely.box(zone * 6 - 186, -36, zone * 6 - 180, 38).intersection(AFRICA)
        for crs, north in ((f"EPSG:326{zone}", True), (f"EPSG:327{zone}", False)):
            half = strip.intersection(shapely.box(-180, 0 if north else -90, 180, 90 * north))
            if half.is_empty:
                continue
            land = project(half, WGS84, crs)
            xmin, ymin, xmax, ymax = (int(n // _STEP) for n in land.bounds)
            for row in range(ymax + 1, ymin, -1):
                for col in range(xmin, xmax + 1):
                    left, top = col * _STEP, row * _STEP
                    if land.intersects(shapely.box(left, top - _STEP, left + _STEP, top)):
                        transform = (10.0, 0.0, left, 0.0, -10.0, top)
                        found.append(Grid(crs, transform, _SIDE, _SIDE))
    if count is None or count >= len(found):
        return found
    return [found[n * len(found) // count] for n in range(count)]


def make_scenes(count: int, places: int = 3628) -> pa.Table:
    """Return a scenes table in order of id, as an archive's.

    Every place is seen every fifth day or oftener, until there are so many scenes in a year.

    Args:
        count: the scenes.
        places: at most so many squares; fewer where there are fewer scenes.
    """
    grids = squares(min(places, count))
    outlines = pa.array([shapely.to_wkb(footprint(grid)) for grid in grids])
    numbers = np.arange(count)
    place, visit = numbers % len(grids), numbers // len(grids)
    visits = -(-count // len(grids))
    names = [
        f"{grid.crs[-2:]}{'N' if grid.crs[7] == '6' else 'S'}{n:04d}"
        for n, grid in enumerate(grids)
    ]
    spread = [int(hashlib.sha256(name.encode()).hexdigest()[:4], 16) % 3600 for name in names]
    times = [
        _FIRST_DAY + timedelta(days=int(v) * 365 / visits, seconds=spread[p])
        for p, v in zip(place.tolist(), visit.tolist(), strict=True)
    ]
    ids = [
        f"S2A_MSIL2A_{time:%Y%m%dT%H%M%S}_N0500_R{p % 143:03d}_T{names[p]}_{v:04d}"
        for time, p, v in zip(times, place.tolist(), visit.tolist(), strict=True)
    ]
    columns = {
        "scene_id": pa.array(ids),
        "source": pa.repeat(pa.scalar("sentinel2"), count),
        "datetime": pa.array(times, TIME),
        "crs": pa.array([grid.crs for grid in grids]).take(pa.array(place)),
        "footprint": outlines.take(pa.array(place)),
        "cloud": pa.array((numbers * 7919 % 1000) / 10),
        **_bands(ids),
        "clear": _repeat(
            [{"band": "scl", "codes": [4, 5, 6, 7], "refused": False, "first_bit": 0, "bits": 0}],
            pa.list_(CLEAR),
            count,
        ),
        "properties": _repeat(
            [("platform", "sentinel-2a"), ("version", "05.00"), ("level", "2A")],
            pa.map_(pa.string(), pa.string()),
            count,
        ),
        "gsd_m": pa.repeat(pa.scalar(10.0), count),
        "fingerprint": pa.array([hashlib.sha256(name.encode()).hexdigest()[:16] for name in ids]),
    }
    table = pa.table({name: columns[name] for name in schemas.SCENES.names})
    return table.cast(schemas.SCENES).sort_by("scene_id")


def _bands(ids: Sequence[str]) -> dict[str, pa.Array]:
    count, width = len(ids), len(BANDS)
    hrefs = [
        f"/archive/{name}.SAFE/GRANULE/IMG_DATA/R10m/{name[38:]}_{band}.jp2"
        for name in ids
        for band in BANDS
    ]
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * width)
    constant = {
        "bands": (BANDS, pa.string()),
        "indexes": ((1,) * width, pa.int32()),
        "dtypes": (("uint16",) * 4 + ("uint8",), pa.string()),
        "scales": ((1e-4,) * 4 + (1.0,), pa.float64()),
        "offsets": ((-0.1,) * 4 + (0.0,), pa.float64()),
        "nodatas": ((0.0,) * width, pa.float64()),
        "kinds": (("continuous",) * 4 + ("quality",), pa.string()),
        "calibrations": (("",) * width, pa.string()),
        "units": (("surface_reflectance",) * 4 + ("",), pa.string()),
    }
    columns = {
        name: _repeat(list(values), pa.list_(type_), count)
        for name, (values, type_) in constant.items()
    }
    return columns | {"hrefs": pa.ListArray.from_arrays(offsets, pa.array(hrefs))}


def _repeat(value: list[object], type_: pa.DataType, count: int) -> pa.Array:
    return pa.array([value], type_).take(pa.array(np.zeros(count, np.int64)))
