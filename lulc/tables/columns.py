"""Columns of the tables between stages: their types and meaning, and those that tables share.

Column types are those that Spark, petastorm and torch share: no unsigned integers and no nested
lists but where only Spark reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

TEXT, BYTES, TIME = pa.string(), pa.binary(), pa.timestamp("us", tz="UTC")
INT, LONG, DOUBLE = pa.int32(), pa.int64(), pa.float64()
TEXTS, INTS, LONGS = pa.list_(TEXT), pa.list_(INT), pa.list_(LONG)
DOUBLES, TIMES = pa.list_(DOUBLE), pa.list_(TIME)
FLOATS = pa.list_(pa.float32())


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    type: pa.DataType
    note: str
    """Its meaning, and what null means."""
    unit: str = ""
    """Of its numbers; empty where they are counts, ids or plain texts."""

    @property
    def field(self) -> pa.Field:
        """The column in a schema: its meaning is `description` of its metadata, beside `unit`."""
        metadata = {"description": self.note, "unit": self.unit}
        return pa.field(self.name, self.type, metadata={k: v for k, v in metadata.items() if v})


@dataclass(frozen=True)
class TableSpec:
    """A table of a run."""

    row: str
    """What a row is."""
    made_by: str
    """The stage or verb that writes it."""
    columns: tuple[Column, ...]

    @cached_property
    def schema(self) -> pa.Schema:
        """The table's Parquet schema."""
        return pa.schema([column.field for column in self.columns])


def columns_of_array(name: str, note: str) -> tuple[Column, ...]:
    """Return the columns that hold an array: in C order, little endian, and its form."""
    return (
        Column(name, BYTES, note),
        Column(f"{name}_shape", INTS, "lengths of its axes"),
        Column(f"{name}_dtype", TEXT, "numpy's name of the type"),
        Column(f"{name}_codec", TEXT, "raw, or delta: differences along the last axis"),
    )


CLEAR = pa.struct(
    [
        pa.field("band", TEXT),
        pa.field("codes", LONGS),
        pa.field("refused", pa.bool_()),  # the codes are those of pixels that are not valid
        pa.field("first_bit", INT),
        pa.field("bits", INT),  # how many bits of the value count; 0: all
    ]
)

GRID = (
    Column("crs", TEXT, "of the pixels' grid"),
    Column("transform", DOUBLES, "a, b, c, d, e, f: column and row of a pixel's corner to x and y"),
    Column("height", INT, "rows of pixels"),
    Column("width", INT, "columns of pixels"),
    Column("footprint", BYTES, "outline of the pixels, EPSG:4326"),
    *(
        Column(name, DOUBLE, "bound of the footprint", "degrees")
        for name in ("xmin", "ymin", "xmax", "ymax")
    ),
)
TILE = Column("tile_id", TEXT, "<tiling>/<col>_<row>")
PERIOD = Column("period", TEXT, "name of the period")
MODEL = Column("model", TEXT, "<name>/<version> of the model that mapped it")
SAMPLED = Column(
    "period",
    TEXT,
    "of the sampled map; null: the map is of no period, and in tables of earlier releases",
)

CHIP = (
    TILE,
    PERIOD,
    Column("source", TEXT, "where the scenes come from"),
    Column("scene_ids", TEXTS, "every scene that gave pixels"),
    Column("datetimes", TIMES, "one a date (T), in time order"),
    *GRID,
    Column("halo", INT, "margin around the tile's core, part of the grid and its pixels", "pixels"),
    Column("bands", TEXTS, "common names, in the order of the pixels' axis C"),
    Column("scales", DOUBLES, "physical value = number * scale + offset, one a band"),
    Column("offsets", DOUBLES, "as scales"),
    Column(
        "units",
        TEXTS,
        "of the physical values (lulc.bands.Unit), one a band, empty where it is not known; not "
        "in tables of earlier releases, in which none is",
    ),
    *columns_of_array("pixels", "(T, C, H, W); 0 where not valid"),
    Column("valid", BYTES, "numpy.packbits of bool (T, H, W)"),
    Column("clear", DOUBLE, "share of the core's pixels valid on one date or more", "0–1"),
)

REGION = (
    Column("region_id", TEXT, "unique within the level"),
    Column("level", TEXT, "kind of region; map: the whole map"),
    Column("name", TEXT, "of the region"),
)
CLASS = (
    Column("class_id", INT, "id in the legend"),
    Column("class_name", TEXT, "name in the legend"),
)
SPREAD = columns_of_array("spread", "(H, W) uint8, percent, 255 nodata; null unless asked for")
ENTROPY = (
    *columns_of_array(
        "entropy", "(H, W) uint8, percent, 255 nodata; null unless probabilities are kept"
    ),
    Column("entropy_sums", LONGS, "over the pixels of each class, parallel to class_ids", "%"),
)
UNCERTAINTY = (
    Column(
        "mean_entropy",
        DOUBLE,
        "of the pixels' probabilities, 1 where all classes are equally likely; null unless "
        "probabilities are kept, as the next",
        "0–1",
    ),
    Column("mean_margin", DOUBLE, "the likeliest class's probability less the next one's", "0–1"),
    Column(
        "mean_spread",
        DOUBLE,
        "standard deviation of the class's probability over models or mirror images; null unless "
        "asked for",
        "0–1",
    ),
    Column(
        "training_distance",
        DOUBLE,
        "of the means of the tile's bands from those of the training samples, root mean square "
        "over the bands; null where it is not known",
        "standard deviations",
    ),
)
PREDICTION = (
    TILE,
    PERIOD,
    MODEL,
    Column("scene_ids", TEXTS, "every scene that gave pixels"),
    *GRID,  # of the core
    Column("legend", TEXT, "name of the legend"),
    *columns_of_array("classes", "(H, W) uint8 legend ids, 255 nodata"),
    *columns_of_array("confidence", "(H, W) uint8, percent, 255 nodata"),
    *columns_of_array(
        "probabilities", "(K, H, W) uint8, percent, 255 nodata; null unless asked for"
    ),
    *SPREAD,
    *ENTROPY,
    *UNCERTAINTY,
    Column("class_ids", INTS, "ids of the legend"),
    Column("class_counts", LONGS, "of each class, parallel to class_ids", "pixels"),
    *columns_of_array(
        "percent_counts", "(K, 101) uint32: of them, those of each per cent of confidence"
    ),
    Column("nodata_count", LONG, "without a class", "pixels"),
)
CONFIDENCE = (
    Column(
        "mean_confidence",
        DOUBLE,
        "over the class's area; null where the map has no confidence, as the next",
        "0–1",
    ),
    Column(
        "confident_m2",
        DOUBLE,
        "the part of area_m2 with a confidence of stats.confident or more",
        "m²",
    ),
)
MEAN_ENTROPY = Column(
    "mean_entropy",
    DOUBLE,
    "over the class's area, of the pixels' probabilities: 1 where all classes are equally "
    "likely; null unless the predictions hold it",
    "0–1",
)
CLASS_AREA = (
    *REGION,
    PERIOD,
    MODEL,
    Column("class_id", INT, "null: the region's unobserved part"),
    Column("class_name", TEXT, "name in the legend; unobserved"),
    Column(
        "pixels",
        DOUBLE,
        "fractions of pixels on the border counted; null for the unobserved part, which "
        "may lie outside the map",
    ),
    Column("area_m2", DOUBLE, "true area on the ellipsoid", "m²"),
    Column("share", DOUBLE, "of the observed area; null for the unobserved part", "0–1"),
    Column("observed_share", DOUBLE, "of the region's area", "0–1"),
    *CONFIDENCE,
    MEAN_ENTROPY,
)


def view_metadata(field: pa.Field) -> dict[str, str]:
    """Return what a column of a view tells: its meaning, its unit, and both as its comment."""
    about = {str(k, "utf-8"): str(v, "utf-8") for k, v in (field.metadata or {}).items()}
    note, unit = about.get("description", ""), about.get("unit", "")
    return about | {"comment": f"{note} ({unit})" if unit else note}
