from .arrays import array_columns, array_from, grid_columns, grid_from, pack, unpack
from .columns import Column, TableSpec
from .encoding import Encoding, common_encoding, merge_encodings, recode
from .files import (
    checksum,
    file_identity,
    fingerprint_of,
    list_tables,
    remove,
    write_atomic,
)
from .layout import BlockKey, parse_block_key
from .ledger import (
    STAGE_KEY,
    LedgerRow,
    append_ledger,
    read_done,
    read_latest,
    read_seal,
)
from .schemas import TABLES, check_schema
from .store import read_footer, read_rows, read_table, table_folder, write_rows, write_table

__all__ = [
    "STAGE_KEY",
    "TABLES",
    "BlockKey",
    "Column",
    "Encoding",
    "LedgerRow",
    "TableSpec",
    "append_ledger",
    "array_columns",
    "array_from",
    "check_schema",
    "checksum",
    "common_encoding",
    "file_identity",
    "fingerprint_of",
    "grid_columns",
    "grid_from",
    "list_tables",
    "merge_encodings",
    "pack",
    "parse_block_key",
    "read_done",
    "read_footer",
    "read_latest",
    "read_rows",
    "read_seal",
    "read_table",
    "recode",
    "remove",
    "table_folder",
    "unpack",
    "write_atomic",
    "write_rows",
    "write_table",
]
