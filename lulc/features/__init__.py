"""Features: bands that are computed of other bands, by name.

`indices` and `expression` are of one date, `over_time` of all dates of a period, `in_window` of a
pixel's surroundings. numpy in, numpy out: no files, no tables, no run file.
"""
