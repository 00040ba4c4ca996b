"""Published datasets. A file here exports one Dataset, listed in DATASETS (but record, files, the shared parts)."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping

from lulc.config import ClassConf, Config, DatasetConf
from lulc.datasets.dataset import Dataset, Description
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
from lulc.legend import COMMON, Legend
from lulc.tables.encoding import Encoding

DATASETS: dict[str, Dataset] = {
    d.name: d
    for d in (
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
    """The Dataset of that name; UsageError names the nearest one."""
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(DATASETS)}"
        raise UsageError(f"dataset {name!r} is not known; {hint}")
    return DATASETS[name]


def options_of(conf: DatasetConf) -> dict[str, str]:
    """A value for every option of the dataset, the first where the run file says nothing; UsageError names what is accepted."""
    known = find_dataset(conf.name).options
    for option, value in conf.options.items():
        if option not in known:
            raise UsageError(
                f"datasets.options of {conf.name}: {option!r} is not one of {', '.join(known) or 'none'}"
            )
        if known[option] and value not in known[option]:
            raise UsageError(
                f"datasets.options of {conf.name}: {option} {value!r} is not one of {', '.join(known[option])}"
            )
    return {
        option: conf.options.get(option, values[0] if values else "")
        for option, values in known.items()
    }


def describe_dataset(conf: DatasetConf) -> Description:
    """What all examples share of the dataset that a run file asks for; UsageError as of `find` and `options_of`."""
    return find_dataset(conf.name).describe(options_of(conf))


def complete_from_datasets(config: Config) -> Config:
    """The run with task, legend and bands of its datasets where it says none of its own; UsageError where these do not agree."""
    if not config.datasets:
        return config
    found = [(conf, describe_dataset(conf)) for conf in config.datasets]
    for conf, description in found:
        lacks = [band for band in config.bands if band not in description.encoding.bands]
        if lacks:
            raise UsageError(
                f"dataset {conf.name} has no band {', '.join(lacks)}: it has {', '.join(description.encoding.bands)}; see options"
            )
    tasks = {description.task for _, description in found}
    if len(tasks) > 1 or (config.labels and tasks != {config.task or "segment"}):
        raise UsageError(
            f"datasets of tasks {', '.join(sorted(tasks))} cannot be learned as one: choose options of one task"
        )
    first = found[0][1]
    if config.task not in (None, first.task):
        raise UsageError(
            f"task {config.task}: dataset {config.datasets[0].name} is for {first.task}; leave `task` out, or see its options"
        )
    shared = tuple(b for b in first.encoding.bands if all(b in d.encoding.bands for _, d in found))
    if not config.legend and any(d.legend.classes != first.legend.classes for _, d in found):
        raise UsageError(
            f"datasets {', '.join(c.name for c, _ in found)} have legends of their own: say `legend: common`, or a legend with a "
            "crosswalk for each"
        )
    legend = config.legend or {c.id: ClassConf(c.name, c.colour) for c in first.legend.classes}
    return dataclasses.replace(config, task=first.task, bands=config.bands or shared, legend=legend)


def crosswalk(conf: DatasetConf, description: Description, legend: Legend) -> Mapping[int, int]:
    """Id in the dataset's legend → id in `legend`, without those of conf.ignore; UsageError names what has no counterpart."""
    own = description.legend
    if conf.crosswalk:
        codes = dict(conf.crosswalk)
    elif legend.classes == own.classes:
        codes = {i: i for i in own.ids}
    elif legend.classes == COMMON.classes:
        codes = dict(description.common)
    else:
        named = {c.name.lower(): c.id for c in legend.classes}
        codes = {c.id: named[c.name.lower()] for c in own.classes if c.name.lower() in named}
    lost = [
        f"{c.id} {c.name}" for c in own.classes if c.id not in codes and c.id not in conf.ignore
    ]
    if lost:
        raise UsageError(
            f"classes of {conf.name} without a counterpart in legend {legend.name!r}: {', '.join(lost)}; "
            "add them to datasets.crosswalk or to datasets.ignore"
        )
    strange = sorted(set(codes.values()) - set(legend.ids))
    if strange:
        raise UsageError(
            f"datasets.crosswalk of {conf.name} leads to ids {strange} that the legend lacks: {list(legend.ids)}"
        )
    return {code: i for code, i in codes.items() if code not in conf.ignore}


def band_encoding(description: Description, bands: tuple[str, ...]) -> Encoding:
    """The dataset's encoding of these bands alone."""
    own = description.encoding
    at = [own.bands.index(band) for band in bands]
    return Encoding(
        bands, own.dtype, tuple(own.scales[i] for i in at), tuple(own.offsets[i] for i in at)
    )
