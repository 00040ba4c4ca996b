"""Tasks, one a file, each exported as a record `Task` and listed in `registry`."""
