"""The report of a run: one HTML page.

Its first part is for people who decide: the map, three findings, areas, change, where the map is
least sure, how it was checked and where it comes from. Behind it are all figures, for those who
check. All texts are of one file (`page/english.yaml`), so that other languages can be added.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import shapely
from shapely.geometry.base import BaseGeometry

from lulc import redact
from lulc.config import Config
from lulc.errors import InputError
from lulc.legend import Legend
from lulc.location import Location
from lulc.maps.of_run import legend_of_run, rasters_of_run
from lulc.raster import access
from lulc.report import accuracies, details, origin
from lulc.report.front import describe_front
from lulc.report.map import PICTURE_SIDE, draw_map
from lulc.report.measured import read_measured
from lulc.report.regions import finest_level, outline_regions
from lulc.report.texts import Texts, read_texts
from lulc.tables import files, layout, store
from lulc.tables.ledger_files import read_once
from lulc.yaml12 import dump_yaml

_MAX_SCENES = 500  # that the page lists, the newest; the table holds all
_MAX_SHAPES = 150  # regions whose outlines leave the map visible


def write_report(config: Config, out: Location) -> Location:
    """Write `report.html`, and `map.png`, from the tables and rasters of a run.

    The page holds its pictures and needs no network. Sections without data are left out.

    Args:
        config: the run file.
        out: output folder of the run.

    Returns:
        Path of the page.

    Raises:
        InputError: the folder holds no tables, or a text of `about.texts` is missing.
        UsageError: `about.texts` cannot be read.
    """
    if not files.exists(out / layout.TABLES):
        raise InputError(f"{out} holds no run to report on: give the --out of `lulc run`")
    texts = read_texts(config.about.texts)
    areas = store.read_table(out, "class_areas")
    mapped, unmapped = details.mapped_regions(areas)
    rasters = rasters_of_run(config, out)
    legend = legend_of_run(config, areas, rasters[max(rasters)] if rasters else ())
    measured = read_measured(config, out, legend, areas)
    period = measured.last if measured.last in rasters else max(rasters, default="")
    picture = _draw_picture(config, out, period, rasters.get(period, []), legend, mapped)
    if picture:
        files.write_atomic(out / layout.MAP_PICTURE, lambda path: path.write_bytes(picture))
    scenes = origin.read_scenes(out)
    title = config.about.title or config.name
    with read_once(out):
        bad = origin.list_bad_inputs(out)
        page = _render(
            t=texts,
            title=title,
            headline=origin.headline(config, scenes, texts),
            map_png=base64.b64encode(picture).decode(),
            map_text=texts("map_of", period=period),
            **describe_front(measured, texts),
            origin=origin.describe_origin(config, out, scenes, len(bad), texts),
            **_details(out, legend, areas, set(mapped[: details.MAX_REGIONS]), texts),
            smaller_count=max(0, len(mapped) - details.MAX_REGIONS),
            unmapped=unmapped,
            bad=bad,
            technique=origin.describe_technique(config, out, texts),
            scenes=scenes.sort_by([("datetime", "descending")])[:_MAX_SCENES].to_pylist(),
            scene_count=scenes.num_rows,
            settings=_format_settings(config),
        )
    path = out / layout.REPORT
    files.write_atomic(path, lambda temporary: temporary.write_text(page, "utf-8"))
    return path


def _details(
    out: Location,
    legend: Legend,
    areas: pa.Table,
    listed: set[details.RegionKey],
    texts: Texts,
) -> dict[str, Any]:
    transitions = details.region_rows(store.read_table(out, "transitions"), listed)
    return {
        "areas": details.tell_areas(out, legend, areas, listed, texts),
        "shares": outline_regions(out, legend),
        "detections": details.tell_detections(out, texts),
        "presence": details.tell_presence(out, texts),
        "transitions": details.tell_transitions(legend, transitions, texts),
        "estimates": accuracies.tell_estimates(out, legend, texts),
        "accuracy": accuracies.tell_agreement(out, legend, texts),
    }


def _render(**sections: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("report.html").render(**sections)


def _format_settings(config: Config) -> str:
    return dump_yaml(redact.redact_setting("", _chosen_settings(config)))


def _chosen_settings(value: Any) -> Any:
    # The settings that differ from their defaults; of paths on this machine folder and name.
    if dataclasses.is_dataclass(value):
        chosen = {}
        for field in dataclasses.fields(value):
            setting, default = getattr(value, field.name), field.default
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            if setting != default:
                chosen[field.name] = _chosen_settings(setting)
        return chosen
    if isinstance(value, Mapping):
        return {key: _chosen_settings(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_chosen_settings(entry) for entry in value]
    is_local = isinstance(value, str) and value.startswith("/")
    return "/".join(["…", *value.rsplit("/", 2)[1:]]) if is_local else value


def _draw_picture(
    config: Config,
    out: Location,
    period: str,
    rasters: list[Location],
    legend: Legend,
    mapped: Sequence[details.RegionKey],
) -> bytes:
    # PNG of a period's map; empty without rasters. Maps made elsewhere are drawn where regions are.
    if not rasters:
        return b""
    bounds = _region_bounds(out, set(mapped)) if config.maps_as_given else None
    drawn = rasters if config.maps_as_given else _overview(out, period) or rasters
    title = f"{config.about.title}: {period}" if config.about.title else f"{config.name} {period}"
    return draw_map(drawn, legend, title, bounds, _shapes_on_map(out, mapped))


def _shapes_on_map(
    out: Location, mapped: Sequence[details.RegionKey]
) -> list[tuple[str, BaseGeometry]]:
    # Names and shapes of the finest level that a picture has room for.
    keys = pa.Table.from_pylist([{"level": level, "region_id": name} for level, name in mapped])
    level = finest_level(keys, _MAX_SHAPES) if mapped else None
    rows = details.region_rows(
        store.read_table(out, "regions"), {key for key in mapped if key[0] == level}
    )
    return [
        (row["name"] or row["region_id"], shapely.from_wkb(row["geometry"]))
        for row in rows
        if row["geometry"]
    ]


def _overview(out: Location, period: str) -> list[Location]:
    # The overview of the run's own rasters, where a picture needs no more: of a continent they are
    # thousands. None of rasters made elsewhere, or of a small map.
    overview = out / layout.mosaic_files(period)[-1]
    if not files.exists(overview):
        return []
    with access.open_raster(str(overview)) as file:
        return [overview] if max(file.shape) >= PICTURE_SIDE else []


def _region_bounds(out: Location, regions: set[details.RegionKey]) -> tuple[float, ...] | None:
    # West, south, east and north of these regions in degrees; None without any.
    rows = details.region_rows(store.read_table(out, "regions"), regions)
    shapes = shapely.from_wkb([row["geometry"] for row in rows])
    return tuple(shapely.total_bounds(shapes).tolist()) if rows else None
