"""What a thing of this project holds, told from its metadata: a raster, a scene, a table, a model, an output folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from lulc.errors import InputError
from lulc.legend import NODATA, class_names
from lulc.models import contract
from lulc.tables import files, schemas, store

_ACCEPTED = (
    "a raster, a STAC item (.json), a table folder or .parquet file, a model folder or models:/ URI, an output folder, "
    "or the word datasets for those that can be learned from"
)


def look(path: str, out: Path | None = None) -> dict[str, Any]:
    """What is there, as a flat mapping of names to plain values; InputError when it is nothing known."""
    place = Path(path)
    if path.startswith("models:/"):
        from lulc.models import registry

        return _model(registry.resolve(path, out or Path(), None).folder)
    if path == "datasets" and not place.exists():
        return _datasets()
    if not place.exists():
        raise InputError(f"{path} is not there: give {_ACCEPTED}")
    if (place / "contract.json").exists():
        return _model(place)
    if (place / "tables").is_dir():
        return _output(place)
    if place.is_dir() and any(place.rglob("[!.]*.parquet")):
        return _table(place)
    if place.suffix == ".parquet":
        return _table(place)
    if place.suffix == ".json":
        return _item(place)
    if place.is_file():
        return _raster(place)
    raise InputError(f"{path} holds nothing known: give {_ACCEPTED}")


def format_info(found: dict[str, Any]) -> str:
    """The mapping as aligned lines of text."""
    lines = []
    for name, value in found.items():
        shown = (
            ", ".join(f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}" for k, v in value.items())
            if isinstance(value, dict)
            else value
        )
        shown = ", ".join(map(str, shown)) if isinstance(shown, list | tuple) else shown
        lines.append(f"{name:<14} {shown}")
    return "\n".join(lines)


def _datasets() -> dict[str, Any]:
    from lulc.datasets.registry import DATASETS

    found: dict[str, Any] = {"kind": "datasets that can be learned from"}
    for name, dataset in sorted(DATASETS.items()):
        options = "; ".join(
            f"{option}={'|'.join(values) or '…'}" for option, values in dataset.options.items()
        )
        found[name] = dataset.about + (f"  [{options}]" if options else "")
    return found


def _raster(path: Path) -> dict[str, Any]:
    from lulc.raster import access, reader

    with access.open_raster(str(path.resolve())) as data:
        grid = reader.grid_of(data)
        found = {
            "kind": "raster",
            "crs": grid.crs,
            "pixels": f"{grid.width} × {grid.height}",
            "pixel side": grid.resolution,
            "bounds": grid.bounds,
            "bands": [d or f"b{i}" for i, d in enumerate(data.descriptions, 1)],
            "dtype": data.dtypes[0],
            "nodata": data.nodata,
        }
        names = class_names(data.tags())
        if data.dtypes[0] == "uint8" and data.count == 1:
            counts = np.zeros(256, np.int64)
            for _, window in data.block_windows(1):
                counts += np.bincount(data.read(1, window=window).ravel(), minlength=256)
            nodata = NODATA if data.nodata is None else int(data.nodata)
            found["classes"] = {
                names.get(i, str(i)): int(n) for i, n in enumerate(counts) if n and i != nodata
            }
            found["no class"] = int(counts[nodata])
    return found


def _item(path: Path) -> dict[str, Any]:
    from lulc.config import Archive
    from lulc.sources.registry import source_of

    archive = Archive(str(path))
    source = source_of(archive)
    scenes = [source.read(item, archive, ()) for item in source.items(archive)]
    if len(scenes) != 1:
        return {"kind": "scenes", "scenes": [s.scene_id for s in scenes]}
    scene = scenes[0]
    return {
        "kind": "scene",
        "id": scene.scene_id,
        "source": scene.source,
        "datetime": scene.datetime,
        "crs": scene.crs,
        "cloud": scene.cloud,
        "gsd m": scene.gsd_m,
        "bands": [f"{b.name} ({b.dtype}, ×{b.scale:g} {b.offset:+g})" for b in scene.bands],
    }


def _table(path: Path) -> dict[str, Any]:
    data = ds.dataset(path, format="parquet", partitioning="hive")
    names = data.schema.names
    # The samples table has every column of the chips table, and more: the one with most columns is meant.
    fitting = [name for name, schema in schemas.ALL.items() if set(schema.names) <= set(names)]
    known = max(fitting, key=lambda name: len(schemas.ALL[name]), default="unknown")
    found: dict[str, Any] = {
        "kind": f"table {known}",
        "rows": data.count_rows(),
        "files": len(data.files),
        "columns": names,
    }
    for column in ("split", "period", "source", "model", "stage", "status", "level"):
        if column in names:
            found[column] = _count(data.to_table(columns=[column])[column])
    for column in ("datetime", "cloud", "clear"):
        if column in names and found["rows"]:
            ends = (
                pc.min_max(data.to_table(columns=[column])[column]).as_py()
                if column != "clear" or known == "chips"
                else None
            )
            if ends:
                found[column] = f"{ends['min']} to {ends['max']}"
    if "class_counts" in names:
        found |= _class_counts(data, "split" if "split" in names else "period")
    return found


def _class_counts(data: ds.Dataset, by: str) -> dict[str, Any]:
    totals: dict[str, Counter[str]] = {}
    for row in data.to_table(columns=[by, "class_ids", "class_counts"]).to_pylist():
        counter = totals.setdefault(f"classes {row[by]}", Counter())
        counter.update(
            {str(c): n for c, n in zip(row["class_ids"], row["class_counts"], strict=True)}
        )
    return {name: dict(sorted(counter.items())) for name, counter in sorted(totals.items())}


def _count(column: pa.ChunkedArray) -> dict[str, int]:
    return {str(r["values"]): r["counts"] for r in pc.value_counts(column).to_pylist()}


def _model(folder: Path) -> dict[str, Any]:
    asks = contract.read_contract(folder / "contract.json")
    return {
        "kind": "model",
        "name": asks.name,
        "task": asks.task,
        "architecture": {"model": asks.model, **asks.architecture},
        "bands": list(asks.bands),
        "bands of files": [list(bands) for bands in asks.file_bands],
        "gsd m": asks.gsd_m,
        "classes": {str(c.id): c.name for c in asks.legend.classes},
        "checksum": files.checksum(folder / "weights.safetensors"),
        **{f"{name} table": value for name, value in asks.fingerprints.items()},
    }


def _output(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": "output folder"}
    for name in schemas.ALL:
        folder = store.table_folder(out, name)
        if folder.is_dir():
            found[name] = f"{ds.dataset(folder, format='parquet').count_rows():,} rows"
    rows = store.read_table(out, "ledger", ["stage", "status"]).to_pylist()
    found["ledger by"] = dict(sorted(Counter(f"{r['stage']} {r['status']}" for r in rows).items()))
    found["rasters"] = len(list((out / "rasters").rglob("*.tif")))
    found["models"] = sorted(p.parent.name for p in out.glob("models/*/contract.json"))
    return found
