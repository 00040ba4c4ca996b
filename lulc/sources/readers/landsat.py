"""Scenes from Landsat 4-9 products of the USGS: Collection 2 level 1 and 2, Collection 1 level 1.

Level 2 gives surface reflectance and surface temperature in kelvin. Level 1 gives reflectance at
the top of the atmosphere, corrected for the sun's angle, and of thermal bands spectral radiance in
W/(m² sr µm), since kelvin are not linear in it. File names and scales: the product's MTL. Formulas:
Landsat 8-9 Data Users Handbook (LSDS-1574) section 5, Landsat 7 (LSDS-1927).
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from lulc.bands import Band
from lulc.config import Archive, Condition
from lulc.errors import InputError
from lulc.location import parse_location
from lulc.redact import redact_url
from lulc.sources.header import (
    BandMetadata,
    Header,
    make_scene,
    open_header,
    require_bands,
    with_fingerprint,
)
from lulc.sources.listing import list_archive
from lulc.sources.product import PACKED, Tree, has_hidden_part, is_packed, open_tree
from lulc.sources.quality_masks import (
    NoQualityLayerError,
    QualityLayer,
    QualityMask,
    bqa_tests,
    qa_pixel_tests,
    qa_radsat_tests,
    quality_tests,
)
from lulc.sources.readers._landsat_mtl import Mtl, read_mtl
from lulc.sources.scene import Scene
from lulc.sources.source import SceneItem, Source

# The band's name in the MTL → its common name. 6_VCID_2, the high gain of ETM+'s thermal band, has
# no common name.
_OLI = {
    "1": "coastal",
    "2": "blue",
    "3": "green",
    "4": "red",
    "5": "nir08",
    "6": "swir16",
    "7": "swir22",
    "8": "pan",
    "9": "cirrus",
    "10": "lwir11",
    "11": "lwir12",
    "ST_B10": "lwir11",
}
_TM = {
    "1": "blue",
    "2": "green",
    "3": "red",
    "4": "nir08",
    "5": "swir16",
    "6": "lwir",
    "6_VCID_1": "lwir",
    "7": "swir22",
    "8": "pan",
    "ST_B6": "lwir",
}
_SENSORS = {"OLI_TIRS": _OLI, "OLI": _OLI, "TIRS": _OLI, "TM": _TM, "ETM": _TM}

_ID = r"L[CEMOT]0[4-9]_L\w{3}_\d{6}_\d{8}_\d{8}_0[12]_(?:T1|T2|RT)"
# A file of a product by the id its name begins with, or any MTL: its content says what it is of.
_FILE = re.compile(
    rf"(?P<folder>(?:.*/)?)(?:(?P<id>{_ID})_[^/]+|(?P<stem>[^/]*?)_?MTL\.(?:txt|json|xml))",
    re.IGNORECASE,
)
_MTL = re.compile(r".*MTL\.(?:txt|json|xml)", re.IGNORECASE)
_BAND_FILE = re.compile(rf"(?:.*/)?{_ID}_(?:(?:SR_)?B\d+|ST_B\d+)\.TIF", re.IGNORECASE)
_PACK = re.compile(rf"(?:.*/)?(?P<id>{_ID})(?:{'|'.join(map(re.escape, PACKED))})")


def _accepts(archive: Archive, names: Sequence[str]) -> bool:
    # Whether there is a Landsat product, packed, by its MTL or by bands named after it, where the
    # run file gives no pattern of file names.
    return not archive.pattern and any(map(_is_product, names))


def _is_product(name: str) -> bool:
    patterns = (_PACK, _MTL, _BAND_FILE)
    return not has_hidden_part(name) and any(pattern.fullmatch(name) for pattern in patterns)


def names_product(name: str) -> bool:
    """Return whether a file's name says that it is of a Landsat product."""
    return _FILE.fullmatch(name) is not None


def _items(archive: Archive) -> Iterator[SceneItem]:
    # Tars and zips, and files in folders by the product id or MTL they begin with; an archive that
    # is an MTL is its own product. Files without an MTL are a product too: it fails when it is
    # read, so that it is reported.
    path = str(parse_location(archive.path).absolute()).rstrip("/")
    if is_packed(path):
        yield SceneItem(path, re.sub(r"(\.tar)?\.\w+$", "", PurePosixPath(path).name))
        return
    if file := _FILE.fullmatch(path):
        stem = file["id"] or file["stem"]
        yield SceneItem(file["folder"].rstrip("/"), stem or PurePosixPath(path).parent.name, stem)
        return
    names = list_archive(parse_location(path)).names
    items = [
        (str(PurePosixPath(name).with_name(pack["id"])), f"{path}/{name}", "")
        for name in names
        if (pack := _PACK.fullmatch(name))
    ]
    for folder, stem in _find_products(names):
        parent = PurePosixPath(folder)
        key = str(parent if parent.name == stem else parent / stem)
        items.append((key, f"{path}/{folder}".rstrip("/"), stem))
    for key, product_path, stem in sorted(items):
        yield SceneItem(product_path, key, stem)


def _find_products(names: Iterable[str]) -> set[tuple[str, str]]:
    # (folder, what the names of its files begin with) of each product. Files named after a product
    # belong to the MTL beside them that the user renamed.
    mtls: dict[str, set[str]] = defaultdict(set)
    ids: dict[str, set[str]] = defaultdict(set)
    for name in names:
        if file := _FILE.fullmatch(name):
            stem = file["id"] or file["stem"]
            (mtls if _MTL.fullmatch(name) else ids)[file["folder"]].add(stem)
    products = {(folder, stem) for folder, stems in mtls.items() for stem in stems}
    for folder, stems in ids.items():
        if all(map(_is_id, mtls[folder])):
            products |= {(folder, stem) for stem in stems}
    return products


def _is_id(stem: str) -> bool:
    return re.fullmatch(_ID, stem, re.IGNORECASE) is not None


@dataclass(frozen=True, eq=False)
class _Product:
    """A product's files and its MTL."""

    id: str
    tree: Tree
    names: Mapping[str, str]
    """File name in lower case → its name in the tree."""
    mtl: Mtl

    @property
    def common_names(self) -> dict[str, str]:
        """The band's name in the MTL → common name, of the product's sensor."""
        sensor = self.mtl.text("SENSOR_ID")
        if sensor not in _SENSORS:
            raise InputError(
                f"product {self.id} is of sensor {sensor}: accepted are {', '.join(_SENSORS)}"
            )
        return _SENSORS[sensor]

    def file_suffix(self, mtl_band: str) -> str:
        """Return the end of a band's file name: SR_B4, B4, ST_B10."""
        stem = PurePosixPath(self.mtl.band_files()[mtl_band]).stem
        return stem.removeprefix(f"{self.id}_")

    def header(self, file: str) -> Header:
        """Return the header of a file; InputError where the product lacks it."""
        if file.lower() not in self.names:
            raise InputError(
                f"product {self.id} in {redact_url(self.tree.path)} lacks {file[:200]}: download "
                "the product again, or remove the condition that it shows from scenes.mask"
            )
        return open_header(self.tree.href(self.names[file.lower()]))


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    # Bands are requested by common name or file suffix. The property `unmasked` has the conditions
    # of archive.mask that no quality band of the product shows. InputError: a band or quality band
    # is missing, the MTL is damaged, or reflectance is requested of a scene acquired by night.
    product = _open(item)
    mtl = product.mtl
    selected = _select(product, archive, bands)
    scene_bands: list[tuple[Band, Header]] = []
    for name, mtl_band in selected.items():
        header = product.header(mtl.band_files()[mtl_band])
        scene_bands.append((header.band(name, 1, archive, _radiometry(mtl, mtl_band)), header))
    mask = _quality(product, archive, list(selected.values()))
    mask = _check_layers(product, archive, mask)
    for layer in mask.layers:
        header = product.header(layer.file)
        band = header.quality_band(layer.name)
        # Fill is a bit of its own here: a nodata value in the file's tags adds nothing, and 0 would
        # be wrong.
        scene_bands.append((band if archive.quality else replace(band, nodata=None), header))
    cloud = mtl.number("CLOUD_COVER")
    properties = _properties(product) | {"unmasked": " ".join(mask.unmasked)}
    scene = make_scene(
        product.id,
        LANDSAT.name,
        mtl.acquired,
        scene_bands,
        cloud=cloud if cloud >= 0 else None,  # -1: not assessed
        clear=mask.tests,
        properties=tuple((name, text) for name, text in properties.items() if text),
    )
    return with_fingerprint(scene)


def _properties(product: _Product) -> dict[str, str]:
    mtl = product.mtl
    return {
        "level": mtl.level,
        "platform": mtl.text("SPACECRAFT_ID").lower().replace("_", "-"),
        "sun_azimuth_deg": mtl.text("SUN_AZIMUTH"),
        "sun_elevation_deg": mtl.text("SUN_ELEVATION"),
        "tier": product.id[-2:],
        "wrs_path": str(int(mtl.number("WRS_PATH"))),
        "wrs_row": str(int(mtl.number("WRS_ROW"))),
    }


def _open(item: SceneItem) -> _Product:
    tree = open_tree(item.path)
    # A folder may hold several products; files in folders below it belong to another item.
    products = _find_products(tree.sizes)
    if item.text:
        products &= {("", item.text)}
    if len(products) != 1:
        content = "several products" if products else "no file of one"
        raise InputError(
            f"{redact_url(item.path)} is not one Landsat product: it holds {content}; "
            "download it again"
        )
    folder, stem = products.pop()
    names = {
        PurePosixPath(name).name.lower(): name
        for name in tree.sizes
        if name.startswith(folder) and "/" not in name[len(folder) :]
    }
    mtl = read_mtl(tree, names, stem)
    product_id = mtl.text("LANDSAT_PRODUCT_ID")
    if _is_id(stem) and stem.upper() != product_id:
        raise InputError(
            f"{redact_url(mtl.href)} is of {product_id!r}: it should be of {stem}; "
            "download the product again"
        )
    return _Product(product_id, tree, names, mtl)


def _select(product: _Product, archive: Archive, bands: Sequence[str]) -> dict[str, str]:
    # Name of each requested band in the scene → its name in the MTL. The run file's mapping comes
    # first; a band may also be requested by its file suffix.
    mtl_bands_by_name: dict[str, str] = {}
    for mtl_band in product.mtl.band_files():
        if mtl_band == "QUALITY":  # Collection 1 lists its quality band among the bands.
            continue
        suffix = product.file_suffix(mtl_band)
        common_name = product.common_names.get(mtl_band, suffix)
        name = archive.bands.get(suffix, archive.bands.get(common_name, common_name))
        if name in mtl_bands_by_name:
            raise InputError(
                f"bands {product.file_suffix(mtl_bands_by_name[name])} and {suffix} of "
                f"{product.id} are both {name!r}: map one in scenes.bands"
            )
        mtl_bands_by_name[name] = mtl_band
    by_any_name = {
        product.file_suffix(mtl_band): mtl_band for mtl_band in mtl_bands_by_name.values()
    } | mtl_bands_by_name
    available = {
        name: mtl_band
        for name, mtl_band in mtl_bands_by_name.items()
        if product.mtl.band_files()[mtl_band].lower() in product.names
    }
    missing = [
        name
        for name in bands
        if name not in by_any_name or by_any_name[name] not in available.values()
    ]
    require_bands(
        f"product {product.id}",
        missing,
        [f"{name} ({product.file_suffix(mtl_band)})" for name, mtl_band in available.items()],
        "download its other bands, under the names that its MTL gives",
    )
    return {name: by_any_name[name] for name in bands or available}


def _radiometry(mtl: Mtl, mtl_band: str) -> BandMetadata:
    # Scale and offset to physical values; 0 is fill. A level-1 thermal band has no reflectance.
    quantities = [
        quantity
        for quantity in ("REFLECTANCE", "TEMPERATURE", "RADIANCE")
        if f"{quantity}_MULT_BAND_{mtl_band}" in mtl.parameters
    ]
    quantity = quantities[0] if quantities else "REFLECTANCE"
    scale = mtl.number(f"{quantity}_MULT_BAND_{mtl_band}")
    offset = mtl.number(f"{quantity}_ADD_BAND_{mtl_band}")
    if quantity != "REFLECTANCE" or mtl.level.startswith("L2"):
        units = {"TEMPERATURE": "kelvin", "RADIANCE": "radiance"}
        unit = units.get(quantity, "surface_reflectance")
        return BandMetadata(scale, offset, nodata=0.0, unit=unit)
    elevation = mtl.number("SUN_ELEVATION")
    if not 0 < elevation <= 90:
        raise InputError(
            f"{redact_url(mtl.href)} was taken with the sun at {elevation}°: "
            "it has no reflectance, thermal bands alone"
        )
    # Data Users Handbook: reflectance = (M Q + A) / sin(sun elevation at the scene's centre).
    sin_elevation = math.sin(math.radians(elevation))
    unit = "toa_reflectance"
    return BandMetadata(scale / sin_elevation, offset / sin_elevation, nodata=0.0, unit=unit)


def _quality(product: _Product, archive: Archive, mtl_bands: Sequence[str]) -> QualityMask:
    parameters = product.mtl.parameters
    if archive.quality or archive.clear:
        file = f"{product.id}_{archive.quality or 'QA_PIXEL'}.TIF"
        return QualityMask((QualityLayer("quality", file),), quality_tests(archive))
    # TM and ETM+ have no cirrus band.
    has_cirrus = product.common_names is _OLI
    unmasked: set[Condition] = set() if has_cirrus else {"cirrus"}
    if "FILE_NAME_BAND_QUALITY" in parameters:
        # Collection 1: BQA has no bit for water.
        unmasked.add("water")
        layers = [QualityLayer("quality", parameters["FILE_NAME_BAND_QUALITY"])]
        tests = bqa_tests(archive.mask, cirrus=has_cirrus)
    else:
        layers = [QualityLayer("quality", product.mtl.text("FILE_NAME_QUALITY_L1_PIXEL"))]
        tests = qa_pixel_tests(archive.mask)
        if "saturated" in archive.mask:
            file = product.mtl.text("FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION")
            layers.append(QualityLayer("saturation", file))
            tests += qa_radsat_tests(mtl_bands)
    return QualityMask(tuple(layers), tests, tuple(c for c in archive.mask if c in unmasked))


def _check_layers(product: _Product, archive: Archive, mask: QualityMask) -> QualityMask:
    # The mask, if the product has its files; none where nothing is to be masked, as bands have a
    # nodata value of their own.
    missing = [layer for layer in mask.layers if layer.file.lower() not in product.names]
    if not missing:
        return mask
    if not archive.mask and not archive.quality:
        return QualityMask()
    file = missing[0].file[:200]
    raise NoQualityLayerError(
        f"product {product.id} in {redact_url(product.tree.path)} lacks {file}: download the "
        "product again, remove the condition that it shows from scenes.mask",
        ("saturated",) if missing[0].name == "saturation" else archive.mask,
    )


def _prefixes(item: SceneItem) -> Iterator[str]:
    # Of an MTL that the user renamed, the bands may have any name.
    if is_packed(item.path):
        yield item.path
    else:
        yield f"{item.path}/{item.text if _is_id(item.text) else ''}"


LANDSAT = Source("landsat", _accepts, _items, _read, prefixes=_prefixes)
