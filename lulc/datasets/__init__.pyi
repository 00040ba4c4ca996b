from .dataset import DENSE, Dataset, Description, Example, ExampleItem, Note
from .listing import Listing, list_items
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
    "Listing",
    "Note",
    "band_encoding",
    "complete_from_datasets",
    "crosswalk",
    "describe_dataset",
    "find_dataset",
    "list_items",
    "options_of",
]
