"""Scene archives as `Scene` records: how they are listed, searched, verified and read.

A source is an archive form (SAFE, Landsat, MODIS, STAC, GeoTIFF, …) with one file in `readers/` and
one entry in `registry.SOURCES`. Searches are in `catalogues/`, each answer a table; in `indexing/`
is which items are read again, and which of their scenes a run uses. This room imports from
`raster`, `tables`, `geo` and the root modules only; `chips`, `datasets`, `spark` and `cli` import
from it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
