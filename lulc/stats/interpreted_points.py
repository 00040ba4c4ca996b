"""Points of a sample design as people have interpreted them, with the maps' class at each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import shapely

from lulc.config import Overlap
from lulc.errors import InputError
from lulc.geo.grid import WGS84, transformer
from lulc.legend import NODATA, join_names, name_key
from lulc.location import Location, parse_location
from lulc.raster import classes
from lulc.stats.estimators import ReferenceSample
from lulc.stats.mosaic import ids_at_points, make_mosaic
from lulc.stats.sampling import design_file
from lulc.stats.uncertain_points import UNCERTAINTY
from lulc.tables.vector_files import find_layer, read_features, texts_of

_COLUMNS = ("stratum_id", "reference")
_DRAWN_BY = "drawn_by"
_SHEETS = (".csv", ".tsv", ".txt", ".xls", ".xlsx", ".ods")
_POINT = 0  # shapely's number of the type


@dataclass(frozen=True, eq=False)
class InterpretedPoints:
    """Points of a sample design, with the classes of the map and of the interpreters."""

    coordinates: np.ndarray
    """(N, 2) longitude and latitude in degrees."""
    sample: ReferenceSample
    """Stratum, map class and reference class of the N points."""
    class_names: dict[int, str]
    """Class names by id."""
    unanswered: int
    """Number of points that are not interpreted yet; the N points exclude them."""
    rasters: tuple[str, ...]
    """Paths of the class rasters that the points were drawn from."""
    overlap: Overlap
    """What the design did where these rasters overlap."""


@dataclass(frozen=True)
class _Design:
    """What `lulc design` wrote beside the points."""

    names: Mapping[int, str]
    """Names of the strata, which are classes, by id."""
    areas: Mapping[object, float]
    """m² of the strata by id."""
    rasters: tuple[str, ...]
    """Paths of the class rasters that the points were drawn from."""
    overlap: Overlap
    """What was done where these rasters overlap."""


def read_points(
    path: Location, maps: Sequence[Location], overlap: Overlap | None = None
) -> InterpretedPoints:
    """Read interpreted points, with the maps' class at each.

    Args:
        path: file of points, whose sample design lies beside it.
        maps: class rasters; none for those of the design.
        overlap: where two of them have unlike classes at a point, refuse them or take the first by
            name; None for what the design did.

    Returns:
        The points that are interpreted, their map class NODATA where no map has a class.

    Raises:
        InputError: the points or their design are missing or cannot be read, a column is missing, a
            reference is not a class, the legends of design and maps differ, or no point lies where
            a map has a class; or points were drawn where the map knows least.
    """
    design = _read_design(path)
    coordinates, stratum_ids, answers = _read_answers(path, set(design.names))
    scanned = [
        classes.scan_raster(str(raster.resolve()))
        for raster in maps or map(parse_location, design.rasters)
    ]
    names = join_names(
        [(str(design_file(path)), design.names), *((r.path, dict(r.names)) for r in scanned)]
    )
    mosaic = make_mosaic(scanned, overlap or design.overlap)
    reference = _parse_classes(path, answers, names)
    answered = reference >= 0
    mapped = ids_at_points(mosaic, *coordinates[answered].T).astype(int)
    if mapped.size and (mapped == NODATA).all():
        raise InputError(
            f"{path}: no interpreted point lies where {scanned[0].path} or another of the "
            f"{len(scanned)} maps has a class: give maps of the ground that the points lie on"
        )
    sample = ReferenceSample(
        stratum_ids[answered],
        mapped,
        reference[answered],
        design.areas,
    )
    return InterpretedPoints(
        coordinates[answered],
        sample,
        names,
        int((~answered).sum()),
        design.rasters,
        design.overlap,
    )


def _read_design(path: Location) -> _Design:
    design_path = design_file(path)
    if path.suffix.lower() in _SHEETS:
        raise InputError(
            f"{path} says not where its points lie: interpreted points are read from the .gpkg or "
            ".geojson that `lulc design` wrote. Fill in its column `reference` there (in QGIS, or "
            "from a spreadsheet by its column `point_id`)"
        )
    if not path.exists() or not design_path.exists():
        raise InputError(
            f"{path} and {design_path.name} beside it are needed: `lulc design` writes both"
        )
    try:
        content = json.loads(design_path.read_text())
        if isinstance(content, dict) and content.get("by") == UNCERTAINTY:
            raise _no_sample(path)
        return _parse_design(content)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(
            f"{design_path} is no sample design ({type(error).__name__}: {error}): `lulc design` "
            "writes it beside the points"
        ) from error


def _no_sample(path: Location) -> InputError:
    return InputError(
        f"{path} has points that were drawn where the map knows least: they are of its most "
        "doubtful part alone, and no accuracy or area can be estimated from them. Learn from them "
        "as labels, and draw points to estimate from by `lulc design` without --by"
    )


def _parse_design(content: Any) -> _Design:
    names: dict[int, str] = {}
    areas: dict[object, float] = {}
    for stratum in content["strata"]:
        class_id, area_m2 = stratum["id"], float(stratum["area_m2"])
        if type(class_id) is not int or not 0 <= class_id < NODATA or class_id in areas:
            raise ValueError(f"stratum id {class_id!r} is no class id of its own")
        if not 0 < area_m2 < math.inf:
            raise ValueError(f"stratum {class_id} has area_m2 {area_m2}")
        names[class_id], areas[class_id] = str(stratum["name"]), area_m2
    rasters, overlap = tuple(map(str, content["rasters"])), content.get("overlap", "refuse")
    if not areas or not rasters or overlap not in get_args(Overlap):
        raise ValueError(f"{len(areas)} strata, {len(rasters)} rasters, overlap {overlap!r}")
    return _Design(names, areas, rasters, overlap)


def _read_answers(path: Location, strata: set[int]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    # (N, 2) longitude and latitude, (N,) stratum and the text of the reference of every point.
    layer = find_layer(path, "points", columns=_COLUMNS)
    is_told = _DRAWN_BY in layer.columns
    features = read_features(layer, (*_COLUMNS, _DRAWN_BY) if is_told else _COLUMNS)
    if is_told and UNCERTAINTY in texts_of(features.columns[_DRAWN_BY]):
        raise _no_sample(path)
    points = features.geometries
    wrong = np.flatnonzero((shapely.get_type_id(points) != _POINT) | shapely.is_empty(points))
    if len(wrong):
        kind = "no geometry" if points[wrong[0]] is None else points[wrong[0]].geom_type
        raise InputError(
            f"{path}: feature {wrong[0] + 1} has {kind}, and {len(wrong)} of {len(points)} are no "
            "points: evaluate the points that `lulc design` wrote"
        )
    coordinates = shapely.get_coordinates(points)
    lon, lat = transformer(layer.crs, WGS84).transform(*coordinates.T)
    stratum_ids = texts_of(features.columns["stratum_id"])
    unknown = sorted(set(stratum_ids) - set(map(str, strata)))
    if unknown:
        raise InputError(
            f"{path}: stratum_id {', '.join(map(repr, unknown[:5]))} is no stratum of "
            f"{design_file(path).name}, which has {', '.join(map(str, sorted(strata)))}"
        )
    return (
        np.column_stack([lon, lat]),
        np.array(stratum_ids, int),
        texts_of(features.columns["reference"]),
    )


def _parse_classes(path: Location, answers: Iterable[str], names: dict[int, str]) -> np.ndarray:
    # Class ids of what interpreters wrote, -1 where they wrote nothing.
    ids = {name_key(name): number for number, name in names.items()}
    ids |= {str(number): number for number in names}
    parsed = []
    for answer in answers:
        text = answer.removesuffix(".0")
        if text and name_key(text) not in ids:
            accepted = ", ".join(f"{number} or {name}" for number, name in sorted(names.items()))
            raise InputError(
                f"{path}: reference {text!r} is no class; accepted are {accepted}, or nothing "
                "where not interpreted"
            )
        parsed.append(ids[name_key(text)] if text else -1)
    return np.array(parsed, int)
