"""Which class rasters a run has, and in which colours they are shown.

They are the run's own, or those made elsewhere that its run file names.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence

import pyarrow as pa

from lulc.config import Config
from lulc.legend import Legend, legend_from_table
from lulc.location import Location, relative_name
from lulc.paths import match_files
from lulc.raster.access import open_raster
from lulc.tables import layout


def rasters_of_run(config: Config, out: Location) -> dict[str, list[Location]]:
    """Return the class rasters of a run that exist, in order, by period.

    Args:
        config: the run.
        out: its output location.
    """
    rasters: dict[str, set[Location]] = {}
    for map_files in config.maps if config.maps_as_given else ():
        rasters.setdefault(map_files.period, set()).update(match_files(map_files.path))
    if not config.maps_as_given:
        for path in (out / layout.RASTERS).rglob("*.tif"):
            place = relative_name(path, out)
            rasters.setdefault(layout.raster_period(place), set()).add(out / place)
    return {period: sorted(rasters[period]) for period in sorted(rasters) if rasters[period]}


def legend_of_run(config: Config, areas: pa.Table, rasters: Sequence[Location]) -> Legend:
    """Return the legend of a run's maps.

    Args:
        config: the run.
        areas: its table `class_areas`, which names the classes of maps made elsewhere.
        rasters: its class rasters, of which the first one's colour table colours such maps.
    """
    if config.legend:
        return config.make_legend()
    classes = areas.group_by(["class_id", "class_name"]).aggregate([]).to_pylist()
    names = {r["class_id"]: r["class_name"] for r in classes if r["class_id"] is not None}
    table: dict[int, tuple[int, ...]] = {}
    for raster in itertools.islice(rasters, 1):
        with open_raster(str(raster)) as file, contextlib.suppress(ValueError):
            table = file.colormap(1)
    return legend_from_table(config.name, names, table)
