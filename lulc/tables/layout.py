"""Every place under an output location: made and parsed here and nowhere else.

A place is a name relative to the output location, with forward slashes, the same on any store.
The ledger keeps places in this form. `out / place` is where it lies.

    tables/<table>/part-0.parquet                                a table of one file
    tables/cell_areas/part-<number>.parquet                      areas of cells, in order of cells
    tables/polygons/part-<number>.parquet                        polygons, in order of their places
    tables/ledger/<number>.parquet                               rows recorded at a time
    tables/ledger/<number>.state.parquet                         all rows up to this number
    tables/<table>/sector=<period>.<c>_<r>/<period>.<col>_<row>.<fingerprint>.parquet
                                                                 one block of tiles
    tables/samples/split=<split>/<number>.<fingerprint>.parquet  one file of samples
    tables/embeddings/<split>.<number>.<fingerprint>.parquet     vectors of a file of samples
    tables/<table>/items.parquet                                 rows of a folder of image files
    rasters/<period>/<c>_<r>/<run>_<col>_<row>.tif               a class raster, `.json` beside it
    confidence/…, probabilities/…, uncertainty/…                 rasters that belong to it
    rasters/<period>/mosaic.{vrt,gti.gpkg}, rasters/collection.json   indexes of rasters
    rasters/items.parquet                                        their STAC items as one table
    embeddings/<period>.<c>_<r>/<period>.<col>_<row>.<fingerprint>.tif   vectors as a raster
    <folders>/<image>.tif                                        the map of a file of `--input`
    models/<name>-<version>, checkpoints/<fingerprint>           models and unfinished trainings
    unfinished/<stage>/<fingerprint>/<2 digits>/<task>.parquet   what tasks gave, for a rerun
    items/<number>.parquet                                       items as `index` read them
    config.yaml                                                  the run file as it was last run
    lease/<number>.json                                          who works on it, or did last
    folds/<fold>_of_<folds>/tables/samples/…                     the samples dealt anew for a fold
    trials/<fingerprint>, review/<fingerprint>                   trainings of `tune` and `review`
    report.html, map.png, polygons.gpkg, suspects.png, mlflow.db, mlartifacts   what a user opens

A sector is 64 × 64 tiles, or rasters, of a period: its column and row are those of a tile divided
by 64. However large a map is, no folder has more files than a sector. Earlier releases had all
blocks of a table, and all rasters of a period, in one folder; such files are read where they lie.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lulc.errors import InputError

TABLES = "tables"
RASTERS = "rasters"
COLLECTION = "rasters/collection.json"
ITEMS_TABLE = "rasters/items.parquet"
REPORT = "report.html"
CONFIG = "config.yaml"
MAP_PICTURE = "map.png"
POLYGONS = "polygons.gpkg"
SUSPECTS_PICTURE = "suspects.png"
LEASES = "lease"
READ_ITEMS = "items"
TRACKING_DATABASE = "mlflow.db"
TRACKING_ARTIFACTS = "mlartifacts"

_SECTOR = 64
"""Cells along a side of a sector."""


@dataclass(frozen=True, order=True)
class BlockKey:
    """A block of tiles in one period: `<period>/<tiling>/<col>_<row>` of its top left tile."""

    period: str
    tiling: str
    col: int
    row: int

    def __str__(self) -> str:
        """Return the key as the ledger keeps it."""
        return f"{self.period}/{self.tile_id}"

    @property
    def tile_id(self) -> str:
        """The id of the block's top left tile, `<tiling>/<col>_<row>`."""
        return f"{self.tiling}/{self.col}_{self.row}"

    @property
    def cell(self) -> tuple[int, int]:
        """Column and row of the block's top left tile."""
        return self.col, self.row


def parse_block_key(text: str) -> BlockKey:
    """Return the BlockKey that a ledger key names.

    Raises:
        InputError: the text is not `<period>/<tiling>/<col>_<row>`.
    """
    try:
        period, tiling, cell = text.rsplit("/", 2)
        col, row = (int(number) for number in cell.split("_"))
    except ValueError as error:
        raise InputError(
            f"{text!r} is not the key of a block: expected <period>/<tiling>/<col>_<row>"
        ) from error
    return BlockKey(period, tiling, col, row)


def table(name: str) -> str:
    """Return the folder of the table of this name."""
    return f"{TABLES}/{name}"


def table_file(name: str, part: int = 0) -> str:
    """Return the file of a table that is kept in one file, or the file of a part of it, from 0."""
    return f"{table(name)}/part-{part}.parquet"


def items_file(name: str) -> str:
    """Return the file of a table whose rows are of a folder of image files."""
    return f"{table(name)}/items.parquet"


def lease_file(number: int) -> str:
    """Return the file of the `number`-th process that worked on the output location."""
    return f"{LEASES}/{number:012d}.json"


def read_items_file(number: int) -> str:
    """Return the `number`-th file of items as they were read, from 1."""
    return f"{READ_ITEMS}/{number:012d}.parquet"


def ledger_file(number: int) -> str:
    """Return the file of the ledger that was written as the `number`-th, from 1."""
    return f"{table('ledger')}/{number:012d}.parquet"


def ledger_state(number: int) -> str:
    """Return the file of the ledger that holds all rows up to those of the `number`-th."""
    return f"{table('ledger')}/{number:012d}.state.parquet"


def parse_ledger_name(name: str) -> tuple[int, bool]:
    """Return the number of a file of the ledger, and whether it holds all rows up to its number.

    The number is 0 of one that an earlier release wrote.
    """
    match = re.fullmatch(r"(\d{12})(\.state)?\.parquet", name)
    return (int(match[1]), match[2] is not None) if match else (0, False)


def block_file(name: str, key: BlockKey, fingerprint: str) -> str:
    """Return the file of table `name` that holds one block.

    Tools that know folders of Hive read the sector as a column.
    """
    sector = f"sector={key.period}.{_sector(key.cell)}"
    return f"{table(name)}/{sector}/{key.period}.{key.col}_{key.row}.{fingerprint}.parquet"


def without_sector(path: str) -> str:
    """Return the place that earlier releases gave a file of a table."""
    return re.sub(r"/sector=[^/]+", "", path)


def _sector(cell: tuple[int, int]) -> str:
    return f"{cell[0] // _SECTOR}_{cell[1] // _SECTOR}"


def samples_file(split: str, number: str, fingerprint: str) -> str:
    """Return one file of the samples table; Spark reads the split from the folder's name."""
    return f"{table('samples')}/split={split}/{number}.{fingerprint}.parquet"


def sample_embeddings_file(split: str, number: str, fingerprint: str) -> str:
    """Return the file of table `embeddings` that holds the vectors of a file of samples."""
    return f"{table('embeddings')}/{split}.{number}.{fingerprint}.parquet"


def embeddings_raster(table_path: str) -> str:
    """Return the raster of the vectors that a file of table `embeddings` holds."""
    name = table_path.removeprefix(f"{table('embeddings')}/sector=").removesuffix(".parquet")
    return f"embeddings/{name}.tif"


def without_fingerprint(path: str) -> str:
    """Return what names a unit of a table in the place of its file, whatever its fingerprint."""
    return without_sector(path).removesuffix(".parquet").rpartition(".")[0]


def raster(period: str, run: str, cell: tuple[int, int], flat: bool = False) -> str:
    """Return the class raster of the group of tiles at `cell`, counted in groups.

    Args:
        period: its name.
        run: its name.
        cell: column and row.
        flat: whether the period's rasters are all in one folder, as earlier releases had them.
    """
    folder = f"{RASTERS}/{period}" if flat else f"{RASTERS}/{period}/{_sector(cell)}"
    return f"{folder}/{run}_{cell[0]}_{cell[1]}.tif"


def raster_period(path: str) -> str:
    """Return the period of a class raster."""
    return path.split("/")[1]


def confidence_raster(raster_path: str) -> str:
    """Return the raster of confidence that belongs to a class raster."""
    return _beside(raster_path, "confidence")


def probabilities_raster(raster_path: str) -> str:
    """Return the raster of a band a class that belongs to a class raster."""
    return _beside(raster_path, "probabilities")


def uncertainty_raster(raster_path: str) -> str:
    """Return the raster of entropy and margin that belongs to a class raster."""
    return _beside(raster_path, "uncertainty")


def _beside(raster_path: str, kind: str) -> str:
    stem = raster_path.removeprefix(f"{RASTERS}/").removesuffix(".tif")
    return f"{kind}/{stem}_{kind}.tif"


def raster_item(raster_path: str) -> str:
    """Return the STAC item that describes a class raster."""
    return raster_path.removesuffix(".tif") + ".json"


def mosaic_files(period: str) -> tuple[str, str, str, str]:
    """Return what shows a period's class rasters as one.

    Returns:
        The VRT, its QGIS style, the tile index (GTI), and the overview of both.
    """
    stem = f"{RASTERS}/{period}/mosaic"
    return f"{stem}.vrt", f"{stem}.qml", f"{stem}.gti.gpkg", f"{stem}.gti.gpkg.ovr"


def model_folder(name: str, version: str) -> str:
    """Return the folder of a registered model's files."""
    return f"models/{name}-{version}"


def kept_folder(stage: str, fingerprint: str) -> str:
    """Return where the tasks of a stage keep what they gave, until the stage is recorded."""
    return f"{unfinished_stage(stage)}/{fingerprint}"


def unfinished_stage(stage: str) -> str:
    """Return the folder of all that tasks of a stage keep."""
    return f"unfinished/{stage}"


def checkpoint_folder(fingerprint: str) -> str:
    """Return the folder of a training that may go on."""
    return f"checkpoints/{fingerprint}"
