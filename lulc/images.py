"""A folder of image files mapped by a model: a class raster of the same name and grid for each, in bounded memory."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.windows import Window

from lulc import geo, pixels, predict, store
from lulc.conf import Predict
from lulc.errors import InputError
from lulc.legend import NODATA
from lulc.modelfiles import checksum
from lulc.predict import MARGIN, Predictor

Row = dict[str, Any]
SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg")


def map_folder(model: Path, folder: Path, out: Path) -> list[Row]:
    """A ledger row for every image of a folder, its map written under the same relative name with suffix .tif, or its error.

    What stands already with the same image and model is left as it is. InputError when the folder holds no images.
    """
    folder = folder.resolve()
    images = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not images:
        raise InputError(f"{folder} holds no images: accepted are files ending in {', '.join(SUFFIXES)}")
    names = [p.relative_to(folder).with_suffix(".tif") for p in images]
    twice = sorted({str(n) for n in names if names.count(n) > 1})
    if twice:
        raise InputError(f"two images in {folder} would make the same map {twice[0]}: rename one")
    if (out / names[0]).resolve() == images[0]:
        raise InputError(f"the maps would replace the images in {folder}: give another --out")
    predictor = predict.load(model)
    held = store.standing(out, "images")
    rows = []
    for image, name in zip(images, names, strict=True):
        print_ = store.fingerprint("images", store.identity(image), checksum(model))
        stood = held.get(str(name))
        if stood and stood["fingerprint"] == print_ and stood["status"] == "done" and (out / name).exists():
            rows.append(stood)
            continue
        row = _map_image(predictor, image, out, name, print_)
        store.append_ledger(out, [row])
        rows.append(row)
    return rows


def _map_image(predictor: Predictor, image: Path, out: Path, name: Path, print_: str) -> Row:
    start = time.monotonic()
    try:
        with pixels.open_raster(str(image)) as source:
            scales, offsets = _check(predictor, source, image)
            store.publish(out / name, lambda beside: _write(predictor, source, beside, scales, offsets))
    except (InputError, RasterioError, OSError) as error:
        text = f"{image} cannot be mapped: {error}"
        return store.entry("images", str(name), print_, status="bad", error=text)
    return store.entry(
        "images", str(name), print_, path=str(name), checksum=store.checksum(out / name), seconds=time.monotonic() - start
    )


def _check(predictor: Predictor, source: DatasetReader, image: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Scale and offset of each band of an image that keeps the model's contract, else InputError."""
    asks = predictor.contract
    count = len(asks.bands)
    alpha = source.count == count + 1 and source.colorinterp[-1].name == "alpha"
    if source.count != count and not alpha:
        raise InputError(f"it has {source.count} bands; model {asks.name!r} takes {count}: {', '.join(asks.bands)}")
    named = tuple(source.descriptions[:count])
    if source.crs is None:
        # A plain picture: nothing says how large its pixels are.
        asks.check(named if all(named) else asks.bands, asks.gsd_m, str(image))
    else:
        grid = pixels.grid_of(source)
        middle = grid.window(grid.height // 2, grid.width // 2, 1, 1)
        asks.check(named if all(named) else asks.bands, math.sqrt(float(geo.pixel_areas(middle).mean())), str(image))
    scales, offsets = tuple(source.scales[:count]), tuple(source.offsets[:count])
    if set(scales) == {1.0} and set(offsets) == {0.0} and asks.scales:
        # The image says nothing of its numbers: they are taken as those of the chips that the model learned on.
        return asks.scales, asks.offsets
    return scales, offsets


def _write(predictor: Predictor, source: DatasetReader, beside: Path, scales: Sequence[float], offsets: Sequence[float]) -> None:
    asks = predictor.contract
    how = Predict(flips=asks.flips)
    profile: dict[str, Any] = {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": NODATA, "compress": "deflate"}
    profile |= {"height": source.height, "width": source.width, "tiled": True, "blockxsize": 256, "blockysize": 256}
    if source.crs is not None:
        profile |= {"crs": source.crs, "transform": source.transform}
    with rasterio.open(beside, "w", **profile) as target:
        target.write_colormap(1, asks.legend.palette())
        target.update_tags(model=asks.name, **{f"CLASS_{c.id}": c.name for c in asks.legend.classes})
        for rows, kept_rows in predict.windows(source.height, max(how.window, 4 * MARGIN), asks.multiple):
            for cols, kept_cols in predict.windows(source.width, max(how.window, 4 * MARGIN), asks.multiple):
                classes = _map_window(predictor, source, (rows, cols), (scales, offsets), how)
                inner = classes[kept_rows.start - rows.start : kept_rows.stop - rows.start]
                inner = inner[:, kept_cols.start - cols.start : kept_cols.stop - cols.start]
                _put(target, inner, kept_rows, kept_cols)


def _map_window(
    predictor: Predictor,
    source: DatasetReader,
    place: tuple[slice, slice],
    scaling: tuple[Sequence[float], Sequence[float]],
    how: Predict,
) -> np.ndarray:
    window = Window.from_slices(*place)
    wanted = list(range(1, len(predictor.contract.bands) + 1))
    image = source.read(wanted, window=window)
    valid = np.all(source.read_masks(wanted, window=window) > 0, axis=0)
    if image.dtype.kind == "f":
        valid &= np.isfinite(image).all(axis=0)
        image = np.where(valid, image, 0)
    whole = replace(how, window=max(image.shape[-2:]) + how.window)
    return predictor(image[None], valid[None], *scaling, whole)[0]


def _put(target: DatasetWriter, classes: np.ndarray, rows: slice, cols: slice) -> None:
    target.write(np.ascontiguousarray(classes), 1, window=Window.from_slices(rows, cols))
