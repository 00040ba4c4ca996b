"""Runs: carried out, opened again, and looked into."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from lulc.api.config import RunSource, load_config, save_config, saved_config
from lulc.api.inputs import check_inputs, check_stores
from lulc.api.pictures import OF_TRAINING, draw_picture
from lulc.chips.chip import Chip
from lulc.config import Config
from lulc.errors import InputError, UsageError, extras_named
from lulc.legend import Legend
from lulc.location import Location, parse_location
from lulc.raster.show import Picture, table_html
from lulc.samples.labels import check_labels
from lulc.samples.sample import Sample, read_samples
from lulc.stages import STAGES, Selection, stages_of
from lulc.tables import files, layout, schemas, store
from lulc.tables.ledger import STAGE_KEY, read_done, read_ledger, read_seal

if TYPE_CHECKING:
    from lulc.inference.trained_model import TrainedModel
    from lulc.maps.class_map import ClassMap
    from lulc.spark.context import StageResult


@dataclass(frozen=True, repr=False)
class Run:
    """A run and what it has made, in one output folder."""

    out: Location
    config: Config
    results: tuple[StageResult, ...] = ()
    """What each stage did just now; empty of a run that was opened."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that the run asks for, in order."""
        return stages_of(self.config)

    @property
    def name(self) -> str:
        """The run's name, which its model bears too."""
        return self.config.name

    @cached_property
    def legend(self) -> Legend:
        """The classes of the run's maps."""
        return self.config.make_legend()

    @property
    def periods(self) -> tuple[str, ...]:
        """The names of the periods that are mapped, in the order of the run file."""
        if self.config.maps_as_given:
            return tuple(sorted({map_files.period for map_files in self.config.maps}))
        return tuple(period.name for period in self.config.periods)

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables that have rows."""
        folders = ((name, store.table_folder(self.out, name)) for name in schemas.ALL)
        return tuple(name for name, folder in folders if files.list_tables(folder))

    @property
    def ledger(self) -> pa.Table:
        """What was done, in order: a row for every unit of work and every bad input."""
        return read_ledger(self.out)

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a table of the run; an empty one where nothing has been written.

        Args:
            name: one of the tables that docs/tables.md lists.
            columns: the columns to read, all by default. Those of pixels may not fit in memory:
                `chips` and `samples` yield them row by row.

        Raises:
            InputError: there is no table of this name, or it has no such column.
        """
        if name not in schemas.ALL:
            raise InputError(f"table {name!r} is none of {', '.join(schemas.ALL)}")
        names = store.schema_of(self.out, name).names
        missing = [column for column in columns or () if column not in names]
        if missing:
            raise InputError(
                f"table {name} has no column {', '.join(missing)}: it has {', '.join(names)}"
            )
        if name == "ledger":
            return self.ledger.select(list(columns or names))
        return store.read_table(self.out, name, None if columns is None else list(columns))

    def chips(self, period: str | None = None) -> Iterator[Chip]:
        """Yield the chips of a period, or of all, one held at a time.

        Raises:
            InputError: there is no such period, or no chip of it.
        """
        if period is not None:
            self._check_period(period)
        rows = read_done(self.out, "tile")
        keys = zip(rows.column("path"), map(layout.parse_block_key, rows), strict=True)
        paths = [path for path, key in keys if period in (None, key.period)]
        if not paths:
            raise InputError(
                f"{self.out} holds no chips of {period or 'any period'}: run `lulc tile`"
            )
        for path in paths:
            yield from map(Chip.from_row, store.read_rows(self.out / path))

    def samples(self, split: str | None = None) -> Iterator[Sample]:
        """Yield the samples of a split (train, validation, test), or of all.

        Raises:
            InputError: there are none.
        """
        return read_samples(self.out, split)

    def map(self, period: str | None = None) -> ClassMap:
        """Return the map of a period as one array.

        Args:
            period: the period's name, the last one by default.

        Raises:
            InputError: there is no map of the period, or it is too large for one array.
        """
        from lulc.maps.mosaic import read_class_map

        name = period or self.periods[-1]
        self._check_period(name)
        if self.config.maps_as_given:
            raise InputError("the maps of this run were made elsewhere: lulc.open_map reads them")
        return read_class_map(self.out, name, self.legend)

    @extras_named()
    def model(self, version: str | None = None) -> TrainedModel:
        """Return the run's model, ready to map.

        Args:
            version: a version's number or `@alias`; the champion by default.
        """
        from lulc.api.models import load_model

        address = self.config.predict.model or self.name
        if version:
            separator = "" if version.startswith("@") else "/"
            address = f"models:/{self.name}{separator}{version}"
        return load_model(address, self.out, self.config.tracking.uri)

    @extras_named()
    def history(self) -> pa.Table:
        """Return the epochs of the run's last training: `epoch`, `seconds` and its metrics.

        Raises:
            InputError: the run has not trained.
        """
        from lulc.training.fit import read_log

        entries = read_log(self._checkpoint())
        return pa.Table.from_pylist(
            [{"epoch": e["epoch"], "seconds": e["seconds"], **e["metrics"]} for e in entries]
        )

    def picture(self, name: str) -> Picture:
        """Return a picture of the run: map, chips, samples, examples or confusion.

        Raises:
            InputError: the run has nothing to show in it.
        """
        checkpoint = self._checkpoint() if name in OF_TRAINING else None
        return draw_picture(name, self.out, checkpoint)

    def report(self) -> Location:
        """Write the report of the run, one HTML file, and return its path."""
        from lulc.report.html import write_report

        return write_report(self.config, self.out)

    @extras_named()
    def sql(self, query: str, **parameters: str) -> pa.Table:
        """Run a query on the run's tables. Spark starts at the first one and is kept.

        Args:
            query: Spark SQL with Sedona's functions; every table is a view. It reads these, and is
                refused all else.
            parameters: values of `:name` in the query.

        Returns:
            The rows; geometries are WKB.

        Raises:
            UsageError: the run has no tables, Spark cannot analyse the query, or it is refused.
        """
        from lulc.spark.queries.sql import query_views

        return query_views(self.out, query, parameters, self.config.spark)

    def features(self, split: str | None = None) -> pa.Table:
        """Return the labelled pixels of the run's samples: class, period, place, and all bands.

        Args:
            split: train, validation or test; all of them by default.

        Returns:
            A row for every labelled pixel and date on which it is valid, a float32 column for every
            band in its physical values, features among them.

        Raises:
            InputError: there is no such split, or there are no samples with a class a pixel.
        """
        from lulc.samples.pixels import pixel_schema, read_pixels
        from lulc.samples.sample import list_sample_files

        files = list_sample_files(self.out, split)
        schema = pixel_schema(files)
        if schema is None:
            raise InputError(
                f"{self.out} has no samples of {split or 'any split'} with a class a "
                "pixel: run `lulc samples`"
            )
        batches = (batch for name, file in files for batch in read_pixels(name, file, schema))
        return pa.Table.from_batches(batches, schema)

    @extras_named()
    def map_folder(
        self,
        folder: str | Path,
        model: str | None = None,
        units: Mapping[str, str] | None = None,
    ) -> pa.Table:
        """Map a folder of image files by the run's model.

        Args:
            folder: holds the images; a model of a class a pixel writes a raster of the same name
                for each into the output folder, other models rows of a table.
            model: another model, as `lulc.load_model` takes it.
            units: name of a band → its unit in the images, such as {"vv": "sigma0"}, where it is
                not the model's.

        Returns:
            A row for every image: `image`, `status` (done or bad), `error`, and `path` of the
            raster or table.
        """
        from lulc.inference.folder import map_folder
        from lulc.models.registry import resolve

        address = model or self.config.predict.model or self.name
        reference = resolve(address, self.out, self.config.tracking.uri)
        rows = map_folder(reference, parse_location(folder), self.out, units)
        paths = [str(self.out / row.path) if row.path else None for row in rows]
        columns = {
            "image": [row.key for row in rows],
            "status": [row.status for row in rows],
            "error": [row.error for row in rows],
            "path": paths,
        }
        return pa.table({name: pa.array(texts, pa.string()) for name, texts in columns.items()})

    def _check_period(self, name: str) -> None:
        if name not in self.periods:
            periods = ", ".join(map(repr, self.periods))
            raise InputError(f"period {name!r} is none of {periods}")

    def _checkpoint(self) -> Location:
        from lulc.training.fit import LOG

        # That of the training that was finished last, else of the one that was last worked on.
        seal = read_seal(self.out, "train")
        if seal and (folder := self.out / layout.checkpoint_folder(seal.fingerprint)).exists():
            return folder
        logs: list[Location] = list((self.out / "checkpoints").glob(f"*/{LOG}"))
        if not logs:
            raise InputError(f"{self.out} holds no training: run `lulc train`")
        return max(logs, key=lambda log: log.stat().st_mtime_ns).parent

    def __repr__(self) -> str:
        """Return the run's name and folder; its settings fill pages."""
        return f"Run({self.name!r}, out={str(self.out)!r})"

    def _repr_html_(self) -> str:
        title = html.escape(f"{self.name} in {self.out}")
        header = ("stage", "done", "empty", "bad", "seconds")
        return f"<b>{title}</b>{table_html(_count_by_stage(self.ledger), header)}"


def run(
    source: RunSource,
    out: str | Path,
    *,
    set: Mapping[str, Any] | None = None,  # noqa: A002 - as on the command line
    stages: str | Sequence[str] = (),
    selection: Selection | None = None,
) -> Run:
    """Carry out a run, or some of its stages. What is up to date is left as it is.

    Progress goes to the logger `lulc`; `with lulc.progress.console():` shows it.

    Args:
        source: the path of a run file, its content as a mapping, or a Config.
        out: the output folder, which is made.
        set: values by dotted name that replace those of `source`, such as `{"train.epochs": 5}`.
        stages: a stage, or several; all that the run file asks for by default.
        selection: the part of the run to work on; all of it by default.

    Returns:
        The run, to look into.

    Raises:
        UsageError: the run file is wrong.
        InputError: an input cannot be used.
        TooManyBad: more inputs are bad than the run allows.
        SetupError: the machine lacks something, such as Java, or another process works on the
            output folder.

    Examples:
        >>> import lulc
        >>> run = lulc.run("conf/zion.yaml", "out/zion")  # doctest: +SKIP
        >>> run.map("2015").areas_m2()  # doctest: +SKIP
    """
    config, folder = load_config(source, set), parse_location(out)
    names = (stages,) if isinstance(stages, str) else tuple(stages)
    results = carry_out(config, folder, names or stages_of(config), selection)
    if not stages:
        finish(config, folder, any(result.done for result in results))
    return Run(folder.resolve(), config, tuple(results))


@extras_named()
def carry_out(
    config: Config,
    out: Location,
    stages: Sequence[str],
    selection: Selection | None = None,
    debug: bool = False,
) -> list[StageResult]:
    """Carry out stages in order, and keep the settings in the output folder.

    Where the first fails before it has recorded anything, the folder is left as it was found.

    Args:
        config: the run.
        out: the output folder, which is made.
        stages: names of `lulc.stages.STAGES`.
        selection: the part of the run to work on; all of it by default.
        debug: let Spark log.

    Returns:
        What each stage did.

    Raises:
        UsageError: there is no such stage.
        InputError: an input that a stage reads is not there, or its labels cannot be used; nothing
            has started.
        TooManyBad: more inputs are bad than the run allows; later stages do not start.
        SetupError: another process works on the output folder, or a store that is read cannot be
            reached; names it.
    """
    from lulc.spark.pipeline import run_stages, stage_context

    unknown = sorted(set(stages) - set(STAGES))
    if unknown:
        raise UsageError(f"stage {', '.join(unknown)} is none of {', '.join(STAGES)}")
    check_stores(config)
    # A model that is trained stays, whatever becomes of the weights that it began with.
    is_trained = bool(config.train.weights) and read_seal(out, "train") is not None
    check_inputs(config, set(stages) - ({"train"} if is_trained else set()))
    if config.labels and "samples" in stages and read_seal(out, "samples") is None:
        check_labels(config.labels, config.make_legend(), config.periods)
    verb = stages[0] if len(stages) == 1 else "run"
    with stage_context(config, out, selection or Selection(), verb, debug) as context:
        is_first = save_config(config, out)
        try:
            return run_stages(context, stages)
        except BaseException:
            # Settings alone are no run.
            if is_first and not files.exists(out / layout.TABLES):
                files.remove(out / layout.CONFIG)
            raise


def finish(config: Config, out: Location, changed: bool) -> None:
    """Write the report and its map, if a stage did something or one of them is missing."""
    from lulc.report.html import write_report

    page, picture = out / layout.REPORT, out / layout.MAP_PICTURE
    has_rasters = any((out / layout.RASTERS).rglob("*.tif"))
    if changed or not page.exists() or (has_rasters and not picture.exists()):
        write_report(config, out.resolve())


def open_run(out: str | Path, source: RunSource | None = None) -> Run:
    """Open a run that was carried out before.

    Args:
        out: its output folder.
        source: its run file; the one that it was last carried out with by default.

    Raises:
        InputError: the folder holds no run.

    Examples:
        >>> import lulc
        >>> run = lulc.open_run("out/demo")  # doctest: +SKIP
        >>> run.table("class_areas").to_pandas()  # doctest: +SKIP
    """
    folder = parse_location(out).resolve()
    if not (folder / layout.TABLES).is_dir():
        raise InputError(f"{out} holds no run: `lulc run RUN.yaml --out {out}` makes one")
    return Run(folder, load_config(source) if source else saved_config(folder))


def _count_by_stage(ledger: pa.Table) -> list[tuple[Any, ...]]:
    # Stage, units done, empty and bad, and seconds, by the last row of every unit.
    keys = ledger.filter(pc.field("key") != STAGE_KEY)
    grouped = keys.group_by(["stage", "key"], use_threads=False)
    newest = grouped.aggregate([("status", "last"), ("seconds", "last")])
    rows = []
    for stage in dict.fromkeys((*STAGES, *newest["stage"].unique().to_pylist())):
        of_stage = newest.filter(pc.field("stage") == stage)
        if of_stage.num_rows:
            statuses = of_stage["status_last"].to_pylist()
            counts = [statuses.count(status) for status in ("done", "empty", "bad")]
            seconds = pc.sum(of_stage["seconds_last"]).as_py()
            rows.append((stage, *counts, "" if seconds is None else f"{seconds:.1f}"))
    return rows
