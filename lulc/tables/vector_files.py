"""Vector files read: the one layer that is meant, its CRS, its features."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import shapely

from lulc.errors import InputError
from lulc.geo.antimeridian import only_polygons
from lulc.geo.grid import coordinate_limits, parse_crs
from lulc.location import STORES, Location, is_address, parse_location
from lulc.tables.files import local_copy, open_parquet
from lulc.tables.geoparquet import covering_column, read_geo
from lulc.tables.vector_identity import PARTS, log_names, logs_of

_ACCEPTED = (
    "accepted are GeoPackage, GeoJSON (also one feature a line), GeoParquet, shapefiles (also "
    "zipped), FlatGeobuf, KML, GML, TopoJSON, ESRI JSON, MapInfo, SQLite and file geodatabases"
)
_DRIVERS = frozenset(
    {
        "GPKG", "GeoJSON", "GeoJSONSeq", "TopoJSON", "ESRIJSON", "ESRI Shapefile", "FlatGeobuf",
        "KML", "LIBKML", "GML", "MapInfo File", "OpenFileGDB", "SQLite",
    }
)  # fmt: skip
_PARQUET = (".parquet", ".geoparquet")
_IN_ARCHIVES = (".shp", ".gpkg", ".geojson", ".json", ".fgb", ".kml", ".gml", ".gdb")
_READ_AS_ADDRESS = re.compile("[!;{}]")  # what pyogrio and GDAL take for more than a name
_AREAL_TYPES, _COLLECTION = (3, 6), 7  # shapely's numbers of Polygon, MultiPolygon, collection


type Bounds = tuple[float, float, float, float]
"""xmin, ymin, xmax, ymax."""


@dataclass(frozen=True)
class Layer:
    """A layer of a vector file, found but not read."""

    use: str
    """What the file is given as, such as `regions`, for messages."""
    path: str
    """The file."""
    name: str
    """Name of the layer; none in GeoParquet."""
    number: int
    """Number of the layer in its file, from 0."""
    crs: str
    """CRS of its coordinates."""
    columns: tuple[str, ...]
    """Names of its columns, without the geometry."""
    bounds: Bounds | None
    """Of all its features (xmin, ymin, xmax, ymax) in its CRS; None where none has a place."""
    geometry: str
    """Type of its geometries, such as `Polygon`; `Unknown` where the file does not say one."""


@dataclass(frozen=True, eq=False)
class Features:
    """Features of a layer."""

    geometries: np.ndarray
    """(N,) two-dimensional shapely geometries; None where a feature has none that can be used."""
    columns: dict[str, np.ndarray]
    """Column → (N,) values, as the file has them."""


def find_layer(
    path: str | Location, use: str, layer: str | None = None, columns: Sequence[str] = ()
) -> Layer:
    """Find the layer of a vector file that is meant.

    It is the one that is named, else the only one that has geometries and the columns.

    Args:
        path: the file, or a zip archive that holds it.
        use: what the file is given as, such as `regions`, for messages.
        layer: name of the layer.
        columns: columns that it must have.

    Raises:
        InputError: the file cannot be read, no layer or more than one is meant, or it has no CRS.
    """
    path = str(path)
    with _explained(use, path):
        if not _is_on_web(path) and not parse_location(path).exists():
            raise InputError(f"{use} {path} is not there")
        if path.startswith(STORES):
            _check_no_log(f"{use} {path}", logs_of(parse_location(path)))
        if path.lower().endswith(_PARQUET):
            layers = [_parquet_layer(path, use)]
        else:
            layers = _file_layers(path, use, layer)
    if layer is not None:
        layer_names = [candidate.name for candidate in layers]
        layers = [candidate for candidate in layers if candidate.name == layer]
        if not layers:
            raise InputError(
                f"{use} {path} has no layer {layer!r} with geometries: "
                f"it has {', '.join(layer_names) or 'none'}"
            )
    if not layers:
        raise InputError(f"{use} {path} has no layer with geometries; {_ACCEPTED}")
    suitable = [candidate for candidate in layers if set(columns) <= set(candidate.columns)]
    if not suitable:
        available = "; ".join(
            f"{candidate.name}: {', '.join(candidate.columns)}" for candidate in layers
        )
        raise InputError(
            f"{use} {path} has no layer with column {', '.join(map(repr, columns))}: "
            f"its layers and their columns are {available}"
        )
    if len(suitable) > 1:
        raise InputError(
            f"{use} {path} has {len(suitable)} layers that may be meant: "
            f"{', '.join(candidate.name for candidate in suitable)}; give one alone "
            f"(regions have `layer`; else `ogr2ogr ONE.gpkg {Path(path).name} LAYER` writes it to "
            "a file)"
        )
    return _check_place(suitable[0])


def read_features(
    layer: Layer,
    columns: Sequence[str] = (),
    bounds: Bounds | None = None,
) -> Features:
    """Read features of a layer.

    Args:
        layer: of `find_layer`.
        columns: the columns that are read.
        bounds: (xmin, ymin, xmax, ymax) in the layer's CRS; only features whose bounds meet them
            are read. Default: all.

    Raises:
        InputError: the file is damaged, its texts are in an encoding that it does not say, or its
            coordinates are none of its CRS.
    """
    is_parquet = layer.path.lower().endswith(_PARQUET)
    read = _read_parquet if is_parquet else _read_file
    with _explained(layer.use, layer.path):
        geometries, values = read(layer, list(columns), bounds)
    coordinates, owners = shapely.get_coordinates(geometries, return_index=True)
    geometries[owners[~np.isfinite(coordinates).all(1)]] = None
    if len(geometries):
        _check_coordinates(layer, shapely.total_bounds(geometries))
    return Features(geometries, dict(zip(columns, values, strict=True)))


def first_types(layer: Layer, count: int = 1000) -> set[str]:
    """Return the types of a layer's first geometries, such as `Point`.

    Args:
        layer: of `find_layer`.
        count: how many features are read.

    Raises:
        InputError: the file is damaged.
    """
    import pyogrio

    with _explained(layer.use, layer.path):
        if layer.path.lower().endswith(_PARQUET):
            with open_parquet(layer.path) as file:
                primary = read_geo(file)["primary_column"]
                wkb = next(file.iter_batches(count, columns=[primary])).column(0).to_pylist()
        else:
            with (
                _copied(layer.path) as copy,
                _opened(copy, layer.path, layer.use, layer.name) as source,
            ):
                options = {"layer": layer.number, "columns": [], "max_features": count}
                _, _, wkb, _ = pyogrio.raw.read(source, **options)
        geometries = shapely.from_wkb(wkb, on_invalid="ignore")
    return {geometry.geom_type for geometry in geometries if geometry is not None}


def polygons_of(geometries: np.ndarray) -> np.ndarray:
    """Return the polygons of geometries, also those within collections.

    Args:
        geometries: (N,) shapely geometries or None.

    Returns:
        (N,) Polygon or MultiPolygon; None where a geometry has none.
    """
    polygons = geometries.copy()
    kinds = shapely.get_type_id(geometries)
    polygons[~np.isin(kinds, _AREAL_TYPES)] = None
    for number in np.flatnonzero(kinds == _COLLECTION):
        polygons[number] = only_polygons(geometries[number])
    polygons[shapely.is_empty(polygons)] = None
    return polygons


def texts_of(values: np.ndarray) -> list[str]:
    """Return a column as texts without blanks around them.

    Whole numbers have no decimal point, a missing value is the empty text.

    Examples:
        >>> texts_of(np.array(["007", "NA ", None, 3.0, float("nan"), 2.5], object))
        ['007', 'NA', '', '3', '', '2.5']
    """
    missing = pd.isna(values)
    return [
        "" if is_missing else _text(value)
        for value, is_missing in zip(values.tolist(), missing, strict=True)
    ]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.15g}"
    return str(value).strip()


def _file_layers(path: str, use: str, layer: str | None) -> list[Layer]:
    import pyogrio

    layers = []
    with _copied(path) as copy, _opened(copy, path, use, layer) as source:
        for number, (name, geometry_type) in enumerate(pyogrio.list_layers(source)):
            if geometry_type is None:
                continue
            header = pyogrio.read_info(source, layer=number, force_total_bounds=True)
            if header["driver"] not in _DRIVERS:
                raise InputError(f"{use} {path} is read as {header['driver']}; {_ACCEPTED}")
            vector_layer = Layer(
                use,
                path,
                str(name),
                number,
                str(header["crs"] or ""),
                tuple(map(str, header["fields"])),
                _finite(header["total_bounds"]),
                str(geometry_type),
            )
            layers.append(vector_layer)
        if layers and header["driver"] == "GeoJSON" and Path(source).is_file():
            _check_stated_crs(copy, f"{use} {path}")
    return layers


def _read_file(
    layer: Layer, columns: list[str], bounds: Bounds | None
) -> tuple[np.ndarray, Sequence[np.ndarray]]:
    import pyogrio

    with _copied(layer.path) as copy, _opened(copy, layer.path, layer.use, layer.name) as source:
        meta, _, wkb, values = pyogrio.raw.read(
            source, layer=layer.number, columns=columns, bbox=bounds, force_2d=True
        )
        _check_encoding(layer, source, values)
    # pyogrio gives columns in the file's order.
    order = {str(name): number for number, name in enumerate(meta["fields"])}
    values = [values[order[name]] for name in columns]
    return shapely.from_wkb(wkb, on_invalid="fix"), values


def _is_on_web(path: str) -> bool:
    return is_address(path) and not path.startswith(STORES)


@contextlib.contextmanager
def _copied(path: str) -> Iterator[str]:
    # The path on this machine's disk of a file in a store; any other as it is.
    if _is_on_web(path):
        yield path
        return
    with local_copy(path, path.lower().endswith(tuple(PARTS))) as copy:
        yield str(copy)


@contextlib.contextmanager
def _opened(path: str, user_path: str, use: str, layer: str | None) -> Iterator[str]:
    # The name by which pyogrio opens a file; through a link where it would read its own name as
    # an address. `user_path`: what the user named.
    with contextlib.ExitStack() as links:
        if "://" not in path and _READ_AS_ADDRESS.search(str(Path(path).absolute())):
            folder = Path(links.enter_context(tempfile.TemporaryDirectory(prefix="lulc-")))
            for sibling in _siblings(Path(path)):
                link = folder / f"layer{sibling.name[len(Path(path).stem) :]}"
                link.symlink_to(sibling.absolute())
            path = str(folder / f"layer{Path(path).suffix}")
        if path.lower().endswith(".zip"):
            path = f"/vsizip/{path}/{_archived(path, user_path, use, layer)}"
        elif path.lower().endswith(".shp") and "://" not in path:
            _check_shapefile([file.name for file in _siblings(Path(path))], f"{use} {user_path}")
        yield path


def _siblings(path: Path) -> list[Path]:
    # The file itself, and those beside it that differ in their suffix alone.
    return [file for file in path.parent.iterdir() if file.name.startswith(f"{path.stem}.")]


def _check_no_log(description: str, logs: Sequence[Location | str]) -> None:
    # A copied database without its log misses rows, or has some that were never finished. But a log
    # that an earlier copy left behind undoes later changes.
    if logs:
        raise InputError(
            f"{description} has {logs[0]} beside it, which may hold changes that are not in it: "
            "close the program that edits it, copy it again, and remove what is beside it"
        )


def _archived(path: str, user_path: str, use: str, layer: str | None) -> str:
    # The vector file in an archive.
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
        filled = {entry.filename for entry in archive.infolist() if entry.file_size}
    # A file geodatabase is a folder.
    files = {re.sub(r"(?i)(\.gdb)/.*", r"\1", name) for name in names}
    vector_names = sorted(file for file in files if file.lower().endswith(_IN_ARCHIVES))
    of_layer = [file for file in vector_names if PurePosixPath(file).stem == layer]
    if len(vector_names) > 1 and len(of_layer) == 1:
        vector_names = of_layer
    if len(vector_names) != 1:
        raise InputError(
            f"{use} {user_path} holds {len(vector_names)} vector files "
            f"({', '.join(vector_names[:5]) or 'none'}): unpack it, and give one"
        )
    description = f"{use} {user_path}/{vector_names[0]}"
    _check_no_log(description, [log for log in log_names(vector_names[0]) if log in filled])
    if vector_names[0].lower().endswith(".shp"):
        _check_shapefile(names, description)
    return vector_names[0]


def _check_shapefile(names: Sequence[str], description: str) -> None:
    suffixes = {PurePosixPath(name).suffix.lower() for name in names}
    missing = [suffix for suffix in (".shx", ".dbf") if suffix not in suffixes]
    if missing:
        raise InputError(
            f"{description} lacks its {' and '.join(missing)}: a shapefile is the files .shp, "
            ".shx, .dbf, .prj and, for its encoding, .cpg of one name; fetch all of them"
        )


def _check_encoding(layer: Layer, source: str, values: Sequence[np.ndarray]) -> None:
    # A shapefile says its encoding in a .cpg file or in byte 29 of its .dbf; where it says none,
    # letters beyond ASCII are a guess.
    if not source.lower().endswith(".shp") or source.startswith("/vsizip/") or "://" in source:
        return
    siblings = {file.suffix.lower(): file for file in _siblings(Path(source))}
    if ".cpg" in siblings or not _beyond_ascii(values):
        return
    with siblings[".dbf"].open("rb") as table:
        if table.read(30)[29:] == b"\0":
            raise InputError(
                f"{layer.use} {layer.path} has letters beyond ASCII and does not say their "
                "encoding: write UTF-8 or ISO-8859-1, whichever it is, into a file "
                f"{Path(layer.path).stem}.cpg beside it"
            )


def _beyond_ascii(values: Sequence[np.ndarray]) -> bool:
    texts = (value for column in values if column.dtype == object for value in column)
    return any(isinstance(text, str) and not text.isascii() for text in texts)


def _check_stated_crs(path: str, description: str) -> None:
    # GDAL takes a GeoJSON whose `crs` is null or unknown for one in degrees.
    with open(path, "rb") as file:
        head = file.read(1 << 16)
        file.seek(max(0, file.seek(0, 2) - (1 << 12)))
        tail = file.read()
    before, *features = re.split(rb'"features"\s*:', head)
    outside_features = before + tail.rpartition(b"]")[2] if features else _crs_of_one(path)
    stated = re.search(
        rb'"crs"\s*:\s*(?:\{.*?"name"\s*:\s*"([^"]*)")?', outside_features, re.DOTALL
    )
    if stated is None:
        return
    name = (stated[1] or b"").decode("utf-8", "replace")
    try:
        if name:
            parse_crs(name)
            return
    except InputError:
        pass
    stated_name = repr(name) if name else "null, or without a name"
    raise InputError(
        f"{description} has the crs {stated_name}, which is no known CRS: write the CRS of its "
        "coordinates into the file, or leave `crs` out where they are degrees"
    )


def _crs_of_one(path: str) -> bytes:
    # The member `crs` of one feature or geometry alone, whose properties may be called so too.
    content = json.loads(Path(path).read_bytes())
    return json.dumps({name: content[name] for name in ("crs",) if name in content}).encode()


def _parquet_layer(path: str, use: str) -> Layer:
    with open_parquet(path) as file:
        names = file.schema_arrow.names
        try:
            header = read_geo(file)
            primary = header["primary_column"]
            column = header["columns"][primary]
            covering = covering_column(header, primary)
        except (LookupError, TypeError, ValueError) as error:
            raise InputError(
                f"{use} {path} is a Parquet file without the metadata of GeoParquet, which say its "
                "CRS: write it as GeoParquet (geopandas' to_parquet, `lulc sql --save`); "
                f"{_ACCEPTED}"
            ) from error
    crs = column.get("crs", "OGC:CRS84")
    columns = tuple(name for name in names if name not in (primary, covering))
    stated = parse_crs(json.dumps(crs)).to_wkt() if isinstance(crs, dict) else str(crs or "")
    kinds = column.get("geometry_types") or []
    kind = str(kinds[0]) if len(kinds) == 1 else "Unknown"
    bbox = column.get("bbox")
    if not bbox:
        import geopandas

        with _copied(path) as copy:
            bbox = geopandas.read_parquet(copy, columns=[primary]).total_bounds
    middle = len(bbox) // 2
    bounds = _finite((*bbox[:2], *bbox[middle : middle + 2]))
    return Layer(use, path, "", 0, stated, columns, bounds, kind)


def _finite(bounds: Sequence[float] | None) -> Bounds | None:
    if bounds is None or not np.isfinite(bounds).all():
        return None
    xmin, ymin, xmax, ymax = map(float, bounds)
    return xmin, ymin, xmax, ymax


def _read_parquet(
    layer: Layer, columns: list[str], bounds: Bounds | None
) -> tuple[np.ndarray, Sequence[np.ndarray]]:
    import geopandas

    with open_parquet(layer.path) as file:
        header = read_geo(file)
    primary = header["primary_column"]
    covered = "covering" in header["columns"][primary]
    with _copied(layer.path) as copy:
        frame = geopandas.read_parquet(
            copy, columns=[*columns, primary], bbox=bounds if covered else None
        )
    if bounds is not None:
        frame = frame.iloc[frame.sindex.intersection(bounds)]
    geometries = shapely.force_2d(frame.geometry.to_numpy(object))
    return geometries, [frame[name].to_numpy(object) for name in columns]


def _check_place(layer: Layer) -> Layer:
    remedy = "write the CRS of its coordinates into the file (`ogr2ogr -a_srs EPSG:… NEW OLD`)"
    if not layer.crs:
        raise InputError(f"{layer.use} {layer.path} has no CRS, so its place is unknown: {remedy}")
    crs = parse_crs(layer.crs)
    if not (crs.is_geographic or crs.is_projected):
        raise InputError(
            f"{layer.use} {layer.path} has the CRS {crs.name!r}, which is none on the Earth: "
            f"{remedy}"
        )
    if layer.bounds is not None:
        _check_coordinates(layer, layer.bounds)
    return layer


def _check_coordinates(layer: Layer, bounds: Sequence[float]) -> None:
    west, south, east, north = bounds
    if not np.isfinite(bounds).all():
        return
    max_x, max_y = coordinate_limits(layer.crs)
    if max(-west, east) > max_x or max(-south, north) > max_y:
        is_degrees = parse_crs(layer.crs).is_geographic
        wrong = "not degrees as its CRS says" if is_degrees else "nowhere on the Earth by its CRS"
        raise InputError(
            f"{layer.use} {layer.path} has coordinates from {west:g}, {south:g} to {east:g}, "
            f"{north:g}, which are {wrong}: write the CRS of its coordinates into the file"
        )


@contextlib.contextmanager
def _explained(use: str, path: str) -> Iterator[None]:
    # Errors of the libraries as an InputError that names the file. Their warnings tell of features
    # without a geometry that can be used, which the caller counts.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnicodeDecodeError as error:
        raise InputError(
            f"{use} {path} has texts in another encoding than it says, or than UTF-8 ({error}): "
            "save it as UTF-8"
        ) from error
    except (
        RuntimeError,  # of pyogrio: DataSourceError, DataLayerError, FeatureError, …
        OSError,
        ValueError,
        TypeError,
        KeyError,
        zipfile.BadZipFile,
        pa.ArrowException,
        shapely.errors.ShapelyError,
    ) as error:
        # GDAL goes on about its drivers.
        reason = str(error).partition("; It might help")[0]
        raise InputError(
            f"{use} {path} cannot be read as a vector file ({reason}); {_ACCEPTED}"
        ) from error
