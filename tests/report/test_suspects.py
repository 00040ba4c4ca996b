"""The contact sheet of a review shows each window with the pixels whose label is doubted."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from lulc.report.suspects import draw_suspects
from lulc.tables import schemas
from tests.helpers import tiny_samples as toy


def test_the_pixels_of_the_doubted_class_are_in_its_colour(tmp_path: Path) -> None:
    folds = [tmp_path / "0", tmp_path / "1"]
    for folder in folds:
        toy.write_samples(folder, training=0, validation=3)
        (folder / "split=validation").rename(folder / "split=test")
    names = toy.LEGEND.names
    suspects = [
        dict.fromkeys(schemas.SUSPECTS.names)
        | {"sample_id": f"s100{n}", "fold": n % 2, "score": 0.1, "label_id": 2}
        | {"label": names[2], "answer": names[7]}
        for n in range(3)
    ]
    png = draw_suspects(pa.Table.from_pylist(suspects, schemas.SUSPECTS), folds, toy.LEGEND)
    colours = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3)
    count = {name: (colours == colour).all(1).sum() for name, colour in (
        ("trees", (0x00, 0xAA, 0x00)), ("water", (0x00, 0x00, 0xFF))
    )}  # fmt: skip
    assert count["trees"] > 500
    assert count["water"] == 0
