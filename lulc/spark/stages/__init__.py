"""The stages, one a file: a function of the stage's name that brings its part of a run up to date.

A file holds what the stage's units are and how one is done; `lulc.spark.incremental` does the rest.
"""
