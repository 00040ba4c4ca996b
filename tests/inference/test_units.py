"""Models map scenes in another form of their unit, and refuse what is another quantity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from lulc.chips.chip import Chip
from lulc.errors import InputError, UsageError
from lulc.inference import blocks
from lulc.inference.folder import map_folder
from lulc.models.contract import read_contract
from lulc.tables import store
from lulc.tables.arrays import array_from
from tests.helpers.synthetic_chips import cut_chips, make_spec, texture, write_chips
from tests.helpers.synthetic_scenes import write_raster
from tests.helpers.untrained_model import make_model
from tests.inference.test_rows import reference

RADAR = {"bands": ("vv", "vh"), "mean": (-10.0, -16.0), "std": (4.0, 4.0)}


def radar_chips() -> tuple[list[Chip], list[Chip]]:
    """The same ground in linear sigma nought and in decibels."""
    noise, valid = texture(64, 64)
    decibels = (noise.astype(np.float64) - 2000) / 125 - np.array([10, 16])[:, None, None]
    linear = np.where(valid[:, None], 10 ** (decibels / 10), 0).astype(np.float32)
    decibels = np.where(valid[:, None], decibels, 0).astype(np.float32)
    both = []
    for pixels, unit in ((linear, "sigma0"), (decibels, "sigma0_db")):
        both.append(cut_chips(pixels, valid, [(0, 0)], 16, bands=("vv", "vh"), units=(unit,) * 2))
    return both[0], both[1]


@pytest.mark.parametrize("learned", ["sigma0_db", "sigma0"])
def test_a_model_maps_linear_scenes_and_decibels_alike(tmp_path: Path, learned: str) -> None:
    statistics = {} if learned == "sigma0_db" else {"mean": (0.15, 0.04), "std": (0.2, 0.05)}
    model = make_model(tmp_path / "model", **(RADAR | statistics), units=(learned,) * 2)
    maps = []
    for name, chips in zip(("0_0", "4_0"), radar_chips(), strict=True):
        key = write_chips(tmp_path, name, chips)
        (row,) = blocks.map_blocks(iter([key]), make_spec(tmp_path, model))
        (mapped,) = store.read_rows(tmp_path / str(row.path))
        maps.append((array_from(mapped, "classes"), array_from(mapped, "confidence")))
    (from_linear, sure), (from_decibels, sure_too) = maps
    assert len(np.unique(from_linear)) > 3
    assert (from_linear == from_decibels).mean() > 0.999
    assert abs(sure.astype(int) - sure_too)[from_linear == from_decibels].max() <= 1


def test_what_is_told_and_what_is_refused(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", **RADAR, units=("sigma0_db",) * 2)
    contract = read_contract(model / "contract.json")
    assert contract.units == ("sigma0_db", "sigma0_db")
    assert contract.describe_mismatch(("sigma0",) * 2) == (
        "vv, vh converted from sigma0 to sigma0_db"
    )
    assert contract.describe_mismatch(("gamma0_db",) * 2).startswith("WARNING: vv, vh in gamma0_db")
    assert "taken for sigma0_db" in contract.describe_mismatch(())
    assert not replace(contract, units=()).describe_mismatch(("sigma0",) * 2)
    with pytest.raises(InputError, match="has vv in kelvin; model 'untrained' was trained on sig"):
        contract.check(("vv", "vh"), 10.0, "it", ("kelvin", ""))


def test_chips_without_a_unit_are_left_as_they_are() -> None:
    linear, _ = radar_chips()
    unknown = replace(linear[0], units=())
    assert unknown.in_units(("sigma0_db",) * 2) is unknown
    assert linear[0].in_units(()) is linear[0]
    assert (
        not linear[0]
        .in_units(("sigma0_db",) * 2)
        .pixels[~linear[0].valid[:, None].repeat(2, 1)]
        .any()
    )


def test_image_files_say_no_unit_and_are_told_theirs(tmp_path: Path) -> None:
    model = reference(make_model(tmp_path / "model", **RADAR, units=("sigma0_db",) * 2))
    for name, (chip,) in zip(("linear", "decibels"), radar_chips(), strict=True):
        write_raster(tmp_path / name / "a.tif", chip.pixels[0], chip.grid, nodata=0)

    def classes(folder: str, **how: object) -> np.ndarray:
        (row,) = map_folder(model, tmp_path / folder, tmp_path / f"{folder}_map", **how)
        assert row.error is None
        with rasterio.open(tmp_path / f"{folder}_map" / str(row.path)) as file:
            return np.asarray(file.read(1))

    expected = classes("decibels")
    assert len(np.unique(expected)) > 3
    assert (classes("linear") == expected).mean() < 0.9
    told = classes("linear", units={"vv": "sigma0", "vh": "gamma0"})
    assert (told == expected).mean() > 0.99


def test_units_of_image_files_are_checked(tmp_path: Path) -> None:
    model = reference(make_model(tmp_path / "model", **RADAR, units=("sigma0_db",) * 2))
    for units, error, reason in (
        ({"hh": "sigma0"}, UsageError, "units of 'hh': model 'untrained' takes vv, vh"),
        ({"vv": "decibel"}, UsageError, "units of vv: 'decibel' is none of .*sigma0_db"),
        ({"vv": "kelvin"}, InputError, "has vv in kelvin.*`--units` of image files"),
    ):
        with pytest.raises(error, match=reason):
            map_folder(model, tmp_path / "in", tmp_path / "out", units)
