"""The samples stage: labels on chips and published datasets become one table, split and audited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lulc.errors import InputError, UsageError
from lulc.location import Location
from lulc.samples import leakage, table
from lulc.samples.windows import Row
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import StageWork, Unit, run_incremental
from lulc.spark.sample_origins import SampleOrigin, find_origins
from lulc.spark.workers import map_units
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import layout
from lulc.tables.files import fingerprint_of, list_tables, open_parquet, remove_folder
from lulc.tables.ledger import LedgerRow
from lulc.tables.store import table_folder


@dataclass(frozen=True)
class _File:
    """A samples file: the number of its origin, and the key that its origin writes."""

    origin: int
    key: Row


def samples(context: StageContext) -> StageResult:
    """Write the samples: the run's labels on its chips, and its datasets.

    Raises:
        UsageError: the run file has neither labels nor datasets.
        InputError: no sample could be made, or splits leak.
    """
    config, out = context.config, context.out
    if config.labels is None and not config.datasets:
        raise UsageError(
            "the run file has nothing to learn from: "
            "add `labels:` (a class raster, polygons or points) or `datasets:`"
        )
    origins = find_origins(context)
    inputs = [origin.inputs for origin in origins]
    fingerprint = fingerprint_of(
        OUTPUT_VERSIONS["samples"], config.task, config.make_legend(), config.samples, *inputs
    )
    units: list[Unit] = []
    notes: list[str] = []
    errors: list[str] = []

    def plan(bad: Mapping[str, LedgerRow]) -> list[Unit]:
        errors[:] = [str(row.error) for row in bad.values()]
        if not units:
            for number, origin in enumerate(origins):
                keys, note = origin.plan(fingerprint)
                units.extend(_unit(number, key) for key in keys)
                notes.append(note)
        return units

    def finish(_: Sequence[LedgerRow]) -> str:
        remove_folder(out / layout.unfinished_stage("samples"))
        if not _has_rows(out):
            first_errors = "".join(f"\n  {error}" for error in errors[:3])
            raise InputError(f"no sample could be made; {len(errors)} items are bad{first_errors}")
        return "; ".join([*notes, *_audit(context, origins), *_absences(context)])

    work = StageWork(
        "samples",
        fingerprint,
        plan,
        lambda todo: _write(context, origins, todo),
        finish,
        table="samples",
        footers_name_bad=True,
    )
    result = run_incremental(context, work)
    # They are held against the bad ones alone.
    return replace(result, inputs=_count(out) + result.bad) if result.bad else result


def _unit(origin: int, key: Row) -> Unit:
    split, name, fingerprint = key["split"], key["name"], key["fingerprint"]
    path = table.file_path(split, name, fingerprint)
    return Unit(table.file_key(split, name), fingerprint, path, _File(origin, key))


def _write(
    context: StageContext, origins: Sequence[SampleOrigin], units: Sequence[Unit]
) -> Iterator[Sequence[LedgerRow]]:
    keys_of = defaultdict(list)
    for unit in units:
        keys_of[unit.task.origin].append(unit.task.key)
    for number, keys in keys_of.items():
        yield from map_units(context, keys, origins[number].write, "samples")


def _audit(context: StageContext, origins: Sequence[SampleOrigin]) -> list[str]:
    # Samples of two datasets or splits must not share ground; where a publisher's split has such
    # samples, the user is told.
    if not context.config.datasets:
        return []
    published = [origin.published_split_of for origin in origins if origin.published_split_of]
    pairs_of = leakage.audit_ground(context.out, context.config.samples.buffer, published)
    return [
        f"WARNING: {pairs:,} pairs of samples share ground across the published split of {name}"
        for name, pairs in pairs_of.items()
    ]


def _absences(context: StageContext) -> list[str]:
    # Labels of one class alone are a sign of masks or polygons that are read in a wrong way.
    files = list_tables(table_folder(context.out, "samples"))
    absent = table.absent_classes(files, context.config.make_legend())
    return [
        f"WARNING: no sample of {dataset} holds {', '.join(names)}"
        for dataset, names in absent.items()
    ]


def _has_rows(out: Location) -> bool:
    return any(_row_counts(out))


def _count(out: Location) -> int:
    return sum(_row_counts(out))


def _row_counts(out: Location) -> Iterator[int]:
    for file in list_tables(table_folder(out, "samples")):
        yield open_parquet(file).metadata.num_rows
