"""Accuracy and area from interpreted points and a map, for the whole map and by region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from lulc import progress
from lulc.config import MapFiles, Overlap, RegionFile
from lulc.errors import UsageError
from lulc.geo.reproject import widen
from lulc.legend import NODATA
from lulc.location import Location, is_below, parse_location, relative_name
from lulc.stats import class_rasters, estimators
from lulc.stats.estimators import Estimate, ReferenceSample
from lulc.stats.interpreted_points import InterpretedPoints, read_points
from lulc.stats.regions import Region, read_regions
from lulc.tables import layout, schemas, store
from lulc.tables.lease import hold


@dataclass(frozen=True)
class _Domain:
    # What an estimate is of: a class or all (None), in a region or everywhere (None).
    region_id: str | None = None
    class_id: int | None = None
    class_name: str | None = None

    def row(self, measure: str, estimate: Estimate) -> dict[str, Any]:
        """Return the row of `schemas.ESTIMATES`."""
        low, high = estimate.interval
        numbers = {
            "estimate": estimate.value,
            "standard_error": estimate.error,
            "low_95": low,
            "high_95": high,
        }
        return {
            "region_id": self.region_id,
            "measure": measure,
            "class_id": self.class_id,
            "class_name": self.class_name,
            **{name: None if np.isnan(number) else number for name, number in numbers.items()},
            "points": estimate.points,
        }


def estimate_areas(
    points: Location,
    maps: Sequence[Location] = (),
    out: Location | None = None,
    region_files: Sequence[RegionFile] = (),
    overlap: Overlap | None = None,
    period: str | None = None,
) -> tuple[pa.Table, int]:
    """Estimate accuracies and areas from interpreted points.

    The estimators are those of `lulc.stats.estimators`.

    Args:
        points: file made by `lulc design`, its column `reference` filled in with class ids or
            names; points without one are left out.
        maps: class rasters whose accuracy is estimated; none for those of the design.
        out: output folder, which the tables `estimates` and `error_matrix` are written under;
            None writes none.
        region_files: regions to estimate by, too.
        overlap: where two class rasters have classes at one place, refuse them or take the first by
            name; None for what the design did.
        period: of the maps; None where their place under the output folder tells it, or nothing.
            Its rows take the place of earlier ones of the same period.

    Returns:
        The estimates (`schemas.ESTIMATES`, areas in m²), and the number of points that have no
        reference yet.

    Raises:
        InputError: the points or their design are missing or cannot be read, a reference is not a
            class, the legends of design and maps differ, or a stratum has fewer than two
            interpreted points.
        UsageError: the period is none of the run, or not that of the rasters that were judged.
    """
    interpreted = read_points(points, maps, overlap)
    sample = interpreted.sample
    mapped_ids = set(sample.mapped.tolist())
    unmapped = int((sample.mapped == NODATA).sum())
    if unmapped:
        progress.say(f"{unmapped} points lie where the maps have no class, and count as errors")
    classes = sorted(set(sample.reference.tolist()) | (mapped_ids - {NODATA}))
    rows = _estimate_all(interpreted, classes)
    if region_files:
        region_set = read_regions(region_files)
        for note in region_set.notes:
            progress.say(note)
        rows += _estimate_by_region(interpreted, region_set.table, classes)
    judged = maps or [parse_location(raster) for raster in interpreted.rasters]
    if out is not None:
        period = _choose_period(period, judged, out)
    estimates = _of_period(rows, period, schemas.ESTIMATES)
    if out is not None:
        matrix_ids = [*classes, *([NODATA] if NODATA in mapped_ids else [])]
        matrix = _of_period(_error_matrix(sample, matrix_ids), period, schemas.ERROR_MATRIX)
        with hold(out, "lulc evaluate"):
            for name, table in (("estimates", estimates), ("error_matrix", matrix)):
                store.write_table(out, name, _beside_other_periods(out, name, table, period))
    return estimates, interpreted.unanswered


def _choose_period(period: str | None, maps: Sequence[Location], out: Location) -> str | None:
    found = _find_period(maps, out)
    if period is None or period == found:
        return found
    if found is not None:
        raise UsageError(
            f"period {period!r} is not that of the points' maps, such as {maps[0]}: they are of "
            f"{found!r}; leave the period out"
        )
    known = store.read_table(out, "class_areas", ["period"])["period"].unique().to_pylist()
    if known and period not in known:
        raise UsageError(
            f"period {period!r} is none of which {out} has a map: give {' or '.join(sorted(known))}"
        )
    return period


def _find_period(maps: Sequence[Location], out: Location) -> str | None:
    # The period of the run's own rasters; None of maps that lie elsewhere, or of several periods.
    folder = out.resolve()
    own = folder / layout.RASTERS
    periods = {
        layout.raster_period(relative_name(path, folder)) if is_below(path, own) else None
        for path in (path.resolve() for path in maps)
    }
    return periods.pop() if len(periods) == 1 else None


def _of_period(rows: Sequence[dict[str, Any]], period: str | None, schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([row | {"period": period} for row in rows], schema)


def _beside_other_periods(
    out: Location, name: str, table: pa.Table, period: str | None
) -> pa.Table:
    # The rows of a table with those of other periods that are kept.
    kept = [row for row in store.read_table(out, name).to_pylist() if row["period"] != period]
    return pa.concat_tables([pa.Table.from_pylist(kept, table.schema), table])


def _estimate_all(points: InterpretedPoints, classes: Sequence[int]) -> list[dict[str, Any]]:
    # Estimates of the whole map.
    sample = points.sample
    correct = sample.mapped == sample.reference
    rows = [_Domain().row("overall_accuracy", estimators.mean(sample, correct))]
    for class_id in classes:
        domain = _Domain(None, class_id, points.class_names.get(class_id, str(class_id)))
        is_mapped, is_true = sample.mapped == class_id, sample.reference == class_id
        share = estimators.mean(sample, is_true)
        rows += [
            domain.row("users_accuracy", estimators.ratio(sample, is_true, is_mapped)),
            domain.row("producers_accuracy", estimators.ratio(sample, is_mapped, is_true)),
            domain.row("area_share", share),
            domain.row("area_m2", share.times(sample.total)),
        ]
    return rows


def _estimate_by_region(
    points: InterpretedPoints, table: pa.Table, classes: Sequence[int]
) -> list[dict[str, Any]]:
    # A share by the ratio estimator, times the region's sampled area, which is known (Cochran 1977,
    # ch. 6): how many points happen to fall in a region is then no part of the error.
    rows: list[dict[str, Any]] = []
    sample, shapes = points.sample, shapely.from_wkb(table["geometry"].to_pylist())
    sampled_m2 = _sampled_areas(points, table["level"].to_pylist(), shapes)
    tree = shapely.STRtree(shapes)
    point, region = tree.query(shapely.points(points.coordinates), predicate="within")
    for position, region_id in enumerate(table["region_id"].to_pylist()):
        in_region = np.zeros(len(points.coordinates), bool)
        in_region[point[region == position]] = True
        domain, correct = _Domain(region_id), sample.mapped == sample.reference
        accuracy = estimators.ratio(sample, correct, in_region)
        rows.append(domain.row("overall_accuracy", accuracy))
        for class_id in classes:
            name = points.class_names.get(class_id, str(class_id))
            class_domain = replace(domain, class_id=class_id, class_name=name)
            share = estimators.ratio(sample, sample.reference == class_id, in_region)
            area = share.times(sampled_m2[position])
            rows += [class_domain.row("area_share", share), class_domain.row("area_m2", area)]
    return rows


def _sampled_areas(
    points: InterpretedPoints, levels: Sequence[str], shapes: np.ndarray
) -> np.ndarray:
    # (R,) m² of each region that have a class in the rasters that the points were drawn from.
    files = [MapFiles(path, "map") for path in points.rasters]
    maps = class_rasters.scan_rasters(files, points.overlap)
    tree, areas = shapely.STRtree(shapes), np.zeros(len(shapes))
    for block in class_rasters.blocks(maps):
        bounds = widen((block["xmin"], block["ymin"], block["xmax"], block["ymax"]))
        positions = tree.query(shapely.box(*bounds)).tolist()
        for row in class_rasters.count_map_block(
            block["file_name"],
            positions,
            maps,
            lambda position: Region(position, levels[position], shapes[position]),
        ):
            areas[row["position"]] += row["area_m2"] if row["class_id"] < NODATA else 0
    return areas


def _error_matrix(sample: ReferenceSample, ids: Sequence[int]) -> list[dict[str, Any]]:
    shares = estimators.error_matrix(sample, ids)
    return [
        {
            "map_id": map_id,
            "reference_id": reference_id,
            "area_share": float(shares[i, j]),
            "points": int(((sample.mapped == map_id) & (sample.reference == reference_id)).sum()),
        }
        for i, map_id in enumerate(ids)
        for j, reference_id in enumerate(ids)
        if reference_id != NODATA
    ]
