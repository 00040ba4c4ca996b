"""Patches of images through a network, as many at once as the device's memory holds."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lulc.errors import SetupError
from lulc.inference.image_maps import ImageMap, Patch
from lulc.inference.windows import WindowedImage

type ImagePatch = tuple[WindowedImage, Patch]

_PIXELS_ON_CORES = 1 << 18
"""One by one, small patches leave most of a processor idle; large ones gain nothing."""
_PIXELS_ON_GPU = 1 << 24
"""A GPU is busy with so many, and more would only take memory from other tasks."""


@dataclass(frozen=True, eq=False)
class PatchBatches:
    """How many patches are computed at once, by what the device's memory was found to hold."""

    pixels: int
    """Pixels of all dates that are computed at once, if they fit."""
    counts: dict[tuple[int, ...], int] = field(default_factory=dict)
    """Shape (T, h, w) of a patch → how many fit, where fewer do than the pixels allow."""

    def fill[Map: ImageMap](
        self, maps: Iterable[Map], compute: Callable[[Sequence[ImagePatch]], Tensor]
    ) -> Iterator[Map]:
        """Fill maps; patches of several make one batch.

        Args:
            maps: empty maps; as many are taken as make a batch.
            compute: the network: returns an output for each of some patches of one size.

        Yields:
            The maps, filled, in their order.

        Raises:
            SetupError: the device's memory does not hold one patch.
        """
        taken: list[Map] = []
        pixels = 0
        for image_map in maps:
            taken.append(image_map)
            pixels += sum(map(_pixels, (_shape(image_map, patch) for patch in image_map.patches)))
            if pixels >= self.pixels:
                self._fill(taken, compute)
                yield from taken
                taken, pixels = [], 0
        self._fill(taken, compute)
        yield from taken

    def _fill(
        self, maps: Sequence[ImageMap], compute: Callable[[Sequence[ImagePatch]], Tensor]
    ) -> None:
        alike: dict[object, list[tuple[ImageMap, Patch]]] = {}
        for image_map in maps:
            for patch in image_map.patches:
                key = (_shape(image_map, patch), patch.crop)
                alike.setdefault(key, []).append((image_map, patch))
        for group in alike.values():
            for batch, outputs in self._compute(group, compute):
                start = 0
                for image_map, of_map in itertools.groupby(batch, key=lambda pair: pair[0]):
                    patches = [patch for _, patch in of_map]
                    image_map.put(patches, outputs[start : start + len(patches)])
                    start += len(patches)

    def _compute(
        self,
        group: Sequence[tuple[ImageMap, Patch]],
        compute: Callable[[Sequence[ImagePatch]], Tensor],
    ) -> Iterator[tuple[Sequence[tuple[ImageMap, Patch]], Tensor]]:
        # Batches of the group and their outputs; where one does not fit, half of it is tried.
        shape = _shape(*group[0])
        start = 0
        while start < len(group):
            allowed = max(1, self.pixels // _pixels(shape))
            batch = group[start : start + self.counts.get(shape, allowed)]
            try:
                outputs = compute([(image_map.image, patch) for image_map, patch in batch])
            except torch.OutOfMemoryError as error:
                if len(batch) == 1:
                    dates, height, width = shape
                    raise SetupError(
                        f"the GPU's memory does not hold the network with {height} x {width} "
                        f"pixels of {dates} dates: set predict.window lower, or predict.gpu higher "
                        "so that fewer tasks share a GPU"
                    ) from error
            else:
                yield batch, outputs
                start += len(batch)
                continue
            # Only here, without the error, are the tensors free that its traceback holds.
            self.counts[shape] = len(batch) // 2
            torch.cuda.empty_cache()


def batches_for(device: torch.device) -> PatchBatches:
    """Return the batches of a device that nothing is known of yet."""
    return PatchBatches(_PIXELS_ON_CORES if device.type == "cpu" else _PIXELS_ON_GPU)


def read_ahead[Item](items: Iterable[Item], count: int) -> Iterator[Item]:
    """Yield items, the next of which a thread makes meanwhile.

    Args:
        items: made one after the other.
        count: how many may be ready; 0 for no thread.

    Yields:
        The items in their order.
    """
    if not count:
        yield from items
        return
    iterator, end = iter(items), object()
    reader = ThreadPoolExecutor(1)
    try:
        ahead = deque(reader.submit(next, iterator, end) for _ in range(count))
        while (item := ahead.popleft().result()) is not end:
            ahead.append(reader.submit(next, iterator, end))
            yield item  # type: ignore[misc]  # not the end
    finally:
        reader.shutdown(cancel_futures=True)


def _shape(image_map: ImageMap, patch: Patch) -> tuple[int, int, int]:
    height, width = (axis.stop - axis.start for axis in patch.computed)
    return (len(image_map.image.pixels), height, width)


def _pixels(shape: tuple[int, int, int]) -> int:
    return shape[0] * shape[1] * shape[2]
