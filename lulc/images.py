"""A folder of image files mapped by a model: a class raster of the same name and grid for each, or rows of a table."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from lulc import detections, geo, itemtable, pixels, predict, progress, store
from lulc.conf import Predict
from lulc.errors import InputError
from lulc.itemtable import ItemTable
from lulc.legend import NODATA
from lulc.modelfiles import ModelRef
from lulc.predict import Predictor

Row = dict[str, Any]
SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg")

# A file that claims so many times its own size, and over a gigabyte, holds nothing worth hours of work.
_CLAIM = 1000

# Seconds after which what was done is noted: a killed run loses no more.
_KEEP_S = 20.0


def map_folder(model: ModelRef, folder: Path, out: Path) -> list[Row]:
    """A ledger row for every image of a folder, after what the model says of it is written, or its error.

    Of a model for a class a pixel: a raster under the same relative name with suffix .tif. Of one for whole images or boxes: rows
    of OUT/tables/predictions or OUT/tables/detections, by the image's path under the folder. What stands already with the same
    image and model is left as it is. InputError when the folder holds no images.
    """
    folder, place, predictor = folder.resolve(), out.resolve(), predict.load_all(model.folders)
    if folder == place:
        raise InputError(f"the maps would lie among the images in {folder}: give another --out")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    images = [p for p in found if not p.is_relative_to(place)]
    if not images:
        raise InputError(f"{folder} holds no images: accepted are files ending in {', '.join(SUFFIXES)}")
    raster = predictor.task.kind == "pixels"
    names = [p.relative_to(folder).with_suffix(".tif") if raster else p.relative_to(folder) for p in images]
    twice = sorted({str(n) for n in names if names.count(n) > 1})
    if twice:
        raise InputError(f"two images in {folder} would make the same map {twice[0]}: rename one")
    weights, held, rows = model.checksum, store.standing(out, "images"), []
    table = None if raster else itemtable.open_table(out, predictor.task.kind)
    fresh: list[Row] = []
    kept = time.monotonic()
    with progress.bar(len(images), "images") as show, contextlib.ExitStack() as stack:
        stack.callback(_keep, out, table, fresh)
        for image, name in zip(images, names, strict=True):
            print_ = store.fingerprint("images", store.identity(image), weights)
            row = held.get(str(name))
            there = (out / (name if table is None else table.path)).exists()
            if not (row and row["fingerprint"] == print_ and row["status"] == "done" and there):
                row = _map_image(predictor, image, out, name, print_, table)
                fresh.append(row)
            rows.append(row)
            if time.monotonic() - kept > _KEEP_S:
                _keep(out, table, fresh)
                kept = time.monotonic()
            show(len(rows), sum(r["status"] == "bad" for r in rows))
    return rows


def _keep(out: Path, table: ItemTable | None, fresh: list[Row]) -> None:
    # The table first: what the ledger lists is there.
    if table is not None and fresh:
        table.write(out)
    store.append_ledger(out, fresh)
    fresh.clear()


def _map_image(predictor: Predictor, image: Path, out: Path, name: Path, print_: str, table: ItemTable | None) -> Row:
    start, path = time.monotonic(), out / name
    if table is None:
        # The map of an image that was there before must not be taken for this one's.
        path.unlink(missing_ok=True)
    else:
        table.rows.pop(str(name), None)
    try:
        with pixels.open_raster(str(image)) as source:
            scaling = _check(predictor, source, image)
            if table is None:
                store.publish(path, lambda beside: _write(predictor, source, beside, scaling))
            else:
                table.rows[str(name)] = _answer(predictor, source, str(name), scaling)
    except InputError as error:
        return store.entry("images", str(name), print_, status="bad", error=f"{image} cannot be mapped: {error}")
    seconds = time.monotonic() - start
    if table is not None:
        return store.entry("images", str(name), print_, path=table.path, seconds=seconds)
    return store.entry("images", str(name), print_, path=str(name), checksum=store.checksum(path), seconds=seconds)


def _answer(
    predictor: Predictor, source: DatasetReader, name: str, scaling: tuple[Sequence[float], Sequence[float]]
) -> list[Row]:
    """The rows that an image becomes: of the likeliest class, of every class where there may be several, or of every box."""
    asks, kind = predictor.contract, predictor.task.kind
    image, valid = _read(source, len(asks.bands), Window(0, 0, source.width, source.height))
    how, about = Predict(flips=asks.flips), {"item": name, "model": asks.name}
    named = {c.id: c.name for c in asks.legend.classes}
    if kind == "boxes":
        grid = pixels.grid_of(source) if source.crs else None
        return [
            about | {"n": n, "class_id": int(i), "class_name": named[int(i)], "score": score} | detections.place(box, grid)
            for n, (i, score, *box) in enumerate(predictor.boxes(image, valid, *scaling, how).tolist())
            if score >= how.score
        ]
    # Cut at its middle, as the samples were.
    size = asks.size
    y, x = (source.height - size) // 2, (source.width - size) // 2
    square, seen = pixels.window(image, y, x, size, 0), pixels.window(valid, y, x, size, 0)
    shares = predictor.cells(square, seen, *scaling, how)[0, 0]
    if np.isnan(shares).any():
        raise InputError("no pixel at its middle is valid")
    ranked = sorted(zip(asks.legend.classes, shares.tolist(), strict=True), key=lambda pair: -pair[1])
    return [
        about | {"class_id": c.id, "class_name": c.name, "confidence": share}
        for c, share in ranked[: 1 if kind == "image" else None]
    ]


def _check(predictor: Predictor, source: DatasetReader, image: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Scale and offset of each band of an image that keeps the model's contract, else InputError."""
    asks = predictor.contract
    count = len(asks.bands)
    alpha = source.count == count + 1 and source.colorinterp[-1].name == "alpha"
    dates = source.count // count if predictor.task.series else 1
    if not alpha and (source.count != count * dates or not dates or (asks.task == "change" and dates != 2)):
        each = {"change": " of each of two dates", "series": " of each date"}.get(asks.task, "")
        raise InputError(f"it has {source.count} bands; model {asks.name!r} takes {count}{each}: {', '.join(asks.bands)}")
    kinds = {np.dtype(kind).kind for kind in source.dtypes}
    if not kinds <= set("buif"):
        raise InputError(f"its pixels are {source.dtypes[0]}: real numbers can be mapped")
    claim = source.height * source.width * sum(np.dtype(kind).itemsize for kind in source.dtypes)
    if claim > max(1 << 30, _CLAIM * image.stat().st_size):
        raise InputError(
            f"it claims {claim / 2**30:.0f} GiB of pixels in {image.stat().st_size:,} bytes: no such image is mapped"
        )
    named = tuple(source.descriptions[:count])
    asks.check(named if all(named) else asks.bands, _pixel_side_m(source) or asks.gsd_m, "it")
    scales, offsets = tuple(source.scales[:count]), tuple(source.offsets[:count])
    if "f" not in kinds and set(scales) == {1.0} and set(offsets) == {0.0} and asks.scales:
        # Whole numbers that say nothing of themselves are taken as those of the chips that the model learned on.
        return asks.scales, asks.offsets
    return scales, offsets


def _pixel_side_m(source: DatasetReader) -> float | None:
    # None of a plain picture: nothing says how large its pixels are.
    if source.crs is None or not (source.crs.is_geographic or source.crs.is_projected):
        return None
    grid = pixels.grid_of(source)
    middle = grid.window(grid.height // 2, grid.width // 2, 1, 1)
    return math.sqrt(float(geo.pixel_areas(middle).mean()))


def _write(predictor: Predictor, source: DatasetReader, beside: Path, scaling: tuple[Sequence[float], Sequence[float]]) -> None:
    asks = predictor.contract
    how = Predict(flips=asks.flips)
    profile: dict[str, Any] = {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": NODATA, "compress": "deflate"}
    profile |= {"height": source.height, "width": source.width, "tiled": True, "blockxsize": 256, "blockysize": 256}
    profile |= {"bigtiff": "if_safer"} | ({"crs": source.crs, "transform": source.transform} if source.crs else {})
    rows, cols = (list(predict.windows(slice(0, n), n, how.window, asks.multiple)) for n in (source.height, source.width))
    with rasterio.open(beside, "w", **profile) as target:
        target.write_colormap(1, asks.legend.palette())
        target.update_tags(model=asks.name, **{f"CLASS_{c.id}": c.name for c in asks.legend.classes})
        for (high, kept_rows), (wide, kept_cols) in itertools.product(rows, cols):
            count = len(asks.bands)
            dates = source.count // count if predictor.task.series else 1
            image, valid = _read(source, count * dates, Window.from_slices(high, wide), dates)
            core = predict.shift(kept_rows, -high.start), predict.shift(kept_cols, -wide.start)
            classes, _ = predictor(image, valid, *scaling, how, core)
            target.write(np.ascontiguousarray(classes[core]), 1, window=Window.from_slices(kept_rows, kept_cols))


def _read(source: DatasetReader, count: int, window: Window, dates: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The first bands (T, C, H, W) of a window, date after date, and where all of a date are valid (T, H, W)."""
    bands = list(range(1, count + 1))
    try:
        image = source.read(bands, window=window)
        mask = source.read_masks(bands, window=window) > 0
    except RasterioError as error:
        place = f"rows {window.row_off}-{window.row_off + window.height} columns {window.col_off}-{window.col_off + window.width}"
        raise pixels.ReadError(f"{place} cannot be read: {error.__cause__ or error}") from error
    if image.dtype.kind == "f":
        mask &= np.isfinite(image)
    image, mask = (x.reshape(dates, -1, *x.shape[1:]) for x in (image, mask))
    valid = mask.all(axis=1)
    return np.where(valid[:, None], image, 0), valid
