"""Published archives of labelled images: one reader a dataset, its legend, its items and examples.

May import `sources`, `raster`, `tables`, `geo`, `config` and the modules below them. `samples`,
`spark` and `cli` build on it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
