"""A folder of image files mapped by a model: a class raster of the same name and grid for each, or rows of a table."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from lulc import progress
from lulc.config import PredictConf
from lulc.errors import InputError
from lulc.geo import areas
from lulc.inference import detections, item_table, windows
from lulc.inference.item_table import ItemTable
from lulc.inference.predictor import Predictor, load_all
from lulc.legend import NODATA
from lulc.models.device import reused_memory
from lulc.models.package import ModelRef
from lulc.raster import access, reader
from lulc.tables import arrays, files, ledger

Row = dict[str, Any]
SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg")

# A file that claims so many times its own size, and over a gigabyte, holds nothing worth hours of work.
_CLAIM = 1000

# Seconds after which what was done is noted: a killed run loses no more.
_KEEP_S = 20.0


@dataclass(frozen=True)
class _Form:
    """How a file holds what the model takes: its bands' numbers (from 1), date after date; scales and offsets of one date's."""

    bands: tuple[int, ...]
    dates: int
    scales: tuple[float, ...]
    offsets: tuple[float, ...]


def map_folder(model: ModelRef, folder: Path, out: Path) -> list[Row]:
    """A ledger row for every image of a folder, after what the model says of it is written, or its error.

    Of a model for a class a pixel: a raster under the same relative name with suffix .tif. Of one for whole images or boxes: rows
    of OUT/tables/predictions or OUT/tables/detections, by the image's path under the folder. What stands already with the same
    image and model is left as it is. InputError when the folder holds no images.
    """
    folder, place, predictor = folder.resolve(), out.resolve(), load_all(model.folders)
    if folder == place:
        raise InputError(f"the maps would lie among the images in {folder}: give another --out")
    found = sorted(
        p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")
    )
    images = [p for p in found if not p.is_relative_to(place)]
    if not images:
        raise InputError(
            f"{folder} holds no images: accepted are files ending in {', '.join(SUFFIXES)}"
        )
    raster = predictor.task.kind == "pixels"
    names = [
        p.relative_to(folder).with_suffix(".tif") if raster else p.relative_to(folder)
        for p in images
    ]
    twice = sorted({str(n) for n in names if names.count(n) > 1})
    if twice:
        raise InputError(f"two images in {folder} would make the same map {twice[0]}: rename one")
    weights, held, rows = model.checksum, ledger.latest(out, "images"), []
    table = None if raster else item_table.open_table(out, predictor.task.kind)
    fresh: list[Row] = []
    kept = time.monotonic()
    with (
        progress.bar(len(images), "images") as show,
        reused_memory(),
        contextlib.ExitStack() as stack,
    ):
        stack.callback(_keep, out, table, fresh)
        for image, name in zip(images, names, strict=True):
            fingerprint = files.fingerprint_of("images", files.file_identity(image), weights)
            row = held.get(str(name))
            there = (out / (name if table is None else table.path)).exists()
            if not (
                row and row["fingerprint"] == fingerprint and row["status"] == "done" and there
            ):
                row = _map_image(predictor, image, out, name, fingerprint, table)
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
    ledger.append_ledger(out, fresh)
    fresh.clear()


def _map_image(
    predictor: Predictor,
    image: Path,
    out: Path,
    name: Path,
    fingerprint: str,
    table: ItemTable | None,
) -> Row:
    start, path = time.monotonic(), out / name
    if table is None:
        # The map of an image that was there before must not be taken for this one's.
        path.unlink(missing_ok=True)
    else:
        table.rows.pop(str(name), None)
    try:
        with access.open_raster(str(image)) as source:
            form = _check(predictor, source, image)
            if table is None:
                files.write_atomic(path, lambda beside: _write(predictor, source, beside, form))
            else:
                table.rows[str(name)] = _answer(predictor, source, str(name), form)
    except InputError as error:
        return ledger.ledger_row(
            "images",
            str(name),
            fingerprint,
            status="bad",
            error=f"{image} cannot be mapped: {error}",
        )
    seconds = time.monotonic() - start
    if table is not None:
        return ledger.ledger_row("images", str(name), fingerprint, path=table.path, seconds=seconds)
    return ledger.ledger_row(
        "images",
        str(name),
        fingerprint,
        path=str(name),
        checksum=files.checksum(path),
        seconds=seconds,
    )


def _answer(predictor: Predictor, source: DatasetReader, name: str, form: _Form) -> list[Row]:
    """The rows that an image becomes: of the likeliest class, of every class where there may be several, or of every box."""
    asks, kind = predictor.contract, predictor.task.kind
    image, valid = _read(source, form, Window(0, 0, source.width, source.height))
    how, about = PredictConf(flips=asks.flips, score=asks.score), {"item": name, "model": asks.name}
    named = {c.id: c.name for c in asks.legend.classes}
    if kind == "boxes":
        grid = reader.grid_of(source) if source.crs else None
        return [
            about
            | {"n": n, "class_id": int(i), "class_name": named[int(i)], "score": score}
            | detections.ground_outline(box, grid)
            for n, (i, score, *box) in enumerate(
                predictor.boxes(image, valid, form.scales, form.offsets, how).tolist()
            )
            if score >= how.score
        ]
    # Cut at its middle, as the samples were.
    size = asks.size
    y, x = (source.height - size) // 2, (source.width - size) // 2
    square, seen = arrays.window(image, y, x, size, 0), arrays.window(valid, y, x, size, 0)
    shares = predictor.cells(square, seen, form.scales, form.offsets, how)[0, 0]
    if np.isnan(shares).any():
        raise InputError("no pixel at its middle is valid")
    ranked = sorted(
        zip(asks.legend.classes, shares.tolist(), strict=True), key=lambda pair: -pair[1]
    )
    return [
        about | {"class_id": c.id, "class_name": c.name, "confidence": share}
        for c, share in ranked[: 1 if kind == "image" else None]
    ]


def _check(predictor: Predictor, source: DatasetReader, image: Path) -> _Form:
    """How an image that keeps the model's contract holds what the model takes, else InputError."""
    asks = predictor.contract
    bands, dates = _choose_bands(predictor, source)
    kinds = {np.dtype(kind).kind for kind in source.dtypes}
    if not kinds <= set("buif"):
        raise InputError(f"its pixels are {source.dtypes[0]}: real numbers can be mapped")
    claim = source.height * source.width * sum(np.dtype(kind).itemsize for kind in source.dtypes)
    if claim > max(1 << 30, _CLAIM * image.stat().st_size):
        raise InputError(
            f"it claims {claim / 2**30:.0f} GiB of pixels in {image.stat().st_size:,} bytes: no such image is mapped"
        )
    asks.check(asks.bands, _pixel_side_m(source) or asks.gsd_m, "it")
    one = bands[: len(asks.bands)]
    scales, offsets = (tuple(told[n - 1] for n in one) for told in (source.scales, source.offsets))
    if "f" not in kinds and set(scales) == {1.0} and set(offsets) == {0.0} and asks.scales:
        # Whole numbers that say nothing of themselves are taken as those of the chips that the model learned on.
        scales, offsets = asks.scales, asks.offsets
    return _Form(bands, dates, scales, offsets)


def _choose_bands(predictor: Predictor, source: DatasetReader) -> tuple[tuple[int, ...], int]:
    """Numbers (from 1) of the model's bands in a file, date after date, and how many dates; InputError where that cannot be told.

    By the names that the file gives its bands; of a file that gives none, in the order of the datasets that the model learned
    from, or else in the model's.
    """
    asks, series = predictor.contract, predictor.task.series
    count = source.count
    if (
        not series
        and source.colorinterp[-1].name == "alpha"
        and count not in map(len, (asks.bands, *asks.file_bands))
    ):
        count -= 1

    def dates(bands: tuple[str, ...]) -> int:
        # 0 where the file does not hold so many bands a date.
        several, rest = divmod(count, len(bands))
        return (
            several
            if not rest and (series or several == 1) and (asks.task != "change" or several == 2)
            else 0
        )

    names = tuple(source.descriptions[:count])
    if not series and all(names):
        known = [names]
    else:
        known = [bands for bands in asks.file_bands if dates(bands)] or [asks.bands] * bool(
            dates(asks.bands)
        )
        known = list(dict.fromkeys(names[: len(bands)] if all(names) else bands for bands in known))
    each = {"change": " of each of two dates", "series": " of each date"}.get(asks.task, "")
    takes = f"model {asks.name!r} takes {len(asks.bands)}{each}: {', '.join(asks.bands)}"
    if not known:
        raise InputError(
            f"it has {source.count} bands; {takes}; it may hold others too where it names each (its description)"
        )
    if len(known) > 1:
        raise InputError(
            f"its bands may be {' or '.join(map(', '.join, known))}: name them in the file (their descriptions)"
        )
    (held,) = known
    lacks = [band for band in asks.bands if held.count(band) != 1]
    if lacks:
        raise InputError(
            f"it has bands {', '.join(held)}, none or several named {', '.join(lacks)}; {takes}"
        )
    one = [held.index(band) + 1 for band in asks.bands]
    return tuple(n + date * len(held) for date in range(dates(held)) for n in one), dates(held)


def _pixel_side_m(source: DatasetReader) -> float | None:
    # None of a plain picture: nothing says how large its pixels are.
    if source.crs is None or not (source.crs.is_geographic or source.crs.is_projected):
        return None
    grid = reader.grid_of(source)
    middle = grid.window(grid.height // 2, grid.width // 2, 1, 1)
    return math.sqrt(float(areas.pixel_areas(middle).mean()))


def _write(predictor: Predictor, source: DatasetReader, beside: Path, form: _Form) -> None:
    asks = predictor.contract
    how = PredictConf(flips=asks.flips)
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": 1,
        "dtype": "uint8",
        "nodata": NODATA,
        "compress": "deflate",
    }
    profile |= {
        "height": source.height,
        "width": source.width,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
    }
    profile |= {"bigtiff": "if_safer"} | (
        {"crs": source.crs, "transform": source.transform} if source.crs else {}
    )
    rows, cols = (
        list(windows.windows(slice(0, n), n, how.window, asks.multiple))
        for n in (source.height, source.width)
    )
    with rasterio.open(beside, "w", **profile) as target:
        target.write_colormap(1, asks.legend.palette())
        target.update_tags(
            model=asks.name, **{f"CLASS_{c.id}": c.name for c in asks.legend.classes}
        )
        for (high, kept_rows), (wide, kept_cols) in itertools.product(rows, cols):
            image, valid = _read(source, form, Window.from_slices(high, wide))
            core = (
                windows.shift_slice(kept_rows, -high.start),
                windows.shift_slice(kept_cols, -wide.start),
            )
            classes, _ = predictor(image, valid, form.scales, form.offsets, how, core)
            target.write(
                np.ascontiguousarray(classes[core]),
                1,
                window=Window.from_slices(kept_rows, kept_cols),
            )


def _read(source: DatasetReader, form: _Form, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """The model's bands (T, C, H, W) of a window, date after date, and where all of a date are valid (T, H, W)."""
    try:
        image = source.read(list(form.bands), window=window)
        mask = source.read_masks(list(form.bands), window=window) > 0
    except RasterioError as error:
        place = f"rows {window.row_off}-{window.row_off + window.height} columns {window.col_off}-{window.col_off + window.width}"
        raise access.ReadError(f"{place} cannot be read: {error.__cause__ or error}") from error
    if image.dtype.kind == "f":
        mask &= np.isfinite(image)
    image, mask = (x.reshape(form.dates, -1, *x.shape[1:]) for x in (image, mask))
    valid = mask.all(axis=1)
    return np.where(valid[:, None], image, 0), valid
