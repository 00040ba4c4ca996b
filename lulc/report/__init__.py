"""The report of a run and its pictures: map, chips, samples, regions and trainings.

May import `stats`, `samples`, `models` and the rooms below them, not `training`, `inference` or
`spark`; imported by `spark`, the api and the command line. Libraries for drawing are imported by
the functions that draw, except in `training`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
