"""Layers of HDF4-EOS grid files, such as MODIS products: their grids, scaling and pixels.

The GDAL in rasterio's wheels reads no HDF4: pyhdf does, an extra of this package. Layout: HDF-EOS
Library User's Guide, volume 1 (170-EMD-001), grid structures; attributes of a layer: HDF4 User's
Guide, section 3.10, predefined attributes of SDSs.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from rasterio.io import MemoryFile

from lulc.errors import InputError, SetupError
from lulc.geo.grid import Grid
from lulc.location import parse_location
from lulc.raster.address import ARCHIVE_MARK, split_archive
from lulc.tables.files import local_copy

# As rasterio gives it back, so that a grid is the same before and after it is opened.
_SINUSOIDAL = (
    'PROJCS["Sinusoidal",GEOGCS["Sphere",DATUM["Sphere",SPHEROID["Sphere",{radius:.10g},0]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]]],'
    'PROJECTION["Sinusoidal"],PARAMETER["longitude_of_center",0],PARAMETER["false_easting",0],'
    'PARAMETER["false_northing",0],UNIT["metre",1,AUTHORITY["EPSG","9001"]],'
    'AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
)
# HDF4's numbers of data types (hntdefs.h).
_DTYPES = {
    20: "int8",
    21: "uint8",
    22: "int16",
    23: "uint16",
    24: "int32",
    25: "uint32",
    5: "float32",
    6: "float64",
}
# Bytes of a decoded layer, and of all that are cached at most. The largest layer of a MODIS tile,
# 4800² of 32 bits, has 88 MiB.
_MAX_BYTES = 128 << 20

# The HDF4 library ends the process on some damaged files, so that another process opens a file
# first.
_PROBE = """
import sys
from pyhdf.SD import SD
file = SD(sys.argv[1])
file.attributes()
for n in range(file.info()[0]):
    layer = file.select(n)
    layer.info(), layer.attributes(), [layer.dim(axis).info() for axis in range(layer.info()[1])]
    layer.endaccess()
file.end()
"""
_PROBE_SECONDS = 60

# The HDF4 library must not be called by two threads at once.
_library_lock = threading.Lock()
# Href, size and modification time of a layer's file → the layer as a GeoTIFF, last used at the end.
_decoded: OrderedDict[tuple[str, int, int], MemoryFile] = OrderedDict()


@dataclass(frozen=True, eq=False)
class Hdf4Layer:
    """A two-dimensional layer of a grid in an HDF4-EOS file, its pixels unread."""

    path: str
    """The file: a path, or an address in a store."""
    name: str
    """Name of the layer."""
    grid_name: str
    """Name of the HDF-EOS grid that it belongs to."""
    grid: Grid
    dtype: str
    attributes: Mapping[str, Any]
    """The layer's attributes as the file has them, unchecked."""

    @property
    def href(self) -> str:
        """The href by which `open_raster` opens the layer."""
        return f"{self.path}{ARCHIVE_MARK}{self.grid_name}/{self.name}"

    def check_size(self) -> None:
        """Raise InputError where the layer claims more than one of a MODIS tile has."""
        if math.prod(self.grid.shape) * np.dtype(self.dtype).itemsize > _MAX_BYTES:
            raise InputError(
                f"{self.path}: layer {self.name} claims {self.grid.shape} pixels: "
                f"{_MAX_BYTES:,} bytes are read at most"
            )

    @property
    def scaling(self) -> tuple[float, float]:
        """Scale and offset: physical value = number x scale + offset; InputError if senseless."""
        try:
            scale = float(self.attributes.get("scale_factor", 1))
            offset = float(self.attributes.get("add_offset", 0))
        except (TypeError, ValueError):
            scale, offset = math.nan, math.nan
        if not math.isfinite(scale * offset) or scale <= 0:
            raise InputError(
                f"{self.path}: layer {self.name} has scale_factor {scale}, add_offset {offset}: "
                "download the file again"
            )
        # HDF4's calibration: value = scale_factor (number - add_offset). MOD13 and older MOD09GA
        # write the power of ten that values were multiplied by when they were stored instead
        # (10000); MOD09GA's distances have 25, and mean it.
        if scale > 1 and math.log10(scale).is_integer():
            scale = 1 / scale
        return scale, 0.0 - scale * offset

    @property
    def valid_range(self) -> tuple[float, float] | None:
        """Smallest and largest number that is data; None where the file gives no range."""
        # The range of a bit field is not one of amounts: it would refuse numbers whose bits are set
        # for good reason.
        is_bit_field = self.attributes.get("units") == "bit field"
        if is_bit_field or "valid_range" not in self.attributes:
            return None
        limits = self.attributes["valid_range"]
        try:
            low, high = map(float, limits)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{self.path}: layer {self.name} has valid_range {limits!r}: download it again"
            ) from error
        return low, high

    @property
    def nodata(self) -> float | None:
        """Number of pixels without data; None where every number is data."""
        if "_FillValue" in self.attributes:
            return float(self.attributes["_FillValue"])
        if self.valid_range is None or np.dtype(self.dtype).kind == "f":
            return None
        low, high = self.valid_range
        limits = np.iinfo(self.dtype)
        unused = (number for number in (low - 1, high + 1) if limits.min <= number <= limits.max)
        return next(unused, None)


def require_pyhdf() -> None:
    """Raise SetupError that names the extra where HDF4 cannot be read."""
    try:
        import pyhdf.SD  # noqa: F401
    except ImportError as error:
        raise SetupError(
            "HDF4 files are read with pyhdf, which is not installed: pip install 'lulc[hdf4]'"
        ) from error


def list_layers(path: str) -> tuple[tuple[Hdf4Layer, ...], dict[str, str]]:
    """List the layers of an HDF4-EOS file; no pixel is read.

    Returns:
        The layers in the file's order, and the file's own text attributes.

    Raises:
        InputError: the file is damaged, or a grid is in another projection than the sinusoidal one.
        SetupError: pyhdf is not installed.
    """
    with _open_file(path) as file:
        texts = _join_texts(file.attributes())
        grids = _parse_grids(path, texts.get("StructMetadata", ""))
        layers = []
        for number in range(file.info()[0]):
            sds = file.select(number)
            layer = _describe_layer(path, sds, grids)
            if layer is not None:
                layers.append(layer)
            sds.endaccess()
    return tuple(layers), texts


def _describe_layer(path: str, sds: Any, grids: Mapping[str, Grid]) -> Hdf4Layer | None:
    # None for a data set that is no two-dimensional layer of one of the grids.
    name, rank, shape, dtype_number, _ = sds.info()
    axes = [sds.dim(axis).info()[0] for axis in range(rank)]
    grid_name = axes[0].partition(":")[2] if axes else ""
    is_layer = axes == [f"YDim:{grid_name}", f"XDim:{grid_name}"]
    if not is_layer or grid_name not in grids or dtype_number not in _DTYPES:
        return None
    grid = grids[grid_name]
    if tuple(shape) != grid.shape:
        raise InputError(
            f"{path}: layer {name} is {shape}, its grid {grid.shape}: download the file again"
        )
    return Hdf4Layer(path, name, grid_name, grid, _DTYPES[dtype_number], sds.attributes())


def open_layer(href: str) -> str:
    """Decode a layer into memory, as a GeoTIFF.

    Numbers outside the layer's valid range become nodata. The layers used last are cached, up to
    128 MiB.

    Args:
        href: `file.hdf!/GRID/LAYER`.

    Returns:
        The path by which GDAL's GTiff driver opens the layer.

    Raises:
        InputError: the file is damaged or has no such layer, or the layer claims more pixels than
            those of MODIS tiles have.
    """
    path, layer_name = split_archive(href)
    try:
        stat = parse_location(path).stat()
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}") from error
    key = (href, stat.st_size, stat.st_mtime_ns)
    if key not in _decoded:
        layer = next((layer for layer in list_layers(path)[0] if layer.href == href), None)
        if layer is None:
            raise InputError(f"{path} has no layer {layer_name!r}: index it again")
        _decoded[key] = _decode(layer)
        while len(_decoded) > 1 and sum(len(file) for file in _decoded.values()) > _MAX_BYTES:
            _decoded.popitem(last=False)
    _decoded.move_to_end(key)
    return str(_decoded[key].name)


@lru_cache(maxsize=1024)
def _probe(path: str, _size: int, _mtime_ns: int) -> str:
    # What is wrong with a file of that size and time; empty where it can be opened here.
    command = [sys.executable, "-c", _PROBE, path]
    try:
        process = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it takes over {_PROBE_SECONDS} s to open"
    lines = process.stderr.strip().splitlines() or ["no message"]
    return "" if process.returncode == 0 else f"the HDF4 library fails on it: {lines[-1][:200]}"


@contextmanager
def _open_file(path: str) -> Iterator[Any]:
    # The open pyhdf file, which no other thread uses meanwhile.
    require_pyhdf()
    try:
        stat = parse_location(path).stat()
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error}") from error
    from pyhdf.error import HDF4Error
    from pyhdf.SD import SD

    # The library opens files of this machine alone.
    with local_copy(path) as copy:
        if damage := _probe(str(copy), stat.st_size, stat.st_mtime_ns):
            raise InputError(f"{path} is not a sound HDF4 file ({damage}): download it again")
        with _library_lock:
            try:
                file = SD(str(copy))
                try:
                    yield file
                finally:
                    file.end()
            except (HDF4Error, ValueError, UnicodeError) as error:
                raise InputError(
                    f"{path} is not a sound HDF4 file ({error}): download it again"
                ) from error


def _decode(layer: Hdf4Layer) -> MemoryFile:
    layer.check_size()
    pixels = _read_pixels(layer)
    if pixels.shape != layer.grid.shape or pixels.dtype != layer.dtype:
        raise InputError(
            f"{layer.path}: layer {layer.name} holds {pixels.shape} of {pixels.dtype}: "
            "download the file again"
        )
    if layer.valid_range is not None and layer.nodata is not None:
        low, high = layer.valid_range
        in_range = (pixels >= low) & (pixels <= high)
        pixels = np.where(in_range, pixels, pixels.dtype.type(layer.nodata))
    memory = MemoryFile(filename=re.sub(r"\W+", "_", layer.name) + ".tif")
    height, width = pixels.shape
    with memory.open(
        driver="GTiff",
        height=height,
        width=width,
        count=1,
        dtype=layer.dtype,
        crs=layer.grid.crs,
        transform=layer.grid.affine,
        nodata=layer.nodata,
    ) as dataset:
        dataset.write(pixels, 1)
    return memory


def _read_pixels(layer: Hdf4Layer) -> np.ndarray:
    with _open_file(layer.path) as file:
        sds = next(
            sds
            for number in range(file.info()[0])
            if (sds := file.select(number)).info()[0] == layer.name
            and sds.dim(0).info()[0] == f"YDim:{layer.grid_name}"
        )
        pixels = np.asarray(sds.get())
        sds.endaccess()
    return pixels


def _join_texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    # A long text is cut into several attributes: StructMetadata.0, StructMetadata.1, …
    def by_number(name: str) -> list[int | str]:
        pieces = re.split(r"(?<=\.)(\d+)$", name)
        return [int(piece) if piece.isdigit() else piece for piece in pieces]

    texts: dict[str, str] = {}
    for name in sorted(attributes, key=by_number):
        if isinstance(attributes[name], str):
            stem = re.sub(r"\.\d+$", "", name)
            texts[stem] = texts.get(stem, "") + attributes[name]
    return texts


def _parse_grids(path: str, struct_metadata: str) -> dict[str, Grid]:
    # Name → grid, of the GRID groups in StructMetadata.
    grids = {}
    groups = re.findall(r"\bGROUP=(GRID_\d+)\s(.*?)\bEND_GROUP=\1\s", struct_metadata, re.DOTALL)
    for _, group in groups:
        header = group.partition("GROUP=Dimension")[0]
        fields = dict(re.findall(r"^\s*(\w+)=(.*?)\s*$", header, re.MULTILINE))
        name = fields.get("GridName", "").strip('"')
        grids[name] = _parse_grid(path, name, fields)
    if not grids:
        raise InputError(
            f"{path} has no grid in StructMetadata: only MODIS gridded products (levels 2G, 3 and "
            "4) can be read"
        )
    return grids


def _parse_grid(path: str, name: str, fields: Mapping[str, str]) -> Grid:
    try:
        width, height = int(fields["XDim"]), int(fields["YDim"])
        left, top = _parse_numbers(fields["UpperLeftPointMtrs"])
        right, bottom = _parse_numbers(fields["LowerRightMtrs"])
        radius, *parameters = _parse_numbers(fields["ProjParams"])
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path}: StructMetadata does not say where grid {name!r} lies ({error}): "
            "download the file again"
        ) from error
    projection = fields.get("Projection")
    is_sinusoidal = projection == "GCTP_SNSOID" and not any(parameters) and radius > 0
    if not is_sinusoidal or fields.get("GridOrigin") != "HDFE_GD_UL":
        raise InputError(
            f"{path}: grid {name!r} is in projection {projection}: only the sinusoidal one of "
            "MODIS tiles (GCTP_SNSOID, rows from the upper left) can be read"
        )
    if not (width > 0 and height > 0 and left < right and bottom < top):
        raise InputError(f"{path}: grid {name!r} has no extent: download the file again")
    transform = ((right - left) / width, 0.0, left, 0.0, (bottom - top) / height, top)
    return Grid(_SINUSOIDAL.format(radius=radius), transform, height, width)


def _parse_numbers(text: str) -> list[float]:
    numbers = [float(number) for number in text.strip("()").split(",")]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{text} is not finite")
    return numbers
