"""Where arrays lie on the Earth: CRSs, grids, tilings, exact areas, coverage and resampling.

numpy in, numpy out: no file is opened here. Imports `lulc.errors` and `lulc.bands` only; every room
above may import it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
