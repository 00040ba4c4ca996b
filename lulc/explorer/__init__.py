"""The map in a browser: tiles of class rasters, regions with their areas, and the page over them.

It may import `maps`, `stats` and the rooms below them, no Spark; the command line imports it. What
the page asks for has one address each (`lulc.explorer.site`): a server answers it, or an export
writes it to a file.
"""
