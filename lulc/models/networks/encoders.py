"""Encoders by name: the error that suggests similar names."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

from lulc.errors import UsageError
from lulc.models.networks.architecture import TORCHGEO
from lulc.models.networks.smp import smp

TORCHGEO_NAMES = f"a backbone of torchgeo is named {TORCHGEO}NAME"
"""What the errors of other encoders' names end with."""


@contextmanager
def encoder_errors(encoder: str) -> Iterator[None]:
    """Raise UsageError where the network within cannot be built with this encoder.

    The message suggests similar names.
    """
    try:
        yield
    except (KeyError, RuntimeError, ValueError, NotImplementedError, TypeError) as error:
        names = smp.encoders.get_encoder_names()
        similar = difflib.get_close_matches(encoder, names, 3) or names[:8]
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        if "Wrong encoder name" in reason:  # and all the names that there are
            reason = "segmentation-models-pytorch has none of that name"
        raise UsageError(
            f"train.encoder {encoder!r} cannot be built here ({reason}); "
            f"similar names: {', '.join(similar)}; {TORCHGEO_NAMES}"
        ) from error
