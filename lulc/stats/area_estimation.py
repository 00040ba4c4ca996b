"""Interpreted points against a map: accuracy and area by design, with intervals, for all of it and by region."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from lulc.config import MapFiles, RegionFile
from lulc.errors import InputError
from lulc.geo.grid import WGS84, transformer
from lulc.legend import NODATA, class_names
from lulc.raster import access
from lulc.stats import class_rasters, estimators, regions
from lulc.stats.estimators import Estimate, ReferenceSample
from lulc.stats.sampling import design_file
from lulc.stats.zonal import widen
from lulc.tables import schemas, store

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Points:
    """Interpreted points: longitude and latitude (N, 2), the sample, how many are not interpreted, and the rasters sampled."""

    places: np.ndarray
    sample: ReferenceSample
    names: dict[int, str]
    unanswered: int
    rasters: tuple[str, ...]


def estimate_areas(
    points: Path, maps: Sequence[Path], out: Path, region_files: Sequence[RegionFile] = ()
) -> tuple[pa.Table, int]:
    """The estimates table, kept under `out` beside the error matrix, and how many points have no reference yet.

    points: a file made by `lulc design`, its column `reference` filled with class ids or names. maps: the class rasters that are
    judged, those of the design where none is given. InputError naming what is missing: the design, a class, points of a stratum.
    """
    read = read_points(points, maps)
    sample, rows = read.sample, []
    classes = sorted(set(sample.reference.tolist()) | (set(sample.mapped.tolist()) - {NODATA}))
    told = {"region_id": None, "class_id": None, "class_name": None}
    rows.append(
        _row(estimators.mean(sample, sample.mapped == sample.reference), "overall_accuracy", told)
    )
    for k in classes:
        named = told | {"class_id": k, "class_name": read.names.get(k, str(k))}
        is_mapped, is_true = sample.mapped == k, sample.reference == k
        rows.append(_row(estimators.ratio(sample, is_true, is_mapped), "users_accuracy", named))
        rows.append(_row(estimators.ratio(sample, is_mapped, is_true), "producers_accuracy", named))
        share = estimators.mean(sample, is_true)
        rows += [
            _row(share, "area_share", named),
            _row(share.times(sample.total), "area_m2", named),
        ]
    if region_files:
        rows += _by_region(read, regions.read_regions(region_files).table.to_pylist(), classes)
    table = pa.Table.from_pylist(rows, schemas.ESTIMATES)
    store.write_table(out, "estimates", table)
    seen = [*classes, *([NODATA] if (sample.mapped == NODATA).any() else [])]
    shares = estimators.error_matrix(sample, seen)
    pairs = [
        {"map_id": i, "reference_id": j, "area_share": float(shares[a, b])}
        | {"points": int(((sample.mapped == i) & (sample.reference == j)).sum())}
        for a, i in enumerate(seen)
        for b, j in enumerate(seen)
        if j != NODATA
    ]
    store.write_table(out, "error_matrix", pa.Table.from_pylist(pairs, schemas.ERROR_MATRIX))
    return table, read.unanswered


def read_points(path: Path, maps: Sequence[Path]) -> Points:
    """The interpreted points of a file, with the maps' class at each (NODATA where there is none)."""
    import geopandas

    if not path.exists() or not design_file(path).exists():
        raise InputError(
            f"{path} and {design_file(path).name} beside it are needed: `lulc design` writes both"
        )
    told = json.loads(design_file(path).read_text())
    frame = geopandas.read_file(path).to_crs(WGS84)
    lacks = {"stratum_id", "reference"} - set(frame.columns)
    if lacks:
        raise InputError(
            f"{path} lacks column {', '.join(sorted(lacks))}: `lulc design` writes them, interpreters fill in `reference`"
        )
    names = {s["id"]: s["name"] for s in told["strata"]}
    places = shapely.get_coordinates(frame.geometry.to_numpy())
    mapped = np.full(len(frame), NODATA, np.uint8)
    for file in maps or map(Path, told["rasters"]):
        with access.open_raster(str(file)) as source:
            names |= class_names(source.tags())
            x, y = transformer(WGS84, source.crs.to_wkt()).transform(*places.T)
            values = np.array([v[0] for v in source.sample(zip(x, y, strict=True))])
            inside = (
                (x >= source.bounds.left)
                & (x < source.bounds.right)
                & (y > source.bounds.bottom)
                & (y <= source.bounds.top)
            )
            empty = NODATA if source.nodata is None else int(source.nodata)
            mapped = np.where(inside & (values != empty), values, mapped)
    reference = _ids(path, frame["reference"].tolist(), names)
    answered = reference >= 0
    areas = {s["id"]: s["area_m2"] for s in told["strata"]}
    sample = ReferenceSample(
        frame["stratum_id"].to_numpy(int)[answered],
        mapped[answered].astype(int),
        reference[answered],
        areas,
    )
    return Points(places[answered], sample, names, int((~answered).sum()), tuple(told["rasters"]))


def _ids(path: Path, values: Iterable[Any], names: dict[int, str]) -> np.ndarray:
    # Class ids of what interpreters wrote, -1 where they wrote nothing.
    known = {name.casefold(): number for number, name in names.items()} | {
        str(number): number for number in names
    }
    found = []
    for value in values:
        text = "" if value is None or value != value else str(value).strip()  # noqa: PLR0124 (NaN)
        text = text.removesuffix(".0")
        if text and text.casefold() not in known:
            accepted = ", ".join(f"{number} or {name}" for number, name in sorted(names.items()))
            raise InputError(
                f"{path}: reference {text!r} is no class; accepted are {accepted}, or nothing where not interpreted"
            )
        found.append(known[text.casefold()] if text else -1)
    return np.array(found, int)


def _by_region(points: Points, found: Sequence[Row], classes: Sequence[int]) -> list[Row]:
    # A share by the ratio estimator, and so much of the region's sampled area, which is known (Cochran 1977, ch. 6): how many
    # points happened to fall in a region is then no part of the error.
    rows: list[Row] = []
    shapes = shapely.from_wkb([r["geometry"] for r in found])
    known = _sampled_areas(points.rasters, found, shapes)
    tree = shapely.STRtree(shapes)
    at, region = tree.query(shapely.points(points.places), predicate="within")
    for number, row in enumerate(found):
        inside = np.zeros(len(points.places), bool)
        inside[at[region == number]] = True
        told = {"region_id": row["region_id"], "class_id": None, "class_name": None}
        sample = points.sample
        rows.append(
            _row(
                estimators.ratio(sample, sample.mapped == sample.reference, inside),
                "overall_accuracy",
                told,
            )
        )
        for k in classes:
            named = told | {"class_id": k, "class_name": points.names.get(k, str(k))}
            is_true = sample.reference == k
            share = estimators.ratio(sample, is_true, inside)
            rows += [
                _row(share, "area_share", named),
                _row(share.times(known[number]), "area_m2", named),
            ]
    return rows


def _sampled_areas(rasters: Sequence[str], found: Sequence[Row], shapes: np.ndarray) -> np.ndarray:
    """(R,) m² of each region that have a class in the rasters that the points were drawn from."""
    sources = class_rasters.scan_rasters([MapFiles(glob.escape(path), "map") for path in rasters])
    tree, known = shapely.STRtree(shapes), np.zeros(len(found))
    for block in class_rasters.blocks(sources):
        near = tree.query(
            shapely.box(*widen((block["xmin"], block["ymin"], block["xmax"], block["ymax"])))
        )
        for row in class_rasters.count_map_block(
            block["file_name"], near.tolist(), sources, lambda i: (found[i]["level"], shapes[i])
        ):
            known[row["position"]] += row["area_m2"] if row["class_id"] != NODATA else 0
    return known


def _row(found: Estimate, measure: str, told: Row) -> Row:
    low, high = found.interval
    numbers = {
        "estimate": found.value,
        "standard_error": found.error,
        "low_95": low,
        "high_95": high,
        "points": found.points,
    }
    return told | {"measure": measure} | {k: None if v != v else v for k, v in numbers.items()}  # noqa: PLR0124 (NaN)
