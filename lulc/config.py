"""A run file (YAML) as validated, frozen records; an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import dataclasses
import re
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from lulc.bands import Resampling
from lulc.legend import LandClass, Legend

_strict = ConfigDict(extra="forbid")
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
Share = Annotated[float, Field(ge=0, lt=1)]
Memory = Annotated[str, Field(pattern=r"^\d+[mg]$")]
Count = Annotated[int, Field(ge=1)]
TaskName = Literal["segment", "classify", "multilabel", "detect", "change", "series"]
Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


def _limit(text: str) -> str:
    if not re.fullmatch(r"\d+|\d+(\.\d+)?%", text):
        raise ValueError("give a count such as 3, or a share such as 5%")
    return text


Condition = Literal["cloud", "shadow", "cirrus", "snow", "water", "saturated"]


@dataclass(frozen=True, config=_strict)
class Search:
    """Which scenes of a catalogue.

    catalogue: the address of a STAC API, or a name: copernicus, earth-search, planetary-computer, usgs, linz.
    bbox: xmin,ymin,xmax,ymax in degrees; the run's area where not said. time: days, as 2023-01-01/2023-12-31, `..` for an open
    end; the run's periods where not said. max_cloud: per cent; scenes that say nothing of clouds are then left out too.
    """

    catalogue: str
    collections: Annotated[tuple[str, ...], Field(min_length=1)]
    bbox: str | None = None
    time: (
        Annotated[str, Field(pattern=r"^(\d{4}-\d\d-\d\d|\.\.)(/(\d{4}-\d\d-\d\d|\.\.))?$")] | None
    ) = None
    max_cloud: Annotated[float, Field(ge=0, le=100)] | None = None


@dataclass(frozen=True, config=_strict)
class Archive:
    """A place that holds scenes, or a search for them.

    search: the scenes found in a catalogue; path is then the file that keeps the answer, under the output folder where not said.
    source: how its scenes come, such as `sentinel2`, `stac` or `geotiff`; found out when not said.
    pattern: for geotiff, file names such as `{scene}_{date}_{band}.tif`.
    bands: the archive's asset or band name → the run's band name.
    quality: name of the asset that says which pixels are usable; clear: its codes that mean usable.
    mask: what else makes a pixel unusable in products whose quality layers are known; pixels without data always are.
    verify: whether files are held against the checksums of their product (SAFE) or item (STAC's file:checksum) before use.
    calibration: what the numbers of radar products become: backscatter to the ellipsoid (sigma0) or across the look (gamma0).
    """

    path: str = ""
    source: Literal[
        "auto", "landsat", "modis", "openaerialmap", "sentinel1", "sentinel2", "stac", "geotiff"
    ] = "auto"
    pattern: str | None = None
    bands: dict[str, str] = dataclasses.field(default_factory=dict)
    quality: str | None = None
    clear: tuple[int, ...] = ()
    mask: tuple[Condition, ...] = ("cloud", "shadow", "cirrus", "saturated")
    verify: bool = False
    calibration: Literal["sigma0", "gamma0"] = "sigma0"
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    search: Search | None = None

    def __post_init__(self) -> None:
        if not self.path and not self.search:
            raise ValueError("give scenes a path, or a search")


@dataclass(frozen=True, config=_strict)
class LayerConf:
    """A raster without a date that gives every chip one more band, such as elevation.

    fill: the layer's value where it has none; without it nothing is mapped there.
    """

    path: str
    band: Name
    fill: float | None = None


@dataclass(frozen=True, config=_strict)
class TilingConf:
    """The grid of the map. `like` takes CRS, pixels and extent from a raster instead (the scene's own grid).

    size: tile side in pixels; halo: margin kept around it; block: tiles a side that one task reads at once.
    """

    crs: str = "EPSG:6933"
    resolution: Annotated[float, Field(gt=0)] = 10.0
    size: Annotated[int, Field(ge=16, le=8192, multiple_of=16)] = 512
    halo: Annotated[int, Field(ge=0, le=512, multiple_of=16)] = 32
    block: Count = 4
    like: str | None = None
    resampling: Resampling | None = None


@dataclass(frozen=True, config=_strict)
class Period:
    """A named span of days, both ends included; open where an end is not given."""

    name: Name
    start: date | None = None
    end: date | None = None


@dataclass(frozen=True, config=_strict)
class CompositeConf:
    """How all dates of a period become one image, or a series of one image every `interval` days.

    best: of each pixel the date with the greatest (a - b) / (a + b), where `index` is [a, b], such as [nir, red].
    fill: what a pixel without a valid date in an interval gets from the other intervals; nothing unless said.
    """

    method: Literal["median", "medoid", "geomedian", "best"] = "median"
    index: tuple[str, str] | None = None
    interval: Count | None = None
    fill: Literal["none", "nearest", "linear"] = "none"

    def __post_init__(self) -> None:
        if (self.method == "best") != (self.index is not None):
            raise ValueError(
                "composite.index is two bands, such as [nir, red], for method best, and for that alone"
            )


@dataclass(frozen=True, config=_strict)
class ClassConf:
    """One class of the legend, under its id."""

    name: str
    colour: Colour


@dataclass(frozen=True, config=_strict)
class LabelConf:
    """Truth to learn from: a class raster on any grid, or polygons with a class column.

    crosswalk: code (or text of the column) → legend id; ignore: codes that are no label.
    A code in neither, and not in the legend, is an error.
    """

    path: str
    column: str | None = None
    nodata: int | None = None
    crosswalk: dict[int | str, int] = dataclasses.field(default_factory=dict)
    ignore: tuple[int | str, ...] = ()


@dataclass(frozen=True, config=_strict)
class DatasetConf:
    """A published archive of labelled examples to learn from (`lulc info datasets` names them all).

    options: which of its forms, such as {bands: ms}. size: pixels a side of a sample, as published where not said: larger images
    with a label a pixel are cut in windows, others at their middle; smaller ones are filled up with pixels that are not valid.
    splits: the publisher's, or by spatial block. crosswalk: its class id → the run's, where the legend is not its own.
    ignore: its classes that become no label. weight: how much its samples count beside those of other datasets.
    """

    name: Name
    root: str
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    size: Annotated[int, Field(ge=8, le=4096)] | None = None
    splits: Literal["published", "blocks"] = "published"
    crosswalk: dict[int, int] = dataclasses.field(default_factory=dict)
    ignore: tuple[int, ...] = ()
    weight: Annotated[float, Field(gt=0)] = 1.0


@dataclass(frozen=True, config=_strict)
class SampleConf:
    """How samples are cut and split: `size` pixels a side (divides the tile), spatial blocks of `block` samples a side, a
    buffer in metres between splits whose labels are dropped.

    folds: instead of a test share, that many parts, of which number `fold` (from 0) is tested. balance: what training samples
    weigh: all the same, every class the same, or every spatial block the same.
    """

    size: Annotated[int, Field(ge=16, multiple_of=16)] = 128
    block: Count = 2
    buffer: Annotated[float, Field(ge=0)] = 0.0
    validation: Share = 0.15
    test: Share = 0.15
    seed: int = 0
    min_labelled: Annotated[float, Field(ge=0, le=1)] = 0.0
    folds: Annotated[int, Field(ge=2)] | None = None
    fold: Annotated[int, Field(ge=0)] = 0
    balance: Literal["none", "class", "area"] = "none"


@dataclass(frozen=True, config=_strict)
class TrainConf:
    """How a model learns. ranks: data-parallel processes; batch: samples a step over all ranks; crop: pixels a side.

    model: the task's usual one where not said. focal: exponent of focal loss; bootstrap: the share of the loss that is held
    against the network's own answer, where labels are partial or wrong (tasks for one class of a pixel or image). best: the
    metric by which the best epoch is chosen, the task's own where not said; patience: epochs without a better one after which
    training ends.
    weights: what the encoder begins with: a file, or the name of published weights where they can be fetched. frozen: epochs in
    which all but the encoder learns, as a cycle of the rate of its own; encoder_rate: the rate of the encoder's first stage
    as a share of the last one's, those between in even steps of a factor. shrink: networks classifier and unet are
    shown means of squares of so many pixels a side: more ground is seen in less time. augment: ways in which samples are
    varied; `brightness` a little, `colour` as the light and haze of another day vary reflectances. cache: memory of each rank in
    which samples stay decoded from epoch to epoch, which changes nothing of what is learned.
    """

    model: Name | None = None
    encoder: str = "resnet18"
    weights: str | None = None
    frozen: Annotated[int, Field(ge=0)] = 0
    encoder_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    patience: Count | None = None
    depth: Annotated[int, Field(ge=3, le=5)] = 5
    decoder: tuple[int, ...] = ()
    dropout: Share = 0.0
    shrink: Count = 1
    epochs: Count = 20
    repeats: Count = 1
    batch: Count = 16
    accumulate: Count = 1
    crop: Annotated[int, Field(ge=32, multiple_of=32)] | None = None
    rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    schedule: Literal["onecycle", "cosine", "constant"] = "onecycle"
    warmup: Share = 0.1
    class_weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    smoothing: Share = 0.0
    dice: Annotated[float, Field(ge=0)] = 0.0
    focal: Annotated[float, Field(ge=0)] = 0.0
    bootstrap: Share = 0.0
    ema: Share = 0.0
    augment: tuple[Literal["flip", "rotate", "zoom", "brightness", "colour", "noise"], ...] = (
        "flip",
        "rotate",
    )
    best: (
        Literal[
            "accuracy",
            "miou",
            "f1",
            "boundary_f1",
            "ap_macro",
            "ap_micro",
            "ap50",
            "ap",
            "recall",
            "recall30",
        ]
        | None
    ) = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    ranks: Count = 1
    seed: int = 0
    cache: Memory = dataclasses.field(default="1g", compare=False)


@dataclass(frozen=True, config=_strict)
class PredictConf:
    """Which model maps (an MLflow URI; the run's own champion when not said; a+b: the mean of two) and how. window: pixels a side
    mapped at once. probabilities: also write how likely each class is, as rasters of a band a class.

    score: the least that a detection must have; overlap: above that share of their union two detections are one.
    """

    model: str | None = None
    window: Annotated[int, Field(ge=64, multiple_of=32)] = 1024
    flips: bool = False
    probabilities: bool = False
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    score: Annotated[float, Field(ge=0, lt=1)] = 0.25
    overlap: Annotated[float, Field(gt=0, lt=1)] = 0.5


@dataclass(frozen=True, config=_strict)
class RasterConf:
    """One COG for every `group` x `group` tiles."""

    group: Count = 16


@dataclass(frozen=True, config=_strict)
class StatsConf:
    """What is told of regions. confident: the least confidence of what counts as confident; landscape: also patches and edges."""

    confident: Annotated[float, Field(ge=0, le=1)] = 0.8
    landscape: bool = False


@dataclass(frozen=True, config=_strict)
class RegionFile:
    """A vector file of regions; id and name say which of its columns to use, layer which of its layers.

    cut: every region is cut by an even grid of cut x cut over its bounds, ids `<id>/<col>_<row>`.
    """

    path: str
    id: str | None = None
    name: str | None = None
    level: str = "region"
    layer: str | None = None
    cut: Count = 1


@dataclass(frozen=True, config=_strict)
class MapFiles:
    """Class rasters made elsewhere: the files that match a pattern, all of one period."""

    path: str
    period: Name


@dataclass(frozen=True, config=_strict)
class PublishConf:
    """An Iceberg catalogue that the run's tables are published to, under a namespace.

    warehouse: the folder or object store of its files; catalog: what else Spark is told of it, such as {type: rest, uri: …}, a
    catalogue of files alone where nothing is said.
    """

    warehouse: str
    namespace: Name = "lulc"
    catalog: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, config=_strict)
class TrackingConf:
    """Where MLflow keeps runs: `DIR/mlflow.db` when no uri is given. required: stop when it cannot be reached."""

    uri: str | None = None
    experiment: str | None = None
    required: bool = False


@dataclass(frozen=True, config=_strict)
class SessionConf:
    """The session: master (what spark-submit says comes first), driver and executor memory, any other Spark setting."""

    master: str | None = None
    memory: Memory = "2g"
    conf: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, config=_strict)
class Config:
    """A whole run file. Relative paths in it are relative to the file itself.

    task, bands and legend may be left to datasets; labels alone are those of `segment` unless task says change or series.
    `legend: common` is that of `lulc.legend.COMMON`.
    """

    name: Name
    task: TaskName | None = None
    scenes: tuple[Archive, ...] = ()
    bands: tuple[Name, ...] = ()
    legend: dict[Annotated[int, Field(ge=0, le=254)], ClassConf] = dataclasses.field(
        default_factory=dict
    )
    datasets: tuple[DatasetConf, ...] = ()
    layers: tuple[LayerConf, ...] = ()
    tiling: TilingConf = TilingConf()
    area: str | None = None
    periods: tuple[Period, ...] = (Period("all"),)
    dates: Count = 1
    composite: CompositeConf | None = None
    labels: LabelConf | None = None
    samples: SampleConf = SampleConf()
    train: TrainConf = TrainConf()
    predict: PredictConf = PredictConf()
    rasters: RasterConf = RasterConf()
    regions: tuple[RegionFile, ...] = ()
    maps: tuple[MapFiles, ...] = ()
    stats: StatsConf = StatsConf()
    publish: PublishConf | None = None
    tracking: TrackingConf = TrackingConf()
    spark: SessionConf = SessionConf()
    max_bad: Annotated[str, AfterValidator(_limit)] | None = None

    def make_legend(self) -> Legend:
        """The run's Legend, classes in the order of the file."""
        return Legend(
            self.name, tuple(LandClass(i, c.name, c.colour) for i, c in self.legend.items())
        )
