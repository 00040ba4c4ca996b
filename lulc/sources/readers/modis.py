"""Scenes from MODIS gridded products of LP DAAC, those of `modis_products`: HDF4-EOS files.

Grids, scales and valid ranges come from each file: `lulc.raster.hdf4`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath

import shapely

from lulc.config import Archive
from lulc.errors import InputError
from lulc.geo.grid import footprint
from lulc.location import parse_location
from lulc.raster import hdf4
from lulc.raster.hdf4 import Hdf4Layer
from lulc.sources import modis_products
from lulc.sources.header import (
    BandMetadata,
    Header,
    make_scene,
    require_bands,
    with_fingerprint,
)
from lulc.sources.listing import list_archive
from lulc.sources.quality_masks import (
    NoQualityLayerError,
    QualityLayer,
    QualityMask,
    quality_tests,
)
from lulc.sources.scene import Scene
from lulc.sources.source import SceneItem, Source
from lulc.sources.times import find_date, middle, parse_span

_FILE = re.compile(r"(?:.*/)?M[OYC]D\w+\.A\d{7}\.[^/]*\.hdf", re.IGNORECASE)


def _accepts(_: Archive, names: Sequence[str]) -> bool:
    # Whether there is an HDF4 file that is named as MODIS', or of any name where no GeoTIFF files
    # are: its metadata say what it is.
    has_geotiff = any(name.lower().endswith((".tif", ".tiff")) for name in names)
    return any(
        _FILE.fullmatch(name) or (name.lower().endswith(".hdf") and not has_geotiff)
        for name in names
    )


def _items(archive: Archive) -> Iterator[SceneItem]:
    # The HDF4 files in order; SetupError where this machine cannot read them.
    hdf4.require_pyhdf()
    path = parse_location(archive.path).absolute()
    if path.is_file():
        yield SceneItem(str(path), path.stem)
        return
    for name in list_archive(path).ending((".hdf",)):
        yield SceneItem(str(path / name), name[: -len(".hdf")])


@dataclass(frozen=True, eq=False)
class _Product:
    """A file's layers and its inventory metadata."""

    path: str
    layers: Mapping[str, Hdf4Layer]
    """Layer name → layer; where two grids have layers of one name: `grid/name`."""
    core_metadata: str

    def text(self, key: str) -> str:
        """Return an object's value in CoreMetadata, empty where there is none."""
        match = re.search(
            rf"\bOBJECT\s*=\s*{key}\s(?:(?!END_OBJECT).)*?VALUE\s*=\s*\(?\"([^\"]*)\"",
            self.core_metadata,
            re.DOTALL,
        )
        return match[1] if match else ""

    @property
    def id(self) -> str:
        """The granule's id, which the file is named after when it is delivered."""
        return (self.text("LOCALGRANULEID") or PurePosixPath(self.path).name).removesuffix(".hdf")

    @property
    def short_name(self) -> str:
        """The product's short name, such as MOD09GA."""
        return self.text("SHORTNAME") or self.id.split(".")[0]

    @property
    def acquired(self) -> datetime:
        """The middle of the product's days, by its metadata; else its first day, by its name.

        InputError where neither has it.
        """
        name_date = re.search(r"\.(A\d{7})\.", f"{self.id}.")
        if name_date and not self.text("RANGEBEGINNINGDATE"):
            first_day = find_date(f".{name_date[1]}")
            if first_day:
                return first_day
        begin = self._bound("BEGINNING", "00:00:00")
        end = self._bound("ENDING", "00:00:00") if self.text("RANGEENDINGDATE") else begin
        if end < begin:
            raise InputError(f"{self.path} ends before it begins: download the file again")
        return middle(begin, end)

    def _bound(self, bound: str, clock: str) -> datetime:
        # The time at which the product's days begin or end, by its metadata.
        text = f"{self.text(f'RANGE{bound}DATE')}T{self.text(f'RANGE{bound}TIME') or clock}"
        span = parse_span(text)
        if span is None:
            raise InputError(
                f"{self.path} gives {text[:40]!r} as its time: download the file again"
            )
        return span[0]

    def header(self, layer_name: str) -> Header:
        """Return the header of a layer."""
        layer = self.layers[layer_name]
        layer.check_size()
        scale, offset = layer.scaling
        return Header(
            href=layer.href,
            grid=layer.grid,
            dtypes=(layer.dtype,),
            nodatas=(layer.nodata,),
            scales=(scale,),
            offsets=(offset,),
            descriptions=(None,),
            colours=("gray",),
            datetime_tag=None,
        )


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    # Bands are requested by common or layer name. The property `unmasked` has the conditions of
    # archive.mask that no layer of the product shows. InputError: a layer is missing, the product
    # is none whose layers are known, or the file is damaged.
    product = _open(item)
    family = modis_products.family_of(product.short_name, item.path)
    selected = _select(product, family, archive, bands)
    scene_bands = []
    for name, layer_name in selected.items():
        header = product.header(layer_name)
        holds_codes = modis_products.holds_codes(family, layer_name)
        unit = modis_products.unit_of(layer_name.rpartition("/")[2])
        metadata = BandMetadata(kind="class" if holds_codes else "continuous", unit=unit)
        scene_bands.append((header.band(name, 1, archive, metadata), header))
    mask = _quality(product, family, archive, list(selected.values()))
    for layer in mask.layers:
        header = product.header(layer.file)
        scene_bands.append((header.quality_band(layer.name), header))
    properties = _properties(product) | {"unmasked": " ".join(mask.unmasked)}
    scene = make_scene(
        product.id,
        MODIS.name,
        product.acquired,
        scene_bands,
        clear=mask.tests,
        properties=tuple((name, text) for name, text in properties.items() if text),
    )
    outlines = [footprint(header.grid) for band, header in scene_bands if band.kind != "quality"]
    return with_fingerprint(replace(scene, footprint=shapely.to_wkb(shapely.union_all(outlines))))


def _open(item: SceneItem) -> _Product:
    layers, attributes = hdf4.list_layers(item.path)
    count = Counter(layer.name for layer in layers)
    layers_by_name = {
        layer.name if count[layer.name] == 1 else f"{layer.grid_name}/{layer.name}": layer
        for layer in layers
    }
    return _Product(item.path, layers_by_name, attributes.get("CoreMetadata", ""))


def _properties(product: _Product) -> dict[str, str]:
    version = re.search(r"\.(\d{3})\.\d+$", product.id)
    tile = re.search(r"\.(h\d\dv\d\d)\.", product.id)
    return {
        "level": product.short_name,
        "platform": modis_products.PLATFORMS.get(product.short_name[:3], ""),
        "processing_baseline": version[1] if version else "",
        "tile": tile[1] if tile else "",
    }


def _select(
    product: _Product, family: modis_products.Family, archive: Archive, bands: Sequence[str]
) -> dict[str, str]:
    # Name of each requested band in the scene → its layer. The run file's mapping comes first; a
    # band may also be requested by its layer's name. Where none is requested: all layers that have
    # a common name or are land cover, else all amounts, else all.
    layers_by_name: dict[str, str] = {}
    for layer_name in product.layers:
        common_name = modis_products.common_name(layer_name)
        name = archive.bands.get(layer_name, archive.bands.get(common_name, common_name))
        if name in layers_by_name:
            raise InputError(
                f"layers {layers_by_name[name]} and {layer_name} of {product.path} are both "
                f"{name!r}: map one in scenes.bands"
            )
        layers_by_name[name] = layer_name
    by_any_name = {layer_name: layer_name for layer_name in product.layers} | layers_by_name
    require_bands(
        product.path,
        [name for name in bands if name not in by_any_name],
        [
            name if name == layer_name else f"{name} ({layer_name})"
            for name, layer_name in layers_by_name.items()
        ],
        "name one of them, or map it under scenes.bands",
    )
    if bands:
        return {name: by_any_name[name] for name in bands}
    codes = {
        name: layer_name
        for name, layer_name in layers_by_name.items()
        if modis_products.holds_codes(family, layer_name)
    }
    main_bands = {
        name: layer_name
        for name, layer_name in layers_by_name.items()
        if name != layer_name or (family == "land cover" and name in codes)
    }
    amounts = {name: layer_name for name, layer_name in layers_by_name.items() if name not in codes}
    return main_bands or amounts or layers_by_name


def _quality(
    product: _Product,
    family: modis_products.Family,
    archive: Archive,
    selected: Sequence[str],
) -> QualityMask:
    # selected: the names of the scene's layers.
    if not archive.quality:
        return modis_products.default_mask(
            family, list(product.layers), selected, archive, product.path
        )
    if archive.quality not in product.layers:
        raise NoQualityLayerError(
            f"{product.path} has no quality layer {archive.quality!r}; "
            f"it has {', '.join(product.layers)}: name another under scenes.quality",
            archive.mask,
        )
    return QualityMask((QualityLayer("quality", archive.quality),), quality_tests(archive))


MODIS = Source("modis", _accepts, _items, _read)
