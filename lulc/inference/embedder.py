"""Vectors of images: the features of a model's network, or the values of embedding bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lulc.chips import composites
from lulc.errors import UsageError
from lulc.location import Location
from lulc.models.contract import TREE_MODELS, Contract, read_contract
from lulc.models.package import CONTRACT, ModelRef

_TASKS = ("segment", "classify", "multilabel")
_WITHOUT_ENCODER = (*TREE_MODELS, "linear")


@dataclass(frozen=True, eq=False)
class EmbeddedImage:
    """Pixels that vectors are made of."""

    pixels: np.ndarray
    """(T, C, H, W) DN."""
    valid: np.ndarray
    """(T, H, W) bool."""
    scales: tuple[float, ...]
    """One a band: physical value = DN * scale + offset."""
    offsets: tuple[float, ...]
    core: tuple[slice, slice]
    """Rows and columns of what is embedded; the rest is its surroundings."""

    @property
    def core_valid(self) -> np.ndarray:
        """(h, w) bool: pixels of the core that are valid on any date."""
        return np.asarray(self.valid[:, *self.core].any(0))


class Embedder(Protocol):
    """Makes vectors of images."""

    def pool(self, images: Sequence[EmbeddedImage]) -> np.ndarray:
        """Return a vector for the core of each image, (N, D) float32.

        Args:
            images: of one size, each with a valid pixel in its core.
        """
        ...

    def map(self, image: EmbeddedImage, every: int) -> np.ndarray:
        """Return a vector for every so many-th pixel of an image's core, (D, h, w) float32.

        The first is in the middle of the first square of `every` x `every` pixels. Where the image
        is not valid vectors have no meaning.
        """
        ...


def pixels_of(every: int, side: int) -> slice:
    """Return the rows, or columns, of a core that `Embedder.map` gives vectors of."""
    return slice(every // 2, side, every)


def check_encoder(model: ModelRef, bands: Sequence[str]) -> Contract:
    """Check before anything is started that a model's network has features of a run's bands.

    Raises:
        UsageError: several models are joined, or it is of a task or kind without such features.
        InputError: it takes other bands.
    """
    if model.others:
        raise UsageError(f"model {model.name} is several, each with vectors of its own: name one")
    contract = read_contract(model.folder / CONTRACT)
    contract.check(bands, contract.gsd_m, "the run file")
    if contract.task not in _TASKS:
        raise UsageError(
            f"model {model.name!r} is for task {contract.task}: vectors are made by networks of "
            f"tasks {', '.join(_TASKS)}"
        )
    if contract.model in _WITHOUT_ENCODER:
        raise no_encoder(contract)
    return contract


def no_encoder(contract: Contract) -> UsageError:
    """Return the error of a model that has no encoder."""
    return UsageError(
        f"model {contract.name!r} is of kind {contract.model}, which has no encoder to make "
        "vectors with: name a model with one, such as a unet or classifier, in embed.model; where "
        "the bands are an embedding themselves (e0, e1, …) none is needed"
    )


class BandEmbedder:
    """Takes bands of the image, themselves an embedding, as the vector."""

    def __init__(self, positions: Sequence[int]) -> None:
        """Take the bands at these positions of an image."""
        self.positions = list(positions)

    def pool(self, images: Sequence[EmbeddedImage]) -> np.ndarray:
        """Return the mean over the valid pixels of each core."""
        return np.stack([self._values(image)[:, image.core_valid].mean(1) for image in images])

    def map(self, image: EmbeddedImage, every: int) -> np.ndarray:
        """Return the values of the pixels."""
        values = self._values(image)
        return values[:, *(pixels_of(every, side) for side in values.shape[1:])]

    def _values(self, image: EmbeddedImage) -> np.ndarray:
        pixels, _ = composites.median_composite(
            np.ascontiguousarray(image.pixels[:, self.positions][..., *image.core]),
            np.ascontiguousarray(image.valid[:, *image.core]),
        )
        scales, offsets = (
            np.array(numbers)[self.positions][:, None, None]
            for numbers in (image.scales, image.offsets)
        )
        return np.asarray(pixels * scales + offsets, np.float32)


def load_embedder(folder: Location | None, positions: Sequence[int]) -> Embedder:
    """Return what makes the vectors of a run.

    Args:
        folder: of the model whose network makes them; None takes bands.
        positions: of the embedding bands.

    Raises:
        UsageError: the network has no encoder.
    """
    if folder is None:
        return BandEmbedder(positions)
    from lulc.inference.network_embedder import NetworkEmbedder
    from lulc.inference.predictor import load

    return NetworkEmbedder(load(folder))


def embedding_bands(bands: Sequence[str]) -> list[int]:
    """Return the positions of the bands e0, e1, … among some.

    Examples:
        >>> embedding_bands(["red", "e0", "e1", "elevation"])
        [1, 2]
    """
    return [at for at, name in enumerate(bands) if name[:1] == "e" and name[1:].isdecimal()]


def quantise(vectors: np.ndarray) -> np.ndarray:
    """Return vectors of length 1 as int8, by AlphaEarth's rule: value = k |k| / 127.5².

    Args:
        vectors: (D, …) of any length; all 0 or not finite where there is none.

    Returns:
        (D, …) int8, -128 where there is none.
    """
    lengths = np.sqrt((vectors.astype(np.float64) ** 2).sum(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        units = vectors / lengths
        numbers = np.rint(np.sign(units) * np.sqrt(np.abs(units)) * 127.5)
    none = ~np.isfinite(lengths) | (lengths == 0)
    return np.where(none, -128, np.nan_to_num(numbers).clip(-127, 127)).astype(np.int8)
