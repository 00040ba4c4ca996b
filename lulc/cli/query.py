"""The verb sql: statements of arguments, of a file, of standard input, or of a shell."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lulc import errors, progress
from lulc.cli.statements import list_statements

if TYPE_CHECKING:
    import pyarrow as pa

    from lulc.spark.queries.sql import QueryResult


def query_tables(args: argparse.Namespace) -> int:
    """Query a run's tables in Spark SQL; without a query, in a shell.

    Raises:
        UsageError: there are no tables, the result would be saved among them, several results
            would be one file, or a file of statements cannot be read.
    """
    from lulc.spark.queries import sql

    sql.check_has_tables(args.out)
    statements = _statements(args)
    form = "json" if args.json else args.format
    if statements is not None:
        _check_results(args, form, len(statements))
    from lulc.tables import export

    if args.save:
        export.check_place(args.save, args.out)
    parameters = dict(pair.partition("=")[::2] for pair in args.bind)
    limit = args.limit if args.limit > 0 and not args.save else None
    text = None if statements is None else "\n".join(statements)
    with sql.open_session(args.out, text, args.unsafe, args.debug) as session:
        if statements is None:
            from lulc.cli.shell import run_shell

            return run_shell(session, limit, form)
        for number, statement in enumerate(statements):
            answer = session.answer(statement, parameters, limit)
            if number:
                print()
            _deliver(answer, args.save, form)
    return 0


def _statements(args: argparse.Namespace) -> list[str] | None:
    """Return the statements of the command line; None where a shell asks for them."""
    texts = list(args.queries)
    if args.file:
        try:
            texts.append(sys.stdin.read() if str(args.file) == "-" else args.file.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise errors.UsageError(f"{args.file} cannot be read: {error}") from error
    elif not texts:
        if sys.stdin.isatty():
            return None
        texts.append(sys.stdin.read())
    statements = [statement for text in texts for statement in list_statements(text)]
    if not statements:
        raise errors.UsageError('no query is given: lulc sql OUT "SELECT …", or -f FILE')
    return statements


def _check_results(args: argparse.Namespace, form: str, count: int) -> None:
    if count > 1 and (args.save or form == "parquet"):
        place = args.save or "--format parquet"
        raise errors.UsageError(f"{place} takes the result of one statement, and {count} are given")
    if form == "parquet" and not args.save and sys.stdout.isatty():
        raise errors.UsageError("a terminal cannot show Parquet: --save FILE.parquet, or > FILE")


def _deliver(answer: QueryResult, save: Path | None, form: str) -> None:
    from lulc.cli.rows import format_rows
    from lulc.tables import export

    table = answer.rows
    geometry = next(iter(_geometries(table)), None)
    if save:
        export.save(table, save, geometry)
        print(f"{table.num_rows} rows in {save}")
        return
    if form == "parquet":
        _write_parquet(table, geometry)
    else:
        print(format_rows(with_text_geometries(table), form))
    if answer.total > table.num_rows:
        progress.say(
            f"the first {table.num_rows:,} of {answer.total:,} rows: --limit N prints more "
            "(0 all), --save FILE writes all"
        )


def _write_parquet(table: pa.Table, geometry: str | None) -> None:
    from lulc.tables import export

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.parquet"
        export.save(table, file, geometry)
        with file.open("rb") as written:
            shutil.copyfileobj(written, sys.stdout.buffer)


def with_text_geometries(table: pa.Table) -> pa.Table:
    """Return the rows of a query with WKT in place of WKB."""
    import shapely

    for name, number in _geometries(table).items():
        wkt = shapely.to_wkt(shapely.from_wkb(table.column(number).to_pylist())).tolist()
        table = table.set_column(number, name, [wkt])
    return table


def _geometries(table: pa.Table) -> dict[str, int]:
    # Name → position of the columns of WKB.
    from lulc.spark.queries.sql import GEOMETRY

    return {
        field.name: number
        for number, field in enumerate(table.schema)
        if GEOMETRY in (field.metadata or {})
    }
