"""The tables between stages by name, and the check of files against them.

`docs/tables.md` is made of this module.
"""

from __future__ import annotations

import pyarrow as pa

from lulc.errors import InputError
from lulc.tables.columns import ENTROPY, MEAN_ENTROPY, SAMPLED, SPREAD, UNCERTAINTY
from lulc.tables.pixel_tables import ITEM_TABLE, PIXEL_TABLES
from lulc.tables.result_tables import RESULT_TABLES

TABLES = PIXEL_TABLES | RESULT_TABLES
"""Name → what a row is, who makes it, and its columns."""

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
ITEM_CLASSES = ITEM_TABLE.schema


_ADDED = (
    *(
        column.field
        for table in TABLES.values()
        for column in table.columns
        if column.name == "units"
    ),
    SAMPLED.field,
    MEAN_ENTROPY.field,
    *(column.field for column in (*SPREAD, *ENTROPY, *UNCERTAINTY)),
)
"""Columns that tables of earlier releases lack; read as null."""


def _is_added(field: pa.Field) -> bool:
    # By name and meaning: tables have other columns of the same name.
    return any(field.equals(added, check_metadata=True) for added in _ADDED)


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
