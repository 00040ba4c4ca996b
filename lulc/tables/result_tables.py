"""Tables of areas, accuracies and trials, and the ledger of all stages."""

from __future__ import annotations

import pyarrow as pa

from lulc.tables.columns import (
    BYTES,
    CLASS,
    CLASS_AREA,
    CONFIDENCE,
    DOUBLE,
    INT,
    LONG,
    MODEL,
    PERIOD,
    REGION,
    SAMPLED,
    TEXT,
    TILE,
    TIME,
    Column,
    TableSpec,
)

RESULT_TABLES = {
    "detection_counts": TableSpec(
        "detections of one class in one region: count, per km², mean score",
        "stats (detect)",
        (
            *REGION,
            PERIOD,
            MODEL,
            *CLASS,
            Column("detections", LONG, "whose centre lies in the region"),
            Column("detections_per_km2", DOUBLE, "of the region's whole area", "1/km²"),
            Column("mean_score", DOUBLE, "of these detections", "0–1"),
        ),
    ),
    "presence": TableSpec(
        "the ground of one region in squares where one class is more likely than not",
        "stats (multilabel)",
        (
            *REGION,
            PERIOD,
            MODEL,
            *CLASS,
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
            *REGION,
            Column("geometry", BYTES, "outline of the region, EPSG:4326"),
            Column("area_m2", DOUBLE, "true area on the ellipsoid", "m²"),
        ),
    ),
    "class_areas": TableSpec(
        "pixels, m², share and confidence of one class in one region and period",
        "stats",
        CLASS_AREA,
    ),
    "raw_class_areas": TableSpec(
        "as class_areas, of the predictions, or maps made elsewhere, before refine",
        "stats (refine)",
        CLASS_AREA,
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
            PERIOD,
            MODEL,
            Column("class_id", INT, "null: ground of the map that has no class"),
            Column("class_name", TEXT, "name in the legend; unobserved"),
            Column("pixels", DOUBLE, "fractions of pixels on the border counted", "pixels"),
            Column("area_m2", DOUBLE, "true area on the ellipsoid", "m²"),
            *CONFIDENCE,
        ),
    ),
    "polygons": TableSpec(
        "a patch of a map: pixels of one class that touch by a side",
        "polygons (rasters.polygons)",
        (
            PERIOD,
            *CLASS,
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
            *REGION,
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
            *REGION,
            PERIOD,
            *CLASS,
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
            PERIOD,
            MODEL,
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
            PERIOD,
            MODEL,
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
            SAMPLED,
            Column("region_id", TEXT, "null: all that was sampled"),
            Column(
                "measure",
                TEXT,
                "overall_, users_, producers_accuracy; area_share (of what was sampled of the "
                "region), area_m2",
            ),
            *CLASS,
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
            SAMPLED,
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
            TILE,
            PERIOD,
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
