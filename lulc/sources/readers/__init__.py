"""The readers: one file per archive form, which exports one `Source`; `_*` files are shared."""
