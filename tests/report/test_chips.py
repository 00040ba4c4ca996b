"""The picture of a chips table shows its pixels where they lie, and grey where nothing is valid."""

from __future__ import annotations

from datetime import date
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from lulc.chips import chip
from lulc.chips.chip import choose_encoding
from lulc.chips.composites import make_intervals
from lulc.chips.cut import cut_block
from lulc.chips.mosaic import ChipSpec
from lulc.config import CompositeConf, Period
from lulc.errors import InputError
from lulc.geo.tiling import Tiling
from lulc.raster import show
from lulc.report import chips
from lulc.report import chips as report_chips
from tests.helpers.synthetic_scenes import UTM33, make_scene

TILING = Tiling("own-64", UTM33.crs, 10.0, 64, UTM33.transform[2], UTM33.transform[5])


def test_the_picture_is_the_chips_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    bands = {
        name: rng.integers(100, 9000, UTM33.shape).astype(np.uint16)
        for name in ("nir", "red", "green", "blue")
    }
    for band in bands.values():
        band[40:60, 30:90] = 0
    scene = make_scene(tmp_path, "a", bands)
    spec = ChipSpec(TILING, choose_encoding([scene], tuple(bands)), halo=16, span=2)
    for number, cell in enumerate(((0, 0), (2, 2))):
        made = cut_block([scene], spec, *cell, "p").chips
        chip.write_chips(tmp_path / "chips" / f"{number}.parquet", made, {})
    for every, side in ((1, 1400), (3, 100)):
        monkeypatch.setattr(report_chips, "_SIDE", side)
        seen = np.rint(imread(BytesIO(chips.draw_chips(tmp_path / "chips")))[..., :3] * 255)
        assert seen.shape[:2] == (-(-256 // every), -(-256 // every))
        red, empty = (
            bands["red"][:256:every, :256:every],
            (bands["red"] == 0)[:256:every, :256:every],
        )
        cut_out = np.ones((256, 256), bool)
        cut_out[:128, :128] = cut_out[128:, 128:] = False
        empty = empty | cut_out[::every, ::every]
        assert (seen[empty] == round(255 * show._EMPTY)).all()
        low, high = np.percentile(red[~empty], (2, 98))
        want = np.rint(255 * np.clip((red - low) / (high - low), 0, 1))
        assert np.abs(seen[..., 0] - want)[~empty].max() <= 1
    with pytest.raises(InputError, match="lulc tile"):
        chips.draw_chips(tmp_path / "chips", "other")


def test_a_series_is_a_panel_a_date_in_one_stretch(tmp_path: Path) -> None:
    # Three intervals, of which the middle one is empty.
    levels, days = (1000, 3000), (date(2024, 6, 1), date(2024, 6, 21))
    scenes = [
        make_scene(
            tmp_path,
            f"s{level}",
            {"red": np.full(UTM33.shape, level, np.uint16)},
            day=f"{day}T10:00",
        )
        for level, day in zip(levels, days, strict=True)
    ]
    spec = ChipSpec(
        TILING,
        choose_encoding(scenes, ("red",)),
        halo=16,
        span=2,
        composite=CompositeConf(interval=10),
    )
    spans = make_intervals(Period("p", date(2024, 6, 1), date(2024, 6, 30)), spec.composite)
    chip.write_chips(
        tmp_path / "chips" / "0.parquet", cut_block(scenes, spec, 0, 0, "p", spans).chips, {}
    )
    seen = np.rint(imread(BytesIO(chips.draw_chips(tmp_path / "chips")))[..., 0] * 255)
    first, second = seen[14 : 14 + 128, :128], seen[14 : 14 + 128, 132:]
    assert seen.shape == (14 + 128 + 4, 128 + 4 + 128)
    assert (first == 0).all() and (second == 255).all()
    assert all((seen[:14, side] < 100).any() for side in (np.s_[:128], np.s_[132:]))
