"""Layers of HDF4-EOS grid files, such as MODIS products come in: where they lie, what their numbers mean, and their pixels.

GDAL as rasterio brings it reads no HDF4: pyhdf does, an extra of this package. Layout: HDF-EOS Library User's Guide, volume 1
(170-EMD-001), grid structures; attributes of a layer: HDF4 User's Guide, section 3.10, predefined attributes of SDSs.
"""

from __future__ import annotations

import math
import os
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

# As rasterio gives it back, so that a grid is the same before and after it is opened.
_SINUSOIDAL = (
    'PROJCS["Sinusoidal",GEOGCS["Sphere",DATUM["Sphere",SPHEROID["Sphere",{radius:.10g},0]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]]],PROJECTION["Sinusoidal"],PARAMETER["longitude_of_center",0],'
    'PARAMETER["false_easting",0],PARAMETER["false_northing",0],UNIT["metre",1,AUTHORITY["EPSG","9001"]],'
    'AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
)
# HDF4's numbers of types (hntdefs.h).
_TYPES = {
    20: "int8",
    21: "uint8",
    22: "int16",
    23: "uint16",
    24: "int32",
    25: "uint32",
    5: "float32",
    6: "float64",
}
_MOST = (
    128 << 20
)  # bytes of a layer, and of all that are kept; the largest of a MODIS tile, 4800² of 32 bits, has 88 MiB

# The HDF4 library ends the process over some damaged files, so that another process opens a file first.
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
_LONGEST = 60  # seconds that it may look

_lock = threading.Lock()  # the HDF4 library is not to be called by two threads at once
_kept: OrderedDict[tuple[str, int, int], MemoryFile] = OrderedDict()


@dataclass(frozen=True, eq=False)
class Hdf4Layer:
    """A two-dimensional layer of a grid in the file at `path`; said: its attributes, unread until they are asked for."""

    path: str
    name: str
    structure: str
    grid: Grid
    dtype: str
    said: Mapping[str, Any]

    @property
    def href(self) -> str:
        """What the raster reader opens it by."""
        return f"{self.path}!/{self.structure}/{self.name}"

    def check_size(self) -> None:
        """Nothing; InputError where it claims more than a layer of a MODIS tile has."""
        if math.prod(self.grid.shape) * np.dtype(self.dtype).itemsize > _MOST:
            raise InputError(
                f"{self.path}: layer {self.name} claims {self.grid.shape} pixels: {_MOST:,} bytes are read at most"
            )

    @property
    def scaling(self) -> tuple[float, float]:
        """Scale and offset: physical value = number x scale + offset."""
        try:
            scale, offset = (
                float(self.said.get("scale_factor", 1)),
                float(self.said.get("add_offset", 0)),
            )
        except (TypeError, ValueError):
            scale, offset = math.nan, math.nan
        if not math.isfinite(scale * offset) or scale <= 0:
            raise InputError(
                f"{self.path}: layer {self.name} has scale_factor {scale}, add_offset {offset}: fetch the file anew"
            )
        # HDF4's calibration: value = scale_factor (number - add_offset). MOD13 and older MOD09GA write the power of ten that
        # values were multiplied by when they were stored instead (10000); MOD09GA's distances have 25, and mean it.
        if scale > 1 and math.log10(scale).is_integer():
            scale = 1 / scale
        return scale, 0.0 - scale * offset

    @property
    def valid(self) -> tuple[float, float] | None:
        """The least and the greatest number that is data, None where the file does not say."""
        # Of a field of bits the range is that of no amount: it would refuse bits that are set for good reason.
        if self.said.get("units") == "bit field" or "valid_range" not in self.said:
            return None
        try:
            low, high = map(float, self.said["valid_range"])
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{self.path}: layer {self.name} has valid_range {self.said['valid_range']!r}: fetch it anew"
            ) from error
        return low, high

    @property
    def nodata(self) -> float | None:
        """What stands where there is no data; None where nothing does."""
        if "_FillValue" in self.said:
            return float(self.said["_FillValue"])
        if self.valid is None or np.dtype(self.dtype).kind == "f":
            return None
        limits = np.iinfo(self.dtype)
        return next(
            (n for n in (self.valid[0] - 1, self.valid[1] + 1) if limits.min <= n <= limits.max),
            None,
        )


def require() -> None:
    """Nothing where HDF4 can be read; SetupError that names the extra where it cannot."""
    try:
        import pyhdf.SD  # noqa: F401
    except ImportError as error:
        raise SetupError(
            "HDF4 files are read with pyhdf, which is not installed: pip install 'lulc[hdf4]'"
        ) from error


def list_layers(path: str) -> tuple[tuple[Hdf4Layer, ...], dict[str, str]]:
    """A file's layers in order, and its own attributes as texts; no pixel is read.

    InputError where the file is damaged, or a grid is in another projection than the sinusoidal one.
    """
    with _opened(path) as file:
        texts = _texts(file.attributes())
        grids = _grids(path, texts.get("StructMetadata", ""))
        found = []
        for number in range(file.info()[0]):
            sds = file.select(number)
            name, rank, shape, kind, _ = sds.info()
            axes = [sds.dim(axis).info()[0] for axis in range(rank)]
            structure = axes[0].partition(":")[2] if axes else ""
            if (
                axes == [f"YDim:{structure}", f"XDim:{structure}"]
                and structure in grids
                and kind in _TYPES
            ):
                grid = grids[structure]
                if tuple(shape) != grid.shape:
                    raise InputError(
                        f"{path}: layer {name} is {shape}, its grid {grid.shape}: fetch the file anew"
                    )
                found.append(Hdf4Layer(path, name, structure, grid, _TYPES[kind], sds.attributes()))
            sds.endaccess()
    return tuple(found), texts


def open_layer(href: str) -> str:
    """The name under which GDAL's GTiff driver opens the layer at an href, `file.hdf!/GRID/LAYER`, decoded into memory.

    What lies outside its valid range is nodata there. The last layers are kept, 128 MiB of them. InputError where the file is
    damaged or has no such layer, or the layer claims more than MODIS tiles have.
    """
    path, _, inside = href.partition("!/")
    try:
        stat = os.stat(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be opened: {error.strerror}; HDF4 files are read from this machine's disk"
        ) from error
    key = (href, stat.st_size, stat.st_mtime_ns)
    if key not in _kept:
        layer = next((one for one in list_layers(path)[0] if one.href == href), None)
        if layer is None:
            raise InputError(f"{path} has no layer {inside!r}: index it again")
        _kept[key] = _decode(layer)
        while len(_kept) > 1 and sum(len(file) for file in _kept.values()) > _MOST:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    return str(_kept[key].name)


@lru_cache(maxsize=1024)
def _probe(path: str, _size: int, _changed: int) -> str:
    # What is wrong with a file of that size and time, nothing where it can be opened here.
    command = [sys.executable, "-c", _PROBE, path]
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it takes over {_LONGEST} s to open"
    said = ran.stderr.strip().splitlines() or ["nothing said"]
    return "" if ran.returncode == 0 else f"the HDF4 library fails over it: {said[-1][:200]}"


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    require()
    try:
        found = os.stat(path)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error}") from error
    if wrong := _probe(path, found.st_size, found.st_mtime_ns):
        raise InputError(f"{path} is not a sound HDF4 file ({wrong}): fetch it anew")
    from pyhdf.error import HDF4Error
    from pyhdf.SD import SD

    with _lock:
        try:
            file = SD(path)
            try:
                yield file
            finally:
                file.end()
        except (HDF4Error, ValueError, UnicodeError) as error:
            raise InputError(f"{path} is not a sound HDF4 file ({error}): fetch it anew") from error


def _decode(layer: Hdf4Layer) -> MemoryFile:
    layer.check_size()
    with _opened(layer.path) as file:
        sds = next(
            s
            for n in range(file.info()[0])
            if (s := file.select(n)).info()[0] == layer.name and _of(s, layer.structure)
        )
        pixels = np.asarray(sds.get())
        sds.endaccess()
    if pixels.shape != layer.grid.shape or pixels.dtype != layer.dtype:
        raise InputError(
            f"{layer.path}: layer {layer.name} holds {pixels.shape} of {pixels.dtype}: fetch the file anew"
        )
    if layer.valid is not None and layer.nodata is not None:
        low, high = layer.valid
        pixels = np.where(
            (pixels >= low) & (pixels <= high), pixels, pixels.dtype.type(layer.nodata)
        )
    memory = MemoryFile(filename=re.sub(r"\W+", "_", layer.name) + ".tif")
    height, width = pixels.shape
    place = {"crs": layer.grid.crs, "transform": layer.grid.affine, "nodata": layer.nodata}
    with memory.open(
        driver="GTiff", height=height, width=width, count=1, dtype=layer.dtype, **place
    ) as dataset:
        dataset.write(pixels, 1)
    return memory


def _of(sds: Any, structure: str) -> bool:
    return bool(sds.dim(0).info()[0] == f"YDim:{structure}")


def _texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    # A long text is cut into several attributes: StructMetadata.0, StructMetadata.1, …
    found: dict[str, str] = {}
    for name in sorted(
        attributes,
        key=lambda n: [int(p) if p.isdigit() else p for p in re.split(r"(?<=\.)(\d+)$", n)],
    ):
        if isinstance(attributes[name], str):
            stem = re.sub(r"\.\d+$", "", name)
            found[stem] = found.get(stem, "") + attributes[name]
    return found


def _grids(path: str, struct: str) -> dict[str, Grid]:
    # Name → grid, of the GRID groups in StructMetadata.
    found = {}
    for _, text in re.findall(r"\bGROUP=(GRID_\d+)\s(.*?)\bEND_GROUP=\1\s", struct, re.DOTALL):
        said = dict(
            re.findall(r"^\s*(\w+)=(.*?)\s*$", text.partition("GROUP=Dimension")[0], re.MULTILINE)
        )
        name = said.get("GridName", "").strip('"')
        try:
            width, height = int(said["XDim"]), int(said["YDim"])
            (left, top), (right, bottom) = (
                _numbers(said[k]) for k in ("UpperLeftPointMtrs", "LowerRightMtrs")
            )
            radius, *others = _numbers(said["ProjParams"])
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{path}: StructMetadata does not place grid {name!r} ({error}): fetch the file anew"
            ) from error
        if (
            said.get("Projection") != "GCTP_SNSOID"
            or any(others)
            or radius <= 0
            or said.get("GridOrigin") != "HDFE_GD_UL"
        ):
            known = "the sinusoidal one (GCTP_SNSOID) of MODIS tiles, from the upper left, is read"
            raise InputError(
                f"{path}: grid {name!r} is in projection {said.get('Projection')}: {known}"
            )
        if not (width > 0 and height > 0 and left < right and bottom < top):
            raise InputError(f"{path}: grid {name!r} has no extent: fetch the file anew")
        transform = ((right - left) / width, 0.0, left, 0.0, (bottom - top) / height, top)
        found[name] = Grid(_SINUSOIDAL.format(radius=radius), transform, height, width)
    if not found:
        raise InputError(
            f"{path} has no grid in StructMetadata: MODIS gridded products (levels 2G, 3 and 4) are read"
        )
    return found


def _numbers(text: str) -> list[float]:
    found = [float(part) for part in text.strip("()").split(",")]
    if not all(map(math.isfinite, found)):
        raise ValueError(f"{text} is not finite")
    return found
