"""The plan of blocks: as a plain loop gives it, whatever the order of scenes and of pairs."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lulc.bands import Band
from lulc.chips import blocks, plan
from lulc.chips.extent import find_cells
from lulc.chips.mosaic import ChipSpec
from lulc.config import Config, Period
from lulc.errors import InputError
from lulc.geo import batches, grid
from lulc.geo.grid import Grid
from lulc.geo.tiling import Tiling
from lulc.runfile import parse_run
from lulc.sources import scenes_table
from lulc.sources.acquisition import solar_day
from lulc.sources.indexing.scenes_file import write_scenes
from lulc.sources.scene import LAYER, Scene, scenes_to_table
from lulc.tables import store
from tests.helpers.continent import make_scenes

RUN = {
    "name": "t",
    "scenes": [{"path": "archive"}],
    "bands": ["red"],
    "legend": {1: {"name": "a", "colour": "#000000"}},
    "tiling": {"crs": "EPSG:6933", "resolution": 10, "size": 64, "halo": 16, "block": 2},
    "samples": {"size": 64},
}
PERIODS = [
    {"name": "2020", "start": "2020-01-01", "end": "2020-12-31"},
    {"name": "before", "end": "2019-12-31"},
    {"name": "all"},
]
OUTLINES = [shapely.to_wkb(shapely.box(x, 0, x + 1, 1)) for x in (-179, -60, 0, 60, 178)]
NEW_YEAR = datetime(2020, 1, 1, tzinfo=UTC)
TIMES = st.one_of(
    st.none(),
    st.sampled_from([NEW_YEAR, NEW_YEAR - timedelta(days=1), NEW_YEAR + timedelta(days=366)]),
    st.integers(-20 * 3600, 20 * 3600).map(lambda n: NEW_YEAR + timedelta(seconds=n)),
)


def make_run(**changes: Any) -> Config:
    return parse_run(RUN | {"periods": PERIODS} | changes, Path("/nowhere"))


def make_scene(number: int, time: datetime | None, outline: bytes, source: str = "s") -> Scene:
    band = Band("red" if source != LAYER else "elevation", f"{number}.tif")
    print_ = f"{number:016x}"
    return Scene(f"s{number}", source, time, "EPSG:4326", outline, (band,), fingerprint=print_)


SCENES = st.lists(
    st.tuples(TIMES, st.sampled_from(OUTLINES), st.sampled_from(["s", "s", "s", LAYER])),
    min_size=1,
    max_size=25,
).map(lambda told: [make_scene(n, *one) for n, one in enumerate(told)])


def columns_of(scenes: list[Scene], rows: int = 7) -> scenes_table.SceneColumns:
    table = pa.concat_tables(scenes_to_table([scene]) for scene in scenes).combine_chunks()
    return scenes_table.columns_of(table.to_batches(max_chunksize=rows))


def expected(
    run: Config,
    spec: ChipSpec,
    pairs: list[tuple[Scene, tuple[int, int]]],
    bad: set[str],
) -> list[tuple[str, str, set[str]]]:
    """(key, fingerprint, ids of the scenes) of every block, by a plain loop."""
    found = []
    for period in sorted(run.periods, key=lambda period: period.name):
        for cell in sorted({cell for _, cell in pairs}, key=lambda cell: cell[::-1]):
            lon = grid.centre_longitude(spec.tiling.grid(*cell, spec.halo, spec.span))
            mine = [
                scene
                for scene, reached in pairs
                if reached == cell and scene.scene_id not in bad and is_in(scene, period, lon)
            ]
            if not all(scene.is_layer for scene in mine):
                recipe = blocks.fingerprint_recipe(spec, period)
                key = f"{period.name}/{spec.tiling.name}/{cell[0]}_{cell[1]}"
                print_ = blocks.fingerprint_scenes(recipe, cell, mine)
                found.append((key, print_, {scene.scene_id for scene in mine}))
    return found


def is_in(scene: Scene, period: Period, longitude: float) -> bool:
    if scene.datetime is None:
        return True
    day = solar_day(scene.datetime, longitude)
    return (period.start or date.min) <= day <= (period.end or date.max)


@settings(max_examples=60, deadline=None)
@given(scenes=SCENES, data=st.data())
def test_the_plan_is_that_of_a_plain_loop_in_any_order(scenes: list[Scene], data: Any) -> None:
    run = make_run()
    spec = blocks.make_chip_spec(run, [Band("red", "")])
    cells = [(-2, -4), (0, -4), (-900_000, 0), (0, 0), (900_000, 0)][: data.draw(st.integers(1, 5))]
    cells = sorted(cells, key=lambda cell: cell[::-1])
    joined = data.draw(st.sets(st.tuples(st.sampled_from(OUTLINES), st.sampled_from(cells))))
    bad = data.draw(
        st.sets(st.sampled_from([s.scene_id for s in scenes if not s.is_layer] or [""]))
    )
    pairs = [(s, cell) for s in scenes for outline, cell in joined if s.footprint == outline]
    whole = expected(run, spec, pairs, bad)
    errors = dict.fromkeys(bad, "cut short")

    for ordered in (scenes, data.draw(st.permutations(scenes))):
        columns = columns_of(ordered, data.draw(st.integers(1, 9)))
        there = data.draw(st.permutations([p for p in joined if p[0] in columns.outlines]))
        places = np.array([columns.outlines.index(outline) for outline, _ in there], np.int64)
        numbers = np.array([cells.index(cell) for _, cell in there], np.int64)
        reach = plan.Reach(cells, places, numbers)
        among = np.ones(len(ordered), bool)
        if not whole:
            with pytest.raises(InputError, match="no scene is left"):
                plan.plan_blocks(run, spec, columns, reach, among, errors)
            continue
        planned = plan.plan_blocks(run, spec, columns, reach, among, errors)
        found = planned.blocks.to_pylist()
        ids = [{ordered[row].scene_id for row in blocks.rows_of(block)} for block in found]
        assert [(b["key"], b["fingerprint"], i) for b, i in zip(found, ids, strict=True)] == whole
        used = {s.scene_id for s, is_used in zip(ordered, planned.used, strict=True) if is_used}
        assert used == set().union(*ids)


def test_a_bad_layer_is_an_error_where_a_block_needs_it() -> None:
    run = make_run()
    spec = blocks.make_chip_spec(run, [Band("red", "")])
    scenes = [make_scene(0, NEW_YEAR, OUTLINES[2]), make_scene(1, None, OUTLINES[3], LAYER)]
    columns, among = columns_of(scenes), np.ones(2, bool)
    bad = {"s1": "cut short"}
    alone = plan.Reach([(0, 0)], np.array([0]), np.array([0]))
    assert plan.plan_blocks(run, spec, columns, alone, among, bad).blocks.num_rows == 2
    both = plan.Reach([(0, 0)], np.array([0, 1]), np.array([0, 0]))
    with pytest.raises(InputError, match="s1 cannot be read, and every chip needs it: cut short"):
        plan.plan_blocks(run, spec, columns, both, among, bad)


@settings(max_examples=100, deadline=None)
@given(TIMES.filter(bool), st.floats(-180, 180, exclude_max=True))
def test_limits_of_a_period_are_those_of_solar_days(time: datetime, longitude: float) -> None:
    moment = scenes_table.moment_of(time)
    for period in make_run().periods:
        first, end = plan.period_limits(period, np.array([longitude]))
        scene = make_scene(0, time, OUTLINES[0])
        assert (first[0] <= moment < end[0]) == is_in(scene, period, longitude)


def test_a_block_of_a_continent_is_a_few_runs_of_rows_of_one_table(tmp_path: Path) -> None:
    table = make_scenes(3000, places=60)
    other = table.take(pa.array(np.random.default_rng(1).permutation(3000)))
    write_scenes(tmp_path, lambda: other.to_batches(max_chunksize=100))
    shuffled = (tmp_path / "tables/scenes/part-0.parquet").read_bytes()
    write_scenes(tmp_path, table.to_batches)
    assert (tmp_path / "tables/scenes/part-0.parquet").read_bytes() == shuffled
    assert store.read_table(tmp_path, "scenes").sort_by("scene_id").equals(table)
    columns = scenes_table.read_columns(tmp_path)
    # A table of an earlier release: in order of id, and one row group.
    old = tmp_path / "old"
    store.write_table(old, "scenes", table)
    before = scenes_table.read_columns(old)
    assert (before.digests.sum(0) == columns.digests.sum(0)).all()
    assert set(before.outlines) == set(columns.outlines)

    run = make_run(periods=PERIODS[:1])
    spec = blocks.make_chip_spec(run, columns.bands)
    tiling = dataclasses.replace(spec.tiling, size=2048)
    spec = dataclasses.replace(spec, tiling=tiling)
    made_of = {}
    for out, read in ((tmp_path, columns), (old, before)):
        shapes = shapely.from_wkb(read.outlines)
        cells = find_cells(shapes, tiling, 2, None)
        outlines = batches.footprints([tiling.grid(*cell, 16, 2) for cell in cells])
        numbers, places = shapely.STRtree(shapes).query(outlines, predicate="intersects")
        reach = plan.Reach(cells, places, numbers)
        made = plan.plan_blocks(run, spec, read, reach, np.ones(3000, bool), {}).blocks
        made_of[out] = made
        block = made.slice(made.num_rows // 2, 1).to_pylist()[0]
        scenes = scenes_table.read_scenes(out, blocks.rows_of(block))
        recipe = blocks.fingerprint_recipe(spec, run.periods[0])
        found = blocks.fingerprint_scenes(recipe, (block["col"], block["row"]), scenes)
        assert found == block["fingerprint"]
    alike = [made.select(["key", "fingerprint"]) for made in made_of.values()]
    assert alike[0].equals(alike[1])
    # Of each place one run, however many dates it has.
    runs = {len(block["starts"]) for block in made_of[tmp_path].to_pylist()}
    assert max(runs) <= 9 < max(len(block["starts"]) for block in made_of[old].to_pylist())


GRIDS = st.builds(
    lambda crs, x, y: (crs, x, y),
    st.sampled_from(
        [
            ("EPSG:3035", 20_000.0),
            ("EPSG:4326", 1.0),
            ("EPSG:3031", 300_000.0),
            ("EPSG:3832", 500_000.0),
            ("+proj=sinu +R=6371007.181 +units=m", 500_000.0),
        ]
    ),
    st.integers(-40, 40),
    st.integers(-40, 40),
)


@settings(max_examples=30, deadline=None)
@given(GRIDS)
def test_many_outlines_are_those_of_one_at_a_time(told: tuple[tuple[str, float], int, int]) -> None:
    (crs, side), x, y = told
    tiling = Tiling("t", crs, side / 64, 64)
    grids = [tiling.grid(x + n, y, 4) for n in range(3)]

    def one(of: Grid) -> bytes | None:
        try:
            return bytes(shapely.to_wkb(grid.footprint(of)))
        except InputError:
            return None

    outlines = [one(of) for of in grids]
    assert [shape and shapely.to_wkb(shape) for shape in batches.footprints(grids)] == outlines
    centres = [grid.centre_longitude(of) for of in grids]
    assert batches.centre_longitudes(grids).tolist() == centres
