"""The Parquet tables between stages: schemas, array columns, files, the ledger and the layout.

Tables of others are read here too: vector files in `vector_files`, CSV in `csv_files`. Every place
under an output location is made in `layout`, every file there written, listed and removed in
`files`. Imports `lulc.geo` and the root modules below it; every room above may import it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
