"""Rates are those of this machine once they were measured, and shipped ones before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lulc.cost import calibrate
from lulc.cost.rates import JP2, SHIPPED, cache_file, keep_rates, load_rates
from lulc.cost.stages import StageCost
from lulc.cost.taken import Taken, compare_costs
from lulc.cost.work import rate_name
from lulc.errors import InputError
from lulc.features.feature import parse_features
from lulc.raster.formats import FORMATS, guess_format, read_facts, write_sample
from tests.helpers.small_world import GRID


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_measured_rates_are_kept_over_the_shipped_ones() -> None:
    assert load_rates() == SHIPPED
    assert SHIPPED.is_shipped
    kept = keep_rates({"warp_ns": 3.5, "read_ns": {**SHIPPED.read_ns, JP2: 1.0}})
    assert load_rates() == kept
    assert not kept.is_shipped
    assert (kept.warp_ns, kept.read_ns[JP2], kept.task_s) == (3.5, 1.0, SHIPPED.task_s)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[1]",
        '{"machine": 5}',
        '{"read_ns": []}',
        '{"compose_ns": {"median": null}}',
        '{"task_s": "x"}',
        '{"open_s": NaN}',
        '{"item_s": -1}',
        '{"flops": 0}',
    ],
)
def test_a_damaged_file_of_rates_is_named(content: str) -> None:
    cache_file().parent.mkdir(parents=True)
    cache_file().write_text(content)
    with pytest.raises(InputError, match=r"rates\.json .*delete it"):
        load_rates()


def test_every_format_has_a_shipped_rate_and_is_known_by_its_header(tmp_path: Path) -> None:
    assert set(FORMATS) == set(SHIPPED.read_ns)
    for number, form in enumerate(FORMATS):
        path = tmp_path / f"{number}.{'jp2' if form == JP2 else 'tif'}"
        pixels = np.arange(GRID.height * GRID.width, dtype="uint16").reshape(1, *GRID.shape)
        write_sample(path, form, pixels, GRID)
        facts = read_facts(str(path))
        assert (facts.format, facts.height, facts.width) == (form, GRID.height, GRID.width)
        assert facts.bytes_a_pixel == path.stat().st_size / pixels.size
        assert (guess_format(str(path)) == JP2) is (form == JP2)


def test_every_kind_of_feature_is_measured_and_has_a_shipped_rate() -> None:
    pixels = np.random.default_rng(0).integers(1, 6000, (2, 64, 64), np.uint16)
    measured = calibrate.measure_features(pixels)
    assert measured.keys() == SHIPPED.features_ns.keys()
    assert min(measured.values()) > 0
    entries = (
        "p5",
        "mean",
        "sd",
        "mad",
        "medoid",
        "first",
        "last",
        "harmonic:1",
        "phenology",
        "sd3",
    )
    named = ["ndvi", *(f"red:{entry}" for entry in entries), "dem:slope", "dem:tpi3"]
    features = parse_features(named, {}, ("red", "nir", "dem"), ("dem",))
    assert {rate_name(feature) for feature in features} == measured.keys()


def test_polygons_are_measured_by_pixel_and_by_polygon(tmp_path: Path) -> None:
    classes = np.random.default_rng(0).integers(1, 9, (64, 64), np.uint8).repeat(4, 0).repeat(4, 1)
    measured = calibrate.measure_polygons(tmp_path, classes)
    assert set(measured) == {"polygons_ns", "polygon_ns"}
    assert min(measured.values()) > 0


def test_a_plan_is_compared_with_what_was_recorded() -> None:
    costs = {
        # The ledger has what blocks took, and not the start of their stage.
        "tile": StageCost(core_seconds=13.0, start_seconds=3.0, files=4, written_bytes=100),
        "index": StageCost(core_seconds=4.0, start_seconds=3.0),
        "train": StageCost(core_seconds=5.0),
        "stats": StageCost(core_seconds=1.0),
    }
    taken = {"tile": Taken(15.0, 2, 50), "index": Taken(2.0, 1, 9), "train": Taken(None, 1, 7)}
    compared = compare_costs(costs, taken)
    assert set(compared) == {"tile", "index", "train"}
    assert compared["index"]["seconds"].factor == 0.5
    factors = {name: figure.factor for name, figure in compared["tile"].items()}
    assert factors == {"seconds": 1.5, "files": 0.5, "bytes": 0.5}
    assert compared["train"] == {}
