"""Functions carried to workers, which run them only where their lulc is the driver's."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from pyspark import cloudpickle

import lulc


def carry(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does what `work` does, on a worker of this version of lulc.

    Another version would make something else of the same keys, or lack what they are read with.

    Args:
        work: a function, with all that it was closed over.

    Returns:
        A function of the same arguments. It raises SetupError on a worker of another version.
    """
    content: bytes = cloudpickle.dumps(work)  # type: ignore[no-untyped-call]
    version = lulc.__version__

    def run(*arguments: Any) -> Any:
        # Before versions are compared, nothing is looked up that another version may lack.
        import platform

        import lulc
        from lulc.errors import SetupError

        if lulc.__version__ != version:
            raise SetupError(
                f"{platform.node()} has lulc {lulc.__version__} ({lulc.__file__}), and the driver "
                f"has {version}: install the same on all machines, then rerun"
            )
        return pickle.loads(content)(*arguments)

    return run
