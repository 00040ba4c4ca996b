"""Scenes from Landsat 4-9 products as the USGS delivers them: Collection 2 of levels 1 and 2, Collection 1 of level 1.

What comes out: level 2 surface reflectance and surface temperature in kelvin; level 1 reflectance at the top of the atmosphere,
the sun's angle corrected for, and of thermal bands spectral radiance in W/(m² sr µm), since kelvin are not linear in it. File
names and scales: the product's MTL. Formulas: Landsat 8-9 Data Users Handbook (LSDS-1574) section 5, Landsat 7 (LSDS-1927).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from lulc.bands import Band
from lulc.config import Archive
from lulc.errors import InputError
from lulc.redact import redact_url
from lulc.sources.header import Header, make_scene, open_header, quality_tests, with_fingerprint
from lulc.sources.product import PACKED, Tree, open_tree
from lulc.sources.quality_masks import bqa_tests, qa_pixel_tests, qa_radsat_tests
from lulc.sources.readers._landsat_mtl import Mtl, read_mtl
from lulc.sources.scene import Clear, Scene
from lulc.sources.source import SceneItem, Source

# MTL's name of a band → its common name. B6_VCID_2, the high gain of ETM+'s thermal band, goes by its own name alone.
_OLI = {
    "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "nir08", "6": "swir16", "7": "swir22", "8": "pan", "9": "cirrus",
    "10": "lwir11", "11": "lwir12", "ST_B10": "lwir11",
}  # fmt: skip
_TM = {
    "1": "blue", "2": "green", "3": "red", "4": "nir08", "5": "swir16", "6": "lwir", "6_VCID_1": "lwir", "7": "swir22",
    "8": "pan", "ST_B6": "lwir",
}  # fmt: skip
_SENSORS = {"OLI_TIRS": _OLI, "OLI": _OLI, "TIRS": _OLI, "TM": _TM, "ETM": _TM}


_ID = r"L[CEMOT]0[4-9]_L\w{3}_\d{6}_\d{8}_\d{8}_0[12]_(?:T1|T2|RT)"
_FILE = re.compile(rf"(?P<folder>(?:.*/)?)(?P<id>{_ID})_(?P<rest>[^/]+)")
_PACK = re.compile(rf"(?:.*/)?(?P<id>{_ID})(?:{'|'.join(map(re.escape, PACKED))})")


def _accepts(archive: Archive, names: Sequence[str]) -> bool:
    """Whether there is a Landsat product, packed or by its MTL, where the run file gives no pattern of file names."""
    found = (
        _PACK.fullmatch(name) or ((m := _FILE.fullmatch(name)) and m["rest"].startswith("MTL."))
        for name in names
    )
    return not archive.pattern and any(found)


def _items(archive: Archive) -> Iterator[SceneItem]:
    """The archive's products in order: tars and zips, and folders' files by the id they begin with; an MTL stands for its own.

    Files without an MTL are a product too: it fails when it is read, and so is not lost in silence.
    """
    place = archive.path if "://" in archive.path else str(Path(archive.path).absolute())
    if place.lower().endswith(PACKED):
        yield SceneItem(place, re.sub(r"(\.tar)?\.\w+$", "", PurePosixPath(place).name))
        return
    if named := _FILE.fullmatch(place):
        yield SceneItem(named["folder"].rstrip("/"), named["id"], named["id"])
        return
    tree = open_tree(place)
    found = set()
    for name in tree.sizes:
        if re.search(r"(^|/)\.", name):
            continue
        if packed := _PACK.fullmatch(name):
            found.add((str(PurePosixPath(name).with_name(packed["id"])), f"{tree.path}/{name}", ""))
        elif file := _FILE.fullmatch(name):
            folder = PurePosixPath(file["folder"])
            key = str(folder if folder.name == file["id"] else folder / file["id"])
            found.add((key, f"{tree.path}/{file['folder']}".rstrip("/"), file["id"]))
    for key, path, product in sorted(found):
        yield SceneItem(path, key, product)


@dataclass(frozen=True, eq=False)
class _Product:
    """A product's files and its MTL; names: file name → its name in the tree."""

    id: str
    tree: Tree
    names: Mapping[str, str]
    mtl: Mtl

    @property
    def common(self) -> dict[str, str]:
        """MTL's name of each band of its sensor → common name."""
        sensor = self.mtl.text("SENSOR_ID")
        if sensor not in _SENSORS:
            raise InputError(
                f"product {self.id} is of sensor {sensor}: accepted are {', '.join(_SENSORS)}"
            )
        return _SENSORS[sensor]

    def own(self, key: str) -> str:
        """A band's own name, as its file ends: SR_B4, B4, ST_B10."""
        return PurePosixPath(self.mtl.files()[key]).stem.removeprefix(f"{self.id}_")

    def header(self, name: str) -> Header:
        """The header of the file of this name; InputError where it is not there."""
        if name not in self.names:
            remedy = "fetch the product anew, or take the condition it tells of out of scenes.mask"
            raise InputError(
                f"product {self.id} in {redact_url(self.tree.path)} lacks {name[:200]}: {remedy}"
            )
        return open_header(self.tree.href(self.names[name]))


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    """The product's Scene with the bands named (all that are there where none is) by common or own name, and quality bands.

    Properties say under `unmasked` which conditions of `archive.mask` no quality band of the product tells of. InputError where a
    band or a quality band is not there, the MTL is damaged, or reflectance is asked of a scene taken by night.
    """
    product = _open(item)
    mtl = product.mtl
    chosen = _choose(product, archive, bands)
    found: list[tuple[Band, Header]] = []
    for name, key in chosen.items():
        header = product.header(mtl.files()[key])
        scale, offset = _radiometry(mtl, key)
        found.append(
            (
                header.band(name, 1, archive, {"scale": scale, "offset": offset, "nodata": 0.0}),
                header,
            )
        )
    layers, clear, unmasked = _quality(product, archive, list(chosen.values()))
    for name, file in layers.items():
        header = product.header(file)
        # Fill is a bit of its own here: a nodata value in the file's tags adds nothing, and 0 would be wrong.
        band = header.band(name, 1, Archive(archive.path), {"kind": "quality"})
        found.append((replace(band, nodata=None) if not archive.quality else band, header))
    properties = {
        "level": mtl.level,
        "platform": mtl.text("SPACECRAFT_ID").lower().replace("_", "-"),
        "sun_azimuth_deg": mtl.text("SUN_AZIMUTH"),
        "sun_elevation_deg": mtl.text("SUN_ELEVATION"),
        "tier": product.id[-2:],
        "wrs_path": str(int(mtl.number("WRS_PATH"))),
        "wrs_row": str(int(mtl.number("WRS_ROW"))),
        "unmasked": " ".join(unmasked),
    }
    cloud = mtl.number("CLOUD_COVER")
    scene = make_scene(
        product.id,
        LANDSAT.name,
        mtl.taken,
        found,
        cloud=cloud if cloud >= 0 else None,  # -1: not assessed
        clear=clear,
        properties=tuple((k, v) for k, v in properties.items() if v),
    )
    return with_fingerprint(scene)


def _open(item: SceneItem) -> _Product:
    tree = open_tree(item.path)
    # A folder may hold several products; what lies in folders below it is another item's.
    matches = [
        m
        for name in tree.sizes
        if (m := _FILE.fullmatch(name)) and (not item.text or name == f"{item.text}_{m['rest']}")
    ]
    products = {(m["folder"], m["id"]) for m in matches}
    if len(products) != 1:
        held = "several products" if products else "no file of one"
        raise InputError(
            f"{redact_url(item.path)} is not one Landsat product: it holds {held}; fetch it anew"
        )
    product = products.pop()[1]
    names = {PurePosixPath(m[0]).name: m[0] for m in matches}
    return _Product(product, tree, names, read_mtl(tree, names, product))


def _choose(product: _Product, archive: Archive, bands: Sequence[str]) -> dict[str, str]:
    # Name of a band in the scene → MTL's name of it. The run file's word comes first; its own name serves beside any other.
    named: dict[str, str] = {}
    for key in product.mtl.files():
        if key == "QUALITY":  # Collection 1 lists its quality band among the bands.
            continue
        own = product.own(key)
        common = product.common.get(key, own)
        name = archive.bands.get(own, archive.bands.get(common, common))
        if name in named:
            raise InputError(
                f"bands {product.own(named[name])} and {own} of {product.id} are both {name!r}: map one in scenes.bands"
            )
        named[name] = key
    known = {product.own(key): key for key in named.values()} | named
    there = {name: key for name, key in named.items() if product.mtl.files()[key] in product.names}
    missing = [name for name in bands if name not in known or known[name] not in there.values()]
    if missing or not there:
        held = ", ".join(f"{name} ({product.own(key)})" for name, key in there.items()) or "none"
        raise InputError(
            f"product {product.id} has no band {', '.join(missing)}; it has {held}: fetch its other bands"
        )
    return {name: known[name] for name in bands or there}


def _radiometry(mtl: Mtl, key: str) -> tuple[float, float]:
    # Scale and offset to physical values. A level-1 thermal band has no reflectance.
    kind = next(
        (
            k
            for k in ("REFLECTANCE", "TEMPERATURE", "RADIANCE")
            if f"{k}_MULT_BAND_{key}" in mtl.said
        ),
        "REFLECTANCE",
    )
    scale, offset = mtl.number(f"{kind}_MULT_BAND_{key}"), mtl.number(f"{kind}_ADD_BAND_{key}")
    if kind != "REFLECTANCE" or mtl.level.startswith("L2"):
        return scale, offset
    elevation = mtl.number("SUN_ELEVATION")
    if not 0 < elevation <= 90:
        raise InputError(
            f"{redact_url(mtl.href)} was taken with the sun at {elevation}°: it has no reflectance, thermal bands alone"
        )
    # Data Users Handbook: reflectance = (M Q + A) / sin(sun elevation at the scene's centre).
    high = math.sin(math.radians(elevation))
    return scale / high, offset / high


def _quality(
    product: _Product, archive: Archive, keys: Sequence[str]
) -> tuple[dict[str, str], tuple[Clear, ...], Sequence[str]]:
    # Name of each quality band → its file, what they must say, the conditions to be masked that none of them tells of.
    said = product.mtl.said
    if archive.quality or archive.clear:
        return (
            {"quality": f"{product.id}_{archive.quality or 'QA_PIXEL'}.TIF"},
            quality_tests(archive),
            (),
        )
    if "FILE_NAME_BAND_QUALITY" in said:
        oli = product.common is _OLI
        return (
            {"quality": said["FILE_NAME_BAND_QUALITY"]},
            bqa_tests(archive.mask, cirrus=oli),
            _untold(archive, oli, {"water"}),
        )
    layers = {"quality": product.mtl.text("FILE_NAME_QUALITY_L1_PIXEL")}
    tests = qa_pixel_tests(archive.mask)
    if "saturated" in archive.mask:
        layers["saturation"] = product.mtl.text("FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION")
        tests += qa_radsat_tests(keys)
    return layers, tests, _untold(archive, product.common is _OLI, set())


def _untold(archive: Archive, oli: bool, others: set[str]) -> list[str]:
    # TM and ETM+ have no band that sees cirrus.
    return [c for c in archive.mask if c in others or (c == "cirrus" and not oli)]


LANDSAT = Source("landsat", _accepts, _items, _read)
