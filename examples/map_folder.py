"""A folder of image files mapped by a run's model.

    python examples/map_folder.py out/eurosat images

A model of a class per pixel writes a raster of the same name for each image into the output folder;
other models write rows of the table `predictions` or `detections`. Images that are mapped already
are left as they are, and images that cannot be mapped are listed with the reason.
"""

from __future__ import annotations

import sys

import lulc


def main(out: str, folder: str, model: str | None = None) -> None:
    """Map the images and print what they are.

    Args:
        out: the output folder of a run that has trained.
        folder: the images, with its subfolders.
        model: another model, such as `models:/eurosat@champion`.
    """
    run = lulc.open_run(out)
    images = run.map_folder(folder, model).to_pandas()
    print(images["status"].value_counts().to_string())
    for row in images[images["status"] == "bad"].itertuples():
        print(f"{row.image}: {row.error}")

    rasters = images["path"].dropna().str.endswith(".tif").sum()
    if rasters:
        print(f"{rasters} class rasters in {run.out}")
    elif "predictions" in run.tables:
        classes = run.table("predictions", ["item", "class_name", "confidence"])
        print(classes.to_pandas().to_string(index=False))
    elif "detections" in run.tables:
        print(run.table("detections", ["item", "class_name", "score"]).to_pandas())


if __name__ == "__main__":
    main(*sys.argv[1:])
