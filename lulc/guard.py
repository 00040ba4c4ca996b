"""The guard around everything that is read: whatever a library raises becomes an InputError."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from lulc.errors import InputError, LulcError
from lulc.redact import redact_text

RAISE_FAULTS = "LULC_RAISE_FAULTS"
"""Environment variable that lets faults of the program through the guard; set in the tests."""

_REPLACE = "it is damaged, or not what its name says; replace it"
# What a fault of the program raises. Input that a library stumbles over may raise it as well, so
# that in use it is told as input that cannot be read.
_FAULTS = (AssertionError, AttributeError, LookupError, NameError, TypeError)


@contextlib.contextmanager
def read_guard(subject: object, remedy: str = _REPLACE) -> Iterator[None]:
    """Turn any error of what is done inside into an InputError with its type and what was read.

    Errors of this project pass, and so do those of the machine: no memory, a missing library.

    Args:
        subject: a file, or what it is and where it lies; the message begins with it.
        remedy: the message ends with it.

    Raises:
        InputError: something inside failed.
    """
    try:
        yield
    except (LulcError, ImportError, MemoryError):
        raise
    except _FAULTS as error:
        if RAISE_FAULTS in os.environ:
            raise
        raise _unreadable(subject, error, remedy) from error
    except Exception as error:
        raise _unreadable(subject, error, remedy) from error


def _unreadable(subject: object, error: Exception, remedy: str) -> InputError:
    text = redact_text(error, 300).strip()
    cause = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return InputError(f"{subject} cannot be read ({cause}): {remedy}")
