"""What every source shares: Item and Source, the header of a raster file, and a Scene made of headers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import shapely

from lulc.bands import ALIASES, COMMON, Band
from lulc.config import Archive
from lulc.errors import InputError
from lulc.geo import areas
from lulc.geo.grid import Grid, footprint, is_placed, parse_crs
from lulc.raster import access, reader
from lulc.raster.access import INSIDE
from lulc.raster.reader import is_real
from lulc.redact import redact_url
from lulc.sources.scene import Clear, Scene
from lulc.tables.files import file_identity, fingerprint_of

# GDAL's colour interpretations that name a band. Not gray, which any file of one band has.
_COLOURS = ("red", "green", "blue", "nir", "pan", "coastal", "alpha")


@dataclass(frozen=True)
class Header:
    """What a raster file says of itself; the tuples hold one value a band."""

    href: str
    grid: Grid
    dtypes: tuple[str, ...]
    nodatas: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    descriptions: tuple[str | None, ...]
    colours: tuple[str, ...]
    taken: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Band names: descriptions, else what the colour interpretation says, else b1, b2, …; always distinct."""
        named = tuple(
            plain_name(d) if d else c if c in _COLOURS else ""
            for d, c in zip(self.descriptions, self.colours, strict=True)
        )
        return tuple(n if n and named.count(n) == 1 else f"b{i}" for i, n in enumerate(named, 1))

    def band(self, name: str, index: int, archive: Archive, said: dict[str, Any]) -> Band:
        """The file's band as a scene's: what the archive fixes comes first, then what is `said` of it, then the file's values."""
        if not 1 <= index <= len(self.dtypes):
            raise InputError(
                f"{redact_url(self.href)} has {len(self.dtypes)} bands: there is no band {index} for {name!r}"
            )
        if not is_real(self.dtypes[index - 1]):
            raise InputError(
                f"{redact_url(self.href)} band {index} is of type {self.dtypes[index - 1]}: real numbers can be read"
            )
        own = {
            "scale": self.scales[index - 1],
            "offset": self.offsets[index - 1],
            "nodata": self.nodatas[index - 1],
        }
        fixed = {n: getattr(archive, n) for n in own if getattr(archive, n) is not None}
        known = own | {n: v for n, v in said.items() if v is not None} | fixed
        if (
            not known["scale"]
            or not math.isfinite(known["scale"])
            or not math.isfinite(known["offset"])
        ):
            has = f"scale {known['scale']} and offset {known['offset']}"
            raise InputError(
                f"band {name!r} of {redact_url(self.href)} has {has}: give the true ones under scenes.scale and offset"
            )
        return Band(name, self.href, index, self.dtypes[index - 1], **known)


def open_header(href: str) -> Header:
    """The header of a raster file, its pixels unread; InputError where it has no CRS or its CRS cannot be true."""
    with access.open_raster(href) as data:
        if data.crs is None:
            raise InputError(
                f"{redact_url(href)} has no CRS: write the true one into it, for example with gdal_edit.py -a_srs"
            )
        found = Header(
            href,
            reader.grid_of(data),
            tuple(data.dtypes),
            tuple(data.nodatavals),
            tuple(data.scales),
            tuple(data.offsets),
            tuple(data.descriptions),
            tuple(c.name for c in data.colorinterp),
            data.tags().get("TIFFTAG_DATETIME"),
        )
    if not is_placed(found.grid):
        where = f"is {found.grid.crs[:40]}, but its corners lie at {found.grid.bounds}"
        raise InputError(f"{redact_url(href)} says its CRS {where}: give it its true CRS")
    return found


def parse_json(text: str | bytes) -> Any:
    """What the JSON holds; ValueError where it is none, or is nested deeper than any that is true."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def plain_name(text: str) -> str:
    """A band name in common words: `SCL` → quality, `Red` → red; a name that is not common stays as it is."""
    lower = text.strip().lower()
    return ALIASES.get(lower, lower if lower in COMMON else text.strip())


def make_scene(
    scene_id: str,
    source: str,
    taken: datetime | None,
    bands: Sequence[tuple[Band, Header]],
    **rest: Any,
) -> Scene:
    """The Scene of these bands: CRS, footprint and pixel side are those of its finest band; InputError where bands lie apart.

    A pixel is usable where all bands are, so the finest band's footprint misses nothing.
    """
    headers = sorted((h for b, h in bands if b.kind != "quality"), key=lambda h: _side_m(h.grid))
    grid = headers[0].grid
    outline = footprint(grid)
    for other in {h.grid: h for h in headers if h.grid != grid}.values():
        if outline.disjoint(footprint(other.grid)):
            which = f"{redact_url(headers[0].href)} and {redact_url(other.href)}"
            raise InputError(
                f"{which} are bands of one scene but lie apart: one of them has a wrong CRS"
            )
    found = tuple(b for b, _ in bands)
    return Scene(
        scene_id,
        source,
        taken,
        grid.crs,
        shapely.to_wkb(outline),
        found,
        gsd_m=_side_m(grid),
        **rest,
    )


def _side_m(grid: Grid) -> float:
    if parse_crs(grid.crs).is_geographic and (grid.transform[1] or grid.transform[3]):
        return math.sqrt(math.prod(grid.resolution)) * 111_320
    return math.sqrt(
        float(areas.pixel_areas(grid.window(grid.height // 2, grid.width // 2, 1, 1))[0, 0])
    )


def with_fingerprint(scene: Scene, content: object = None) -> Scene:
    """The scene with a fingerprint of its record, its item's content and its local files' names, sizes and change times.

    Folders are left out, so that an archive that moves keeps its fingerprints, and a true copy of a scene has the same one.
    """
    # What is computed from the files is left out: another release of PROJ may differ in the last digit.
    record = {
        k: v for k, v in asdict(scene).items() if k not in ("footprint", "gsd_m", "fingerprint")
    }
    for band in record["bands"]:
        band["href"] = PurePosixPath(urlsplit(band["href"]).path).name
    files = [
        file_identity(h)[1:]
        for h in sorted({b.href.partition(INSIDE)[0] for b in scene.bands})
        if Path(h).exists()
    ]
    return replace(scene, fingerprint=fingerprint_of(record, content, files))


_DAY = re.compile(
    r"(?<!\d)(\d{4})([-_]?)(\d{2})\2(\d{2})(?:[T_-]?(\d{2}):?(\d{2}):?(\d{2}))?(?!\d)"
)


def find_date(text: str) -> datetime | None:
    """The first date (and time of day, where it follows) that stands in a name: 20230514, 2023-05-14, 20230514T101031; UTC."""
    for year, _, month, day, *clock in _DAY.findall(text):
        for hour, minute, second in (map(int, (c or "0" for c in clock)), (0, 0, 0)):
            try:
                found = datetime(int(year), int(month), int(day), hour, minute, second, tzinfo=UTC)
            except ValueError:
                continue
            if 1900 <= found.year < 2100:
                return found
    return None


def quality_tests(archive: Archive) -> tuple[Clear, ...]:
    """What band `quality` must say by the run file; where it gives no codes: anything but 0, no data in every scheme in use."""
    return (
        Clear("quality", archive.clear) if archive.clear else Clear("quality", (0,), refused=True),
    )
