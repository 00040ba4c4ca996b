"""An archive made on the spot, with its truth: two overlapping scenes in two UTM zones, four dates, clouds, slanted edges."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
import yaml
from rasterio.enums import Resampling
from rasterio.warp import reproject

from lulc.cli.demo import scenery
from lulc.cli.demo.scenery import BANDS, CLASSES, Landscape
from lulc.errors import InputError
from lulc.geo.grid import WGS84, Grid, footprint, project
from lulc.legend import NODATA

SIDE_M = 20.0
"""Side of a pixel of scenes, truth and map; the landscape itself is twice as fine."""
_SHAPE = (1152, 2048)  # of the landscape, in fine pixels of 10 m: 576 x 1024 pixels of 20 m
_CRS, _LEFT, _TOP = (
    "EPSG:3035",
    4_463_360.0,
    2_684_800.0,
)  # about 12° E, 47° N, on the lattice of a 20 m tiling
_DAYS = ("2024-04-14", "2024-06-08", "2024-07-28", "2024-09-15")
_BLOCK = 64  # pixels a side of the squares of truth that labels leave out
# The quality band's codes are those of Sentinel-2's scene classification.
_NONE, _SHADOW, _CLEAR, _CLOUD = 0, 3, 4, 9


@dataclass(frozen=True)
class Demo:
    """Where the run file, the truth and the labels are; labels are the truth with squares left out."""

    run_file: Path
    truth: Path
    labels: Path


def make_archive(folder: Path, seed: int = 0, shape: tuple[int, int] = _SHAPE) -> Demo:
    """The archive in a folder (what stands there is used again): STAC items beside COGs, labels, truth, regions, run file.

    shape: height and width of the landscape in pixels of 10 m, multiples of 16.
    """
    made = Demo(folder / "run.yaml", folder / "truth.tif", folder / "labels.tif")
    if made.run_file.exists():
        return made
    fine, ground = (
        Grid(_CRS, (side, 0.0, _LEFT, 0.0, -side, _TOP), *(round(n * 10 / side) for n in shape))
        for side in (10.0, SIDE_M)
    )
    land = scenery.make_landscape(shape, seed)
    rng = np.random.default_rng(seed)
    for number, (name, crs) in enumerate((("west", "EPSG:32632"), ("east", "EPSG:32633"))):
        grid = _scene_grid(ground, number, crs)
        for season, day in enumerate(_DAYS):
            # The baseline trap: half of the scenes carry an offset of -0.1 in their numbers.
            offset = -0.1 if (season + number) % 2 else 0.0
            _write_scene(
                folder / "scenes",
                f"{name}_{day}",
                grid,
                _look(land, fine, grid, season, offset, rng),
                offset,
            )
    truth = land.classes()
    _write(made.truth, truth[None], ground, nodata=NODATA)
    rows, cols = (np.arange(n) // _BLOCK for n in truth.shape)
    left_out = rng.random((rows[-1] + 1, cols[-1] + 1)) < 0.3
    _write(
        made.labels,
        np.where(left_out[rows[:, None], cols[None]], NODATA, truth)[None],
        ground,
        nodata=NODATA,
    )
    (folder / "regions.geojson").write_text(json.dumps(_regions(ground)))
    made.run_file.write_text(yaml.safe_dump(_settings(), sort_keys=False))
    return made


def score_map(out: Path, made: Demo) -> dict[str, float]:
    """Share of the map's pixels that agree with the truth: everywhere, and where the truth was kept from training.

    Only pixels that were clear on at least one date have a class, so only they count. InputError where there is no map.
    """
    with rasterio.open(made.truth) as file, rasterio.open(made.labels) as labels:
        truth, kept, left, top = (
            file.read(1),
            labels.read(1) == NODATA,
            file.bounds.left,
            file.bounds.top,
        )
    right, seen = np.zeros(truth.shape, bool), np.zeros(truth.shape, bool)
    for path in sorted((out / "rasters").rglob("*.tif")):
        with rasterio.open(path) as file:
            classes = np.full(truth.shape, NODATA, np.uint8)
            row, col = (
                round((top - file.bounds.top) / SIDE_M),
                round((file.bounds.left - left) / SIDE_M),
            )
            part = file.read(1)
            inside = part[max(0, -row) : truth.shape[0] - row, max(0, -col) : truth.shape[1] - col]
            at = (max(0, row), max(0, col))
            classes[at[0] : at[0] + inside.shape[0], at[1] : at[1] + inside.shape[1]] = inside
        seen |= classes != NODATA
        right |= (classes == truth) & (classes != NODATA)
    if not seen.any():
        raise InputError(f"{out} holds no map of the demo's landscape")
    return {
        "on clear pixels": float(right[seen].mean()),
        "on clear pixels kept from training": float(right[seen & kept].mean()),
        "share of pixels that were clear": float(seen.mean()),
    }


def _scene_grid(ground: Grid, number: int, crs: str) -> Grid:
    # Each scene covers 60 % of the landscape's width and a margin beyond it.
    xmin, ymin, xmax, ymax = ground.bounds
    wide = xmax - xmin
    part = shapely.box(
        xmin + (0.4 * wide if number else -500),
        ymin - 500,
        xmax + 500 if number else xmax - 0.4 * wide,
        ymax + 500,
    )
    left, bottom, right, top = project(part, _CRS, crs).bounds
    left, top = (np.floor(v / SIDE_M) * SIDE_M for v in (left, top))
    return Grid(
        crs,
        (SIDE_M, 0.0, left, 0.0, -SIDE_M, top),
        int((top - bottom) / SIDE_M) + 1,
        int((right - left) / SIDE_M) + 1,
    )


def _look(
    land: Landscape, fine: Grid, grid: Grid, season: int, offset: float, rng: np.random.Generator
) -> np.ndarray:
    """(7, H, W) uint16: what a sensor saw of the landscape on a day, six bands and the quality band."""
    seen = np.full((len(BANDS), *grid.shape), np.nan, np.float32)
    place: dict[str, Any] = {
        "src_transform": fine.affine,
        "src_crs": _CRS,
        "dst_transform": grid.affine,
        "dst_crs": grid.crs,
    }
    reproject(
        land.reflectance(season), seen, **place, dst_nodata=np.nan, resampling=Resampling.average
    )
    cloud = scenery.fractal(rng, grid.shape, 1.9)
    clouded = cloud > 1.15
    # Sun from the south-south-east, clouds a kilometre up: shadows fall to the north-north-west.
    shadow = np.roll(clouded, (-24, -14), (0, 1)) & ~clouded
    veil = np.clip((cloud - 1.0) / 0.5, 0, 1)
    numbers: np.ndarray = seen * (1 - veil) + veil * rng.normal(0.72, 0.05, grid.shape).astype(
        np.float32
    )
    numbers = np.where(shadow, numbers * 0.45, numbers) + rng.normal(0, 0.003, seen.shape)
    col, row = np.meshgrid(np.arange(grid.width), np.arange(grid.height))
    slant = 0.18 * (row - grid.height / 2)
    empty = (
        (col < 12 + slant * (slant > 0))
        | (col > grid.width - 14 + slant * (slant < 0))
        | np.isnan(seen).any(0)
    )
    numbers = np.where(
        empty, 0, np.clip(np.rint((np.nan_to_num(numbers) - offset) * 10_000), 1, 65_535)
    )
    quality = np.select([empty, clouded | (veil > 0.02), shadow], [_NONE, _CLOUD, _SHADOW], _CLEAR)
    return np.concatenate([numbers, quality[None]]).astype(np.uint16)


def _write(path: Path, pixels: np.ndarray, grid: Grid, nodata: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = {
        "count": len(pixels),
        "height": grid.height,
        "width": grid.width,
        "dtype": pixels.dtype.name,
    }
    with rasterio.open(
        path,
        "w",
        driver="COG",
        crs=grid.crs,
        transform=grid.affine,
        nodata=nodata,
        compress="deflate",
        **shape,
    ) as file:
        file.write(pixels)


def _write_scene(folder: Path, name: str, grid: Grid, pixels: np.ndarray, offset: float) -> None:
    assets: dict[str, Any] = {}
    for number, band in enumerate((*BANDS, "scl")):
        path = folder / name / f"{band}.tif"
        _write(
            path,
            pixels[number : number + 1].astype("uint8" if band == "scl" else "uint16"),
            grid,
            nodata=0,
        )
        said: dict[str, Any] = {
            "data_type": "uint16",
            "nodata": 0,
            "spatial_resolution": SIDE_M,
            "scale": 0.0001,
            "offset": offset,
        }
        assets[band] = {
            "href": f"{name}/{band}.tif",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
            "eo:bands": [{"name": band, "common_name": band}] if band != "scl" else [],
            "raster:bands": [said if band != "scl" else {"data_type": "uint8", "nodata": 0}],
        }
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


def _regions(ground: Grid) -> dict[str, Any]:
    # Four districts that share crooked borders, inside the landscape.
    xmin, ymin, xmax, ymax = ground.bounds
    x = [xmin + f * (xmax - xmin) for f in (0.06, 0.33, 0.52, 0.94)]
    y = [ymin + f * (ymax - ymin) for f in (0.08, 0.45, 0.58, 0.93)]
    rings = {
        "north-west": [(x[0], y[3]), (x[2], y[3]), (x[1], y[2]), (x[0], y[1])],
        "north-east": [(x[2], y[3]), (x[3], y[3]), (x[3], y[1]), (x[1], y[2])],
        "south-west": [(x[0], y[1]), (x[1], y[2]), (x[2], y[0]), (x[0], y[0])],
        "south-east": [(x[1], y[2]), (x[3], y[1]), (x[3], y[0]), (x[2], y[0])],
    }
    features = []
    for name, ring in rings.items():
        shape = project(shapely.Polygon(ring), _CRS, WGS84)
        features.append(
            {
                "type": "Feature",
                "properties": {"id": name},
                "geometry": shapely.geometry.mapping(shape),
            }
        )
    return {"type": "FeatureCollection", "features": features}


def _settings() -> dict[str, Any]:
    return {
        "name": "demo",
        "scenes": [{"path": "scenes", "quality": "scl", "clear": [_CLEAR]}],
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
