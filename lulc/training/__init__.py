"""Training: samples read into batches, the epochs of all ranks, checkpoints and calibration.

It may import `lulc.models` and the rooms below it; samples reach it as a table (`lulc.tables`).
`lulc.spark`, `lulc.api` and `lulc.cli` may import it. `_petastorm` alone imports petastorm.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
