"""Scenes from MODIS gridded products as LP DAAC delivers them: HDF4-EOS files of one tile (MOD, MYD, MCD; 09, 11, 12, 13, 43 …).

Names, codes and bits of layers: the User's Guides of MOD09, MOD13, MCD43 and MCD12, collection 6.1. Grids, scales and valid
ranges come from each file: `lulc.hdf4`. Catalogues serve the same products as COG files by STAC, which needs nothing of this.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

import numpy as np
import shapely

from lulc.bands import Band
from lulc.config import Archive, Condition
from lulc.errors import InputError
from lulc.geo.grid import WGS84, Grid, transformer
from lulc.raster import hdf4
from lulc.raster.hdf4 import Hdf4Layer
from lulc.sources.header import Header, make_scene, quality_tests, with_fingerprint
from lulc.sources.quality_masks import modis_reliability_tests, modis_state_tests
from lulc.sources.scene import Clear, Scene
from lulc.sources.source import SceneItem, Source

# Band 5, at 1.24 µm, has no common name.
_BANDS = {"1": "red", "2": "nir08", "3": "blue", "4": "green", "6": "swir16", "7": "swir22"}
# MOD13 names its layers in words; its MIR is band 7.
_WORDS = {
    "NDVI": "ndvi",
    "EVI": "evi",
    "blue reflectance": "blue",
    "red reflectance": "red",
    "NIR reflectance": "nir08",
} | {"MIR reflectance": "swir22"}
_BAND = re.compile(r"(?:sur_refl_b0|Nadir_Reflectance_Band)(\d)(?:_1)?")
_VEGETATION = re.compile(r"(?:250m|500m|1 km) (?:16 days|monthly) (.+)")
_CLASS = re.compile(r"LC_(?:Type|Prop)\d|Land_Cover_Type_\d|QC|LW")
_STATE = re.compile(r"state_1km(?:_1)?|sur_refl_state_(?:250|500)m")

_FILE = re.compile(r"(?:.*/)?M[OYC]D\w+\.A\d{7}\.[^/]*\.hdf")


def _accepts(_: Archive, names: Sequence[str]) -> bool:
    """Whether there is a MODIS HDF4 file."""
    return any(_FILE.fullmatch(name) for name in names)


def _items(archive: Archive) -> Iterator[SceneItem]:
    """The archive's HDF4 files in order; SetupError where this machine cannot read them."""
    hdf4.require()
    if "://" in archive.path:
        raise InputError(
            f"archive {archive.path}: HDF4 files are read from this machine's disk alone; copy them to a folder"
        )
    place = Path(archive.path).absolute()
    if place.is_file():
        yield SceneItem(str(place), place.stem)
        return
    for path in sorted(place.rglob("*.hdf")):
        within = path.relative_to(place)
        if not any(part.startswith(".") for part in within.parts):
            yield SceneItem(str(path), within.with_suffix("").as_posix())


@dataclass(frozen=True, eq=False)
class _Product:
    """A file's layers by own name, and its inventory metadata."""

    path: str
    layers: dict[str, Hdf4Layer]
    core: str

    def text(self, key: str) -> str:
        """The value of an object of the inventory metadata (CoreMetadata), empty where there is none."""
        found = re.search(
            rf"\bOBJECT\s*=\s*{key}\s(?:(?!END_OBJECT).)*?VALUE\s*=\s*\(?\"([^\"]*)\"",
            self.core,
            re.DOTALL,
        )
        return found[1] if found else ""

    @property
    def id(self) -> str:
        """The granule's id, which the file is named after when it is delivered."""
        return (self.text("LOCALGRANULEID") or PurePosixPath(self.path).name).removesuffix(".hdf")

    @property
    def short(self) -> str:
        """The product's short name, such as MOD09GA."""
        return self.text("SHORTNAME") or self.id.split(".")[0]

    @property
    def taken(self) -> datetime:
        """When the product's first day begins: by its metadata, else by its name; InputError where neither says."""
        text = f"{self.text('RANGEBEGINNINGDATE')}T{self.text('RANGEBEGINNINGTIME') or '00:00:00'}"
        named = re.search(r"\.A(\d{4})(\d{3})\.", f"{self.id}.")
        try:
            if text.startswith("T") and named and int(named[2]) > 0:
                return datetime(int(named[1]), 1, 1, tzinfo=UTC) + timedelta(days=int(named[2]) - 1)
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        except ValueError as error:
            raise InputError(
                f"{self.path} says {text[:40]!r} of its time: fetch the file anew"
            ) from error

    def band(self, name: str, own: str, archive: Archive, kind: str) -> tuple[Band, Header]:
        """A layer as a scene's band, and its header."""
        one = self.layers[own]
        one.check_size()
        scale, offset = one.scaling
        header = Header(
            one.href,
            one.grid,
            (one.dtype,),
            (one.nodata,),
            (scale,),
            (offset,),
            (None,),
            ("gray",),
            None,
        )
        return header.band(name, 1, archive, {"kind": kind}), header


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    """The file's Scene with the bands named by common or own name; where none is, all that have a known name, else all.

    Properties say under `unmasked` which conditions of `archive.mask` no layer of the product tells of. InputError where a layer
    is not there, or the file is damaged.
    """
    layers, texts = hdf4.list_layers(item.path)
    count = Counter(layer.name for layer in layers)
    named = {
        layer.name if count[layer.name] == 1 else f"{layer.structure}/{layer.name}": layer
        for layer in layers
    }
    product = _Product(item.path, named, texts.get("CoreMetadata", ""))
    chosen = _choose(product, archive, bands)
    found = [
        product.band(name, own, archive, "class" if _is_class(product, own) else "continuous")
        for name, own in chosen.items()
    ]
    quality, clear, told = _quality(product, archive, list(chosen.values()))
    found += [
        product.band(name, own, Archive(archive.path), "quality") for name, own in quality.items()
    ]
    tile = re.search(r"\.(h\d\dv\d\d)\.", product.id)
    properties = {
        "level": product.short,
        "platform": {"MOD": "terra", "MYD": "aqua", "MCD": "terra aqua"}.get(product.short[:3], ""),
        "processing_baseline": version[1]
        if (version := re.search(r"\.(\d{3})\.\d+$", product.id))
        else "",
        "tile": tile[1] if tile else "",
        "unmasked": " ".join(c for c in archive.mask if c not in told),
    }
    said = tuple((k, v) for k, v in properties.items() if v)
    scene = make_scene(product.id, MODIS.name, product.taken, found, clear=clear, properties=said)
    outlines = [_footprint(header.grid) for band, header in found if band.kind != "quality"]
    return with_fingerprint(replace(scene, footprint=shapely.to_wkb(shapely.union_all(outlines))))


def _choose(product: _Product, archive: Archive, bands: Sequence[str]) -> dict[str, str]:
    # Name of a band in the scene → the layer's own name. The run file's word comes first; the own name serves beside any other.
    named: dict[str, str] = {}
    for own in product.layers:
        common = _common(own)
        name = archive.bands.get(own, archive.bands.get(common, common))
        if name in named:
            raise InputError(
                f"layers {named[name]} and {own} of {product.path} are both {name!r}: map one in scenes.bands"
            )
        named[name] = own
    known = {own: own for own in product.layers} | named
    missing = [name for name in bands if name not in known]
    if missing or not known:
        held = (
            ", ".join(name if name == own else f"{name} ({own})" for name, own in named.items())
            or "none"
        )
        raise InputError(f"{product.path} has no band {', '.join(missing)}; it has {held}")
    if bands:
        return {name: known[name] for name in bands}
    return {n: own for n, own in named.items() if n != own or _is_class(product, own)} or named


def _common(own: str) -> str:
    if band := _BAND.fullmatch(own):
        return _BANDS.get(band[1], own)
    words = _VEGETATION.fullmatch(own)
    return _WORDS.get(words[1], own) if words else own


def _is_class(product: _Product, own: str) -> bool:
    return product.short.startswith("MCD12") and _CLASS.fullmatch(own) is not None


def _quality(
    product: _Product, archive: Archive, chosen: Sequence[str]
) -> tuple[dict[str, str], tuple[Clear, ...], Sequence[Condition]]:
    # Name of each quality band → its layer, what they must say, the conditions that they tell of.
    if archive.quality:
        if archive.quality not in product.layers:
            raise InputError(
                f"{product.path} has no quality layer {archive.quality!r}; it has {', '.join(product.layers)}"
            )
        return {"quality": archive.quality}, quality_tests(archive), archive.mask
    if product.short[3:5] == "12":
        return (
            {},
            (),
            archive.mask,
        )  # Land cover of a year: made of many dates, clouds and all are settled.
    if product.short[3:5] == "13":
        found = next((own for own in product.layers if own.endswith("pixel reliability")), None)
        return _told(
            product, archive, found, modis_reliability_tests(archive.mask), ("cloud", "snow")
        )
    if product.short[3:5] == "09":
        found = next((own for own in product.layers if _STATE.fullmatch(own)), None)
        return _told(
            product,
            archive,
            found,
            modis_state_tests(archive.mask),
            ("cloud", "shadow", "cirrus", "snow", "water"),
        )
    # MCD43A: a layer a band; 0 full inversion, 1 by magnitudes alone, else not made.
    layers = {
        f"quality_band{b}": f"BRDF_Albedo_Band_Mandatory_Quality_Band{b}"
        for own in chosen
        if (b := own[-1]).isdigit()
    }
    layers = {name: own for name, own in layers.items() if own in product.layers}
    return layers, tuple(Clear(name, (0, 1)) for name in layers), ()


def _told(
    product: _Product,
    archive: Archive,
    layer: str | None,
    tests: tuple[Clear, ...],
    told: Sequence[Condition],
) -> tuple[dict[str, str], tuple[Clear, ...], Sequence[Condition]]:
    if layer:
        return {"quality": layer}, tests, told
    if archive.mask:
        remedy = "give scenes.mask: [] to take it unmasked, or scenes.quality another layer"
        raise InputError(
            f"{product.path} has no layer that tells of {', '.join(archive.mask)}: {remedy}"
        )
    return {}, (), ()


def _footprint(grid: Grid) -> shapely.Geometry:
    # A tile at the rim of the world lies partly outside it, where the projection's inverse runs round and comes back in.
    left, bottom, right, top = grid.bounds
    forward, back = transformer(WGS84, grid.crs), transformer(grid.crs, WGS84)
    lat = np.linspace(-90, 90, 3601)
    # A hair inside: at 180° itself rounding decides between east and west.
    x, y = forward.transform(np.full(lat.shape, 180 - 1e-7), lat)
    world = shapely.Polygon(
        np.concatenate([np.column_stack([x, y]), np.column_stack([-x, y])[::-1]])
    )
    outline = shapely.segmentize(
        shapely.box(left, bottom, right, top), (right - left) / 16
    ).intersection(world)
    if outline.is_empty:
        raise InputError(
            f"a grid with bounds {grid.bounds} lies outside the world of the sinusoidal projection"
        )
    return shapely.make_valid(
        shapely.transform(outline, lambda c: np.column_stack(back.transform(*c.T)))
    )


MODIS = Source("modis", _accepts, _items, _read)
