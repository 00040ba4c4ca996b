"""Write the reference pages that are made of the code: `python docs/generate.py`.

Run-file reference, features, tables, output folder, Python API and command line. The pages are kept
beside this file; a test compares them with what the code gives now.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import itertools
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import AfterValidator

DOCS = Path(__file__).resolve().parent
PACKAGE = DOCS.parent / "lulc"
_NOTE = "<!-- Made by docs/generate.py: change the code, not this page. -->\n"


# --- Markdown ------------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def page(title: str, *parts: str) -> str:
    """Return a page that says where it comes from."""
    return "\n".join([_NOTE, f"# {title}\n", *parts]).rstrip() + "\n"


# --- Docstrings ----------------------------------------------------------------------------------


def field_docstrings(body: Sequence[ast.stmt]) -> dict[str, str]:
    """Return field → the string literal under it, of the statements of a class."""
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in zip(body, [*body[1:], ast.Pass()], strict=True)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


_SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Examples|Attributes):\n", re.MULTILINE)


def docstring_markdown(text: str) -> str:
    """Return a docstring in Google's form as Markdown."""
    text = re.sub(r"`?docs/(\S+?)\.md`?", r"[\1](\1.md)", text)
    first, *rest = _SECTION.split(text)
    parts = [first.strip()]
    for name, body in zip(rest[::2], rest[1::2], strict=True):
        body = inspect.cleandoc(body)
        if name == "Examples":
            parts.append(f"```pycon\n{_plain_example(body)}\n```")
        elif name in ("Returns", "Yields"):
            parts.append(f"**{name}** {' '.join(body.split())}")
        else:
            heading = {"Args": "Arguments"}.get(name, name)
            parts.append(f"**{heading}**\n\n" + "\n".join(_items(body)))
    return "\n\n".join(parts) + "\n"


def _items(body: str) -> Iterator[str]:
    for entry in re.split(r"\n(?=\S)", body):
        name, _, text = entry.partition(":")
        names = ", ".join(f"`{part.strip()}`" for part in name.split(","))
        yield f"- {names}: {' '.join(text.split())}"


def _plain_example(body: str) -> str:
    return re.sub(r"\s*# doctest:.*", "", body)


# --- Run file ------------------------------------------------------------------------------------


def run_file_page() -> str:
    """Return the reference of the run file, a section for every record."""
    from lulc import config

    trees = [ast.parse(file.read_text()) for file in sorted((PACKAGE / "config").glob("*.py"))]
    classes = {n.name: n for tree in trees for n in tree.body if isinstance(n, ast.ClassDef)}
    notes = {name: field_docstrings(node.body) for name, node in classes.items()}
    sections = [_record_section("The run file", config.Config, notes, "")]
    for key, record in _records(config.Config, ""):
        sections.append(_record_section(f"`{key}`", record, notes, key))
    return page(
        "Run-file reference",
        "A run file is YAML. Every key is listed here with the values it accepts and its default;"
        " `–` marks a key that has to be given. A key that is not listed is an error that names"
        " the nearest one. On the command line `--set train.epochs=5` replaces a value, in Python"
        ' `lulc.run(…, set={"train.epochs": 5})` does.\n',
        *sections,
    )


def _records(record: type, prefix: str) -> Iterator[tuple[str, type]]:
    # (dotted key, record) of all records below one, each record once.
    hints = typing.get_type_hints(record, include_extras=True)
    for field in dataclasses.fields(record):
        for inner in _inner_records(hints[field.name]):
            key = f"{prefix}.{field.name}".lstrip(".")
            yield key, inner
            yield from _records(inner, key)


def _inner_records(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for argument in get_args(hint):
        yield from _inner_records(argument)


def _record_section(title: str, record: type, notes: dict[str, dict[str, str]], key: str) -> str:
    hints = typing.get_type_hints(record, include_extras=True)
    rows = []
    for field in dataclasses.fields(record):
        kind = describe_type(hints[field.name], f"{key}.{field.name}".lstrip("."))
        meaning, default = _split_default(notes[record.__name__].get(field.name, ""))
        rows.append((f"`{field.name}`", kind, default or _default(field), meaning))
    about = inspect.getdoc(record) or ""
    return f"## {title}\n\n{about}\n\n" + table(("key", "accepts", "default", "meaning"), rows)


def _split_default(note: str) -> tuple[str, str]:
    # A field's text, and what it says of the default.
    meaning, _, rest = " ".join(note.split()).partition(" Default: ")
    default, _, more = rest.partition(". ")
    return " ".join(filter(None, (meaning, more))), default.rstrip(".")


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    value = getattr(value, "default", value)  # of a pydantic field
    if value is dataclasses.MISSING:
        return "–"
    if value is None or value in ((), {}, ""):
        return "none"
    if dataclasses.is_dataclass(value):
        return "as listed there"
    if isinstance(value, tuple):
        if dataclasses.is_dataclass(value[0]):
            return ", ".join(f"`{{name: {entry.name}}}`" for entry in value)
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


_PLAIN = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    type(None): "",
}


def describe_type(hint: Any, key: str = "") -> str:
    """Return in words which values a field accepts."""
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, typing.TypeAliasType):
        return describe_type(hint.__value__, key)
    if dataclasses.is_dataclass(hint):
        return f"[`{key}`](#{key.replace('.', '')})"
    if origin is typing.Annotated:
        base, *metadata = arguments
        return describe_type(base, key) + _limits(metadata)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        kinds = [describe_type(argument, key) for argument in arguments]
        return " or ".join(kind for kind in kinds if kind)
    if origin is tuple:
        if Ellipsis in arguments:
            return f"list of {describe_type(arguments[0], key)}"
        return f"list of {len(arguments)}: {describe_type(arguments[0], key)}"
    if origin is dict:
        return f"map: {describe_type(arguments[0])} → {describe_type(arguments[1], key)}"
    return _PLAIN.get(hint, getattr(hint, "__name__", str(hint)))


_SIGNS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
_PATTERNS = {
    r"^[A-Za-z0-9_-]+$": "letters, digits, `_` and `-`",
    r"^[A-Za-z0-9_:.-]+$": "letters, digits, `_` and `-`",
    r"^\d+[mg]$": "such as `500m` or `2g`",
    r"^([1-9]\d*k?m|h3:(\d|1[0-5]))$": "such as `1km`, `500m` or `h3:7`",
    r"^#[0-9a-fA-F]{6}$": "`#rrggbb`",
    r"^(tag|\d{4}(-\d\d){0,2}(/\d{4}(-\d\d){0,2})?)$": (
        "such as `2023`, `2023-05-17`, `2023-04/2023-09`, or `tag`"
    ),
    r"^(\d{4}-\d\d-\d\d|\.\.)(/(\d{4}-\d\d-\d\d|\.\.))?$": "`2023-01-01/2023-12-31`",
}


def _limits(metadata: Sequence[Any]) -> str:
    words = []
    for entry in (part for outer in metadata for part in getattr(outer, "metadata", [outer])):
        words += [f"{sign} {getattr(entry, n):g}" for n, sign in _SIGNS if hasattr(entry, n)]
        if hasattr(entry, "multiple_of"):
            words.append(f"multiple of {entry.multiple_of}")
        if getattr(entry, "min_length", 0):
            words.append(f"{entry.min_length} or more")
        if pattern := getattr(entry, "pattern", None):
            words.append(_PATTERNS[pattern])
        if isinstance(entry, AfterValidator):
            words.append("a count such as `3` or a share such as `5%`")
    return f" ({', '.join(words)})" if words else ""


# --- Tables and the output folder ----------------------------------------------------------------


def tables_page() -> str:
    """Return the reference of the tables, a section for every one."""
    from lulc.tables import schemas
    from lulc.tables.pixel_tables import ITEM_TABLE

    contents = [
        (f"[{name}](#{name})", spec.row, f"`{spec.made_by}`")
        for name, spec in schemas.TABLES.items()
    ]
    parts = [
        "Every table is Parquet under `tables/<name>/` of the output folder, and a view of"
        " `lulc sql`. Geometries are WKB in longitude and latitude; a table with geometries is"
        " GeoParquet 1.1, and column `bbox` of its files, which is not in the views, holds the"
        " bounds of each. Meaning and unit of a column are in the metadata of its field"
        " (`description`, `unit`), and what `DESCRIBE` says in `lulc sql`. An array `x` is kept in"
        " four columns: `x` (bytes in C order, little endian), `x_shape`, `x_dtype` and `x_codec`"
        " (`raw`, or `delta`: differences along the last axis); they are one line here.\n",
        table(("table", "a row is", "made by"), contents),
    ]
    for name, spec in schemas.TABLES.items():
        rows = _columns(spec.columns)
        about = f"A row is {spec.row}. Made by `{spec.made_by}`.\n\n"
        parts.append(f"## {name}\n\n{about}" + table(_OF_COLUMN, rows))
        if name == "predictions":
            items = ITEM_TABLE
            parts.append(
                f"After `{items.made_by}` a row is {items.row}.\n\n"
                + table(_OF_COLUMN, _columns(items.columns))
            )
    return page("Tables", *parts)


_OF_COLUMN = ("column", "type", "unit", "meaning")


def _columns(columns: Sequence[Any]) -> list[tuple[str, str, str, str]]:
    names = {column.name for column in columns}
    arrays = {name for name in names if {f"{name}_shape", f"{name}_codec"} <= names}
    hidden = {f"{name}_{suffix}" for name in arrays for suffix in ("shape", "dtype", "codec")}
    return [
        (f"`{c.name}`", "array" if c.name in arrays else _arrow_type(c.type), c.unit, c.note)
        for c in columns
        if c.name not in hidden
    ]


def _arrow_type(kind: Any) -> str:
    import pyarrow as pa

    if pa.types.is_list(kind):
        return f"list of {_arrow_type(kind.value_type)}"
    if pa.types.is_map(kind):
        return f"map: {_arrow_type(kind.key_type)} → {_arrow_type(kind.item_type)}"
    if pa.types.is_struct(kind):
        return "{" + ", ".join(f"{field.name}: {_arrow_type(field.type)}" for field in kind) + "}"
    return "timestamp, UTC" if pa.types.is_timestamp(kind) else str(kind)


def output_folder_page() -> str:
    """Return the page on the places under an output folder, from `lulc.tables.layout`."""
    from lulc.tables import layout

    paragraphs = (inspect.getdoc(layout) or "").split("\n\n")
    places = next(text for text in paragraphs if text.startswith("    "))
    return page(
        "Output folder",
        "Everything that a run makes lies under its output folder. The table `ledger` keeps the"
        " places in this form, relative to the folder, with forward slashes.\n",
        f"```text\n{inspect.cleandoc(places)}\n```\n",
        "Open `report.html` and `map.png` to look; `rasters/<period>/mosaic.vrt` in QGIS; the"
        " [tables](tables.md) with `lulc sql`, `lulc.open_run(…).table(…)`, pandas or DuckDB;"
        " `mlflow.db` with `mlflow ui --backend-store-uri sqlite:///OUT/mlflow.db`.\n",
        "`lulc predict --input FOLDER` keeps the folders and names of the images: `FOLDER/a/b.jp2`"
        " becomes `OUT/a/b.tif`. Its rows in the ledger are of stage `images`.\n",
        "A file's name holds the [fingerprint](concepts.md#runs) of what it was made from."
        " Files appear whole, by one rename; a name that begins with a dot is being written.\n",
    )


# --- Python API ----------------------------------------------------------------------------------


def api_page() -> str:
    """Return the reference of the names that `import lulc` offers, and what each room is for."""
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text())
    sections: dict[str, list[str]] = {"function": [], "class": [], "module": []}
    named: set[str] = set()
    for node in stub.body:
        if not isinstance(node, ast.ImportFrom):
            continue
        for alias in node.names:
            named.add(alias.name)
            kind, text = _name_section(node.module, alias.name)
            sections[kind].append(text)
    return page(
        "Python API",
        "`import lulc` takes a hundredth of a second and loads neither torch nor Spark: every name"
        " is imported when it is first used. In a notebook runs, chips, samples, maps and models"
        " show themselves. `pa` is pyarrow, `np` is NumPy.\n",
        "## Functions\n",
        *sections["function"],
        "## What the arguments may be\n",
        table(("name", "stands for", "meaning"), _type_names()),
        "## Records\n",
        *sections["class"],
        "## Returned by these\n",
        *(_class_section(_find_class(name)) for name in _RETURNED if name not in named),
        "## Modules\n",
        *sections["module"],
        "## Rooms\n",
        "The names above are those to build on. Below them the package is divided into rooms, each"
        " with its own front: `from lulc.geo import Grid` and `from lulc.sources import Source`"
        " are the same as the full paths.\n",
        *_rooms(),
    )


_RETURNED = ("TrainedModel", "AreaTables", "Picture", "Selection")
"""Records that are got from the names above, or given to them, without a name of their own."""


def _find_class(name: str) -> ast.ClassDef:
    return next(
        node
        for file in sorted(PACKAGE.rglob("*.py"))
        if f"class {name}" in file.read_text()
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )


def _type_names() -> Iterator[tuple[str, str, str]]:
    for file in sorted((PACKAGE / "api").glob("*.py")):
        body = ast.parse(file.read_text()).body
        for node, text in itertools.pairwise(body):
            if isinstance(node, ast.TypeAlias) and isinstance(text, ast.Expr):
                meaning = ast.literal_eval(text.value)
                yield f"`{node.name.id}`", f"`{ast.unparse(node.value)}`", meaning


def _name_section(module: str | None, name: str) -> tuple[str, str]:
    if module is None:
        return "module", _module_section(name)
    path = PACKAGE / Path(*module.split("."))
    file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    (node,) = (
        n
        for n in ast.parse(file.read_text()).body
        if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == name
    )
    if isinstance(node, ast.FunctionDef):
        return "function", _function("###", node, f"lulc.{name}")
    return "class", _class_section(node)


def _function(level: str, node: ast.FunctionDef, title: str) -> str:
    about = docstring_markdown(ast.get_docstring(node) or "")
    name, signature = title.rpartition(".")[2], _signature(node, title)
    return f"{level} {name}\n\n```python\n{signature}\n```\n\n{about}"


def _signature(node: ast.FunctionDef, title: str) -> str:
    arguments = node.args
    if arguments.args and arguments.args[0].arg in ("self", "cls"):
        arguments.args = arguments.args[1:]
    given = [argument for argument in ast.unparse(arguments).split(", ") if argument]
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{title}({ast.unparse(arguments)}){returns}"
    if len(line) <= 88 or not given:
        return line
    return f"{title}(\n    {_join_arguments(arguments)}\n){returns}"


def _join_arguments(arguments: ast.arguments) -> str:
    # One argument a line; ast.unparse of each argument alone keeps commas inside brackets whole.
    text, depth = "", 0
    for character in ast.unparse(arguments):
        depth += (character in "([{") - (character in ")]}")
        text += ",\n   " if character == "," and depth == 0 else character
    return text + ","


def _class_section(node: ast.ClassDef) -> str:
    parts = [f"### {node.name}\n", docstring_markdown(ast.get_docstring(node) or "")]
    if node.name == "Config":
        parts.append("Its fields are the keys of the [run file](run-file.md).\n")
        return "\n".join(parts)
    notes = field_docstrings(node.body)
    rows = [
        (f"`{item.target.id}`", f"`{ast.unparse(item.annotation)}`", notes.get(item.target.id, ""))
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    ]
    methods = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name[0] != "_"]
    for method in methods:
        if _is_property(method):
            text = " ".join((ast.get_docstring(method) or "").split("\n\n")[0].split())
            returns = ast.unparse(method.returns) if method.returns else ""
            rows.append((f"`{method.name}`", f"`{returns}`", text))
    if rows:
        parts.append(table(("attribute", "type", "meaning"), rows))
    parts += [
        _function("####", method, f"{node.name}.{method.name}")
        for method in methods
        if not _is_property(method)
    ]
    return "\n".join(parts)


def _is_property(method: ast.FunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in method.decorator_list)


def _module_section(module: str) -> str:
    # A module's errors with their exit codes, or its functions by their first lines.
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    about = f"### {module}\n\n{ast.get_docstring(tree) or ''}\n\n"
    rows, codes = [], {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_":
            values = [ast.unparse(n.value) for n in node.body if isinstance(n, ast.Assign)]
            if module == "errors" and isinstance(node, ast.ClassDef):
                # A kind of error without a code of its own has that of the kind before it.
                codes[node.name] = values[0] if values else codes[ast.unparse(node.bases[-1])]
            code = codes.get(node.name, "")
            rows.append((f"`{node.name}`", code, (ast.get_docstring(node) or "").split("\n\n")[0]))
    if module == "errors":
        return about + table(("name", "exit code", "meaning"), rows)
    return about + table(("name", "meaning"), [(name, text) for name, _, text in rows])


def _rooms() -> Iterator[str]:
    for folder in sorted(PACKAGE.glob("*/__init__.py")):
        text = ast.get_docstring(ast.parse(folder.read_text())) or ""
        yield f"### lulc.{folder.parent.name}\n\n{' '.join(text.split())}\n"


# --- Command line --------------------------------------------------------------------------------


def command_line_page() -> str:
    """Return the reference of the command line, from its parser."""
    from lulc.cli.options.parser import make_parser

    parser = make_parser()
    (verbs,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    contents = [
        (f"[{choice.dest}](#lulc-{choice.dest})", choice.help or "")
        for choice in verbs._choices_actions
    ]
    parts = [
        "Every verb takes `--json`, which prints its result as JSON, and `--debug`, which shows"
        " Spark's log and full tracebacks. Exit codes: 0 done, 1 another failure, 2 usage, 3 input,"
        " 4 too many bad inputs, 5 environment.\n",
        table(("verb", "what it does"), contents),
    ]
    for name, verb in verbs.choices.items():
        parts.append(_verb_section(name, verb))
    return page("Command line", *parts)


def _verb_section(name: str, verb: argparse.ArgumentParser) -> str:
    rows: list[tuple[str, str]] = []
    for action in verb._actions:
        if action.dest in ("help", "debug", "json"):
            continue
        rows.append((f"`{_invocation(action)}`", _help(action)))
    examples = [line.removeprefix("example: ") for line in (verb.epilog or "").splitlines() if line]
    about = f"## lulc {name}\n\n{verb.description}\n\n"
    shell = "```sh\n" + "\n".join(examples) + "\n```\n"
    return about + shell + ("\n" + table(("argument", "meaning"), rows) if rows else "")


def _invocation(action: argparse.Action) -> str:
    metavar = action.metavar or action.dest.upper()
    if isinstance(metavar, tuple):
        metavar = " ".join(metavar)
    if action.choices:
        metavar = "{" + ",".join(map(str, action.choices)) + "}"
    if not action.option_strings:
        return metavar + ("…" if action.nargs == "+" else "")
    if action.nargs == 0:
        return action.option_strings[0]
    return f"{action.option_strings[0]} {metavar}" + (" …" if action.nargs == "+" else "")


def _help(action: argparse.Action) -> str:
    text = (action.help or "") % {"default": action.default}
    return text + (" (required)" if action.option_strings and action.required else "")


# --- Features ------------------------------------------------------------------------------------

_FEATURES_INTRO = """\
A feature is a band that is computed of others. Features are named in the run file, follow its own
bands in chips, samples and models, and are known to all of them by name:

```yaml
bands: [blue, green, red, nir, swir16, swir22, elevation]
layers: [{path: dem.tif, band: elevation}]
composite: {method: median}
periods: [{name: "2024", start: 2024-01-01, end: 2024-12-31}]
tiling:
  features: [ndvi, ndvi:p10, ndvi:p90, swir16:mad, harmonic:2, red:sd7, elevation:slope]
```

An entry is `source` or `source:statistic`. The source is a band, an index, an expression, or `day`.
A statistic without a source is of every band of the scenes: `mad`, `mean7`.
"""
_EXPRESSIONS = """\
## Expressions

Any arithmetic of bands is a source under a name of its own:

```yaml
tiling:
  expressions: {rvi: {formula: nir / red, range: [0, 30]}}
  features: [rvi, "rvi:p90"]
```

A formula has names of bands, numbers, `+ - * / **` and brackets. Bands have their physical values.
"""
_STATISTICS = (
    ("`p10`", "dates", "percentile of the clear dates, linear between the two nearest values, as"
     " numpy's default (Hyndman and Fan 1996, type 7); `p50` is the median"),
    ("`mean`, `sd`", "dates", "mean and standard deviation of the population; 0 of one date"),
    ("`mad`", "dates", "median of the absolute differences from the median, without a factor"),
    ("`first`, `last`", "dates", "value on the first, and on the last, clear date"),
    ("`medoid`", "dates", "value on the date whose bands are nearest to those of all others"
     " (Flood 2013, doi:10.3390/rs5126481)"),
    ("`harmonic:2`", "dates", "least-squares fit of a mean and two waves a year over the day of the"
     " year (Zhu and Woodcock 2014, doi:10.1016/j.rse.2014.01.011): bands `…:mean`, `…:cos1`,"
     " `…:sin1`, `…:cos2`, `…:sin2`. Waves that a pixel's dates do not tell are 0: fewer dates than"
     " coefficients, or a wave that is a sum of the terms before it but for 1 %"),
    ("`phenology`", "dates", "`…:start`, `…:peak`, `…:end` in days and `…:amplitude` of TIMESAT"
     " (Jönsson and Eklundh 2004, doi:10.1016/j.cageo.2004.05.006) on straight lines between the"
     " clear dates: start and end where the curve is 20 % of the way from the lowest value on that"
     " side to the peak; amplitude from the mean of both lowest values"),
    ("`mean7`, `sd7`", "window", "mean and standard deviation of the valid pixels of 7 x 7"),
    ("`slope`", "layer", "degrees on the true ground (Horn 1981, doi:10.1109/PROC.1981.11918)"),
    ("`aspect`", "layer", "direction in which the ground falls, clockwise from north, as `…:sin`"
     " and `…:cos`; 0 where it is level"),
    ("`tpi21`", "layer", "height less the mean of 21 x 21 pixels (Weiss 2001)"),
)  # fmt: skip
_RULES = """\
## Rules

- **Dates** are those that the composite takes: clear pixels alone, of the period, or of each
  interval of a series. A date on which an index has no value, as 0 / 0, is left out of its
  statistics. How many dates were clear is the band `observations`. `day` is the date itself, in
  days from 1 January of the year that the period starts in: `day:first`, `day:last`.
- **Images**: an index, expression or texture is of the chip's image: of the composite, or of each
  of its dates. Terrain and texture of layers do not change with dates.
- **Windows** ask for a halo: half a window's side, or the run file is refused. Inside a tile's
  core values are the same whatever the tiles.
- **Numbers**: chips of whole numbers keep a feature as 16 bits or more over its range, and clip
  what is beyond. An index has the range below in 65,535 steps (0.00003 of a normalised
  difference), levels have the range of their band, `sd` and `mad` half of it, days ten years in
  steps of 0.06, degrees steps of 0.0014, `tpi` 2,048 steps of the layer. A formula without a
  `range` makes chips float32, as they are where a band is. What is not a number is 0.
- **Indices of reflectance** (last column) are refused on bands without a scale.
- **Units**: a measured value, a percentile among them, has the unit of its band, and so have
  means and differences of linear values. What is summed of decibels, as their mean or their
  spread, is `db`: a model that learned on it refuses it from linear backscatter, which other bands
  are converted from.
- **A model** that learned on features maps runs that have the same, by name and in order.
- **Samples of datasets** have none: a run file with `datasets` and features is refused.
"""


def features_page() -> str:
    """Return the page of features: the grammar, and every index with its formula and source."""
    from lulc.features.indices import INDICES

    indices = [
        (
            f"`{name}`",
            index.title,
            f"`{index.formula}`",
            "{:g} to {:g}".format(*index.range),
            index.source,
            "yes" if index.of_reflectance else "",
        )
        for name, index in INDICES.items()
    ]
    return page(
        "Features",
        _FEATURES_INTRO,
        "## Statistics\n",
        table(("statistic", "of", "value"), _STATISTICS),
        _RULES,
        _EXPRESSIONS,
        "## Indices\n\nBy the names of Awesome Spectral Indices (Montero et al. 2023,"
        " doi:10.1038/s41597-023-02096-0), in lower case. `nir` is `nir08` in a run without `nir`,"
        " `rededge071` is `rededge`.\n",
        table(("name", "index", "formula", "range", "source", "reflectance"), indices),
    )


PAGES: dict[str, Callable[[], str]] = {
    "run-file.md": run_file_page,
    "features.md": features_page,
    "tables.md": tables_page,
    "output-folder.md": output_folder_page,
    "api.md": api_page,
    "command-line.md": command_line_page,
}
"""Page → what makes it."""


def main() -> None:
    """Write the pages that have changed."""
    for name, make in PAGES.items():
        path, text = DOCS / name, make()
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
