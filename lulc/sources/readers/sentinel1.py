"""Scenes from Sentinel-1 GRD products (IW, EW, SM) of Copernicus: SAFE folders and zips.

Layout: Sentinel-1 Product Specification, S1-RS-MDA-52-7441.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import shapely

from lulc.bands import Band
from lulc.config import Archive
from lulc.errors import InputError
from lulc.geo.grid import WGS84
from lulc.raster.access import open_raster
from lulc.redact import redact_url
from lulc.sources.checksums import verify_product
from lulc.sources.header import require_bands, with_fingerprint
from lulc.sources.product import Tree
from lulc.sources.safe import (
    find_products,
    list_products,
    open_product,
    plain_stem,
    product_files,
    product_prefixes,
)
from lulc.sources.scene import Scene
from lulc.sources.sentinel1_grd import MEASUREMENT, read_annotation, read_measurement
from lulc.sources.source import SceneItem, Source
from lulc.sources.xml import Metadata, read_xml

_PRODUCT = r"S1[A-Z]_[A-Z0-9]{2}_GRD[A-Z_]_[^/]*"
# Clouds shorten the names of its files to iw-vv.
_ANNOTATION = r"annotation/(?:s1[a-z]-[a-z0-9]+-grd-[^/]*|(?:iw|ew|s\d)-[hv]{2})\.xml"
# Noise tables of processors up to this one are in another unit: ESA, Masking "No-value" Pixels on
# GRD Products (MPC-0243).
_LAST_UNSCALED_IPF = 2.5


def _accepts(archive: Archive, names: Sequence[str]) -> bool:
    # Whether there is a Sentinel-1 GRD product, where the run file gives no pattern of file names.
    return not archive.pattern and bool(find_products(names, _PRODUCT, _ANNOTATION))


def _items(archive: Archive) -> Iterator[SceneItem]:
    return list_products(archive, _PRODUCT, _ANNOTATION)


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    # One band a polarisation (`vv`, `vh`, …), of backscatter. CRS and footprint are those of the
    # tie points, EPSG:4326. InputError: a polarisation is missing, a file is damaged, or the run
    # file has a setting that the product's calibration replaces.
    _check_settings(archive)
    tree, root = open_product(item, _ANNOTATION)
    files = _select(item, archive, bands, _measurement_files(tree, root))
    scene_bands = tuple(_open_band(tree, name, file, archive) for name, file in files.items())
    annotation = read_annotation(tree, root, _stem(list(files.values())[-1]))
    if f"{root}manifest.safe" not in tree.sizes:
        raise InputError(
            f"{redact_url(item.path)} has no manifest.safe: download the product again"
        )
    manifest = read_xml(tree, f"{root}manifest.safe")
    spacings = [
        annotation.number(f".//imageInformation/{tag}")
        for tag in ("rangePixelSpacing", "azimuthPixelSpacing")
    ]
    swath = read_measurement(scene_bands[-1].href).swath
    scene = Scene(
        plain_stem(root.rstrip("/") or item.path),
        SENTINEL1.name,
        annotation.time("adsHeader/startTime"),
        WGS84,
        shapely.to_wkb(swath.outline()),
        scene_bands,
        gsd_m=math.sqrt(math.prod(spacings)),
        properties=tuple(_properties(annotation, manifest).items()),
    )
    if archive.verify:
        _verify(tree, root, list(files.values()))
    return with_fingerprint(scene, [tree.sizes[file] for file in files.values()])


def _check_settings(archive: Archive) -> None:
    for setting in ("quality", "clear", "scale", "offset", "nodata"):
        if getattr(archive, setting) not in (None, ()):
            raise InputError(
                f"scenes.{setting} is not for Sentinel-1, whose products have their own "
                "calibration: leave it out"
            )


def _measurement_files(tree: Tree, root: str) -> dict[str, str]:
    # Polarisation → name of its measurement file.
    files = {}
    for name in tree.sizes:
        match = MEASUREMENT.fullmatch(name.removeprefix(root)) if name.startswith(root) else None
        if match:
            files[match["polarisation"] or match["short"]] = name
    return files


def _select(
    item: SceneItem, archive: Archive, bands: Sequence[str], files: Mapping[str, str]
) -> dict[str, str]:
    # Name of each requested band in the scene → its measurement file.
    files_by_name = {archive.bands.get(name, name): file for name, file in files.items()}
    require_bands(
        f"product {item.key}",
        [name for name in bands if name not in files_by_name],
        list(files_by_name),
        "download its other polarisations, as .tiff in measurement",
    )
    return {name: files_by_name[name] for name in bands or files_by_name}


def _open_band(tree: Tree, name: str, file: str, archive: Archive) -> Band:
    href = tree.href(file)
    swath = read_measurement(href).swath
    with open_raster(href) as dataset:
        if dataset.shape != (swath.height, swath.width) or dataset.dtypes[0] != "uint16":
            raise InputError(
                f"{redact_url(href)} holds {dataset.shape} of {dataset.dtypes[0]}, "
                "not what its annotation says"
            )
    calibration = archive.calibration
    unit = archive.units.get(name, calibration)
    return Band(name, href, dtype="float32", calibration=calibration, unit=unit)


def _stem(file: str) -> str:
    return file.rpartition("/")[2].removesuffix(".tiff")


def _verify(tree: Tree, root: str, files: Sequence[str]) -> None:
    # The measurements with their annotations.
    stems = [_stem(file) for file in files]
    annotations = [
        name
        for name in tree.sizes
        if "/annotation/" in f"/{name}" and any(stem in name for stem in stems)
    ]
    verify_product(tree, root, [*annotations, *files])


def _properties(annotation: Metadata, manifest: Metadata) -> dict[str, str]:
    return {
        "level": "GRD",
        "mode": annotation.text("adsHeader/mode"),
        "platform": f"sentinel-1{annotation.text('adsHeader/missionId')[-1].lower()}",
        "processing_baseline": _ipf_version(manifest),
        "relative_orbit": manifest.text(".//{*}relativeOrbitNumber"),
        "orbit_direction": annotation.text(".//productInformation/pass").lower(),
    }


def _ipf_version(manifest: Metadata) -> str:
    # The version of the Instrument Processing Facility.
    versions = [
        software.get("version") or ""
        for software in manifest.root.iterfind(".//{*}software")
        if software.get("name") == "Sentinel-1 IPF"
    ]
    numbers = manifest.numbers(versions[0] if versions else "", "version of the Sentinel-1 IPF")
    number = numbers[0] if numbers else 0.0
    if number <= _LAST_UNSCALED_IPF:
        version = (
            f"IPF {number:.2f}, not one after {_LAST_UNSCALED_IPF:.2f}"
            if versions
            else "no version of the IPF"
        )
        raise InputError(
            f"{redact_url(manifest.href)} names {version}: "
            "its noise tables are in another unit; take a later processing"
        )
    return versions[0]


SENTINEL1 = Source(
    "sentinel1", _accepts, _items, _read, prefixes=product_prefixes, named=product_files
)
