"""A model from an archive like EuroSAT: folders of images, a folder for each class.

    python examples/train_eurosat.py ROOT out/eurosat 20

ROOT holds `2750/<class>/<class>_<number>.jpg` as EuroSAT comes. The same call again trains only if
something has changed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import lulc


def main(root: str, out: str, epochs: str = "20") -> None:
    """Train a classifier, print its epochs, and try it on the test samples.

    Args:
        root: the unpacked archive.
        out: the output folder.
        epochs: number of epochs.
    """
    settings = {
        "name": "eurosat",
        "datasets": [{"name": "eurosat", "root": root}],
        "samples": {"validation": 0.2, "test": 0.2},
        "train": {"encoder": "resnet18", "augment": ["flip", "rotate", "zoom"], "batch": 32},
        "spark": {"memory": "1g"},
    }
    run = lulc.run(settings, out, set={"train.epochs": int(epochs)})
    print(run.history().to_pandas()[["epoch", "loss", "accuracy"]].to_string(index=False))

    model, names = run.model(), {c.id: c.name for c in run.legend.classes}
    right = total = 0
    for sample in run.samples("test"):
        probabilities = model.classify(sample)
        right += max(probabilities, key=probabilities.__getitem__) == names[int(sample.label)]
        total += 1
    print(f"{right} of {total} test images are right")
    run.picture("confusion").save(Path(out) / "confusion.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
