"""Chips: scenes on a tiling, cut into tiles of pixels over one or more dates.

Holds the run's tiling (`tiling`), which blocks of tiles footprints reach (`extent`), mosaics of one
date (`mosaic`) and composites of many (`composites`), chips as arrays and as table rows (`chip`,
`cut`), the unit of work of the tile stage (`blocks`), and which of them a run has (`plan`). May
import sources and every room below; inference, report, spark and cli may import it. No Spark here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
