"""BigEarthNet: Sentinel-2 and Sentinel-1 patches of 1.2 km over ten countries of Europe.

Version 1 (Sumbul et al. 2019, doi:10.1109/IGARSS.2019.8900532, and 2021,
doi:10.1109/MGRS.2021.3089174; archive doi:10.5281/zenodo.12687186), 590,326 pairs:
`BigEarthNet-v1.0/<patch>/<patch>_B01.tif` … and `BigEarthNet-S1-v1.0/<patch>/<patch>_VV.tif`,
`_VH.tif`, beside them `<patch>_labels_metadata.json` with the names of the 43 classes; in the root,
or its folder `splits`, each with or without `.gz`, the publisher's lists: `train.csv`, `val.csv`,
`test.csv` (Sentinel-2 patch and its Sentinel-1 patch; also as `bigearthnet-train.csv`, as others
publish them anew), `s1s2_mapping.csv`, `patches_with_seasonal_snow.csv` and
`patches_with_cloud_and_shadow.csv`.

Version 2, reBEN (Clasen et al. 2025, arXiv:2407.03653; archive doi:10.5281/zenodo.10891137; how it
was made: github.com/kai-tub/bigearthnet-pipeline), 549,488 pairs: `BigEarthNet-S2/<tile>/<patch>/`,
`BigEarthNet-S1/<tile>/<patch>/`, `Reference_Maps/<tile>/<patch>/<patch>_reference_map.tif` (CORINE
codes, 0 or 999 without a label), `metadata.parquet`, and, for patches with seasonal snow, cloud or
shadow, `metadata_for_patches_with_snow_cloud_or_shadow.parquet`.

Sentinel-2 is surface reflectance times 10,000, Sentinel-1 backscatter in dB. An item's files are
its patches' folders.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from lulc.datasets import corine
from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.descriptions import SENTINEL2_SURFACE_BANDS, sentinel_encoding
from lulc.datasets.files import BandFile, read_label, read_sample_bands
from lulc.datasets.readers._bigearthnet_labels import CODE_OF, NOMENCLATURES
from lulc.errors import InputError
from lulc.legend import NODATA
from lulc.location import Location
from lulc.tables.csv_files import read_csv_rows
from lulc.tables.files import open_parquet

_SIDE = 120
_S2 = SENTINEL2_SURFACE_BANDS
_S1 = {"vv": "VV", "vh": "VH"}
# Option: for each of an item's folders, its bands and how the files' names end.
_SENSORS: dict[str, tuple[Mapping[str, str], ...]] = {
    "s2": (_S2,),
    "s1": (_S1,),
    "both": (_S2, _S1),
}
_SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
_FOLDERS_V1 = {"s2": "BigEarthNet-v1.0", "s1": "BigEarthNet-S1-v1.0"}
# Split → how its list is named, by the publisher and by those who publish it anew.
_LISTS_V1 = {"train": ("train",), "val": ("val", "validation"), "test": ("test",)}
_PREFIXES = ("", "bigearthnet-", "bigearthnet_", "BigEarthNet-")
_SUFFIXES = (".csv", ".csv.gz", ".txt")
_ANEW = "fetch it anew"
_POOR_LISTS_V1 = ("patches_with_seasonal_snow", "patches_with_cloud_and_shadow")
_METADATA_V2 = "metadata.parquet"
_POOR_METADATA_V2 = "metadata_for_patches_with_snow_cloud_or_shadow.parquet"
_POOR_COLUMNS_V2 = ("contains_seasonal_snow", "contains_cloud_or_shadow")
_IDS_V2 = NOMENCLATURES["19"].names
_COLUMNS_V2 = {"patch_id", "labels", "split", "s1_name"}


def _describe(options: Options) -> Description:
    nomenclature = NOMENCLATURES[options["classes"]]
    bands = tuple(band for sensor in _SENSORS[options["sensors"]] for band in sensor)
    return Description(
        "segment" if options["task"] == "segment" else "multilabel",
        nomenclature.legend,
        sentinel_encoding(
            bands,
            "uint16" if options["sensors"] == "s2" else "float32",
            "surface_reflectance",
            "sigma0_db",
        ),
        gsd_m=10.0,
        common=nomenclature.common,
    )


def _items(root: Location, options: Options) -> Iterator[ExampleItem]:
    is_v1 = any((root / folder).is_dir() for folder in _FOLDERS_V1.values())
    is_v2 = (root / _METADATA_V2).is_file()
    if is_v1 and is_v2:
        raise InputError(f"{root} holds versions 1 and 2: give each its own root")
    if is_v1 and options["task"] == "segment":
        raise InputError(
            f"{root} holds version 1, which has no reference maps: choose task multilabel, or "
            "fetch version 2"
        )
    if is_v2 and options["task"] == "multilabel" and options["classes"] == "43":
        raise InputError(
            f"{root} holds version 2, whose patches are labelled with 19 classes: choose classes "
            "19, or task segment"
        )
    if is_v1:
        yield from _items_v1(root, options)
    elif is_v2:
        for number, (path, row) in enumerate(_metadata_rows(root, options)):
            try:
                yield _item_v2(path, row, options)
            except (InputError, AttributeError, LookupError, TypeError) as error:
                reason = f"{path}: row of {row['patch_id']!r} cannot be read ({error}): {_ANEW}"
                yield ExampleItem(
                    str(row["patch_id"] or f"row-{number}"), (path.name,), error=reason
                )


def _read(root: Location, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    if "" in item.files:
        raise InputError(
            f"no Sentinel-1 patch of {item.name} is in {root}: fetch it, and s1s2_mapping.csv"
        )
    band_files = [_band_file(item, options, band) for band in bands]
    pixels, valid, grid = read_sample_bands(root, band_files, _SIDE)
    if options["task"] == "segment":
        ids = NOMENCLATURES[options["classes"]].ids
        ids = {code: ids.get(code, NODATA) for code in (*corine.CODES, 0, 999)}
        label = read_label(root, item.files[-1], valid.shape, ids)
    else:
        label = np.zeros(len(NOMENCLATURES[options["classes"]].legend.classes), np.uint8)
        label[list(item.classes or _read_classes_v1(root, item.files[0], options))] = 1
    # S2A_MSIL2A_<time>_…, S1A_IW_GRDH_1SDV_<time>_…
    words = PurePosixPath(item.files[0]).name.split("_")
    time = datetime.fromisoformat(words[4 if options["sensors"] == "s1" else 2])
    return Example(pixels[None], valid[None], label, grid, (time.replace(tzinfo=UTC),))


def _items_v1(root: Location, options: Options) -> Iterator[ExampleItem]:
    lists = _read_split_rows(root)
    splits = {row[0]: _SPLITS[name] for name, rows in lists.items() for row in rows}
    excluded = set()
    if options["patches"] == "recommended":
        excluded = {row[0] for name in _POOR_LISTS_V1 for row in _read_rows(root, (name,))}
    pairs = [
        *_read_rows(root, ("s1s2_mapping",)),
        *(row for rows in lists.values() for row in rows),
    ]
    s1_of_s2 = {row[0]: row[1] for row in pairs if len(row) > 1}
    if options["sensors"] != "s2":
        for s1 in sorted(set(_list_patches(root / _FOLDERS_V1["s1"])) - set(s1_of_s2.values())):
            folder = f"{_FOLDERS_V1['s1']}/{s1}"
            try:
                s2 = _read_metadata_v1(root, folder, "corresponding_s2_patch", str)
                s1_of_s2[s2] = s1
            except InputError as error:
                yield ExampleItem(s1, (folder,), error=str(error))
    for patch in dict.fromkeys([*splits, *_present_patches(root, s1_of_s2, options)]):
        if patch in excluded:
            continue
        s1 = s1_of_s2.get(patch, "")
        s1_folder = f"{_FOLDERS_V1['s1']}/{s1}" if s1 else ""
        files = _sensor_folders(options, f"{_FOLDERS_V1['s2']}/{patch}", s1_folder)
        # A tile was taken on several days; only its Sentinel-1 patch's name gives the tile.
        group = f"T{s1.rsplit('_', 3)[1]}" if s1 else patch.rsplit("_", 2)[0]
        yield ExampleItem(patch, files, split=splits.get(patch, ""), group=group)


def _read_split_rows(root: Location) -> dict[str, list[list[str]]]:
    """Read the rows of each of `_LISTS_V1`: a Sentinel-2 patch and its Sentinel-1 patch."""
    lists = {
        name: _read_rows(root, [f"{prefix}{word}" for word in words for prefix in _PREFIXES])
        for name, words in _LISTS_V1.items()
    }
    missing = [f"{name}.csv" for name, rows in lists.items() if not rows]
    if 0 < len(missing) < len(lists):
        raise InputError(
            f"{root} lacks {', '.join(missing)}: fetch all lists of the split, or none"
        )
    return lists


def _read_rows(root: Location, names: Sequence[str]) -> list[list[str]]:
    """Read the rows of the first of the lists that is there, plain or compressed.

    Args:
        root: of the dataset; lists may lie in its folder `splits` too.
        names: of the list, without suffixes.

    Raises:
        InputError: the list names what is no patch.
    """
    for folder, name, suffix in itertools.product((root, root / "splits"), names, _SUFFIXES):
        path = folder / f"{name}{suffix}"
        if path.is_file():
            rows = list(read_csv_rows(path))
            for number, (line, row) in enumerate(rows):
                # The first row may be a header.
                if number and not row[0].startswith(("S1", "S2")):
                    raise InputError(
                        f"{path} line {line} names {row[0]!r}: patches such as "
                        "S2A_MSIL2A_20170613T101031_0_45 are expected"
                    )
            return [row for _, row in rows if row[0].startswith(("S1", "S2"))]
    return []


def _present_patches(root: Location, s1_of_s2: Mapping[str, str], options: Options) -> list[str]:
    """Return the Sentinel-2 names of the patches that the archive has for these sensors."""
    if options["sensors"] != "s1":
        return _list_patches(root / _FOLDERS_V1["s2"])
    s2_of_s1 = {s1: s2 for s2, s1 in s1_of_s2.items()}
    present = _list_patches(root / _FOLDERS_V1["s1"])
    return [s2_of_s1[s1] for s1 in present if s1 in s2_of_s1]


def _list_patches(folder: Location) -> list[str]:
    if not folder.is_dir():
        return []
    # Files of a patch, such as those of another archive, are none.
    names = (entry.name for entry in folder.iterdir())
    return [name for name in names if name.startswith(("S1", "S2")) and "." not in name]


def _sensor_folders(options: Options, s2: str, s1: str) -> tuple[str, ...]:
    return {"s2": (s2,), "s1": (s1,), "both": (s2, s1)}[options["sensors"]]


def _band_file(item: ExampleItem, options: Options, band: str) -> BandFile:
    # A reference map may follow the folders.
    for folder, codes in zip(item.files, _SENSORS[options["sensors"]], strict=False):
        if band in codes:
            return f"{folder}/{PurePosixPath(folder).name}_{codes[band]}.tif", 1
    raise ValueError(band)


def _metadata_rows(root: Location, options: Options) -> Iterator[tuple[Location, dict[str, Any]]]:
    """Yield the rows of version 2's metadata files, each with the path of its file."""
    yield from ((root / _METADATA_V2, row) for row in _read_table(root / _METADATA_V2, options))
    poor = root / _POOR_METADATA_V2
    if options["patches"] == "all" and poor.is_file():
        yield from ((poor, row) for row in _read_table(poor, options))


def _read_table(path: Location, options: Options) -> Iterator[dict[str, Any]]:
    only_recommended = options["patches"] == "recommended"
    try:
        with open_parquet(path) as table:
            missing = _COLUMNS_V2 - set(table.schema_arrow.names)
            if missing:
                raise InputError(
                    f"{path} has no column {', '.join(sorted(missing))}: fetch it anew"
                )
            for batch in table.iter_batches():
                for row in batch.to_pylist():
                    if not (only_recommended and any(row.get(name) for name in _POOR_COLUMNS_V2)):
                        yield row
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}): fetch it anew") from error


def _item_v2(path: Location, row: Mapping[str, Any], options: Options) -> ExampleItem:
    patch, s1, labels = row["patch_id"], row["s1_name"], row["labels"]
    tile = patch.rsplit("_", 2)[0]
    s1_tile = s1.rsplit("_", 3)[0]
    files = _sensor_folders(
        options, f"BigEarthNet-S2/{tile}/{patch}", f"BigEarthNet-S1/{s1_tile}/{s1}"
    )
    if options["task"] == "segment":
        files += (f"Reference_Maps/{tile}/{patch}/{patch}_reference_map.tif",)
    unknown = sorted(set(labels) - set(_IDS_V2))
    if unknown:
        raise InputError(
            f"{path} labels {patch} as {unknown}, which are not of the 19 classes: fetch it anew"
        )
    # Labels of the 19 do not tell which of the 43 are present.
    classes = sorted(_IDS_V2[label] for label in labels) if options["classes"] == "19" else ()
    split = _SPLITS.get(row["split"] or "", "")
    if row["split"] and not split:
        raise InputError(f"its split is none of {', '.join(_SPLITS)}: {row['split']!r}")
    return ExampleItem(patch, files, tuple(classes), split, group=tile.rsplit("_", 1)[1])


def _read_classes_v1(root: Location, folder: str, options: Options) -> list[int]:
    labels = list(map(str, _read_metadata_v1(root, folder, "labels", list)))
    ids = NOMENCLATURES[options["classes"]].ids
    unknown = sorted(set(labels) - set(CODE_OF))
    if unknown:
        raise InputError(
            f"{root / folder} is labelled as {unknown}, which are not of the 43 classes: "
            "fetch it anew"
        )
    return [ids[CODE_OF[label]] for label in labels if CODE_OF[label] in ids]


def _read_metadata_v1[T](root: Location, folder: str, key: str, kind: type[T]) -> T:
    path = root / folder / f"{PurePosixPath(folder).name}_labels_metadata.json"
    try:
        value = json.loads(path.read_bytes())[key]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}): {_ANEW}") from error
    if not isinstance(value, kind):
        raise InputError(f"{path} cannot be read ({key} is {value!r}): {_ANEW}")
    return value


BIGEARTHNET = Dataset(
    name="bigearthnet",
    about="BigEarthNet (Sumbul et al. 2021, doi:10.1109/MGRS.2021.3089174) and reBEN (Clasen et "
    "al. 2025, arXiv:2407.03653), CDLA-Permissive-1.0",
    options={
        "task": ("multilabel", "segment"),
        "sensors": ("s2", "s1", "both"),
        "classes": ("19", "43"),
        "patches": ("recommended", "all"),
    },
    describe=_describe,
    items=_items,
    read=_read,
)
