"""Rules read as they are written, and change what their conditions hold for, and nothing else."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely

from lulc.config import RefineConf
from lulc.errors import UsageError
from lulc.geo.grid import Grid
from lulc.legend import NODATA
from lulc.maps.refine.layers import layer_identity
from lulc.maps.refine.steps import MapWindow, follow_rules
from lulc.rules import parse_rule
from lulc.runfile import apply_settings, parse_run
from tests.cli.test_runfile import SMALL
from tests.helpers.synthetic_scenes import write_raster

LEGEND = {1: "crops", 2: "grass", 7: "open water"}
GRID = Grid("EPSG:6933", (10.0, 0.0, 500.0, 0.0, -10.0, 900.0), 12, 16)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class = crops then grass", "must read as"),
        ("where class = crops", "must read as"),
        ("where class = wheat then grass", "class 'wheat' is none of crops, grass, open water"),
        ("where class = crops then gras", "class 'gras' is none of"),
        ("where class > crops then grass", "a class is compared by = or !="),
        ("where layer(slop) > 3 then grass", r"layer 'slop' is none of refine.layers \['slope'\]"),
        ("where layer(slope) > steep then grass", "'steep' is no number"),
        ("where slope > 3 then grass", "a condition is"),
    ],
)
def test_what_is_no_rule_is_told(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_rule(text, LEGEND.values(), ["slope"])


def test_rules_change_where_all_conditions_hold_one_after_the_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    classes = rng.choice(np.array([1, 2, 7, NODATA], np.uint8), GRID.shape)
    confidence = np.where(classes == NODATA, NODATA, rng.integers(40, 101, GRID.shape))
    slope = rng.integers(0, 60, GRID.shape).astype("int16")
    slope[:2] = -1
    write_raster(tmp_path / "slope.tif", slope, GRID, nodata=-1)
    park = shapely.box(530, 800, 615, 873)
    geopandas.GeoDataFrame(geometry=[park], crs=GRID.crs).to_crs(4326).to_file(
        tmp_path / "parks.gpkg"
    )
    layers = {name: str(tmp_path / file) for name, file in
              (("slope", "slope.tif"), ("parks", "parks.gpkg"))}  # fmt: skip
    rules = (
        "where class = crops and layer(slope) > 30 then grass",
        "where class != 'open water' and layer(parks) = 1 and confidence < 0.7 then open water",
        'where class = "open water" and layer(slope) >= 55 then grass',
    )
    settings = RefineConf(rules=rules, layers=layers)
    window = MapWindow(classes, confidence.astype(np.uint8))
    found = follow_rules(window, settings, LEGEND, GRID)
    expected, has_slope = classes.copy(), slope >= 0
    expected[(expected == 1) & has_slope & (slope > 30)] = 2
    x, y = np.arange(16) * 10 + 505, 895 - np.arange(12) * 10
    in_park = ((x > 530) & (x < 615))[None] & ((y > 800) & (y < 873))[:, None]
    expected[np.isin(expected, [1, 2]) & in_park & (confidence < 70)] = 7
    expected[(expected == 7) & has_slope & (slope >= 55)] = 2
    assert (found.classes == expected).all()
    assert len({*np.unique(found.classes[found.classes != classes])}) == 2
    before = layer_identity(layers["slope"])
    write_raster(tmp_path / "slope.tif", slope[:, ::-1].copy(), GRID, nodata=-1)
    assert layer_identity(layers["slope"]) != before


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("refine.smooth={}", "set predict.probabilities to true"),
        ("refine.transitions={forbidden: [[a, b]]}", "between periods: give two or more"),
        ("refine.transitions={}", "say what is forbidden"),
        ("refine.transitions={forbidden: [[a, a]]}", "'a' cannot be forbidden to stay"),
        ("refine.majority=4", "give an odd number"),
        ("refine.rules=[where class = nothing then nothing]", "class 'nothing' is none of"),
    ],
)
def test_a_run_file_that_cannot_be_refined_is_told_so(setting: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_run(apply_settings({**SMALL}, [setting]), Path("/"))


def test_a_section_that_a_saved_run_file_leaves_empty_may_be_set() -> None:
    saved = {**SMALL, "refine": None, "rasters": None}
    settings = ["refine.minimum_mapping_unit=5", "rasters.group=16"]
    config = parse_run(apply_settings(saved, settings), Path("/"))
    assert config.refine == RefineConf(minimum_mapping_unit=5)
    assert config.rasters.group == 16


def test_layers_are_beside_the_run_file() -> None:
    settings = ["refine.layers={slope: s.tif}", "refine.minimum_mapping_unit=5"]
    refine = parse_run(apply_settings({**SMALL}, settings), Path("/runs")).refine
    assert refine == RefineConf(minimum_mapping_unit=5, layers={"slope": "/runs/s.tif"})
