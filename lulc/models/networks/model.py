"""The record of a kind of model: its name, its tasks, how it is built and read, its input."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from safetensors.torch import load
from torch import Tensor, nn

from lulc.models.contract import Contract
from lulc.models.tasks.task import Batch


@dataclass(frozen=True)
class Model:
    """A kind of model: a network, or trees, which are called as a network is."""

    name: str
    """The name in a run file."""
    tasks: tuple[str, ...]
    """Names of the tasks it can be trained for."""
    build: Callable[..., nn.Module]
    """build(in_channels, classes, **architecture): the module, which is called with the task's
    inputs; its weights depend on torch's seed alone."""
    multiple: Callable[..., int]
    """multiple(**architecture): heights and widths must be multiples of this number."""
    read: Callable[[Contract, bytes], nn.Module] | None = None
    """read(contract, content): the module of a file of weights. None: a network's, with tensors in
    safetensors."""
    inputs: Callable[[Batch], tuple[Tensor, ...]] | None = None
    """inputs(batch): what the module is called with, from prepared samples. None: what the task
    gives."""
    is_trees: bool = False
    """Whether it is grown from a table of pixels, and knows of a pixel no more than its bands: its
    neighbours change nothing, nor do mirror images."""

    def open(self, contract: Contract, content: bytes) -> nn.Module:
        """Return the module that a contract and the content of its file of weights describe.

        Raises:
            Exception: of many kinds, where the content is damaged or is of another model.
        """
        if self.read is not None:
            return self.read(contract, content)
        bands, classes = len(contract.bands), len(contract.legend.classes)
        net = self.build(bands, classes, **contract.architecture)
        net.load_state_dict(load(content))
        return net


def knows_positions(names: Iterable[str]) -> bool:
    """Return whether a network of any size of image says other things in a window of another size.

    That is so with positions that are stretched over the window, and with relative ones in windows
    of attention, which are padded where a map is smaller.

    Args:
        names: of the network's weights.

    Examples:
        >>> knows_positions(["encoder.pos_embed"]), knows_positions(["encoder.conv1.weight"])
        (True, False)
    """
    return any("pos_embed" in name or "relative_position" in name for name in names)
