"""Scenes from Sentinel-2 Level-1C and Level-2A products as Copernicus delivers them: SAFE folders and zips of any baseline.

Layout and metadata: Sentinel-2 Products Specification Document, S2-PDGS-TAS-DI-PSD, issue 14.
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
from lulc.sources.header import Header, make_scene, open_header, quality_tests, with_fingerprint
from lulc.sources.product import Tree
from lulc.sources.quality_masks import scl_tests
from lulc.sources.safe import find_products, list_products, open_product
from lulc.sources.scene import Clear, Scene
from lulc.sources.source import SceneItem, Source
from lulc.sources.xml import Metadata, read_xml

# In the order of the metadata's band_id.
_NAMES = {
    "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge071", "B06": "rededge075", "B07": "rededge078",
    "B08": "nir", "B8A": "nir08", "B09": "nir09", "B10": "cirrus", "B11": "swir16", "B12": "swir22",
}  # fmt: skip
_PRODUCT = r"S2[A-Z]_(?:OPER_PRD_)?MSIL(?:1C|2A)_[^/]*"
_MAIN = r"(?:MTD_MSIL(?:1C|2A)|S2[A-Z]_OPER_MTD_SAFL(?:1C|2A)_[^/]*)\.xml"
_TILE = r"GRANULE/[^/]+/(?:MTD_TL|S2[A-Z]_OPER_MTD_L(?:1C|2A)_TL_[^/]*)\.xml"
# Level-1C from baseline 04.00 on: the bands of its one cloud mask, each 1 where its condition holds.
_CLASSI: dict[Condition, int] = {"cloud": 1, "cirrus": 2, "snow": 3}


def _accepts(archive: Archive, names: Sequence[str]) -> bool:
    """Whether there is a Sentinel-2 product, where the run file gives no pattern of file names."""
    return not archive.pattern and bool(find_products(names, _PRODUCT, _MAIN))


def _items(archive: Archive) -> Iterator[SceneItem]:
    """The archive's products, folders and zips, in order."""
    return list_products(archive, _PRODUCT, _MAIN)


@dataclass(frozen=True, eq=False)
class _Product:
    """A product's files, the folder in them that holds it, its own and its tile's metadata."""

    tree: Tree
    root: str
    main: Metadata
    tile: Metadata

    @property
    def level(self) -> str:
        """`1C` or `2A`."""
        found = re.fullmatch(r"Level-(1C|2A)p?", self.main.text(".//PROCESSING_LEVEL"))
        if found is None:
            raise InputError(
                f"{redact_url(self.main.href)} has a PROCESSING_LEVEL other than Level-1C and Level-2A: it is not read"
            )
        return found[1]

    def images(self, layer: str) -> dict[int, str]:
        """Pixel side in metres (0 where the name does not tell) → name of the files of a layer, the finest first."""
        folder = r"QI_DATA/" if layer.startswith("MSK_") else r"IMG_DATA/(?:R\d\dm/)?"
        start = rf"{re.escape(self.root)}GRANULE/[^/]+/{folder}(?:[^/]*_)?{re.escape(layer)}"
        form = re.compile(rf"{start}(?:_B00)?(?:_(\d\d)m)?\.jp2")
        found = {int(m[1] or 0): name for name in self.tree.sizes if (m := form.fullmatch(name))}
        return dict(sorted(found.items()))

    def header(self, name: str) -> Header:
        """The header of one of its files."""
        return open_header(self.tree.href(name))


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    """The product's Scene with the bands named (all reflectances where none is), of each the file with the finest pixels.

    Reflectance is (DN + offset) / quantification value, both from the product's metadata. Properties say under `unmasked` which
    conditions of `archive.mask` no layer of the product tells of. InputError where a band or the cloud mask is not there.
    """
    product = _open(item)
    tile, main = product.tile, product.main
    found: list[tuple[Band, Header]] = []
    files = {own: next(iter(sides.items())) for own in _NAMES if (sides := product.images(own))}
    chosen = _choose(item, archive, bands, list(files))
    for name, own in chosen.items():
        header = product.header(files[own][1])
        found.append((header.band(name, 1, archive, _radiometry(product, own)), header))
    finest = min(files[own][0] for own in chosen.values())
    layers, clear, unmasked = _quality(product, archive, finest)
    for layer in layers:
        header = product.header(layer.href)
        found.append(
            (
                header.band(layer.name, layer.index, Archive(archive.path), {"kind": "quality"}),
                header,
            )
        )
    properties = {
        "level": product.level,
        "platform": main.text(".//SPACECRAFT_NAME").lower(),
        "processing_baseline": main.text(".//PROCESSING_BASELINE"),
        "relative_orbit": main.text(".//SENSING_ORBIT_NUMBER"),
        "orbit_direction": main.text(".//SENSING_ORBIT_DIRECTION").lower(),
        "sun_azimuth_deg": f"{tile.number('.//Mean_Sun_Angle/AZIMUTH_ANGLE'):.6f}",
        "sun_elevation_deg": f"{90 - tile.number('.//Mean_Sun_Angle/ZENITH_ANGLE'):.6f}",
        "tile": _tile_name(tile),
        "unmasked": " ".join(unmasked),
    }
    cloud = (
        main.number(".//Cloud_Coverage_Assessment")
        if main.find_text(".//Cloud_Coverage_Assessment")
        else None
    )
    uri = main.find_text(".//PRODUCT_URI") or item.key
    scene = make_scene(
        uri.removesuffix(".SAFE"),
        SENTINEL2.name,
        tile.time(".//SENSING_TIME"),
        found,
        cloud=cloud,
        clear=clear,
        properties=tuple((k, v) for k, v in properties.items() if v),
    )
    used = sorted({files[own][1] for own in chosen.values()} | {layer.href for layer in layers})
    if archive.verify:
        metadata = [
            name for name in product.tree.sizes if product.tree.href(name) in (main.href, tile.href)
        ]
        verify_product(product.tree, product.root, [*metadata, *used])
    return with_fingerprint(scene, [product.tree.sizes[name] for name in used])


def _open(item: SceneItem) -> _Product:
    tree, root = open_product(item, _MAIN)
    inside = [name.removeprefix(root) for name in tree.sizes if name.startswith(root)]
    mains, tiles = (
        [name for name in inside if re.fullmatch(form, name)] for form in (_MAIN, _TILE)
    )
    if len(mains) != 1 or len(tiles) != 1:
        held = f"{len(mains)} files of product metadata and {len(tiles)} tiles"
        raise InputError(
            f"{redact_url(item.path)} holds {held}: one of each is read; fetch the product of one tile anew"
        )
    return _Product(tree, root, read_xml(tree, root + mains[0]), read_xml(tree, root + tiles[0]))


def _choose(
    item: SceneItem, archive: Archive, bands: Sequence[str], has: Sequence[str]
) -> dict[str, str]:
    # Name of a band in the scene → its own name. The run file's word comes first; a band may also be asked for by its own name.
    named: dict[str, str] = {}
    for own in has:
        name = archive.bands.get(own, archive.bands.get(_NAMES[own], _NAMES[own]))
        if name in named:
            raise InputError(
                f"bands {named[name]} and {own} of {item.key} are both {name!r} under scenes.bands: map one of them"
            )
        named[name] = own
    known = {own: own for own in has} | named
    missing = [name for name in bands if name not in known]
    if missing or not named:
        held = ", ".join(f"{name} ({own})" for name, own in named.items()) or "none"
        raise InputError(
            f"product {item.key} has no band {', '.join(missing)}; it has {held}: fetch its other bands"
        )
    return {name: known[name] for name in bands or named}


def _radiometry(product: _Product, own: str) -> dict[str, float]:
    # From baseline 04.00 on the numbers carry an offset, so that dark surfaces do not become no data; before, they have none.
    main, kind = product.main, {"1C": "RADIO_ADD_OFFSET", "2A": "BOA_ADD_OFFSET"}[product.level]
    tag = "QUANTIFICATION_VALUE" if product.level == "1C" else "BOA_QUANTIFICATION_VALUE"
    tag = tag if main.find_text(f".//{tag}") else f"L2A_{tag}"  # As Sen2Cor wrote it until 2018.
    divisor = main.number(f".//{tag}")
    offset = main.find_text(f".//{kind}[@band_id='{list(_NAMES).index(own)}']")
    if divisor <= 0 or (offset is None and main.number(".//PROCESSING_BASELINE") >= 4):
        raise InputError(
            f"{redact_url(main.href)} has no {kind} of {own}, or no positive {tag}: fetch the product anew"
        )
    said = {
        s.findtext("SPECIAL_VALUE_TEXT"): s.findtext("SPECIAL_VALUE_INDEX") or ""
        for s in main.root.iter("Special_Values")
    }
    nodata = main.numbers(said.get("NODATA") or "0", "SPECIAL_VALUE_INDEX")[0]
    return {
        "scale": 1 / divisor,
        "offset": main.numbers(offset or "0", kind)[0] / divisor,
        "nodata": nodata,
    }


def _quality(
    product: _Product, archive: Archive, side: int
) -> tuple[list[Band], tuple[Clear, ...], Sequence[Condition]]:
    # The quality bands (href: name of the file), what they must say, the conditions to be masked that none of them tells of.
    if archive.quality or archive.clear:
        layer = archive.quality or "SCL"
        if not archive.clear:
            raise InputError(
                f"scenes.quality {layer!r} needs scenes.clear: its codes that mean usable"
            )
        return [Band("quality", _layer(product, layer, side))], quality_tests(archive), ()
    if product.level == "2A":
        if not archive.mask and not product.images("SCL"):
            return [], (), ()
        return [Band("quality", _layer(product, "SCL", side))], scl_tests(archive.mask), ()
    masked = [condition for condition in archive.mask if condition in _CLASSI]
    layers = [Band(f"quality_{c}", _layer(product, "MSK_CLASSI", side), _CLASSI[c]) for c in masked]
    tests = tuple(Clear(layer.name, (0,)) for layer in layers)
    return layers, tests, [condition for condition in archive.mask if condition not in _CLASSI]


def _layer(product: _Product, layer: str, side: int) -> str:
    # Of several files the one whose pixels are nearest in size to the finest band's.
    found = product.images(layer)
    if not found:
        vectors = any(name.endswith(".gml") for name in product.tree.sizes)
        why = (
            "; its masks are vectors (GML), as before baseline 04.00, which are not read"
            if vectors and layer != "SCL"
            else ""
        )
        remedy = "give scenes.mask: [] to take it unmasked, or scenes.quality another layer"
        raise InputError(f"product {redact_url(product.main.href)} has no {layer}{why}: {remedy}")
    return found[min(found, key=lambda s: (abs(s - side), s))]


def _tile_name(tile: Metadata) -> str:
    found = re.search(r"_T(\d\d[A-Z]{3})(?:_|$)", tile.text(".//TILE_ID"))
    return found[1] if found else ""


SENTINEL2 = Source("sentinel2", _accepts, _items, _read)
