"""The whole run file: Config, and the keys of its tracking and its session."""

from __future__ import annotations

import dataclasses

from pydantic.dataclasses import dataclass

from lulc.bands import OBSERVATIONS
from lulc.config.imagery import Archive, CompositeConf, LayerConf, Period, TilingConf
from lulc.config.kinds import (
    BandNames,
    ClassId,
    Count,
    Flag,
    Limit,
    Memory,
    Name,
    TaskName,
    strict,
)
from lulc.config.learning import ClassConf, DatasetConf, LabelConf, SampleConf, TrainConf
from lulc.config.mapping import (
    AboutConf,
    EmbedConf,
    MapFiles,
    PredictConf,
    PublishConf,
    RasterConf,
    RefineConf,
    RegionFile,
    StatsConf,
)
from lulc.features.feature import Feature, parse_features
from lulc.legend import LandClass, Legend


@dataclass(frozen=True, config=strict)
class TrackingConf:
    """The MLflow store of runs and models."""

    uri: str | None = None
    """Address of the tracking store. Default: `mlflow.db` in the output folder."""
    experiment: str | None = None
    """Name of the experiment. Default: the run's name."""
    required: Flag = False
    """Whether the run stops when the store cannot be reached. Default: it goes on, and the model is
    kept in the output folder."""


@dataclass(frozen=True, config=strict)
class SessionConf:
    """The Spark session."""

    master: str | None = None
    """Spark master; spark-submit's comes first. Default: all cores of this machine."""
    memory: Memory = "2g"
    """Memory of the driver and of each executor's JVM, such as `500m` or `4g`."""
    conf: dict[str, str] = dataclasses.field(default_factory=dict)
    """Any other Spark settings."""


@dataclass(frozen=True, config=strict)
class Config:
    """A whole run file. Relative paths are relative to the file."""

    name: Name
    """Name of the run and of its registered model."""
    task: TaskName | None = None
    """`segment`, `classify`, `multilabel`, `detect`, `change` or `series`. Default: the datasets'
    task; without datasets `segment`."""
    scenes: tuple[Archive, ...] = ()
    """Archives of scenes, or searches for them."""
    bands: BandNames = ()
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
    max_bad: Limit | None = None
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
    def formulas(self) -> dict[str, str]:
        """The formulas of bands that are computed by one, by band."""
        found = {feature.name: feature.expression.formula for feature in self.features}
        return {band: formula for band, formula in found.items() if formula}

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
