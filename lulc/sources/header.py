"""Headers of raster files, and scenes made of them: what all readers share."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Literal

import shapely

from lulc.bands import ALIASES, COMMON, Band
from lulc.config import Archive
from lulc.errors import InputError
from lulc.geo import areas
from lulc.geo.grid import Grid, footprint, is_on_earth, parse_crs
from lulc.location import is_address
from lulc.raster import access, reader
from lulc.raster.address import path_of, split_archive
from lulc.raster.pixels import is_alpha, is_real
from lulc.raster.stores import is_in_store
from lulc.redact import redact_url
from lulc.sources.scene import Scene
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables.files import file_identity, fingerprint_of

# GDAL's colour interpretations that name a band. Not gray, which any file of one band has.
_COLOURS = ("red", "green", "blue", "nir", "pan", "coastal")
_METRES_PER_DEGREE = 111_320  # at the equator


@dataclass(frozen=True)
class BandMetadata:
    """What a product's metadata or a STAC item gives for a band; None where it gives nothing."""

    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    kind: Literal["continuous", "class", "quality"] = "continuous"
    unit: str = ""
    """A `lulc.bands.Unit` of the physical values; empty where it is not known."""


@dataclass(frozen=True)
class Header:
    """A raster file's header; the tuples hold one entry per band."""

    href: str
    """The file's path or address."""
    grid: Grid
    """CRS, transform and size."""
    dtypes: tuple[str, ...]
    """numpy names of the data types."""
    nodatas: tuple[float | None, ...]
    """No data values, None where there is none."""
    scales: tuple[float, ...]
    """Scales; 1 where the file has none."""
    offsets: tuple[float, ...]
    """Offsets; 0 where the file has none."""
    descriptions: tuple[str | None, ...]
    """Band descriptions."""
    colours: tuple[str, ...]
    """GDAL's colour interpretations."""
    datetime_tag: str | None
    """The TIFF tag DateTime, `YYYY:MM:DD HH:MM:SS`."""

    @property
    def band_names(self) -> tuple[str, ...]:
        """Distinct band names: descriptions, else colour interpretations, else b1, b2, ….

        Every alpha band is named `alpha`.
        """
        names = [
            _band_name(colour, description)
            for colour, description in zip(self.colours, self.descriptions, strict=True)
        ]
        return tuple(
            name if name == "alpha" or (name and names.count(name) == 1) else f"b{index}"
            for index, name in enumerate(names, 1)
        )

    def band(
        self,
        name: str,
        index: int,
        archive: Archive | None = None,
        metadata: BandMetadata | None = None,
    ) -> Band:
        """Describe a band of the file as a band of a scene.

        Args:
            name: The band's name in the scene.
            index: Band number in the file, from 1.
            archive: The run file's scale, offset, nodata and units, which come before all others.
            metadata: The product's or item's, which come before the file's.

        Raises:
            InputError: There is no such band, it is complex, or its scale or offset is unusable.
        """
        if not 1 <= index <= len(self.dtypes):
            raise InputError(
                f"{redact_url(self.href)} has {len(self.dtypes)} bands: "
                f"there is no band {index} for {name!r}"
            )
        dtype = self.dtypes[index - 1]
        if not is_real(dtype):
            raise InputError(
                f"{redact_url(self.href)} band {index} is of type {dtype}: real numbers can be read"
            )
        scale, offset = self.scales[index - 1], self.offsets[index - 1]
        nodata = self.nodatas[index - 1]
        for settings in (metadata, archive):
            if settings is not None:
                scale = scale if settings.scale is None else settings.scale
                offset = offset if settings.offset is None else settings.offset
                nodata = nodata if settings.nodata is None else settings.nodata
        if not scale or not math.isfinite(scale) or not math.isfinite(offset):
            raise InputError(
                f"band {name!r} of {redact_url(self.href)} has scale {scale} and offset {offset}: "
                "give the true ones under scenes.scale and offset"
            )
        kind = metadata.kind if metadata else "continuous"
        unit = metadata.unit if metadata else ""
        unit = archive.units.get(name, unit) if archive else unit
        return Band(name, self.href, index, dtype, scale, offset, nodata, kind, unit=unit)

    def quality_band(self, name: str, index: int = 1) -> Band:
        """Describe a band of the file as a quality band, to which no scale of the run applies.

        Args:
            name: The band's name in the scene.
            index: Band number in the file, from 1.
        """
        return self.band(name, index, metadata=BandMetadata(kind="quality"))


def _band_name(colour: str, description: str | None) -> str:
    # "" where the file names the band neither way.
    if is_alpha(colour, description):
        return "alpha"
    if description:
        return plain_name(description)
    return colour if colour in _COLOURS else ""


def open_header(href: str) -> Header:
    """Read the header of a raster file; no pixels are read.

    Raises:
        InputError: The file cannot be opened, has no CRS, or its CRS cannot be true.
    """
    with access.open_raster(href) as dataset:
        header = Header(
            href=href,
            grid=reader.grid_of(dataset),
            dtypes=tuple(dataset.dtypes),
            nodatas=tuple(dataset.nodatavals),
            scales=tuple(dataset.scales),
            offsets=tuple(dataset.offsets),
            descriptions=tuple(dataset.descriptions),
            colours=tuple(colour.name for colour in dataset.colorinterp),
            datetime_tag=dataset.tags().get("TIFFTAG_DATETIME"),
        )
    if not is_on_earth(header.grid):
        crs, bounds = header.grid.crs[:40], header.grid.bounds
        raise InputError(
            f"{redact_url(href)} says its CRS is {crs}, but its corners lie at {bounds}: "
            "give it its true CRS"
        )
    return header


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: The text is not JSON, or nested deeper than any true metadata.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def parse_number(number: Any) -> float | None:
    """Return a number of JSON metadata (also `"nan"`) as a float, None where there is none."""
    return None if number is None else float(number)


def plain_name(text: str) -> str:
    """Return a band name as a common name; a name that is not one is unchanged.

    >>> plain_name("SCL"), plain_name("Red"), plain_name("B8A")
    ('quality', 'red', 'B8A')
    """
    lower = text.strip().lower()
    return ALIASES.get(lower, lower if lower in COMMON else text.strip())


def require_bands(
    owner: str, missing: Sequence[str], available: Sequence[str], remedy: str
) -> None:
    """Check that a scene has the requested bands, and any band at all.

    Args:
        owner: The scene, product or file, for messages.
        missing: Names of requested bands that it lacks.
        available: Its bands, as messages name them.
        remedy: What the user may do.

    Raises:
        InputError: A band is missing, or there is none.
    """
    if missing:
        content = f"no band {', '.join(missing)}; it has {', '.join(available) or 'no other'}"
        raise InputError(f"{owner} has {content}: {remedy}")
    if not available:
        raise InputError(f"{owner} has no band that can be read: {remedy}")


def make_scene(
    scene_id: str,
    source: str,
    acquired: datetime | None,
    bands: Sequence[tuple[Band, Header]],
    **fields: Any,
) -> Scene:
    """Make the Scene of these bands.

    CRS, footprint and pixel side are those of its finest band. A pixel is valid where all bands
    are, so the finest band's footprint misses nothing.

    Args:
        scene_id: The scene's id.
        source: Name of its Source.
        acquired: When it was acquired, None for a layer.
        bands: Its bands with the headers of their files.
        **fields: Further fields of the Scene: cloud, clear, properties.

    Raises:
        InputError: The footprints of two bands are disjoint.
    """
    by_grid: dict[Grid, Header] = {}
    for band, header in bands:
        if band.kind != "quality":
            by_grid.setdefault(header.grid, header)
    headers = sorted(by_grid.values(), key=lambda header: _pixel_side(header.grid))
    finest = headers[0]
    outline = footprint(finest.grid)
    for header in headers[1:]:
        if outline.disjoint(footprint(header.grid)):
            raise InputError(
                f"{redact_url(finest.href)} and {redact_url(header.href)} are bands of one scene "
                "but lie apart: one of them has a wrong CRS"
            )
    return Scene(
        scene_id,
        source,
        acquired,
        finest.grid.crs,
        shapely.to_wkb(outline),
        tuple(band for band, _ in bands),
        gsd_m=_pixel_side(finest.grid),
        **fields,
    )


def _pixel_side(grid: Grid) -> float:
    # Metres: at the equator for rotated grids in degrees, else at the grid's centre.
    if parse_crs(grid.crs).is_geographic and (grid.transform[1] or grid.transform[3]):
        return math.sqrt(math.prod(grid.resolution)) * _METRES_PER_DEGREE
    centre = grid.window(grid.height // 2, grid.width // 2, 1, 1)
    return math.sqrt(float(areas.pixel_areas(centre)[0, 0]))


def with_fingerprint(scene: Scene, content: object = None) -> Scene:
    """Return the scene with its fingerprint.

    It is made of the scene's record, `content`, and the sizes and change times of its files, of
    objects in a store their etags too: one request a file. Files on the web are not asked for
    theirs: they count as what the item says of them.
    Folders are left out, so that an archive that moves keeps its fingerprints, and a true copy of a
    scene has the same one.

    Args:
        scene: The scene, complete but for the fingerprint.
        content: Further content that counts, such as the STAC item.
    """
    # What is computed from the files is left out: another release of PROJ may differ in the last
    # digit.
    computed = ("footprint", "gsd_m", "fingerprint")
    record = {name: field for name, field in asdict(scene).items() if name not in computed}
    for band in record["bands"]:
        band["href"] = PurePosixPath(path_of(band["href"])).name
    paths = sorted({split_archive(band.href)[0] for band in scene.bands})
    identities = [identity[1:] for path in paths if (identity := href_identity(path))]
    return replace(
        scene, fingerprint=fingerprint_of(OUTPUT_VERSIONS["index"], record, content, identities)
    )


def href_identity(href: str) -> list[object]:
    """Return the identity of the file at an href, as `file_identity` gives it.

    Returns:
        Nothing of a file on the web, and of one that is not there.
    """
    if is_address(href) and not is_in_store(href):
        return []
    try:
        return file_identity(href)
    except FileNotFoundError:
        return []
