"""MultiSenGE: 8,157 places of 256x256 pixels at 10 m in eastern France, with their images of 2020 by Sentinel-2 and Sentinel-1.

Wenger et al. 2022, doi:10.5194/isprs-annals-V-3-2022-635-2022; archive doi:10.5281/zenodo.6375466; names by the authors' reader,
github.com/r-wenger/MultiSenGE-Tools: `labels/<tile>_<x>_<y>.json` names the place's images, `;` between them, and its classes;
`ground_reference/<tile>_GR_<x>_<y>.tif`, `s2/<tile>_<day>_S2_<x>_<y>.tif` and `s1/<tile>_<day>_S1_<x>_<y>.tif`. Codes 1 to 14,
0 without a label; the schemes of 10 and 6 classes, and the split by tile, are those of Wenger et al. 2023,
doi:10.3390/rs15010151: test 31UEQ, validation 31UFP and 31UGP, train all others.

Sentinel-2 is THEIA's surface reflectance times 10,000 (-10,000 where there is none), Sentinel-1 VV and VH as published, in a unit
that no document found tells (0 where there is none). Nor does one tell the order of Sentinel-2's ten bands in a file: programs
that read them take them by wavelength. Should fields be brighter in rededge071 than in rededge075, which is nir read as the first
of the red edge, say `order` resolution (10 m before 20 m).
`sensors` s2: all its days. both: with each the image of Sentinel-1 nearest in time. s1: the first of every month.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.files import label_of, read_image, read_mask, walk
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.legend import NODATA, LandClass, Legend
from lulc.tables.encoding import Encoding

_EDGES = ("rededge071", "rededge075", "rededge078")
_S2 = {
    "wavelength": ("blue", "green", "red", *_EDGES, "nir", "nir08", "swir16", "swir22"),
    "resolution": ("blue", "green", "red", "nir", *_EDGES, "nir08", "swir16", "swir22"),
}
_S1 = ("vv", "vh")
_THEIA_NODATA = -10_000
_DAYS = {"s2": 8, "both": 8, "s1": 12}  # of Sentinel-2 a place has nearly nine
_URBAN = (
    # Name, colour, class of the common legend.
    ("dense built-up", "#8b0000", 6),
    ("sparse built-up", "#e6004d", 6),
    ("specialized built-up areas", "#cc4df2", 6),
    ("specialized but vegetative areas", "#ffa6ff", 2),
    ("large scale networks", "#6e6e6e", 6),
)
_CLASSES = {
    "14": (
        *_URBAN,
        ("arable lands", "#ffffa8", 4),
        ("vineyards", "#e68000", 4),
        ("orchards", "#f2a64d", 4),
        ("grasslands", "#ccf24d", 2),
        ("groves and hedges", "#a6f200", 1),
        ("forests", "#00a600", 1),
        ("open spaces, mineral", "#a600cc", 7),
        ("wetlands", "#a6a6ff", 3),
        ("water surfaces", "#00ccf2", 0),
    ),
    "10": (
        *_URBAN,
        ("arable lands", "#ffffa8", 4),
        ("vineyards and orchards", "#e68000", 4),
        ("grasslands", "#ccf24d", 2),
        ("forests and semi-natural areas", "#00a600", 1),
        ("water surfaces", "#00ccf2", 0),
    ),
    # What is not urban may be anything.
    "6": (*_URBAN, ("non-urban areas", "#a0a0a0", None)),
}
_TEN = {7: 7, 8: 7, 9: 8, 10: 9, 11: 9, 12: 9, 13: 10, 14: 10}
_IDS = {
    "14": {i: i for i in range(1, 15)},
    "10": {i: _TEN.get(i, i) for i in range(1, 15)},
    "6": {i: min(i, 6) for i in range(1, 15)},
}
_SPLITS = {"31UEQ": "test", "31UFP": "validation", "31UGP": "validation"}
_PLACE = re.compile(r"(\d\d[A-Z]{3})_(\d+_\d+)")


def _describe(options: Options) -> Description:
    classes = _CLASSES[options["classes"]]
    legend = Legend(
        f"multisenge-{options['classes']}",
        tuple(LandClass(i, n, colour) for i, (n, colour, _) in enumerate(classes, 1)),
    )
    bands = (
        *(_S2[options["order"]] if options["sensors"] != "s1" else ()),
        *(_S1 if options["sensors"] != "s2" else ()),
    )
    # Floats hold whatever type the files have.
    scales = tuple(1.0 if band in _S1 else 1e-4 for band in bands)
    encoding = Encoding(bands, "float32", scales, (0.0,) * len(bands))
    common = {i: common for i, (_, _, common) in enumerate(classes, 1) if common is not None}
    return Description(
        "series" if options["task"] == "series" else "multilabel",
        legend,
        encoding,
        10.0,
        _DAYS[options["sensors"]],
        common,
    )


def _items(root: Path, options: Options) -> Iterator[ExampleItem]:
    ids = _IDS[options["classes"]]
    for file in walk(root, (".json",)):
        place = PurePosixPath(file)
        found = _PLACE.fullmatch(place.stem)
        if not found or place.parent.name != "labels":
            continue
        above = place.parent.parent
        try:
            told = json.loads((root / file).read_text())
            s2, s1 = (
                sorted(filter(None, told[f"corresponding_{sensor}"].split(";")), key=_when)
                for sensor in ("s2", "s1")
            )
            classes = {ids[int(code)] for code in told["labels"].split(";") if code}
        except (OSError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
            raise InputError(f"{root / file} cannot be read ({error!r}): fetch it anew") from error
        first = {name.split("_")[1][:6]: name for name in reversed(s1)}
        days = {"s2": s2, "s1": sorted(first.values(), key=_when), "both": s2}[options["sensors"]]
        if not days or (options["sensors"] == "both" and not s1):
            continue
        folder = "s1" if options["sensors"] == "s1" else "s2"
        files = [f"{above}/{folder}/{name}" for name in days]
        if options["sensors"] == "both":
            files += [f"{above}/s1/{_nearest(s1, day)}" for day in days]
        reference = f"{above}/ground_reference/{found[1]}_GR_{found[2]}.tif"
        paths = (PurePosixPath(path).as_posix() for path in (reference, *files))
        yield ExampleItem(
            place.stem, tuple(paths), tuple(sorted(classes)), _SPLITS.get(found[1], "train")
        )


def _nearest(names: Sequence[str], day: str) -> str:
    return min(names, key=lambda name: abs(_when(name) - _when(day)))


def _when(name: str) -> datetime:
    # <tile>_<day>_…
    return datetime.strptime(PurePosixPath(name).name.split("_")[1], "%Y%m%d").replace(tzinfo=UTC)


def _read(root: Path, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    reference, *files = item.files
    days = len(files) // 2 if options["sensors"] == "both" else len(files)
    own = _S1 if options["sensors"] == "s1" else _S2[options["order"]]
    layers: list[tuple[np.ndarray, np.ndarray, Grid | None]] = []
    for i, file in enumerate(files[:days]):
        pixels, valid, grid = _image(root, file, own)
        if options["sensors"] == "both":
            radar, seen, _ = _image(root, files[days + i], _S1)
            if seen.shape != valid.shape:
                raise InputError(
                    f"{root / files[days + i]} has {seen.shape} pixels, {root / file} {valid.shape}: fetch both anew"
                )
            pixels, valid = np.concatenate([pixels, radar]), valid & seen
        if layers and valid.shape != layers[0][1].shape:
            raise InputError(
                f"{root / file} has {valid.shape} pixels, {root / files[0]} {layers[0][1].shape}: fetch both anew"
            )
        layers.append((pixels, valid, grid))
    has = (*own, *(_S1 if options["sensors"] == "both" else ()))
    valid = np.stack([seen for _, seen, _ in layers])
    pixels = np.stack([pixels for pixels, _, _ in layers])[:, [has.index(band) for band in bands]]
    if options["task"] == "series":
        ids = {0: NODATA, **_IDS[options["classes"]]}
        label = label_of(read_mask(root, reference, valid.shape[1:]), ids, str(root / reference))
    else:
        label = np.array(
            [i in item.classes for i in range(1, len(_CLASSES[options["classes"]]) + 1)], np.uint8
        )
    return Example(
        np.where(valid[:, None], pixels, 0),
        valid,
        label,
        layers[0][2],
        tuple(_when(file) for file in files[:days]),
    )


def _image(root: Path, file: str, own: Sequence[str]) -> tuple[np.ndarray, np.ndarray, Grid | None]:
    pixels, valid, grid = read_image(root, file, range(1, len(own) + 1))
    there = pixels.any(0) if own == _S1 else (pixels > _THEIA_NODATA).all(0)
    return pixels.astype(np.float32), valid & there, grid


MULTISENGE = Dataset(
    "multisenge",
    "MultiSenGE (Wenger et al. 2022, doi:10.5194/isprs-annals-V-3-2022-635-2022), CC-BY-NC-4.0",
    {
        "task": ("series", "multilabel"),
        "sensors": ("s2", "s1", "both"),
        "classes": ("14", "10", "6"),
        "order": ("wavelength", "resolution"),
    },
    _describe,
    _items,
    _read,
)
