"""Functions of this project in SQL: models, areas and classes, beside Spark's and Sedona's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import SparkSession
from pyspark.sql.udf import UserDefinedFunction
from pyspark.util import PythonEvalType

from lulc import runfile
from lulc.config import Config, MapFiles
from lulc.errors import InputError, UsageError
from lulc.legend import NODATA
from lulc.location import Location
from lulc.spark.carried import carry
from lulc.spark.queries.rules import make_java
from lulc.tables import layout, store

if TYPE_CHECKING:
    import pandas as pd

    from lulc.maps.prediction_row import PredictionRow
    from lulc.stats.histogram import MapHistogram


@dataclass(frozen=True)
class SqlFunction:
    """A function, as it is documented."""

    name: str
    arguments: str
    returns: str
    """Type, in Spark SQL."""
    meaning: str

    @property
    def usage(self) -> str:
        """How it is called, what it returns, and what that means."""
        return f"{self.name}({self.arguments}) -> {self.returns}: {self.meaning}"


COSINE = SqlFunction(
    "cosine",
    "a, b",
    "DOUBLE",
    "cosine of the angle between two vectors; null where they are unlike long, or one has length 0",
)
_CLASSIFY = SqlFunction(
    "lulc_classify",
    "model, tile_id, period",
    "STRUCT<classes: ARRAY<SMALLINT>, confidence: ARRAY<SMALLINT>>",
    "class id and confidence (percent) of every pixel of a tile of the run, row by row, null where "
    "there is none, as the stage predict maps it by a registered model (models:/<name>/<version>, "
    "models:/<name>@<alias> or <name>; null: the run's own)",
)
_PROBABILITIES = SqlFunction(
    "lulc_probabilities",
    "model, tile_id, period",
    "MAP<INT, ARRAY<SMALLINT>>",
    "class id -> probability (percent) of every pixel of a tile, otherwise as lulc_classify",
)
_AREA = SqlFunction(
    "lulc_area_m2",
    "geometry",
    "DOUBLE",
    "true area in m² on the ellipsoid of WGS 84 of polygons in degrees (EPSG:4326; geometry, WKB "
    "or WKT)",
)
_HISTOGRAM = SqlFunction(
    "lulc_class_histogram",
    "map, geometry",
    "MAP<INT, DOUBLE>",
    "class id -> true area in m² within polygons in degrees, shares of pixels on the border "
    "counted; the map is a period of the run or, in a session of one's own, class rasters by path "
    "or pattern",
)
_LEGEND = SqlFunction("lulc_legend", "id", "STRING", "name of a class of the run; null: none")
FUNCTIONS = (_CLASSIFY, _PROBABILITIES, _AREA, _HISTOGRAM, _LEGEND, COSINE)
"""All of them."""


def add_functions(spark: SparkSession, out: Location | None = None, any_map: bool = False) -> None:
    """Give a session, and every restricted one that is made of it, the functions.

    Args:
        spark: the session.
        out: a run's output location; without its run file there are none that need a run.
        any_map: class rasters may be given by path, too.
    """
    make_java(spark, "VectorFunctions").register(spark._jsparkSession, COSINE.usage)
    config = None if out is None else _config_of(out)
    works: dict[SqlFunction, _Work] = {
        _AREA: _measure_areas,
        _HISTOGRAM: partial(_count_classes, out, config, any_map),
    }
    if out is not None and config is not None:
        works[_CLASSIFY] = partial(_classify, out, config)
        works[_PROBABILITIES] = partial(_find_probabilities, out, config)
        names = _class_names(out, config)
        java = make_java(spark, "OwnFunctions")
        java.addNames(spark._jsparkSession, _LEGEND.name, _LEGEND.usage, names)
    for function, work in works.items():
        _add_python(spark, function, work)


def check_models(spark: SparkSession, out: Location) -> None:
    """Check the models that the statement names which the session has just understood.

    Workers find them again; but there an error is told only when several have tried.

    Args:
        spark: the session.
        out: the run's output location.

    Raises:
        UsageError, InputError: as `lulc.inference.tiles.find_model` raises.
    """
    java = make_java(spark, "OwnFunctions")
    named = {name for f in (_CLASSIFY, _PROBABILITIES) for name in java.takeFirstTexts(f.name)}
    if named and (config := _config_of(out)):
        from lulc.inference.tiles import find_model

        for name in named:
            find_model(out, config, name)


def register_in_own(spark: SparkSession, out: Location | None) -> None:
    """Give a session that somebody else started the functions, and the format `lulc` of tables.

    Args:
        spark: the session.
        out: a run's output location, as of `add_functions`.

    Raises:
        UsageError: the session is one of Spark Connect, or the run file has no valid meaning.
        InputError: there is no run.
    """
    if not hasattr(spark, "_jsparkSession"):
        raise UsageError(
            "a session of Spark Connect cannot be given functions: register them in a session that "
            "runs in this process"
        )
    if out is not None:
        _read_config(out)
    from lulc.spark.queries.source import RunTables

    add_functions(spark, out, any_map=True)
    spark.dataSource.register(RunTables)


type _Work = Callable[[Iterator[Any]], Iterator[Any]]
"""From batches of the arguments' columns to batches of the results; the pandas of Spark."""


def _config_of(out: Location) -> Config | None:
    # Of tables without a run file, or with one of an earlier release, queries are answered, too.
    with contextlib.suppress(InputError, UsageError):
        return _read_config(out)
    return None


def _read_config(out: Location) -> Config:
    location = out / layout.CONFIG
    if not location.exists():
        raise InputError(f"{out} holds no {layout.CONFIG}: give the output folder of a run")
    return runfile.parse_run(runfile.read_mapping(location), out, str(location))


def _class_names(out: Location, config: Config) -> dict[int, str]:
    if config.legend:
        return dict(config.make_legend().names)
    from lulc.maps.of_run import legend_of_run

    areas = store.read_table(out, "class_areas", ["class_id", "class_name"])
    return dict(legend_of_run(config, areas, ()).names)


def _add_python(spark: SparkSession, function: SqlFunction, work: _Work) -> None:
    carried = UserDefinedFunction(
        carry(work), function.returns, function.name, PythonEvalType.SQL_SCALAR_PANDAS_ITER_UDF
    )
    count = len(function.arguments.split(","))
    java = make_java(spark, "OwnFunctions")
    java.addPython(spark._jsparkSession, function.name, function.usage, count, carried._judf)


def _measure_areas(batches: Iterable[pd.Series]) -> Iterator[pd.Series]:
    import pandas as pd

    from lulc.geo.areas import degrees_area
    from lulc.stats.histogram import degrees_polygon

    for geometries in batches:
        areas = [None if g is None else degrees_area(degrees_polygon(g)) for g in geometries]
        yield pd.Series(areas, dtype="float64")


def _count_classes(
    out: Location | None,
    config: Config | None,
    any_map: bool,
    batches: Iterable[tuple[pd.Series, pd.Series]],
) -> Iterator[pd.Series]:
    import pandas as pd

    from lulc.stats.histogram import degrees_polygon

    open_map = lru_cache(maxsize=16)(partial(_open_map, out, config, any_map))
    for names, geometries in batches:
        yield pd.Series(
            [
                None
                if name is None or geometry is None
                else open_map(name).areas_m2(degrees_polygon(geometry))
                for name, geometry in zip(names, geometries, strict=True)
            ],
            dtype="object",
        )


def _open_map(
    out: Location | None, config: Config | None, any_map: bool, name: str
) -> MapHistogram:
    from lulc.maps.of_run import rasters_of_run
    from lulc.stats.class_rasters import scan_rasters
    from lulc.stats.histogram import MapHistogram

    of_run = rasters_of_run(config, out) if config is not None and out is not None else {}
    if config is not None and name in of_run:
        files = [MapFiles(str(path), name) for path in of_run[name]]
        return MapHistogram(scan_rasters(files, config.stats.overlap))
    if any_map:
        return MapHistogram(scan_rasters([MapFiles(name, "map")]))
    raise InputError(
        f"{name!r} is no period of which {out} has a map: it has {', '.join(of_run) or 'none'}"
    )


def _classify(
    out: Location, config: Config, batches: Iterable[tuple[pd.Series, ...]]
) -> Iterator[pd.DataFrame]:
    import pandas as pd

    for row in _map_tiles(out, config, batches):
        arrays = (None, None) if row is None else (row.classes, row.confidence)
        lists = zip(("classes", "confidence"), arrays, strict=True)
        yield pd.DataFrame({name: [None if a is None else _listed(a)] for name, a in lists})


def _find_probabilities(
    out: Location, config: Config, batches: Iterable[tuple[pd.Series, ...]]
) -> Iterator[pd.Series]:
    import pandas as pd

    for row in _map_tiles(out, config, batches, probabilities=True):
        percents = None
        if row is not None:
            assert row.probabilities is not None
            percents = dict(zip(row.class_ids, map(_listed, row.probabilities), strict=True))
        yield pd.Series([percents], dtype="object")


def _map_tiles(
    out: Location,
    config: Config,
    batches: Iterable[tuple[pd.Series, ...]],
    probabilities: bool = False,
) -> Iterator[PredictionRow | None]:
    # A tile at a time, as a batch of them may be larger than a worker's memory; None for a null.
    from lulc.inference.predictor import use_one_core
    from lulc.inference.tiles import TileMapper

    use_one_core()
    mapper = TileMapper(out, config, probabilities)
    for columns in batches:
        for model, tile_id, period in zip(*columns, strict=True):
            is_null = tile_id is None or period is None
            yield None if is_null else mapper.map_tile(model, tile_id, period)


def _listed(numbers: np.ndarray) -> np.ndarray:
    # (H, W) uint8 row by row, None in place of 255.
    values = numbers.ravel().astype(object)
    values[numbers.ravel() == NODATA] = None
    return values
