"""Labelled images that lie in folders, described by options: no reader is written.

    python examples/custom_dataset.py ROOT out/fields

ROOT holds `images/<name>.tif` and `masks/<name>.png`, whose codes are 0 (other) and 1 (field).
Other options describe folders named after classes, polygons (GeoJSON) or a table of boxes; see
`lulc info datasets` and the first lines of `lulc/datasets/readers/images.py`.
"""

from __future__ import annotations

import sys
from collections import Counter

import lulc

OPTIONS = {
    "images": "images/{item}.tif",
    "masks": "masks/{item}.png",
    "classes": "other=0, field=1",
    "bands": "red, green, blue",
    "gsd_m": "10",
}


def main(root: str, out: str) -> None:
    """Make the samples table, and print how many labelled pixels each split has."""
    settings = {
        "name": "fields",
        "datasets": [{"name": "images", "root": root, "options": OPTIONS, "size": 64}],
        "samples": {"validation": 0.2, "test": 0.2},
        "spark": {"memory": "1g"},
    }
    run = lulc.run(settings, out, stages=("samples",))
    for split in ("train", "validation", "test"):
        pixels: Counter[str] = Counter()
        count = 0
        for sample in run.samples(split):
            count += 1
            for land_class in run.legend.classes:
                pixels[land_class.name] += int((sample.label == land_class.id).sum())
        print(f"{split}: {count} samples, {dict(pixels)} labelled pixels")


if __name__ == "__main__":
    main(*sys.argv[1:])
