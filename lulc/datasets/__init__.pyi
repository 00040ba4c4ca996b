from .dataset import DENSE, Dataset, Description, Example, ExampleItem
from .registry import (
    DATASETS,
    band_encoding,
    complete_from_datasets,
    crosswalk,
    describe_dataset,
    find_dataset,
    options_of,
)

__all__ = [
    "DATASETS",
    "DENSE",
    "Dataset",
    "Description",
    "Example",
    "ExampleItem",
    "band_encoding",
    "complete_from_datasets",
    "crosswalk",
    "describe_dataset",
    "find_dataset",
    "options_of",
]
