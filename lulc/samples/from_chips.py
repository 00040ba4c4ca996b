"""Samples: windows of chips with their labels; what each window holds (`survey`), and the files of the samples table."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lulc.config import LabelConf, SampleConf
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.geo.tiling import Tiling
from lulc.legend import NODATA, Legend
from lulc.samples import splits
from lulc.samples.labels import read_labels_counting
from lulc.samples.leakage import extent_of
from lulc.samples.splits import Fence
from lulc.samples.table import GROUP_BYTES, MIN_FILES, file_key, file_path, publish_rows, sample_id
from lulc.tables import arrays, ledger, store
from lulc.tables.encoding import Encoding, recode

LABEL_SCAN = pa.schema(
    [
        pa.field("path", pa.string()),  # of the chips file, relative to the output folder
        pa.field("row_group", pa.int32()),
        pa.field("tile_id", pa.string()),
        pa.field("period", pa.string()),
        pa.field("col", pa.int32()),  # of the lattice of samples
        pa.field("row", pa.int32()),
        pa.field("counts", pa.list_(pa.int64())),  # labelled pixels, parallel to the legend
        pa.field(
            "unobserved", pa.int64()
        ),  # labelled pixels left out because no date is valid there
        pa.field(
            "conflicts", pa.int64()
        ),  # pixels of the whole tile left out because polygons contradict
        pa.field("bytes", pa.int64()),  # of a sample's arrays
        pa.field("extent", pa.binary()),  # leakage.extent_of, where fences were looked at
    ]
)


@dataclass(frozen=True)
class SampleSpec:
    """What samples are made from and how; the same for every worker. encoding: of the table, where it is not the chips'."""

    out: Path
    dataset: str
    tiling: Tiling
    legend: Legend
    labels: LabelConf
    conf: SampleConf
    encoding: Encoding | None = None
    task: str = "segment"


def scan_labels(key: Mapping[str, Any], recipe: SampleSpec) -> list[dict[str, Any]]:
    """A SURVEY row for every window of a chips file (`path`), or for those of `places`, whose fences then apply."""
    wanted = {(p["row_group"], p["col"], p["row"]): _fences(p) for p in key["places"]}
    groups = sorted({group for group, _, _ in wanted}) or range(
        pq.read_metadata(recipe.out / key["path"]).num_row_groups
    )
    rows = []
    for group in groups:
        chip = _read_chip(recipe.out / key["path"], group, _LIGHT)
        label, unobserved, conflicts = label_core(chip, recipe)
        size = recipe.conf.size
        height, width = chip["height"] - 2 * chip["halo"], chip["width"] - 2 * chip["halo"]
        shape = chip["pixels_shape"]
        bytes_ = (
            size * size * (shape[0] * shape[1] * np.dtype(chip["pixels_dtype"]).itemsize + 1)
            + shape[0] * size * size // 8
        )
        for col, row, y, x in _lattice(chip["tile_id"], height, width, recipe):
            if wanted and (group, col, row) not in wanted:
                continue
            around = wanted.get((group, col, row), [])
            piece = _keep_off(label[y : y + size, x : x + size], col, row, around, recipe.conf)
            rows.append(
                {
                    "path": key["path"],
                    "row_group": group,
                    "tile_id": chip["tile_id"],
                    "period": chip["period"],
                }
                | {"col": col, "row": row, "counts": _count(piece, recipe.legend), "bytes": bytes_}
                | {
                    "unobserved": int(unobserved[y : y + size, x : x + size].sum()),
                    "conflicts": conflicts,
                }
                | {"extent": extent_of(piece, NODATA).tobytes() if around else None}
            )
    return rows


def write_samples(key: Mapping[str, Any], recipe: SampleSpec) -> list[dict[str, Any]]:
    """The ledger row of one samples file (`split`, `name`, `places` in their order), published now or standing already."""
    path = file_path(key["split"], key["name"], key["fingerprint"])
    if not (recipe.out / path).exists():
        _publish(key, path, recipe)
    return [ledger.published_row(recipe.out, store.read_footer(recipe.out / path))]


def _publish(key: Mapping[str, Any], path: str, recipe: SampleSpec) -> None:
    by_chip = defaultdict(list)
    for at, place in enumerate(key["places"]):
        by_chip[place["path"], place["row_group"]].append((at, place))
    made: dict[int, dict[str, Any]] = {}
    for (source, group), places in by_chip.items():
        chip = _read_chip(recipe.out / source, group)
        made |= zip(
            (at for at, _ in places),
            cut_samples(chip, [place for _, place in places], recipe),
            strict=True,
        )
    about = {
        "stage": "samples",
        "key": file_key(key["split"], key["name"]),
        "fingerprint": key["fingerprint"],
    }
    publish_rows(
        recipe.out,
        path,
        [made[at] for at in sorted(made)],
        about | {"legend": asdict(recipe.legend)},
    )


def cut_samples(
    chip: Mapping[str, Any], places: Sequence[Mapping[str, Any]], recipe: SampleSpec
) -> list[dict[str, Any]]:
    """A row of the samples table for every place: the chip's pixels (T, C, size, size) there and the label (size, size)."""
    label, _, _ = label_core(chip, recipe)
    array, valid, grid = arrays.array_from(chip, "pixels"), _valid(chip), arrays.grid_from(chip)
    own = chip_encoding(chip)
    table = recipe.encoding or own
    array = recode(array, own, table)
    halo, size = chip["halo"], recipe.conf.size
    offsets = {
        (c, r): (y, x)
        for c, r, y, x in _lattice(chip["tile_id"], label.shape[0], label.shape[1], recipe)
    }
    rows = []
    for place in places:
        y, x = offsets[place["col"], place["row"]]
        piece = _keep_off(
            label[y : y + size, x : x + size],
            place["col"],
            place["row"],
            _fences(place),
            recipe.conf,
        )
        window = (slice(y + halo, y + halo + size), slice(x + halo, x + halo + size))
        seen = valid[:, *window]
        rows.append(
            {name: chip[name] for name in _KEPT}
            | arrays.grid_columns(grid.window(y + halo, x + halo, size, size))
            | arrays.array_columns("pixels", array[:, :, *window], "delta")
            | arrays.array_columns("label", piece, "delta")
            | {
                "sample_id": sample_id({**chip, **place}),
                "valid": arrays.pack(seen),
                "halo": 0,
                "clear": float(seen.any(0).mean()),
            }
            | {"dataset": recipe.dataset, "task": recipe.task, "legend": recipe.legend.name}
            | {"block": "{}_{}".format(*splits.split_cell(place["col"], place["row"], recipe.conf))}
            | {
                "class_ids": list(recipe.legend.ids),
                "class_counts": _count(piece, recipe.legend),
                "weight": place["weight"],
            }
            | {"scales": list(table.scales), "offsets": list(table.offsets)}
        )
    return rows


def chip_encoding(chip: Mapping[str, Any]) -> Encoding:
    """How a row of the chips table keeps its numbers."""
    return Encoding(
        tuple(chip["bands"]), chip["pixels_dtype"], tuple(chip["scales"]), tuple(chip["offsets"])
    )


def label_core(chip: Mapping[str, Any], recipe: SampleSpec) -> tuple[np.ndarray, np.ndarray, int]:
    """(H, W) uint8 label of a tile's core, 255 also where no date is valid; (H, W) bool where that took one away; conflicts."""
    halo = chip["halo"]
    core: Grid = arrays.grid_from(chip).pad(-halo)
    label, conflicts = read_labels_counting(recipe.labels, recipe.legend, core)
    observed = _valid(chip).any(0)[halo : halo + core.height, halo : halo + core.width]
    unobserved = (label != NODATA) & ~observed
    return np.where(observed, label, NODATA).astype(np.uint8), unobserved, conflicts


def deal_windows(
    rows: Iterable[Mapping[str, Any]], conf: SampleConf
) -> list[list[Mapping[str, Any]]]:
    """The windows of one split, a list a file, whose lengths differ by one at most.

    Tiles come in an order drawn from the seed, so that a chip is read for one file or two; within a file windows are shuffled.
    """
    found = sorted(
        rows, key=lambda r: (splits.rank(f"{r['tile_id']}/{r['period']}", conf.seed), sample_id(r))
    )
    if not found:
        return []
    limit = max(1, GROUP_BYTES // found[0]["bytes"])
    files = max(-(-len(found) // limit), min(MIN_FILES, len(found)))
    bounds = [i * len(found) // files for i in range(files + 1)]
    parts = [found[a:b] for a, b in itertools.pairwise(bounds)]
    return [sorted(part, key=lambda r: splits.rank(sample_id(r), conf.seed)) for part in parts]


def place_of(row: Mapping[str, Any], around: Iterable[Fence]) -> dict[str, Any]:
    """A window as it travels in a key: where its chip is, where it lies on the lattice, its weight (else 1), its fences."""
    flat = [[float(n) for n in (f.left, f.top, f.right, f.bottom, *f.metres)] for f in around]
    place = {name: row[name] for name in ("path", "row_group", "col", "row")}
    return place | {"weight": row.get("weight", 1.0), "fences": flat}


_KEPT = ("tile_id", "period", "source", "scene_ids", "datetimes", "bands")
_LIGHT = [
    "tile_id",
    "period",
    "crs",
    "transform",
    "height",
    "width",
    "halo",
    "pixels_shape",
    "pixels_dtype",
    "valid",
]


def _read_chip(path: Path, group: int, columns: Sequence[str] | None = None) -> dict[str, Any]:
    try:
        return next(store.read_rows(path, columns, [group]))
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"chips file {path}, row group {group}, cannot be read ({error}): delete it and run `lulc tile`"
        ) from error


def _valid(chip: Mapping[str, Any]) -> np.ndarray:
    dates, _, height, width = chip["pixels_shape"]
    return np.asarray(arrays.unpack(chip["valid"], (dates, height, width)))


def _lattice(
    tile_id: str, height: int, width: int, recipe: SampleSpec
) -> Iterator[tuple[int, int, int, int]]:
    # Column and row on the lattice, and the first row and column of the window in the tile's core.
    size = recipe.conf.size
    tile_col, tile_row = recipe.tiling.parse(tile_id)
    for row in range(height // size):
        for col in range(width // size):
            yield (
                tile_col * (width // size) + col,
                tile_row * (height // size) + row,
                row * size,
                col * size,
            )


def _fences(place: Mapping[str, Any]) -> list[Fence]:
    return [
        Fence(int(f[0]), int(f[1]), int(f[2]), int(f[3]), (f[4], f[5])) for f in place["fences"]
    ]


def _keep_off(
    label: np.ndarray, col: int, row: int, around: Sequence[Fence], conf: SampleConf
) -> np.ndarray:
    return (
        np.where(splits.outside(col, row, around, conf), label, NODATA).astype(np.uint8)
        if around
        else label
    )


def _count(label: np.ndarray, legend: Legend) -> list[int]:
    counted: list[int] = np.bincount(label.ravel(), minlength=256)[list(legend.ids)].tolist()
    return counted
