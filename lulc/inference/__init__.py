"""Inference: models applied to chips and image files, and the tables that come of it.

It may import `lulc.models`, `lulc.maps` and the rooms below them. `lulc.spark`, `lulc.api` and
`lulc.cli` may import it. `blocks` and `rows` are imported without torch; only `pyfunc` imports
MLflow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
