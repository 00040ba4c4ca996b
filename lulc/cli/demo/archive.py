"""An archive of an invented landscape, with its truth.

Two overlapping scenes in two UTM zones on four dates, with clouds, shadows and slanted edges.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from lulc.cli.demo import scenery
from lulc.cli.demo.scenery import BANDS, CLASSES
from lulc.errors import InputError
from lulc.geo.grid import WGS84, Grid, footprint, project
from lulc.legend import NODATA
from lulc.raster.access import open_raster
from lulc.raster.cog import write_bands
from lulc.raster.views import average_onto
from lulc.yaml12 import dump_yaml

SIDE_M = 20.0
"""Pixel side in metres of scenes, truth and map; the landscape's own pixels are half as large."""
_FINE_SIDE_M = 10.0
_SHAPE = (1152, 2048)  # of the landscape, in pixels of 10 m: 576 x 1024 pixels of 20 m
_CRS = "EPSG:3035"
_LEFT, _TOP = 4_463_360.0, 2_684_800.0  # about 12° E, 47° N, on the lattice of a 20 m tiling
_DAYS = ("2024-04-14", "2024-06-08", "2024-07-28", "2024-09-15")
_UTM_ZONES = (("west", "EPSG:32632"), ("east", "EPSG:32633"))
_BLOCK = 64  # side in pixels of the squares of truth that are not among the labels
# The quality band's codes are those of Sentinel-2's scene classification.
_NONE, _SHADOW, _CLEAR, _CLOUD = 0, 3, 4, 9


@dataclass(frozen=True)
class Demo:
    """Paths of a demo archive."""

    run_file: Path
    """The run file."""
    truth: Path
    """The true class of every pixel."""
    labels: Path
    """The truth with squares left out."""


def make_archive(folder: Path, seed: int = 0, shape: tuple[int, int] = _SHAPE) -> Demo:
    """Write the archive: STAC items with COGs, labels, truth, regions, and last the run file.

    Args:
        folder: folder to write to; an archive that is complete there is used again.
        seed: another seed makes another landscape.
        shape: height and width of the landscape in pixels of 10 m, multiples of 16.
    """
    demo = Demo(folder / "run.yaml", folder / "truth.tif", folder / "labels.tif")
    if demo.run_file.exists():
        return demo
    fine, ground = _landscape_grid(_FINE_SIDE_M, shape), _landscape_grid(SIDE_M, shape)
    land = scenery.make_landscape(shape, seed)
    rng = np.random.default_rng(seed)
    for number, (name, crs) in enumerate(_UTM_ZONES):
        grid = _scene_grid(ground, number, crs)
        for season, day in enumerate(_DAYS):
            # Half of the scenes have an offset of -0.1, as Sentinel-2's processing baselines do.
            offset = -0.1 if (season + number) % 2 else 0.0
            reflectance = average_onto(land.reflectance(season), fine, grid)
            pixels = _observe(reflectance, grid, offset, rng)
            _write_scene(folder / "scenes", f"{name}_{day}", grid, pixels, offset)
    truth = land.classes()
    _write_raster(demo.truth, truth[None], ground, NODATA)
    rows, cols = (np.arange(n) // _BLOCK for n in truth.shape)
    unlabelled = (rng.random((rows[-1] + 1, cols[-1] + 1)) < 0.3)[rows[:, None], cols[None]]
    _write_raster(demo.labels, np.where(unlabelled, NODATA, truth)[None], ground, NODATA)
    (folder / "regions.geojson").write_text(json.dumps(_make_regions(ground)))
    demo.run_file.write_text(dump_yaml(_run_settings()), "utf-8")
    return demo


def score_map(out: Path, demo: Demo) -> dict[str, float]:
    """Compare the map of a demo run with the truth.

    Only pixels that were clear on at least one date have a class, so only they count.

    Args:
        out: output folder of the run.
        demo: the archive it was made from.

    Returns:
        Shares of pixels: with the true class among the clear ones, the same among those without a
        label, and clear ones among all.

    Raises:
        InputError: there is no map of the landscape.
    """
    with (
        open_raster(str(demo.truth.resolve())) as file,
        open_raster(str(demo.labels.resolve())) as labels,
    ):
        truth, left, top = file.read(1), file.bounds.left, file.bounds.top
        unlabelled = labels.read(1) == NODATA
    correct, mapped = np.zeros(truth.shape, bool), np.zeros(truth.shape, bool)
    for path in sorted((out / "rasters").rglob("*.tif")):
        classes = _read_classes(path, left, top, truth.shape)
        mapped |= classes != NODATA
        correct |= (classes == truth) & (classes != NODATA)
    if not mapped.any():
        raise InputError(f"{out} holds no map of the demo's landscape")
    return {
        "on clear pixels": float(correct[mapped].mean()),
        "on clear pixels kept from training": float(correct[mapped & unlabelled].mean()),
        "share of pixels that were clear": float(mapped.mean()),
    }


def _read_classes(path: Path, left: float, top: float, shape: tuple[int, int]) -> np.ndarray:
    # (H, W) classes of a raster on the truth's pixels, NODATA outside of it.
    height, width = shape
    with open_raster(str(path.resolve())) as file:
        raster = file.read(1)
        row = round((top - file.bounds.top) / SIDE_M)
        col = round((file.bounds.left - left) / SIDE_M)
    overlap = raster[max(0, -row) : height - row, max(0, -col) : width - col]
    first_row, first_col = max(0, row), max(0, col)
    classes = np.full(shape, NODATA, np.uint8)
    rows = slice(first_row, first_row + overlap.shape[0])
    classes[rows, first_col : first_col + overlap.shape[1]] = overlap
    return classes


def _landscape_grid(side: float, shape: tuple[int, int]) -> Grid:
    height, width = (round(n * _FINE_SIDE_M / side) for n in shape)
    return Grid(_CRS, (side, 0.0, _LEFT, 0.0, -side, _TOP), height, width)


def _scene_grid(ground: Grid, number: int, crs: str) -> Grid:
    # Each scene covers 60 % of the landscape's width and a margin beyond it.
    xmin, ymin, xmax, ymax = ground.bounds
    width = xmax - xmin
    outline = shapely.box(
        xmin + (0.4 * width if number else -500),
        ymin - 500,
        xmax + 500 if number else xmax - 0.4 * width,
        ymax + 500,
    )
    left, bottom, right, top = project(outline, _CRS, crs).bounds
    left, top = (np.floor(v / SIDE_M) * SIDE_M for v in (left, top))
    return Grid(
        crs,
        (SIDE_M, 0.0, left, 0.0, -SIDE_M, top),
        int((top - bottom) / SIDE_M) + 1,
        int((right - left) / SIDE_M) + 1,
    )


def _observe(
    reflectance: np.ndarray, grid: Grid, offset: float, rng: np.random.Generator
) -> np.ndarray:
    """Return what a sensor records of a reflectance.

    Returns:
        (7, H, W) uint16: the six bands, and the quality band.
    """
    # The order of the random draws is part of the result.
    cloud_depth = scenery.fractal(rng, grid.shape, 1.9)
    cloud = cloud_depth > 1.15
    # Sun from the south-south-east, clouds a kilometre up: shadows fall to the north-north-west.
    shadow = np.roll(cloud, (-24, -14), (0, 1)) & ~cloud
    veil = np.clip((cloud_depth - 1.0) / 0.5, 0, 1)
    cloud_reflectance = rng.normal(0.72, 0.05, grid.shape).astype(np.float32)
    signal: np.ndarray = reflectance * (1 - veil) + veil * cloud_reflectance
    signal = np.where(shadow, signal * 0.45, signal) + rng.normal(0, 0.003, reflectance.shape)
    empty = _outside_swath(grid) | np.isnan(reflectance).any(0)
    numbers = np.clip(np.rint((np.nan_to_num(signal) - offset) * 10_000), 1, 65_535)
    numbers = np.where(empty, 0, numbers)
    quality = np.select([empty, cloud | (veil > 0.02), shadow], [_NONE, _CLOUD, _SHADOW], _CLEAR)
    return np.concatenate([numbers, quality[None]]).astype(np.uint16)


def _outside_swath(grid: Grid) -> np.ndarray:
    # (H, W) where a slanted swath has no pixels.
    col, row = np.meshgrid(np.arange(grid.width), np.arange(grid.height))
    slant = 0.18 * (row - grid.height / 2)
    left_edge = 12 + slant * (slant > 0)
    right_edge = grid.width - 14 + slant * (slant < 0)
    return (col < left_edge) | (col > right_edge)


def _write_raster(path: Path, pixels: np.ndarray, grid: Grid, nodata: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bands(path, pixels, grid, nodata)


def _write_scene(folder: Path, name: str, grid: Grid, pixels: np.ndarray, offset: float) -> None:
    assets: dict[str, Any] = {}
    for number, band in enumerate((*BANDS, "scl")):
        band_pixels = pixels[number : number + 1]
        dtype = "uint8" if band == "scl" else "uint16"
        _write_raster(folder / name / f"{band}.tif", band_pixels.astype(dtype), grid, 0)
        assets[band] = _make_asset(name, band, offset)
    outline = footprint(grid)
    quality = pixels[-1]
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
            "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
        ],
        "id": name,
        "geometry": shapely.geometry.mapping(outline),
        "bbox": list(outline.bounds),
        "properties": {
            "datetime": f"{name[-10:]}T10:10:00Z",
            "proj:epsg": int(grid.crs.removeprefix("EPSG:")),
            "eo:cloud_cover": round(100 * float((quality == _CLOUD).mean()), 1),
        },
        "assets": assets,
        "links": [],
    }
    (folder / f"{name}.json").write_text(json.dumps(item, indent=1))


def _make_asset(scene_name: str, band: str, offset: float) -> dict[str, Any]:
    raster_band: dict[str, Any] = {"data_type": "uint8", "nodata": 0}
    if band != "scl":
        raster_band = {
            "data_type": "uint16",
            "nodata": 0,
            "spatial_resolution": SIDE_M,
            "scale": 0.0001,
            "offset": offset,
        }
    return {
        "href": f"{scene_name}/{band}.tif",
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "roles": ["data"],
        "eo:bands": [{"name": band, "common_name": band}] if band != "scl" else [],
        "raster:bands": [raster_band],
    }


def _make_regions(ground: Grid) -> dict[str, Any]:
    # Four districts with crooked borders between them, inside the landscape.
    xmin, ymin, xmax, ymax = ground.bounds
    x = [xmin + share * (xmax - xmin) for share in (0.06, 0.33, 0.52, 0.94)]
    y = [ymin + share * (ymax - ymin) for share in (0.08, 0.45, 0.58, 0.93)]
    rings = {
        "north-west": [(x[0], y[3]), (x[2], y[3]), (x[1], y[2]), (x[0], y[1])],
        "north-east": [(x[2], y[3]), (x[3], y[3]), (x[3], y[1]), (x[1], y[2])],
        "south-west": [(x[0], y[1]), (x[1], y[2]), (x[2], y[0]), (x[0], y[0])],
        "south-east": [(x[1], y[2]), (x[3], y[1]), (x[3], y[0]), (x[2], y[0])],
    }
    features = []
    for name, ring in rings.items():
        geometry = shapely.geometry.mapping(project(shapely.Polygon(ring), _CRS, WGS84))
        features.append({"type": "Feature", "properties": {"id": name}, "geometry": geometry})
    return {"type": "FeatureCollection", "features": features}


def _run_settings() -> dict[str, Any]:
    units = dict.fromkeys(BANDS, "surface_reflectance")
    return {
        "name": "demo",
        "scenes": [{"path": "scenes", "quality": "scl", "clear": [_CLEAR], "units": units}],
        "bands": list(BANDS),
        "tiling": {"crs": _CRS, "resolution": SIDE_M, "size": 256, "halo": 32, "block": 2},
        "periods": [{"name": "2024", "start": "2024-01-01", "end": "2024-12-31"}],
        "dates": 4,
        "legend": {c.id: {"name": c.name, "colour": c.colour} for c in CLASSES.classes},
        "labels": {"path": "labels.tif"},
        "samples": {"size": 64, "block": 1, "validation": 0.1, "test": 0.1},
        "train": {
            "depth": 3,
            "decoder": [64, 64, 32],
            "epochs": 8,
            "repeats": 5,
            "batch": 16,
            "rate": 0.003,
            "class_weight": 0.2,
            "ema": 0.95,
        },
        "regions": [{"path": "regions.geojson", "id": "id", "name": "id", "level": "district"}],
        "spark": {"memory": "1g"},
    }
