"""Scenes from Sentinel-2 Level-1C and Level-2A products of Copernicus: SAFE folders and zips.

Products of any processing baseline are read. Layout and metadata: Sentinel-2 Products Specification
Document, S2-PDGS-TAS-DI-PSD, issue 14.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lulc.bands import Band
from lulc.config import Archive, Condition
from lulc.errors import InputError
from lulc.redact import redact_url
from lulc.sources.checksums import verify_product
from lulc.sources.header import (
    BandMetadata,
    Header,
    make_scene,
    open_header,
    require_bands,
    with_fingerprint,
)
from lulc.sources.product import Tree
from lulc.sources.quality_masks import (
    NoQualityLayerError,
    QualityLayer,
    QualityMask,
    quality_tests,
    scl_tests,
)
from lulc.sources.safe import (
    find_products,
    list_products,
    open_product,
    product_files,
    product_prefixes,
)
from lulc.sources.scene import Clear, Scene
from lulc.sources.source import SceneItem, Source
from lulc.sources.xml import Metadata, read_xml

# Band code → common name, in the order of the metadata's band_id.
_COMMON_NAMES = {
    "B01": "coastal",
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "rededge071",
    "B06": "rededge075",
    "B07": "rededge078",
    "B08": "nir",
    "B8A": "nir08",
    "B09": "nir09",
    "B10": "cirrus",
    "B11": "swir16",
    "B12": "swir22",
}
_PRODUCT = r"S2[A-Z]_(?:OPER_PRD_)?MSIL(?:1C|2A)_[^/]*"
_PRODUCT_METADATA = r"(?:MTD_MSIL(?:1C|2A)|S2[A-Z]_OPER_MTD_SAFL(?:1C|2A)_[^/]*)\.xml"
_TILE_METADATA = r"GRANULE/[^/]+/(?:MTD_TL|S2[A-Z]_OPER_MTD_L(?:1C|2A)_TL_[^/]*)\.xml"
# Level-1C from baseline 04.00 on: the bands of its one cloud mask, each 1 where its condition
# holds.
_CLASSI_BANDS: dict[Condition, int] = {"cloud": 1, "cirrus": 2, "snow": 3}
# Baseline of products that users make with their own Sen2Cor: it tells nothing of their numbers.
_OWN_BASELINE = 99.99


def _accepts(archive: Archive, names: Sequence[str]) -> bool:
    # Whether there is a Sentinel-2 product, where the run file gives no pattern of file names.
    return not archive.pattern and bool(find_products(names, _PRODUCT, _PRODUCT_METADATA))


def _items(archive: Archive) -> Iterator[SceneItem]:
    return list_products(archive, _PRODUCT, _PRODUCT_METADATA)


@dataclass(frozen=True, eq=False)
class _Product:
    """A product's files and metadata."""

    tree: Tree
    root: str
    """The folder in the tree that holds the product, `""` or ending in `/`."""
    metadata: Metadata
    """The product's metadata."""
    tile: Metadata
    """Its tile's metadata."""

    @property
    def level(self) -> str:
        """`1C` or `2A`."""
        match = re.fullmatch(r"Level-(1C|2A)p?", self.metadata.text(".//PROCESSING_LEVEL"))
        if match is None:
            raise InputError(
                f"{redact_url(self.metadata.href)} has a PROCESSING_LEVEL other than Level-1C and "
                "Level-2A: it is not read"
            )
        return match[1]

    def files(self, layer: str) -> dict[int, str]:
        """Return the files of a band or quality layer, the finest first.

        Returns:
            Pixel side in metres (0 where the name has none) → name in the tree.
        """
        folder = r"QI_DATA/" if layer.startswith("MSK_") else r"IMG_DATA/(?:R\d\dm/)?"
        stem = rf"{re.escape(self.root)}GRANULE/[^/]+/{folder}(?:[^/]*_)?{re.escape(layer)}"
        pattern = re.compile(
            rf"{stem}(?:_B00)?(?:_(?P<side>\d\d)m)?\.(?:(?P<original>jp2)|tiff?)", re.IGNORECASE
        )
        matches = [match for name in self.tree.sizes if (match := pattern.fullmatch(name))]
        # A GeoTIFF copy of a band gives way to the JPEG 2000 that ESA made.
        matches.sort(key=lambda match: match["original"] is not None)
        return dict(sorted({int(match["side"] or 0): match[0] for match in matches}.items()))

    def header(self, name: str) -> Header:
        """Return the header of a file."""
        return open_header(self.tree.href(name))


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    # Of each band the file with the finest pixels. Reflectance is (DN + offset) / quantification
    # value, both from the product's metadata. The property `unmasked` has the conditions of
    # archive.mask that no layer of the product shows. InputError: a band or the cloud mask is
    # missing.
    product = _open(item)
    files = {
        code: next(iter(sides.items())) for code in _COMMON_NAMES if (sides := product.files(code))
    }
    selected = _select(item, archive, bands, list(files))
    scene_bands: list[tuple[Band, Header]] = []
    for name, code in selected.items():
        header = product.header(files[code][1])
        scene_bands.append((header.band(name, 1, archive, _radiometry(product, code)), header))
    finest_side = min(files[code][0] for code in selected.values())
    mask = _quality(product, archive, finest_side)
    for layer in mask.layers:
        header = product.header(layer.file)
        scene_bands.append((header.quality_band(layer.name, layer.index), header))
    properties = _properties(product) | {"unmasked": " ".join(mask.unmasked)}
    scene_id = product.metadata.find_text(".//PRODUCT_URI") or item.key
    scene = make_scene(
        scene_id.removesuffix(".SAFE"),
        SENTINEL2.name,
        product.tile.time(".//SENSING_TIME"),
        scene_bands,
        cloud=_cloud_cover(product.metadata),
        clear=mask.tests,
        properties=tuple((name, text) for name, text in properties.items() if text),
    )
    band_files = {files[code][1] for code in selected.values()}
    used_files = sorted(band_files | {layer.file for layer in mask.layers})
    if archive.verify:
        _verify(product, used_files)
    return with_fingerprint(scene, [product.tree.sizes[name] for name in used_files])


def _cloud_cover(metadata: Metadata) -> float | None:
    # Per cent.
    path = ".//Cloud_Coverage_Assessment"
    return metadata.number(path) if metadata.find_text(path) else None


def _properties(product: _Product) -> dict[str, str]:
    metadata, tile = product.metadata, product.tile
    tile_name = re.search(r"_T(\d\d[A-Z]{3})(?:_|$)", tile.text(".//TILE_ID"))
    return {
        "level": product.level,
        "platform": metadata.text(".//SPACECRAFT_NAME").lower(),
        "processing_baseline": metadata.text(".//PROCESSING_BASELINE"),
        "relative_orbit": metadata.text(".//SENSING_ORBIT_NUMBER"),
        "orbit_direction": metadata.text(".//SENSING_ORBIT_DIRECTION").lower(),
        "sun_azimuth_deg": f"{tile.number('.//Mean_Sun_Angle/AZIMUTH_ANGLE'):.6f}",
        "sun_elevation_deg": f"{90 - tile.number('.//Mean_Sun_Angle/ZENITH_ANGLE'):.6f}",
        "tile": tile_name[1] if tile_name else "",
    }


def _verify(product: _Product, names: Sequence[str]) -> None:
    # Files with the product's and the tile's metadata.
    hrefs = (product.metadata.href, product.tile.href)
    metadata = [name for name in product.tree.sizes if product.tree.href(name) in hrefs]
    verify_product(product.tree, product.root, [*metadata, *names])


def _open(item: SceneItem) -> _Product:
    tree, root = open_product(item, _PRODUCT_METADATA)
    names = [name.removeprefix(root) for name in tree.sizes if name.startswith(root)]
    product_files = [name for name in names if re.fullmatch(_PRODUCT_METADATA, name)]
    tile_files = [name for name in names if re.fullmatch(_TILE_METADATA, name)]
    if len(product_files) != 1 or len(tile_files) != 1:
        raise InputError(
            f"{redact_url(item.path)} holds {len(product_files)} files of product metadata and "
            f"{len(tile_files)} tiles: one of each is read; download the product of one tile"
        )
    return _Product(
        tree, root, read_xml(tree, root + product_files[0]), read_xml(tree, root + tile_files[0])
    )


def _select(
    item: SceneItem, archive: Archive, bands: Sequence[str], codes: Sequence[str]
) -> dict[str, str]:
    # Name of each requested band in the scene → its code. The run file's mapping comes first; a
    # band may also be requested by its code.
    codes_by_name: dict[str, str] = {}
    for code in codes:
        common_name = _COMMON_NAMES[code]
        name = archive.bands.get(code, archive.bands.get(common_name, common_name))
        if name in codes_by_name:
            raise InputError(
                f"bands {codes_by_name[name]} and {code} of {item.key} are both {name!r} under "
                "scenes.bands: map one of them"
            )
        codes_by_name[name] = code
    by_any_name = {code: code for code in codes} | codes_by_name
    require_bands(
        f"product {item.key}",
        [name for name in bands if name not in by_any_name],
        [f"{name} ({code})" for name, code in codes_by_name.items()],
        "download its other bands, as .jp2 or .tif below GRANULE",
    )
    return {name: by_any_name[name] for name in bands or codes_by_name}


def _radiometry(product: _Product, code: str) -> BandMetadata:
    # From baseline 04.00 on the numbers have an offset, so that dark surfaces do not become no
    # data; before, they have none. Sen2Cor on a user's machine writes the offset where it adds one
    # (from 2.10 on).
    metadata = product.metadata
    offset_tag = {"1C": "RADIO_ADD_OFFSET", "2A": "BOA_ADD_OFFSET"}[product.level]
    tag = "QUANTIFICATION_VALUE" if product.level == "1C" else "BOA_QUANTIFICATION_VALUE"
    if not metadata.find_text(f".//{tag}"):
        tag = f"L2A_{tag}"  # As Sen2Cor wrote it until 2018.
    divisor = metadata.number(f".//{tag}")
    band_id = list(_COMMON_NAMES).index(code)
    offset = metadata.find_text(f".//{offset_tag}[@band_id='{band_id}']")
    needs_offset = (
        4 <= metadata.number(".//PROCESSING_BASELINE") < _OWN_BASELINE
        or metadata.root.find(f".//{offset_tag}") is not None
    )
    if divisor <= 0 or (offset is None and needs_offset):
        raise InputError(
            f"{redact_url(metadata.href)} has no {offset_tag} of {code}, or no positive {tag}: "
            "download the product again"
        )
    special_values = {
        element.findtext("SPECIAL_VALUE_TEXT"): element.findtext("SPECIAL_VALUE_INDEX") or ""
        for element in metadata.root.iter("Special_Values")
    }
    nodata = metadata.numbers(special_values.get("NODATA") or "0", "SPECIAL_VALUE_INDEX")[0]
    return BandMetadata(
        scale=1 / divisor,
        offset=metadata.numbers(offset or "0", offset_tag)[0] / divisor,
        nodata=nodata,
        unit={"1C": "toa_reflectance", "2A": "surface_reflectance"}[product.level],
    )


def _quality(product: _Product, archive: Archive, side: int) -> QualityMask:
    # side: pixel side of the finest band, metres.
    if archive.quality or archive.clear:
        layer = archive.quality or "SCL"
        if not archive.clear:
            raise InputError(
                f"scenes.quality {layer!r} needs scenes.clear: its codes that are valid"
            )
        file = _layer_file(product, archive, layer, side)
        return QualityMask((QualityLayer("quality", file),), quality_tests(archive))
    if product.level == "2A":
        if not archive.mask and not product.files("SCL"):
            return QualityMask()
        file = _layer_file(product, archive, "SCL", side)
        return QualityMask((QualityLayer("quality", file),), scl_tests(archive.mask))
    layers = tuple(
        QualityLayer(
            f"quality_{condition}",
            _layer_file(product, archive, "MSK_CLASSI", side),
            _CLASSI_BANDS[condition],
        )
        for condition in archive.mask
        if condition in _CLASSI_BANDS
    )
    tests = tuple(Clear(layer.name, (0,)) for layer in layers)
    unmasked = tuple(condition for condition in archive.mask if condition not in _CLASSI_BANDS)
    return QualityMask(layers, tests, unmasked)


def _layer_file(product: _Product, archive: Archive, layer: str, side: int) -> str:
    # Of several files the one whose pixel side is nearest to the finest band's.
    files = product.files(layer)
    if not files:
        has_vectors = any(name.endswith(".gml") for name in product.tree.sizes)
        reason = (
            "; its masks are vectors (GML), as before baseline 04.00, which are not read"
            if has_vectors and layer != "SCL"
            else ""
        )
        raise NoQualityLayerError(
            f"product {redact_url(product.metadata.href)} has no {layer}{reason}: "
            "give scenes.mask: [] to take it unmasked, scenes.quality another layer",
            archive.mask,
        )
    return files[min(files, key=lambda file_side: (abs(file_side - side), file_side))]


SENTINEL2 = Source(
    "sentinel2", _accepts, _items, _read, prefixes=product_prefixes, named=product_files
)
