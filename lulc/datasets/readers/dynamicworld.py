"""Dynamic World: Sentinel-2 at 10 m labelled by experts and non-experts, or by the product itself.

Brown et al. 2022, doi:10.1038/s41597-022-01307-4. Training labels of Tait et al. 2021,
doi:10.1594/PANGAEA.933475, about 24,000 GeoTIFFs of 510x510 pixels in UTM from all over the world:
`Experts/<hemisphere>/<biome>/dw_<longitude>_<latitude>-<day>.tif`, `Non_expert/WorkForce/…` and,
in `validation_set_tiles.zip`, tiles held back; `_dynamicworld_tiles` says how these are known, and
tiles of which nothing says it are bad items. Codes: 0 unmarked, 1 to 9 the classes in order, 10
cloud; 0 and 10 become no label. Test tiles, doi:10.5281/zenodo.4766508, 409 of 512x512:
`label_dw_….tif`, whose band `lulc` is the experts' consensus in the same codes, beside it
`probs_dw_….tif`. Whatever is held back, in either archive, is the split test (the paper knows one
set of 409), and its ground is not trained on, whoever labelled it. The product (Earth Engine's
GOOGLE/DYNAMICWORLD/V1) as exported: `<start>_<time>_T<tile>.tif` named as its
Sentinel-2 image, with nine probabilities in order, then `label`, 0 to 8. The publisher does not
document the archives' inner folders: the layout is that of programs that read them, and files are
known by their names, in any folder.

Labels come without images. `images` names them relative to the root: a pattern of chips on the
labels' own pixels, named as they are, but for `label_` (`s2/{item}.tif`; the default is
`images/{item}.tif`), with `bands` in their order, as numbers of `dtype` that `scale` turns into
reflectance; or a folder of Sentinel-2 products as Copernicus delivers them, of which that taken on
the label's day (the one that the publisher's table names; of the product: at its time, of its tile)
is brought to the label's pixels. Labels without an image are no items.

confidence: below this probability of its class a pixel of the product has no label.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import shapely

from lulc.config import Archive
from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Note, Options
from lulc.datasets.descriptions import (
    REFLECTANCE_SCALE,
    SENTINEL2_SURFACE_BANDS,
    band_option,
    number_option,
    uniform_encoding,
)
from lulc.datasets.files import (
    band_indexes,
    label_of,
    parse_day,
    read_image,
    require_same_shape,
    walk,
)
from lulc.datasets.readers._dynamicworld_tiles import (
    HELD_BACK,
    REMEDY,
    TABLE_SUFFIXES,
    UNKNOWN,
    read_tile_table,
    tile_kind,
)
from lulc.errors import InputError
from lulc.geo.grid import Grid, footprint
from lulc.legend import COMMON, NODATA, Legend
from lulc.location import Location
from lulc.paths import list_names
from lulc.raster.access import open_raster
from lulc.raster.reader import read_band
from lulc.sources.registry import SOURCES
from lulc.sources.source import SceneItem
from lulc.tables.encoding import Encoding


class _Product(NamedTuple):
    """A Sentinel-2 product, by the words of its name."""

    path: str
    """Relative to the root."""
    time: str
    """Of sensing, such as 20190812T100031."""
    tile: str
    """Of MGRS, such as 33TWN."""


# Of Sentinel-2 level 2A, as Earth Engine exports them.
_BANDS = tuple(SENTINEL2_SURFACE_BANDS)
_LEGEND = Legend("dynamicworld", COMMON.classes)
_COMMON_IDS = {i: i for i in COMMON.ids}
_MARKED_IDS = {0: NODATA, 10: NODATA} | {i + 1: i for i in COMMON.ids}
_PROBABILITIES = len(COMMON.classes)
_TILE = re.compile(r"(label_)?(dw_(-?\d+(?:\.\d+)?)_(-?\d+(?:\.\d+)?)-(\d{8}))")
_PRODUCT = re.compile(r"(\d{8}T\d{6})_\d{8}T\d{6}_T(\d\d[A-Z]{3})")
_SAFE = re.compile(
    r"S2[A-Z]_MSIL(1C|2A)_(\d{8}T\d{6})_\w*_T(\d\d[A-Z]{3})_\w*?(?:\.SAFE)?(?:\.zip)?"
)


def _describe(options: Options) -> Description:
    number_option("dynamicworld", options, "confidence", 0.0)
    if _has_chips(options):
        scale = number_option("dynamicworld", options, "scale", REFLECTANCE_SCALE)
        encoding = uniform_encoding(
            band_option(options, _BANDS), options["dtype"], scale, "reflectance"
        )
    else:
        encoding = uniform_encoding(_BANDS, "uint16", REFLECTANCE_SCALE, "reflectance")
    return Description("segment", _LEGEND, encoding, gsd_m=10.0, common=_COMMON_IDS)


def _items(root: Location, options: Options) -> Iterator[ExampleItem | Note]:
    paths = sorted(walk(root, (".tif", *TABLE_SUFFIXES)))
    present = set(paths)
    tiles = read_tile_table(root, [path for path in paths if path.lower().endswith(TABLE_SUFFIXES)])
    products = [] if _has_chips(options) else _list_products(root, options["images"])
    items, kinds, without_image = [], Counter[str](), []
    for label_path in paths:
        path = PurePosixPath(label_path)
        is_product = options["labels"] == "product"
        match = (_PRODUCT if is_product else _TILE).fullmatch(path.stem)
        chip_path = _chip_path(path, options)
        # Chips may be named as the labels are.
        if not match or label_path == chip_path:
            continue
        kind = "product" if is_product else tile_kind(path, match[2], tiles)
        if kind not in (HELD_BACK, UNKNOWN) and options["labels"] not in ("all", kind):
            continue
        kinds[kind] += 1
        lonlat = None if is_product else (float(match[3]), float(match[4]))
        product_names = tiles[match[2]].products if match[2] in tiles else frozenset()
        image_paths = _product_paths(products, match, lonlat, product_names)
        if not image_paths and chip_path in present:
            image_paths = [chip_path]
        if not image_paths:
            without_image.append(label_path)
            continue
        name, files = f"{kind}-{path.stem}", (label_path, *image_paths)
        split = {"product": "", HELD_BACK: "test"}.get(kind, "train")
        error = f"{root / label_path} may be held back: {REMEDY}" if kind == UNKNOWN else ""
        items.append(
            ExampleItem(name, files, (), split, group=match[2], lonlat=lonlat, error=error)
        )
    held_back = {item.group for item in items if item.split == "test"}
    again = {item for item in items if item.split == "train" and item.group in held_back}
    yield from (replace(item, split="") if item in again else item for item in items)
    yield Note(", ".join(f"{count:,} tiles {kind}" for kind, count in sorted(kinds.items())))
    if again:
        yield Note(f"{len(again):,} tiles are held back elsewhere and not trained on")
    if without_image:
        yield Note(
            f"{len(without_image):,} tiles have no image and are left out, such as "
            f"{without_image[0]}"
        )


def _read(root: Location, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    label_path, *image_paths = item.files
    label, grid = _read_label(root, label_path, options)
    time = _label_time(label_path)
    encoding = _describe(options).encoding
    if not _has_chips(options):
        pixels, valid = _read_best_product(root, item, grid, bands, encoding)
    else:
        (chip_path,) = image_paths
        pixels, valid, _ = read_image(root, chip_path, band_indexes(encoding.bands, bands))
        label_file = root / label_path
        require_same_shape(root / chip_path, valid.shape, label_file, label.shape, "cut it anew")
    return Example(pixels[None], valid[None], label, grid, (time,))


def _has_chips(options: Options) -> bool:
    return "{item}" in (options["images"] or "{item}")


def _chip_path(label_path: PurePosixPath, options: Options) -> str:
    pattern = options["images"] or "images/{item}.tif"
    return pattern.replace("{item}", label_path.stem.removeprefix("label_"))


def _list_products(root: Location, folder: str) -> list[_Product]:
    """Return all Sentinel-2 products below a folder, those of level 2A first."""
    products = []
    for name in list_names(root / folder, folder_pattern=_SAFE):
        if match := _SAFE.fullmatch(PurePosixPath(name).name):
            path = f"{folder.rstrip('/')}/{name}"
            products.append((match[1] != "2A", _Product(path, match[2], match[3])))
    return [product for _, product in sorted(products)]


def _product_paths(
    products: Sequence[_Product],
    match: re.Match[str],
    lonlat: tuple[float, float] | None,
    product_names: Collection[str],
) -> list[str]:
    """Return the products that may show the ground of a label.

    Args:
        products: of Sentinel-2.
        match: of the label's name.
        lonlat: of a tile, in degrees; None of a label that is named as its product.
        product_names: the products that the publisher's table names for the tile.
    """
    if product_names:
        chosen = {
            safe_match.groups()[1:]
            for name in product_names
            if (safe_match := _SAFE.fullmatch(name))
        }
        return [path for path, time, tile in products if (time, tile) in chosen]
    if lonlat is None:
        return [path for path, time, tile in products if (time, tile) == match.groups()]
    zone = int((lonlat[0] + 180) // 6) % 60 + 1
    zones = {(zone - 2) % 60 + 1, zone, zone % 60 + 1}
    return [
        path for path, time, tile in products if time[:8] == match[5] and int(tile[:2]) in zones
    ]


def _label_time(label_path: str) -> datetime:
    stem = PurePosixPath(label_path).stem
    if match := _PRODUCT.fullmatch(stem):
        return datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return parse_day(stem[-8:])


def _read_label(root: Location, label_path: str, options: Options) -> tuple[np.ndarray, Grid]:
    path = root / label_path
    is_product = options["labels"] == "product"
    # Other bands beside the experts' consensus may be of another type.
    indexes = () if is_product else (_consensus_index(path),)
    layers, valid, grid = read_image(root, label_path, indexes)
    if grid is None:
        raise InputError(f"{path} is not georeferenced: fetch it anew")
    if is_product:
        return _product_label(layers, valid, path, options), grid
    codes = np.where(valid, layers[0].astype(np.int32), -1)
    return label_of(codes, _MARKED_IDS, path), grid


def _consensus_index(path: Location) -> int:
    with open_raster(str(path)) as raster:
        names = [(name or "").lower() for name in raster.descriptions]
    return names.index("lulc") + 1 if "lulc" in names else 1


def _product_label(
    layers: np.ndarray, valid: np.ndarray, path: Location, options: Options
) -> np.ndarray:
    """Return the label (H, W) of the product's bands (C, H, W): probabilities, label, or both."""
    count = len(layers)
    if count not in (1, _PROBABILITIES, _PROBABILITIES + 1):
        raise InputError(
            f"{path} has {count} bands: the label, the nine probabilities, or these and the label "
            "are expected"
        )
    probabilities = layers[:_PROBABILITIES]
    codes = probabilities.argmax(0) if count == _PROBABILITIES else layers[-1]
    label = label_of(np.where(valid, codes.astype(np.int32), -1), _COMMON_IDS, path)
    confidence = number_option("dynamicworld", options, "confidence", 0.0)
    if count > 1:
        return np.where(probabilities.max(0) < confidence, NODATA, label).astype(np.uint8)
    if confidence:
        raise InputError(f"{path} has no probabilities: export them too, or leave out confidence")
    return label


def _read_best_product(
    root: Location, item: ExampleItem, grid: Grid, bands: Sequence[str], encoding: Encoding
) -> tuple[np.ndarray, np.ndarray]:
    """Read the one of an item's products that has most valid pixels of a grid.

    Args:
        root: of the dataset.
        item: a label and the products that may show its ground.
        grid: of the label.
        bands: to be read, in the order of the result.
        encoding: of the result.

    Returns:
        Pixels (C, H, W), 0 where not valid, and valid (H, W) bool.

    Raises:
        InputError: a product cannot be read, or none has valid pixels of the grid.
    """
    best, best_count = None, 0
    ground = footprint(grid)
    archive = Archive(str(root), mask=())
    for path in item.files[1:]:
        scene = SOURCES["sentinel2"].read(SceneItem(str(root / path), path), archive, bands)
        if not shapely.from_wkb(scene.footprint).intersects(ground):
            continue
        layers = [
            (band, *read_band(band.href, band.index, grid, "nearest", band.nodata))
            for name in bands
            if (band := scene.band(name))
        ]
        valid = np.logical_and.reduce([band_valid for _, _, band_valid in layers])
        count = int(valid.sum())
        if count > best_count:
            pixels = np.stack([encoding.encode(layer, band) for band, layer, _ in layers])
            best, best_count = (np.where(valid, pixels, 0), valid), count
    if best is None:
        raise InputError(
            f"no product of that day has the ground of {root / item.files[0]}: "
            f"{', '.join(item.files[1:])} do not cover it"
        )
    return best


DYNAMICWORLD = Dataset(
    name="dynamicworld",
    about="Dynamic World (Brown et al. 2022, doi:10.1038/s41597-022-01307-4), CC-BY-4.0",
    options={
        "labels": ("all", "experts", "non_experts", "product"),
        "images": (),
        "bands": (),
        "scale": (),
        "confidence": (),
        "dtype": ("uint16", "int16", "float32"),
    },
    describe=_describe,
    items=_items,
    read=_read,
)
