"""The items of a run's dataset: listed, each under a name of its own, and what is told of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lulc.config import DatasetConf
from lulc.datasets import registry
from lulc.datasets.dataset import ExampleItem, Note, Options
from lulc.datasets.files import split_of
from lulc.errors import InputError
from lulc.guard import read_guard
from lulc.location import Location, StorePath, parse_location
from lulc.sources.archives import find_packed, unpack_hint
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables.files import file_identity, fingerprint_of, identities_below

_LIST_SUFFIXES = (".csv", ".txt", ".tsv", ".json", ".parquet", ".pkl", ".npy", ".gz", ".bz2")


@dataclass(frozen=True)
class Listing:
    """The items of a dataset, each with a name of its own."""

    items: tuple[ExampleItem, ...]
    """Those that may be read, in order of name."""
    bad: tuple[ExampleItem, ...]
    """Those with an error, in order of name."""
    notes: tuple[str, ...]
    """What the user is told."""


def list_items(dataset: DatasetConf, codes: Mapping[int, int] | None = None) -> Listing:
    """List a dataset.

    Args:
        dataset: from the run file.
        codes: ids of the dataset's classes that the run uses; items known to hold none of them are
            left out.

    Raises:
        InputError: there is no item that may be read, or two of one split have one name.
    """
    root, options = parse_location(dataset.root), registry.options_of(dataset)
    with read_guard(f"dataset {dataset.name} in {root}", "correct datasets.root"):
        is_folder = root.is_dir()
    if not is_folder:
        raise InputError(
            f"dataset {dataset.name}: {dataset.root} is not a folder: "
            f"datasets.root is the one that its archive was unpacked in{unpack_hint(root)}"
        )
    entries = _list_entries(dataset, root, options)
    notes = [entry.text for entry in entries if isinstance(entry, Note)]
    items = [entry for entry in entries if isinstance(entry, ExampleItem)]
    bad = [item for item in items if item.error]
    if len(bad) == len(items):
        chosen = ", ".join(f"{option} {value}" for option, value in options.items() if value)
        reasons = "".join(f"\n  {reason}" for reason in [*(item.error for item in bad), *notes][:5])
        raise InputError(
            f"dataset {dataset.name}: nothing in {dataset.root} can be read as its publisher "
            f"names it ({chosen or 'no options'}){unpack_hint(root)}{reasons}"
        )
    if all(item.split == "train" for item in items if not item.error):
        # What was held back was not fetched: nothing is split.
        items = [replace(item, split="") for item in items]
    items, renamed = _name_apart(dataset, items)
    notes += [renamed] if renamed else []
    notes += _unread_lists(dataset, root, items)
    notes += _unsplit(dataset, items)
    if packed := find_packed(root):
        notes.append(f"{', '.join(packed[:5])} may be packed still")
    if bad:
        notes.append(f"{len(bad):,} items cannot be listed, such as {bad[0].error}")
    if codes is not None:
        items = [i for i in items if not i.classes or any(c in codes for c in i.classes)]
    return Listing(
        tuple(item for item in items if not item.error),
        tuple(item for item in items if item.error),
        tuple(f"{dataset.name}: {note}" for note in notes),
    )


def items_fingerprint(dataset: DatasetConf, items: Iterable[ExampleItem]) -> str:
    """Return what changes when an item, its split or one of its files (size, time) does.

    Args:
        dataset: from the run file.
        items: of the dataset.
    """
    root = parse_location(dataset.root)
    if isinstance(root, StorePath):
        # One listing, not a request a file.
        items_alone = [vars(item) for item in items]
        return fingerprint_of(
            OUTPUT_VERSIONS["samples"],
            registry.options_of(dataset),
            items_alone,
            identities_below(root),
        )

    def identify(file: str) -> list[object]:
        try:
            return file_identity(root / file)
        except OSError:
            return [file]

    identities = [[vars(item), [identify(file) for file in item.files]] for item in items]
    return fingerprint_of(OUTPUT_VERSIONS["samples"], registry.options_of(dataset), identities)


def _list_entries(
    dataset: DatasetConf, root: Location, options: Options
) -> list[ExampleItem | Note]:
    try:
        with read_guard(f"dataset {dataset.name} in {root}"):
            return list(registry.find_dataset(dataset.name).items(root, options))
    except InputError as error:
        raise InputError(f"{error}{unpack_hint(root)}") from error


def _unsplit(dataset: DatasetConf, items: Sequence[ExampleItem]) -> list[str]:
    """Return what is told of items that are in none of the publisher's splits."""
    unsplit = [item for item in items if not item.split and not item.error]
    if dataset.splits != "published" or not unsplit or not any(item.split for item in items):
        return []
    return [
        f"{len(unsplit):,} items are in no split as published and are left out, such as "
        f"{unsplit[0].files[0]}; `splits: blocks` uses all"
    ]


def _unread_lists(dataset: DatasetConf, root: Location, items: Sequence[ExampleItem]) -> list[str]:
    """Return what is told of files that look like lists of a split where nothing is split."""
    if any(item.split for item in items):
        return []
    names = [
        f"{folder}{file.name}"
        for folder in ("", "splits/", "split/")
        if (root / folder).is_dir()
        for file in _list_folder(root / folder)
        if file.name.lower().endswith(_LIST_SUFFIXES) and split_of(file.name.split(".")[0])
    ]
    unread = [name for name in names if name not in dataset.options.values()]
    if not unread:
        return []
    return [
        f"{', '.join(unread[:5])} {'looks like a list' if len(unread) == 1 else 'look like lists'} "
        "of a split and is not read, so that nothing is split as published: name lists as the "
        "publisher does"
    ]


def _name_apart(
    dataset: DatasetConf, items: Sequence[ExampleItem]
) -> tuple[list[ExampleItem], str]:
    """Return the items in order of name, those of one name with their split, and what is told."""
    items_of = defaultdict(list)
    for item in items:
        items_of[item.name].append(item)
    distinct, repeated = [], []
    for name, alike in items_of.items():
        if len(alike) == 1:
            distinct += alike
        elif len({item.split for item in alike}) == len(alike) and all(i.split for i in alike):
            distinct += [replace(item, name=f"{item.split}/{name}") for item in alike]
            repeated.append(name)
        else:
            raise InputError(
                f"dataset {dataset.name}: two items are named {name} "
                f"({alike[0].files[0]}, {alike[1].files[0]}): remove one"
            )
    note = (
        f"{len(repeated):,} names are in several splits and carry theirs, such as "
        f"{items_of[repeated[0]][0].split}/{repeated[0]}"
        if repeated
        else ""
    )
    return sorted(distinct, key=lambda item: item.name), note


def _list_folder(folder: Location) -> list[Location]:
    return sorted(folder.iterdir(), key=str)
