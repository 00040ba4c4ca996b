"""The tables between stages: what a row is, and every column with its type and meaning.

`docs/tables.md` is made of this module. Column types are those that Spark, petastorm and torch
share: no unsigned integers and no nested lists but where only Spark reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from lulc.errors import InputError

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
    note: str = ""
    """Unit, meaning, and what null means."""


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
        return pa.schema([pa.field(column.name, column.type) for column in self.columns])


def _array(name: str, note: str) -> tuple[Column, ...]:
    # C order, little endian; codec `raw` or `delta` (differences along the last axis).
    return (
        Column(name, BYTES, note),
        Column(f"{name}_shape", INTS),
        Column(f"{name}_dtype", TEXT, "numpy's name of the type"),
        Column(f"{name}_codec", TEXT, "raw, or delta: differences along the last axis"),
    )


_CLEAR = pa.struct(
    [
        pa.field("band", TEXT),
        pa.field("codes", LONGS),
        pa.field("refused", pa.bool_()),  # the codes are those of pixels that are not valid
        pa.field("first_bit", INT),
        pa.field("bits", INT),  # how many bits of the value count; 0: all
    ]
)

_GRID = (
    Column("crs", TEXT),
    Column("transform", DOUBLES),
    Column("height", INT),
    Column("width", INT),
    Column("footprint", BYTES, "WKB, EPSG:4326"),
    *(
        Column(name, DOUBLE, "of the footprint, degrees")
        for name in ("xmin", "ymin", "xmax", "ymax")
    ),
)

_CHIP = (
    Column("tile_id", TEXT),
    Column("period", TEXT),
    Column("source", TEXT),
    Column("scene_ids", TEXTS, "every scene that gave pixels"),
    Column("datetimes", TIMES, "one a date (T), in time order"),
    *_GRID,
    Column("halo", INT, "pixels of margin around the tile's core, included in GRID and pixels"),
    Column("bands", TEXTS),
    Column("scales", DOUBLES, "physical value = DN * scale + offset, one a band"),
    Column("offsets", DOUBLES),
    Column(
        "units",
        TEXTS,
        "of the physical values (lulc.bands.Unit), one a band, empty where it is not known; not "
        "in tables of earlier releases, in which none is",
    ),
    *_array("pixels", "(T, C, H, W); 0 where not valid"),
    Column("valid", BYTES, "numpy.packbits of bool (T, H, W)"),
    Column("clear", DOUBLE, "share of the core's pixels valid on one date or more"),
)

_REGION = (Column("region_id", TEXT), Column("level", TEXT), Column("name", TEXT))
_CLASS = (Column("class_id", INT), Column("class_name", TEXT))


TABLES = {
    "scenes": TableSpec(
        "an acquisition: time, footprint, file, scale and offset of every band (GeoParquet)",
        "index",
        (
            Column("scene_id", TEXT),
            Column("source", TEXT),
            Column("datetime", TIME, "null: a layer without a date, which belongs to every period"),
            Column("crs", TEXT),
            Column("footprint", BYTES, "WKB, EPSG:4326"),
            Column("cloud", DOUBLE, "percent, null where unknown"),
            Column("bands", TEXTS, "band names; the lists below are parallel to it"),
            Column("hrefs", TEXTS),
            Column("indexes", INTS, "band number in the file, from 1"),
            Column("dtypes", TEXTS),
            Column("scales", DOUBLES),
            Column("offsets", DOUBLES),
            Column("nodatas", DOUBLES, "null: none"),
            Column("kinds", TEXTS, "continuous, class or quality"),
            Column(
                "calibrations",
                TEXTS,
                "computed as they are read: sigma0 or gamma0, alphaearth, tessera; else empty",
            ),
            Column(
                "units",
                TEXTS,
                "of the physical values (lulc.bands.Unit), empty where it is not known; not in "
                "tables of earlier releases",
            ),
            Column("clear", pa.list_(_CLEAR), "tests of quality bands; a valid pixel passes all"),
            Column("properties", pa.map_(TEXT, TEXT), "angles of the sun, orbit, tile, …"),
            Column("gsd_m", DOUBLE),
            Column("fingerprint", TEXT, "of the item and its files' size and change time"),
        ),
    ),
    "chips": TableSpec(
        "the pixels of one tile and period: T dates, bands, H × W, and which are valid",
        "tile",
        (*_CHIP,),
    ),
    "samples": TableSpec(
        "a window of a chip, or a published example, with its label; a folder a split",
        "samples",
        (
            Column("sample_id", TEXT),
            *_CHIP,
            Column("dataset", TEXT),
            Column("task", TEXT),
            Column("legend", TEXT),
            Column("block", TEXT, "spatial block of the split"),
            Column("class_ids", INTS),
            Column(
                "class_counts",
                LONGS,
                "labelled pixels a class; images or boxes where the label is no raster",
            ),
            Column("weight", DOUBLE, "of the sample in the loss"),
            *_array(
                "label",
                "classify: () int64 id; multilabel: (K,) uint8; "
                "segment, change, series: (H, W) uint8 legend ids, 255: no label; "
                "detect: (N, 5) float32 id, left, top, right, bottom in pixels",
            ),
        ),
    ),
    "predictions": TableSpec(
        "classes and confidence of one tile's core, with class counts",
        "predict",
        (
            Column("tile_id", TEXT),
            Column("period", TEXT),
            Column("model", TEXT, "<name>/<version>"),
            Column("scene_ids", TEXTS),
            *_GRID,  # of the core
            Column("legend", TEXT),
            *_array("classes", "(H, W) uint8 legend ids, 255 nodata"),
            *_array("confidence", "(H, W) uint8, percent, 255 nodata"),
            *_array("probabilities", "(K, H, W) uint8, percent, 255 nodata; null unless asked for"),
            Column("class_ids", INTS),
            Column("class_counts", LONGS, "pixels a class, parallel to class_ids"),
            *_array(
                "percent_counts", "(K, 101) uint32: of them, those of each per cent of confidence"
            ),
            Column("nodata_count", LONG),
        ),
    ),
    "probabilities": TableSpec(
        "the probability of one class in one square",
        "predict (multilabel)",
        (
            Column("tile_id", TEXT),
            Column("period", TEXT),
            Column("model", TEXT),
            *_GRID,  # of the square that was classified as one
            *_CLASS,
            Column("probability", DOUBLE),
        ),
    ),
    "boxes": TableSpec(
        "a box on a tile",
        "predict (detect)",
        (
            Column("tile_id", TEXT),
            Column("period", TEXT),
            Column("model", TEXT),
            *_CLASS,
            Column("score", DOUBLE),
            *(
                Column(name, DOUBLE, "in pixels of the whole tiling")
                for name in ("left", "top", "right", "bottom")
            ),
        ),
    ),
    "detections": TableSpec(
        "a detected object, once, with its outline on the ground (GeoParquet)",
        "rasters (detect), predict --input",
        (
            Column("item", TEXT, "the image file's path under its folder; null: of tiles"),
            Column("tile_id", TEXT, "of the tile that holds the centre"),
            Column("n", INT, "from 0 within the item or tile"),
            Column("period", TEXT),
            Column("model", TEXT),
            *_CLASS,
            Column("score", DOUBLE),
            Column("geometry", BYTES, "WKB"),
            Column("crs", TEXT, "EPSG:4326; empty: in pixels of an image without georeference"),
        ),
    ),
    "embeddings": TableSpec(
        "a vector of a tile, of a pixel of it, or of a sample (GeoParquet)",
        "embed",
        (
            Column("tile_id", TEXT, "null: of a sample without a tile"),
            Column("period", TEXT),
            Column("row", INT, "of the pixel in the tile's core; null: of all of it, as the next"),
            Column("col", INT),
            Column("sample_id", TEXT, "null: of a tile, as the next three"),
            Column("split", TEXT),
            Column("class_id", INT, "of a sample with one class; else null, as the next"),
            Column("class_name", TEXT),
            Column("model", TEXT, "<name>/<version>; bands: the values of embedding bands"),
            Column("valid_share", DOUBLE, "of the pixels that the vector is of"),
            Column("geometry", BYTES, "WKB, EPSG:4326; null: of an image without georeference"),
            Column("embedding", FLOATS, "as long in every row"),
        ),
    ),
    "detection_counts": TableSpec(
        "detections of one class in one region: count, per km², mean score",
        "stats (detect)",
        (
            *_REGION,
            Column("period", TEXT),
            Column("model", TEXT),
            *_CLASS,
            Column("detections", LONG, "whose centre lies in the region"),
            Column("detections_per_km2", DOUBLE, "of the region's whole area"),
            Column("mean_score", DOUBLE),
        ),
    ),
    "presence": TableSpec(
        "the ground of one region in squares where one class is more likely than not",
        "stats (multilabel)",
        (
            *_REGION,
            Column("period", TEXT),
            Column("model", TEXT),
            *_CLASS,
            Column("observed_share", DOUBLE, "of the region's area, in squares that were mapped"),
            Column("present_m2", DOUBLE, "in squares where the class is more likely than not"),
            Column(
                "share",
                DOUBLE,
                "present_m2 of the mapped area; those of all classes may add up to more than 1",
            ),
            Column("mean_probability", DOUBLE, "over the mapped area"),
        ),
    ),
    "regions": TableSpec(
        "a region",
        "stats",
        (
            *_REGION,
            Column("geometry", BYTES, "WKB, EPSG:4326"),
            Column("area_m2", DOUBLE, "true ellipsoidal area"),
        ),
    ),
    "class_areas": TableSpec(
        "pixels, m², share and confidence of one class in one region and period",
        "stats",
        (
            *_REGION,
            Column("period", TEXT),
            Column("model", TEXT),
            Column("class_id", INT, "null: the region's unobserved part"),
            Column("class_name", TEXT),
            Column(
                "pixels",
                DOUBLE,
                "fractions of pixels on the border counted; null for the unobserved part, which "
                "may lie outside the map",
            ),
            Column("area_m2", DOUBLE),
            Column("share", DOUBLE, "of the observed area; null for the unobserved part"),
            Column("observed_share", DOUBLE, "of the region's area"),
            Column(
                "mean_confidence",
                DOUBLE,
                "0–1, over the class's area; null where the map has no confidence, as the next",
            ),
            Column(
                "confident_m2",
                DOUBLE,
                "the part of area_m2 with a confidence of stats.confident or more",
            ),
        ),
    ),
    "intersections": TableSpec(
        "how much of each pixel of one block of a raster's grid one region covers",
        "stats --rasters",
        (
            Column("position", LONG, "of the region in the regions table"),
            Column(
                "runs",
                BYTES,
                "(N, 3) int32: row, first and end column of pixels that are covered alike",
            ),
            Column("shares", BYTES, "(N,) float64: how much of each of them"),
        ),
    ),
    "transitions": TableSpec(
        "m² of one region that were one class and became another between two periods",
        "stats",
        (
            *_REGION,
            Column("period_from", TEXT),
            Column("period_to", TEXT),
            Column("from_id", INT),
            Column("from_class", TEXT),
            Column("to_id", INT),
            Column("to_class", TEXT),
            Column("pixels", DOUBLE, "of the first period's grid"),
            Column("area_m2", DOUBLE),
            Column("share", DOUBLE, "of the area that has a class in both periods"),
        ),
    ),
    "landscape": TableSpec(
        "the patches of one class in one region and period: count, size, edges",
        "stats (stats.landscape)",
        (
            *_REGION,
            Column("period", TEXT),
            *_CLASS,
            Column(
                "patches", LONG, "of pixels that touch by a side or a corner, within the region"
            ),
            Column("mean_patch_m2", DOUBLE),
            Column("largest_patch_m2", DOUBLE),
            Column("edge_m", DOUBLE, "sides shared with pixels of other classes"),
            Column("edge_m_per_ha", DOUBLE, "of the region's mapped area"),
        ),
    ),
    "accuracy": TableSpec(
        "the scores of one class, or of all together",
        "evaluate",
        (
            Column("period", TEXT),
            Column("model", TEXT),
            Column("split", TEXT),
            Column("class_id", INT, "null: all classes together"),
            Column("class_name", TEXT),
            Column("pixels", LONG, "labelled pixels of the class"),
            Column("users_accuracy", DOUBLE),
            Column("producers_accuracy", DOUBLE),
            Column("f1", DOUBLE),
            Column("iou", DOUBLE),
            Column("overall_accuracy", DOUBLE, "on the all-classes row alone"),
        ),
    ),
    "confusion": TableSpec(
        "the pixels of one pair of label and map class",
        "evaluate",
        (
            Column("period", TEXT),
            Column("model", TEXT),
            Column("split", TEXT),
            Column("label_id", INT),
            Column("map_id", INT, "255: the map has no class there"),
            Column("pixels", LONG),
        ),
    ),
    "estimates": TableSpec(
        "an accuracy or area with its standard error and interval",
        "evaluate --reference",
        (
            Column("region_id", TEXT, "null: all that was sampled"),
            Column(
                "measure",
                TEXT,
                "overall_, users_, producers_accuracy; area_share (of what was sampled of the "
                "region), area_m2",
            ),
            *_CLASS,
            Column("estimate", DOUBLE, "null where no point contributes to it"),
            Column(
                "standard_error", DOUBLE, "null where fewer than two points do, as the next two"
            ),
            Column("low_95", DOUBLE),
            Column("high_95", DOUBLE),
            Column("points", LONG, "interpreted points that contribute to it"),
        ),
    ),
    "error_matrix": TableSpec(
        "a cell of the error matrix in shares of area",
        "evaluate --reference",
        (
            Column("map_id", INT, "255: the map has no class there"),
            Column("reference_id", INT),
            Column("area_share", DOUBLE, "of all that was sampled"),
            Column("points", LONG),
        ),
    ),
    "trials": TableSpec(
        "a training with other settings, or on one fold, and its score",
        "tune",
        (
            Column("settings", TEXT, "as given to --set"),
            Column("fold", INT, "the fold held out; null: scored on the validation split"),
            Column("metric", TEXT),
            Column("score", DOUBLE, "null where the trial failed"),
            Column("metrics", pa.map_(TEXT, DOUBLE)),
            Column("best_epoch", INT),
            Column("seconds", DOUBLE),
            Column("error", TEXT),
        ),
    ),
    "suspects": TableSpec(
        "a label held against what a model says that did not learn it: an image's, or those of "
        "one class in one window; the most doubtful first",
        "review",
        (
            Column("sample_id", TEXT),
            Column("dataset", TEXT),
            Column("tile_id", TEXT),
            Column("period", TEXT),
            Column("fold", INT, "the fold that held it out"),
            Column("label_id", INT),
            Column("label", TEXT, "name of the class"),
            Column("answer_id", INT, "the class that is likeliest, over all of these labels"),
            Column("answer", TEXT),
            Column("labels", LONG, "how many labels it is of: pixels, or an image"),
            Column("probability", DOUBLE, "0–1: of the label, the mean over these labels"),
            Column("margin", DOUBLE, "-1–1: less the probability of the likeliest other class"),
            Column(
                "score",
                DOUBLE,
                "0–1, the lower the more doubtful: the probability over the mean that labels of "
                "this class have, 1 from there on",
            ),
            Column("doubted", pa.bool_(), "whether the model is confident of another class"),
            Column("longitude", DOUBLE, "of the middle, degrees; null without a place"),
            Column("latitude", DOUBLE),
            Column("footprint", BYTES, "WKB, EPSG:4326; null without a place"),
        ),
    ),
    "ledger": TableSpec(
        "what was done with one key of one stage: fingerprint, seconds, checksum, status, error",
        "every stage",
        (
            Column("stage", TEXT),
            Column("key", TEXT),
            Column("fingerprint", TEXT),
            Column("attempt", INT),
            Column("seconds", DOUBLE),
            Column("valid_pixels", LONG, "none where the checksum is not known"),
            Column(
                "checksum",
                TEXT,
                "sha256 of the published file; none where it was taken up after a kill",
            ),
            Column("status", TEXT, "done, empty, bad, dropped"),
            Column("error", TEXT),
            Column("path", TEXT, "of the published file, relative to the output folder"),
            Column("finished", TIME, "by the clock of the machine that did it"),
            Column(
                "number",
                LONG,
                "of the file that recorded it: of two rows of a stage and key the higher counts; "
                "null, before all others, in rows of earlier releases",
            ),
        ),
    ),
}
_ITEM_CLASSES = TableSpec(
    "the class of one image file of a folder, kept as table `predictions`",
    "predict --input",
    (
        Column("item", TEXT, "the image file's path under its folder"),
        Column("model", TEXT),
        *_CLASS,
        Column("confidence", DOUBLE, "0–1: the probability"),
    ),
)

ALL = {name: table.schema for name, table in TABLES.items()}
"""Table → its schema."""
SCENES = ALL["scenes"]
CHIPS = ALL["chips"]
SAMPLES = ALL["samples"]
PREDICTIONS = ALL["predictions"]
PROBABILITIES = ALL["probabilities"]
BOXES = ALL["boxes"]
DETECTIONS = ALL["detections"]
EMBEDDINGS = ALL["embeddings"]
DETECTION_COUNTS = ALL["detection_counts"]
PRESENCE = ALL["presence"]
REGIONS = ALL["regions"]
CLASS_AREAS = ALL["class_areas"]
INTERSECTIONS = ALL["intersections"]
TRANSITIONS = ALL["transitions"]
LANDSCAPE = ALL["landscape"]
ACCURACY = ALL["accuracy"]
CONFUSION = ALL["confusion"]
ESTIMATES = ALL["estimates"]
ERROR_MATRIX = ALL["error_matrix"]
TRIALS = ALL["trials"]
SUSPECTS = ALL["suspects"]
LEDGER = ALL["ledger"]
ITEM_CLASSES = _ITEM_CLASSES.schema


ADDED = frozenset({"units"})
"""Columns that tables of earlier releases lack; read as null."""


def _of_any_length(kind: pa.DataType) -> pa.DataType:
    # Lists of one length are lists: how long they are is not the table's matter.
    return pa.list_(kind.value_type) if pa.types.is_fixed_size_list(kind) else kind


def check_schema(schema: pa.Schema, expected: pa.Schema, location: str) -> None:
    """Check that a schema has every expected column with its type; ADDED ones may be missing.

    Args:
        schema: the schema of the files that are there.
        expected: the table's schema.
        location: names the files in the error.

    Raises:
        InputError: it does not; lists the columns that differ.
    """
    types = {field.name: _of_any_length(field.type) for field in schema}
    differences = [
        f"  {field.name}: expected {field.type}, found {types.get(field.name, 'no such column')}"
        for field in expected
        if types.get(field.name) != field.type and (field.name in types or field.name not in ADDED)
    ]
    if differences:
        lines = "\n".join(differences)
        raise InputError(
            f"{location} does not hold the columns it should; "
            f"rebuild it with the stage that makes it:\n{lines}"
        )
