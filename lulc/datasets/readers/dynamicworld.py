"""Dynamic World: Sentinel-2 at 10 m labelled by experts and non-experts all over the world, or by the product itself.

Brown et al. 2022, doi:10.1038/s41597-022-01307-4. Training labels of Tait et al. 2021, doi:10.1594/PANGAEA.933475, about 24,000
GeoTIFFs of 510x510 pixels in UTM: `Experts/<hemisphere>/<biome>/dw_<longitude>_<latitude>-<day>.tif`, `Non_expert/WorkForce/…`
and a folder `validation…` of tiles held back. Codes: 0 unmarked, 1 to 9 the classes in order, 10 cloud; 0 and 10 become no label.
Test tiles, doi:10.5281/zenodo.4766508, 409 of 512x512: `label_dw_….tif`, whose band `lulc` is the experts' consensus in the same
codes, beside it `probs_dw_….tif`. Whatever is held back, there or here, is the split test: the paper knows one set of 409.
The product (Earth Engine's GOOGLE/DYNAMICWORLD/V1) as exported: `<start>_<time>_T<tile>.tif` named as its Sentinel-2 image, with
nine probabilities in order, then `label`, 0 to 8. No publisher's word on the archives' inner folders was found: the layout is
that of programs that read them, and files are known by their names, wherever they lie.

Labels come without images. `images` says where those are under the root: a pattern of chips on the labels' own pixels, named as
they are, but for `label_` (`s2/{item}.tif`, `images/{item}.tif` where nothing is said), with `bands` in their order, as numbers
of `dtype` that `scale` turns into reflectance; or a folder of Sentinel-2 products as Copernicus delivers them, of which that
taken on the label's day (of the product: at its time, of its tile) is brought to the label's pixels. Labels without an image are
no items. The publisher's table of metadata (XLSX) is not needed.
confidence: below this probability of its class a pixel of the product has no label.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
import shapely

from lulc.config import Archive
from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.files import label_of, read_image, walk
from lulc.errors import InputError, UsageError
from lulc.geo.grid import Grid, footprint
from lulc.legend import COMMON, NODATA, Legend
from lulc.raster.access import open_raster
from lulc.raster.reader import read_band
from lulc.sources.registry import SOURCES
from lulc.sources.source import SceneItem as Product
from lulc.tables.encoding import Encoding

# Of Sentinel-2 level 2A, as Earth Engine exports them.
_BANDS = (
    "coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078", "nir", "nir08", "nir09", "swir16", "swir22",
)  # fmt: skip
_LEGEND = Legend("dynamicworld", COMMON.classes)
_MARKED = {0: NODATA, 10: NODATA} | {i + 1: i for i in COMMON.ids}
_PROBABILITIES = len(COMMON.classes)
_TILE = re.compile(r"(label_)?(dw_(-?\d+(?:\.\d+)?)_(-?\d+(?:\.\d+)?)-(\d{8}))")
_PRODUCT = re.compile(r"(\d{8}T\d{6})_\d{8}T\d{6}_T(\d\d[A-Z]{3})")
_SAFE = re.compile(
    r"S2[A-Z]_MSIL(1C|2A)_(\d{8}T\d{6})_\w*_T(\d\d[A-Z]{3})_\w*?(?:\.SAFE)?(?:\.zip)?"
)


def _describe(options: Options) -> Description:
    bands: tuple[str, ...] = _BANDS
    scale = 1e-4
    if _chips(options):
        bands = (
            tuple(band.strip() for band in options["bands"].split(","))
            if options["bands"]
            else _BANDS
        )
        scale = _number(options, "scale", 1e-4)
    _number(options, "confidence", 0.0)
    encoding = Encoding(
        bands,
        options["dtype"] if _chips(options) else "uint16",
        (scale,) * len(bands),
        (0.0,) * len(bands),
    )
    return Description("segment", _LEGEND, encoding, 10.0, common={i: i for i in COMMON.ids})


def _chips(options: Options) -> bool:
    return "{item}" in (options["images"] or "{item}")


def _number(options: Options, name: str, otherwise: float) -> float:
    try:
        return float(options[name] or otherwise)
    except ValueError as error:
        raise UsageError(f"dynamicworld: {name} {options[name]!r} must be a number") from error


def _items(root: Path, options: Options) -> Iterator[ExampleItem]:
    files = sorted(walk(root, (".tif",)))
    held, scenes = set(files), [] if _chips(options) else list(_products(root, options["images"]))
    found = []
    for file in files:
        place = PurePosixPath(file)
        chip = (options["images"] or "images/{item}.tif").replace(
            "{item}", place.stem.removeprefix("label_")
        )
        match = (_PRODUCT if options["labels"] == "product" else _TILE).fullmatch(place.stem)
        kind = "product" if options["labels"] == "product" else _kind(place)
        # Images may be named as the labels are.
        if not match or file == chip or (options["labels"] not in ("all", kind) and kind != "test"):
            continue
        if kind == "product":
            images = [path for path, time, tile in scenes if (time, tile) == match.groups()]
            spot = None
        else:
            spot = float(match[3]), float(match[4])
            zone = int((spot[0] + 180) // 6) % 60 + 1
            near = {(zone - 2) % 60 + 1, zone, zone % 60 + 1}
            images = [
                path
                for path, time, tile in scenes
                if time[:8] == match[5] and int(tile[:2]) in near
            ]
        images = images or [chip] * (chip in held)
        if images:
            split = "" if kind == "product" else "test" if kind == "test" else "train"
            found.append(
                ExampleItem(f"{kind}-{place.stem}", (file, *images), (), split, match[2], spot)
            )
    # Where nothing that was held back is at hand, nothing is split.
    held_back = any(item.split == "test" for item in found)
    yield from found if held_back else (dataclasses.replace(item, split="") for item in found)


def _kind(place: PurePosixPath) -> str:
    if place.stem.startswith("label_") or any(
        part.lower().startswith("validation") for part in place.parts
    ):
        return "test"
    return (
        "non_experts"
        if any(part.lower().startswith("non_expert") for part in place.parts)
        else "experts"
    )


def _products(root: Path, folder: str) -> Iterator[tuple[str, str, str]]:
    # Path relative to the root, sensing time and tile of every product, those of level 2A first.
    found, below = [], [folder.rstrip("/")]
    while below:
        inside = below.pop()
        try:
            entries = sorted(os.scandir(root / inside), key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(
                f"dynamicworld: images {root / inside} cannot be listed ({error.strerror}): name their folder"
            ) from error
        for entry in entries:
            if match := _SAFE.fullmatch(entry.name):
                found.append((match[1] != "2A", f"{inside}/{entry.name}", match[2], match[3]))
            elif entry.is_dir():
                below.append(f"{inside}/{entry.name}")
    yield from ((path, time, tile) for _, path, time, tile in sorted(found))


def _read(root: Path, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    label, grid = _label(root, item.files[0], options)
    stem = PurePosixPath(item.files[0]).stem
    if found := _PRODUCT.fullmatch(stem):
        when = datetime.strptime(found[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    else:
        when = datetime.strptime(stem[-8:], "%Y%m%d").replace(tzinfo=UTC)
    if not _chips(options):
        pixels, valid = _from_products(root, item, grid, bands, _describe(options).encoding)
    else:
        own = _describe(options).encoding.bands
        pixels, valid, _ = read_image(root, item.files[1], [own.index(band) + 1 for band in bands])
        if valid.shape != label.shape:
            raise InputError(
                f"{root / item.files[1]} has {valid.shape} pixels, {root / item.files[0]} {label.shape}: cut it anew"
            )
    return Example(pixels[None], valid[None], label, grid, (when,))


def _label(root: Path, file: str, options: Options) -> tuple[np.ndarray, Grid]:
    with open_raster(str(root / file)) as raster:
        names = [(name or "").lower() for name in raster.descriptions]
    # What else is beside the experts' word may be of another type.
    index = (
        ()
        if options["labels"] == "product"
        else (names.index("lulc") + 1 if "lulc" in names else 1,)
    )
    layers, seen, grid = read_image(root, file, index)
    if grid is None:
        raise InputError(f"{root / file} does not say where it lies: fetch it anew")
    if options["labels"] != "product":
        return label_of(
            np.where(seen, layers[0].astype(np.int32), -1), _MARKED, str(root / file)
        ), grid
    if len(layers) not in (1, _PROBABILITIES, _PROBABILITIES + 1):
        raise InputError(
            f"{root / file} has {len(layers)} bands: the label, the nine probabilities, or these and the label are due"
        )
    chances = layers[:_PROBABILITIES] if len(layers) > 1 else None
    codes = (
        chances.argmax(0) if len(layers) == _PROBABILITIES and chances is not None else layers[-1]
    )
    label = label_of(
        np.where(seen, codes.astype(np.int32), -1), {i: i for i in COMMON.ids}, str(root / file)
    )
    least = _number(options, "confidence", 0.0)
    if least and chances is None:
        raise InputError(
            f"{root / file} has no probabilities: export them too, or leave out confidence"
        )
    return (
        label
        if chances is None
        else np.where(chances.max(0) < least, NODATA, label).astype(np.uint8)
    ), grid


def _from_products(
    root: Path, item: ExampleItem, grid: Grid, bands: Sequence[str], encoding: Encoding
) -> tuple[np.ndarray, np.ndarray]:
    # Of the products that it may be, the one that has most of the ground.
    best, most = None, 0
    ground = footprint(grid)
    for file in item.files[1:]:
        scene = SOURCES["sentinel2"].read(
            Product(str(root / file), file), Archive(str(root), mask=()), bands
        )
        if not shapely.from_wkb(scene.footprint).intersects(ground):
            continue
        found = [
            (band, *read_band(band.href, band.index, grid, "nearest", band.nodata))
            for name in bands
            if (band := scene.band(name))
        ]
        valid = np.logical_and.reduce([seen for _, _, seen in found])
        if valid.sum() > most:
            pixels = np.stack([encoding.encode(array, band) for band, array, _ in found])
            best, most = (np.where(valid, pixels, 0), valid), valid.sum()
    if best is None:
        raise InputError(
            f"no product of that day has the ground of {root / item.files[0]}: {', '.join(item.files[1:])} lie elsewhere"
        )
    return best


DYNAMICWORLD = Dataset(
    "dynamicworld",
    "Dynamic World (Brown et al. 2022, doi:10.1038/s41597-022-01307-4), CC-BY-4.0",
    {
        "labels": ("all", "experts", "non_experts", "product"),
        **dict.fromkeys(("images", "bands", "scale", "confidence"), ()),
        "dtype": ("uint16", "int16", "float32"),
    },
    _describe,
    _items,
    _read,
)
