"""The records of a run file: every key, its default and its accepted values.

Each field's docstring is its entry in the run-file reference. Validation is pydantic's;
`lulc.runfile` reads the YAML and checks what concerns several fields.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from lulc.bands import OBSERVATIONS, Resampling, Unit
from lulc.features.feature import Feature, parse_features
from lulc.legend import LandClass, Legend, name_key

_strict = ConfigDict(extra="forbid")
_DAY = r"\d{4}-\d\d-\d\d"


def _check_odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError("give an odd number: a pixel lies in the middle of its square")
    return number


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
BandName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_:.-]+$")]  # those of features have colons
Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Stored = Annotated[float, Field(strict=True)]  # a number as files have it, nan among them
Text = Annotated[str, Field(strict=True)]
Share = Annotated[Number, Field(ge=0, lt=1)]
Memory = Annotated[str, Field(pattern=r"^\d+[mg]$")]
Count = Annotated[Whole, Field(ge=1)]
Odd = Annotated[Whole, Field(ge=3, le=99), AfterValidator(_check_odd)]
ClassId = Annotated[Whole, Field(ge=0, le=254)]
Code = Whole | Text
Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
TaskName = Literal["segment", "classify", "multilabel", "detect", "change", "series"]
SourceName = Literal[
    "auto",
    "alphaearth",
    "landsat",
    "modis",
    "openaerialmap",
    "sentinel1",
    "sentinel2",
    "stac",
    "stac-geoparquet",
    "tessera",
    "geotiff",
]
Condition = Literal["cloud", "shadow", "cirrus", "snow", "water", "saturated"]
Augmentation = Literal["flip", "rotate", "zoom", "brightness", "colour", "noise"]
Metric = Literal[
    "accuracy", "miou", "f1", "boundary_f1", "ap_macro", "ap_micro", "ap50", "ap", "recall",
    "recall30",
]  # fmt: skip
Overlap = Literal["refuse", "first"]
Combination = Literal["first", "vote"]
Precision = Literal["auto", "float32", "bfloat16"]


def _check_limit(text: str) -> str:
    if not re.fullmatch(r"\d+|\d+(\.\d+)?%", text):
        raise ValueError("give a count such as 3, or a share such as 5%")
    return text


def _expand_bands(names: object) -> object:
    # `e0..e63` stands for e0, e1, … e63.
    if not isinstance(names, list | tuple):
        return names
    expanded: list[object] = []
    for name in names:
        match = re.fullmatch(r"([A-Za-z_]+)(\d{1,4})\.\.\1(\d{1,4})", str(name))
        if match:
            expanded += [f"{match[1]}{n}" for n in range(int(match[2]), int(match[3]) + 1)]
        else:
            expanded.append(name)
    return tuple(expanded)


def _check_day(value: object) -> object:
    # Of a number a day would be made by its seconds since 1970.
    if isinstance(value, date) or (isinstance(value, str) and re.fullmatch(_DAY, value)):
        return value
    raise ValueError("give a day as 2023-06-30")


Day = Annotated[date, BeforeValidator(_check_day)]


def allowed_bad(limit: str, inputs: int) -> float:
    """Return the number of bad inputs that a limit allows.

    Args:
        limit: a count such as `3`, or a share such as `5%`, as in `max_bad`.
        inputs: number of all inputs.
    """
    return float(limit[:-1]) / 100 * inputs if limit.endswith("%") else int(limit)


@dataclass(frozen=True, config=_strict)
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


@dataclass(frozen=True, config=_strict)
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


@dataclass(frozen=True, config=_strict)
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


@dataclass(frozen=True, config=_strict)
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


@dataclass(frozen=True, config=_strict)
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


@dataclass(frozen=True, config=_strict)
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


@dataclass(frozen=True, config=_strict)
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


@dataclass(frozen=True, config=_strict)
class ClassConf:
    """One class of the legend, under its id."""

    name: str
    """Name of the class."""
    colour: Colour
    """Colour as `#rrggbb`."""


def _name_layout(value: object) -> object:
    return {"layout": value} if isinstance(value, str) else value


@dataclass(frozen=True, config=_strict)
class PointConf:
    """How the points of a labels file are read: each labels the pixel that it lies in."""

    layout: Literal["lucas"] | None = None
    """`lucas`: the survey LUCAS as Eurostat and JRC publish it (years 2009 to 2022), with the
    theoretical point, land cover `lc1` and date of survey; a code of `crosswalk` then holds for all
    that begin with it (B for B11). Default: the columns that the other keys name."""
    longitude: str = "longitude"
    """Column of a CSV or Parquet file without geometries: degrees east."""
    latitude: str = "latitude"
    """Column of a CSV or Parquet file without geometries: degrees north."""
    date: str | tuple[str, str] | None = None
    """Column with the day, month or year (2018-06-30, 2018-06, 2018), or two columns [first, last]
    of a span. A point labels the periods that it shares a day with; without a date all. Default:
    points have no date."""
    radius: Annotated[Number, Field(ge=0)] = 0.0
    """Metres around a point within which pixels have its class, by their centres; the one that the
    point lies in always has."""
    quality: str | None = None
    """Column with a number, such as a weight or confidence; points of 0, less or none are left
    out. Default: all are used."""
    min_quality: Number = 0.0
    """Least `quality` of a point that is used."""

    @property
    def date_columns(self) -> tuple[str, ...]:
        """The columns of `date`: none, one, or two."""
        return (self.date,) if isinstance(self.date, str) else self.date or ()


@dataclass(frozen=True, config=_strict)
class LabelConf:
    """Labels to learn from: a class raster on any grid, or polygons or points with a class."""

    path: str
    """Path of the raster, vector file or table of points."""
    column: str | None = None
    """Column of the polygons or points that holds the class. Default: the file is a raster."""
    points: Annotated[PointConf | None, BeforeValidator(_name_layout)] = None
    """For points (GeoPackage and other vector files, CSV, Parquet): how they are read, such as
    {date: survey_date}, or {}; or the name of a layout, `lucas`. Default: the file holds
    polygons or is a raster."""
    nodata: Whole | None = None
    """Code that means "no label". Default: the raster's own."""
    crosswalk: dict[Code, Whole] = dataclasses.field(default_factory=dict)
    """Code of the raster, or text of the column, → class id of the legend. A code that is neither
    here, nor in the legend, nor ignored is an error."""
    ignore: tuple[Code, ...] = ()
    """Codes that are no label."""

    def __post_init__(self) -> None:
        if self.points and self.column is None and self.points.layout is None:
            raise ValueError("points have their class in a column: name it in labels.column")
        targets: dict[str, tuple[Code, int | None]] = {}
        codes = [*self.crosswalk.items(), *((code, None) for code in self.ignore)]
        for code, target in codes:
            key = name_key(str(code))
            if self.column is None and self.points is None and key.isdecimal():
                key = str(int(key))
            other, other_target = targets.setdefault(key, (code, target))
            if target != other_target:
                raise ValueError(
                    f"codes {other!r} and {code!r} are one, and lead to "
                    f"{'no label' if other_target is None else other_target} and to "
                    f"{'no label' if target is None else target}: leave one of them out"
                )


@dataclass(frozen=True, config=_strict)
class DatasetConf:
    """A published archive of labelled examples; `lulc info datasets` lists them."""

    name: Name
    """Name of the dataset."""
    root: str
    """Folder of the unpacked archive."""
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    """Options of the dataset, such as {bands: ms}. Default: its usual form."""
    size: Annotated[Whole, Field(ge=8, le=4096)] | None = None
    """Sample side in pixels. Larger images with a label per pixel are cut into windows, others are
    cropped to their centre; smaller images are padded with invalid pixels. Default: as
    published."""
    splits: Literal["published", "blocks"] = "published"
    """The publisher's splits (`published`), or splits by spatial block (`blocks`)."""
    crosswalk: dict[Whole, Whole] = dataclasses.field(default_factory=dict)
    """Class id of the dataset → class id of the run's legend. Default: the dataset's own ids."""
    ignore: tuple[Whole, ...] = ()
    """Class ids of the dataset that are no label."""
    units: dict[str, Unit] = dataclasses.field(default_factory=dict)
    """Name of a band → its unit, after the scale, such as {vv: sigma0_db}. Default: the
    publisher's; of `images` none is known."""
    weight: Annotated[Number, Field(gt=0)] = 1.0
    """Weight of its samples in training, relative to those of other datasets."""


@dataclass(frozen=True, config=_strict)
class SampleConf:
    """How samples are cut, and how they are split into training, validation and test."""

    size: Annotated[Whole, Field(ge=16, multiple_of=16)] = 128
    """Sample side in pixels, a multiple of 16 that divides `tiling.size`."""
    block: Count = 2
    """Side in samples of the spatial blocks that are split as a whole."""
    buffer: Annotated[Number, Field(ge=0)] = 0.0
    """Least distance in metres between samples of two splits; labels nearer than that are
    dropped."""
    validation: Share = 0.15
    """Share of the labels for choosing the best epoch."""
    test: Share = 0.15
    """Share of the labels for the accuracy assessment; not used with `folds`."""
    seed: Whole = 0
    """Seed of the split."""
    min_labelled: Annotated[Number, Field(ge=0, le=1)] = 0.0
    """Least share of labelled pixels in a sample. Default: one pixel suffices."""
    per_class: Count | None = None
    """About so many windows of the run's own labels are taken with each class, of a rarer class
    all: of those to train on by class, of validation and test evenly, so that accuracy is that of
    the map. Which is decided by their ids and the seed alone. Default: all windows."""
    folds: Annotated[Whole, Field(ge=2)] | None = None
    """Number of folds of cross-validation, in place of the share `test`. Default: no folds."""
    fold: Annotated[Whole, Field(ge=0)] = 0
    """Number of the fold that is the test split, from 0."""
    balance: Literal["none", "class", "area"] = "none"
    """Weights of training samples: all the same (`none`), every class the same (`class`), or every
    spatial block the same (`area`)."""


@dataclass(frozen=True, config=_strict)
class TreesConf:
    """How the trees of models `boosting` and `forest` are grown."""

    count: Count = 100
    """Number of trees for every class."""
    leaves: Annotated[Whole, Field(ge=2, le=65536)] = 63
    """Most leaves of a tree."""
    leaf: Count = 20
    """Least number of rows in a leaf."""
    rate: Annotated[Number, Field(gt=0, le=1)] = 0.02
    """For `boosting`: learning rate. A low one, and few trees, hold better elsewhere than they fit
    the labels."""
    sampling: Annotated[Number, Field(gt=0, lt=1)] = 0.5
    """Share of the rows that a tree is grown from, drawn anew for each."""
    bands: Annotated[Number, Field(gt=0, le=1)] | None = None
    """Share of the bands that a split chooses from, drawn anew for each. Default: as many as the
    square root of their number."""
    rows: Count = 1_000_000
    """Most labelled pixels, or images, that are learned from, about. Of more as many are drawn,
    the same number of every class as far as there are; they are held in memory, 4 bytes for each
    and band."""


@dataclass(frozen=True, config=_strict)
class TrainConf:
    """The model and how it is trained."""

    model: Name | None = None
    """Name of the network, or `boosting` or `forest` for decision trees. Default: the task's usual
    network."""
    trees: TreesConf = TreesConf()
    """How trees are grown."""
    encoder: str = "resnet18"
    """Encoder of the network: a name of timm or segmentation-models-pytorch; for detectors
    `resnet18`, `resnet34` or `resnet50`. For `unet`, `upernet` and `classifier` also
    `torchgeo:NAME` or `torchgeo:NAME.WEIGHTS`, a backbone of torchgeo and its published weights."""
    weights: str | None = None
    """Initial weights of the encoder: a .safetensors, .pt or .pth file, or the name of published
    weights where the network is reachable. Default: random."""
    frozen: Annotated[Whole, Field(ge=0)] = 0
    """Number of first epochs in which the encoder is not trained; they have a cycle of the learning
    rate of their own."""
    encoder_rate: Annotated[Number, Field(gt=0, le=1)] = 1.0
    """How much less the encoder's early stages learn than the rest of the network: the rates of its
    n stages are spaced by equal factors, encoder_rate^(1/n) each, up to the rest's rate."""
    trained_stages: Annotated[Whole, Field(ge=0)] | None = None
    """Number of the encoder's last stages that are trained; the others keep their initial weights,
    with 0 all of them. Default: all are trained, or with `lora` none."""
    lora: Annotated[Whole, Field(ge=0)] = 0
    """Rank of low-rank adapters, which are trained in place of the encoder's linear layers; 0 is
    none. For `unet`, `upernet` and `classifier` with a transformer as encoder."""
    patience: Count | None = None
    """Number of epochs without a better one after which training ends. Default: all epochs."""
    depth: Annotated[Whole, Field(ge=3, le=5)] = 5
    """Number of times that the encoder halves the image, 3 to 5."""
    decoder: tuple[Whole, ...] = ()
    """Channels of the decoder's stages, deepest first, `depth` numbers. Default: the network's
    usual ones."""
    dropout: Share = 0.0
    """Share of the last features that is dropped in training."""
    shrink: Count = 1
    """For networks `classifier` and `unet`: side in pixels of the squares whose means the network
    gets, so that it covers more ground in less time."""
    epochs: Count = 20
    """Number of epochs."""
    repeats: Count = 1
    """Number of passes over the training samples in an epoch."""
    batch: Count = 16
    """Number of samples in a step, over all ranks."""
    accumulate: Count = 1
    """Number of steps whose gradients are summed before the weights are updated."""
    crop: Annotated[Whole, Field(ge=32, multiple_of=32)] | None = None
    """Side in pixels of the random crops that are trained on, a multiple of 32. Default: whole
    samples."""
    class_crops: Share = 0.0
    """Share of the crops that lie around a labelled pixel of a class drawn evenly from the sample's
    classes, for tasks with a class a pixel; the others lie anywhere."""
    rate: Annotated[Number, Field(gt=0)] = 1e-3
    """Highest learning rate."""
    weight_decay: Annotated[Number, Field(ge=0)] = 1e-2
    """Weight decay of AdamW."""
    schedule: Literal["onecycle", "cosine", "constant"] = "onecycle"
    """Course of the learning rate after the warm-up: down to nearly 0 (`onecycle`, `cosine`), or
    `constant`."""
    warmup: Share = 0.1
    """Share of all steps in which the learning rate rises."""
    class_weight: Annotated[Number, Field(ge=0, le=1)] = 0.0
    """Power of the inverse class frequency that weights the classes: 0 all the same, 1 in full."""
    smoothing: Share = 0.0
    """Label smoothing."""
    dice: Annotated[Number, Field(ge=0)] = 0.0
    """Factor of the soft dice loss that is added to the loss."""
    focal: Annotated[Number, Field(ge=0)] = 0.0
    """Exponent of the focal loss; 0 is cross entropy."""
    bootstrap: Share = 0.0
    """Share of the loss that is taken against the network's own prediction, where labels are
    partial or wrong; for tasks with one class per pixel or image."""
    ema: Share = 0.0
    """Decay per update of the moving average of the weights; 0 is no average."""
    augment: tuple[Augmentation, ...] = ("flip", "rotate")
    """Augmentations: `flip`, `rotate` by quarter turns, `zoom`, slight `brightness`, `colour` as
    light and haze of another day change reflectance, `noise`."""
    best: Metric | None = None
    """Validation metric that chooses the best epoch: `accuracy`, `miou`, `f1`, `boundary_f1`,
    `ap_macro`, `ap_micro`, `ap50`, `ap`, `recall` or `recall30`. Default: the task's own."""
    precision: Precision = "auto"
    """Precision of the network: `float32`, `bfloat16`, or the one that suits the machine
    (`auto`)."""
    ranks: Count = 1
    """Number of data-parallel processes."""
    seed: Whole = 0
    """Seed of the weights, the sample order and the augmentations."""
    cache: Memory = dataclasses.field(default="1g", compare=False)
    """Memory of each rank that stores decoded samples between epochs, such as `500m` or `4g`. It
    does not change the result."""


@dataclass(frozen=True, config=_strict)
class PredictConf:
    """The model that maps, and how it is applied."""

    model: str | None = None
    """Model as name, name/version, name@alias or MLflow URI; `a+b` is two of them, which are
    combined. Default: the champion of this run."""
    combine: Literal["mean", "vote"] = dataclasses.field(default="mean", compare=False)
    """How several models are combined: by the `mean` of their probabilities, or by `vote`: each
    class's share of the models that find it likeliest, and of equal ones the likelier by the
    mean."""
    window: Annotated[Whole, Field(ge=64, multiple_of=32)] = 1024
    """Side in pixels of the window that is predicted at once, a multiple of 32."""
    flips: Flag = False
    """Whether predictions are averaged over the image and its mirror images."""
    probabilities: Flag = False
    """Whether class probabilities are written too, as rasters with a band per class."""
    spread: Flag = dataclasses.field(default=False, compare=False)
    """Whether the spread is kept of what several models (`a+b`), or mirror images with `flips`, say
    of the mapped class: the standard deviation of its probability; for tasks with a class a
    pixel."""
    training_distance: Annotated[Number, Field(gt=0)] = dataclasses.field(
        default=3.0, compare=False
    )
    """Distance from what the model learned from above which tiles are warned of: between the means
    of a tile's bands and those of the samples, root mean square over the bands, in standard
    deviations. It does not change the result."""
    precision: Precision = "auto"
    """Precision of the network: `float32`, `bfloat16`, or the one that suits the machine (`auto`),
    which is float16 on GPUs that do not compute in bfloat16."""
    gpu: Annotated[Number, Field(gt=0, le=1)] | None = dataclasses.field(
        default=None, compare=False
    )
    """Share of a GPU that Spark reserves for each task of `predict` on executors that have GPUs
    (`spark.executor.resource.gpu.amount`), such as 0.25 for four tasks on one. Default:
    `spark.task.resource.gpu.amount`; where Spark knows of no GPUs, tasks share those of their
    machine in turn. It does not change the result."""
    score: Annotated[Number, Field(ge=0, lt=1)] = 0.25
    """Least score of a detection."""
    overlap: Annotated[Number, Field(gt=0, lt=1)] = 0.5
    """Intersection over union above which two detections are one."""


@dataclass(frozen=True, config=_strict)
class SmoothConf:
    """Bayesian smoothing of class probabilities, as in sits."""

    window: Odd = 7
    """Side in pixels of the square around a pixel, an odd number."""
    smoothness: Annotated[Number, Field(gt=0)] = 10.0
    """Variance of the logits of a pixel's probabilities: the larger, the more its neighbours
    count."""
    share: Annotated[Number, Field(gt=0, le=1)] = 0.5
    """Share of the neighbours that a class takes, those in which it is most probable."""


@dataclass(frozen=True, config=_strict)
class TransitionConf:
    """Which class may follow which from one period to the next."""

    forbidden: tuple[tuple[str, str], ...] = ()
    """Pairs of names [from, to] that do not happen, such as [urban, forest]."""
    stay: Annotated[Number, Field(gt=0, lt=1)] | None = None
    """Probability that a class stays; the allowed changes share the rest. Default: what is allowed
    is equally likely, and only pixels with a forbidden transition change."""

    def __post_init__(self) -> None:
        if not self.forbidden and self.stay is None:
            raise ValueError("say what is forbidden, or how likely a class is to stay")
        if same := [first for first, second in self.forbidden if first == second]:
            raise ValueError(f"class {same[0]!r} cannot be forbidden to stay")


@dataclass(frozen=True, config=_strict)
class RefineConf:
    """What makes the map of the predictions, or of `maps`: steps in this order, where given."""

    combine: Combination | None = dataclasses.field(default=None, compare=False)
    """For several `maps` of one period: each pixel has the class of the `first` of them, in the
    order of the run file, that has one there; or by `vote` the class that most have, each weighed
    by its `accuracy`, and of equal ones the first. Default: none, no two may have a class at one
    place."""
    smooth: SmoothConf | None = None
    """Bayesian smoothing; it takes `predict.probabilities`. Default: none."""
    majority: Odd | None = None
    """Side in pixels of the square around a pixel, an odd number, whose most frequent class it
    takes. Default: none."""
    minimum_mapping_unit: Annotated[Whole, Field(ge=2, le=1000)] | None = None
    """Least number of pixels of a patch, pixels of one class that touch by their sides. Smaller
    ones are merged into the class that they share the longest border with. Default: none."""
    rules: tuple[Text, ...] = ()
    """What classes become where a condition holds, one after the other, such as
    `where class = crops and layer(slope) > 30 then grass`. See [Refining the map](refine.md)."""
    layers: dict[Name, str] = dataclasses.field(default_factory=dict)
    """Name → raster, whose first band counts, or vector file of polygons, which is 1 in them and 0
    elsewhere, for the conditions of `rules`."""
    transitions: TransitionConf | None = None
    """Makes the classes of a pixel over the periods, in the order of `periods`, the likeliest that
    are allowed. Default: periods are mapped each by itself."""


@dataclass(frozen=True, config=_strict)
class EmbedConf:
    """The vectors of tiles, pixels or samples, as table `embeddings`."""

    model: str | None = None
    """Model whose network makes the vectors, named as in `predict.model`. Default: the bands `e0`,
    `e1`, … where the run has them, else the champion of this run."""
    every: Count | None = None
    """A vector for every so many-th pixel of a tile's rows and columns. Default: one a tile, and
    one a sample where the run has no scenes."""
    raster: Flag = False
    """Whether the vectors of pixels are written as rasters, too: int8 in AlphaEarth's form, which
    the source `alphaearth` reads. Only their directions are kept."""

    def __post_init__(self) -> None:
        if self.raster and self.every is None:
            raise ValueError("embed.raster is of pixels: give embed.every, 1 for all of them")


@dataclass(frozen=True, config=_strict)
class RasterConf:
    """How tiles are grouped into class rasters."""

    group: Count = 16
    """Side in tiles of one COG."""
    uncertainty: Flag = False
    """Whether rasters of uncertainty are written too: bands `entropy` and `margin` with
    `predict.probabilities`, and `spread` with `predict.spread`."""
    polygons: Flag = False
    """Whether polygons of the classes are made too, as table `polygons` and as `polygons.gpkg`: of
    the class rasters, or of maps made elsewhere."""


@dataclass(frozen=True, config=_strict)
class StatsConf:
    """Statistics per region."""

    confident: Annotated[Number, Field(ge=0, le=1)] = 0.8
    """Least confidence of the pixels in the confident share of a class."""
    landscape: Flag = False
    """Whether patches and edges are measured too."""
    overlap: Overlap = "refuse"
    """Class rasters of one period that have classes at one place: refuse them, or take the first of
    them by name there."""
    grid: Annotated[str, Field(pattern=r"^([1-9]\d*k?m|h3:(\d|1[0-5]))$")] | None = (
        dataclasses.field(default=None, compare=False)
    )
    """Areas by cell, too, in table `cell_areas`: squares of EPSG:6933 of this side, such as `1km`,
    each as large as any other wherever it lies, or cells of H3 at this resolution, `h3:7` (extra
    `h3`). Default: none."""


@dataclass(frozen=True, config=_strict)
class RegionFile:
    """A vector file of regions."""

    path: str
    """Path of the file."""
    id: str | None = None
    """Column with the regions' ids. Default: `region_id`, `id`, `code` or `name` if its values are
    distinct, else the file's name and a number."""
    name: str | None = None
    """Column with the regions' names. Default: column `name`, else the ids."""
    level: str = "region"
    """Name of this set of regions in the tables, such as `district`."""
    layer: str | None = None
    """Layer of the file. Default: its only layer with geometries and the named columns."""
    cut: Count = 1
    """Number of rows and columns of the even grid that divides each region's bounds; the ids are
    then `<id>/<col>_<row>`. Default: whole regions."""


@dataclass(frozen=True, config=_strict)
class MapFiles:
    """Class rasters of one period that were made elsewhere."""

    path: str
    """Path or pattern of the files, such as `maps/*.tif`. What is there by its very name is meant,
    whatever characters are in it."""
    period: Name
    """Name of their period."""
    accuracy: Annotated[Number, Field(gt=0, le=1)] | None = dataclasses.field(
        default=None, compare=False
    )
    """For `refine`: the share of their pixels that are right, as their makers tell it. It is their
    confidence, and their weight beside other maps and periods. Default: not known, and all are
    alike."""
    within: str | None = dataclasses.field(default=None, compare=False)
    """For `refine`: vector file of polygons, or raster of a mask, outside which they do not count;
    with `refine.combine: first` the map of these regions that comes before others. Default: they
    count everywhere."""


@dataclass(frozen=True, config=_strict)
class PublishConf:
    """Where the run's results are published to: tables, maps, or both."""

    warehouse: str | None = None
    """Folder of an Iceberg catalogue of the tables, or address of one in a store, which asks for
    `catalog`. Default: tables are not published."""
    namespace: Name = "lulc"
    """Namespace of the tables."""
    catalog: dict[str, str] = dataclasses.field(default_factory=dict)
    """Spark's settings of the catalogue, such as {type: rest, uri: …}. Default: a catalogue of
    files alone (`type: hadoop`)."""
    tiles: str | None = None
    """Folder, or address in a store, of the maps as tiles for web maps: PMTiles archives, such
    as `classes-2020.pmtiles`. Default: maps are not published."""


@dataclass(frozen=True, config=_strict)
class AboutConf:
    """What the report and the model card say of the run."""

    title: Text | None = None
    """Title of the report. Default: the run's name."""
    licence: Text | None = None
    """Licence under which map and model are given on, such as `CC-BY-4.0`. Default: none is
    stated, which the report says."""
    attributions: tuple[Text, ...] = ()
    """What publishers of inputs ask to be said. Those of Sentinel, Landsat, MODIS and AlphaEarth
    are known, and said as well."""
    texts: str | None = None
    """File with the texts of the report in another language, a copy of
    `lulc/report/page/english.yaml`. Default: English."""


@dataclass(frozen=True, config=_strict)
class TrackingConf:
    """The MLflow store of runs and models."""

    uri: str | None = None
    """Address of the tracking store. Default: `mlflow.db` in the output folder."""
    experiment: str | None = None
    """Name of the experiment. Default: the run's name."""
    required: Flag = False
    """Whether the run stops when the store cannot be reached. Default: it goes on, and the model is
    kept in the output folder."""


@dataclass(frozen=True, config=_strict)
class SessionConf:
    """The Spark session."""

    master: str | None = None
    """Spark master; spark-submit's comes first. Default: all cores of this machine."""
    memory: Memory = "2g"
    """Memory of the driver and of each executor's JVM, such as `500m` or `4g`."""
    conf: dict[str, str] = dataclasses.field(default_factory=dict)
    """Any other Spark settings."""


@dataclass(frozen=True, config=_strict)
class Config:
    """A whole run file. Relative paths are relative to the file."""

    name: Name
    """Name of the run and of its registered model."""
    task: TaskName | None = None
    """`segment`, `classify`, `multilabel`, `detect`, `change` or `series`. Default: the datasets'
    task; without datasets `segment`."""
    scenes: tuple[Archive, ...] = ()
    """Archives of scenes, or searches for them."""
    bands: Annotated[tuple[BandName, ...], BeforeValidator(_expand_bands)] = ()
    """Bands of the model in this order, by common names such as `red`; `e0..e63` are the bands e0
    to e63; `observations` counts the dates of a composite. Default: the datasets' bands."""
    legend: dict[ClassId, ClassConf] = dataclasses.field(default_factory=dict)
    """Class id (0–254) → name and colour; or `common`, the nine classes of Dynamic World. Default:
    the datasets' legend."""
    datasets: tuple[DatasetConf, ...] = ()
    """Published datasets to learn from."""
    layers: tuple[LayerConf, ...] = ()
    """Rasters without a date, such as elevation, that add a band each."""
    tiling: TilingConf = TilingConf()
    """The grid of the map and its tiles."""
    area: str | None = None
    """Area that is mapped: a vector file, or `xmin,ymin,xmax,ymax` in degrees. Default: all
    scenes."""
    periods: tuple[Period, ...] = (Period("all"),)
    """Periods, one map each. Default: one period with all scenes."""
    dates: Count = 1
    """Number of dates per chip, the clearest of the period; not used with `composite`."""
    composite: CompositeConf | None = None
    """How the dates of a period are combined. Default: single dates, as in `dates`."""
    labels: LabelConf | None = None
    """Labels of the scenes to learn from, for tasks `segment`, `change` and `series`."""
    samples: SampleConf = SampleConf()
    """How samples are cut and split."""
    train: TrainConf = TrainConf()
    """The model and how it is trained."""
    predict: PredictConf = PredictConf()
    """The model that maps, and how it is applied."""
    refine: RefineConf | None = None
    """What makes the map of the predictions, or of `maps`, such as {minimum_mapping_unit: 5}.
    Default: they are the map."""
    embed: EmbedConf | None = None
    """The vectors that `lulc run` makes besides. Default: none; `lulc embed` makes them."""
    rasters: RasterConf = RasterConf()
    """How tiles are grouped into class rasters."""
    regions: tuple[RegionFile, ...] = ()
    """Regions of the statistics. Default: one, the whole map."""
    maps: tuple[MapFiles, ...] = ()
    """Class rasters made elsewhere; the run is then their statistics alone, or with `refine` what
    makes one map of them."""
    stats: StatsConf = StatsConf()
    """Statistics per region."""
    publish: PublishConf | None = None
    """Where tables and maps are published to. Default: nowhere."""
    about: AboutConf = AboutConf()
    """What the report and the model card say of the run."""
    tracking: TrackingConf = TrackingConf()
    """The MLflow store of runs and models."""
    spark: SessionConf = SessionConf()
    """The Spark session."""
    max_bad: Annotated[str, AfterValidator(_check_limit)] | None = None
    """Number of bad inputs, such as `3`, or their share, such as `5%`, above which the run fails.
    Default: any number is left out of the map and recorded in the ledger."""

    @property
    def maps_as_given(self) -> bool:
        """Whether the run's maps are class rasters made elsewhere, as they are."""
        return bool(self.maps) and self.refine is None

    @property
    def features(self) -> tuple[Feature, ...]:
        """The bands that are computed of others.

        Raises:
            UsageError: `tiling.features` names what is no feature.
        """
        expressions = {
            name: (entry.formula, entry.range) for name, entry in self.tiling.expressions.items()
        }
        layers = {layer.band for layer in self.layers}
        return parse_features(self.tiling.features, expressions, self.bands, layers)

    @property
    def given_bands(self) -> tuple[str, ...]:
        """The bands without those that are computed of others."""
        computed = {feature.name for feature in self.features}
        return tuple(band for band in self.bands if band not in computed)

    @property
    def scene_bands(self) -> tuple[str, ...]:
        """The bands that scenes have: not counted, of layers, or computed."""
        others = {OBSERVATIONS, *(layer.band for layer in self.layers)}
        return tuple(band for band in self.given_bands if band not in others)

    def make_legend(self) -> Legend:
        """Return the run's Legend, its classes in the order of the file."""
        return Legend(
            self.name,
            tuple(LandClass(i, entry.name, entry.colour) for i, entry in self.legend.items()),
        )
