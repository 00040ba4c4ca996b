"""Miniature archives of published datasets: written, listed, read, and cut into samples."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from lulc.config import DatasetConf
from lulc.datasets import registry
from lulc.datasets.dataset import Dataset, Example, ExampleItem, Note
from lulc.samples import from_datasets
from lulc.tables import schemas

UTM = "EPSG:32633"


def write_raster(
    path: Path,
    bands: np.ndarray,
    pixel: float = 10.0,
    corner: tuple[float, float] = (500_000, 5_200_000),
) -> None:
    """Write bands (C, H, W) or (H, W) as a GeoTIFF in UTM zone 33; corner: its upper left."""
    bands = bands if bands.ndim == 3 else bands[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    shape: dict[str, Any] = {"count": count, "height": height, "width": width, "dtype": bands.dtype}
    transform = Affine(pixel, 0, corner[0], 0, -pixel, corner[1])
    with rasterio.open(
        path, "w", driver="GTiff", crs=UTM, transform=transform, compress="deflate", **shape
    ) as file:
        file.write(bands)


def write_picture(path: Path, bands: np.ndarray) -> None:
    """Write bands (C, H, W) or (H, W) as an ungeoreferenced PNG, TIFF or near lossless JPEG."""
    bands = bands if bands.ndim == 3 else bands[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    driver = {".png": "PNG", ".tif": "GTiff", ".jpg": "JPEG"}[path.suffix]
    shape: dict[str, Any] = {"count": count, "height": height, "width": width, "dtype": bands.dtype}
    more = {"quality": 100} if driver == "JPEG" else {}
    ignored = warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning)
    with ignored, rasterio.open(path, "w", driver=driver, **shape, **more) as file:
        file.write(bands)


def options_of(dataset: Dataset, **given: str) -> dict[str, str]:
    """Return a value for every option of the dataset: as given, else its first."""
    return {
        name: given.get(name, values[0] if values else "")
        for name, values in dataset.options.items()
    }


def list_items(dataset: Dataset, root: Path, **given: str) -> dict[str, ExampleItem]:
    """List the dataset's items: name → item."""
    entries = dataset.items(root, options_of(dataset, **given))
    return {item.name: item for item in entries if isinstance(item, ExampleItem)}


def list_notes(dataset: Dataset, root: Path, **given: str) -> list[str]:
    """List what a listing of the dataset tells."""
    entries = dataset.items(root, options_of(dataset, **given))
    return [note.text for note in entries if isinstance(note, Note)]


def read_item(
    dataset: Dataset, root: Path, item: ExampleItem, bands: tuple[str, ...] = (), **given: str
) -> Example:
    """Read the item's example with these bands, or with all."""
    options = options_of(dataset, **given)
    return dataset.read(root, item, options, bands or dataset.describe(options).encoding.bands)


def cut_item(
    dataset: Dataset, root: Path, item: ExampleItem, size: int, **given: str
) -> list[dict[str, Any]]:
    """Cut the item into rows of the samples table in the dataset's own legend."""
    options = options_of(dataset, **given)
    known = dataset.describe(options)
    conf = DatasetConf(dataset.name, str(root), options)
    codes = tuple((i, i) for i in known.legend.ids)
    spec = from_datasets.DatasetSpec(
        out=root,
        name=dataset.name,
        dataset=conf,
        encoding=known.encoding,
        size=size,
        dates=known.dates,
        legend=known.legend,
        codes=codes,
    )
    assert registry.DATASETS[dataset.name] is dataset
    rows = from_datasets.cut_example(item, from_datasets.read_example(spec, item), spec)
    assert rows and set(rows[0]) == set(schemas.SAMPLES.names)
    pa.Table.from_pylist(rows, schema=schemas.SAMPLES)
    return rows
