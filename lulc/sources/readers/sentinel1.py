"""Scenes from Sentinel-1 GRD products (IW, EW, SM) as Copernicus delivers them: SAFE folders and zips.

Layout: Sentinel-1 Product Specification, S1-RS-MDA-52-7441.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import shapely

from lulc.bands import Band
from lulc.config import Archive
from lulc.errors import InputError
from lulc.geo.grid import WGS84
from lulc.raster.access import open_raster
from lulc.redact import redact_url
from lulc.sources.checksums import verify_product
from lulc.sources.header import with_fingerprint
from lulc.sources.product import Tree
from lulc.sources.safe import find_products, list_products, open_product, plain_stem
from lulc.sources.scene import Scene
from lulc.sources.sentinel1_grd import MEASUREMENT, annotation, read_measurement
from lulc.sources.source import SceneItem, Source
from lulc.sources.xml import Metadata, read_xml

_PRODUCT = r"S1[A-Z]_[A-Z0-9]{2}_GRD[A-Z_]_[^/]*"
_MARK = r"annotation/s1[a-z]-[a-z0-9]+-grd-[^/]*\.xml"
# Noise tables of processors up to this one are in another unit: ESA, Masking "No-value" Pixels on GRD Products (MPC-0243).
_LAST_UNSCALED_IPF = 2.5


def _accepts(archive: Archive, names: Sequence[str]) -> bool:
    """Whether there is a Sentinel-1 GRD product, where the run file gives no pattern of file names."""
    return not archive.pattern and bool(find_products(names, _PRODUCT, _MARK))


def _items(archive: Archive) -> Iterator[SceneItem]:
    """The archive's products, folders and zips, in order."""
    return list_products(archive, _PRODUCT, _MARK)


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    """The product's Scene: one band a polarisation (`vv`, `vh`, …) of those named, all where none is; values are backscatter.

    CRS and footprint are those of the tie points, EPSG:4326. InputError where a polarisation is not there, a file is damaged, or
    the run file gives what the product's own tables settle.
    """
    given = [
        n
        for n in ("quality", "clear", "scale", "offset", "nodata")
        if getattr(archive, n) not in (None, ())
    ]
    if given:
        raise InputError(
            f"scenes.{given[0]} is not for Sentinel-1, whose tables calibrate it: leave it out"
        )
    tree, root = open_product(item, _MARK)
    files = _files(tree, root)
    named = {archive.bands.get(name, name): name for name in files}
    missing = [name for name in bands if name not in named]
    if missing or not named:
        raise InputError(
            f"product {item.key} has no band {', '.join(missing)}; it has {', '.join(named) or 'none'}"
        )
    chosen = {name: files[named[name]] for name in bands or named}
    found = []
    for name, file in chosen.items():
        href = tree.href(file)
        swath = read_measurement(href).swath
        with open_raster(href) as data:
            if data.shape != (swath.height, swath.width) or data.dtypes[0] != "uint16":
                raise InputError(
                    f"{redact_url(href)} holds {data.shape} of {data.dtypes[0]}, not what its annotation says"
                )
        found.append(Band(name, href, dtype="float32", calibration=archive.calibration))
    main = annotation(tree, root, file.rpartition("/")[2].removesuffix(".tiff"))
    if f"{root}manifest.safe" not in tree.sizes:
        raise InputError(f"{redact_url(item.path)} has no manifest.safe: fetch the product anew")
    manifest = read_xml(tree, f"{root}manifest.safe")
    sides = [
        main.number(f".//imageInformation/{tag}")
        for tag in ("rangePixelSpacing", "azimuthPixelSpacing")
    ]
    scene = Scene(
        plain_stem(root.rstrip("/") or item.path),
        SENTINEL1.name,
        main.time("adsHeader/startTime"),
        WGS84,
        shapely.to_wkb(swath.outline()),
        tuple(found),
        gsd_m=math.sqrt(math.prod(sides)),
        properties=tuple(_properties(main, manifest).items()),
    )
    if archive.verify:
        stems = [file.rpartition("/")[2].removesuffix(".tiff") for file in chosen.values()]
        tables = [
            name
            for name in tree.sizes
            if "/annotation/" in f"/{name}" and any(stem in name for stem in stems)
        ]
        verify_product(tree, root, [*tables, *chosen.values()])
    return with_fingerprint(scene, [tree.sizes[file] for file in chosen.values()])


def _files(tree: Tree, root: str) -> dict[str, str]:
    # Polarisation → name of its measurement file.
    inside = {
        name: MEASUREMENT.fullmatch(name.removeprefix(root))
        for name in tree.sizes
        if name.startswith(root)
    }
    return {match["polarisation"]: name for name, match in inside.items() if match}


def _properties(main: Metadata, manifest: Metadata) -> dict[str, str]:
    versions = [
        e.get("version") or ""
        for e in manifest.root.iterfind(".//{*}software")
        if e.get("name") == "Sentinel-1 IPF"
    ]
    version = manifest.numbers(
        versions[0] if versions else "", "version of the Sentinel-1 IPF"
    ) or [0.0]
    if version[0] <= _LAST_UNSCALED_IPF:
        said = (
            f"IPF {version[0]:.2f}, not one after {_LAST_UNSCALED_IPF:.2f}"
            if versions
            else "no version of the IPF"
        )
        raise InputError(
            f"{redact_url(manifest.href)} names {said}: its noise tables are in another unit; take a later processing"
        )
    return {
        "level": "GRD",
        "mode": main.text("adsHeader/mode"),
        "platform": f"sentinel-1{main.text('adsHeader/missionId')[-1].lower()}",
        "processing_baseline": versions[0],
        "relative_orbit": manifest.text(".//{*}relativeOrbitNumber"),
        "orbit_direction": main.text(".//productInformation/pass").lower(),
    }


SENTINEL1 = Source("sentinel1", _accepts, _items, _read)
