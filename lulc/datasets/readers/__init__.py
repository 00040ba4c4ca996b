"""One file for each published dataset, which exports its `Dataset` record.

Every reader has the same order: constants, `_describe`, `_items`, `_read`, helpers, record. Files
with a leading underscore hold the tables of the reader they are named after. Only
`lulc.datasets.registry` imports the readers.
"""
