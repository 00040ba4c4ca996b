"""Class rasters made elsewhere, refined by blocks, are the operation on the whole map at once."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lulc.chips.tiling import make_tiling
from lulc.config import (
    ClassConf,
    Config,
    MapFiles,
    Period,
    RefineConf,
    TilingConf,
    TransitionConf,
)
from lulc.errors import InputError, UsageError
from lulc.geo.grid import Grid
from lulc.legend import NODATA
from lulc.location import parse_location
from lulc.maps.refine.blocks import RefineSpec, refine_blocks
from lulc.maps.refine.sources import MapSource, combine_maps
from lulc.runfile import parse_run
from lulc.spark.context import StageContext
from lulc.spark.incremental import Unit
from lulc.spark.stages.refine import plan_refinement
from lulc.stages import Selection, stages_of
from lulc.tables import arrays, store
from tests.helpers.synthetic_scenes import write_raster
from tests.maps.test_refine import IDS, majority_of, merged_of, random_map

GRID = Grid("EPSG:6933", (10.0, 0.0, 500_000.0, 0.0, -10.0, 1_000_000.0), 90, 130)
LEGEND = {i: ClassConf(f"c{i}", "#808080") for i in IDS}
CUTS = ((0, 0, 90, 50), (0, 50, 40, 80), (40, 50, 50, 80))
"""First row and column, height and width, of the rasters that a map comes in."""


def write_parts(folder: Path, classes: np.ndarray, name: str = "m") -> None:
    for number, (row, col, height, width) in enumerate(CUTS):
        part = np.ascontiguousarray(classes[row : row + height, col : col + width])
        grid = GRID.window(row, col, height, width)
        write_raster(folder / f"{name}{number}.tif", part, grid, nodata=NODATA)


def run_of(maps: tuple[MapFiles, ...], size: int, block: int, **steps: Any) -> Config:
    periods = tuple(Period(name) for name in dict.fromkeys(entry.period for entry in maps))
    return Config(
        name="r",
        legend=LEGEND,
        tiling=TilingConf(size=size, block=block),
        periods=periods,
        maps=maps,
        refine=RefineConf(**steps),
    )


def plan(config: Config, out: Path) -> tuple[RefineSpec, list[Unit], str]:
    return plan_refinement(StageContext(config, out, Selection(), lambda: None))  # type: ignore


def refined_of(config: Config, out: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Period → classes and confidence on GRID, refined block by block without Spark."""
    spec, units, _ = plan(config, out)
    for unit in units:
        one = {"keys": [unit.key], "fingerprints": ["f"], "paths": [unit.path], "sources": []}
        refine_blocks(one, spec)
    tiling = make_tiling(config)
    layers: dict[str, Any] = {
        period.name: tuple(np.full(GRID.shape, NODATA, np.uint8) for _ in range(2))
        for period in config.periods
    }
    for row in store.read_table(out, "refined").to_pylist():
        grid = arrays.grid_from(row)
        top = round((GRID.transform[5] - grid.transform[5]) / 10)
        left = round((grid.transform[2] - GRID.transform[2]) / 10)
        assert tiling.tile_id(left // tiling.size, top // tiling.size) == row["tile_id"]
        for layer, name in zip(layers[row["period"]], ("classes", "confidence"), strict=True):
            pixels = arrays.array_from(row, name)
            target = layer[top : top + tiling.size, left : left + tiling.size]
            target[...] = pixels[: target.shape[0], : target.shape[1]]
            beyond = pixels.copy()
            beyond[: target.shape[0], : target.shape[1]] = NODATA
            assert (beyond == NODATA).all()
    return layers


@settings(max_examples=4, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.sampled_from([16, 32]),
    block=st.integers(1, 3),
    sigma=st.sampled_from([0.0, 1.0]),
)
def test_rasters_side_by_side_are_one_map(
    tmp_path_factory: pytest.TempPathFactory, seed: int, size: int, block: int, sigma: float
) -> None:
    out = tmp_path_factory.mktemp("out")
    classes = random_map(seed, *GRID.shape, sigma)
    write_parts(out, classes)
    config = run_of(
        (MapFiles(str(out / "m*.tif"), "a"),), size, block, majority=3, minimum_mapping_unit=5
    )
    found, confidence = refined_of(config, out)["a"]
    assert (found == merged_of(majority_of(classes, 3), 5)).all()
    assert (confidence == NODATA).all()


def test_rasters_on_other_pixels_are_told(tmp_path: Path) -> None:
    classes = random_map(3, *GRID.shape, 1.0)
    write_parts(tmp_path, classes)
    maps = (MapFiles(str(tmp_path / "m*.tif"), "a"),)
    assert plan(run_of(maps, 32, 2, majority=3), tmp_path)[2] == ""
    # The last is one of pixels three times as large.
    row, col, *_ = CUTS[2]
    coarse = np.ascontiguousarray(classes[row : row + 48 : 3, col : col + 78 : 3])
    side = Grid(GRID.crs, (30.0, 0.0, 500_500.0, 0.0, -30.0, 999_600.0), *coarse.shape)
    write_raster(tmp_path / "m2.tif", coarse, side, nodata=NODATA)
    config = run_of(maps, 32, 2, rules=())
    said = plan(config, tmp_path)[2]
    assert re.match(r"1 of 3 class rasters, such as .*m2\.tif, .* map \(10 x 10 in EPSG", said)
    expected = classes.copy()
    expected[row:, col:] = NODATA
    expected[row : row + 48, col : col + 78] = coarse.repeat(3, 0).repeat(3, 1)
    assert (refined_of(config, tmp_path)["a"][0] == expected).all()


def test_periods_are_made_consistent_and_the_more_accurate_map_stays(tmp_path: Path) -> None:
    maps = {period: random_map(seed, *GRID.shape, 1.0) for seed, period in enumerate("ab")}
    for period, classes in maps.items():
        write_parts(tmp_path, classes, period)
    entries = tuple(
        MapFiles(str(tmp_path / f"{period}*.tif"), period, accuracy)
        for period, accuracy in (("a", 0.7), ("b", 0.8))
    )
    settings = TransitionConf((("c0", "c1"), ("c2", "c1")))
    layers = refined_of(run_of(entries, 32, 2, transitions=settings), tmp_path)
    before, after = maps["a"], maps["b"]
    is_forbidden = np.isin(before, (0, 2)) & (after == 1)
    assert is_forbidden.any()
    # That is all: of both periods one class is likelier than any two.
    assert (layers["b"][0] == after).all()
    assert (layers["a"][0] == np.where(is_forbidden, 1, before)).all()
    # A pixel that was changed has what its class's accuracy leaves to others at most.
    assert set(np.unique(layers["a"][1])) == {30, 70, NODATA}
    assert set(np.unique(layers["b"][1])) == {80, NODATA}


def sources_of(layers: np.ndarray, accuracies: tuple[float | None, ...]) -> list[MapSource]:
    return [
        MapSource(f"m{number}", lambda grid, layer=layer: layer, accuracy)  # noqa: ARG005
        for number, (layer, accuracy) in enumerate(zip(layers, accuracies, strict=True))
    ]


@pytest.mark.parametrize("accuracies", [(None,) * 3, (0.5, 0.9, 0.6), (0.5, 0.5, 0.9)])
def test_maps_vote(accuracies: tuple[float | None, ...]) -> None:
    rng = np.random.default_rng(1)
    layers = rng.choice(np.array([1, 2, 3, NODATA], np.uint8), (3, *GRID.shape))
    voted = combine_maps(sources_of(layers, accuracies), GRID, "vote")
    for row, col in rng.integers(0, GRID.shape, (300, 2)).tolist():
        votes: dict[int, float] = {}
        for class_id, accuracy in zip(layers[:, row, col].tolist(), accuracies, strict=True):
            if class_id != NODATA:
                votes[class_id] = votes.get(class_id, 0) + (accuracy or 1)
        most = max(votes, key=lambda class_id: votes[class_id], default=NODATA)
        share = 100 * votes[most] / sum(votes.values()) if votes else NODATA
        assert voted.classes[row, col] == most
        assert voted.confidence[row, col] == pytest.approx(share, abs=0.5)


def test_the_first_map_counts_and_within_its_regions_alone(tmp_path: Path) -> None:
    layers = np.stack([np.full(GRID.shape, class_id, np.uint8) for class_id in (1, 2)])
    layers[0, :10] = NODATA
    first = combine_maps(sources_of(layers, (0.7, 0.8)), GRID, "first")
    assert (first.classes[:10] == 2).all()
    assert (first.classes[10:] == 1).all()
    assert (np.unique(first.confidence[:10]), np.unique(first.confidence[10:])) == (80, 70)
    with pytest.raises(InputError, match="m1 and another map of its period both have classes"):
        combine_maps(sources_of(layers, (None, None)), GRID, None)

    for number, layer in enumerate(layers):
        write_raster(tmp_path / f"{number}.tif", layer, GRID, nodata=NODATA)
    west, south, _, north = GRID.bounds
    half = shapely.box(west, south, west + 405, north)  # the left 40 columns and a half
    import geopandas

    geopandas.GeoSeries([half], crs=GRID.crs).to_file(tmp_path / "half.gpkg")
    maps = (
        MapFiles(str(tmp_path / "0.tif"), "a", within=str(tmp_path / "half.gpkg")),
        MapFiles(str(tmp_path / "1.tif"), "a"),
    )
    found, _ = refined_of(run_of(maps, 32, 2, combine="first"), tmp_path)["a"]
    assert (found[10:, :40] == 1).all()
    assert (found[:, 41:] == 2).all()
    assert (found[:10] == 2).all()


def test_polygons_without_effect_are_refused(tmp_path: Path) -> None:
    import geopandas

    write_raster(tmp_path / "m.tif", np.ones(GRID.shape, np.uint8), GRID, nodata=NODATA)
    west, south, east, north = GRID.bounds
    half = geopandas.GeoSeries([shapely.box(west, south, west + 400, north)], crs=GRID.crs)
    half.to_file(tmp_path / "half.shp")
    with zipfile.ZipFile(tmp_path / "half.zip", "w") as archive:
        for part in tmp_path.glob("half.s*"):
            archive.write(part, part.name)
        archive.write(tmp_path / "half.prj", "half.prj")
        archive.write(tmp_path / "half.dbf", "half.dbf")
    half.iloc[:0].to_file(tmp_path / "none.gpkg")
    half.centroid.to_file(tmp_path / "points.gpkg")
    half.translate(east - west + 10).to_file(tmp_path / "beside.gpkg")

    def refined_within(name: str) -> np.ndarray:
        entry = MapFiles(str(tmp_path / "m.tif"), "a", within=str(tmp_path / name))
        return refined_of(run_of((entry,), 32, 2, majority=3), tmp_path / f"of-{name}")["a"][0]

    found = refined_within("half.zip")
    assert (found[:, :40] == 1).all()
    assert (found[:, 40:] == NODATA).all()
    for name, cause in (
        ("none.gpkg", "has no polygon (it has no feature)"),
        ("points.gpkg", "has no polygon (its features are Point)"),
        ("beside.gpkg", "covers no part of its map"),
    ):
        with pytest.raises(InputError, match=re.escape(f"within {tmp_path / name} {cause}")):
            refined_within(name)
    rules = {"rules": ("where layer(s) > 0 then c1",), "layers": {"s": str(tmp_path / "none.gpkg")}}
    with pytest.raises(InputError, match=r"refine\.layers\.s .* has no polygon"):
        refined_of(run_of((MapFiles(str(tmp_path / "m.tif"), "a"),), 32, 2, **rules), tmp_path)


def test_what_a_run_of_maps_must_say(tmp_path: Path) -> None:
    folder = parse_location(tmp_path)
    legend = {i: {"name": f"c{i}", "colour": "#808080"} for i in IDS}
    maps = [{"path": "a.tif", "period": "a"}, {"path": "b.tif", "period": "b"}]
    run: dict[str, Any] = {
        "name": "r",
        "maps": maps,
        "refine": {"majority": 3},
        "regions": [{"path": "r.gpkg"}],
    }
    periods = [{"name": "a"}, {"name": "b"}]
    faults = {
        "key 'legend' is missing": {},
        "key 'regions' is missing": {"legend": legend, "regions": []},
        "maps have periods a, b, and periods are": {"legend": legend},
        "periods c have no map": {"legend": legend, "periods": [*periods, {"name": "c"}]},
        "maps.accuracy is given for some": {
            "legend": legend,
            "periods": periods,
            "maps": [maps[0] | {"accuracy": 0.5}, maps[1]],
        },
        "maps.within is for maps that are refined": {
            "maps": [maps[0] | {"within": "x.gpkg"}],
            "refine": None,
        },
        "periods A and a differ in capitals alone": {
            "periods": [*periods, {"name": "A"}],
            "rasters": {"polygons": True},
        },
        "no layer may be called GPKG_1": {
            "periods": [*periods, {"name": "GPKG_1"}],
            "rasters": {"polygons": True},
        },
        "refine.smooth is of probabilities": {
            "legend": legend,
            "periods": periods,
            "refine": {"smooth": {}},
        },
    }
    for message, keys in faults.items():
        with pytest.raises(UsageError, match=message):
            parse_run(run | keys, folder)
    config = parse_run(run | {"legend": legend, "periods": periods}, folder)
    assert stages_of(config) == ("refine", "rasters", "stats")
    write_raster(tmp_path / "a.tif", np.full(GRID.shape, 9, np.uint8), GRID, nodata=NODATA)
    (tmp_path / "b.tif").write_bytes((tmp_path / "a.tif").read_bytes())
    with pytest.raises(InputError, match=r"a\.tif of period a has classes \[9\]"):
        refined_of(config, tmp_path)
