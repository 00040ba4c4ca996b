"""Networks, one family a file, each exported as a record `Model` and listed in `registry`."""
