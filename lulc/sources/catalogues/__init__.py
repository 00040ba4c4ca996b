"""STAC catalogues: searched, page by page, and what they answered, kept as a table."""
