"""What the page of a run asks for: one address for everything, and what is there.

    index.html, *.js, *.css          the page, and MapLibre GL JS
    map.json                         what the map holds, see `Site.describe`
    regions.json                     name and level of every region
    regions/<n>.json                 areas and changes of 256 regions
    regions.pmtiles                  outlines of all regions as vector tiles
    tiles/<kind>-<period>/<z>/<x>/<y>.<png or webp>     a tile, of a server
    tiles/<kind>-<period>.pmtiles    all tiles of a layer, of an export

Addresses are relative: the page may lie in any folder of a web server or object store.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lulc.config import Config
from lulc.errors import LulcError
from lulc.explorer import regions, tiles
from lulc.explorer.colours import find_colours
from lulc.explorer.layer import Layer
from lulc.explorer.regions import Regions
from lulc.legend import Legend
from lulc.location import Location
from lulc.maps.of_run import legend_of_run, rasters_of_run
from lulc.tables import store

REGION_TILES = "regions.pmtiles"
_NAMES = "regions.json"
_AREAS = re.compile(r"regions/(0|[1-9]\d{0,8})\.json", re.ASCII)
_PAGE = Path(__file__).parent / "page"
_MAPLIBRE = ("maplibre-gl.js", "maplibre-gl.css")


@dataclass(frozen=True)
class Site:
    """The page of a run, and all that it asks for."""

    name: str
    """The run's."""
    legend: Legend
    layers: tuple[Layer, ...]
    """The maps by period, and true colours after them."""
    regions: Regions | None
    page_files: Mapping[str, Path]
    """Address → file of the page's own files and of MapLibre."""
    scratch: Path
    """A folder on this machine's disk for the regions' tiles, which are made when asked for."""
    _making: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def describe(self, archives: bool) -> dict[str, Any]:
        """Return what the map holds, for `map.json`.

        Args:
            archives: whether the tiles of a layer lie in one PMTiles archive.

        Returns:
            `name`; `bounds` of the maps in degrees; `classes` (id, name, colour); `layers` (kind,
            period, zooms, format of the tiles, and `archive`); `ramp`, the colours of 0 to 100 per
            cent; `regions`.
        """
        boxes = [layer.bounds for layer in self.layers if layer.kind == tiles.CLASSES]
        west, south, east, north = zip(*boxes, strict=True)
        return {
            "name": self.name,
            "bounds": [min(west), min(south), max(east), max(north)],
            "classes": [
                {"id": entry.id, "name": entry.name, "colour": entry.colour}
                for entry in self.legend.classes
            ],
            "ramp": ["#" + bytes(colour[:3]).hex() for colour in tiles.percent_palette().values()],
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "period": layer.period,
                    "bounds": layer.bounds,
                    "minZoom": layer.min_zoom,
                    "maxZoom": layer.max_zoom,
                    "format": layer.suffix,
                    "archive": archive_of(layer) if archives else None,
                }
                for layer in self.layers
            ],
            "regions": None
            if self.regions is None
            else {
                "count": self.regions.count,
                "levels": self.regions.levels,
                "perFile": regions.PER_FILE,
                "minZoom": self.regions.min_zoom,
                "maxZoom": self.regions.max_zoom,
            },
        }

    def layer(self, name: str, suffix: str) -> Layer | None:
        """Return the layer of a name and a format, None if there is none."""
        named = (layer for layer in self.layers if (layer.name, layer.suffix) == (name, suffix))
        return next(named, None)

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """Yield address and content of all JSON files but `map.json`."""
        if self.regions is not None:
            yield _NAMES, to_json(self.regions.list_names())
            for number in regions.file_numbers(self.regions.count):
                yield f"regions/{number}.json", to_json(self.regions.describe(number))

    def document(self, address: str) -> bytes | None:
        """Return a JSON file that `documents` yields, None of any other address.

        It tells the tables as they were when the page was opened.
        """
        if self.regions is None:
            return None
        if address == _NAMES:
            return to_json(self.regions.list_names())
        match = _AREAS.fullmatch(address)
        if match is None or int(match[1]) not in regions.file_numbers(self.regions.count):
            return None
        return to_json(self.regions.describe(int(match[1])))

    def region_tiles(self) -> Path:
        """Return the file of the regions' vector tiles, which the first call makes."""
        assert self.regions is not None
        path = self.scratch / REGION_TILES
        with self._making:
            if not path.exists():
                self.regions.write_tiles(path)
        return path

    def prepare(self) -> None:
        """Make what a first view asks for, so that the first browser need not wait for it."""
        with contextlib.suppress(LulcError):  # which is told when it is asked for
            newest = [layer for layer in self.layers if layer.kind == tiles.CLASSES][-1]
            newest.tile(newest.min_zoom, *next(newest.tiles(newest.min_zoom)))
            if self.regions is not None:
                self.region_tiles()


def archive_of(layer: Layer) -> str:
    """Return the address of the archive that holds all tiles of a layer."""
    return f"tiles/{layer.name}.pmtiles"


def open_site(config: Config, out: Location, scratch: Path, true_colours: bool = False) -> Site:
    """Return the page of a run.

    Args:
        config: the run.
        out: its output location.
        scratch: an empty folder on this machine's disk.
        true_colours: whether the run's chips can be shown below its maps.

    Raises:
        InputError: the run has no map, or true colours are wanted that its chips do not have.
        ModuleNotFoundError: the package that brings MapLibre is not installed.
    """
    areas = store.read_table(out, "class_areas", ["class_id", "class_name"])
    rasters = rasters_of_run(config, out)
    legend = legend_of_run(config, areas, [path for paths in rasters.values() for path in paths])
    maps = tiles.find_layers(config, out, rasters, legend)
    layers = (*maps, *(find_colours(out) if true_colours else ()))
    return Site(config.name, legend, layers, regions.read_regions(out), _find_page_files(), scratch)


def to_json(content: Any) -> bytes:
    """Return a value as compact JSON in UTF-8."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _find_page_files() -> dict[str, Path]:
    # MapLibre's as the package keeps them; importing it would load all that it draws maps with.
    spec = find_spec("maplibre")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'maplibre'", name="maplibre")
    own = {path.name: path for path in sorted(_PAGE.iterdir()) if path.is_file()}
    return own | {name: Path(spec.origin).parent / "srcjs" / name for name in _MAPLIBRE}
