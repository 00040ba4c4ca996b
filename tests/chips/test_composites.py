"""Composites: the pixel each method chooses, filled gaps, and independence of strips and blocks."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lulc.bands import OBSERVATIONS
from lulc.chips import composites, mosaic
from lulc.chips.chip import choose_encoding
from lulc.chips.cut import cut_block
from lulc.chips.mosaic import ChipSpec
from lulc.config import CompositeConf, Period
from lulc.errors import UsageError
from lulc.geo.tiling import Tiling
from lulc.sources.scene import Scene
from lulc.tables.encoding import Encoding
from tests.helpers.synthetic_scenes import UTM33, make_scene, texture

BANDS = ("red", "nir")
ENCODING = Encoding(BANDS, "uint16", (1e-4, 1e-4), (-0.1, -0.1))
OWN = Tiling("own-64", UTM33.crs, 10.0, 64, UTM33.transform[2], UTM33.transform[5])

STACK = hnp.arrays(np.uint16, (6, 2, 3, 4), elements=st.integers(1, 9000))
SEEN = hnp.arrays(bool, (6, 3, 4))


def spectra(pixels: np.ndarray, valid: np.ndarray, i: int, j: int) -> np.ndarray:
    return pixels[valid[:, i, j], :, i, j] * 1e-4 - 0.1


@given(STACK, SEEN)
@settings(deadline=None, max_examples=40)
def test_every_method_chooses_what_its_definition_says(
    pixels: np.ndarray, valid: np.ndarray
) -> None:
    made = {}
    for conf in (
        CompositeConf("median"),
        CompositeConf("medoid"),
        CompositeConf("geomedian"),
        CompositeConf("best", ("nir", "red")),
    ):
        made[conf.method], count = composites.compose(pixels, valid, BANDS, ENCODING, conf)
        np.testing.assert_array_equal(count, valid.sum(0))
        assert not made[conf.method][:, count == 0].any()
    for i, j in np.argwhere(valid.any(0)):
        seen = spectra(pixels, valid, i, j)

        def apart(x: np.ndarray, seen: np.ndarray = seen) -> float:
            return float(np.linalg.norm(seen - x, axis=1).sum())

        value = {name: image[:, i, j] * 1e-4 - 0.1 for name, image in made.items()}
        np.testing.assert_allclose(value["median"], np.sort(seen, 0)[(len(seen) - 1) // 2])
        assert apart(value["medoid"]) == pytest.approx(min(map(apart, seen)))
        # Rounded to whole numbers, the centre is off by half a step in each band at most.
        assert apart(value["geomedian"]) <= min(map(apart, seen)) + 1e-4 * len(seen)
        ndvi = [(b - a) / (b + a) if a + b > 0 else -2 for a, b in seen]
        np.testing.assert_allclose(value["best"], seen[int(np.argmax(ndvi))])


def test_the_geometric_median_of_a_triangle_is_its_fermat_point() -> None:
    # For an equilateral triangle it is the centre, for one with
    # an angle over 120 degrees that corner.
    corners = np.array([[1000, 1000], [3000, 1000], [2000, 1000 + 1732]], np.uint16)
    blunt = np.array([[1000, 1000], [5000, 1000], [3000, 1100]], np.uint16)
    for points, centre in ((corners, (2000, 1577)), (blunt, (3000, 1100))):
        pixels = points[:, :, None, None]
        found, _ = composites.compose(
            pixels, np.ones((3, 1, 1), bool), BANDS, ENCODING, CompositeConf("geomedian")
        )
        np.testing.assert_allclose(found[:, 0, 0].astype(int), centre, atol=1)


@given(STACK, SEEN, st.booleans())
@settings(deadline=None, max_examples=40)
def test_gaps_are_filled_from_the_pixels_own_dates(
    pixels: np.ndarray, valid: np.ndarray, linear: bool
) -> None:
    days = np.array([0, 10, 20, 31, 60, 61])
    filled, seen = pixels.copy(), valid.copy()
    composites.fill_gaps(filled, seen, days, linear)
    np.testing.assert_array_equal(seen, np.broadcast_to(valid.any(0), valid.shape))
    for i, j in np.argwhere(valid.any(0)):
        known = np.flatnonzero(valid[:, i, j])
        for c in range(2):
            if linear:
                want = np.rint(np.interp(days, days[known], pixels[known, c, i, j]))
                np.testing.assert_allclose(filled[:, c, i, j], want, atol=1)
            else:
                nearest = [known[np.argmin(np.abs(days[known] - d))] for d in days]
                np.testing.assert_array_equal(filled[:, c, i, j], pixels[nearest, c, i, j])
        np.testing.assert_array_equal(filled[known][..., i, j], pixels[known][..., i, j])


def test_intervals_cover_a_period_once() -> None:
    found = composites.make_intervals(
        Period("y", date(2024, 1, 1), date(2024, 12, 31)), CompositeConf(interval=50)
    )
    assert (found[0].start, found[-1].end) == (date(2024, 1, 1), date(2024, 12, 31))
    assert all((b.start - a.end).days == 1 for a, b in itertools.pairwise(found))
    assert found[0].middle.astimezone(UTC).date() == date(2024, 1, 26)
    assert composites.make_intervals(Period("y"), CompositeConf()) == ()
    with pytest.raises(UsageError, match="start and end"):
        composites.make_intervals(Period("y"), CompositeConf(interval=10))
    with pytest.raises(ValueError, match=r"composite\.index"):
        CompositeConf("best")


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> list[Scene]:
    made = []
    for n, day in enumerate((1, 4, 6, 21, 24)):
        quality = (texture(UTM33, 50 + n) % 3 > 0).astype(np.uint8)
        bands = {"red": texture(UTM33, 2 * n), "nir": texture(UTM33, 2 * n + 1), "quality": quality}
        made.append(
            make_scene(tmp_path_factory.mktemp(f"s{n}"), f"s{n}", bands, day=f"2024-06-{day:02}")
        )
    return made


def test_a_series_keeps_its_intervals_counts_observations_and_does_not_depend_on_strips(
    dated: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    bands = (*BANDS, OBSERVATIONS)
    encoding = choose_encoding(dated, bands)
    conf = CompositeConf("median", interval=10)
    days = composites.make_intervals(Period("june", date(2024, 6, 1), date(2024, 6, 30)), conf)
    spec = ChipSpec(OWN, encoding, halo=16, span=2, composite=conf)
    whole = cut_block(dated, spec, 0, 0, "june", days)
    monkeypatch.setattr(mosaic, "STRIP_BYTES", 1 << 17)
    assert all((a.pixels == b.pixels).all() and a.scene_ids == b.scene_ids for a, b in zip(
        whole.chips, cut_block(dated, spec, 0, 0, "june", days).chips, strict=True
    ))  # fmt: skip
    plain = replace(spec, encoding=choose_encoding(dated, BANDS), composite=None, dates=5)
    single = {c.tile_id: c for c in cut_block(dated, plain, 0, 0, "june").chips}
    for chip in whole.chips:
        dates = single[chip.tile_id]
        assert chip.pixels.shape[:2] == (3, 3)
        assert chip.datetimes == tuple(i.middle for i in days)
        np.testing.assert_array_equal(chip.pixels[0, 2], dates.valid[:3].sum(0))
        np.testing.assert_array_equal(chip.pixels[2, 2], dates.valid[3:].sum(0))
        assert not chip.valid[1].any()
        image, _ = composites.compose(dates.pixels[:3, :2], dates.valid[:3], BANDS, encoding, conf)
        np.testing.assert_array_equal(chip.pixels[0, :2], image)
    filled = cut_block(
        dated, replace(spec, composite=replace(conf, fill="linear")), 0, 0, "june", days
    ).chips
    for chip, gaps in zip(filled, whole.chips, strict=True):
        np.testing.assert_array_equal(
            chip.valid, np.broadcast_to(gaps.valid.any(0), chip.valid.shape)
        )
        assert not chip.pixels[1, 2].any()


def test_a_scene_that_fails_in_a_later_strip_gives_nothing(
    dated: list[Scene], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Path(dated[1].bands[0].href)
    cut_file = tmp_path / broken.name
    cut_file.write_bytes(broken.read_bytes()[: broken.stat().st_size * 2 // 3])
    hurt = replace(
        dated[1], bands=(replace(dated[1].bands[0], href=str(cut_file)), *dated[1].bands[1:])
    )
    spec = ChipSpec(OWN, ENCODING, halo=0, span=4, composite=CompositeConf("medoid"))
    monkeypatch.setattr(mosaic, "STRIP_BYTES", 1 << 17)
    made = cut_block([dated[0], hurt, *dated[2:]], spec, 0, 0, "p")
    clean = cut_block([dated[0], *dated[2:]], spec, 0, 0, "p")
    assert set(made.unreadable) == {"s1"}
    assert all((a.pixels == b.pixels).all() for a, b in zip(made.chips, clean.chips, strict=True))
