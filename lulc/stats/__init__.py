"""Statistics of maps: areas by region, landscape patterns, changes, accuracy and sample designs.

The functions take files, arrays and rows, without Spark; the stages of a run call them. May import
`chips`, `datasets` and the rooms below them, not `samples`; imported by `models`, `inference`,
`report`, `spark`, the api and the command line.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
