"""Keys of what is learnt: legend, labels, datasets, samples, training."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from lulc.bands import Unit
from lulc.config.kinds import (
    Augmentation,
    Code,
    Colour,
    Count,
    Memory,
    Metric,
    Name,
    Number,
    Precision,
    Share,
    Whole,
    strict,
)
from lulc.legend import name_key


@dataclass(frozen=True, config=strict)
class ClassConf:
    """One class of the legend, under its id."""

    name: str
    """Name of the class."""
    colour: Colour
    """Colour as `#rrggbb`."""


def _name_layout(value: object) -> object:
    return {"layout": value} if isinstance(value, str) else value


@dataclass(frozen=True, config=strict)
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
    """Metres around a point within which pixels have its class, by their centres, 100 pixels or
    less; the one that the point lies in always has."""
    quality: str | None = None
    """Column with a number, such as a weight or confidence; points of 0, less or none are left
    out. Default: all are used."""
    min_quality: Number = 0.0
    """Least `quality` of a point that is used."""

    def __post_init__(self) -> None:
        if self.layout and self.names_place:
            raise ValueError(
                f"layout {self.layout} has its own columns of places: leave longitude and latitude "
                "out, or layout"
            )
        if self.longitude == self.latitude:
            raise ValueError(f"longitude and latitude are both column {self.longitude!r}: name two")
        if self.min_quality and self.quality is None:
            raise ValueError("min_quality is of a column: name it in quality")

    @property
    def names_place(self) -> bool:
        """Whether columns of longitude and latitude are named."""
        return (self.longitude, self.latitude) != ("longitude", "latitude")

    @property
    def date_columns(self) -> tuple[str, ...]:
        """The columns of `date`: none, one, or two."""
        return (self.date,) if isinstance(self.date, str) else self.date or ()


@dataclass(frozen=True, config=strict)
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


@dataclass(frozen=True, config=strict)
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


@dataclass(frozen=True, config=strict)
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


@dataclass(frozen=True, config=strict)
class TreesConf:
    """How the trees of models `boosting` and `forest` are grown."""

    count: Count = 100
    """Number of trees for every class."""
    leaves: Annotated[Whole, Field(ge=2, le=65536)] = 63
    """Most leaves of a tree."""
    leaf: Count | None = None
    """Least number of rows in a leaf. Default: 20; of less than 200 rows, a tenth of them."""
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


@dataclass(frozen=True, config=strict)
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
