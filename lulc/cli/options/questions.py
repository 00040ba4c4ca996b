"""Verbs that ask or show: plan, info, report, view, models, sql, serve and doctor."""

from __future__ import annotations

from pathlib import Path

from lulc.cli.options.shared import AddVerb, add_run_options, location, positive, price
from lulc.cli.output import TEXT_FORMATS


def add_inspection(add: AddVerb) -> None:
    """Add plan, info, report, view and models."""
    verb = add(
        "plan",
        "show what a run will read, write and cost, from metadata alone",
        "lulc plan conf/zion.yaml --geojson tiles.geojson",
        "lulc plan my.yaml --out out/my --cores 64 --price 0.04 --calibrate",
    )
    add_run_options(verb)
    verb.add_argument(
        "--out", type=location, help="output folder, whose scenes and samples are used if there"
    )
    verb.add_argument(
        "--cores",
        type=positive,
        metavar="N",
        help="cores that work at once (default: this machine's)",
    )
    verb.add_argument(
        "--price", type=price, metavar="X", help="price of an hour of one core, in any currency"
    )
    verb.add_argument(
        "--calibrate",
        action="store_true",
        help="measure first what this machine takes for a pixel, in under a minute; later plans of "
        "any run use it",
    )
    verb.add_argument("--geojson", type=Path, metavar="FILE", help="write the tiles to this file")
    verb = add(
        "info",
        "show what a scene, raster, table, model or output folder holds",
        "lulc info out/zion/tables/samples",
    )
    verb.add_argument("path", help="a file, a folder, or a model such as models:/zion@champion")
    verb.add_argument("--out", type=location, help="output folder whose registry holds the model")
    verb.add_argument(
        "--png", type=Path, metavar="FILE", help="draw a table of chips or samples to this file"
    )
    verb = add(
        "report",
        "write the report of an output folder again",
        "lulc report conf/zion.yaml --out out/zion",
    )
    add_run_options(verb)
    verb.add_argument("--out", type=location, required=True, help="output folder")
    verb = add(
        "view",
        "show a run's maps and regions in a browser",
        "lulc view out/zion",
        "lulc view out/zion --export site",
    )
    verb.add_argument("out", type=location, help="output folder of a run")
    verb.add_argument(
        "--port",
        type=int,
        default=8620,
        help="port of this machine, 0 any that is free (default %(default)s)",
    )
    verb.add_argument(
        "--export",
        type=location,
        metavar="FOLDER",
        help="write the page to a folder instead, for any web server or object store",
    )
    verb.add_argument(
        "--true-colours",
        action="store_true",
        help="let the run's chips be seen below its maps: they need the bands red, green and blue",
    )
    verb = add(
        "models", "list registered models, their versions and scores", "lulc models out/zion"
    )
    verb.add_argument(
        "out",
        type=location,
        help="output folder whose registry is read (or MLFLOW_TRACKING_URI's)",
    )


def add_queries(add: AddVerb) -> None:
    """Add sql and serve."""
    verb = add(
        "sql",
        "query a run's tables in Spark SQL; without a query, in a shell",
        'lulc sql out/zion "SELECT class_name, area_m2 FROM class_areas"',
    )
    verb.add_argument("out", type=location, help="output folder of a run")
    verb.add_argument(
        "queries",
        nargs="*",
        metavar="query",
        help="a statement, or several with semicolons; views have the names of the tables. Without "
        "one, a terminal gets a shell, and standard input is read elsewhere",
    )
    verb.add_argument(
        "-f", "--file", type=Path, metavar="FILE", help="statements of a file, - standard input"
    )
    verb.add_argument(
        "--format",
        choices=(*TEXT_FORMATS, "parquet"),
        default="table",
        help="how rows are printed (default %(default)s)",
    )
    verb.add_argument(
        "--save",
        type=location,
        metavar="FILE",
        help="write the result to a .csv, .xlsx, .parquet, .gpkg or .geojson file",
    )
    verb.add_argument(
        "--bind",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="value of :NAME in the query; may be repeated",
    )
    verb.add_argument(
        "--limit",
        type=int,
        default=1000,
        metavar="N",
        help="print the first N rows, 0 all (default %(default)s); --save writes all",
    )
    verb.add_argument(
        "--unsafe",
        action="store_true",
        help="allow what is refused by default: to read other files, to write, to call Java, to "
        "change settings",
    )
    verb = add(
        "serve",
        "answer SQL over JDBC until stopped (Spark's Thrift server)",
        "lulc serve out/zion --port 10000",
    )
    verb.add_argument("out", type=location, help="output folder of a run")
    verb.add_argument(
        "--port", type=int, default=10000, help="port of this machine (default %(default)s)"
    )
    verb.add_argument(
        "--host",
        default="127.0.0.1",
        help="interface to listen on (default %(default)s); others need --keystore",
    )
    verb.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds the token that clients give as password; default: LULC_SERVE_TOKEN in the "
        "environment, else a new one, shown once on the terminal",
    )
    verb.add_argument(
        "--keystore",
        type=Path,
        metavar="FILE",
        help="PKCS #12 file with key and certificate for TLS; its password is "
        "LULC_KEYSTORE_PASSWORD in the environment",
    )


def add_doctor(add: AddVerb) -> None:
    """Add doctor."""
    verb = add(
        "doctor",
        "check whether this machine, or a cluster, can run lulc, and how to fix it",
        "lulc doctor",
        "lulc doctor --cluster spark://HOST:7077 --out s3://bucket/zion",
    )
    verb.add_argument(
        "--cluster",
        nargs="?",
        const="",
        metavar="CLUSTER",
        help="look at every executor of a cluster, named as for `lulc submit --on`",
    )
    verb.add_argument(
        "--out",
        type=location,
        help="with --cluster: a location that every executor writes and reads",
    )
