"""Whose labels a tile of Dynamic World holds, and which of them are held back.

The publisher's table, `v1_dw_tile_metadata_for_public_release.xlsx` (sheets `expert` and
`non_expert`), names every training tile (`dw_id`), its labeler and the Sentinel-2 product that was
labelled (`S2_PRODUCT_ID`). Held-back tiles are not in it. Without the table the names of folders
say it: `Experts`, `Non_expert`, and for tiles held back whatever has a word that begins with val,
test, hold, held or eval.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from lulc.datasets.files import words_of
from lulc.errors import InputError
from lulc.guard import read_guard
from lulc.location import Location
from lulc.tables.csv_files import read_csv_records

EXPERTS, NON_EXPERTS, HELD_BACK = "experts", "non_experts", "test"
UNKNOWN = "unknown"
TABLE_SUFFIXES = (".xlsx", ".csv")
REMEDY = (
    "put v1_dw_tile_metadata_for_public_release.xlsx beside them, or name their folders Experts, "
    "Non_expert, or validation"
)
"""How it is said which tiles are held back."""

_HELD_WORD = re.compile(r"val|test|hold|held|eval")
_TILE, _PRODUCT, _LABELER = "dw_id", "S2_PRODUCT_ID", "labeler"


@dataclass(frozen=True)
class Tile:
    """What the publisher's table says of a tile."""

    labelers: frozenset[str]
    """Who labelled it: EXPERTS, NON_EXPERTS or both."""
    products: frozenset[str]
    """Names of the products that were labelled."""


def read_tile_table(root: Location, paths: Iterable[str]) -> dict[str, Tile]:
    """Read the publisher's table of training tiles.

    Args:
        root: of the dataset.
        paths: of the files with TABLE_SUFFIXES below it.

    Returns:
        Tile → what the table says of it; empty where no file is that table.

    Raises:
        InputError: a table of tiles cannot be read.
    """
    rows = [row for path in sorted(paths) for row in _read_rows(root / path)]
    tiles: dict[str, Tile] = {}
    for tile, labeler, product in rows:
        previous = tiles.get(tile, Tile(frozenset(), frozenset()))
        tiles[tile] = Tile(
            previous.labelers | {_labeler_of(labeler)} - {""}, previous.products | {product} - {""}
        )
    return tiles


def tile_kind(path: PurePosixPath, tile: str, tiles: Mapping[str, Tile]) -> str:
    """Return EXPERTS, NON_EXPERTS, HELD_BACK, or UNKNOWN where nothing says which.

    Args:
        path: of the label, relative to the root.
        tile: its name in the publisher's table.
        tiles: the table.
    """
    words = words_of(" ".join(path.parts[:-1]))
    is_held_back = any(map(_HELD_WORD.match, words))
    if path.stem.startswith("label_") or is_held_back or (tiles and tile not in tiles):
        return HELD_BACK
    by_folder = [labeler for name in path.parts[:-1] if (labeler := _labeler_of(name))]
    if by_folder:
        return NON_EXPERTS if NON_EXPERTS in by_folder else EXPERTS
    labelers = tiles[tile].labelers if tile in tiles else frozenset()
    return next(iter(labelers)) if len(labelers) == 1 else UNKNOWN


def _labeler_of(text: str) -> str:
    lowered = text.lower()
    if re.search(r"non.?expert|workforce|crowd", lowered):
        return NON_EXPERTS
    return EXPERTS if "expert" in lowered else ""


def _read_rows(path: Location) -> list[tuple[str, str, str]]:
    """Return tile, labeler and product of each row; none of a file without a column of tiles."""
    if path.suffix.lower() == ".csv":
        try:
            records = [record for _, record in read_csv_records(path, [_TILE])]
        except InputError:
            # Tables of other things may lie beside the tiles.
            return []
        return [
            (record[_TILE], record.get(_LABELER, ""), record.get(_PRODUCT, ""))
            for record in records
        ]
    import pyogrio

    rows = []
    with read_guard(path):
        for sheet in pyogrio.list_layers(path)[:, 0]:
            frame = pyogrio.read_dataframe(path, layer=sheet, read_geometry=False, HEADERS="FORCE")
            if _TILE not in frame:
                continue
            texts = frame.reindex(columns=[_TILE, _LABELER, _PRODUCT]).fillna("").astype(str)
            # A sheet without the column is named after its labelers.
            rows += [
                (tile, labeler or str(sheet), product)
                for tile, labeler, product in texts.itertuples(index=False)
            ]
    return rows
