"""Tables of scenes, chips, samples and what models say of them."""

from __future__ import annotations

import pyarrow as pa

from lulc.tables.columns import (
    BYTES,
    CHIP,
    CLASS,
    CLEAR,
    DOUBLE,
    DOUBLES,
    FLOATS,
    GRID,
    INT,
    INTS,
    LONGS,
    MODEL,
    PERIOD,
    PREDICTION,
    TEXT,
    TEXTS,
    TILE,
    TIME,
    Column,
    TableSpec,
    columns_of_array,
)

PIXEL_TABLES = {
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
            Column("clear", pa.list_(CLEAR), "tests of quality bands; a valid pixel passes all"),
            Column("properties", pa.map_(TEXT, TEXT), "angles of the sun, orbit, tile, …"),
            Column("gsd_m", DOUBLE, "side of a pixel of the finest band", "m"),
            Column("fingerprint", TEXT, "of the item and its files' size and change time"),
        ),
    ),
    "chips": TableSpec(
        "the pixels of one tile and period: T dates, bands, H × W, and which are valid",
        "tile",
        (*CHIP,),
    ),
    "samples": TableSpec(
        "a window of a chip, or a published example, with its label; a folder a split",
        "samples",
        (
            Column("sample_id", TEXT, "unique in the table"),
            *CHIP,
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
            *columns_of_array(
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
        PREDICTION,
    ),
    "refined": TableSpec(
        "the map of one tile's core after refine; columns as those of predictions",
        "refine",
        PREDICTION,
    ),
    "probabilities": TableSpec(
        "the probability of one class in one square",
        "predict (multilabel)",
        (
            TILE,
            PERIOD,
            MODEL,
            *GRID,  # of the square that was classified as one
            *CLASS,
            Column("probability", DOUBLE, "that the class is there", "0–1"),
        ),
    ),
    "boxes": TableSpec(
        "a box on a tile",
        "predict (detect)",
        (
            TILE,
            PERIOD,
            MODEL,
            *CLASS,
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
            PERIOD,
            MODEL,
            *CLASS,
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
            PERIOD,
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
}
ITEM_TABLE = TableSpec(
    "the class of one image file of a folder, kept as table `predictions`",
    "predict --input",
    (
        Column("item", TEXT, "the image file's path under its folder"),
        MODEL,
        *CLASS,
        Column("confidence", DOUBLE, "probability of the class", "0–1"),
    ),
)
