"""Rasters of uncertainty tell entropy and margin of the probabilities of their pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from scipy import stats

from lulc.config import Period
from lulc.legend import NODATA, LandClass, Legend
from lulc.maps.class_map import RasterSpec
from lulc.maps.rasters import files_of_raster, raster_path, write_group
from lulc.maps.refine.steps import MapWindow
from lulc.maps.uncertainty import measure_uncertainty
from tests.maps.test_refine import FIRST, IDS, percents_of, write_predictions


def test_certain_and_undecided_pixels_are_the_ends_of_the_scale() -> None:
    percents = np.array([[100, 25, 50, NODATA], [0, 25, 50, NODATA], [0, 25, 0, NODATA],
                         [0, 25, 0, NODATA]], np.uint8)[:, None]  # fmt: skip
    entropy, margin = measure_uncertainty(percents)
    assert entropy.tolist() == [[0, 100, 50, NODATA]]
    assert margin.tolist() == [[100, 0, 0, NODATA]]


def test_the_raster_has_both_of_every_pixel(tmp_path: Path) -> None:
    percents = percents_of(1, (96, 128), 2.0)
    classes = np.where(percents[0] == NODATA, NODATA, np.array(IDS)[percents.argmax(0)])
    whole = MapWindow(classes.astype(np.uint8), percents.max(0), percents)
    tiling, paths = write_predictions(tmp_path, whole, 32, 4)
    legend = Legend("l", tuple(LandClass(i, f"c{i}", "#808080") for i in IDS))
    spec = RasterSpec(
        tmp_path, "run", tiling, legend, 8, (Period("p"),), probabilities=True, uncertainty=True
    )
    path = raster_path("p/-1_-1", "run")
    write_group(
        {"key": "p/-1_-1", "fingerprint": "f", "path": path, "paths": [*paths.values()]}, spec
    )
    assert all((tmp_path / file).exists() for file in files_of_raster(path, spec))
    with rasterio.open(tmp_path / files_of_raster(path, spec)[-1]) as file:
        entropy, margin = file.read()
        assert file.descriptions == ("entropy", "margin")
        left, top = file.transform @ (0, 0)
    assert (left, -top) == (FIRST * 320.0, FIRST * 320.0)
    has_class = percents[0] != NODATA
    expected = 100 * stats.entropy(percents, axis=0) / np.log(len(IDS))
    assert np.abs(entropy[has_class] - expected[has_class]).max() <= 0.5 + 1e-9
    ordered = np.sort(percents, axis=0)
    assert (margin[has_class] == (ordered[-1] - ordered[-2])[has_class]).all()
    assert (entropy[~has_class] == NODATA).all()
    assert (margin[~has_class] == NODATA).all()
