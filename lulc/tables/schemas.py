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


def _array(name: str, note: str) -> tuple[Column, ...]:
    # C order, little endian; codec `raw` or `delta` (differences along the last axis).
    return (
        Column(name, BYTES, note),
        Column(f"{name}_shape", INTS, "lengths of its axes"),
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
_TILE = Column("tile_id", TEXT, "<tiling>/<col>_<row>")
_PERIOD = Column("period", TEXT, "name of the period")
_MODEL = Column("model", TEXT, "<name>/<version> of the model that mapped it")
_SAMPLED = Column(
    "period",
    TEXT,
    "of the sampled map; null: the map is of no period, and in tables of earlier releases",
)

_CHIP = (
    _TILE,
    _PERIOD,
    Column("source", TEXT, "where the scenes come from"),
    Column("scene_ids", TEXTS, "every scene that gave pixels"),
    Column("datetimes", TIMES, "one a date (T), in time order"),
    *_GRID,
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
    *_array("pixels", "(T, C, H, W); 0 where not valid"),
    Column("valid", BYTES, "numpy.packbits of bool (T, H, W)"),
    Column("clear", DOUBLE, "share of the core's pixels valid on one date or more", "0–1"),
)

_REGION = (
    Column("region_id", TEXT, "unique within the level"),
    Column("level", TEXT, "kind of region; map: the whole map"),
    Column("name", TEXT, "of the region"),
)
_CLASS = (
    Column("class_id", INT, "id in the legend"),
    Column("class_name", TEXT, "name in the legend"),
)
_SPREAD = _array("spread", "(H, W) uint8, percent, 255 nodata; null unless asked for")
_ENTROPY = (
    *_array("entropy", "(H, W) uint8, percent, 255 nodata; null unless probabilities are kept"),
    Column("entropy_sums", LONGS, "over the pixels of each class, parallel to class_ids", "%"),
)
_UNCERTAINTY = (
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
_PREDICTIONS = (
    _TILE,
    _PERIOD,
    _MODEL,
    Column("scene_ids", TEXTS, "every scene that gave pixels"),
    *_GRID,  # of the core
    Column("legend", TEXT, "name of the legend"),
    *_array("classes", "(H, W) uint8 legend ids, 255 nodata"),
    *_array("confidence", "(H, W) uint8, percent, 255 nodata"),
    *_array("probabilities", "(K, H, W) uint8, percent, 255 nodata; null unless asked for"),
    *_SPREAD,
    *_ENTROPY,
    *_UNCERTAINTY,
    Column("class_ids", INTS, "ids of the legend"),
    Column("class_counts", LONGS, "of each class, parallel to class_ids", "pixels"),
    *_array("percent_counts", "(K, 101) uint32: of them, those of each per cent of confidence"),
    Column("nodata_count", LONG, "without a class", "pixels"),
)
_CONFIDENCE = (
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
_MEAN_ENTROPY = Column(
    "mean_entropy",
    DOUBLE,
    "over the class's area, of the pixels' probabilities: 1 where all classes are equally "
    "likely; null unless the predictions hold it",
    "0–1",
)
_CLASS_AREAS = (
    *_REGION,
    _PERIOD,
    _MODEL,
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
    *_CONFIDENCE,
    _MEAN_ENTROPY,
)


TABLES = {
    "scenes": TableSpec(
        "an acquisition: time, footprint, file, scale and offset of every band",
        "index",
        (
            Column("scene_id", TEXT, "unique in the table"),
            Column("source", TEXT, "which reader made the row, such as sentinel2"),
            Column("datetime", TIME, "null: a layer without a date, which belongs to every period"),
            Column("crs", TEXT, "of the finest band"),
            Column("footprint", BYTES, "outline of the finest band, EPSG:4326"),
            Column("cloud", DOUBLE, "share under cloud as its publisher says; null: unknown", "%"),
            Column("bands", TEXTS, "band names; the lists below are parallel to it"),
            Column("hrefs", TEXTS, "path or address of the band's file"),
            Column("indexes", INTS, "band number in the file, from 1"),
            Column("dtypes", TEXTS, "numpy's name of the stored type"),
            Column("scales", DOUBLES, "physical value = number * scale + offset"),
            Column("offsets", DOUBLES, "as scales"),
            Column("nodatas", DOUBLES, "the number that marks pixels without data; null: none"),
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
            Column("gsd_m", DOUBLE, "side of a pixel of the finest band", "m"),
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
            Column("sample_id", TEXT, "unique in the table"),
            *_CHIP,
            Column("dataset", TEXT, "the archive that it is of, or the run whose labels it has"),
            Column("task", TEXT, "what is asked: segment, classify, multilabel, detect, …"),
            Column("legend", TEXT, "name of the legend"),
            Column("block", TEXT, "spatial block of the split"),
            Column("class_ids", INTS, "ids of the legend"),
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
        _PREDICTIONS,
    ),
    "refined": TableSpec(
        "the map of one tile's core after refine; columns as those of predictions",
        "refine",
        _PREDICTIONS,
    ),
    "probabilities": TableSpec(
        "the probability of one class in one square",
        "predict (multilabel)",
        (
            _TILE,
            _PERIOD,
            _MODEL,
            *_GRID,  # of the square that was classified as one
            *_CLASS,
            Column("probability", DOUBLE, "that the class is there", "0–1"),
        ),
    ),
    "boxes": TableSpec(
        "a box on a tile",
        "predict (detect)",
        (
            _TILE,
            _PERIOD,
            _MODEL,
            *_CLASS,
            Column("score", DOUBLE, "how sure the model is", "0–1"),
            *(
                Column(name, DOUBLE, "edge of the box, counted over the whole tiling", "pixels")
                for name in ("left", "top", "right", "bottom")
            ),
        ),
    ),
    "detections": TableSpec(
        "a detected object, once, with its outline on the ground",
        "rasters (detect), predict --input",
        (
            Column("item", TEXT, "the image file's path under its folder; null: of tiles"),
            Column("tile_id", TEXT, "of the tile that holds the centre"),
            Column("n", INT, "from 0 within the item or tile"),
            _PERIOD,
            _MODEL,
            *_CLASS,
            Column("score", DOUBLE, "how sure the model is", "0–1"),
            Column("geometry", BYTES, "outline of the object, in the CRS of the next column"),
            Column("crs", TEXT, "EPSG:4326; empty: in pixels of an image without georeference"),
        ),
    ),
    "embeddings": TableSpec(
        "a vector of a tile, of a pixel of it, or of a sample",
        "embed",
        (
            Column("tile_id", TEXT, "null: of a sample without a tile"),
            _PERIOD,
            Column("row", INT, "of the pixel in the tile's core; null: of all of it, as the next"),
            Column("col", INT, "as row"),
            Column("sample_id", TEXT, "null: of a tile, as the next three"),
            Column("split", TEXT, "train, validation or test"),
            Column("class_id", INT, "of a sample with one class; else null, as the next"),
            Column("class_name", TEXT, "name in the legend"),
            Column("model", TEXT, "<name>/<version>; bands: the values of embedding bands"),
            Column("valid_share", DOUBLE, "of the pixels that the vector is of", "0–1"),
            Column(
                "geometry",
                BYTES,
                "outline or point, EPSG:4326; null: an image without georeference",
            ),
            Column("embedding", FLOATS, "as long in every row"),
        ),
    ),
    "detection_counts": TableSpec(
        "detections of one class in one region: count, per km², mean score",
        "stats (detect)",
        (
            *_REGION,
            _PERIOD,
            _MODEL,
            *_CLASS,
            Column("detections", LONG, "whose centre lies in the region"),
            Column("detections_per_km2", DOUBLE, "of the region's whole area", "1/km²"),
            Column("mean_score", DOUBLE, "of these detections", "0–1"),
        ),
    ),
    "presence": TableSpec(
        "the ground of one region in squares where one class is more likely than not",
        "stats (multilabel)",
        (
            *_REGION,
            _PERIOD,
            _MODEL,
            *_CLASS,
            Column(
                "observed_share", DOUBLE, "of the region's area, in squares that were mapped", "0–1"
            ),
            Column(
                "present_m2", DOUBLE, "in squares where the class is more likely than not", "m²"
            ),
            Column(
                "share",
                DOUBLE,
                "present_m2 of the mapped area; those of all classes may add up to more than 1",
                "0–1",
            ),
            Column("mean_probability", DOUBLE, "over the mapped area", "0–1"),
        ),
    ),
    "regions": TableSpec(
        "a region",
        "stats",
        (
            *_REGION,
            Column("geometry", BYTES, "outline of the region, EPSG:4326"),
            Column("area_m2", DOUBLE, "true area on the ellipsoid", "m²"),
        ),
    ),
    "class_areas": TableSpec(
        "pixels, m², share and confidence of one class in one region and period",
        "stats",
        _CLASS_AREAS,
    ),
    "raw_class_areas": TableSpec(
        "as class_areas, of the predictions, or maps made elsewhere, before refine",
        "stats (refine)",
        _CLASS_AREAS,
    ),
    "cell_areas": TableSpec(
        "pixels, m² and confidence of one class in one cell of a grid and period",
        "stats (stats.grid)",
        (
            Column(
                "cell_id",
                TEXT,
                "6933-<side>/<col>_<row>: a square of EPSG:6933 with x from col × side and y down "
                "from -row × side; or the id of H3",
            ),
            _PERIOD,
            _MODEL,
            Column("class_id", INT, "null: ground of the map that has no class"),
            Column("class_name", TEXT, "name in the legend; unobserved"),
            Column("pixels", DOUBLE, "fractions of pixels on the border counted", "pixels"),
            Column("area_m2", DOUBLE, "true area on the ellipsoid", "m²"),
            *_CONFIDENCE,
        ),
    ),
    "polygons": TableSpec(
        "a patch of a map: pixels of one class that touch by a side",
        "polygons (rasters.polygons)",
        (
            _PERIOD,
            *_CLASS,
            Column("pixels", LONG, "of the map", "pixels"),
            Column("area_m2", DOUBLE, "true area on the ellipsoid", "m²"),
            Column(
                "mean_confidence",
                DOUBLE,
                "over the polygon's area; null where the map has no confidence",
                "0–1",
            ),
            Column(
                "geometry",
                BYTES,
                "outline along the sides of pixels, in the map's CRS, which the file names",
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
            Column("period_from", TEXT, "name of the earlier period"),
            Column("period_to", TEXT, "name of the later period"),
            Column("from_id", INT, "class in the earlier period"),
            Column("from_class", TEXT, "its name"),
            Column("to_id", INT, "class in the later period"),
            Column("to_class", TEXT, "its name"),
            Column("pixels", DOUBLE, "of the first period's grid", "pixels"),
            Column("area_m2", DOUBLE, "true area on the ellipsoid", "m²"),
            Column("share", DOUBLE, "of the area that has a class in both periods", "0–1"),
        ),
    ),
    "landscape": TableSpec(
        "the patches of one class in one region and period: count, size, edges",
        "stats (stats.landscape)",
        (
            *_REGION,
            _PERIOD,
            *_CLASS,
            Column(
                "patches", LONG, "of pixels that touch by a side or a corner, within the region"
            ),
            Column("mean_patch_m2", DOUBLE, "mean area of a patch", "m²"),
            Column("largest_patch_m2", DOUBLE, "area of the largest patch", "m²"),
            Column("edge_m", DOUBLE, "sides shared with pixels of other classes", "m"),
            Column("edge_m_per_ha", DOUBLE, "of the region's mapped area", "m/ha"),
        ),
    ),
    "accuracy": TableSpec(
        "the scores of one class, or of all together",
        "evaluate",
        (
            _PERIOD,
            _MODEL,
            Column("split", TEXT, "whose samples are the reference: test"),
            Column("class_id", INT, "null: all classes together"),
            Column("class_name", TEXT, "name in the legend; null: all classes together"),
            Column("pixels", LONG, "labelled ones of the class", "pixels"),
            Column("users_accuracy", DOUBLE, "share of what is mapped so that is so", "0–1"),
            Column("producers_accuracy", DOUBLE, "share of what is so that is mapped so", "0–1"),
            Column("f1", DOUBLE, "harmonic mean of the two accuracies", "0–1"),
            Column("iou", DOUBLE, "intersection over union of labels and map", "0–1"),
            Column("overall_accuracy", DOUBLE, "on the all-classes row alone", "0–1"),
        ),
    ),
    "confusion": TableSpec(
        "the pixels of one pair of label and map class",
        "evaluate",
        (
            _PERIOD,
            _MODEL,
            Column("split", TEXT, "whose samples are the reference: test"),
            Column("label_id", INT, "class of the label"),
            Column("map_id", INT, "class of the map; 255: it has no class there"),
            Column("pixels", LONG, "with this label and class", "pixels"),
        ),
    ),
    "estimates": TableSpec(
        "an accuracy or area with its standard error and interval",
        "evaluate --reference",
        (
            _SAMPLED,
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
            Column("low_95", DOUBLE, "lower end of the 95 % interval"),
            Column("high_95", DOUBLE, "upper end of the 95 % interval"),
            Column("points", LONG, "interpreted points that contribute to it"),
        ),
    ),
    "error_matrix": TableSpec(
        "a cell of the error matrix in shares of area",
        "evaluate --reference",
        (
            _SAMPLED,
            Column("map_id", INT, "class of the map; 255: it has no class there"),
            Column("reference_id", INT, "class that a person gave"),
            Column("area_share", DOUBLE, "of all that was sampled", "0–1"),
            Column("points", LONG, "interpreted points of the two classes"),
        ),
    ),
    "trials": TableSpec(
        "a training with other settings, or on one fold, and its score",
        "tune",
        (
            Column("settings", TEXT, "as given to --set"),
            Column("fold", INT, "the fold held out; null: scored on the validation split"),
            Column("metric", TEXT, "what the score is"),
            Column("score", DOUBLE, "null where the trial failed"),
            Column("metrics", pa.map_(TEXT, DOUBLE), "every metric of the best epoch"),
            Column("best_epoch", INT, "from 1"),
            Column("seconds", DOUBLE, "that it took", "s"),
            Column("error", TEXT, "why it failed; null where it did not"),
        ),
    ),
    "suspects": TableSpec(
        "a label held against what a model says that did not learn it: an image's, or those of "
        "one class in one window; the most doubtful first",
        "review",
        (
            Column("sample_id", TEXT, "of the samples table"),
            Column("dataset", TEXT, "the archive that it is of, or the run whose labels it has"),
            _TILE,
            _PERIOD,
            Column("fold", INT, "the fold that held it out"),
            Column("label_id", INT, "class of the label"),
            Column("label", TEXT, "name of the class"),
            Column("answer_id", INT, "the class that is likeliest, over all of these labels"),
            Column("answer", TEXT, "name of the class"),
            Column("labels", LONG, "how many labels it is of: pixels, or an image"),
            Column("probability", DOUBLE, "of the label, the mean over these labels", "0–1"),
            Column("margin", DOUBLE, "less the probability of the likeliest other class", "-1–1"),
            Column(
                "score",
                DOUBLE,
                "the lower the more doubtful: the probability over the mean that labels of this "
                "class have, 1 from there on",
                "0–1",
            ),
            Column("doubted", pa.bool_(), "whether the model is confident of another class"),
            Column("longitude", DOUBLE, "of the middle; null without a place", "degrees"),
            Column("latitude", DOUBLE, "of the middle; null without a place", "degrees"),
            Column("footprint", BYTES, "outline, EPSG:4326; null without a place"),
        ),
    ),
    "ledger": TableSpec(
        "what was done with one key of one stage: fingerprint, seconds, checksum, status, error",
        "every stage",
        (
            Column("stage", TEXT, "which stage"),
            Column("key", TEXT, "the unit of work, such as a block; (stage): all of it"),
            Column("fingerprint", TEXT, "of all that the output depends on"),
            Column("attempt", INT, "of Spark at the task, from 0"),
            Column("seconds", DOUBLE, "that the unit took", "s"),
            Column("valid_pixels", LONG, "none where the checksum is not known", "pixels"),
            Column(
                "checksum",
                TEXT,
                "sha256 of the published file; none where it was taken up after a kill",
            ),
            Column("status", TEXT, "done, empty, bad, dropped"),
            Column("error", TEXT, "what is wrong with a bad unit or input; else null"),
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
        _MODEL,
        *_CLASS,
        Column("confidence", DOUBLE, "probability of the class", "0–1"),
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
CELL_AREAS = ALL["cell_areas"]
POLYGONS = ALL["polygons"]
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


_ADDED = (
    *(
        column.field
        for table in TABLES.values()
        for column in table.columns
        if column.name == "units"
    ),
    _SAMPLED.field,
    _MEAN_ENTROPY.field,
    *(column.field for column in (*_SPREAD, *_ENTROPY, *_UNCERTAINTY)),
)
"""Columns that tables of earlier releases lack; read as null."""


def _is_added(field: pa.Field) -> bool:
    # By name and meaning: tables have other columns of the same name.
    return any(field.equals(added, check_metadata=True) for added in _ADDED)


def describe(field: pa.Field) -> str:
    """Return meaning and unit of a table's column in one text."""
    metadata = field.metadata or {}
    note, unit = (str(metadata.get(name, b""), "utf-8") for name in (b"description", b"unit"))
    return f"{note} ({unit})" if unit else note


def _of_any_length(kind: pa.DataType) -> pa.DataType:
    # Lists of one length are lists: how long they are is not the table's matter.
    return pa.list_(kind.value_type) if pa.types.is_fixed_size_list(kind) else kind


def check_schema(schema: pa.Schema, expected: pa.Schema, location: str) -> None:
    """Check that a schema has every expected column with its type; added ones may be missing.

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
        if types.get(field.name) != field.type and (field.name in types or not _is_added(field))
    ]
    if differences:
        lines = "\n".join(differences)
        raise InputError(
            f"{location} does not hold the columns it should; "
            f"rebuild it with the stage that makes it:\n{lines}"
        )
