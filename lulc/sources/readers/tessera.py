"""Scenes from TESSERA's tiles, as `geotessera download` writes them.

Layout (geotessera, docs/architecture.rst): `global_0.1_degree_representation/YEAR/GRID/GRID.npy`
with `GRID_scales.npy` beside it and `global_0.1_degree_tiff_all/GRID.tiff` to place it, where GRID
is `grid_LON_LAT`; or as GeoTIFF of values, `GRID_YEAR.tiff` in the same folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from lulc.bands import Band
from lulc.config import Archive
from lulc.errors import InputError
from lulc.location import parse_location, relative_name
from lulc.redact import redact_url
from lulc.sources import embeddings
from lulc.sources.header import (
    Header,
    href_identity,
    make_scene,
    open_header,
    require_bands,
    with_fingerprint,
)
from lulc.sources.listing import list_archive
from lulc.sources.readers.alphaearth import check_settings, year_of
from lulc.sources.scene import Scene
from lulc.sources.source import SceneItem, Source, beside

_GRID = r"grid_-?\d+\.\d\d_-?\d+\.\d\d"
_NUMBERS = re.compile(rf"(?:.*/)?global_0\.1_degree_representation/(?:19|20)\d\d/({_GRID})/\1\.npy")
_VALUES = re.compile(rf"(?:.*/)?(?:19|20)\d\d/({_GRID})/\1_(?:19|20)\d\d\.tiff?")


def _accepts(archive: Archive, names: Sequence[str]) -> bool:
    # Whether there is a tile in its folders, where no pattern says otherwise.
    root = str(archive.path).rstrip("/")
    return not archive.pattern and any(_is_tile(f"{root}/{name}") for name in names)


def _is_tile(path: str) -> bool:
    return bool(_NUMBERS.fullmatch(path) or _VALUES.fullmatch(path))


def _items(archive: Archive) -> Iterator[SceneItem]:
    # The tiles; of one in both forms that of numbers.
    path = parse_location(archive.path).absolute()
    root = path if path.is_dir() else path.parent
    names = list_archive(path).names if path.is_dir() else [path.name]
    files = [file for name in names if _is_tile((file := root / name).as_posix())]
    if not files:
        is_zarr = any(PurePosixPath(name).name in ("zarr.json", ".zgroup") for name in names)
        found = "a Zarr store, which is not read" if is_zarr else "no tile of TESSERA"
        raise InputError(
            f"archive {archive.path} holds {found}: fetch tiles with `geotessera download`, as "
            "GeoTIFF (--format tiff) or npy, and name the folder that it wrote"
        )
    numbers = {str(file.parent) for file in files if file.suffix == ".npy"}
    for file in files:
        if file.suffix == ".npy" or str(file.parent) not in numbers:
            yield SceneItem(str(file), relative_name(file.with_suffix(""), root))


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    # Bands e0 to e127, whose time is the middle of the year.
    check_settings(archive, "TESSERA", item)
    is_numbers = item.path.endswith(".npy")
    header = open_header(embeddings.landmask_of(item.path) if is_numbers else item.path)
    channels = (
        embeddings.count_channels(item.path, header.grid) if is_numbers else len(header.dtypes)
    )
    indexes = {archive.bands.get(f"e{n}", f"e{n}"): n + 1 for n in range(channels)}
    require_bands(
        f"tile {redact_url(item.path)}",
        [name for name in bands if name not in indexes],
        [f"e0 to e{channels - 1}"],
        "choose among these",
    )
    scene_bands = [
        (_make_band(name, item.path, header, index), header)
        for name, index in indexes.items()
        if not bands or name in bands
    ]
    scene = make_scene(item.key, TESSERA.name, year_of(item, archive), scene_bands)
    beside_numbers = (embeddings.scales_of(item.path), header.href) if is_numbers else ()
    return with_fingerprint(scene, [href_identity(path)[1:] for path in beside_numbers])


def _make_band(name: str, path: str, header: Header, index: int) -> Band:
    if path.endswith(".npy"):
        return Band(name, path, index, dtype="float32", calibration="tessera", unit="index")
    return replace(header.band(name, index), unit="index")


def _prefixes(item: SceneItem) -> Iterator[str]:
    yield beside(item.path)
    if item.path.endswith(".npy"):
        yield embeddings.scales_of(item.path)
        yield embeddings.landmask_of(item.path)


TESSERA = Source("tessera", _accepts, _items, _read, prefixes=_prefixes)
