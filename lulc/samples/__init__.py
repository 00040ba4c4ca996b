"""Samples: windows of pixels with a label, split for training, validation and test.

They come from chips and the run's labels (`from_chips`, `labels`) or from published datasets
(`from_datasets`), and are rows of one table (`table`). Spatial splits and the buffer between them
are in `splits` and, for items of datasets, `dataset_splits`, how blocks are dealt to them in
`dealing`, the audit in `leakage`, the choice of windows in `plan` and, by tasks, `windows`. May
import chips, datasets and every room below; models, training, inference, report, spark and cli may
import it. No Spark and no torch here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
