"""All published datasets by name, and their options, legend and bands under a run's settings."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Mapping, Sequence

from lulc.config import ClassConf, Config, DatasetConf
from lulc.datasets.dataset import Dataset, Description, Task
from lulc.datasets.readers.bigearthnet import BIGEARTHNET
from lulc.datasets.readers.dota import DOTA
from lulc.datasets.readers.dynamicworld import DYNAMICWORLD
from lulc.datasets.readers.eurosat import EUROSAT
from lulc.datasets.readers.images import IMAGES
from lulc.datasets.readers.levircd import LEVIRCD
from lulc.datasets.readers.multisenge import MULTISENGE
from lulc.datasets.readers.oscd import OSCD
from lulc.datasets.readers.pastis import PASTIS
from lulc.datasets.readers.seasonet import SEASONET
from lulc.datasets.readers.sen2lulc import SEN2LULC
from lulc.datasets.readers.sen12ms import SEN12MS
from lulc.datasets.readers.spacenet import SPACENET
from lulc.datasets.readers.ucmerced import UCMERCED
from lulc.datasets.readers.vhr10 import VHR10
from lulc.datasets.readers.xview2 import XVIEW2
from lulc.errors import UsageError
from lulc.legend import COMMON, Legend, name_key
from lulc.tables.encoding import Encoding

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        BIGEARTHNET,
        DOTA,
        DYNAMICWORLD,
        EUROSAT,
        LEVIRCD,
        MULTISENGE,
        OSCD,
        PASTIS,
        SEASONET,
        SEN12MS,
        SEN2LULC,
        SPACENET,
        UCMERCED,
        VHR10,
        XVIEW2,
        IMAGES,
    )
}


def find_dataset(name: str) -> Dataset:
    """Return the dataset of that name.

    Raises:
        UsageError: there is none; the message names the nearest one.
    """
    if name not in DATASETS:
        nearest = difflib.get_close_matches(name, DATASETS, 1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(DATASETS)}"
        raise UsageError(f"dataset {name!r} is not known; {hint}")
    return DATASETS[name]


_GONE = {
    ("multisenge", "order"): "bands are in the order of the authors' generator, by wavelength; "
    "leave it out",
}
"""Dataset and an option that it had → what to do about it."""


def options_of(settings: DatasetConf) -> dict[str, str]:
    """Return a value for every option of a dataset, the default where the run file has none.

    Raises:
        UsageError: the dataset or an option is not known, or its value is not accepted.
    """
    accepted = find_dataset(settings.name).options
    prefix = f"datasets.options of {settings.name}"
    for option, value in settings.options.items():
        if (settings.name, option) in _GONE:
            raise UsageError(f"{prefix}: {option} is none any more: {_GONE[settings.name, option]}")
        if option not in accepted:
            raise UsageError(f"{prefix}: {option!r} is not one of {', '.join(accepted) or 'none'}")
        if accepted[option] and value not in accepted[option]:
            raise UsageError(
                f"{prefix}: {option} {value!r} is not one of {', '.join(accepted[option])}"
            )
    return {
        option: settings.options.get(option, values[0] if values else "")
        for option, values in accepted.items()
    }


def describe_dataset(settings: DatasetConf) -> Description:
    """Return what all examples of a run's dataset share.

    Raises:
        UsageError: as of `find_dataset` and `options_of`.
    """
    description = find_dataset(settings.name).describe(options_of(settings))
    encoding = description.encoding
    if unknown := set(settings.units) - set(encoding.bands):
        raise UsageError(
            f"datasets.units of {settings.name} names {', '.join(sorted(unknown))}: it has "
            f"{', '.join(encoding.bands)}"
        )
    if not settings.units:
        return description
    units = tuple(settings.units.get(n, encoding.unit(i)) for i, n in enumerate(encoding.bands))
    encoding = dataclasses.replace(encoding, units=units)
    return dataclasses.replace(description, encoding=encoding)


def dataset_units(dataset: Dataset) -> str:
    """Return the units of a dataset's bands in all its forms, as `vv, vh: sigma0_db; …`."""
    bands_of: dict[str, dict[str, None]] = {}
    for values in itertools.product(*(choices or ("",) for choices in dataset.options.values())):
        try:
            encoding = dataset.describe(dict(zip(dataset.options, values, strict=True))).encoding
        except UsageError:  # options that do not go together
            continue
        for position, band in enumerate(encoding.bands):
            if unit := encoding.unit(position):
                bands_of.setdefault(unit, {})[band] = None
    lists = {unit: list(bands) for unit, bands in bands_of.items()}
    return "; ".join(
        f"{', '.join(bands) if len(bands) < 5 else f'{bands[0]} … {bands[-1]}'}: {unit}"
        for unit, bands in lists.items()
    )


def complete_from_datasets(config: Config) -> Config:
    """Return the run with task, legend and bands of its datasets where it has none.

    Args:
        config: of any run; one without datasets is returned as it is.

    Raises:
        UsageError: the datasets do not agree with each other or with the run.
    """
    if not config.datasets:
        return config
    descriptions = [describe_dataset(settings) for settings in config.datasets]
    _check_bands(config, descriptions)
    task = _shared_task(config, descriptions)
    bands = config.bands or _shared_bands(descriptions)
    legend = config.legend or _shared_legend(config, descriptions)
    return dataclasses.replace(config, task=task, bands=bands, legend=legend)


def _check_bands(config: Config, descriptions: Sequence[Description]) -> None:
    for settings, description in zip(config.datasets, descriptions, strict=True):
        bands = description.encoding.bands
        missing = [band for band in config.bands if band not in bands]
        if missing:
            raise UsageError(
                f"dataset {settings.name} has no band {', '.join(missing)}: it has "
                f"{', '.join(bands)}; see options"
            )


def _shared_task(config: Config, descriptions: Sequence[Description]) -> Task:
    tasks = {description.task for description in descriptions}
    if len(tasks) > 1 or (config.labels and tasks != {config.task or "segment"}):
        raise UsageError(
            f"datasets of tasks {', '.join(sorted(tasks))} cannot be learned as one: choose "
            "options of one task"
        )
    task = descriptions[0].task
    if config.task not in (None, task):
        raise UsageError(
            f"task {config.task}: dataset {config.datasets[0].name} is for {task}; leave `task` "
            "out, or see its options"
        )
    return task


def _shared_bands(descriptions: Sequence[Description]) -> tuple[str, ...]:
    return tuple(
        band
        for band in descriptions[0].encoding.bands
        if all(band in description.encoding.bands for description in descriptions)
    )


def _shared_legend(config: Config, descriptions: Sequence[Description]) -> dict[int, ClassConf]:
    classes = descriptions[0].legend.classes
    if any(description.legend.classes != classes for description in descriptions):
        raise UsageError(
            f"datasets {', '.join(settings.name for settings in config.datasets)} have different "
            "legends: set `legend: common`, or a legend with a crosswalk for each"
        )
    return {c.id: ClassConf(c.name, c.colour) for c in classes}


def crosswalk(settings: DatasetConf, description: Description, legend: Legend) -> Mapping[int, int]:
    """Return the map from a dataset's legend to a run's.

    Args:
        settings: of the dataset, whose `crosswalk` comes before any other map.
        description: of the dataset.
        legend: of the run.

    Returns:
        Id in the dataset's legend → id in `legend`, without those of `settings.ignore`.

    Raises:
        UsageError: a class has no counterpart, or one that `legend` lacks.
    """
    codes = dict(settings.crosswalk) or _default_crosswalk(description, legend)
    unmapped = [
        f"{c.id} {c.name}"
        for c in description.legend.classes
        if c.id not in codes and c.id not in settings.ignore
    ]
    if unmapped:
        raise UsageError(
            f"classes of {settings.name} without a counterpart in legend {legend.name!r}: "
            f"{', '.join(unmapped)}; add them to datasets.crosswalk or to datasets.ignore"
        )
    unknown = sorted(set(codes.values()) - set(legend.ids))
    if unknown:
        raise UsageError(
            f"datasets.crosswalk of {settings.name} leads to ids {unknown} that the legend lacks: "
            f"{list(legend.ids)}"
        )
    return {code: id_ for code, id_ in codes.items() if code not in settings.ignore}


def _default_crosswalk(description: Description, legend: Legend) -> dict[int, int]:
    """Return the map by equal classes, by the common legend, or else by class names."""
    classes = description.legend.classes
    if legend.classes == classes:
        return {c.id: c.id for c in classes}
    if legend.classes == COMMON.classes:
        return dict(description.common)
    ids = {name_key(c.name): c.id for c in legend.classes}
    return {c.id: ids[name_key(c.name)] for c in classes if name_key(c.name) in ids}


def band_encoding(description: Description, bands: tuple[str, ...]) -> Encoding:
    """Return the dataset's encoding of these bands alone, in this order."""
    encoding = description.encoding
    positions = [encoding.bands.index(band) for band in bands]
    return Encoding(
        bands,
        encoding.dtype,
        tuple(encoding.scales[i] for i in positions),
        tuple(encoding.offsets[i] for i in positions),
        tuple(encoding.unit(i) for i in positions) if encoding.units else (),
    )
