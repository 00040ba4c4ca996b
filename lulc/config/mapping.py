"""Keys of what is made of a model: predictions, refined maps, rasters, areas, tables."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from lulc.config.kinds import (
    Combination,
    Count,
    Flag,
    Name,
    Number,
    Odd,
    Overlap,
    Precision,
    Text,
    Whole,
    strict,
)


@dataclass(frozen=True, config=strict)
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
    """Side in pixels of the window that is predicted at once, a multiple of 32. A transformer's
    windows are as large as the samples, or crops, that it learned from."""
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


@dataclass(frozen=True, config=strict)
class SmoothConf:
    """Bayesian smoothing of class probabilities, as in sits."""

    window: Odd = 7
    """Side in pixels of the square around a pixel, an odd number."""
    smoothness: Annotated[Number, Field(gt=0)] = 10.0
    """Variance of the logits of a pixel's probabilities: the larger, the more its neighbours
    count."""
    share: Annotated[Number, Field(gt=0, le=1)] = 0.5
    """Share of the neighbours that a class takes, those in which it is most probable."""


@dataclass(frozen=True, config=strict)
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


@dataclass(frozen=True, config=strict)
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


@dataclass(frozen=True, config=strict)
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


@dataclass(frozen=True, config=strict)
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


@dataclass(frozen=True, config=strict)
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


@dataclass(frozen=True, config=strict)
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


@dataclass(frozen=True, config=strict)
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


@dataclass(frozen=True, config=strict)
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


@dataclass(frozen=True, config=strict)
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
