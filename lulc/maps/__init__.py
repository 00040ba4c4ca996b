"""Class maps: predictions as class rasters, their mosaics and overviews, and their catalogue.

It may import the rooms below `lulc.stats`. `lulc.inference`, `lulc.report`, `lulc.spark` and
`lulc.api` may import it. No network is computed here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
