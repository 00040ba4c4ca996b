"""BigEarthNet: Sentinel-2 and Sentinel-1 patches of 1.2 km over ten countries of Europe, in both of its versions.

Version 1 (Sumbul et al. 2019, doi:10.1109/IGARSS.2019.8900532, and 2021, doi:10.1109/MGRS.2021.3089174; archive
doi:10.5281/zenodo.12687186), 590,326 pairs: `BigEarthNet-v1.0/<patch>/<patch>_B01.tif` … and `BigEarthNet-S1-v1.0/<patch>/
<patch>_VV.tif`, `_VH.tif`, beside them `<patch>_labels_metadata.json` with the names of the 43 classes; in the root, each with or
without `.gz`, the publisher's lists: `train.csv`, `val.csv`, `test.csv` (Sentinel-2 patch and its Sentinel-1 patch),
`s1s2_mapping.csv`, `patches_with_seasonal_snow.csv` and `patches_with_cloud_and_shadow.csv`.

Version 2, reBEN (Clasen et al. 2025, arXiv:2407.03653; archive doi:10.5281/zenodo.10891137; how it was made:
github.com/kai-tub/bigearthnet-pipeline), 549,488 pairs: `BigEarthNet-S2/<tile>/<patch>/`, `BigEarthNet-S1/<tile>/<patch>/`,
`Reference_Maps/<tile>/<patch>/<patch>_reference_map.tif` (CORINE codes, 0 or 999 without a label), `metadata.parquet`, and, for
patches with seasonal snow, cloud or shadow, `metadata_for_patches_with_snow_cloud_or_shadow.parquet`.

Sentinel-2 is surface reflectance times 10,000, Sentinel-1 backscatter in dB. An item's files are its patches' folders.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lulc.datasets import corine
from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.files import label_of, read_mask, read_sample_bands
from lulc.datasets.readers._bigearthnet_labels import CODE_OF, NOMENCLATURES
from lulc.errors import InputError
from lulc.legend import NODATA
from lulc.tables.encoding import Encoding

_SIDE = 120
_S2 = {
    "coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "rededge071": "B05", "rededge075": "B06", "rededge078": "B07",
    "nir": "B08", "nir08": "B8A", "nir09": "B09", "swir16": "B11", "swir22": "B12",
}  # fmt: skip
_S1 = {"vv": "VV", "vh": "VH"}
_SENSORS = {"s2": (_S2,), "s1": (_S1,), "both": (_S2, _S1)}
_SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
_V1 = {"s2": "BigEarthNet-v1.0", "s1": "BigEarthNet-S1-v1.0"}
_POOR_V1 = ("patches_with_seasonal_snow", "patches_with_cloud_and_shadow")
_POOR_V2 = ("contains_seasonal_snow", "contains_cloud_or_shadow")


def _describe(options: Options) -> Description:
    known = NOMENCLATURES[options["classes"]]
    bands = tuple(band for sensor in _SENSORS[options["sensors"]] for band in sensor)
    kind = "uint16" if options["sensors"] == "s2" else "float32"
    encoding = Encoding(
        bands, kind, tuple(1.0 if band in _S1 else 1e-4 for band in bands), (0.0,) * len(bands)
    )
    return Description(
        "segment" if options["task"] == "segment" else "multilabel",
        known.legend,
        encoding,
        10.0,
        common=known.common,
    )


def _items(root: Path, options: Options) -> Iterator[ExampleItem]:
    second, first = (
        (root / "metadata.parquet").is_file(),
        any((root / folder).is_dir() for folder in _V1.values()),
    )
    if second and first:
        raise InputError(f"{root} holds versions 1 and 2: give each a root of its own")
    if first and options["task"] == "segment":
        raise InputError(
            f"{root} holds version 1, which has no reference maps: say task multilabel, or fetch version 2"
        )
    if second and options["task"] == "multilabel" and options["classes"] == "43":
        raise InputError(
            f"{root} holds version 2, whose patches are labelled with 19 classes: say classes 19, or task segment"
        )
    if second:
        yield from _second(root, options)
    elif first:
        yield from _first(root, options)


def _first(root: Path, options: Options) -> Iterator[ExampleItem]:
    lists = {split: _rows(root, split) for split in ("train", "val", "test")}
    lost = [f"{split}.csv" for split, rows in lists.items() if not rows]
    if 0 < len(lost) < len(lists):
        raise InputError(f"{root} lacks {', '.join(lost)}: fetch all lists of the split, or none")
    splits = {row[0]: _SPLITS[split] for split, rows in lists.items() for row in rows}
    poor = (
        {row[0] for name in _POOR_V1 for row in _rows(root, name)}
        if options["patches"] == "recommended"
        else set()
    )
    pairs = [*_rows(root, "s1s2_mapping"), *(row for rows in lists.values() for row in rows)]
    radar = {row[0]: row[1] for row in pairs if len(row) > 1}
    there = _folders(root / _V1["s1" if options["sensors"] == "s1" else "s2"])
    if options["sensors"] != "s2":
        unpaired = set(_folders(root / _V1["s1"])) - set(radar.values())
        radar |= {
            _labels(root, f"{_V1['s1']}/{s1}", "corresponding_s2_patch"): s1
            for s1 in sorted(unpaired)
        }
    if options["sensors"] == "s1":
        known = {s1: s2 for s2, s1 in radar.items()}
        there = [known[s1] for s1 in there]
    for name in dict.fromkeys([*splits, *there]):
        if name not in poor:
            s1 = radar.get(name, "")
            files = _of_sensors(options, f"{_V1['s2']}/{name}", s1 and f"{_V1['s1']}/{s1}")
            # A tile was taken on several days; only its Sentinel-1 patch's name tells which one it is.
            group = f"T{s1.rsplit('_', 3)[1]}" if s1 else name.rsplit("_", 2)[0]
            yield ExampleItem(name, files, (), splits.get(name, ""), group)


def _second(root: Path, options: Options) -> Iterator[ExampleItem]:
    ids = NOMENCLATURES["19"].names
    more = root / "metadata_for_patches_with_snow_cloud_or_shadow.parquet"
    for file in (
        root / "metadata.parquet",
        *([more] if options["patches"] == "all" and more.is_file() else []),
    ):
        for row in _table(file):
            if options["patches"] == "recommended" and any(row.get(flag) for flag in _POOR_V2):
                continue
            patch, s1 = row["patch_id"], row["s1_name"]
            tile = patch.rsplit("_", 2)[0]
            files = _of_sensors(
                options,
                f"BigEarthNet-S2/{tile}/{patch}",
                f"BigEarthNet-S1/{s1.rsplit('_', 3)[0]}/{s1}",
            )
            if options["task"] == "segment":
                files += (f"Reference_Maps/{tile}/{patch}/{patch}_reference_map.tif",)
            unknown = sorted(set(row["labels"]) - set(ids))
            if unknown:
                raise InputError(
                    f"{file} labels {patch} as {unknown}, which are not of the 19 classes: fetch it anew"
                )
            # Labels of the 19 do not tell which of the 43 are there.
            classes = (
                tuple(sorted(ids[label] for label in row["labels"]))
                if options["classes"] == "19"
                else ()
            )
            yield ExampleItem(
                patch, files, classes, _SPLITS.get(row["split"], ""), tile.rsplit("_", 1)[1]
            )


def _of_sensors(options: Options, s2: str, s1: str) -> tuple[str, ...]:
    return {"s2": (s2,), "s1": (s1,), "both": (s2, s1)}[options["sensors"]]


def _read(root: Path, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    sensors = _SENSORS[options["sensors"]]
    if "" in item.files:
        raise InputError(
            f"no Sentinel-1 patch of {item.name} is in {root}: fetch it, and s1s2_mapping.csv"
        )
    places = []
    for band in bands:
        folder, codes = next(
            (folder, codes)
            for folder, codes in zip(item.files, sensors, strict=False)
            if band in codes
        )
        places.append((f"{folder}/{PurePosixPath(folder).name}_{codes[band]}.tif", 1))
    pixels, valid, grid = read_sample_bands(root, places, _SIDE)
    # S2A_MSIL2A_<time>_…, S1A_IW_GRDH_1SDV_<time>_…
    time = PurePosixPath(item.files[0]).name.split("_")[4 if options["sensors"] == "s1" else 2]
    known = NOMENCLATURES[options["classes"]]
    if options["task"] == "segment":
        ids = {code: known.ids.get(code, NODATA) for code in (*corine.CODES, 0, 999)}
        label = label_of(
            read_mask(root, item.files[-1], valid.shape), ids, str(root / item.files[-1])
        )
    else:
        label = np.zeros(len(known.legend.classes), np.uint8)
        label[list(item.classes or _classes_v1(root, item.files[0], options))] = 1
    return Example(
        pixels[None], valid[None], label, grid, (datetime.fromisoformat(time).replace(tzinfo=UTC),)
    )


def _classes_v1(root: Path, folder: str, options: Options) -> list[int]:
    labels, ids = _labels(root, folder, "labels"), NOMENCLATURES[options["classes"]].ids
    unknown = sorted(set(labels) - set(CODE_OF))
    if unknown:
        raise InputError(
            f"{root / folder} is labelled as {unknown}, which are not of the 43 classes: fetch it anew"
        )
    return [ids[CODE_OF[label]] for label in labels if CODE_OF[label] in ids]


def _labels(root: Path, folder: str, key: str) -> Any:
    file = root / folder / f"{PurePosixPath(folder).name}_labels_metadata.json"
    try:
        return json.loads(file.read_text())[key]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{file} cannot be read ({error}): fetch it anew") from error


def _rows(root: Path, name: str) -> list[list[str]]:
    # Of a publisher's list; none where it does not lie in the root.
    plain, packed = root / f"{name}.csv", root / f"{name}.csv.gz"
    if plain.is_file():
        return [row for row in csv.reader(plain.read_text().splitlines()) if row]
    if packed.is_file():
        return [
            row
            for row in csv.reader(gzip.decompress(packed.read_bytes()).decode().splitlines())
            if row
        ]
    return []


def _folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [
            entry.name
            for entry in entries
            if entry.name.startswith(("S1", "S2")) and entry.is_dir()
        ]


def _table(file: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(file) as table:
            lacks = {"patch_id", "labels", "split", "s1_name"} - set(table.schema_arrow.names)
            if lacks:
                raise InputError(f"{file} has no column {', '.join(sorted(lacks))}: fetch it anew")
            for batch in table.iter_batches():
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file} cannot be read ({error}): fetch it anew") from error


BIGEARTHNET = Dataset(
    "bigearthnet",
    "BigEarthNet (Sumbul et al. 2021, doi:10.1109/MGRS.2021.3089174) and reBEN (Clasen et al. 2025, arXiv:2407.03653), CDLA-"
    "Permissive-1.0",
    {
        "task": ("multilabel", "segment"),
        "sensors": ("s2", "s1", "both"),
        "classes": ("19", "43"),
        "patches": ("recommended", "all"),
    },
    _describe,
    _items,
    _read,
)
