"""Encoders by name: the error that names the nearest known ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

from lulc.errors import UsageError
from lulc.models.networks.smp import smp


@contextmanager
def explained(encoder: str) -> Iterator[None]:
    """Nothing; UsageError where the network within cannot be built with this encoder."""
    try:
        yield
    except (KeyError, RuntimeError, ValueError, NotImplementedError, TypeError) as error:
        known = smp.encoders.get_encoder_names()
        near = difflib.get_close_matches(encoder, known, 3) or known[:8]
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UsageError(
            f"train.encoder {encoder!r} cannot be built here ({reason}); near it: {', '.join(near)}"
        ) from error
