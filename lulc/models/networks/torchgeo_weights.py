"""Published weights of torchgeo's backbones: by name, with their licence, fetched once."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from lulc.errors import SetupError, UsageError
from lulc.models.networks.architecture import TORCHGEO
from lulc.models.networks.torchgeo_backbones import split_name, torchgeo_models

_TIMEOUT_S = 10.0  # without a byte

# Repository of the authors → licence of their weights, where torchgeo's record of the weights has
# none (torchgeo's documentation, api/weights/*.csv).
_LICENCES = {
    "DarthReca/closp": "OpenRAIL",
    "Panopticon-FM/panopticon": "Apache-2.0",
    "PlekhanovaElena/ssl4eco": "MIT",
    "ServiceNow/seasonal-contrast": "Apache-2.0",
    "allenai/satlas": "ODC-BY",
    "allenai/satlaspretrain_models": "ODC-BY",
    "torchgeo/torchgeo": "CC0-1.0",
    "zhu-xlab/DOFA": "CC-BY-4.0",
    "zhu-xlab/DeCUR": "Apache-2.0",
    "zhu-xlab/FGMAE": "CC-BY-4.0",
    "zhu-xlab/SSL4EO-S12": "CC-BY-4.0",
    "zhu-xlab/softcon": "CC-BY-4.0",
}


@dataclass(frozen=True)
class PublishedWeights:
    """Weights that torchgeo knows by name."""

    name: str
    """As torchgeo has it, such as `ResNet18_Weights.SENTINEL2_ALL_MOCO`."""
    url: str
    """Address of the file."""
    licence: str
    """Empty where neither torchgeo nor its documentation says it."""
    publication: str
    """Address of the article."""

    @property
    def file_name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]

    def describe(self) -> str:
        """Return a line on the weights with their licence."""
        licence = (
            f"licence {self.licence}" if self.licence else "licence not known: ask the authors"
        )
        return f"weights {self.name} ({self.publication}), {licence}"


def find_published(encoder: str) -> PublishedWeights | None:
    """Return the weights that the name of an encoder asks for, None where it names none.

    Args:
        encoder: `torchgeo:NAME.WEIGHTS`, or any other name.

    Raises:
        UsageError: torchgeo has no such weights of this backbone; names those it has.
        SetupError: torchgeo is not installed.
    """
    if not encoder.startswith(TORCHGEO):
        return None
    name, wanted = split_name(encoder)
    if not wanted:
        return None
    models = torchgeo_models()
    try:
        known = models.get_model_weights(name).__members__
    except KeyError:
        known = {}
    if wanted not in known:
        raise UsageError(
            f"train.encoder {encoder}: torchgeo has no weights {wanted} of {name}; it has: "
            f"{', '.join(known) or 'none'}"
        )
    weights = known[wanted]
    repository = "/".join(weights.meta.get("repo", "").rstrip("/").split("/")[-2:])
    licence = weights.meta.get("license") or _LICENCES.get(repository, "")
    return PublishedWeights(str(weights), weights.url, licence, weights.meta.get("publication", ""))


def fetch_published(weights: PublishedWeights) -> Path:
    """Fetch published weights into torch's cache, once.

    Returns:
        The file.

    Raises:
        SetupError: they cannot be fetched, or no byte of them came for some seconds.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.file_name
    if path.exists():
        return path
    checked = torch.hub.HASH_REGEX.search(weights.file_name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _short_timeout():
            torch.hub.download_url_to_file(
                weights.url, str(path), checked[1] if checked else None, progress=False
            )
    except (OSError, RuntimeError) as error:
        raise SetupError(
            f"weights {weights.name} cannot be fetched ({error}): fetch {weights.url} where the "
            "network is reachable, and give the file as train.weights"
        ) from error
    return path


@contextlib.contextmanager
def _short_timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
