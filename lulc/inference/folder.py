"""A folder of image files mapped by a model: a class raster for each file, or rows of a table."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

import numpy as np

from lulc import progress
from lulc.bands import UNITS
from lulc.config import PredictConf
from lulc.errors import InputError, UsageError
from lulc.guard import read_guard
from lulc.inference import detections
from lulc.inference.image_file import ImageFile, check_image
from lulc.inference.image_maps import PixelMap, make_pixel_map
from lulc.inference.item_table import ItemTable, open_table
from lulc.inference.predictor import Predictor, load_all
from lulc.inference.suitability import compare_precision
from lulc.inference.windows import Area, centre_square, full_area, read_windows, shift_area
from lulc.legend import NODATA
from lulc.location import Location, is_below, relative_name
from lulc.models.contract import Contract
from lulc.models.device import reused_memory
from lulc.models.package import ModelRef
from lulc.paths import list_files
from lulc.raster import reader
from lulc.raster.access import OpenRaster, open_raster
from lulc.raster.writer import create_geotiff
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import files
from lulc.tables.lease import Lease, hold
from lulc.tables.ledger import LedgerRow, append_ledger, read_latest

SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg")

# Seconds after which finished work is recorded: a killed run loses no more.
_SAVE_S = 20.0


@dataclass(frozen=True)
class _FolderMap:
    """The maps of a folder as they are being made."""

    predictor: Predictor
    out: Location
    table: ItemTable | None
    """Where the model gives no rasters."""
    lease: Lease
    units: tuple[str, ...]
    """Of the model's bands in the images, empty where one is not known; none: none is."""
    unsaved: list[LedgerRow] = field(default_factory=list)
    """Rows that are not in the ledger yet."""

    def path(self, name: str) -> str:
        """Return the file that holds what is predicted for an image."""
        return name if self.table is None else self.table.path

    def save(self) -> None:
        """Write the table and append to the ledger what is new."""
        if self.unsaved:
            self.lease.check()
        # The table first: what the ledger lists is there.
        if self.table is not None and self.unsaved:
            self.table.write(self.out)
        append_ledger(self.out, self.unsaved)
        self.unsaved.clear()


def map_folder(
    model: ModelRef, folder: Location, out: Location, units: Mapping[str, str] | None = None
) -> list[LedgerRow]:
    """Map every image of a folder.

    A model of a class a pixel makes a raster under the image's relative name with suffix .tif, on
    the image's grid. A model for whole images or boxes makes rows of OUT/tables/predictions or
    OUT/tables/detections, by the image's path under the folder. Images that are mapped already
    by the same model are left as they are.

    Args:
        model: the version that maps.
        folder: of the images, searched with its subfolders.
        out: the output location.
        units: name of a band → its `lulc.bands.Unit` in the images, after scale and offset; those
            of other bands are not known, and taken for the model's.

    Returns:
        The ledger row of every image, `bad` with an error where it cannot be mapped.

    Raises:
        UsageError: there is no such unit, or the model takes no such band.
        InputError: the folder has no images, or two that would make the same map; or a unit is of
            another quantity than the model's.
        SetupError: another process works on the output location.
    """
    with hold(out, "lulc predict") as lease:
        return _map_images(model, folder.resolve(), out, units or {}, lease)


def _map_images(
    model: ModelRef, folder: Location, out: Location, units: Mapping[str, str], lease: Lease
) -> list[LedgerRow]:
    predictor = load_all(model.folders)
    precision = compare_precision([predictor.trained_in], [predictor.precision(PredictConf())])
    if precision:
        progress.say(f"{model.name} version {model.version}: {precision}")
    units_of_bands = _check_units(predictor.contract, folder, units)
    if mismatch := predictor.contract.describe_mismatch(units_of_bands):
        remedy = "" if units else "; `--units BAND=UNIT` states another"
        progress.say(f"{model.name} version {model.version}: {mismatch}{remedy}")
    images = _list_images(folder, out.resolve())
    makes_rasters = predictor.task.kind == "pixels"
    names = _map_names(images, folder, makes_rasters)
    table = None if makes_rasters else open_table(out, predictor.task.kind)
    folder_map = _FolderMap(predictor, out, table, lease, units_of_bands)
    latest = read_latest(out, "images")
    rows: list[LedgerRow] = []
    saved_at = time.monotonic()
    with (
        progress.bar(len(images), "images") as show,
        reused_memory(),
        contextlib.ExitStack() as stack,
    ):
        stack.callback(folder_map.save)
        for image, name in zip(images, names, strict=True):
            inputs = ["images", files.file_identity(image), model.checksum]
            inputs += [units_of_bands] if units_of_bands else []
            fingerprint = files.fingerprint_of(OUTPUT_VERSIONS["predict"], *inputs)
            row = latest.get(name)
            if not _is_current(row, folder_map, name, fingerprint):
                row = _map_image(folder_map, image, name, fingerprint)
                folder_map.unsaved.append(row)
            rows.append(row)
            if time.monotonic() - saved_at > _SAVE_S:
                folder_map.save()
                saved_at = time.monotonic()
            show(len(rows), sum(row.status == "bad" for row in rows))
    return rows


def _check_units(contract: Contract, folder: Location, units: Mapping[str, str]) -> tuple[str, ...]:
    # Of the model's bands, in order.
    for band, unit in units.items():
        if band not in contract.bands:
            takes = ", ".join(contract.bands)
            raise UsageError(f"units of {band!r}: model {contract.name!r} takes {takes}")
        if unit not in UNITS:
            raise UsageError(f"units of {band}: {unit!r} is none of {', '.join(UNITS)}")
    of_bands = tuple(units.get(band, "") for band in contract.bands) if units else ()
    contract.check(contract.bands, contract.gsd_m, str(folder), of_bands)
    return of_bands


def _list_images(folder: Location, out: Location) -> list[Location]:
    if folder == out:
        raise InputError(f"the maps would lie among the images in {folder}: give another --out")
    images = [path for path in list_files(folder, SUFFIXES) if not is_below(path, out)]
    if not images:
        raise InputError(
            f"{folder} holds no images: accepted are files ending in {', '.join(SUFFIXES)}"
        )
    return images


def _map_names(images: list[Location], folder: Location, makes_rasters: bool) -> list[str]:
    relative = [PurePosixPath(relative_name(path, folder)) for path in images]
    names = [str(path.with_suffix(".tif") if makes_rasters else path) for path in relative]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise InputError(
            f"two images in {folder} would make the same map {duplicates[0]}: rename one"
        )
    return names


def _is_current(
    row: LedgerRow | None, folder_map: _FolderMap, name: str, fingerprint: str
) -> TypeGuard[LedgerRow]:
    return (
        row is not None
        and (row.fingerprint, row.status) == (fingerprint, "done")
        and files.exists(folder_map.out / folder_map.path(name))
    )


def _map_image(folder_map: _FolderMap, path: Location, name: str, fingerprint: str) -> LedgerRow:
    start = time.monotonic()
    predictor, table = folder_map.predictor, folder_map.table
    target = folder_map.out / name
    if table is None:
        # The map of an image that was there before must not be taken for this one's.
        files.remove(target)
    else:
        table.rows.pop(name, None)
    try:
        with read_guard(path), open_raster(str(path)) as source:
            image = check_image(predictor, source, path, folder_map.units)
            if table is None:
                files.write_atomic(
                    target, lambda temporary: _write_map(predictor, image, temporary)
                )
            else:
                table.rows[name] = _item_rows(predictor, image, name)
    except InputError as error:
        text = f"{path} cannot be mapped: {error}"
        return LedgerRow("images", name, fingerprint, "bad", error=text)
    return LedgerRow(
        "images",
        name,
        fingerprint,
        path=folder_map.path(name),
        checksum=files.checksum(target) if table is None else None,
        seconds=time.monotonic() - start,
    )


def _item_rows(predictor: Predictor, image: ImageFile, name: str) -> list[dict[str, Any]]:
    """Return the rows of an image in the item table.

    A row of the likeliest class, of every class where there may be several, or of every box.
    """
    contract = predictor.contract
    pixels, valid = image.read(full_area(image.source.shape))
    settings = PredictConf(flips=contract.flips, score=contract.score)
    header = {"item": name, "model": contract.name}
    if predictor.task.kind == "boxes":
        boxes = predictor.detect(
            pixels, valid, image.encoding.scales, image.encoding.offsets, settings
        )
        rows = _box_columns(predictor, boxes, settings, image.source)
    else:
        rows = _class_columns(predictor, pixels, valid, image, settings)
    return [header | row for row in rows]


def _box_columns(
    predictor: Predictor, boxes: np.ndarray, settings: PredictConf, source: OpenRaster
) -> list[dict[str, Any]]:
    names = {land_class.id: land_class.name for land_class in predictor.contract.legend.classes}
    grid = reader.find_grid(source)
    return [
        {"n": n, "class_id": int(class_id), "class_name": names[int(class_id)], "score": score}
        | detections.outline_columns(box, grid)
        for n, (class_id, score, *box) in enumerate(boxes.tolist())
        if score >= settings.score
    ]


def _class_columns(
    predictor: Predictor,
    pixels: np.ndarray,
    valid: np.ndarray,
    image: ImageFile,
    settings: PredictConf,
) -> list[dict[str, Any]]:
    square, square_valid = centre_square(pixels, valid, predictor.contract.size)
    squares = predictor.classify(
        square, square_valid, image.encoding.scales, image.encoding.offsets, settings
    )
    probabilities = squares[0, 0]
    if np.isnan(probabilities).any():
        raise InputError("no pixel at its middle is valid")
    pairs = zip(predictor.contract.legend.classes, probabilities.tolist(), strict=True)
    ranked = sorted(pairs, key=lambda pair: -pair[1])
    return [
        {"class_id": land_class.id, "class_name": land_class.name, "confidence": probability}
        for land_class, probability in ranked[: 1 if predictor.task.kind == "image" else None]
    ]


def _write_map(predictor: Predictor, image: ImageFile, path: Path) -> None:
    contract, source = predictor.contract, image.source
    settings = PredictConf(flips=contract.flips)
    class_tags = {f"CLASS_{c.id}": c.name for c in contract.legend.classes}
    options = {"compress": "deflate", "bigtiff": "if_safer"}
    with create_geotiff(path, source, "uint8", NODATA, **options) as target:
        target.describe({"model": contract.name, **class_tags}, contract.legend)
        shape = (source.height, source.width)
        windows = list(read_windows(shape, settings.window, contract))
        filled_maps = predictor.fill(_empty_maps(predictor, image, windows, settings), settings)
        for (computed, core), filled in zip(windows, filled_maps, strict=True):
            crop = shift_area(core, computed)
            target.write(np.ascontiguousarray(filled.classes[crop]), core)


def _empty_maps(
    predictor: Predictor,
    image: ImageFile,
    windows: Sequence[tuple[Area, Area]],
    settings: PredictConf,
) -> Iterator[PixelMap]:
    for computed, core in windows:
        pixels, valid = image.read(computed)
        window_image = predictor.prepare(
            pixels, valid, image.encoding.scales, image.encoding.offsets
        )
        crop = shift_area(core, computed)
        yield make_pixel_map(window_image, predictor.contract, settings.window, crop, None)
