"""The Parquet schemas between stages, each declared once, and the check that a table keeps its own."""

from __future__ import annotations

import pyarrow as pa

from lulc.errors import InputError

_TIME = pa.timestamp("us", tz="UTC")
_TEXTS, _DOUBLES, _INTS = pa.list_(pa.string()), pa.list_(pa.float64()), pa.list_(pa.int32())


def _array(name: str) -> list[pa.Field]:
    # ARRAY: C order, little endian; codec `raw` or `delta` (differences along the last axis).
    return [
        pa.field(name, pa.binary()),
        pa.field(f"{name}_shape", _INTS),
        pa.field(f"{name}_dtype", pa.string()),
        pa.field(f"{name}_codec", pa.string()),
    ]


_CLEAR = pa.struct(
    [
        pa.field("band", pa.string()),
        pa.field("codes", pa.list_(pa.int64())),
        pa.field("refused", pa.bool_()),  # the codes are those of pixels that are not usable
        pa.field("first_bit", pa.int32()),
        pa.field("bits", pa.int32()),  # how many bits of the value count; 0: all
    ]
)

_GRID = [
    pa.field("crs", pa.string()),
    pa.field("transform", _DOUBLES),
    pa.field("height", pa.int32()),
    pa.field("width", pa.int32()),
    pa.field("footprint", pa.binary()),  # WKB, EPSG:4326
    *(
        pa.field(n, pa.float64()) for n in ("xmin", "ymin", "xmax", "ymax")
    ),  # of the footprint, degrees
]

_CHIP = [
    pa.field("tile_id", pa.string()),
    pa.field("period", pa.string()),
    pa.field("source", pa.string()),
    pa.field("scene_ids", _TEXTS),  # every scene that gave pixels
    pa.field("datetimes", pa.list_(_TIME)),  # one a date (T), in time order
    *_GRID,
    pa.field(
        "halo", pa.int32()
    ),  # pixels of margin around the tile's core, included in GRID and pixels
    pa.field("bands", _TEXTS),
    pa.field("scales", _DOUBLES),  # physical value = DN * scale + offset, one a band
    pa.field("offsets", _DOUBLES),
    *_array("pixels"),  # (T, C, H, W); 0 where not valid
    pa.field("valid", pa.binary()),  # numpy.packbits of bool (T, H, W)
    pa.field("clear", pa.float64()),  # share of the core's pixels valid on one date or more
]

SCENES = pa.schema(
    [
        pa.field("scene_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("datetime", _TIME),  # null: a layer without a date, which belongs to every period
        pa.field("crs", pa.string()),
        pa.field("footprint", pa.binary()),  # WKB, EPSG:4326
        pa.field("cloud", pa.float64()),  # percent, null where unknown
        pa.field("bands", _TEXTS),  # band names; the lists below are parallel to it
        pa.field("hrefs", _TEXTS),
        pa.field("indexes", _INTS),  # band number in the file, from 1
        pa.field("dtypes", _TEXTS),
        pa.field("scales", _DOUBLES),
        pa.field("offsets", _DOUBLES),
        pa.field("nodatas", _DOUBLES),  # null: none
        pa.field("kinds", _TEXTS),  # continuous, class or quality
        pa.field(
            "calibrations", _TEXTS
        ),  # of radar bands: sigma0 or gamma0, made as they are read; else empty
        pa.field(
            "clear", pa.list_(_CLEAR)
        ),  # what the quality bands must say of a pixel for it to be usable, all of it
        pa.field(
            "properties", pa.map_(pa.string(), pa.string())
        ),  # angles of the sun, orbit, tile, …
        pa.field("gsd_m", pa.float64()),
        pa.field("fingerprint", pa.string()),  # of the item and its files' size and change time
    ]
)
CHIPS = pa.schema(_CHIP)
SAMPLES = pa.schema(
    [
        pa.field("sample_id", pa.string()),
        *_CHIP,
        pa.field("dataset", pa.string()),
        pa.field("task", pa.string()),
        pa.field("legend", pa.string()),
        pa.field("block", pa.string()),  # spatial block of the split
        pa.field("class_ids", _INTS),
        pa.field(
            "class_counts", pa.list_(pa.int64())
        ),  # labelled pixels a class; images or boxes where the label is no raster
        pa.field("weight", pa.float64()),  # of its dataset beside the others
        # classify: () int64 id; multilabel: (K,) uint8; segment, change, series: (H, W) uint8 legend ids, 255 where there is no
        # label; detect: (N, 5) float32 id, left, top, right, bottom in pixels.
        *_array("label"),
    ]
)
PREDICTIONS = pa.schema(
    [
        pa.field("tile_id", pa.string()),
        pa.field("period", pa.string()),
        pa.field("model", pa.string()),  # <name>/<version>
        pa.field("scene_ids", _TEXTS),
        *_GRID,  # of the core
        pa.field("legend", pa.string()),
        *_array("classes"),  # (H, W) uint8 legend ids, 255 nodata
        *_array("confidence"),  # (H, W) uint8, percent, 255 nodata
        *_array("probabilities"),  # (K, H, W) uint8, percent, 255 nodata; null unless asked for
        pa.field("class_ids", _INTS),
        pa.field("class_counts", pa.list_(pa.int64())),  # pixels a class, parallel to class_ids
        *_array("percent_counts"),  # (K, 101) uint32: of them, those of each per cent of confidence
        pa.field("nodata_count", pa.int64()),
    ]
)
PROBABILITIES = pa.schema(
    [
        pa.field("tile_id", pa.string()),
        pa.field("period", pa.string()),
        pa.field("model", pa.string()),
        *_GRID,  # of the square that was classified as one
        pa.field("class_id", pa.int32()),
        pa.field("class_name", pa.string()),
        pa.field("probability", pa.float64()),
    ]
)
BOXES = pa.schema(
    [
        pa.field("tile_id", pa.string()),
        pa.field("period", pa.string()),
        pa.field("model", pa.string()),
        pa.field("class_id", pa.int32()),
        pa.field("class_name", pa.string()),
        pa.field("score", pa.float64()),
        *(
            pa.field(n, pa.float64()) for n in ("left", "top", "right", "bottom")
        ),  # in pixels of the whole tiling
    ]
)
DETECTIONS = pa.schema(
    [
        pa.field(
            "item", pa.string()
        ),  # the image file's path under its folder; null: found on tiles
        pa.field("tile_id", pa.string()),  # of the tile that holds the centre
        pa.field("n", pa.int32()),  # counted from 0 within the item or tile
        pa.field("period", pa.string()),
        pa.field("model", pa.string()),
        pa.field("class_id", pa.int32()),
        pa.field("class_name", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("geometry", pa.binary()),  # WKB
        pa.field(
            "crs", pa.string()
        ),  # EPSG:4326; empty: in pixels of an image that has no place on the ground
    ]
)
ITEM_CLASSES = pa.schema(
    [
        pa.field("item", pa.string()),  # the image file's path under its folder
        pa.field("model", pa.string()),
        pa.field("class_id", pa.int32()),
        pa.field("class_name", pa.string()),
        pa.field("confidence", pa.float64()),  # 0–1: the probability
    ]
)
DETECTION_COUNTS = pa.schema(
    [
        pa.field("region_id", pa.string()),
        pa.field("level", pa.string()),
        pa.field("name", pa.string()),
        pa.field("period", pa.string()),
        pa.field("model", pa.string()),
        pa.field("class_id", pa.int32()),
        pa.field("class_name", pa.string()),
        pa.field("detections", pa.int64()),  # whose centre lies in the region
        pa.field("detections_per_km2", pa.float64()),  # of the region's whole area
        pa.field("mean_score", pa.float64()),
    ]
)
PRESENCE = pa.schema(
    [
        pa.field("region_id", pa.string()),
        pa.field("level", pa.string()),
        pa.field("name", pa.string()),
        pa.field("period", pa.string()),
        pa.field("model", pa.string()),
        pa.field("class_id", pa.int32()),
        pa.field("class_name", pa.string()),
        pa.field(
            "observed_share", pa.float64()
        ),  # of the region's area: what lies in squares that were seen
        pa.field(
            "present_m2", pa.float64()
        ),  # what lies in squares where the class is likelier than not
        pa.field(
            "share", pa.float64()
        ),  # present_m2 of what was seen; those of all classes add up to more than 1
        pa.field("mean_probability", pa.float64()),  # over what was seen
    ]
)
REGIONS = pa.schema(
    [
        pa.field("region_id", pa.string()),
        pa.field("level", pa.string()),
        pa.field("name", pa.string()),
        pa.field("geometry", pa.binary()),  # WKB, EPSG:4326
        pa.field("area_m2", pa.float64()),  # true ellipsoidal area
    ]
)
CLASS_AREAS = pa.schema(
    [
        pa.field("region_id", pa.string()),
        pa.field("level", pa.string()),
        pa.field("name", pa.string()),
        pa.field("period", pa.string()),
        pa.field("model", pa.string()),
        pa.field("class_id", pa.int32()),  # null: the region's unobserved part
        pa.field("class_name", pa.string()),
        pa.field("pixels", pa.float64()),  # fractions of pixels on the border counted
        pa.field("area_m2", pa.float64()),
        pa.field("share", pa.float64()),  # of the observed area; null for the unobserved part
        pa.field("observed_share", pa.float64()),  # of the region's area
        pa.field(
            "mean_confidence", pa.float64()
        ),  # 0–1, over the class's area; null where the map does not tell, as the next
        pa.field(
            "confident_m2", pa.float64()
        ),  # of area_m2 what is mapped with a confidence of stats.confident or more
    ]
)
INTERSECTIONS = pa.schema(
    [
        pa.field("position", pa.int64()),  # of the region in the regions table
        pa.field(
            "runs", pa.binary()
        ),  # (N, 3) int32: row, first column, end column of the block's pixels covered alike
        pa.field("shares", pa.binary()),  # (N,) float64: how much of each of them
    ]
)
TRANSITIONS = pa.schema(
    [
        pa.field("region_id", pa.string()),
        pa.field("level", pa.string()),
        pa.field("name", pa.string()),
        pa.field("period_from", pa.string()),
        pa.field("period_to", pa.string()),
        pa.field("from_id", pa.int32()),
        pa.field("from_class", pa.string()),
        pa.field("to_id", pa.int32()),
        pa.field("to_class", pa.string()),
        pa.field("pixels", pa.float64()),  # of the first period's grid
        pa.field("area_m2", pa.float64()),
        pa.field("share", pa.float64()),  # of what has a class in both periods
    ]
)
LANDSCAPE = pa.schema(
    [
        pa.field("region_id", pa.string()),
        pa.field("level", pa.string()),
        pa.field("name", pa.string()),
        pa.field("period", pa.string()),
        pa.field("class_id", pa.int32()),
        pa.field("class_name", pa.string()),
        pa.field(
            "patches", pa.int64()
        ),  # of pixels that touch by a side or a corner, within the region
        pa.field("mean_patch_m2", pa.float64()),
        pa.field("largest_patch_m2", pa.float64()),
        pa.field("edge_m", pa.float64()),  # sides shared with pixels of other classes
        pa.field("edge_m_per_ha", pa.float64()),  # of the region's mapped area
    ]
)
ACCURACY = pa.schema(
    [
        pa.field("period", pa.string()),
        pa.field("model", pa.string()),
        pa.field("split", pa.string()),
        pa.field("class_id", pa.int32()),  # null: all classes together
        pa.field("class_name", pa.string()),
        pa.field("pixels", pa.int64()),  # labelled pixels of the class
        pa.field("users_accuracy", pa.float64()),
        pa.field("producers_accuracy", pa.float64()),
        pa.field("f1", pa.float64()),
        pa.field("iou", pa.float64()),
        pa.field("overall_accuracy", pa.float64()),  # on the all-classes row alone
    ]
)
CONFUSION = pa.schema(
    [
        pa.field("period", pa.string()),
        pa.field("model", pa.string()),
        pa.field("split", pa.string()),
        pa.field("label_id", pa.int32()),
        pa.field("map_id", pa.int32()),  # 255: the map has no class there
        pa.field("pixels", pa.int64()),
    ]
)
ESTIMATES = pa.schema(
    [
        pa.field("region_id", pa.string()),  # null: all that was sampled
        pa.field(
            "measure", pa.string()
        ),  # overall_, users_, producers_accuracy; area_share (of the region), area_m2
        pa.field("class_id", pa.int32()),
        pa.field("class_name", pa.string()),
        pa.field("estimate", pa.float64()),  # null where no point bears on it
        pa.field(
            "standard_error", pa.float64()
        ),  # null where one point or none does, as the next two
        pa.field("low_95", pa.float64()),
        pa.field("high_95", pa.float64()),
        pa.field("points", pa.int64()),  # interpreted points that bear on it
    ]
)
ERROR_MATRIX = pa.schema(
    [
        pa.field("map_id", pa.int32()),  # 255: the map has no class there
        pa.field("reference_id", pa.int32()),
        pa.field("area_share", pa.float64()),  # of all that was sampled
        pa.field("points", pa.int64()),
    ]
)
TRIALS = pa.schema(
    [
        pa.field("settings", pa.string()),  # laid over the run file, as given to --set
        pa.field("fold", pa.int32()),  # that was held back; null: scored on the validation split
        pa.field("metric", pa.string()),
        pa.field("score", pa.float64()),  # null where the trial failed
        pa.field("metrics", pa.map_(pa.string(), pa.float64())),
        pa.field("best_epoch", pa.int32()),
        pa.field("seconds", pa.float64()),
        pa.field("error", pa.string()),
    ]
)
LEDGER = pa.schema(
    [
        pa.field("stage", pa.string()),
        pa.field("key", pa.string()),
        pa.field("fingerprint", pa.string()),
        pa.field("attempt", pa.int32()),
        pa.field("seconds", pa.float64()),
        pa.field("valid_pixels", pa.int64()),
        pa.field("checksum", pa.string()),  # sha256 of the published file
        pa.field("status", pa.string()),  # done, empty, bad
        pa.field("error", pa.string()),
        pa.field("path", pa.string()),  # of the published file, relative to the output folder
        pa.field("finished", _TIME),
    ]
)

ALL = {
    "scenes": SCENES,
    "chips": CHIPS,
    "samples": SAMPLES,
    "predictions": PREDICTIONS,
    "probabilities": PROBABILITIES,
    "boxes": BOXES,
    "detections": DETECTIONS,
    "detection_counts": DETECTION_COUNTS,
    "presence": PRESENCE,
    "regions": REGIONS,
    "class_areas": CLASS_AREAS,
    "intersections": INTERSECTIONS,
    "transitions": TRANSITIONS,
    "landscape": LANDSCAPE,
    "accuracy": ACCURACY,
    "confusion": CONFUSION,
    "estimates": ESTIMATES,
    "error_matrix": ERROR_MATRIX,
    "trials": TRIALS,
    "ledger": LEDGER,
}


def check_schema(found: pa.Schema, expected: pa.Schema, where: str) -> None:
    """Nothing when the found schema has every expected column with its type; else InputError with the differences by column."""
    types = {f.name: f.type for f in found}
    wrong = [
        f"  {f.name}: expected {f.type}, found {types.get(f.name, 'no such column')}"
        for f in expected
        if types.get(f.name) != f.type
    ]
    if wrong:
        raise InputError(
            f"{where} does not hold the columns it should; rebuild it with the stage that makes it:\n"
            + "\n".join(wrong)
        )
