"""The work of a plan is that of every scene on every block, one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lulc.bands import Band
from lulc.chips.tiling import make_tiling
from lulc.config import Config
from lulc.cost.archive import read_scenes_of_plan
from lulc.cost.coverage import cover
from lulc.cost.plan import MapPlan, make_plan, plan_map
from lulc.cost.rates import SHIPPED
from lulc.cost.stages import SampleCount, stage_costs
from lulc.geo.grid import WGS84, outline, project
from lulc.runfile import parse_run
from lulc.sources.scene import Scene, scenes_to_table
from lulc.tables import store

BANDS = ("red", "nir")
FIRST_DAY = datetime(2024, 3, 1, 10, tzinfo=UTC)
SIDE = 64
SPAN = 2
HALO = 16
RESOLUTION = 10.0
TILING = {
    "crs": "EPSG:3035", "resolution": RESOLUTION, "size": SIDE, "halo": HALO, "block": SPAN
}  # fmt: skip
BLOCK_M = SIDE * SPAN * RESOLUTION
X0, Y0 = 4_500_480.0, 2_699_520.0  # a corner of blocks


def make_config(**changes: Any) -> Config:
    plain: dict[str, Any] = {
        "name": "w",
        "scenes": [{"path": "nowhere"}],
        "bands": list(BANDS),
        "legend": {1: {"name": "a", "colour": "#000000"}},
        "tiling": TILING,
        "periods": [{"name": "2024", "start": "2024-01-01", "end": "2024-12-31"}],
        "composite": {"method": "median"},
        "predict": {"model": "w"},
    }
    return parse_run(plain | changes, Path.cwd())


def make_scene(number: int, box: tuple[float, float, float, float], day: int = 0) -> Scene:
    """A scene whose footprint is a box in blocks from (X0, Y0), to the right and down."""
    left, top, width, height = (value * BLOCK_M for value in box)
    on_map = shapely.box(X0 + left, Y0 - top - height, X0 + left + width, Y0 - top)
    bands = tuple(
        Band(name, f"s{number}_{name}.tif", 1, dtype="uint16", nodata=0.0) for name in BANDS
    )
    footprint = shapely.to_wkb(project(on_map, "EPSG:3035", WGS84, step=100.0))
    return Scene(
        f"s{number}",
        "geotiff",
        FIRST_DAY + timedelta(days=day),
        "EPSG:3035",
        footprint,
        bands,
        gsd_m=RESOLUTION,
        fingerprint=str(number),
    )


def map_of(out: Path, scenes: list[Scene], **changes: Any) -> MapPlan:
    store.write_table(out, "scenes", scenes_to_table(scenes))
    return plan_map(make_config(**changes), out)


# Off the borders of blocks by a twentieth of their side or more, so that rounding decides nothing.
edges = st.integers(0, 30).map(lambda tenths: tenths / 10 + 0.05)
sides = st.integers(1, 25).map(lambda tenths: tenths / 10)
boxes = st.tuples(edges, edges, sides, sides)


@settings(max_examples=8, deadline=None)
@given(st.lists(boxes, min_size=1, max_size=6))
def test_blocks_and_what_covers_them_are_those_counted_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, placed: list[tuple[float, float, float, float]]
) -> None:
    tmp_path = tmp_path_factory.mktemp("out")
    # Twice each: scenes of one footprint are counted together.
    scenes = [make_scene(n, box, n % 5) for n, box in enumerate([*placed, *placed])]
    work, tiling = map_of(tmp_path, scenes).work, make_tiling(make_config())
    blocks = tiles = pairs = most = 0
    covered = 0.0
    footprints = [
        project(shapely.from_wkb(scene.footprint), WGS84, "EPSG:3035") for scene in scenes
    ]
    everywhere = shapely.union_all(footprints)
    for col, row in tiling.cells(everywhere.buffer(400).bounds, SPAN):
        block = outline(tiling.grid(col, row, HALO, SPAN))
        reaching = [footprint for footprint in footprints if footprint.intersects(block)]
        core = outline(tiling.grid(col, row, 0, SPAN))
        if not any(footprint.envelope.intersects(core) for footprint in footprints):
            continue
        blocks += bool(reaching)
        pairs += len(reaching)
        most = max(most, len(reaching))
        covered += sum(footprint.intersection(block).area for footprint in reaching)
        cells = tiling.cells(core.bounds)
        tiles += sum(everywhere.intersects(outline(tiling.grid(*cell))) for cell in cells)
    assert (work.blocks, work.tiles, work.scenes, work.deepest) == (blocks, tiles, pairs, most)
    values = covered / RESOLUTION**2 * len(BANDS)
    assert work.covered == pytest.approx(values, rel=1e-3, abs=20)


def test_the_work_of_ground_apart_adds_up(tmp_path: Path) -> None:
    here = [make_scene(n, (0, 0, 2.3, 1.2), n) for n in range(3)]
    there = [make_scene(n + 3, (40, 7, 1.4, 3.1), n) for n in range(4)]
    one, other = (map_of(tmp_path / str(n), s).work for n, s in enumerate((here, there)))
    both = map_of(tmp_path / "both", here + there).work
    together = one + other
    for name in vars(together):
        got, expected = getattr(both, name), getattr(together, name)
        if isinstance(got, tuple):
            assert dict(got) == pytest.approx(dict(expected)), name
        else:
            assert got == pytest.approx(expected), name


def test_twice_the_dates_are_read_twice_and_mapped_once(tmp_path: Path) -> None:
    scenes = [make_scene(n, (0, 0, 2, 2), n) for n in range(4)]
    again = [make_scene(n + 4, (0, 0, 2, 2), n + 30) for n in range(4)]
    for few in (scenes, scenes + again):
        store.write_table(tmp_path / str(len(few)), "scenes", scenes_to_table(few))
    once, twice = (make_plan(make_config(), tmp_path / str(count)) for count in (4, 8))
    assert once.map is not None
    assert twice.map is not None
    for name in ("scenes", "covered", "touched", "opened", "requests", "composited"):
        assert getattr(twice.map.work, name) == pytest.approx(2 * getattr(once.map.work, name))
    for name in ("decoded", "read_bytes"):
        first, second = (dict(getattr(plan.map.work, name)) for plan in (once, twice))  # type: ignore[union-attr]
        assert second == pytest.approx({form: 2 * number for form, number in first.items()})
    assert twice.costs["predict"] == once.costs["predict"]
    assert twice.costs["rasters"] == once.costs["rasters"]
    assert twice.costs["tile"].core_seconds > once.costs["tile"].core_seconds
    # Beyond what fits in memory composites are made in more strips, which read their edges again.
    assert twice.memory["tile"] > once.memory["tile"]


def test_features_of_dates_are_computed_where_scenes_cover_others_on_every_tile(
    tmp_path: Path,
) -> None:
    scenes = [make_scene(n, (0, 0, 2.3, 1.2), n) for n in range(4)]
    entries = ["ndvi:p10", "ndvi:p90", "red:mad", "ndvi", "nir:mean7"]
    config = make_config(tiling=dict(TILING, features=entries))
    work = map_of(tmp_path, scenes, tiling=dict(TILING, features=entries)).work
    of_dates, of_tiles = work.covered / len(BANDS), work.stored / len(config.bands)
    assert dict(work.computed) == pytest.approx(
        {"p": 2 * of_dates, "mad": of_dates, "image": of_tiles, "window": of_tiles}
    )
    # A feature that takes longer on this machine makes tiles that take longer.
    slow = replace(SHIPPED, features_ns=dict(SHIPPED.features_ns, mad=1e6))
    given = (config, work, SampleCount(), 4)
    usual, longer = (stage_costs(*given, rates, 2, 2)["tile"] for rates in (SHIPPED, slow))
    added = of_dates * (1e6 - SHIPPED.features_ns["mad"]) * 1e-9
    assert longer.core_seconds - usual.core_seconds == pytest.approx(added)


def test_only_scenes_of_a_period_count_for_it(tmp_path: Path) -> None:
    scenes = [make_scene(n, (0, 0, 1, 1), 31 * n) for n in range(3)]
    months = [
        {"name": "march", "start": "2024-03-01", "end": "2024-03-31"},
        {"name": "april", "start": "2024-04-01", "end": "2024-04-30"},
    ]
    planned = map_of(tmp_path, scenes, periods=months)
    assert planned.scenes.counts.sum((1, 2)).tolist() == [1, 1]
    assert planned.work.blocks == 2 * len(planned.coverage.cells)


def test_an_area_leaves_out_the_blocks_that_it_does_not_touch(tmp_path: Path) -> None:
    scenes = [make_scene(0, (0, 0, 4, 4))]
    inside = project(
        shapely.box(X0 + 100, Y0 - BLOCK_M + 100, X0 + BLOCK_M - 100, Y0 - 100), "EPSG:3035", WGS84
    )
    box = ",".join(f"{value:.6f}" for value in inside.bounds)
    whole, part = map_of(tmp_path, scenes).work, map_of(tmp_path, scenes, area=box).work
    assert part.blocks == 1
    assert whole.blocks >= 16
    assert part.covered < whole.covered / 9


def test_footprints_beyond_the_map_of_the_tiling_are_left_out() -> None:
    config = make_config(tiling={"crs": "EPSG:3857", "resolution": 1000, "size": 256})
    polar = shapely.box(10, 80, 20, 90)
    coverage = cover([polar], make_tiling(config), 4, 0, None)
    assert len(coverage.cells)
    assert np.isfinite(coverage.share).all()


def test_a_table_is_counted_as_its_headers_are(tmp_path: Path) -> None:
    scenes = [replace(make_scene(n, (n, 0, 1, 1)), gsd_m=None) for n in range(3)]
    store.write_table(tmp_path, "scenes", scenes_to_table(scenes))
    found = read_scenes_of_plan(make_config(), tmp_path)
    assert (found.scenes, len(found.outlines), len(found.kinds)) == (3, 3, 1)
    assert not found.kinds[0].is_known
    assert [file.format for file in found.kinds[0].files] == ["tif deflate"] * 2


def test_scenes_without_labels_or_a_model_are_planned_as_far_as_they_go(tmp_path: Path) -> None:
    store.write_table(tmp_path, "scenes", scenes_to_table([make_scene(0, (0, 0, 1, 1))]))
    plan = make_plan(make_config(predict={}), tmp_path)
    assert list(plan.costs) == ["index", "tile"]
