from .dataset_splits import OUTLINES, drop_leaks, item_weights, read_outlines, split_items
from .from_chips import (
    LABEL_SCAN,
    SampleSpec,
    chip_encoding,
    cut_samples,
    scan_labels,
    window_key,
    write_samples,
)
from .from_datasets import (
    DatasetSpec,
    cut_example,
    file_keys,
    origin_names,
    read_example,
    write_examples,
)
from .labels import read_labels, read_labels_counting
from .leakage import AuditedSample, audit, audit_ground, extent_of
from .plan import plan_windows
from .sample import Sample, read_samples
from .splits import (
    SPLITS,
    Fence,
    SplitCell,
    assign,
    balance_weights,
    find_fences,
    pixel_metres,
    split_cell,
    split_shares,
)
from .table import SampleRow, file_key, file_path, sample_id
from .windows import audit_windows, choose_windows, count_labels, write_planned

__all__ = [
    "LABEL_SCAN",
    "OUTLINES",
    "SPLITS",
    "AuditedSample",
    "DatasetSpec",
    "Fence",
    "Sample",
    "SampleRow",
    "SampleSpec",
    "SplitCell",
    "assign",
    "audit",
    "audit_ground",
    "audit_windows",
    "balance_weights",
    "chip_encoding",
    "choose_windows",
    "count_labels",
    "cut_example",
    "cut_samples",
    "drop_leaks",
    "extent_of",
    "file_key",
    "file_keys",
    "file_path",
    "find_fences",
    "item_weights",
    "origin_names",
    "pixel_metres",
    "plan_windows",
    "read_example",
    "read_labels",
    "read_labels_counting",
    "read_outlines",
    "read_samples",
    "sample_id",
    "scan_labels",
    "split_cell",
    "split_items",
    "split_shares",
    "window_key",
    "write_examples",
    "write_planned",
    "write_samples",
]
