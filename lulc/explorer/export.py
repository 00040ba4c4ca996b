"""The page of a run as files, which any web server or object store gives to browsers.

The tiles of a layer are one PMTiles archive: a browser reads parts of it by range requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import batched, chain, compress
from pathlib import Path

from lulc import progress
from lulc.errors import InputError, UsageError
from lulc.explorer.layer import Layer
from lulc.explorer.site import REGION_TILES, Site, archive_of, to_json
from lulc.explorer.tiles import CLASSES
from lulc.location import Location
from lulc.tables import files

_MAP = "map.json"
_READERS = 4  # tiles that are made at once
_AT_ONCE = 256  # tiles that are held


def export_site(site: Site, folder: Location) -> int:
    """Write the page and all that it asks for; layers without a pixel are told and left out.

    Args:
        site: the page.
        folder: where it is to lie; one that is there holds an earlier export, or nothing.

    Returns:
        How many tiles were written.

    Raises:
        UsageError: the folder holds anything else.
        InputError: a map cannot be read, or none has a pixel.
        SetupError: the disk is full.
    """
    if not files.exists(folder / _MAP) and any(folder.glob("*")):
        raise UsageError(
            f"{folder} holds other files: give --export a new or empty folder, or one that an "
            "earlier export wrote"
        )
    counts = [write_archive(layer, folder / archive_of(layer)) for layer in site.layers]
    site = replace(site, layers=tuple(compress(site.layers, counts)))
    if not any(layer.kind == CLASSES for layer in site.layers):
        raise InputError("no map of the run has a pixel: nothing to show")
    for address, content in site.documents():
        _write(folder / address, content)
    if site.regions is not None:
        _write(folder / REGION_TILES, site.region_tiles().read_bytes())
    for address, path in site.page_files.items():
        _write(folder / address, path.read_bytes())
    # The description last: with it an export is whole.
    _write(folder / _MAP, to_json(site.describe(archives=True)))
    return sum(counts)


def write_archive(layer: Layer, location: Location) -> int:
    """Write all tiles of a layer, one PMTiles archive; there is none of a layer without a pixel.

    Args:
        layer: the layer.
        location: of the archive; it is replaced at once when it is complete.

    Returns:
        How many tiles have pixels.
    """
    from pmtiles.tile import Compression, TileType, zxy_to_tileid
    from pmtiles.writer import Writer

    west, south, east, north = layer.bounds
    header = {
        "tile_type": TileType[layer.suffix.upper()],
        "tile_compression": Compression.NONE,
        "min_lon_e7": round(west * 1e7),
        "min_lat_e7": round(south * 1e7),
        "max_lon_e7": round(min(east, 180.0) * 1e7),
        "max_lat_e7": round(north * 1e7),
        "center_zoom": layer.min_zoom,
    }
    tiles = _make_tiles(layer)
    first = next(tiles, None)
    if first is None:
        progress.say(f"the map {layer.name} has no pixel: it is left out")
        files.remove(location)
        return 0
    count = 0

    def write(path: Path) -> None:
        nonlocal count
        with path.open("wb") as file:
            writer = Writer(file)
            for (zoom, col, row), png in chain([first], tiles):
                writer.write_tile(zxy_to_tileid(zoom, col, row), png)
                count += 1
            writer.finalize(header, {"name": layer.name, "type": "overlay", "format": layer.suffix})

    files.write_atomic(location, write)
    return count


def _make_tiles(layer: Layer) -> Iterator[tuple[tuple[int, int, int], bytes]]:
    # In the order of the archive: by zoom, and along the Hilbert curve of each.
    from pmtiles.tile import zxy_to_tileid

    done = 0
    with (
        ThreadPoolExecutor(_READERS) as pool,
        progress.bar(_count(layer), f"tiles of {layer.name}") as show,
    ):
        for zoom in range(layer.min_zoom, layer.max_zoom + 1):
            cells = sorted(layer.tiles(zoom), key=lambda cell: zxy_to_tileid(zoom, *cell))
            for some in batched(cells, _AT_ONCE):
                tiles = pool.map(lambda cell, zoom=zoom: layer.tile(zoom, *cell), some)
                for cell, png in zip(some, tiles, strict=True):
                    done += 1
                    show(done, 0)
                    if png is not None:
                        yield (zoom, *cell), png


def _count(layer: Layer) -> int:
    return sum(
        sum(1 for _ in layer.tiles(zoom)) for zoom in range(layer.min_zoom, layer.max_zoom + 1)
    )


def _write(location: Location, content: bytes) -> None:
    files.write_atomic(location, lambda path: path.write_bytes(content))
