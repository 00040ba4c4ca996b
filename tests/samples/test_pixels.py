"""Labelled pixels as a table: what each has, in its physical values, where and when."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from lulc.errors import InputError
from lulc.geo.grid import WGS84, transformer
from lulc.samples.pixels import pixel_schema, read_pixels
from lulc.samples.sample import list_sample_files, read_samples
from tests.helpers import labelled_pixels
from tests.helpers.labelled_pixels import BANDS, GRID, publish_sample


def test_every_labelled_pixel_is_a_row_with_its_values_place_and_date(tmp_path: Path) -> None:
    for split in ("train", "test"):
        publish_sample(tmp_path, split)
    files = list_sample_files(tmp_path)
    schema = pixel_schema(files)
    assert schema is not None
    assert tuple(schema.names[-3:]) == BANDS
    rows = pa.Table.from_batches([b for split, f in files for b in read_pixels(split, f, schema)])
    (sample,) = read_samples(tmp_path, "train")
    of_train = rows.filter(pc.field("split") == "train").to_pandas()
    seen = sample.valid & (sample.label != 255)
    assert len(of_train) == seen.sum() == rows.num_rows / 2
    for row in of_train.iloc[:: len(of_train) // 9].itertuples():
        at = row.pixel_row, row.pixel_col
        date = sample.datetimes.index(row.datetime.to_pydatetime())
        assert seen[(date, *at)]
        assert row.class_id == sample.label[at]
        assert row.class_name == {7: "water", 2: "trees"}[row.class_id]
        scales, offsets = np.array(sample.scales), np.array(sample.offsets)
        values = sample.pixels[(date, slice(None), *at)] * scales + offsets
        np.testing.assert_allclose(list(row)[-3:], values, rtol=1e-6)
        x = GRID.transform[2] + 10 * (at[1] + 0.5)
        y = GRID.transform[5] - 10 * (at[0] + 0.5)
        place = transformer(GRID.crs, WGS84).transform(x, y)
        np.testing.assert_allclose((row.longitude, row.latitude), place)


def test_what_has_no_class_a_pixel_has_no_such_table(tmp_path: Path) -> None:
    assert pixel_schema(list_sample_files(tmp_path)) is None
    publish_sample(tmp_path, "train", task="detect")
    assert pixel_schema(list_sample_files(tmp_path)) is None
    with pytest.raises(InputError, match="none of train"):
        list_sample_files(tmp_path, "all")


def test_a_band_named_as_a_column_is_told_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled_pixels, "BANDS", ("red", "nir", "Period"))
    publish_sample(tmp_path, "train")
    with pytest.raises(InputError, match=r"band Period is named as a column.*another name in the"):
        pixel_schema(list_sample_files(tmp_path))
