"""What a training depends on."""

from __future__ import annotations

from lulc.config import Config, TrainConf
from lulc.location import parse_location
from lulc.models.networks.weight_bands import files_of_weights
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables.files import file_identity, fingerprint_of


def training_fingerprint(config: Config, train: TrainConf, samples: str) -> str:
    """Return the fingerprint of a training; no content of its files is read.

    Args:
        config: the run.
        train: the settings of the training, the run's own or a trial's.
        samples: fingerprint of the samples table.
    """
    parts: list[object] = [samples, config.task, train, config.make_legend(), config.bands]
    if train.weights:
        # Other weights, or other names of their channels, may lie under the same path.
        parts += map(file_identity, files_of_weights(parse_location(train.weights)))
    return fingerprint_of(OUTPUT_VERSIONS["train"], *parts)
