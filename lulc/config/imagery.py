"""Keys of what is read and how it is put on a grid: scenes, layers, tiling, composites."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from lulc.bands import Resampling, Unit
from lulc.config.kinds import (
    Condition,
    Count,
    Day,
    Flag,
    Name,
    Number,
    SourceName,
    Stored,
    Text,
    Whole,
    strict,
)


@dataclass(frozen=True, config=strict)
class Search:
    """A search for scenes in a catalogue."""

    catalogue: str
    """Address of a STAC API or static catalogue, path or address of a table of STAC items
    (`.parquet`), or a name: `copernicus`, `earth-search`, `planetary-computer`, `usgs`, `linz`."""
    collections: Annotated[tuple[str, ...], Field(min_length=1)]
    """Ids of the collections to search; one or more."""
    bbox: str | None = None
    """Box `xmin,ymin,xmax,ymax` in degrees. Default: the run's `area`."""
    time: (
        Annotated[str, Field(pattern=r"^(\d{4}-\d\d-\d\d|\.\.)(/(\d{4}-\d\d-\d\d|\.\.))?$")] | None
    ) = None
    """A day, or days as `2023-01-01/2023-12-31`, with `..` for an open end. Default: the run's
    `periods`."""
    max_cloud: Annotated[Number, Field(ge=0, le=100)] | None = None
    """Highest cloud cover, in per cent. Scenes without a cloud cover are then left out as well.
    Default: no limit."""

    @property
    def is_of_table(self) -> bool:
        """Whether the catalogue is a table of STAC items."""
        return self.catalogue.endswith((".parquet", ".geoparquet"))


DEFAULT_MASK: tuple[Condition, ...] = ("cloud", "shadow", "cirrus", "saturated")


@dataclass(frozen=True, config=strict)
class Archive:
    """A folder, product or catalogue file that holds scenes, or a search for them."""

    path: str = ""
    """Path or address of the scenes. With a search: the file that stores its result, a table
    (`.parquet`), by default one in the output folder."""
    source: SourceName = "auto"
    """Kind of the scenes: `landsat`, `modis`, `openaerialmap`, `sentinel1`, `sentinel2`, `stac`,
    `stac-geoparquet` (a table of items), `geotiff`, or the embeddings `alphaearth` and `tessera`.
    `auto` recognises it by the files."""
    pattern: str | None = None
    """For `geotiff`: pattern of the file names, or with a `/` of the paths, such as
    `{scene}_{date}_{band}.tif` or `{year}/{scene}.tif`. Its fields: `scene`, `band`, and for the
    time `date`, `year`, `month`, `day`, `doy` (day of the year), `start` and `end`. The time of a
    span is its middle."""
    date: (
        Annotated[
            str,
            BeforeValidator(str),
            Field(pattern=r"^(tag|\d{4}(-\d\d){0,2}(/\d{4}(-\d\d){0,2})?)$"),
        ]
        | None
    ) = None
    """For `geotiff`, `stac` and embeddings: year, month or day of all scenes, or first and last as
    `2023-01/2023-03`; `tag` for GeoTIFF files whose tag DateTime is the time of acquisition.
    Default: the files' names, and the items' own time."""
    timeless: Flag = False
    """For `geotiff` and `stac`: whether the scenes belong to every period. Scenes without a date
    are left out of runs with periods where it is not set."""
    bands: dict[str, str] = dataclasses.field(default_factory=dict)
    """Name of an asset or band in the archive → name of the band in this run. Default: the
    archive's names, as common names where these are known."""
    quality: str | None = None
    """Name of the asset or band that marks valid pixels. Default: the one of the product."""
    clear: tuple[Whole, ...] = ()
    """Codes of the quality band that mean valid; they go with `quality`, by default the SCL of
    Sentinel-2 and the QA_PIXEL of Landsat."""
    mask: tuple[Condition, ...] = DEFAULT_MASK
    """Conditions that make a pixel invalid, for products whose quality layers are known: `cloud`,
    `shadow`, `cirrus`, `snow`, `water`, `saturated`. Pixels without data are always invalid."""
    unmasked: Literal["refuse", "allow"] = "refuse"
    """Whether a scene is used that lacks the quality layer of its product, or which `quality` or a
    `mask` other than the default asks for, or which others of its platform have. Scenes that are
    not masked have the property `unmasked` in the table `scenes`, and are told."""
    verify: Flag = False
    """Whether files are compared with the checksums of their product (SAFE) or item (STAC's
    `file:checksum`) before use."""
    calibration: Literal["sigma0", "gamma0"] = "sigma0"
    """For `sentinel1`: backscatter per area on the ellipsoid (`sigma0`) or across the line of sight
    (`gamma0`)."""
    scale: Number | None = None
    """Factor from stored numbers to physical values. Default: the archive's own."""
    offset: Number | None = None
    """Physical value of a stored 0. Default: the archive's own."""
    nodata: Stored | None = None
    """Stored number that means "no data". Default: the archive's own."""
    units: dict[str, Unit] = dataclasses.field(default_factory=dict)
    """Name of a band in this run → its unit, after scale and offset, such as {vv: sigma0_db}.
    Default: the product's own; of `geotiff` none is known."""
    search: Search | None = None
    """Search that finds the scenes. Its result is stored, and used by later runs."""

    def __post_init__(self) -> None:
        if not self.path and not self.search:
            raise ValueError("give scenes a path, or a search")
        if self.date and self.timeless:
            raise ValueError("scenes have a date, or are timeless: set one of the two")


@dataclass(frozen=True, config=strict)
class LayerConf:
    """A raster without a date that gives every chip one more band, such as elevation."""

    path: str
    """Path or address of the raster; its first band is read."""
    band: Name
    """Name of the band, as in `bands`."""
    unit: Unit | None = None
    """Unit of the band, such as `metres`. Default: not known."""
    fill: Number | None = None
    """Value of the band where the raster has none. Default: pixels without a value are invalid, and
    are not mapped."""


@dataclass(frozen=True, config=strict)
class ExpressionConf:
    """Arithmetic of bands."""

    formula: Text
    """Bands of the run, numbers, `+ - * / **` and brackets, such as `(nir - red) / (nir + red)`;
    bands have their physical values."""
    range: tuple[Number, Number] | None = None
    """Least and greatest value; values beyond are taken for these. Default: not known, and chips
    are float32."""

    def __post_init__(self) -> None:
        if self.range and self.range[0] >= self.range[1]:
            raise ValueError("range is the least value and the greatest, such as [0, 30]")


@dataclass(frozen=True, config=strict)
class TilingConf:
    """The grid of the map and its tiles."""

    crs: str = "EPSG:6933"
    """CRS of the map. In an equal-area CRS, such as the default, all pixels have the same area."""
    resolution: Annotated[Number, Field(gt=0)] = 10.0
    """Pixel side in units of the CRS, mostly metres."""
    size: Annotated[Whole, Field(ge=16, le=8192, multiple_of=16)] = 512
    """Tile side in pixels, a multiple of 16."""
    halo: Annotated[Whole, Field(ge=0, le=512, multiple_of=16)] = 32
    """Margin around a tile in pixels, a multiple of 16, so that neighbours meet without a seam."""
    block: Count = 4
    """Side in tiles of the block that one task reads at once."""
    like: str | None = None
    """Raster whose CRS, pixels and extent are used in place of `crs` and `resolution`."""
    resampling: Resampling | None = None
    """Resampling of continuous bands: `nearest`, `bilinear` or `average`. Default: `bilinear`.
    Class and quality bands are always `nearest`."""
    features: tuple[Text, ...] = ()
    """Bands that are computed and follow the run's own, as `source` or `source:statistic`: indices
    such as `ndvi`; over the dates of a composite `ndvi:p10`, `swir16:mad`, `harmonic:2`; in a
    window `red:sd7`; of a layer `elevation:slope`. See [features](features.md)."""
    expressions: dict[Name, ExpressionConf] = dataclasses.field(default_factory=dict)
    """Name → formula of bands, a source for `features`."""


@dataclass(frozen=True, config=strict)
class Period:
    """A named span of days that becomes one map."""

    name: Name
    """Name of the period, as in tables and paths."""
    start: Day | None = None
    """First day. Default: open."""
    end: Day | None = None
    """Last day, included. Default: open."""

    def __post_init__(self) -> None:
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"period {self.name} starts after its end: swap the two days")


@dataclass(frozen=True, config=strict)
class CompositeConf:
    """How all dates of a period become one image, or a regular series of images."""

    method: Literal["median", "medoid", "geomedian", "best"] = "median"
    """`median` per band; `medoid`: the date nearest to all others; `geomedian`: the geometric
    median of all bands; `best`: the date with the highest `index`."""
    index: tuple[str, str] | None = None
    """For `best`, and for it alone: two bands [a, b], such as [nir, red], of the index
    (a - b) / (a + b)."""
    interval: Count | None = None
    """Length in days of the intervals of a series, one image each. Default: one image a period."""
    fill: Literal["none", "nearest", "linear"] = "none"
    """Value of a pixel without a valid date in an interval: of the `nearest` interval, or `linear`
    in time between two. `none` leaves it invalid."""

    def __post_init__(self) -> None:
        if (self.method == "best") != (self.index is not None):
            raise ValueError(
                "composite.index is two bands, such as [nir, red], for method best, and for that "
                "alone"
            )
