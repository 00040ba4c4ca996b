"""Units of bands: what may be one band, how it is brought together, and tables without units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as drawn_arrays

from lulc.bands import LEAST_BACKSCATTER, UNITS, convert_unit, describe_mixture, shared_unit
from lulc.chips.chip import Chip
from lulc.errors import InputError
from lulc.sources import scenes_table
from lulc.tables import layout, schemas, store
from lulc.tables.encoding import Encoding, merge_encodings, recode
from tests.helpers.continent import make_scenes
from tests.helpers.synthetic_chips import cut_chips, texture, write_chips

POSITIVE = drawn_arrays(np.float64, (1, 1, 4, 4), elements=st.floats(1e-5, 1e3))
LINEAR = Encoding(("vv",), "float32", (1.0,), (0.0,), ("sigma0",))
DECIBELS = Encoding(("vv",), "int16", (0.01,), (0.0,), ("sigma0_db",))


@given(POSITIVE)
def test_decibels_and_back(values: np.ndarray) -> None:
    decibels = convert_unit(values, "sigma0", "sigma0_db")
    assert np.allclose(decibels, 10 * np.log10(values))
    assert np.allclose(convert_unit(decibels, "gamma0_db", "gamma0"), values)


def test_what_has_no_logarithm_becomes_the_least() -> None:
    values = np.array([[[[0.0, -1e-3, 1e-9, 1.0]]]])
    assert convert_unit(values, "sigma0", "sigma0_db").ravel().tolist() == [-50, -50, -50, 0]
    merged = merge_encodings([LINEAR, DECIBELS])
    assert recode(values, LINEAR, merged).ravel().tolist() == [-50, -50, -50, 0]
    assert convert_unit(values, "", "sigma0_db") is values and LEAST_BACKSCATTER == 1e-5


@given(POSITIVE)
def test_linear_beside_decibels_is_kept_in_decibels(values: np.ndarray) -> None:
    merged = merge_encodings([LINEAR, DECIBELS])
    assert (merged.dtype, merged.units) == ("float32", ("sigma0_db",))
    expected = 10 * np.log10(values)
    assert np.allclose(recode(values, LINEAR, merged), expected, atol=1e-4)
    numbers = np.rint(expected * 100).astype(np.int16)
    assert np.allclose(recode(numbers, DECIBELS, merged), expected, atol=0.006)


def test_equal_units_change_no_number() -> None:
    numbers = np.arange(16, dtype=np.uint16).reshape(1, 1, 4, 4)
    known = Encoding(("red",), "uint16", (1e-4,), (0.0,), ("toa_reflectance",))
    other = Encoding(("red",), "uint16", (1e-4,), (0.0,), ("surface_reflectance",))
    merged = merge_encodings([known, other])
    assert (merged.dtype, merged.units) == ("uint16", ("reflectance",))
    assert np.array_equal(recode(numbers, known, merged), numbers)


@given(st.sets(st.sampled_from(UNITS), min_size=1, max_size=3))
def test_the_shared_unit_is_one_of_the_vocabulary(units: set[str]) -> None:
    shared = shared_unit(units)
    assert shared is None or shared in UNITS
    assert len(units) > 1 or shared in units
    assert shared_unit({*units, ""}) == shared


def test_mixtures_are_told_with_the_names_and_others_refused() -> None:
    surface, top = {"surface_reflectance"}, {"toa_reflectance"}
    told = describe_mixture({
        "bigearthnet": {"red": surface, "nir": surface, "vv": {"sigma0_db"}},
        "sen12ms": {"red": top, "nir": top, "vv": {"sigma0_db"}},
        "multisenge": {"red": surface, "nir": surface, "vv": {"sigma0"}},
    })  # fmt: skip
    assert told[0].startswith(
        "WARNING: red, nir surface_reflectance in bigearthnet, multisenge and "
        "toa_reflectance in sen12ms"
    )
    assert told[1].endswith("brought to sigma0_db") and len(told) == 2
    (unknown,) = describe_mixture({"images": {"vv": {""}}, "pastis": {"vv": {"sigma0_db"}}})
    assert "not known in images" in unknown and "taken for sigma0_db" in unknown
    assert not describe_mixture({"images": {"red": {""}}, "oscd": {"red": top}})
    with pytest.raises(InputError, match="band red is picture in ucmerced and toa_reflectance in"):
        describe_mixture({"ucmerced": {"red": {"picture"}}, "oscd": {"red": top}})


def test_tables_of_before_are_read_without_units(tmp_path: Path) -> None:
    scenes = make_scenes(2)
    file = tmp_path / layout.table_file("scenes")
    file.parent.mkdir(parents=True)
    pq.write_table(scenes, file)
    assert scenes_table.read_columns(tmp_path).units_of_sources == {
        "sentinel2": {
            name: frozenset({"surface_reflectance"}) for name in ("blue", "green", "red", "nir")
        }
    }
    pq.write_table(scenes.drop_columns("units"), file)
    columns = scenes_table.read_columns(tmp_path)
    assert not columns.units_of_sources and {band.unit for band in columns.bands} == {""}
    (scene,) = scenes_table.read_scenes(tmp_path, np.array([0]))
    assert {band.unit for band in scene.bands} == {""}
    assert store.read_table(tmp_path, "scenes")["units"].null_count == len(scenes)
    (chip,) = cut_chips(*texture(64, 64), [(0, 0)], 16)
    key = write_chips(tmp_path, "0_0", [chip])
    path = tmp_path / key["path"]
    pq.write_table(pq.read_table(path).drop_columns("units"), path)
    (read,) = map(Chip.from_row, store.read_rows(path))
    assert read.units == () and np.array_equal(read.pixels, chip.pixels)
    schemas.check_schema(pq.read_schema(path), schemas.CHIPS, str(path))
